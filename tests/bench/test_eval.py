"""The runner of conversations: time is jumped over, lines are said or left out, and expectations can fail."""

from __future__ import annotations

import asyncio
import time

import pytest

from bench.backoffice.dental import open_office
from bench.eval.conversation import AGENTS, Conversation, conversation_files, load_conversation
from bench.eval.models import AgentModels
from bench.eval.patient_loop import run_patiently
from bench.eval.play import faults, play
from models.settings import SettingsError, parse_settings
from models.types import RouteDecision
from pipeline.agent import load_agent
from tests.pipeline.fakes import decision

TALK = """
description: A caller books an opening and hangs up.
edge: happy
lines:
  - say: book please
    expect: {any_of: ["Which would you like"]}
  - say: Tuesday at ten.
    expect: {any_of: ["What name"]}
  - say: never said
    if_asked: ["How old are you"]
  - say: never said either
    unless_asked: ["What name"]
  - say: My name is John Miller.
    expect: {any_of: ["John Miller"]}
  - say: Yes.
    expect: {any_of: ["You're booked"]}
expect:
  end: caller_hung_up
  office: {added: {appointments: [{start: "2026-11-24T10:00", name: John Miller}]}}
  tools: [{tool: book_appointment, arguments: {opening: Tuesday at ten}}]
"""


class FakeRouter:
    """Books at the word."""

    async def route(self, text: str) -> RouteDecision:
        return decision("book") if "book" in text else RouteDecision("question", 0.1)


def found(talk: str = TALK) -> list[str]:
    conversation = parse_settings(talk, Conversation, "test_eval.py")
    agent = load_agent(AGENTS / "dental.yaml")
    played = run_patiently(play(conversation, agent, AgentModels(FakeRouter()), open_office))
    return faults(conversation, played)


def test_a_conversation_that_goes_as_expected_has_no_faults() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ('any_of: ["What name"]', 'any_of: ["What colour"]', "expected any of ['What colour']"),
        ("end: caller_hung_up", "end: farewell", "end: expected farewell, got caller_hung_up"),
        ("name: John Miller}]", "name: Jim}]", "office.added.appointments: expected"),
        ("office: {added", "office: {removed", "office.removed.appointments: expected"),
        ("Tuesday at ten}}]", "Friday}}]", "tools: book_appointment ok"),
        ("expect:\n  end", "expect:\n  no_tools: [book_appointment]\n  end", "no_tools: book_appointment was called"),
        ("expect:\n  end", 'expect:\n  never: ["booked for"]\n  end', "never: 'booked for'"),
        ("expect:\n  end", "expect:\n  transferred_to: on_duty\n  end", "expected on_duty, got no transfer"),
    ],
)
def test_each_expectation_can_fail(right: str, wrong: str, fault: str) -> None:
    assert right in TALK
    assert any(fault in one for one in found(TALK.replace(right, wrong)))


def test_a_change_that_nobody_expected_is_a_fault() -> None:
    unexpected = TALK.partition("  office:")[0]
    assert any("office.added.appointments: unexpected" in one for one in found(unexpected))


def test_lines_after_the_end_of_the_call_are_a_fault() -> None:
    silent = [f"  - silence: true{chr(10)}" for _ in range(4)]
    talk = f"description: A caller who says nothing at all.\nedge: silence\nlines:\n{''.join(silent)}"
    assert any("expected the call to last" in one for one in found(talk + "expect: {end: silence}\n"))


def test_waits_cost_no_time_and_move_the_clock() -> None:
    async def waits() -> float:
        await asyncio.sleep(600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    began_s = time.perf_counter()
    assert run_patiently(waits()) == pytest.approx(660)
    assert time.perf_counter() - began_s < 5


@pytest.mark.parametrize("line", ["{}", "{say: a, silence: true}", "{say: a, press: '1'}"])
def test_a_line_is_exactly_one_deed(line: str) -> None:
    talk = f"description: A line that is no line.\nedge: happy\nlines: [{line}]\n"
    with pytest.raises(SettingsError, match="expected exactly one of"):
        parse_settings(talk, Conversation, "test_eval.py")


def test_every_edge_that_callers_are_known_for_has_a_conversation() -> None:
    edges = {load_conversation(path).edge for path in conversation_files("dental")}
    wanted = {"happy", "correction", "wrong_slot", "change_of_mind", "silence", "abuse", "off_topic", "two_intents"}
    assert wanted | {"backoffice_down", "emergency", "person", "out_of_hours", "conflict"} <= edges
    assert len(conversation_files("dental")) >= 25
