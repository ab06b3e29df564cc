"""What a call remembers: what was done and not told, and where it stood when it was cut off."""

from __future__ import annotations

import pytest

from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call_services import CallServices
from pipeline.state import CallState, HangUp, Memory, Transfer
from pipeline.tools.calls import ToolResult
from pipeline.workflow.definition import SayNode
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import FakeTools
from tests.pipeline.rig import BOOKING, GENERATED, SLOW, Step, booked, play


def test_a_call_that_was_cut_off_goes_on_where_it_stood() -> None:
    before = play(BOOKING[:3], for_s=22)
    after = play([(6.0, "yes that is right")], for_s=14, services=CallServices(memory=before.saved[-1]))
    assert (
        after.heard()[0] == "Sorry, we were cut off. Let's go on. Tuesday at ten in the morning for John Miller, right?"
    )
    assert booked(after) == [{"opening": "Tuesday at ten in the morning", "name": "John Miller"}]


def test_a_call_that_was_cut_off_while_a_tool_worked_asks_for_it_under_the_same_key() -> None:
    before = play(BOOKING, for_s=25.5, tools=FakeTools(takes_s=SLOW))
    assert before.call.manager.state.waiting == "tool"
    after = play([], for_s=10, services=CallServices(memory=before.saved[-1]))
    assert [call.key for call in after.tools.calls] == [before.tools.calls[-1].key]
    assert "Booked, John Miller." in " ".join(after.heard())


def test_what_a_call_had_not_looked_up_when_it_was_cut_off_is_looked_up_when_it_goes_on() -> None:
    after = play([(6.0, "I want to book")], for_s=14, services=CallServices(memory=Memory()))
    assert after.heard()[0] == "Sorry, we were cut off. Let's go on."
    assert after.heard()[1].startswith("I have Tuesday at ten in the morning")
    again = play([], for_s=8, services=CallServices(memory=after.saved[-1]))
    assert not again.tools.calls


def test_what_was_done_and_not_heard_is_told_when_the_call_goes_on() -> None:
    before = play(BOOKING, for_s=25.5, tools=FakeTools(takes_s=1.0))
    done = next(memory for memory in before.saved if memory.untold)
    after = play([], for_s=10, services=CallServices(memory=done))
    assert not [call for call in after.tools.calls if call.tool == "book"]
    assert after.heard()[0].startswith("Sorry, we were cut off. Let's go on. Booked, John Miller.")


def test_what_a_key_kept_from_being_told_is_told_when_the_caller_waits_in_silence() -> None:
    before = play(BOOKING, for_s=25.5, tools=FakeTools(takes_s=1.0))
    done = next(memory for memory in before.saved if memory.untold)
    after = play([(0.4, lambda call: call.press("5"))], for_s=14, services=CallServices(memory=done))
    assert "Booked" not in after.heard()[0]
    assert after.heard()[1].startswith("Booked, John Miller.")


def long_result() -> Agent:
    """What it says of a booking takes some seconds."""
    text = "Done, {name}. Your place by the window is kept until nine, and you need not bring anything along."
    flows = {**AGENT.flows, "book": AGENT.flows["book"].model_copy(deep=True)}
    flows["book"].nodes["done"] = SayNode(do="say", say=text, go="end")
    return AGENT.model_copy(update={"flows": flows})


def test_a_result_that_was_broken_into_is_told_again_from_the_sentence_that_was_not_heard() -> None:
    steps: list[Step] = [*BOOKING, (26.3, "what is the price"), (36.0, "what are your hours")]
    played = play(steps, for_s=46, agent=long_result())
    cut, again, last = played.heard()[-3:]
    assert cut.startswith("Done, John Miller. Your place")
    assert not cut.endswith("along.")
    assert again.startswith(
        "A cleaning costs ninety dollars. Your place by the window is kept until nine, and you need not"
    )
    assert "Done" not in again
    assert again.endswith("along.")
    assert last == GENERATED["hours"][0]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("two thirty please", "Tuesday at two thirty in the afternoon for John Miller, right?"),
        ("what is the price", "A cleaning costs ninety dollars. I have Tuesday at ten in the morning, or "),
        ("I am not sure about that", "I have Tuesday at ten in the morning, or Tuesday"),
    ],
    ids=["answered", "another question", "not answered"],
)
def test_a_result_s_question_that_was_broken_into_is_asked_again_once_unless_it_was_answered(
    said: str, told: str
) -> None:
    taken = FakeTools({"book": ToolResult("rejected", {}, "conflict")})
    played = play([*BOOKING, (27.3, said)], for_s=36, tools=taken)
    cut, reply = played.heard()[4:6]
    assert cut == "That is taken. I have Tuesday at ten in the morning, or"
    assert reply.startswith(told)
    assert reply.count("I have") <= 1
    assert "That is taken" not in reply


def test_a_call_that_goes_on_does_not_tell_again_what_was_heard() -> None:
    steps: list[Step] = [*BOOKING, (26.3, lambda call: call.caller_gone("line_lost"))]
    before = play(steps, for_s=30, agent=long_result())
    after = play([], for_s=14, agent=long_result(), services=CallServices(memory=before.saved[-1]))
    assert after.heard()[0] == (
        "Sorry, we were cut off. Let's go on. "
        "Your place by the window is kept until nine, and you need not bring anything along."
    )
    assert not after.saved[-1].untold
    later = play([], for_s=8, agent=long_result(), services=CallServices(memory=after.saved[-1]))
    assert later.heard()[0] == "Sorry, we were cut off. Let's go on."


def test_who_says_goodbye_while_a_tool_works_is_told_what_came_of_it_and_let_go() -> None:
    played = play([*BOOKING, (26.5, "bye now")], for_s=40, tools=FakeTools(takes_s=SLOW))
    assert played.heard()[-1].endswith("Booked, John Miller. Goodbye.")
    assert played.log[-1].reason == "farewell"  # type: ignore[attr-defined]


def test_a_call_that_was_cut_off_while_it_was_put_through_is_put_through() -> None:
    before = play([(3.0, "a person please"), (5.3, lambda call: call.caller_gone("line_lost"))], for_s=9)
    assert before.saved[-1].state.closing == Transfer("request", "desk", "")
    after = play([], for_s=12, services=CallServices(memory=before.saved[-1]))
    assert after.heard() == ["Sorry, we were cut off. Let's go on. I'll put you through."]
    assert len(after.of(ev.TransferRequested)) == 1
    assert after.log[-1].reason == "transferred"  # type: ignore[attr-defined]


def test_a_call_that_was_cut_off_in_its_goodbye_ends_unless_the_caller_speaks() -> None:
    leaving = CallServices(memory=Memory(CallState(closing=HangUp())))
    after = play([], for_s=12, services=leaving)
    assert after.heard() == ["Sorry, we were cut off. Let's go on. Goodbye."]
    assert after.log[-1].reason == "farewell"  # type: ignore[attr-defined]
    stayed = play([(1.0, "what are your hours")], for_s=8, services=leaving)
    assert stayed.heard()[-1] == GENERATED["hours"][0]
    assert stayed.log[-1].reason == "caller_hung_up"  # type: ignore[attr-defined]
