"""What a conversation needs of the world: an agent's back ends over its back office, a router, a language model."""

from __future__ import annotations

import functools
import importlib
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from starlette.types import ASGIApp

from models.settings import SettingsError
from pipeline.agent import Agent
from pipeline.clock import Clock, LoopClock
from pipeline.tools.definition import JsonValue
from pipeline.tools.outbox import MemoryOutbox
from pipeline.tools.runner import ToolRunner
from serve.connectors.http import HttpBackend
from serve.connectors.presets import expand
from serve.connectors.secret_values import SecretReader
from serve.connectors.transport import ConnectorClient

BACK_OFFICE = "back_office"
"""The connection of the demo agents that reaches their back office."""


class OfficeOpener(Protocol):
    """`open_office` of a back office's module."""

    def __call__(self, file: Path | None, now: Callable[[], datetime]) -> ASGIApp: ...


class EvalClock(LoopClock):
    """Wall time that begins at a given moment and moves with the loop."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s

    def wall_time_s(self) -> float:
        return self._began_s + self.now_s()


def office_of(name: str) -> OfficeOpener:
    """The back office that goes with an agent."""
    # An agent that speaks another language ("dental_es") has the same office.
    practice = name.partition("_")[0]
    opener: OfficeOpener = importlib.import_module(f"bench.backoffice.{practice}").open_office
    return opener


@asynccontextmanager
async def tools_of(agent: Agent, base_url: str, clock: Clock, source: str) -> AsyncGenerator[ToolRunner, None]:
    """The agent's tools, with its back office at another address. Raises SettingsError."""
    connections: dict[str, JsonValue] = dict(agent.connections)
    office = connections.get(BACK_OFFICE)
    if not isinstance(office, dict):
        raise SettingsError(f"{source}: connections.{BACK_OFFICE}: missing; expected the connection to its back office")
    connections[BACK_OFFICE] = {**office, "base_url": base_url}
    tools: Mapping[str, JsonValue] = agent.model_dump(mode="json", include={"tools"}, exclude_unset=True)["tools"]
    expanded = expand(connections, tools, source=source)
    async with ConnectorClient(verify=_trust()) as client:
        backend = HttpBackend(expanded.tools, expanded.connections, client=client, secrets=SecretReader(), clock=clock)
        async with ToolRunner(expanded.tools, backend, MemoryOutbox(), clock, random.Random(1)) as runner:
            yield runner


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's certificates, read once."""
    return ssl.create_default_context()
