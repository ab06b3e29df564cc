"""What an agent's file makes of what can be meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.eval.conversation import AGENTS
from models.settings import SettingsError
from pipeline.agent import Agent, load_agent
from pipeline.understanding.acts import AsksFact, Wishes
from pipeline.understanding.catalogue import act_of, catalogue
from tests.pipeline.agents import AGENT, SPANISH

SHIPPED = [load_agent(path) for path in sorted(AGENTS.glob("*.yaml"))]


@pytest.mark.parametrize("agent", [AGENT, SPANISH, *SHIPPED], ids=lambda agent: agent.name)
def test_every_label_stands_for_an_act_of_the_agent(agent: Agent) -> None:
    found = catalogue(agent)
    labels = [meaning.label for meaning in found.meanings]
    assert len(set(labels)) == len(labels)
    for label in labels:
        act_of(agent, label)
    assert {exchange.label for exchange in found.exchanges} <= set(labels)


def test_facts_and_routes_are_told_in_words_and_by_their_examples() -> None:
    meanings = {meaning.label: meaning for meaning in catalogue(AGENT).meanings}
    assert "A cleaning costs ninety dollars." in meanings["q:cleaning"].description
    assert meanings["booking"].description == "means booking"
    assert meanings["booking"].examples == ("book", "appointment", "reserve")
    assert meanings["person"].description == "wants to talk to a human"
    assert {label for label, meaning in meanings.items() if meaning.in_flow_only} == {"answer", "change"}
    assert act_of(AGENT, "q:cleaning") == AsksFact(AGENT.fact("cleaning"))
    assert isinstance(act_of(AGENT, "booking"), Wishes)


def dental_with(tmp_path: Path, utterances: str) -> Agent:
    (tmp_path / "more.yaml").write_text(utterances)
    shutil.copytree(AGENTS / "examples", tmp_path / "examples")
    text = (AGENTS / "dental.yaml").read_text()
    (tmp_path / "dental.yaml").write_text(
        text.replace("utterances_from: [examples/dental.yaml]", "utterances_from: [more.yaml]")
    )
    return load_agent(tmp_path / "dental.yaml")


def test_utterances_beside_an_agent_file_come_first_and_leave_the_rules_as_they_are(tmp_path: Path) -> None:
    agent = dental_with(tmp_path, "book: [squeeze me in]\nq:hours: [you open yet]\n")
    meanings = {meaning.label: meaning for meaning in catalogue(agent).meanings}
    assert meanings["book"].examples[0] == "squeeze me in"
    assert meanings["q:hours"].examples[0] == "you open yet"
    route = agent.route("book")
    assert route is not None
    assert "squeeze me in" not in route.examples


@pytest.mark.parametrize("label", ["q:nothing", "nothing"])
def test_utterances_of_what_there_is_not_are_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(SettingsError, match=rf"more\.yaml: the agent has no route or fact {label}"):
        dental_with(tmp_path, f"{label}: [what is it]\n")


def test_what_is_said_to_who_waits_and_to_what_nobody_knows_is_in_the_agent_s_language() -> None:
    assert AGENT.waiting.startswith("Sure")
    assert SPANISH.waiting.startswith("Claro")
    assert "sé" in SPANISH.declined
    own = SPANISH.model_copy(update={"lines": SPANISH.lines.model_copy(update={"waiting": "Aquí espero."})})
    assert own.waiting == "Aquí espero."
