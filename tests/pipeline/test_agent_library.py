"""Flows of the library: an agent fills one with its tools and words, and it runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from models.settings import SettingsError, parse_mapping
from pipeline.agent import Agent, agent_of
from pipeline.agent_check import check_agent
from pipeline.agent_library import library_flow, library_flows
from pipeline.state import CallState, Value
from pipeline.tools.calls import JsonValue, ToolCall, ToolResult
from pipeline.workflow.engine import Step, WorkflowEngine

FILE = """
name: Hill Farm
voice: af_heart
language: {language}
facts: [{{id: a, text: We are on the hill., questions: ["Where are you?"]}}]
variables: {{state: {{type: text}}, name: {{type: name, description: guest}}}}
connections: {{farm: {{base_url: "https://farm.example"}}}}
tools:
  free: {{description: What is free., effect: read, http: {{url: free, auth: farm}}, returns: {{openings: openings}}}}
  enter:
    description: Book.
    effect: write
    confirm: true
    arguments: {{opening: {{}}, name: {{}}, phone: {{required: false}}}}
    http: {{method: POST, url: stays, auth: farm, idempotency_header: Key, codes: {{"409": conflict}}}}
  mine:
    description: A caller's bookings.
    effect: read
    arguments: {{phone: {{}}}}
    http: {{url: stays, query: {{phone: "{{phone}}"}}, auth: farm}}
    returns: {{bookings: stays}}
  drop:
    description: Cancel.
    effect: write
    confirm: true
    arguments: {{booking: {{}}}}
    http: {{method: DELETE, url: "stays/{{booking}}", auth: farm, idempotency_header: Key}}
  tell_them:
    description: Pass on.
    effect: write
    confirm: true
    arguments: {{phone: {{}}, name: {{}}, message: {{required: false}}}}
    http: {{method: POST, url: notes, auth: farm, idempotency_header: Key}}
  ring_them:
    description: Have somebody call back.
    effect: write
    confirm: false
    arguments: {{phone: {{}}, name: {{required: false}}, about: {{required: false}}}}
    http: {{method: POST, url: calls, auth: farm, idempotency_header: Key}}
  shift:
    description: Move.
    effect: write
    confirm: true
    arguments: {{booking: {{}}, opening: {{}}}}
    http: {{method: PATCH, url: "stays/{{booking}}", auth: farm, idempotency_header: Key, codes: {{"409": conflict}}}}
  order:
    description: How far an order is.
    effect: read
    arguments: {{number: {{}}}}
    http: {{url: "orders/{{number}}", auth: farm}}
    returns: {{state: state}}
flows:
  stay: {{use: book, with: {{find: free, book: enter{more}}}}}
  drop: {{use: cancel, with: {{find: mine, cancel: drop}}}}
  shift: {{use: move, with: {{find: mine, free: free, move: shift}}}}
  ring: {{use: call_back, with: {{tool: ring_them}}}}
  note: {{use: message, with: {{tool: tell_them}}}}
  where: {{use: look_up, with: {{tool: order, save: {{state: state}}, tell: "Order {{number}} is {{state}}."}}}}
escalation: {{targets: {{desk: {{number: "+15550199"}}}}, default: desk}}
routes:
  - {{name: stay, kind: flow, flow: stay, examples: ["I want to stay", "a room please", "book me in"]}}
  - {{name: drop, kind: flow, flow: drop, examples: ["cancel my room", "we can't come", "call it off"]}}
  - {{name: shift, kind: flow, flow: shift, examples: ["another room", "move my booking", "change it"]}}
  - {{name: ring, kind: flow, flow: ring, examples: ["call me back", "ring me later", "phone me"]}}
  - {{name: note, kind: flow, flow: note, examples: ["a message for her", "tell them something", "leave word"]}}
  - {{name: where, kind: flow, flow: where, examples: ["my order", "the parcel", "has it been sent"]}}
"""


def farm(language: str = "en", more: str = "", **changes: str) -> Agent:
    text = FILE.format(language=language, more=more)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return agent_of(parse_mapping(text, "farm.yaml"), Path("farm.yaml"))


NOTHING = CallState()


def talk(
    agent: Agent, flow: str, results: dict[str, ToolResult], *lines: str, caller: str = "", known: CallState = NOTHING
) -> Step:
    """The last step of a flow; tools answer as given."""
    engine = WorkflowEngine(
        agent.flows,
        agent.variables,
        call_id="CA1",
        caller=caller,
        now=lambda: datetime(2026, 11, 25, 9),
        language=agent.language,
        tools=agent.tools,
    )
    step = engine.start(known, flow, "", 1)
    for line in (*lines, ""):
        while isinstance(step.act, ToolCall):
            step = engine.tool_done(step.state, results.get(step.act.tool, ToolResult("ok", {})))
        if line:
            step = engine.answer(step.state, line, 1)
    return step


ROOMS: list[JsonValue] = [{"value": "r1", "spoken": "the blue room"}, {"value": "r2", "spoken": "the green room"}]
FREE, MINE = ToolResult("ok", {"openings": ROOMS}), ToolResult("ok", {"bookings": ROOMS[:1]})
TAKEN = ToolResult("rejected", {}, "conflict")


@pytest.mark.parametrize("language", ["en", "es"])
def test_an_agent_of_nothing_but_library_flows_is_sound(language: str) -> None:
    findings = [f"{one.where}: {one.what}" for one in check_agent(farm(language)) if one.severity == "error"]
    assert findings == []


@pytest.mark.parametrize("name", library_flows())
def test_every_flow_of_the_library_says_the_same_in_each_language_and_uses_all_that_it_takes(name: str) -> None:
    flow = library_flow(name)
    assert flow.texts["en"].keys() == flow.texts["es"].keys()
    written = str(flow.flow) + str(flow.variables) + str(flow.texts)
    for parameter in (*flow.needs, *flow.may_have, *flow.names, *flow.texts["en"]):
        assert f"${parameter}" in written


def test_a_booking_is_made_of_what_the_tool_has_found_and_read_back() -> None:
    step = talk(farm(), "stay", {"free": FREE})
    assert step.says == ("I have the blue room, or the green room. Which would you like?",)
    step = talk(farm(), "stay", {"free": FREE}, "the green room", "Ann Holt")
    assert step.says == ("So that's the green room, for Ann Holt. Is that right?",)
    step = talk(farm(), "stay", {"free": FREE}, "the green room", "Ann Holt", "yes")
    assert step.says == ("You're booked for the green room. Is there anything else I can help you with?",)
    assert "opening" not in step.state.values


def test_an_opening_that_is_gone_is_offered_anew() -> None:
    step = talk(farm(), "stay", {"free": FREE, "enter": TAKEN}, "the green room", "Ann Holt", "yes")
    assert step.says[-1].endswith("Which would you like?")


def test_who_is_known_by_his_number_is_not_asked_for_the_name_unless_he_says_no_twice() -> None:
    known = CallState(values={"known_name": Value("Ann Holt", source="tool")})
    lines = ("the green room", "no", "no", "the blue room")
    agent = farm(more=", known_name: known_name")
    assert talk(agent, "stay", {"free": FREE}, *lines[:1], known=known).says == (
        "So that's the green room, for Ann Holt. Is that right?",
    )
    assert talk(agent, "stay", {"free": FREE}, *lines[:3], known=known).says == ("Okay. Which would you like then?",)
    assert talk(agent, "stay", {"free": FREE}, *lines, known=known).says == ("What name should I put it under?",)
    assert "known_name" not in farm().variables


MORE = """, find_arguments: {kind: "{kind}"}, book_arguments: {kind: "{kind}", plate: "{plate}"}, also: [kind],
    more_fields: {plate: "Which plate?"}, rejected: {full: full},
    read_back: "A {kind} room, {opening}, {name}, {plate}?"},
    start: what, forget: [kind, plate, opening, openings], nodes: {
    what: {do: form, fields: {kind: "Which kind?"}, go: known}, other: {do: set, forget: [openings], go: what},
    full: {do: say, say: All full., go: end}}"""


def test_a_booking_may_ask_for_something_before_it_looks_and_for_more_than_a_name() -> None:
    agent = farm(
        **{
            "{find: free, book: enter}}": f"{{find: free, book: enter{MORE}}}",
            "state: {type: text},": "state: {type: text}, kind: {type: text}, plate: {type: digits},",
            "effect: read, http: {url: free,": "effect: read, arguments: {kind: {required: false}}, http: {url: free,",
            "opening: {}, name: {},": "opening: {}, name: {}, kind: {}, plate: {},",
            '"409": conflict}}\n  mine': '"409": conflict, "410": full}}\n  mine',
        }
    )
    assert [f"{one.where}: {one.what}" for one in check_agent(agent) if one.severity == "error"] == []
    lines = ("quiet", "the green room", "Ann Holt", "4711")
    assert talk(agent, "stay", {"free": FREE}).says == ("Which kind?",)
    assert talk(agent, "stay", {"free": FREE}, *lines[:3]).says == ("Which plate?",)
    step = talk(agent, "stay", {"free": FREE}, *lines)
    assert step.says == ("A quiet room, the green room, Ann Holt, four seven one one?",)
    assert talk(agent, "stay", {"free": FREE}, *lines, "no", "no").says == ("Which kind?",)
    full = ToolResult("rejected", {}, "full")
    step = talk(agent, "stay", {"free": FREE, "enter": full}, *lines, "yes")
    assert step.says == ("All full.",)
    assert step.state.values.keys() == {"name"}


@pytest.mark.parametrize("flow", ["drop", "shift"])
def test_a_booking_is_looked_for_by_the_number_of_the_call_and_then_by_the_one_it_was_made_with(flow: str) -> None:
    nothing = {"mine": ToolResult("rejected", {}, "not_found"), "free": FREE}
    step = talk(farm(), flow, nothing, caller="+14155550134")
    assert step.says[0].startswith("I can't find it by the number you're calling from.")
    step = talk(farm(), flow, nothing, "415 555 0177", caller="+14155550134")
    assert step.says[-1].startswith("I can't find a booking under that number.")
    step = talk(farm(), flow, {"mine": MINE, "free": FREE}, caller="+14155550134")
    assert step.says[-1].startswith(("So I cancel the blue room.", "I can move it to the blue room"))


def test_one_of_several_bookings_is_cancelled_on_a_yes_and_stays_on_a_no() -> None:
    mine = {"mine": ToolResult("ok", {"bookings": ROOMS})}
    lines = ("the green room", "yes")
    assert talk(farm(), "drop", mine).says == ("You have the blue room, and the green room. Which one shall I cancel?",)
    assert talk(farm(), "drop", mine, *lines[:1]).says == ("So I cancel the green room. Is that right?",)
    assert talk(farm(), "drop", mine, *lines).says[0].startswith("It is cancelled.")
    assert talk(farm(), "drop", mine, lines[0], "no").says[0].startswith("Okay, everything stays as it is.")


def test_a_booking_is_moved_once_both_have_been_read_back() -> None:
    results = {"mine": MINE, "free": FREE}
    assert talk(farm(), "shift", results, "the green room").says == (
        "So I move the blue room to the green room. Is that right?",
    )
    assert talk(farm(), "shift", results, "the green room", "yes").says[0].startswith("Done, it is now the green room.")
    assert talk(farm(), "shift", results, "the green room", "no").says == ("Okay. Which would you like then?",)


def test_who_is_called_back_need_not_say_the_number_that_the_call_comes_from() -> None:
    lines = ("yes", "Ann Holt")
    assert talk(farm(), "ring", {}, caller="+14155550134").says[-1].endswith("the number you're calling from?")
    step = talk(farm(), "ring", {}, *lines, caller="+14155550134")
    assert step.says[0].startswith("Thank you. A colleague will call you back on four one five")
    other = talk(farm(), "ring", {}, "no, on 415 555 0177", caller="+14155550134")
    assert other.says == ("So we call you back on four one five, five five five, zero one seven seven. Is that right?",)


def test_who_calls_back_gets_to_know_what_the_caller_said_if_the_tool_takes_it() -> None:
    said = "My hen has stopped laying, could somebody ring me about it?"
    for agent, about in (
        (farm(), said),
        (
            farm(**{", about: {required: false}": ""}),
            None,
        ),
    ):
        engine = WorkflowEngine(
            agent.flows,
            agent.variables,
            call_id="CA1",
            caller="+14155550134",
            now=lambda: datetime(2026, 11, 25, 9),
            tools=agent.tools,
        )
        step = engine.start(NOTHING, "ring", said, 1)
        for line in ("yes", "Ann Holt"):
            step = engine.answer(step.state, line, 2)
        assert isinstance(step.act, ToolCall)
        assert step.act.arguments.get("about") == about


@pytest.mark.parametrize("caller", ["", "anonymous"])
def test_a_call_back_and_a_message_are_read_back_before_they_are_left(caller: str) -> None:
    step = talk(farm(), "ring", {}, "415 555 0134", caller=caller)
    assert step.says[0].startswith("So we call you back on four one five")
    step = talk(farm(), "ring", {}, "415 555 0134", "yes", "Ann Holt", caller=caller)
    assert step.says[0].startswith("Thank you. A colleague will call you back on four one five")
    step = talk(farm(), "note", {}, "the hen has laid", "Ann Holt", "415 555 0134", "yes")
    assert step.says[0].startswith("I have passed it on.")


def test_something_is_looked_up_by_a_number_and_told_in_the_agent_s_words() -> None:
    step = talk(farm(), "where", {"order": ToolResult("ok", {"state": "on its way"})}, "4711")
    assert step.says == ("Order four seven one one is on its way.",)
    missing = talk(farm(), "where", {"order": ToolResult("rejected", {}, "not_found")}, "4711")
    assert missing.says[0].startswith("I can't find anything under four seven one one.")


def test_it_speaks_the_agent_s_language() -> None:
    step = talk(farm("es"), "stay", {"free": FREE})
    assert step.says == ("Tengo the blue room, o the green room. ¿Cuál prefiere?",)


def test_an_agent_words_it_otherwise_and_calls_its_variables_what_it_likes() -> None:
    agent = farm(more=', opening: room, openings: rooms, ask_opening: "There is {rooms}. Well?"')
    assert talk(agent, "stay", {"free": FREE}).says == ("There is the blue room, or the green room. Well?",)
    assert {"room", "name"} < set(agent.variables)
    assert agent.variables["name"].description == "guest"


def test_nodes_of_its_own_stand_for_those_of_the_library() -> None:
    own = '{use: call_back, with: {tool: ring_them}, nodes: {left: {do: say, say: "Till soon.", go: end}}}'
    agent = farm(**{"{use: call_back, with: {tool: ring_them}}": own})
    assert talk(agent, "ring", {}, "415 555 0134", "yes", "Ann Holt").says == ("Till soon.",)


def test_nodes_of_the_library_that_the_agent_s_own_lead_past_are_left_out() -> None:
    call = "known: {do: call, tool: free, save: {openings: openings}, go: details}"
    own = f"nodes: {{{call}, anew: {{do: say, say: Gone., go: end}}}}"
    agent = farm(**{"book: enter}}": f"book: enter}}, {own}}}"})
    assert {"look", "any", "none"}.isdisjoint(agent.flows["stay"].nodes)
    assert [f"{one.where}: {one.what}" for one in check_agent(agent) if one.severity == "error"] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "use: call_back",
            "use: call_bak",
            "flows.ring.use: no such flow: 'call_bak'; expected one of book, call",
        ),
        ("with: {find: free, book: enter}", "with: {find: free}", "flows.stay.with.book: missing; book needs a write"),
        (
            "book: enter}",
            "book: enter, opning: x}",
            "flows.stay.with.opning: book has no .*did you mean 'opening'",
        ),
    ],
)
def test_what_is_missing_or_unknown_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        farm(**{old: new})
