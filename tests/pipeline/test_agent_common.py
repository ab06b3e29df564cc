"""What every business has: what an agent file need not say, and how it says it otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import JsonValue

from models.settings import SettingsError
from pipeline.agent import Agent, agent_of, load_agent
from pipeline.agent_check import check_agent
from pipeline.agent_common import common
from pipeline.slots.types import Language

BAKERY = """
name: Corner Bakery
voice: af_heart
lines: {greeting: "Corner Bakery, what can I get you?"}
facts:
  - {id: hours, text: We are open every day from six to two., questions: ["When do you open?"]}
"""
DESK = """
escalation:
  targets: {baker: {number: "+14155550111"}}
  default: baker
"""
FLOW = "{start: a, nodes: {a: {do: say, say: All right., go: end}}}"


def agent(text: str) -> Agent:
    data: dict[str, JsonValue] = yaml.safe_load(text)
    return agent_of(data, Path("bakery.yaml"))


def examples(found: Agent, name: str) -> tuple[str, ...]:
    route = found.route(name)
    assert route is not None
    return route.examples


def test_name_voice_and_facts_are_enough() -> None:
    bakery = agent(BAKERY)
    assert {route.name for route in bakery.routes} >= {"greeting", "thanks", "goodbye", "repeat", "robot", "abuse"}
    assert bakery.lines.greeting == "Corner Bakery, what can I get you?"
    assert bakery.lines.farewell == "Thank you for calling Corner Bakery. Goodbye!"
    assert "Corner Bakery" in bakery.persona
    assert "When do you open?" in examples(bakery, "question")
    assert check_agent(bakery) == []


def test_questions_about_the_hours_are_examples_unless_the_agent_has_a_fact_of_its_own() -> None:
    hours = "hours: {monday-friday: 6:00-14:00}\n"
    assert "Are you open at Christmas?" not in examples(agent(f"{BAKERY}{hours}"), "question")
    made = agent(BAKERY.replace("id: hours", "id: bread") + hours)
    assert "Are you open at Christmas?" in examples(made, "question")


@pytest.mark.parametrize(("language", "voice"), [("en", "af_heart"), ("es", "es/am_michael")])
def test_no_text_of_a_language_stands_for_two_things_and_each_route_is_whole(language: Language, voice: str) -> None:
    text = f"{BAKERY}{DESK}".replace("voice: af_heart", f"voice: {voice}\nlanguage: {language}")
    bakery = agent(f"{text}flows: {{call_back: {FLOW}}}")
    assert not [finding for finding in check_agent(bakery) if finding.where.startswith(("routes", "facts"))]
    assert {route.name for route in bakery.routes} == {route.name for route in common(language).routes}
    said = [words for route in bakery.routes for words in (*route.examples, *bakery.utterances.get(route.name, ()))]
    assert len({words.lower() for words in said}) == len(said)
    assert not [words for words in (*said, *map(str, bakery.lines.model_dump().values())) if "{" in words]


def test_only_who_can_hand_over_or_call_back_is_asked_to() -> None:
    assert {"person", "call_back"} & {route.name for route in agent(BAKERY).routes} == set()
    able = agent(f"{BAKERY}{DESK}flows: {{call_back: {FLOW}}}")
    assert {"person", "call_back"} <= {route.name for route in able.routes}
    assert able.escalation is not None
    assert able.escalation.line == "I'll put you through to a colleague. One moment, please."
    assert "ridiculous" in able.escalation.frustration_words


def test_a_route_of_the_same_name_need_only_say_what_is_otherwise() -> None:
    own = agent(f"{BAKERY}routes:\n  - {{name: thanks, line: Our pleasure!, examples: [ta very much]}}\n")
    thanks = own.route("thanks")
    assert thanks is not None
    assert (thanks.kind, thanks.line, thanks.examples[0]) == ("say", "Our pleasure!", "ta very much")
    assert "Thank you" in thanks.examples
    assert own.utterances["thanks"]


@pytest.mark.parametrize("name", ["person", "boss"])
def test_a_route_that_does_the_same_in_another_way_gets_the_examples(name: str) -> None:
    kind = f"kind: flow, flow: reach, examples: [{name} please]" if name == "person" else "kind: person"
    text = f"{BAKERY}{DESK}flows: {{reach: {FLOW}}}\nroutes:\n  - {{name: {name}, {kind}}}\n"
    own = agent(text)
    assert "I want to talk to a human" in examples(own, name)
    assert [route.name for route in own.routes if "human" in route.description and route.name != "robot"] == [name]


def test_an_example_that_the_agent_uses_otherwise_stays_with_it() -> None:
    text = f"{BAKERY}flows: {{order: {FLOW}}}\nutterances: {{order: [I have another question]}}\nroutes:\n"
    own = agent(f"{text}  - {{name: order, kind: flow, flow: order, examples: ['Yes please!', Bread, Rolls]}}\n")
    assert not {"Yes please", "I have another question"} & set(examples(own, "anything_else"))
    assert not [finding for finding in check_agent(own) if finding.severity == "error"]


def test_utterances_may_be_given_for_routes_that_come_with_the_product(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("goodbye: [right you are then]\n", encoding="utf-8")
    (tmp_path / "bakery.yaml").write_text(f"{BAKERY}utterances_from: [more.yaml]\n", encoding="utf-8")
    assert load_agent(tmp_path / "bakery.yaml").utterances["goodbye"][0] == "right you are then"


def test_what_is_left_out_is_not_there_and_an_own_route_of_that_name_stands_alone() -> None:
    own = agent(
        f"{BAKERY}common: {{without: [thanks, abuse]}}\n"
        "routes:\n  - {name: abuse, kind: abuse, examples: [a, b, c]}\n"
    )
    assert own.route("thanks") is None
    assert examples(own, "abuse") == ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "why"), [("robot", "gets an honest answer"), ("thank", "there is no thank; expected some of question,")]
)
def test_the_honest_answer_cannot_be_left_out_nor_what_is_not_there(name: str, why: str) -> None:
    with pytest.raises(SettingsError, match=rf"bakery\.yaml: common\.without: .*{why}"):
        agent(f"{BAKERY}common: {{without: [{name}]}}\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{BAKERY}routes: {{thanks: Our pleasure}}\n", "routes: "),
        (f"{BAKERY}language: fr\n", "language: "),
        (f"{BAKERY}escalation: soon\n", "escalation: "),
    ],
)
def test_what_is_wrong_in_a_file_is_said_as_ever(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        agent(text)


def test_editors_ask_for_what_a_file_must_have_of_its_own() -> None:
    schema = Agent.model_json_schema()
    assert schema["required"] == ["name", "voice", "facts"]
    assert schema["$defs"]["Lines"]["required"] == []
