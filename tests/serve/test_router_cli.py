"""`trunkline router ...`, with the real sentence encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from models.settings import SettingsError
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


def test_unsure_utterances_of_recorded_calls_are_collected_for_a_person(tmp_path: Path) -> None:
    call = tmp_path / "runs" / "20261125-CA1"
    call.mkdir(parents=True)
    events = [
        {"kind": "final_transcript", "text": "uh the thing I ordered"},
        {"kind": "routed", "label": "order", "confidence": 0.45},
        {"kind": "final_transcript", "text": "when do you close"},
        {"kind": "routed", "label": "question", "confidence": 0.99},
    ]
    (call / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    out = tmp_path / "said.yaml"
    runs = str(tmp_path / "runs")
    result = CliRunner().invoke(app, ["router", "calls", str(SHOP), "--runs", runs, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(out.read_text()) == {"order": ["uh the thing I ordered"]}


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
