"""An agent file that is made of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.settings import SettingsError
from pipeline.agent import load_agent

MAIN = """
name: Two Rivers
voice: af_heart
include: [shared/house.yaml, tools.yaml]
facts:
  - {id: garden, text: The garden is open in summer., questions: ["Can we sit outside?"]}
  - {id: house, text: We are the yellow house., questions: ["Which house is it?"]}
variables: {guests: {type: number}}
"""
HOUSE = """
facts:
  - {id: house, text: We are in River Street., questions: ["Where are you?"]}
  - {id: cellar, text: The cellar is dry., questions: ["Is the cellar dry?"]}
utterances_from: [said.yaml]
variables: {day: {type: date}}
"""
TOOLS = """
variables: {state: {type: text}}
lines: {farewell: "So long, says {name}."}
"""


def written(folder: Path, **changed: str) -> Path:
    files = {"main": MAIN, "shared/house": HOUSE, "tools": TOOLS, "shared/said": "q:cellar: [is it damp]"} | changed
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "main.yaml"


def test_entries_of_included_files_become_part_of_the_agent(tmp_path: Path) -> None:
    agent = load_agent(written(tmp_path))
    assert set(agent.variables) == {"guests", "day", "state"}
    assert [fact.id for fact in agent.facts] == ["garden", "house", "cellar"]
    assert agent.lines.farewell == "So long, says Two Rivers."


def test_an_entry_of_the_same_name_in_the_file_itself_stands_for_it(tmp_path: Path) -> None:
    assert load_agent(written(tmp_path)).fact("house").text == "We are the yellow house."


def test_files_that_an_included_file_names_lie_beside_that_one(tmp_path: Path) -> None:
    assert "is it damp" in load_agent(written(tmp_path)).utterances["q:cellar"]


def test_included_files_may_include_others(tmp_path: Path) -> None:
    agent = load_agent(
        written(tmp_path, tools=f"include: [more.yaml]\n{TOOLS}", more="variables: {hour: {type: time}}")
    )
    assert {"hour", "state"} < set(agent.variables)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"tools": "variables: {day: {type: date}}"},
            "tools.yaml has variables.day, which a file",
        ),
        ({"tools": "include: [main.yaml]"}, "includes itself"),
        ({"main": MAIN.replace("tools.yaml", "toools.yaml")}, "toools.yaml"),
    ],
    ids=["twice", "in a circle", "not there"],
)
def test_what_cannot_be_put_together_is_refused_with_its_place(
    tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        load_agent(written(tmp_path, **changed))
