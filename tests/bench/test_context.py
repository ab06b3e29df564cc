"""The long call's four histories and the verdict on them, without an engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.context import CONFIGS, Keeping, Taken, Way, early, script, verdict, ways
from models.types import Message
from pipeline.agent import load_agent
from tests.pipeline.context.fakes import FakeCounter, chat

AGENT = load_agent(Path(CONFIGS) / "agents" / "dental.yaml")
TURNS = 60


def play(keeping: Keeping) -> tuple[list[tuple[Message, ...] | None], list[int]]:
    """Each turn's prompt, and the turns (from 0) after which the engine was to be warmed up."""
    prompts: list[tuple[Message, ...] | None] = []
    warmed: list[int] = []

    async def go() -> None:
        for number, turn in enumerate(script(AGENT, TURNS)):
            prompt = keeping.prompt(turn)
            prompts.append(prompt.messages if prompt else None)
            if await keeping.over(turn):
                warmed.append(number)

    asyncio.run(go())
    return prompts, warmed


def breaks(prompts: list[tuple[Message, ...] | None]) -> list[int]:
    """The turns (from 0) whose prompt does not go on where the one before ended."""
    given = [prompt for prompt in prompts if prompt is not None]
    return [
        number for number in range(1, len(given)) if not chat(given[number]).startswith(chat(given[number - 1][:-1]))
    ]


def way(times_ms: list[float], *, refused_turn: int | None = None) -> Way:
    return Way([[Taken(ms, 1.0, 100, 40, trimmed=turn == 20)] for turn, ms in enumerate(times_ms)], refused_turn)


def test_the_script_asks_again_when_it_has_asked_everything_and_settles_things_on_the_way() -> None:
    few = tuple(fact.model_copy(update={"questions": fact.questions[:3]}) for fact in AGENT.facts)
    turns = script(AGENT.model_copy(update={"facts": few}), TURNS)
    assert turns[0].ask not in [turn.ask for turn in turns[1:40]]
    assert turns[0].ask in [turn.ask for turn in turns[40:]]
    assert [number for number, turn in enumerate(turns) if turn.exchange.decided] == [14, 34, 54]
    assert [len(turn.known) for turn in turns] == sorted(len(turn.known) for turn in turns)


def test_only_blocks_keep_the_prefix_in_a_long_call() -> None:
    kept = {name: play(keeping) for name, keeping in ways(AGENT, FakeCounter(), 0, 1792).items()}
    found = {name: breaks(prompts) for name, (prompts, _) in kept.items()}
    assert 0 < len(found["block"]) <= 8
    assert found["block, warmed"] == found["block"]
    # What is trimmed after the last turn is trimmed for one that does not come.
    assert [number + 1 for number in kept["block, warmed"][1] if number + 1 < TURNS] == found["block"]
    assert found["full"] == []
    assert None in kept["full"][0]
    assert len(found["one by one"]) > 30
    assert all(prompt is not None for name in ("block", "one by one") for prompt in kept[name][0])


def test_no_two_calls_share_a_beginning() -> None:
    beginnings = [
        keeping.prompt(script(AGENT, 1)[0])
        for repeat in range(2)
        for keeping in ways(AGENT, FakeCounter(), repeat, 1792).values()
    ]
    assert len({prompt.messages[0].content.split(".")[0] for prompt in beginnings if prompt}) == 8


def test_late_turns_as_quick_as_the_early_one_are_within_the_slack() -> None:
    found = verdict(way([300.0, *[100.0] * 59]), TURNS, 100.0)
    assert (found["late_ms"], found["late_to_early"], found["slowest_late_to_early"]) == (100.0, 1.0, 1.0)
    assert found["late_within_slack"] is True
    assert found["turns_after_a_trim"] == [21]


@pytest.mark.parametrize(
    ("slow_turns", "most", "every"), [([60], True, False), (range(50, 61), False, False), ([49], True, True)]
)
def test_the_verdict_tells_one_slow_turn_from_a_slow_end(slow_turns: list[int], most: bool, every: bool) -> None:
    times_ms = [121.0 if turn in slow_turns else 100.0 for turn in range(1, TURNS + 1)]
    found = verdict(way(times_ms), TURNS, 100.0)
    assert (found["late_within_slack"], found["every_late_turn_within_slack"]) == (most, every)


def test_a_history_the_engine_refuses_has_no_late_turns() -> None:
    found = verdict(way([100.0] * 40 + [0.0] * 20, refused_turn=41), TURNS, 100.0)
    assert found["refused_turn"] == 41
    assert "late_to_early" not in found


def test_the_early_turn_is_taken_over_all_ways() -> None:
    assert early([way([1.0] * 4 + [90.0]), way([1.0] * 4 + [100.0]), way([1.0] * 4 + [130.0])]) == 100.0
