"""`trunkline router ...`, with the real sentence encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from models.settings import SettingsError
from pipeline import events as ev
from serve.agent_file import load_agent_file
from serve.cli import app

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "docs" / "examples" / "shop.yaml"


@pytest.fixture
def prepared() -> None:
    from models.weights import prepare

    prepare("minilm-l6-v2")


@pytest.mark.slow
@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("name", ["dental", "logistics"])
def test_callers_own_words_are_routed_well(name: str, tmp_path: Path) -> None:
    examples = ROOT / "tests" / "data" / "router" / f"{name}.yaml"
    agent = ROOT / "configs" / "agents" / f"{name}.yaml"
    plot = tmp_path / "confusion.png"
    result = CliRunner().invoke(
        app, ["router", "eval", str(agent), "--examples", str(examples), "--json", "--plot", str(plot)]
    )
    found = json.loads(result.output)
    assert found["utterances"] == sum(len(texts) for texts in yaml.safe_load(examples.read_text()).values())
    assert found["accuracy"] > 0.85
    assert plot.stat().st_size > 10_000
    own = {text.lower() for route in load_agent_file(agent).routes for text in route.examples}
    assert not own & {text.lower() for texts in yaml.safe_load(examples.read_text()).values() for text in texts}


@pytest.mark.slow
@pytest.mark.usefixtures("prepared")
def test_what_is_learnt_is_written_as_examples_that_the_agent_file_takes(tmp_path: Path) -> None:
    agent = tmp_path / "shop.yaml"
    agent.write_text(SHOP.read_text())
    said = tmp_path / "said.yaml"
    said.write_text("order:\n  - Has it been sent off already?\n  - Where is my order?\n")
    learnt = tmp_path / "learnt.yaml"
    result = CliRunner().invoke(app, ["router", "train", str(agent), "--add", str(said), "--out", str(learnt)])
    assert "1 new examples." in result.output
    assert yaml.safe_load(learnt.read_text()) == {"order": ["Has it been sent off already?"]}
    agent.write_text(SHOP.read_text() + "\nexamples_from: [learnt.yaml]\n")
    routes = {route.name: route.examples for route in load_agent_file(agent).routes}
    assert routes["order"][-1] == "Has it been sent off already?"


def heard(turn: int, text: str, label: str, confidence: float) -> list[ev.Event]:
    final = ev.FinalTranscript(turn=turn, text=text, average_log_probability=0.0, took_ms=1.0)
    routed = ev.Routed(turn=turn, label=label, confidence=confidence, passage_ids=(), passage_scores=(), took_ms=1.0)
    return [ev.SpeechStarted(turn=turn, audio_s=float(turn)), final, routed]


def collected(folder: Path, events: list[ev.Event], agent: str) -> object:
    """What `router calls` makes of one recorded call that `agent` answered."""
    call = folder / "runs" / "20261125-CA1"
    call.mkdir(parents=True)
    started = ev.CallStarted(call_sid="CA1", stream_sid="MZ1", caller="", agent=agent, wall_time_s=0.0)
    (call / "events.jsonl").write_text("".join(ev.to_json(event) + "\n" for event in (started, *events)))
    out = folder / "said.yaml"
    runs = str(folder / "runs")
    result = CliRunner().invoke(app, ["router", "calls", str(SHOP), "--runs", runs, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return yaml.safe_load(out.read_text())


def test_unsure_utterances_of_recorded_calls_are_collected_for_a_person(tmp_path: Path) -> None:
    events = [
        *heard(1, "the thing", "question", 0.3),
        ev.TurnResumed(turn=1),
        *heard(1, "the thing I ordered", "order", 0.45),
        *heard(2, "when do you close", "question", 0.99),
    ]
    assert collected(tmp_path, events, load_agent_file(SHOP).name) == {"order": ["the thing I ordered"]}


def test_what_another_agent_heard_is_not_collected(tmp_path: Path) -> None:
    changed = ev.LanguageChanged(turn=2, language="en", agent=load_agent_file(SHOP).name)
    events = [*heard(1, "el pedido", "order", 0.3), *heard(2, "my parcel", "order", 0.3), changed]
    assert collected(tmp_path, events, "Tienda") == {"order": ["my parcel"]}


def test_a_broken_recording_is_passed_over_and_named(tmp_path: Path) -> None:
    call = tmp_path / "runs" / "20261125-CA1"
    call.mkdir(parents=True)
    (call / "events.jsonl").write_text('{"kind": "nothing"}\n')
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "said.yaml")]
    result = CliRunner().invoke(app, ["router", "calls", str(SHOP), *arguments])
    assert result.exit_code == 0, result.output
    assert "left out" in result.output
    assert "unknown event kind 'nothing'" in result.output


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("ordr: [where is it]\n")
    agent = tmp_path / "shop.yaml"
    agent.write_text(SHOP.read_text() + "\nexamples_from: [wrong.yaml]\n")
    with pytest.raises(SettingsError, match="has no route ordr"):
        load_agent_file(agent)
    agent.write_text(SHOP.read_text() + "\nexamples_from: [nowhere.yaml]\n")
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: expected utterances by route"):
        load_agent_file(agent)
