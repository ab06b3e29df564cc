"""Free nodes as the engine runs them: what a model proposes becomes a step only as far as the node allows."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.settings import StrictModel, parse_settings
from pipeline.slots.variables import Variable
from pipeline.state import CallState
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from pipeline.workflow.definition import Flow
from pipeline.workflow.engine import FlowError, Step, WorkflowEngine
from pipeline.workflow.talk_node import Move


class Library(StrictModel):
    variables: dict[str, Variable]
    tools: dict[str, Tool]
    flows: dict[str, Flow]


LIBRARY = parse_settings(
    """
variables:
  card: {type: digits, description: library card, fewest_digits: 4, most_digits: 4}
  day: {type: date, description: day}
  code: {type: digits, description: secret code, sensitive: true}
  title: {type: choice, description: title, options_from: titles}
tools:
  find_loans:
    description: What is on loan.
    effect: read
    arguments: {card: {}}
    returns: {titles: titles, debt: debt, code: code}
    redact: [debt]
    http: {url: loans}
  renew:
    description: Renew a loan.
    effect: write
    arguments: {card: {}, title: {}, day: {}, phone: {required: false}}
    http: {method: POST, url: renewals}
  burn: {description: Burn the library down., effect: write, http: {method: POST, url: fire}}
flows:
  loans:
    start: talk
    cancelled: All right.
    nodes:
      talk:
        do: talk
        goal: Renew what the caller has on loan.
        say: What can I do for you?
        fill: {card: "What is your card number?", title: "Which one is it?", day: "Until when?"}
        tools:
          find_loans: {rejected: {not_found: "I don't find card {card}."}}
          renew:
            arguments: {phone: "{caller}"}
            read_back: "{title} until {day}, on card {card}?"
            done: Renewed until {day}.
          burn: {}
        ways: {done: bye, other: asked}
        limits: {turns: 4, tools: 2}
        exhausted: desk
        failed: desk
      asked: {do: say, say: Please ask at the desk., go: end}
      desk: {do: say, say: Please come to the desk., go: end}
      bye: {do: say, say: Enjoy your books., go: end}
  aside:
    start: once
    nodes:
      once: {do: ask, variable: day, say: ["Which day?"], go: end, exhausted: end}
  straight:
    start: talk
    nodes:
      talk:
        do: talk
        goal: Greet the caller.
        fill: {card: "What is your card number?"}
        ways: {done: end}
        exhausted: sorry
        failed: sorry
      sorry: {do: say, say: Sorry., go: end}
""",
    Library,
    "test_talk_node.py",
)
FOUND = ToolResult(
    "ok",
    {
        "titles": [{"value": "b1", "spoken": "Moby Dick"}, {"value": "b2", "spoken": "Emma"}],
        "debt": "twelve",
        "code": "9999",
    },
)
STATE: TypeAdapter[CallState] = TypeAdapter(CallState)


def engine() -> WorkflowEngine:
    return WorkflowEngine(
        LIBRARY.flows,
        LIBRARY.variables,
        call_id="CA1",
        caller="+15550100",
        now=lambda: datetime(2026, 11, 25, 10),
        tools=LIBRARY.tools,
    )


def begun() -> CallState:
    return engine().start(CallState(), "loans", "hello", 1).state


def say(state: CallState, utterance: str, move: Move | None = None, **words: str) -> Step:
    """The caller says something, and the model answers it."""
    desk = engine()
    step = desk.answer(through_json(state), utterance, 2)
    if not step.thinks:
        return step
    return desk.moved(desk.taken(step.state, words, utterance, 2), move or Move())


def through_json(state: CallState) -> CallState:
    again = STATE.validate_json(STATE.dump_json(state))
    assert again == state
    return again


def looked_up() -> CallState:
    step = say(begun(), "it's card 4711", Move(call="find_loans"), card="4711")
    return engine().tool_done(through_json(step.state), FOUND).state


def read_back() -> Step:
    return say(looked_up(), "Emma until Friday", Move(("I have renewed it.",), "renew"), title="Emma", day="Friday")


def test_it_begins_with_its_first_words_or_has_the_model_answer_what_led_there() -> None:
    step = engine().start(CallState(), "loans", "hello", 1)
    assert (step.says, step.thinks, step.state.waiting) == (("What can I do for you?",), False, "answer")
    straight = engine().start(CallState(), "straight", "hello", 1)
    assert (straight.says, straight.thinks) == ((), True)


def test_what_may_be_said_is_said_and_asked_again_after_something_else() -> None:
    step = say(begun(), "I have a book", Move(("Okay.", "Which card is it?")))
    assert step.says == ("Okay.", "Which card is it?")
    assert engine().prompt(step.state) == "Which card is it?"


def test_without_words_that_hold_the_next_missing_thing_is_asked_for() -> None:
    assert say(begun(), "I have a book").says == ("What is your card number?",)
    assert say(begun(), "card 4711", card="4711").says == ("Which one is it?",)


@pytest.mark.parametrize(
    ("words", "known"),
    [({"card": "4711"}, {"card": "4711"}), ({"card": "4712"}, {}), ({"card": "I think"}, {}), ({"shoes": "4711"}, {})],
)
def test_only_words_of_the_caller_that_a_reader_reads_tell_a_value(
    words: dict[str, str], known: dict[str, str]
) -> None:
    step = say(begun(), "that must be 4711 I think", Move(), **words)
    assert {name: value.value for name, value in step.state.values.items()} == known


@given(words=st.dictionaries(st.sampled_from(["card", "day", "code", "title"]), st.text(max_size=20)))
def test_values_come_from_what_was_said_whatever_the_model_points_at(words: dict[str, str]) -> None:
    utterance = "well my card is 4 7 1 1 and Friday would do"
    desk = engine()
    state = desk.taken(begun(), words, utterance, 2)
    assert {value.value for value in state.values.values()} <= {"4711", "2026-11-27"}
    assert all(value.words in utterance for value in state.values.values())


def test_a_read_tool_is_called_at_once_with_values_and_under_a_key_of_its_own() -> None:
    step = say(begun(), "it's card 4711", Move(("Let me look.",), "find_loans"), card="4711")
    assert step.says == ("Let me look.",)
    assert step.act == ToolCall("find_loans", {"card": "4711"}, "CA1/loans/talk/1")
    assert engine().pending_call(through_json(step.state)) == step.act
    assert engine().said(step.state, "card") == "four seven one one"


def test_a_tool_that_lacks_something_is_not_called_and_that_is_asked_for() -> None:
    step = say(begun(), "what do I have", Move(("Let me look.",), "find_loans"))
    assert (step.says, step.act) == (("Let me look.", "What is your card number?"), None)


def test_what_a_tool_found_is_saved_and_told_to_the_model_without_what_nobody_may_see() -> None:
    state = looked_up()
    assert [option.spoken for option in state.lists["titles"]] == ["Moby Dick", "Emma"]
    conversation = engine().conversation(state)
    (came,) = conversation.talk.learnt
    assert came.found == ("titles Moby Dick, or Emma",)
    assert came.given == ("library card four seven one one",)
    assert [one.label for one in conversation.known if one.sensitive] == ["secret code"]
    assert conversation.told == ("library card four seven one one",)


def test_a_no_of_a_tool_is_told_in_the_file_s_words_and_to_the_model() -> None:
    step = say(begun(), "it's card 4711", Move(call="find_loans"), card="4711")
    refused = engine().tool_done(step.state, ToolResult("rejected", {}, "not_found"))
    assert (refused.says, refused.thinks) == (("I don't find card four seven one one.",), True)
    assert [came.code for came in engine().conversation(refused.state).talk.learnt] == ["not_found"]


@pytest.mark.parametrize("status", ["failed", "unknown"])
def test_a_tool_that_fails_ends_the_conversation_where_the_file_says(status: str) -> None:
    step = say(begun(), "it's card 4711", Move(call="find_loans"), card="4711")
    failed = engine().tool_done(step.state, ToolResult(status, {}))  # type: ignore[arg-type]
    assert (failed.says, failed.state.stack) == (("Please come to the desk.",), ())


def test_a_write_is_read_back_whatever_the_model_says_and_done_after_a_yes() -> None:
    step = read_back()
    assert (step.says, step.act) == (
        ("Emma until Friday, the twenty-seventh of November, on card four seven one one?",),
        None,
    )
    assert engine().surely_answers(step.state, "yes please")
    done = say(step.state, "yes please")
    assert done.act == ToolCall(
        "renew", {"card": "4711", "title": "b2", "day": "2026-11-27", "phone": "+15550100"}, "CA1/loans/talk/2"
    )
    assert all(done.state.values[name].confirmed for name in ("card", "title", "day"))
    told = engine().tool_done(through_json(done.state), ToolResult("ok", {}))
    assert (told.says, told.thinks) == (("Renewed until Friday, the twenty-seventh of November.",), True)


def test_a_correction_at_the_read_back_is_read_back_anew() -> None:
    step = say(read_back().state, "no, on Saturday")
    assert step.says == ("Emma until Saturday, the twenty-eighth of November, on card four seven one one?",)
    assert say(step.state, "yes").act is not None


@pytest.mark.parametrize("answer", ["no", "hmm I wonder", "what does it cost", "yes but I have to ask my wife first"])
def test_anything_but_a_yes_calls_nothing_and_goes_back_to_the_model(answer: str) -> None:
    step = say(read_back().state, answer, Move(("Okay.",)))
    assert (step.act, step.says) == (None, ("Okay.",))
    assert say(step.state, "yes").act is None


def test_a_read_back_without_a_yes_is_not_asked_again_by_itself() -> None:
    step = say(read_back().state, "no, until Saturday", Move())
    assert step.says == ("What can I do for you?",)
    again = say(step.state, "until Saturday", Move(call="renew"), day="Saturday")
    assert again.says == ("Emma until Saturday, the twenty-eighth of November, on card four seven one one?",)


def test_a_write_without_a_read_back_is_never_called() -> None:
    step = say(begun(), "burn it", Move(("Okay.",), "burn"))
    assert (step.act, step.says) == (None, ("Okay.",))


def test_it_leaves_by_its_named_ways_and_by_no_others() -> None:
    left = say(begun(), "that was all", Move(("Thanks.", "Anything else?"), leave="done"))
    assert left.says == ("Thanks.", "Enjoy your books.")
    assert left.state.stack == ()
    assert say(begun(), "that was all", Move(leave="out_of_the_window")).says == ("What is your card number?",)


def test_what_a_tool_is_called_for_is_done_or_asked_for_before_it_leaves() -> None:
    step = say(begun(), "it's card 4711", Move(call="find_loans", leave="done"), card="4711")
    assert step.act is not None
    asked = say(begun(), "what do I have", Move(call="find_loans", leave="done"))
    assert asked.says == ("What is your card number?",)


def test_it_ends_after_its_turns_and_calls_no_more_tools_than_it_may() -> None:
    state = begun()
    for _ in range(4):
        step = say(state, "hm", Move(("Okay.",)))
        state = step.state
    assert say(state, "hm", Move(("Okay.",))).says == ("Please come to the desk.",)
    busy = looked_up()
    assert set(engine().conversation(busy).tools) == {"find_loans", "renew", "burn"}
    again = engine().tool_done(say(busy, "again", Move(call="find_loans")).state, FOUND).state
    assert engine().conversation(again).tools == {}
    assert say(again, "and again", Move(call="find_loans")).act is None


def test_the_model_s_failing_goes_where_the_file_says() -> None:
    assert engine().gave_up(begun(), "failed").says == ("Please come to the desk.",)


def test_another_flow_in_between_comes_back_to_what_was_asked() -> None:
    asked = say(begun(), "I have a book", Move(("Which card is it?",)))
    aside = engine().start(asked.state, "aside", "", 3)
    back = engine().answer(through_json(aside.state), "Friday", 4)
    assert back.says == ("Which card is it?",)
    assert engine().conversation(back.state).talk.turns == 1


def test_calling_it_off_forgets_what_it_asked_for() -> None:
    step = engine().cancel(looked_up())
    assert step is not None
    assert "card" not in step.state.values


def test_outside_of_a_free_conversation_there_is_none() -> None:
    aside = engine().start(CallState(), "aside", "", 1).state
    with pytest.raises(FlowError, match="no free conversation"):
        engine().conversation(aside)
    waiting = dataclasses.replace(begun(), waiting="tool")
    with pytest.raises(FlowError, match="no free conversation"):
        engine().moved(waiting, Move())
