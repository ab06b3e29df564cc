"""Flows: what is asked, what is understood, where it goes; nothing happens in here."""

from __future__ import annotations

from datetime import datetime

import pytest

from models.settings import StrictModel, parse_settings
from pipeline.hours import Hours
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState, HangUp, Transfer, Value
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.workflow.definition import Flow
from pipeline.workflow.engine import FlowError, Step, WorkflowEngine

NOW = datetime(2026, 11, 25, 10)


class Desk(StrictModel):
    variables: dict[str, Variable]
    flows: dict[str, Flow]


DESK = parse_settings(
    """
variables:
  opening: {type: choice, options_from: openings}
  name: {type: name}
  phone: {type: phone}
  urgent: {type: yes_no}
flows:
  book:
    start: find
    cancelled: Okay, I won't book anything.
    nodes:
      find: {do: call, tool: find_openings, save: {openings: openings}, go: choose, failed: sorry}
      choose:
        do: ask
        variable: opening
        say: ["I have {openings}. Which would you like?", "You can have {openings}."]
        narrow: "{fitting}?"
        go: who
        exhausted: person
      who:
        do: ask
        variable: name
        say: ["What name should I put it under?", "Which name?"]
        go: right
        exhausted: person
      right:
        do: confirm
        say: ["So that's {opening}, for {name}. Is that right?"]
        variables: [opening, name]
        on_yes: make
        on_no: choose
        forget: [opening]
        exhausted: person
      make:
        do: call
        tool: book
        arguments: {opening: "{opening}", name: "{name}", phone: "{caller}"}
        go: done
        rejected: {conflict: taken}
        failed: sorry
      taken: {do: set, forget: [opening], go: too_late}
      too_late: {do: say, say: "I'm sorry, that has just been taken.", go: find}
      done: {do: say, say: "You're booked for {opening}.", go: end}
      sorry: {do: say, say: "I'm sorry, I can't reach our calendar.", go: end}
      person: {do: transfer, reason: exhausted, target: desk, say: "I'll put you through.", next_step: book by hand}
  emergency:
    start: bad
    nodes:
      bad: {do: ask, variable: urgent, say: ["Is it bleeding?"], go: which, exhausted: bye}
      which: {do: decide, edges: [{when: {equals: {urgent: "yes"}}, go: now}], otherwise: back}
      now: {do: transfer, reason: emergency, target: doctor}
      back: {do: flow, flow: book, go: bye}
      bye: {do: hang_up, say: Goodbye.}
  first_aid:
    start: bad
    nodes:
      bad: {do: ask, variable: urgent, say: ["Is it bleeding?"], go: end, exhausted: end}
  circle:
    start: one
    nodes:
      one: {do: say, say: one, go: two}
      two: {do: say, say: two, go: one}
""",
    Desk,
    "test_engine.py",
)
OPENINGS = ToolResult(
    "ok",
    {
        "openings": [
            {"value": "2026-12-01T10:00", "spoken": "Tuesday at ten in the morning"},
            {"value": "2026-12-01T14:30", "spoken": "Tuesday at two thirty in the afternoon"},
            {"value": "2026-12-04T15:30", "spoken": "Friday at three thirty in the afternoon"},
        ]
    },
)


def engine() -> WorkflowEngine:
    return WorkflowEngine(DESK.flows, DESK.variables, call_id="CA1", caller="+15550100", now=lambda: NOW)


def talk(flow: str, *lines: str, first: str = "book please") -> Step:
    """The step after these lines; every read tool answers with the openings."""
    desk = engine()
    step = desk.start(CallState(), flow, first, 1)
    for turn, line in enumerate(("", *lines), start=1):
        if line:
            step = desk.answer(step.state, line, turn)
        while isinstance(step.act, ToolCall) and step.act.tool == "find_openings":
            step = desk.tool_done(step.state, OPENINGS)
    return step


def test_a_flow_asks_for_one_thing_after_another() -> None:
    assert talk("book").says == (
        "I have Tuesday at ten in the morning, Tuesday at two thirty in the afternoon, "
        "or Friday at three thirty in the afternoon. Which would you like?",
    )
    assert talk("book", "Friday").says == ("What name should I put it under?",)
    read_back = talk("book", "Friday", "My name is John Miller")
    assert read_back.says == ("So that's Friday at three thirty in the afternoon, for John Miller. Is that right?",)


def test_what_was_said_already_is_not_asked_for() -> None:
    step = talk("book", "Friday please, and my name is John Miller")
    assert step.says[0].startswith("So that's Friday")
    assert talk("book", "Friday", first="My name is Ann Lee and I'd like to book").says[0].endswith("Is that right?")


def test_what_a_called_flow_will_ask_for_is_taken_from_what_was_said_before_it() -> None:
    step = talk("emergency", "no", "Friday", first="My name is Ann Lee and it hurts")
    assert step.says == ("So that's Friday at three thirty in the afternoon, for Ann Lee. Is that right?",)


def test_a_new_wish_is_about_what_it_names_and_not_about_what_was_named_before() -> None:
    known = CallState().with_values(name=Value("John Miller"), phone=Value("+15550123"))
    begun = engine().start(known, "book", "My name is Ann Lee and I'd like to book", 4).state
    assert (begun.values["name"].value, begun.values["phone"].value) == ("Ann Lee", "+15550123")
    assert engine().start(known, "book", "I'd like to book", 4).state.values == known.values


def test_a_flow_that_breaks_in_changes_nothing_of_what_was_said_before() -> None:
    asked = talk("book", "Friday")
    other = engine().start(asked.state, "first_aid", "Tuesday at ten hurts", 3)
    assert other.state.values["opening"] == asked.state.values["opening"]


def test_an_answer_that_fits_several_is_narrowed_down() -> None:
    step = talk("book", "Tuesday")
    assert step.says == ("Tuesday at ten in the morning, or Tuesday at two thirty in the afternoon?",)
    assert talk("book", "Tuesday", "two thirty").says[0] == "What name should I put it under?"


def test_answers_that_do_not_fit_are_asked_again_in_other_words_and_then_a_person_takes_over() -> None:
    first = talk("book", "bananas")
    assert first.says[0].startswith("You can have")
    assert not first.fitted
    last = talk("book", "bananas", "apples", "pears")
    assert last.act == Transfer("exhausted", "desk", "book by hand")
    assert last.says == ("I'll put you through.",)
    assert last.state.waiting == "over"


def test_a_yes_confirms_and_the_tool_is_called_with_canonical_values_under_a_key_of_its_own() -> None:
    step = talk("book", "Friday", "My name is John Miller", "yes that's right")
    assert isinstance(step.act, ToolCall)
    assert step.act.arguments == {"opening": "2026-12-04T15:30", "name": "John Miller", "phone": "+15550100"}
    assert step.act.key.startswith("CA1/book/make/")
    assert all(step.state.values[name].confirmed for name in ("opening", "name"))
    done = engine().tool_done(step.state, ToolResult("ok", {}))
    assert done.says == ("You're booked for Friday at three thirty in the afternoon.",)
    assert done.state.waiting == "free"


def test_planning_a_step_twice_gives_the_same_key_and_the_next_visit_another() -> None:
    step = talk("book", "Friday", "My name is John Miller", "yes")
    again = talk("book", "Friday", "My name is John Miller", "yes")
    assert isinstance(step.act, ToolCall)
    assert step.act == again.act == engine().pending_call(step.state)
    taken = engine().tool_done(step.state, ToolResult("rejected", {}, "conflict"))
    assert taken.says == ("I'm sorry, that has just been taken.",)
    offered = engine().tool_done(taken.state, OPENINGS)
    second = engine().answer(engine().answer(offered.state, "Tuesday at ten", 5).state, "yes", 6)
    assert isinstance(second.act, ToolCall)
    assert second.act.key != step.act.key


def test_a_correction_at_the_read_back_is_taken_over_and_read_back() -> None:
    step = talk("book", "Friday", "My name is John Miller", "No, Tuesday at ten")
    assert step.says == ("So that's Tuesday at ten in the morning, for John Miller. Is that right?",)


def test_a_plain_no_asks_again() -> None:
    assert talk("book", "Friday", "My name is John Miller", "No").says[0].startswith("I have Tuesday")


@pytest.mark.parametrize("status", ["failed", "unknown"])
def test_a_tool_that_fails_leads_where_the_flow_says(status: str) -> None:
    desk = engine()
    step = desk.start(CallState(), "book", "book", 1)
    failed = desk.tool_done(step.state, ToolResult(status, {}))  # type: ignore[arg-type]
    assert failed.says == ("I'm sorry, I can't reach our calendar.",)
    assert failed.state.stack == ()


def test_a_code_that_the_flow_does_not_list_counts_as_a_failure() -> None:
    desk = engine()
    step = desk.start(CallState(), "book", "book", 1)
    assert desk.tool_done(step.state, ToolResult("rejected", {}, "weird")).says[0].startswith("I'm sorry")


def test_decisions_sub_flows_and_the_way_back() -> None:
    assert talk("emergency", "yes").act == Transfer("emergency", "doctor", "")
    step = talk("emergency", "no", "Friday", "My name is Ann Lee", "yes")
    done = engine().tool_done(step.state, ToolResult("ok", {}))
    assert done.says == ("You're booked for Friday at three thirty in the afternoon.", "Goodbye.")
    assert done.act == HangUp()


def test_a_flow_that_breaks_in_gives_the_floor_back() -> None:
    desk = engine()
    asked = talk("book", "Friday")
    other = desk.start(asked.state, "emergency", "it hurts", 3)
    assert other.says == ("Is it bleeding?",)
    assert [place.flow for place in other.state.stack] == ["book", "emergency"]


def test_calling_it_off_forgets_what_was_asked_for() -> None:
    asked = talk("book", "Friday")
    off = engine().cancel(asked.state)
    assert off is not None
    assert off.says == ("Okay, I won't book anything.",)
    assert off.state.stack == ()
    assert "opening" not in off.state.values
    assert engine().cancel(CallState()) is None


def test_a_circle_is_an_error_not_an_endless_loop() -> None:
    with pytest.raises(FlowError, match="circles"):
        engine().start(CallState(), "circle", "", 1)


def test_an_answer_that_nobody_waits_for_is_an_error() -> None:
    with pytest.raises(FlowError, match="no flow is under way"):
        engine().answer(CallState(), "yes", 1)


READ_BACK = ("Friday", "My name is Kim Walsh")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no, in the morning", "Tuesday at ten in the morning, for Kim Walsh"),
        ("It's not Kim, it's Kimberly", "Friday at three thirty in the afternoon, for Kimberly Walsh"),
        ("it's not Kim, it's Joan Miller", "Friday at three thirty in the afternoon, for Joan Miller"),
        ("The last name is Welch, actually", "Friday at three thirty in the afternoon, for Kim Welch"),
        ("It's spelled W-E-L-C-H", "Friday at three thirty in the afternoon, for Kim Welch"),
        ("make that Tuesday at ten", "Tuesday at ten in the morning, for Kim Walsh"),
        ("Not Friday, Tuesday at two thirty", "Tuesday at two thirty in the afternoon, for Kim Walsh"),
        ("Yes, but on Tuesday at ten", "Tuesday at ten in the morning, for Kim Walsh"),
        ("Yes, Tuesday at ten", "Tuesday at ten in the morning, for Kim Walsh"),
        ("No, two thirty, and for Tim Welch", "Tuesday at two thirty in the afternoon, for Tim Welch"),
    ],
)
def test_a_correction_changes_what_it_names_and_keeps_the_rest(line: str, said: str) -> None:
    assert talk("book", *READ_BACK, line).says == (f"So that's {said}. Is that right?",)


@pytest.mark.parametrize("line", ["Yes, Friday at three thirty.", "yes, for Kim Walsh", "Yes. Have a good morning!"])
def test_a_yes_that_says_the_same_again_confirms(line: str) -> None:
    assert isinstance(talk("book", *READ_BACK, line).act, ToolCall)


@pytest.mark.parametrize("line", ["Sounds good, but I need another day", "Good question.", "Hang on a second"])
def test_a_yes_with_an_objection_writes_nothing(line: str) -> None:
    step = talk("book", *READ_BACK, line)
    assert step.act is None
    assert not step.fitted


def test_a_correction_that_fits_several_is_narrowed_down_and_the_rest_is_kept() -> None:
    step = talk("book", *READ_BACK, "No, on Tuesday")
    assert step.says == ("Tuesday at ten in the morning, or Tuesday at two thirty in the afternoon?",)
    back = engine().answer(step.state, "ten", 5)
    assert back.says == ("So that's Tuesday at ten in the morning, for Kim Walsh. Is that right?",)


def test_what_is_called_wrong_is_asked_for_again_and_the_rest_is_kept() -> None:
    step = talk("book", *READ_BACK, "No, the name is wrong")
    assert step.says == ("What name should I put it under?",)
    back = engine().answer(step.state, "Ann Lee", 5)
    assert back.says == ("So that's Friday at three thirty in the afternoon, for Ann Lee. Is that right?",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("It's for Ana Silva, oh wait, make that Tuesday at ten", "Tuesday at ten in the morning, for Ana Silva"),
        ("Ana Silva. Actually, can we make it two thirty?", "Tuesday at two thirty in the afternoon, for Ana Silva"),
    ],
)
def test_an_answer_may_change_what_was_said_before(line: str, said: str) -> None:
    assert talk("book", "Friday", line).says == (f"So that's {said}. Is that right?",)


def test_a_change_without_an_answer_is_taken_and_the_question_asked_again() -> None:
    step = talk("book", "Friday", "No, actually Tuesday at ten")
    assert step.says == ("What name should I put it under?",)
    assert step.state.values["opening"].value == "2026-12-01T10:00"


def asking_what_to_change() -> WorkflowEngine:
    book = DESK.flows["book"]
    right = book.nodes["right"].model_copy(update={"change": "What should I change?"})
    flows = {**DESK.flows, "book": book.model_copy(update={"nodes": {**book.nodes, "right": right}})}
    return WorkflowEngine(flows, DESK.variables, call_id="CA1", now=lambda: NOW)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Tuesday at ten", "So that's Tuesday at ten in the morning, for Kim Walsh. Is that right?"),
        ("Joan Miller", "So that's Friday at three thirty in the afternoon, for Joan Miller. Is that right?"),
        ("the name", "What name should I put it under?"),
        ("Bananas", "So that's Friday at three thirty in the afternoon, for Kim Walsh. Is that right?"),
    ],
)
def test_after_a_bare_no_it_asks_what_to_change_and_keeps_everything(line: str, says: str) -> None:
    desk = asking_what_to_change()
    no = desk.answer(talk("book", *READ_BACK).state, "No.", 4)
    assert no.says == ("What should I change?",)
    assert desk.prompt(no.state) == "What should I change?"
    assert desk.answer(no.state, line, 5).says == (says,)


def test_a_second_bare_no_goes_where_a_no_goes() -> None:
    desk = asking_what_to_change()
    no = desk.answer(talk("book", *READ_BACK).state, "No.", 4)
    assert desk.answer(no.state, "No.", 5).says[0].startswith("I have Tuesday")


@pytest.mark.parametrize("line", ["Sounds good, but I need a later one", "Fine, except it's too early"])
def test_a_yes_with_an_objection_is_asked_what_to_change(line: str) -> None:
    step = asking_what_to_change().answer(talk("book", *READ_BACK).state, line, 4)
    assert step.says == ("What should I change?",)
    assert step.fitted


@pytest.mark.parametrize(
    ("said", "surely"),
    [
        ("Tuesday at ten", True),
        ("um, Tuesday at ten please", True),
        ("Tuesday at ten, or is that when the other doctor is in", False),
        ("do you take dogs", False),
    ],
)
def test_an_answer_is_sure_if_hardly_a_word_of_it_is_left_unread(said: str, surely: bool) -> None:
    one = engine()
    asked = one.tool_done(one.start(CallState(), "book", "", 1).state, OPENINGS).state
    assert one.surely_answers(asked, said) is surely


def test_a_name_is_never_sure_and_nothing_is_where_nothing_was_asked() -> None:
    one = engine()
    asked = one.tool_done(one.start(CallState(), "book", "", 1).state, OPENINGS).state
    named = one.answer(asked, "Tuesday at ten", 2).state
    assert not one.surely_answers(named, "John Miller")
    assert not one.surely_answers(CallState(), "Tuesday at ten")
    read_back = one.answer(named, "John Miller", 3).state
    assert one.surely_answers(read_back, "Yes, that's right")


def test_a_question_that_another_answer_settles_is_not_asked_any_more() -> None:
    flow = Flow.model_validate(
        {
            "start": "same",
            "nodes": {
                "same": {
                    "do": "ask",
                    "variable": "urgent",
                    "settled_by": "phone",
                    "say": ("Shall we call this number?",),
                    "go": "which",
                    "exhausted": "end",
                },
                "which": {"do": "ask", "variable": "phone", "say": ("Which?",), "go": "told", "exhausted": "end"},
                "told": {"do": "say", "say": "We call {phone}.", "go": "end"},
            },
        }
    )
    engine = WorkflowEngine({"ring": flow}, DESK.variables, call_id="CA1", now=lambda: NOW)
    asked = engine.start(CallState(), "ring", "", 1)
    assert asked.says == ("Shall we call this number?",)
    for said in ("2065550147", "well, you can call me at 206 555 0147"):
        assert engine.answer(asked.state, said, 2).says == (
            "We call two zero six, five five five, zero one four seven.",
        )
    assert engine.answer(asked.state, "no", 2).says == ("Which?",)
    known = CallState().with_values(phone=Value("+12065550147"))
    assert engine.start(known, "ring", "", 1).says[0].startswith("We call two zero six")


PARCELS = parse_settings(
    """
variables:
  number: {type: digits, fewest_digits: 8, most_digits: 8, description: tracking number}
  spot: {type: choice, choices: {porch: [on the porch], shed: [in the shed, the shed]}}
  people: {type: number, description: number of people}
  name: {type: name}
  day: {type: date}
flows:
  which:
    start: number
    nodes: {number: {do: ask, variable: number, say: ["Which number?"], go: end, exhausted: end}}
  find:
    start: which
    nodes: {which: {do: flow, flow: which, go: end}}
  leave:
    start: which
    nodes:
      which: {do: flow, flow: which, go: where}
      where: {do: ask, variable: spot, say: ["Where?"], go: end, exhausted: end}
  come:
    start: day
    nodes:
      day: {do: ask, variable: day, say: ["When?"], go: who, exhausted: end}
      who: {do: ask, variable: name, say: ["Who?"], go: many, exhausted: end}
      many: {do: ask, variable: people, say: ["How many?"], go: end, exhausted: end}
""",
    Desk,
    "test_engine.py",
)


@pytest.mark.parametrize(
    ("said", "flows"),
    [
        ("leave it in the shed please", {"leave": 1}),
        ("where is it, my tracking number is 4711 0815", {"find": 1, "leave": 1}),
        ("tracking number 4711 0815, on the porch please", {"find": 1, "leave": 2}),
        ("I'd come on the third of December", {}),
        ("are you open on Thursday", {}),
        ("my name is Kim Otis and we are three people", {}),
        ("yes, at ten", {}),
        ("", {}),
    ],
)
def test_a_value_tells_of_the_flows_that_would_ask_for_it_if_it_is_seldom_said_otherwise(
    said: str, flows: dict[str, int]
) -> None:
    one = WorkflowEngine(PARCELS.flows, PARCELS.variables, call_id="CA1", now=lambda: NOW)
    told = one.told_flows(said)
    assert {flow: told[flow] for flow in ("find", "leave", "come") if told.get(flow)} == flows


@pytest.mark.parametrize(
    ("part", "only"),
    [
        ("The tracking number is 4711 0815.", True),
        ("and my tracking number is four seven one one zero eight one five", True),
        ("My name is Kim Otis.", False),
        ("I want to know where number 4711 0815 has got to", False),
        ("leave it in the shed", False),
        ("4711 0815", False),
        ("What is a tracking number?", False),
    ],
)
def test_a_part_that_only_tells_a_number_is_known(part: str, only: bool) -> None:
    one = WorkflowEngine(PARCELS.flows, PARCELS.variables, call_id="CA1", now=lambda: NOW)
    assert one.only_tells(part) is only


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Please call again tomorrow at eight in the morning."),
        ("es", "Please call again mañana a las ocho de la mañana."),
    ],
)
def test_a_text_may_say_when_the_business_opens_next(language: Language, said: str) -> None:
    flow = parse_settings(
        'start: later\nnodes: {later: {do: say, say: "Please call again {next_opening}.", go: end}}', Flow, "flow"
    )
    hours = parse_settings("thursday: 8:00-12:00", Hours, "hours.yaml")
    one = WorkflowEngine({"later": flow}, {}, call_id="CA1", now=lambda: NOW, hours=hours, language=language)
    assert one.start(CallState(), "later", "", 1).says == (said,)


def test_a_flow_goes_by_the_hours_of_the_moment() -> None:
    flow = parse_settings(
        """
start: which
nodes:
  which: {do: decide, edges: [{when: {open: now}, go: there}], otherwise: away}
  there: {do: say, say: "Somebody is here.", go: end}
  away: {do: say, say: "Nobody is here.", go: end}
""",
        Flow,
        "flow",
    )
    hours = parse_settings("wednesday: 8:00-12:00", Hours, "hours.yaml")
    moments = iter([NOW, NOW.replace(hour=12)])
    one = WorkflowEngine({"which": flow}, {}, call_id="CA1", now=lambda: next(moments), hours=hours)
    assert one.start(CallState(), "which", "", 1).says == ("Somebody is here.",)
    assert one.start(CallState(), "which", "", 1).says == ("Nobody is here.",)
