"""A back end wired to a fake system, as an agent file would wire it."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipeline.tools.calls import ToolCall, ToolFailure, ToolResult
from pipeline.tools.definition import JsonValue
from serve.connectors.http import HttpBackend
from serve.connectors.presets import Expanded, expand
from serve.connectors.secret_values import SecretReader
from serve.connectors.transport import ConnectorClient

KEY = "CA1/book/confirm/1"
WALL_TIME_S = 1_795_572_000.0
"""Wed, 25 Nov 2026 02:00:00 GMT"""


class FakeClock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    async def sleep(self, delay_s: float) -> None:
        self.time_s += delay_s

    def wall_time_s(self) -> float:
        return WALL_TIME_S + self.time_s


@dataclass(frozen=True, slots=True)
class Rig:
    backend: HttpBackend
    expanded: Expanded
    clock: FakeClock

    async def call(self, tool: str, **arguments: JsonValue) -> ToolResult:
        return await self.backend.call(self.expanded.tools[tool], ToolCall(tool, arguments, KEY))

    async def failure(self, tool: str, **arguments: JsonValue) -> ToolFailure:
        """The failure that a call must end in."""
        try:
            result = await self.call(tool, **arguments)
        except ToolFailure as failure:
            return failure
        raise AssertionError(f"expected a failure, got {result}")


@functools.cache
def trust() -> ssl.SSLContext:
    """The system's certificates, read once: it takes longer than most tests here."""
    return ssl.create_default_context()


@asynccontextmanager
async def http_rig(
    connections: Mapping[str, JsonValue],
    tools: Mapping[str, JsonValue],
    environment: Mapping[str, str],
    *,
    source: str = "agent.yaml",
) -> AsyncGenerator[Rig, None]:
    expanded = expand(connections, tools, source=source)
    clock = FakeClock()
    async with ConnectorClient(verify=trust()) as client:
        backend = HttpBackend(
            expanded.tools,
            expanded.connections,
            client=client,
            secrets=SecretReader(environment),
            clock=clock,
        )
        yield Rig(backend, expanded, clock)
