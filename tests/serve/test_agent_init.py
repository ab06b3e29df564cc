"""`trunkline agent init`: five answers become an agent that runs, and conversations that it passes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.eval.conversation import load_conversation
from pipeline.agent_check import check_agent
from serve.agent_file import load_agent_file
from serve.cli import app

HOURS = "tuesday-friday 9:00-17:30; saturday 10:00-14:00"
NAMES = ("asks_for_the_hours", "wants_a_person", "wants_a_person_at_night")


def init(file: Path, *more: str, language: str = "en", hours: str = HOURS, zone: str = "Europe/Dublin") -> str:
    options = {
        "--name": 'Lock & Key "Rápido"',
        "--business": "a locksmith by the river.",
        "--language": language,
        "--hours": hours,
        "--zone": zone,
        "--phone": "+14155550199",
    }
    result = CliRunner().invoke(
        app, ["agent", "init", str(file), *(x for pair in options.items() for x in pair), *more]
    )
    return f"{result.exit_code} {result.output}"


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_agent_has_no_findings_and_says_what_was_answered(language: str, tmp_path: Path) -> None:
    assert init(tmp_path / "locks.yaml", language=language).startswith("0 ")
    agent = load_agent_file(tmp_path / "locks.yaml")
    assert check_agent(agent) == []
    assert (agent.name, agent.language, agent.hours.zone) == ('Lock & Key "Rápido"', language, "Europe/Dublin")
    assert agent.name in agent.lines.greeting
    assert "a locksmith by the river." in agent.fact("business").text
    assert agent.escalation is not None
    assert agent.escalation.targets["desk"].number == "+14155550199"


def test_its_conversations_ask_for_a_person_while_it_is_open_and_while_it_is_not(tmp_path: Path) -> None:
    init(tmp_path / "locks.yaml")
    agent = load_agent_file(tmp_path / "locks.yaml")
    talks = {name: load_conversation(tmp_path / "locks_conversations" / f"{name}.yaml") for name in NAMES}
    for name, is_open in (("wants_a_person", True), ("wants_a_person_at_night", False)):
        now = datetime.fromisoformat(talks[name].now)
        assert agent.hours.is_open(now.date(), now.hour * 60 + now.minute) == is_open
    assert talks["asks_for_the_hours"].lines[1].expect.all_of == (agent.fact("hours").text,)


def test_a_business_that_never_closes_has_no_conversation_at_night(tmp_path: Path) -> None:
    assert init(tmp_path / "locks.yaml", hours="monday-sunday 0:00-24:00").startswith("0 ")
    assert {path.stem for path in (tmp_path / "locks_conversations").iterdir()} == set(NAMES[:2])


@pytest.mark.parametrize(
    ("hours", "zone", "said"),
    [
        ("all day", "Europe/Dublin", "1 hours: 'all day': expected days and their hours, such as"),
        ("mondy 9:00-17:00", "Europe/Dublin", "'mondy' names no day of the week"),
        (HOURS, "Europe/Cork", "no such time zone: 'Europe/Cork'"),
    ],
)
def test_a_wrong_answer_is_told_and_nothing_is_written(hours: str, zone: str, said: str, tmp_path: Path) -> None:
    assert said in init(tmp_path / "locks.yaml", hours=hours, zone=zone)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_unless_told_so(tmp_path: Path) -> None:
    file = tmp_path / "locks.yaml"
    file.write_text("mine")
    assert "locks.yaml is there already" in init(file)
    assert file.read_text() == "mine"
    assert init(file, "--force").startswith("0 ")
    assert file.read_text() != "mine"


def test_what_is_not_given_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "locks.yaml"
    answers = "\n".join(["Lock & Key", "a locksmith", HOURS, "Europe/Madrid", "+34915550199"])
    result = CliRunner().invoke(app, ["agent", "init", str(file), "--language", "es"], input=f"{answers}\n")
    assert result.exit_code == 0, result.output
    agent = load_agent_file(file)
    assert (agent.name, agent.language, agent.hours.zone) == ("Lock & Key", "es", "Europe/Madrid")


def test_where_nobody_can_be_asked_what_has_no_default_is_named(tmp_path: Path) -> None:
    asked = ["agent", "init", str(tmp_path / "locks.yaml"), "--name", "Lock & Key", "--business", "a locksmith"]
    refused = CliRunner().invoke(app, asked, input="")
    assert refused.exit_code == 2
    assert "--phone is missing" in refused.output
    assert CliRunner().invoke(app, [*asked, "--phone", "+34915550199"], input="").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "es"])
def test_the_agent_passes_its_conversations(language: str, tmp_path: Path) -> None:
    from models.weights import prepare

    prepare("minilm-l6-v2")
    file = tmp_path / "locks.yaml"
    init(file, language=language)
    folder = str(tmp_path / "locks_conversations")
    result = CliRunner().invoke(app, ["agent", "eval", str(file), folder, "--rules", "--at-least", "1"])
    assert result.exit_code == 0, result.output
