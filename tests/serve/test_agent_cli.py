"""`trunkline agent ...`, as an operator uses it; the guide of docs/agents.md is run as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.agent_library import library_flows
from serve.agent_schema import LINK, agent_schema
from serve.cli import app

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "docs" / "examples" / "shop.yaml"
GUIDE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")


@pytest.fixture
def orders() -> Iterator[None]:
    """The guide's business system."""
    process = subprocess.Popen([sys.executable, str(ROOT / "docs" / "examples" / "orders.py")])
    try:
        for _ in range(200):
            try:
                httpx.get("http://127.0.0.1:8099/orders/4711", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("orders")
def test_the_guide_s_conversation_is_what_it_shows() -> None:
    from models.weights import prepare

    prepare("minilm-l6-v2")
    shown = re.search(r"```\n(agent: .*?)```", GUIDE, re.DOTALL)
    assert shown is not None
    lines = "".join(f"{line}\n" for line in re.findall(r"^you:   (.*)$", shown[1], re.MULTILINE))
    result = CliRunner().invoke(app, ["agent", "try", str(SHOP)], input=lines)
    assert result.exit_code == 0, result.output
    assert result.output == shown[1]


def test_the_guide_s_tool_has_fewer_than_twenty_lines_and_is_the_one_that_runs() -> None:
    text = SHOP.read_text(encoding="utf-8")
    tool = text.partition("# --- the new tool ---\n")[2].partition("# --- end of the tool ---")[0]
    assert len(tool.splitlines()) < 20
    assert tool in GUIDE


def test_an_agent_without_errors_is_valid_and_one_with_errors_is_not(tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["agent", "validate", "--no-play", str(SHOP)])
    assert (good.exit_code, "0 errors, 0 warnings" in good.output) == (0, True)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SHOP.read_text().replace("tool: find_order", "tool: find_ordr"))
    bad = CliRunner().invoke(app, ["agent", "validate", "--no-play", "--json", str(wrong)])
    assert bad.exit_code == 1
    assert json.loads(bad.output)[0]["where"] == "flows.order.nodes.look.tool"
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    refused = CliRunner().invoke(app, ["agent", "validate", str(broken)])
    assert refused.exit_code == 1
    assert "not valid YAML" in refused.output


def test_the_schema_accepts_the_agents_that_come_with_it_and_explains_their_keys() -> None:
    schema = json.loads(CliRunner().invoke(app, ["agent", "schema"]).output)
    for path in (ROOT / "configs" / "agents").glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
    assert "greeting is said" in schema["properties"]["on_call"]["description"]


PRESET = {
    "connections": {"crm": {"preset": "hubspot", "token": {"env": "HUBSPOT_TOKEN"}}},
    "tools": {"find_caller": {"use": "crm.find_caller", "filler": "Let me look."}},
}


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (PRESET, True),
        ({**PRESET, "connections": {"crm": {"preset": "hubspott"}}}, False),
        ({"tools": {"find_caller": {"use": "crm.find_caller", "filer": "Let me look."}}}, False),
        ({"connections": {"shed": {"base_url": "https://shed.example", "auth": {"kind": "bearer"}}}}, False),
        ({"connections": {"desk": {"kind": "mcp", "command": ["desk"], "allow": {"find": "read"}}}}, True),
    ],
)
def test_the_schema_knows_connections_and_what_presets_give(change: dict[str, object], valid: bool) -> None:
    file = {**yaml.safe_load(SHOP.read_text(encoding="utf-8")), **change}
    wrong = list(jsonschema.Draft202012Validator(agent_schema()).iter_errors(file))
    assert (not wrong) == valid


def test_the_schema_s_links_lead_to_files_that_are_there(tmp_path: Path) -> None:
    out = tmp_path / "agent.schema.json"
    CliRunner().invoke(app, ["agent", "schema", "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    named = set(LINK.findall(text))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
    linked = re.findall(r"\[([^\]]+)\]\(file://([^)]+)\)", text)
    assert {name for name, _ in linked} == named
    assert all(Path(target).is_file() for _, target in linked)
    references = set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', text))
    assert references <= set(json.loads(text)["$defs"])


def test_the_library_s_flows_can_be_listed_and_read() -> None:
    listed = CliRunner().invoke(app, ["agent", "library"]).output
    assert all(f"{name}: " in listed for name in library_flows())
    assert "ask_opening: I have {$openings}." in CliRunner().invoke(app, ["agent", "library", "book"]).output
    unknown = CliRunner().invoke(app, ["agent", "library", "bok"])
    assert unknown.exit_code == 1
    assert "no such flow; expected one of book, " in unknown.output


def test_a_difference_is_shown_with_both_versions(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SHOP.read_text().replace("nine to six", "ten to six"))
    result = CliRunner().invoke(app, ["agent", "diff", str(SHOP), str(other)])
    assert "~ facts.hours.text" in result.output
    assert "No difference." in CliRunner().invoke(app, ["agent", "diff", str(SHOP), str(SHOP)]).output
