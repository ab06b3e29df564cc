"""Agent files: what is wrong is said with file, key and what was expected."""

import shutil
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from models.settings import SettingsError, parse_mapping
from pipeline.agent import agent_of, load_agent
from pipeline.hours import Hours

ROOT = Path(__file__).parents[2]
DENTAL = ROOT / "configs" / "agents" / "dental.yaml"
SHOP = ROOT / "docs" / "examples" / "shop.yaml"


def test_the_demo_agent_loads() -> None:
    agent = load_agent(DENTAL)
    assert {route.kind for route in agent.routes} >= {"knowledge", "flow", "cancel", "farewell", "fallback"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("voice: af_heart", "voice: af_heart\ncolour: red"), "colour: unknown key"),
        (("voice: af_heart", ""), "voice: missing"),
        (
            ("voice: af_heart", "voice: af_heart\nhours: {zone: Boston}"),
            "hours.zone: no such time zone: 'Boston'",
        ),
        (
            ("preset: balanced", "timeout_ms: soon"),
            "turn_taking.timeout_ms: Input should be a valid integer; got 'soon'",
        ),
        (("preset: balanced", "timeout_ms: 5"), "turn_taking.timeout_ms"),
        (("effect: write", "effect: perhaps"), "effect: Input should be 'read' or 'write'; got 'perhaps'"),
        (("flow: book,", "flow: boook,"), "routes: book: no flow 'boook'; expected one of"),
        (
            ("do: say", "do: sya"),
            "flows.book.nodes.none.do: no such kind: 'sya'; did you mean 'say'?",
        ),
        (
            ("flow: emergency, ", ""),
            "routes[5]: flow is required",
        ),
        (("id: hours\n", "id: hours\n    text: From eight to five.\n  - id: hours\n"), "facts: ids must differ"),
        (("name: Bright Dental", "name: [Bright"), "not valid YAML"),
    ],
)
def test_a_wrong_agent_file_is_refused(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    text = DENTAL.read_text()
    assert change[0] in text
    shutil.copytree(DENTAL.parent / "examples", tmp_path / "examples")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace(*change, 1))
    with pytest.raises(SettingsError) as error:
        load_agent(wrong)
    assert str(wrong) in str(error.value)
    assert complaint in str(error.value)


def test_an_agent_that_knows_its_hours_needs_no_fact() -> None:
    text = SHOP.read_text(encoding="utf-8")
    start, end = text.index("facts:"), text.index("variables:")
    hours = 'hours: {monday-friday: 9:00-18:00}\nutterances: {"q:hours": [when do you shut]}\n'
    shop = agent_of(parse_mapping(f"{text[:start]}{hours}{text[end:]}", "shop.yaml"), DENTAL)
    assert shop.fact("hours").text == "We are open Monday to Friday from nine to six."
    assert "Are you open at Christmas?" in shop.fact("hours").questions
    spanish = agent_of(parse_mapping(f"{text[:start]}language: es\n{hours}{text[end:]}", "shop.yaml"), DENTAL)
    assert spanish.fact("hours").text == "Abrimos de lunes a viernes de las nueve a las seis."
    with pytest.raises(SettingsError, match="give at least one, or `hours`"):
        agent_of(parse_mapping(f"{text[:start]}{text[end:]}", "shop.yaml"), DENTAL)


def test_a_variable_between_hours_needs_hours() -> None:
    text = DENTAL.read_text(encoding="utf-8").replace(
        "\nvariables:\n", "\nvariables:\n  hour: {type: time, between: hours}\n"
    )
    with pytest.raises(SettingsError, match=r"variables\.hour\.between: `hours` says no days"):
        agent_of(parse_mapping(text, "dental.yaml"), DENTAL)
    days = "\nhours: {monday-friday: 8:00-17:00}\nvariables:\n"
    assert agent_of(parse_mapping(text.replace("\nvariables:\n", days), "dental.yaml"), DENTAL).hours.known


@pytest.mark.parametrize(
    ("zone", "machine", "today"),
    [
        ("America/Los_Angeles", "UTC", date(2026, 7, 1)),
        ("America/Los_Angeles", "Asia/Tokyo", date(2026, 7, 1)),
        ("Asia/Tokyo", "America/Los_Angeles", date(2026, 7, 2)),
        (None, "America/Los_Angeles", date(2026, 7, 1)),
        (None, "Asia/Tokyo", date(2026, 7, 2)),
    ],
)
def test_today_is_what_it_is_where_the_business_is_wherever_the_machine_is(
    monkeypatch: pytest.MonkeyPatch, zone: str | None, machine: str, today: date
) -> None:
    hours = Hours(zone=zone)
    with monkeypatch.context() as there:
        there.setenv("TZ", machine)
        time.tzset()
        assert hours.now(datetime(2026, 7, 2, 3, 15, tzinfo=UTC).timestamp()).date() == today
    time.tzset()


def test_a_missing_agent_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read"):
        load_agent(Path("nowhere.yaml"))
