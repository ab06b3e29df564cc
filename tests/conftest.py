"""Shared by all tests: one started stack for those that need real models behind real Serve deployments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from pipeline.agent import Agent
from serve.config import EMBEDDED_STACK, Stack, load_stack
from serve.secrets import local_secrets
from serve.stack import StackState, ray_environment, reset_back_office, running_stack, usable_port
from serve.traffic_split import load_traffic_split

# The same examples in every run, and no example may fail for want of speed.
settings.register_profile("trunkline", derandomize=True, deadline=None)
settings.load_profile("trunkline")

# Ray reads some of its switches when it is imported, which tests that use vLLM do before the stack is started.
for _name, _value in ray_environment(load_stack(EMBEDDED_STACK).gateway).items():
    os.environ.setdefault(_name, _value)

EVERY_WEIGHT = ("piper-joe",)
"""Beyond what the stack itself needs: the simulated caller's voice."""


@dataclass(frozen=True, slots=True)
class StackUp:
    """The embedded stack, up on a port of its own."""

    stack: Stack
    agent: Agent
    version: str
    state: StackState


@pytest.fixture(scope="session")
def stack_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUp]:
    """Starts the embedded stack once a test session; at the end, no process of it may be left. For slow tests only."""
    from models.weights import home_folder, prepare_all

    embedded = load_stack(EMBEDDED_STACK)
    prepare_all([*embedded.weights(), *EVERY_WEIGHT])
    port = usable_port(embedded.gateway)
    stack = embedded.model_copy(update={"gateway": embedded.gateway.model_copy(update={"port": port})})
    traffic = load_traffic_split(stack)
    runs_dir: Path = tmp_path_factory.mktemp("runs")
    before = set(psutil.Process().children(recursive=True))
    # Its own home, so that a stack which the developer has up is left alone; kept, because it remembers spoken lines.
    with running_stack(stack, traffic, local_secrets(), home=home_folder() / "tests", runs_dir=runs_dir) as state:
        started = set(psutil.Process().children(recursive=True)) - before
        yield StackUp(stack, traffic.first, traffic.variants[0].agents[0].version, state)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive, f"left behind by the stack: {alive}"


@pytest.fixture(autouse=True)
def _business_as_it_was(request: pytest.FixtureRequest) -> None:
    """No test that uses the stack finds what another has booked."""
    if "stack_up" in request.fixturenames:
        up: StackUp = request.getfixturevalue("stack_up")
        reset_back_office(up.state)
