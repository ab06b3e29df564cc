"""Every scenario file, played under virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.form import load_scenario, scenario_files
from tests.scenarios.verdict import faults, told
from tests.scenarios.virtual import play


@pytest.mark.parametrize("path", scenario_files(), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    scenario = load_scenario(path)
    talk = play(scenario)
    found = faults(scenario, talk)
    assert not found, "\n".join([scenario.description, *found, told(talk)])
