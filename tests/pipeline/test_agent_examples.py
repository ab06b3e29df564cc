"""Utterances in files beside an agent file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from models.settings import SettingsError
from pipeline.agent_examples import with_examples


def agent(*routes: JsonValue) -> dict[str, JsonValue]:
    return {"routes": [*routes], "examples_from": ["more.yaml"]}


@pytest.mark.parametrize("own", [{}, {"examples": []}])
def test_a_route_may_have_all_its_examples_in_a_file_beside(own: dict[str, JsonValue], tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("hire: [rent a boat, hire a canoe]")
    merged = with_examples(agent({"name": "hire", **own}, {"name": "moor"}), tmp_path / "agent.yaml")
    assert merged["routes"] == [{"name": "hire", "examples": ["rent a boat", "hire a canoe"]}, {"name": "moor"}]


def test_examples_of_no_route_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("hier: [rent a boat]")
    with pytest.raises(SettingsError, match="no route hier"):
        with_examples(agent({"name": "hire"}), tmp_path / "agent.yaml")
