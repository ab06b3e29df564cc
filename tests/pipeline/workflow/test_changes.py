"""What a caller says again is changed, what he said too early counts, and more than a no forgets nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest
from pydantic import JsonValue

from models.settings import StrictModel, parse_settings
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState, Value
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from pipeline.workflow.definition import Flow
from pipeline.workflow.engine import Step, WorkflowEngine
from pipeline.workflow.form import without_forms

NOW = datetime(2026, 11, 25, 9)
FILE = """
variables:
  care: {type: choice, choices: {wash: [a wash, wash, bath, baño], claws: [claws, uñas]}}
  groomer:
    type: choice
    choices: {pilar: [Pilar], hugo: [Hugo], anybody: [anybody, no preference, me da igual, don't mind]}
  slot: {type: choice, options_from: slots}
  weight: {type: number, description: kilos}
  arrives: {type: date}
  leaves: {type: date}
  fetched: {type: time}
  day: {type: date}
  name: {type: name}
tools:
  find:
    description: What is free.
    effect: read
    arguments: {groomer: {}}
    http: {url: "https://dogs.example/free", query: {groomer: "{groomer}"}}
    returns: {slots: slots}
  walks:
    description: When somebody can walk a dog.
    effect: read
    arguments: {day: {required: false}}
    http: {url: "https://dogs.example/walks", query: {day: "{day}"}}
    returns: {slots: slots}
flows:
  groom:
    start: what
    cancelled: Fine, nothing is booked.
    forget: [care, groomer, slot]
    nodes:
      what: {do: form, fields: {care: "What is to be done?", groomer: "Who is to do it?"}, exhausted: lost, go: find}
      find: {do: call, tool: find, arguments: {groomer: "{groomer}"}, save: {slots: slots}, go: which, failed: lost}
      which:
        do: form
        fields: {slot: "I have {slots}. Which would you like?", name: "Your name?"}
        read_back: So {slot} for {name}, right?
        exhausted: lost
        go: lost
      lost: {do: say, say: "Somebody will help you.", go: end}
  stay:
    start: when
    cancelled: Fine, nothing is booked.
    nodes:
      when:
        do: form
        fields: {arrives: "From when?", leaves: "Until when?", fetched: "At what time?"}
        exhausted: lost
        go: who
      who: {do: form, fields: {name: "Your name?"}, exhausted: lost, go: right}
      right:
        do: confirm
        say: ["So until {leaves} at {fetched} for {name}?"]
        variables: [leaves, name]
        on_yes: lost
        on_no: kept
        forget: [leaves, name]
        exhausted: lost
      kept: {do: say, say: "All right, no stay.", go: end}
      lost: {do: say, say: "Somebody will help you.", go: end}
  walk:
    start: when
    nodes:
      when: {do: ask, variable: day, say: ["Which day?"], tries: 1, go: known, exhausted: known}
      known: {do: decide, edges: [{when: {known: slots}, go: which}], otherwise: find}
      find: {do: call, tool: walks, arguments: {day: "{day}"}, save: {slots: slots}, go: which, failed: lost}
      which:
        do: ask
        variable: slot
        say: ["I have {slots}. Which would you like?", "I only have {slots}."]
        narrow: "There is {fitting}. Which would you like?"
        go: lost
        exhausted: lost
      lost: {do: say, say: "Somebody will help you.", go: end}
  treat:
    start: care
    nodes:
      care: {do: ask, variable: care, say: ["A wash, or claws?"], go: who, exhausted: lost}
      who: {do: ask, variable: groomer, say: ["Who?"], go: right, exhausted: lost}
      right:
        do: confirm
        say: ["By {groomer}?"]
        variables: [groomer]
        on_yes: lost
        on_no: care
        forget: [care, groomer]
        exhausted: lost
      lost: {do: say, say: "Somebody will help you.", go: end}
"""
NOTE = Flow.model_validate(
    {
        "start": "say",
        "forget": ("groomer", "name"),
        "nodes": {"say": {"do": "say", "say": "Noted.", "go": "end"}},
    }
)
SLOTS: dict[str, JsonValue] = {
    "slots": [{"value": f"2026-11-{when}"} for when in ("26T10:00", "26T15:00", "27T10:00", "30T09:00")]
}


class Desk(StrictModel):
    variables: dict[str, Variable]
    tools: dict[str, Tool]
    flows: dict[str, Flow]


DESK = parse_settings(FILE, Desk, "test_changes.py")


def play(flow: str, *said: str, language: Language = "en") -> Step:
    flows = {name: without_forms(each, language) for name, each in DESK.flows.items()}
    desk = WorkflowEngine(flows, DESK.variables, call_id="CA1", now=lambda: NOW, language=language, tools=DESK.tools)
    step = desk.start(CallState(), flow, said[0], 1)
    for turn, words in enumerate(said[1:], 2):
        step = desk.answer(found(desk, step).state, words, turn)
    return found(desk, step)


def found(desk: WorkflowEngine, step: Step) -> Step:
    return desk.tool_done(step.state, ToolResult("ok", SLOTS)) if isinstance(step.act, ToolCall) else step


def values(step: Step) -> Mapping[str, str]:
    return {name: value.value for name, value in step.state.values.items()}


# -- another value while something else is asked ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Hugo please"),
        ("en", "I'd like Hugo"),
        ("en", "with Hugo would be nicer"),
        ("es", "Hugo, por favor"),
        ("es", "mejor con Hugo"),
    ],
)
def test_another_value_of_what_was_asked_before_changes_it_and_looks_up_anew(language: Language, said: str) -> None:
    step = play("groom", "a bath" if language == "en" else "un baño", "Pilar", said, language=language)
    assert values(step) == {"care": "wash", "groomer": "hugo"}
    assert step.state.visits == 2
    assert step.says[0].startswith("I have")


@pytest.mark.parametrize("said", ["Friday at ten would be nicer", "Monday"])
def test_what_was_chosen_is_changed_while_the_name_is_asked_for(said: str) -> None:
    step = play("groom", "a bath with Pilar", "tomorrow at ten", said)
    assert values(step)["slot"] == {"M": "2026-11-30T09:00", "F": "2026-11-27T10:00"}[said[0]]
    assert step.says == ("Your name?",)


def test_what_was_chosen_of_the_old_offer_is_chosen_anew() -> None:
    step = play("groom", "a bath with Pilar", "tomorrow at ten", "Hugo, please, for the claws")
    assert "slot" not in values(step)
    assert (values(step)["groomer"], values(step)["care"]) == ("hugo", "claws")


@pytest.mark.parametrize(
    "said",
    [
        "Is it with Hugo?",
        "is Hugo any good with big dogs",
        "Hugo's grandmother once recommended you",
        "I'm asking for Hugo's number",
    ],
)
def test_what_says_more_than_a_value_changes_nothing(said: str) -> None:
    assert values(play("groom", "a bath with Pilar", said))["groomer"] == "pilar"


def test_what_answers_the_question_is_the_answer_and_no_change() -> None:
    step = play("groom", "a bath with Pilar", "tomorrow at ten", "Hugo")
    assert (values(step)["groomer"], values(step)["name"]) == ("pilar", "Hugo")


def test_words_that_may_be_about_two_values_change_neither() -> None:
    known = ("my dog is to stay", "on Thursday", "on Saturday", "at four in the afternoon")
    assert values(play("stay", *known, "Friday would be better")) == values(play("stay", *known))
    assert values(play("stay", *known, "five in the afternoon would be better"))["fetched"] == "17:00"
    spanish = ("mi perro se queda", "el jueves", "el sábado", "a las cuatro de la tarde")
    assert values(play("stay", *spanish, "mejor a las cinco de la tarde", language="es"))["fetched"] == "17:00"


# -- more than a no -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["No, the bath was for somebody else's cat", "no, with my neighbor's van"])
def test_more_than_a_no_that_nobody_understands_is_asked_about_and_forgets_nothing(said: str) -> None:
    known = ("my dog is to stay", "on Thursday", "on Saturday", "at four in the afternoon", "Ann Holt")
    step = play("stay", *known, said)
    assert step.says == ("All right. What should I change?",)
    assert values(step)["leaves"] == "2026-11-28"
    assert play("stay", *known, "no").says == ("All right, no stay.",)
    assert play("stay", *known, said, "no").says == ("All right, no stay.",)
    again = play("stay", *known, said, "no, the van it was")
    assert again.says[-1].startswith("So until")
    assert values(again)["name"] == "Ann Holt"


@pytest.mark.parametrize(
    ("language", "said"), [("en", "No, at five in the afternoon"), ("es", "No, a las cinco de la tarde")]
)
def test_a_no_and_a_value_that_was_not_read_back_changes_it(language: Language, said: str) -> None:
    known = {
        "en": ("my dog is to stay", "on Thursday", "on Saturday", "at four in the afternoon", "Ann Holt"),
        "es": ("mi perro se queda", "el jueves", "el sábado", "a las cuatro de la tarde", "Ana Ruiz"),
    }
    step = play("stay", *known[language], said, language=language)
    assert values(step)["fetched"] == "17:00"
    assert step.says[-1].startswith("So until")


@pytest.mark.parametrize(("language", "said"), [("en", "No, the claws"), ("es", "No, las uñas")])
def test_what_is_asked_after_a_no_may_be_answered_with_it(language: Language, said: str) -> None:
    step = play("treat", "hm", "the bath" if language == "en" else "un baño", "Pilar", said, language=language)
    assert values(step)["care"] == "claws"


@pytest.mark.parametrize(("language", "said"), [("en", "on Thursday"), ("es", "el jueves")])
def test_one_value_is_not_taken_for_two_of_its_type(language: Language, said: str) -> None:
    step = play("stay", "my dog is to stay" if language == "en" else "mi perro se queda", said, language=language)
    assert values(step) == {"arrives": "2026-11-26"}
    assert step.says == ("Until when?",)


# -- said before it was on offer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "Do you have a bath for tomorrow with Pilar?"), ("es", "¿Tienen un baño para mañana con Pilar?")],
)
def test_a_day_said_first_narrows_what_is_found_later(language: Language, said: str) -> None:
    step = play("groom", said, language=language)
    assert len(step.state.narrowed) == 2
    assert step.says[0].startswith("I have Thursday" if language == "en" else "Tengo")
    second = play("groom", said, "the second one" if language == "en" else "la segunda", language=language)
    assert values(second)["slot"] == "2026-11-26T15:00"


def test_the_only_one_that_fits_what_was_said_first_is_taken() -> None:
    step = play("groom", "A bath on Friday, please.", "Pilar")
    assert values(step)["slot"] == "2026-11-27T10:00"
    assert step.says == ("Your name?",)
    assert step.state.values["slot"].turn == 1


def test_what_fits_nothing_is_offered_whole_and_what_was_said_first_counts_once() -> None:
    assert (
        play("groom", "A bath on Saturday with Pilar.")
        .says[0]
        .startswith("I'm sorry, I have nothing then. I have Thursday")
    )
    changed = play("groom", "A bath on Friday with Pilar.", "Hugo, please, for the claws")
    assert "slot" not in values(changed)
    assert not changed.state.early


def test_what_was_said_to_a_question_that_it_did_not_answer_narrows_too() -> None:
    step = play("walk", "A walk.", "Not before noon, please.")
    assert values(step)["slot"] == "2026-11-26T15:00"


def test_who_told_the_day_that_the_flow_asks_for_hears_of_it_from_the_flow() -> None:
    assert play("walk", "A walk on Saturday.").says[0].startswith("I have Thursday")


# -- another day than was looked up for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("What do you have on Tuesday?", "2026-12-01"),
        ("Saturday I can't. Is there anything on Tuesday?", "2026-12-01"),
        ("any other day, please", None),
        ("not Saturday, I'm away on Saturday", None),
    ],
)
def test_what_was_found_for_a_day_is_looked_up_again_for_another_or_any(said: str, day: str | None) -> None:
    step = play("walk", "A walk.", "Saturday", said)
    assert values(step).get("day") == day
    assert step.state.visits == 2


def test_a_question_for_a_day_of_which_one_thing_is_on_offer_gets_that_and_a_yes_takes_it() -> None:
    asked = ("A walk.", "whenever", "Is there anything on Monday?")
    assert play("walk", *asked).says == ("There is Monday at nine in the morning. Which would you like?",)
    assert values(play("walk", *asked, "yes please"))["slot"] == "2026-11-30T09:00"


def test_a_day_that_is_only_told_at_the_offer_is_looked_up() -> None:
    step = play("walk", "A walk.", "whenever", "Could it be on the fourth of December?")
    assert values(step)["day"] == "2026-12-04"
    assert step.state.visits == 2


def test_who_answers_what_was_narrowed_with_nothing_that_fits_hears_that_again() -> None:
    step = play("groom", "Do you have a bath for tomorrow with Pilar?", "hm, what a pity")
    assert step.says[0].startswith("I have Thursday at ten in the morning, or Thursday at three")


def test_what_two_flows_share_is_still_known_to_the_one_that_was_broken_into() -> None:
    desk = WorkflowEngine(
        {name: without_forms(each, "en") for name, each in DESK.flows.items()} | {"note": NOTE},
        DESK.variables,
        call_id="CA1",
        now=lambda: NOW,
        tools=DESK.tools,
    )
    known = CallState(values={"care": Value("wash"), "groomer": Value("hugo")})
    asked = desk.start(known, "treat", "", 1)
    after = desk.start(asked.state, "note", "", 2)
    assert after.says == ("Noted.", "By Hugo?")
    assert after.state.values["groomer"].value == "hugo"
    assert "name" not in after.state.values
