"""What `agent validate` plays through an agent's router, and what it says of where that leads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.types import ModelFailure, Passage, RouteDecision
from pipeline.agent import Agent
from serve import agent_cli
from serve.agent_file import load_agent_file
from serve.agent_rehearsal import Played, rehearse
from serve.cli import app
from tests.pipeline.agents import SPANISH

RENTAL_FILE = Path(__file__).with_name("seeded") / "rental.yaml"
RENTAL = load_agent_file(RENTAL_FILE)


def router(**routes: str) -> Callable[[Agent], Callable[[str], RouteDecision]]:
    """Routes utterances that contain a word (its first letters, '_' for a space) as given; others nowhere."""

    def learnt(agent: Agent) -> Callable[[str], RouteDecision]:
        def decided(text: str) -> RouteDecision:
            label = next((to for word, to in routes.items() if word.replace("_", " ") in text.lower()), "")
            near = (Passage("hours", "", 0.9),) if "open" in text else ()
            return RouteDecision(label or agent.routes[0].name, 0.9 if label else 0.1, near)

        return decided

    return learnt


def test_who_says_hello_and_is_hung_up_on_is_warned_of_once() -> None:
    found = rehearse(RENTAL, router(hello="goodbye", bye="goodbye")).findings
    told = [one.what for one in found if one.what.startswith("'Hello'")]
    assert {(one.severity, one.where) for one in found} == {("warning", "routes.goodbye")}
    assert told[0].startswith("'Hello' ends the call (farewell: goodbye 0.90)")
    assert not [one.what for one in found if "Goodbye" in one.what]


def test_each_utterance_is_shown_with_where_it_leads_free_and_in_a_flow() -> None:
    played = rehearse(RENTAL, router(hello="greeting", someone="person")).played
    by_text = {one.utterance: one for one in played}
    assert by_text["Hello"] == Played("hello", "Hello", "say: greeting 0.90", "taken as the answer")
    assert by_text["Can I speak to someone?"].asked == "person: person 0.90"
    assert by_text["What are your opening hours?"].free == "fact hours"
    assert by_text["Hang on"].free == "waits"


def test_an_example_is_played_to_a_router_that_has_not_learnt_it() -> None:
    more = tuple(
        route.model_copy(update={"examples": (f"{route.name} it is", *route.examples)}) for route in RENTAL.routes
    )
    taught: list[Agent] = []

    def learnt(agent: Agent) -> Callable[[str], RouteDecision]:
        taught.append(agent)
        return router(rent_it="rent", goodbye_it="person")(agent)

    played = rehearse(RENTAL.model_copy(update={"routes": more}), learnt).played
    assert [route.examples for route in taught[1].routes] == [route.examples for route in RENTAL.routes]
    led = {one.what: (one.free, one.astray) for one in played if one.what.startswith("route ")}
    assert led["route rent"] == ("flow: rent 0.90", False)
    assert led["route goodbye"] == ("person: person 0.90", True)


def test_a_spanish_agent_is_played_spanish() -> None:
    said = {one.what: one.utterance for one in rehearse(SPANISH, router()).played}
    assert (said["hello"], said["thanks"]) == ("Hola", "Gracias")


def test_a_question_of_a_fact_that_begins_a_flow_is_warned_of_with_both() -> None:
    found = rehearse(RENTAL, router(deposit="rent")).findings
    assert [(one.severity, one.where) for one in found] == [("warning", "facts.deposit.questions")] * 2
    assert found[0].what.startswith("'How much is the deposit?' begins a flow (flow: rent 0.90);")


@pytest.mark.parametrize(("agent", "asked"), [(RENTAL, "Is there parking?"), (SPANISH, "¿Hay aparcamiento?")])
def test_a_question_is_also_played_to_a_router_that_has_not_learnt_it(agent: Agent, asked: str) -> None:
    questions = (asked, "one two?", "three four?", "five six?")
    fact = agent.facts[0].model_copy(update={"id": "new", "text": "Next door.", "questions": questions})
    flow = next(route.name for route in agent.routes if route.kind == "flow")

    def learnt(taught: Agent) -> Callable[[str], RouteDecision]:
        knows = any(asked in fact.questions for fact in taught.facts)
        return lambda text: RouteDecision(flow, 0.5) if text == asked and not knows else RouteDecision(flow, 0.1)

    found = rehearse(agent.model_copy(update={"facts": (*agent.facts, fact)}), learnt).findings
    assert [(one.severity, one.where) for one in found] == [("warning", "facts.new.questions")]
    assert found[0].what.startswith(f"{asked!r} begins a flow (flow: {flow} 0.50), were it not written there;")


def test_the_findings_are_those_of_the_command_and_missing_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_cli, "rules_router", lambda weights: router(yes="goodbye"))
    shown = CliRunner().invoke(app, ["agent", "validate", str(RENTAL_FILE)])
    assert shown.exit_code == 0
    assert "Yes" in shown.output
    assert "'Yes' ends the call" in " ".join(shown.output.split())

    def unprepared(weights: str) -> None:
        raise ModelFailure(f"weights '{weights}' are not prepared on this machine")

    monkeypatch.setattr(agent_cli, "rules_router", unprepared)
    without = CliRunner().invoke(app, ["agent", "validate", str(RENTAL_FILE)])
    assert "Stock utterances are not played: weights 'minilm-l6-v2' are not prepared" in without.output
    assert without.exit_code == 0
