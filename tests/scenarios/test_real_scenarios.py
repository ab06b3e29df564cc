"""The scenarios marked `real`, played to the real stack by the simulated caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import events as ev
from tests.conftest import StackUp
from tests.scenarios.form import load_scenario, scenario_files
from tests.scenarios.real import faults, script_of
from tests.serve.stack_rig import call

REAL = [path for path in scenario_files() if load_scenario(path).real]

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
async def test_real_scenario(stack_up: StackUp, path: Path) -> None:
    scenario = load_scenario(path)
    record, log, _ = await call(stack_up, script_of(scenario, path.stem), lambda event: None)
    found = faults(scenario, log, record)
    assert not found, "\n".join([scenario.description, *found, *(f"{one.at_s:8.3f} {ev.to_json(one)}" for one in log)])
