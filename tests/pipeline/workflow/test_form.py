"""A form collects what it needs in any order, reads it back once, and throws nothing away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest
from pydantic import JsonValue

from models.settings import SettingsError, StrictModel, parse_settings
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from pipeline.workflow.definition import AskNode, ConfirmNode, Flow, SayNode
from pipeline.workflow.engine import Step, WorkflowEngine
from pipeline.workflow.form import without_forms
from tests.pipeline.agents import AGENT

NOW = datetime(2026, 11, 25, 9)
TOMORROW = "Thursday, the twenty-sixth of November"
FILE = """
variables:
  boats: {type: number, description: how many boats, pattern: '[1-9]'}
  day: {type: date}
  hour: {type: time}
  slot: {type: choice, options_from: times}
  name: {type: name}
  phone: {type: phone}
  lesson: {type: yes_no}
tools:
  find:
    description: What is free.
    effect: read
    arguments: {day: {}, hour: {}}
    http: {url: "https://boats.example/free", query: {day: "{day}", hour: "{hour}"}}
    returns: {times: times}
flows:
  rent:
    start: what
    cancelled: Fine, nothing is booked.
    forget: [boats, day, hour]
    nodes:
      what:
        do: form
        fields:
          boats: How many boats would you like?
          day: ["For which day?", "Which day is it to be?"]
          hour: At what time?
          lesson: {say: "Is it your first time?", when: {at_least: {boats: 3}}}
          name: And your name, please?
        read_back: So that's {boats} boats on {day} at {hour} for {name}. Is that right?
        exhausted: lost
        go: done
      done: {do: say, say: "Booked for {day}.", go: end}
      lost: {do: say, say: "Somebody will help you.", go: end}
  look:
    start: when
    cancelled: Fine.
    nodes:
      when: {do: form, fields: {day: "For which day?", hour: "At what time?"}, exhausted: lost, go: find}
      find:
        do: call
        tool: find
        arguments: {day: "{day}", hour: "{hour}"}
        save: {times: times}
        go: which
        failed: lost
      which: {do: form, fields: {slot: "I have {times}. Which would you like?"}, exhausted: lost, go: who}
      who: {do: form, fields: {name: "Your name?"}, exhausted: lost, go: right}
      right:
        do: confirm
        say: ["So {slot} on {day} for {name}. Is that right?"]
        variables: [day, slot, name]
        on_yes: lost
        on_no: lost
        exhausted: lost
      lost: {do: say, say: "Somebody will help you.", go: end}
"""


class Desk(StrictModel):
    variables: dict[str, Variable]
    tools: dict[str, Tool]
    flows: dict[str, Flow]


DESK = parse_settings(FILE, Desk, "test_form.py")


def engine(language: Language = "en") -> WorkflowEngine:
    flows = {name: without_forms(flow, language) for name, flow in DESK.flows.items()}
    return WorkflowEngine(flows, DESK.variables, call_id="CA1", now=lambda: NOW, language=language, tools=DESK.tools)


def rent(first: str, *answers: str) -> Step:
    desk = engine()
    step = desk.start(CallState(), "rent", first, 1)
    for answer in answers:
        step = desk.answer(step.state, answer, 1)
    return step


def values(step: Step) -> Mapping[str, str]:
    return {name: value.value for name, value in step.state.values.items()}


READ_BACK = rent("two boats tomorrow at three", "Ann Holt")


def test_a_form_asks_for_one_thing_after_the_other_and_reads_all_of_it_back_once() -> None:
    said = [rent("boats please", *["two", "tomorrow", "at three", "Ann Holt"][:count]).says for count in range(5)]
    assert said == [
        ("How many boats would you like?",),
        ("For which day?",),
        ("At what time?",),
        ("And your name, please?",),
        (f"So that's two boats on {TOMORROW} at three in the afternoon for Ann Holt. Is that right?",),
    ]


def test_what_is_volunteered_in_the_first_words_or_in_an_answer_is_not_asked_for() -> None:
    assert rent("two boats tomorrow at three").says == ("And your name, please?",)
    assert rent("boats please", "two, for tomorrow at three").says == ("And your name, please?",)


def test_a_field_is_asked_for_only_where_its_condition_holds() -> None:
    assert rent("four boats tomorrow at three").says == ("Is it your first time?",)


def test_a_question_with_one_wording_is_put_again_with_an_apology() -> None:
    assert rent("boats please", "purple").says == ("Sorry, I didn't get that. How many boats would you like?",)
    assert rent("two boats", "purple").says == ("Which day is it to be?",)


def test_answers_that_never_fit_lead_where_the_form_says() -> None:
    assert rent("boats please", "purple", "green", "blue").says == ("Somebody will help you.",)


def test_a_yes_goes_on_and_what_the_flow_forgets_is_asked_for_anew_the_next_time() -> None:
    desk, booked = engine(), engine().answer(READ_BACK.state, "yes", 1)
    assert booked.says == (f"Booked for {TOMORROW}.",)
    again = desk.start(booked.state, "rent", "more boats", 2)
    assert again.says == ("How many boats would you like?",)
    assert values(again) == {"name": "Ann Holt"}


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ("no, at five", {"hour": "17:00"}),
        ("no, in the morning", {"hour": "03:00"}),
        ("it's not Ann, it's Anna Holt", {"name": "Anna Holt"}),
        ("no, three boats", {"boats": "3"}),
    ],
)
def test_a_correction_changes_that_value_and_keeps_the_rest(said: str, changed: Mapping[str, str]) -> None:
    step = engine().answer(READ_BACK.state, said, 1)
    assert values(step) == {**values(READ_BACK), **changed}
    assert step.says[-1].startswith("So that's")


def test_a_bare_no_is_asked_what_to_change_and_a_second_one_ends_it() -> None:
    desk = engine()
    asked = desk.answer(READ_BACK.state, "no", 1)
    assert asked.says == ("All right. What should I change?",)
    assert values(asked) == values(READ_BACK)
    assert (
        desk.answer(asked.state, "the time, make it five", 1)
        .says[-1]
        .endswith("at five in the afternoon for Ann Holt. Is that right?")
    )
    left = desk.answer(asked.state, "no", 1)
    assert left.says == ("Fine, nothing is booked.",)
    assert values(left) == {}


def test_after_an_aside_only_the_question_is_put_again_and_not_the_whole_read_back() -> None:
    assert engine().question(READ_BACK.state) == "Is that right?"
    assert engine().question(rent("boats please").state) == "How many boats would you like?"


TIMES: dict[str, JsonValue] = {"times": [{"value": "10:00"}, {"value": "14:00"}, {"value": "16:30"}]}


def test_what_was_looked_up_with_a_value_that_is_corrected_is_looked_up_again_and_chosen_anew() -> None:
    desk = engine()
    step = desk.start(CallState(), "look", "tomorrow at ten", 1)
    assert isinstance(step.act, ToolCall)
    step = desk.tool_done(step.state, ToolResult("ok", TIMES))
    step = desk.answer(step.state, "the first one", 1)
    step = desk.answer(step.state, "Ann Holt", 1)
    assert step.says[-1].endswith("Is that right?")
    step = desk.answer(step.state, "no, on Friday", 1)
    assert isinstance(step.act, ToolCall)
    assert step.act.arguments["day"] == "2026-11-27"
    assert "slot" not in step.state.values
    assert values(step)["name"] == "Ann Holt"
    assert desk.tool_done(step.state, ToolResult("ok", TIMES)).says[-1].endswith("Which would you like?")


def test_a_correction_of_what_nothing_was_looked_up_with_is_read_back_at_once() -> None:
    desk = engine()
    step = desk.tool_done(desk.start(CallState(), "look", "tomorrow at ten", 1).state, ToolResult("ok", TIMES))
    for answer in ("the first one", "Ann Holt", "no, it's Anna Holt"):
        step = desk.answer(step.state, answer, 1)
    assert step.act is None
    assert "Anna Holt" in step.says[-1]


def test_in_spanish_its_own_words_are_spanish() -> None:
    form = without_forms(DESK.flows["rent"], "es")
    asked, read_back = form.nodes["what"], form.nodes["what_read_back"]
    assert isinstance(asked, AskNode)
    assert isinstance(read_back, ConfirmNode)
    assert asked.say[1].startswith("Perdone")
    assert read_back.change == "De acuerdo. ¿Qué cambio?"
    assert asked.narrow == "Tengo {fitting}. ¿Cuál prefiere?"


def test_an_agent_s_forms_are_nodes_once_it_is_read() -> None:
    agent = type(AGENT).model_validate(
        AGENT.model_dump()
        | {"variables": DESK.variables, "flows": DESK.flows, "routes": AGENT.routes[:1], "on_call": None}
    )
    assert {"what", "what_day", "what_read_back", "what_left"} < set(agent.flows["rent"].nodes)
    assert isinstance(agent.flows["rent"].nodes["what_left"], SayNode)
    assert type(AGENT).model_validate(agent.model_dump()).flows == agent.flows


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (FILE.replace("cancelled: Fine, nothing is booked.", ""), "nodes.what: give `on_no`"),
        (FILE.replace("done: {do: say", "what_day: {do: say").replace("go: done", "go: what_day"), "rename the node"),
    ],
    ids=["no way out", "names that meet"],
)
def test_a_form_that_cannot_be_run_is_refused(wrong: str, said: str) -> None:
    desk = parse_settings(wrong, Desk, "test_form.py")
    with pytest.raises(ValueError, match=said):
        without_forms(desk.flows["rent"], "en")


def test_a_form_without_fields_is_refused_with_its_place() -> None:
    with pytest.raises(SettingsError, match=r"flows\.look\.nodes\.who"):
        parse_settings(FILE.replace('fields: {name: "Your name?"}', "fields: {}"), Desk, "test_form.py")


@pytest.mark.parametrize(
    ("said", "changed"),
    [("no, at half past four", {"hour": "16:30"}), ("sorry, I meant Friday", {"day": "2026-11-27"})],
)
def test_a_correction_while_something_else_is_asked_changes_what_was_told_and_the_question_comes_again(
    said: str, changed: Mapping[str, str]
) -> None:
    step = rent("two boats tomorrow at three", said)
    assert values(step) == {"boats": "2", "day": "2026-11-26", "hour": "15:00", **changed}
    assert step.says == ("And your name, please?",)
