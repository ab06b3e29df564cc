"""Flows that do not say what happens if they come to nothing: a line, and then a person, or nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.agent import Agent, agent_of
from pipeline.agent_check import check_agent
from pipeline.state import CallState, Transfer, Value
from pipeline.tools.calls import ToolResult
from pipeline.workflow.definition import AskNode, ConfirmNode, TalkNode
from pipeline.workflow.engine import Step, WorkflowEngine
from tests.pipeline.rig import NOW

WORKSHOP = """
name: Pier Workshop
voice: af_heart
facts: [{id: place, text: We are on the pier.}]
variables:
  ticket: {type: digits, fewest_digits: 4, most_digits: 4, description: ticket}
  here: {type: yes_no}
on_call: arrive
flows:
  arrive: {start: look, nodes: {look: {do: call, tool: staff, save: {here: here}, go: end}}}
  pick_up:
    start: which
    nodes:
      which: {do: ask, variable: ticket, say: ["Which ticket?"], tries: 1, go: find}
      find: {do: call, tool: find, arguments: {ticket: "{ticket}"}, go: right}
      right: {do: confirm, say: ["Ticket {ticket}?"], variables: [ticket], tries: 1, on_yes: book, on_no: which}
      book: {do: call, tool: book, arguments: {ticket: "{ticket}"}, go: done}
      done: {do: say, say: Done., go: end}
  message:
    start: leave
    nodes:
      leave: {do: call, tool: leave, go: left}
      left: {do: say, say: "Somebody will call you.", go: end}
routes:
  - {name: pick_up, kind: flow, flow: pick_up, examples: [pick it up, fetch my bike, collect it]}
  - {name: message, kind: flow, flow: message, examples: [take a message, note this, tell them]}
tools:
  staff: {description: who is there, effect: read, http: {url: "https://pier.example/staff"}, returns: {here: here}}
  find: {description: find, effect: read, arguments: {ticket: {}}, http: {url: "https://pier.example/t/{ticket}"}}
  book: {description: book, effect: write, arguments: {ticket: {}}, http: {method: POST, url: "https://pier.example/b"}}
  leave: {description: leave, effect: write, http: {method: POST, url: "https://pier.example/m"}}
"""
DESK = """
escalation:
  targets: {desk: {number: "+14155550111"}}
  default: desk
"""
AWAY = '  away: {when: {equals: {here: "no"}}, flow: message}\n'
LOST = "I'm sorry, I couldn't get that."
ELSE = "Is there anything else I can help you with?"


def workshop(more: str = "") -> Agent:
    return agent_of(yaml.safe_load(f"{WORKSHOP}{more}"), Path("workshop.yaml"))


def engine(agent: Agent) -> WorkflowEngine:
    return WorkflowEngine(agent.flows, agent.variables, call_id="CA1", now=lambda: NOW)


def asked(agent: Agent, said: str, here: str = "yes") -> Step:
    """The step after an answer to the first question."""
    running = engine(agent)
    begun = running.start(CallState(values={"here": Value(here)}), "pick_up", "", 1)
    return running.answer(begun.state, said, 2)


def failing(agent: Agent, tool: str) -> Step:
    """The step after the first call, or the second, has failed."""
    running, step = engine(agent), asked(agent, "4711")
    if tool == "book":
        step = running.answer(running.tool_done(step.state, ToolResult("ok", {})).state, "yes", 3)
    return running.tool_done(step.state, ToolResult("failed", {}))


@pytest.mark.parametrize("more", ["", DESK, f"{DESK}{AWAY}", "trouble: {flow: message}"])
def test_flows_that_say_nothing_of_trouble_have_no_errors(more: str) -> None:
    assert [finding for finding in check_agent(workshop(more)) if finding.severity == "error"] == []


def test_who_cannot_be_helped_is_handed_over_with_what_is_to_be_done() -> None:
    desk = workshop(DESK)
    lost = asked(desk, "no idea")
    assert lost.says[0] == LOST
    assert lost.act == Transfer("exhausted", "desk", "")
    assert failing(desk, "find").act == Transfer("tool_failure", "desk", "")
    unsure = failing(desk, "book")
    assert "can't promise" in unsure.says[0]
    assert unsure.act == Transfer("tool_failure", "desk", "Look whether it was done, and do it if not.")


def test_out_of_hours_the_flow_for_that_is_begun_and_does_not_fall_back_on_itself() -> None:
    desk = workshop(f"{DESK}{AWAY}")
    assert isinstance(asked(desk, "no idea").act, Transfer)
    step = asked(desk, "no idea", here="no")
    assert step.state.place is not None
    assert step.state.place.flow == "message"
    failed = engine(desk).tool_done(step.state, ToolResult("failed", {}))
    assert failed.says[-1].endswith(ELSE)
    assert failed.state.stack == ()


@pytest.mark.parametrize(
    ("node", "here", "flow"),
    [
        ("{do: transfer, reason: policy, say: One moment.}", "no", "message"),
        ("{do: transfer, reason: policy, say: One moment.}", "yes", None),
        ("{do: transfer, reason: emergency, target: desk, say: One moment.}", "no", None),
        ("{do: transfer, reason: policy, target: boss, say: One moment.}", "no", None),
    ],
)
def test_a_flow_hands_over_to_the_default_target_unless_nobody_is_there(node: str, here: str, flow: str | None) -> None:
    desk = DESK.replace("targets: {", 'targets: {boss: {number: "+14155550112"}, ')
    text = WORKSHOP.replace("done: {do: say, say: Done., go: end}", f"done: {node}") + desk + AWAY
    agent = agent_of(yaml.safe_load(text), Path("workshop.yaml"))
    running, step = engine(agent), asked(agent, "4711", here)
    step = running.answer(running.tool_done(step.state, ToolResult("ok", {})).state, "yes", 3)
    step = running.tool_done(step.state, ToolResult("ok", {}))
    assert (step.state.place.flow if flow and step.state.place else None) == flow
    assert isinstance(step.act, Transfer) == (flow is None)


def test_without_anybody_to_take_over_the_caller_is_told_so_and_may_ask_on() -> None:
    lost = asked(workshop(), "no idea")
    assert lost.says == (f"{LOST} {ELSE}",)
    assert lost.state.stack == ()


def test_an_agent_says_it_in_its_own_words_and_a_node_says_it_otherwise() -> None:
    own = workshop(f"{DESK}trouble: {{down: Our list is gone., flow: message}}")
    assert failing(own, "find").says[0] == "Our list is gone."
    assert failing(own, "find").state.place is not None
    text = WORKSHOP.replace('"{ticket}"}, go: right}', '"{ticket}"}, go: right, failed: done}')
    assert failing(agent_of(yaml.safe_load(text), Path("x")), "find").says == ("Done.",)


def test_what_fails_while_the_greeting_is_said_is_not_spoken_of() -> None:
    arrive = workshop(DESK).flows["arrive"]
    assert set(arrive.nodes) == {"look"}


def test_editors_do_not_ask_for_what_comes_along() -> None:
    nodes = Agent.model_json_schema()["$defs"]
    assert "failed" not in nodes["CallNode"]["required"]
    assert not [name for name in ("AskNode", "ConfirmNode", "FormNode") if "exhausted" in nodes[name]["required"]]


@pytest.mark.parametrize(("tool", "failed"), [("find", "trouble_down"), ("book", "trouble_unsure")])
def test_a_free_node_need_not_say_it_either(tool: str, failed: str) -> None:
    data = yaml.safe_load(f"{WORKSHOP}{DESK}")
    node = {"do": "talk", "goal": "Help.", "fill": {"ticket": "Which?"}, "tools": {tool: {}}, "ways": {"done": "done"}}
    data["flows"]["pick_up"]["nodes"]["book"] = node
    made = agent_of(data, Path("workshop.yaml")).flows["pick_up"].nodes["book"]
    assert isinstance(made, TalkNode)
    assert (made.failed, made.exhausted) == (failed, "trouble_lost")


@pytest.mark.parametrize(
    ("language", "said", "again"),
    [
        ("en", "Hello. Which ticket?", "Sorry"),
        ("es", "Hola. ¿Qué resguardo?", "Perd"),
    ],
)
def test_a_single_wording_of_a_question_is_put_again_with_an_apology(language: str, said: str, again: str) -> None:
    data = yaml.safe_load(WORKSHOP) | {"language": language}
    data["flows"]["pick_up"]["nodes"]["which"]["say"] = said
    asked = agent_of(data, Path("workshop.yaml")).flows["pick_up"].nodes["which"]
    assert isinstance(asked, AskNode)
    first, second = asked.say
    assert first == said
    assert second.endswith(said.partition(". ")[2])
    assert again in second


def test_a_single_wording_of_a_read_back_is_put_again_with_a_word_of_what_is_needed() -> None:
    data = yaml.safe_load(WORKSHOP)
    data["flows"]["pick_up"]["nodes"]["right"]["say"] = "Ticket {ticket}?"
    right = agent_of(data, Path("workshop.yaml")).flows["pick_up"].nodes["right"]
    assert isinstance(right, ConfirmNode)
    assert right.say == ("Ticket {ticket}?", "I'm sorry, I need a yes or a no. Ticket {ticket}?")
