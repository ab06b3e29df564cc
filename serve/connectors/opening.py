"""All back ends of an agent's tools, opened together and closed together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import BaseModel

from models.settings import SettingsError
from pipeline.clock import Clock
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from serve.connectors.addresses import AddressGuard
from serve.connectors.auth import credentials
from serve.connectors.http import HttpBackend
from serve.connectors.mcp_servers import McpBackend, ServedTools
from serve.connectors.presets import Expanded
from serve.connectors.secret_values import SecretReader, SecretRef
from serve.connectors.transport import ConnectorClient


@dataclass(frozen=True, slots=True)
class Connectors:
    """A ToolBackend for every tool of one agent, shared by all its calls."""

    http: HttpBackend
    mcp: McpBackend

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        """One attempt. Raises ToolFailure."""
        return await (self.http if tool.mcp is None else self.mcp).call(tool, call)

    async def served(self) -> Mapping[str, ServedTools]:
        """What each MCP server offers now; ask when a call starts."""
        return await self.mcp.tools()


@asynccontextmanager
async def open_connectors(
    expanded: Expanded, *, secrets: SecretReader, clock: Clock, guard: AddressGuard | None = None
) -> AsyncGenerator[Connectors, None]:
    """Check everything that can be checked without the network, then hold the back ends open.

    Raises SettingsError naming every missing secret, or the tool that cannot work.
    """
    _check_secrets(expanded, secrets)
    check_servers(expanded)
    guard = guard or AddressGuard()
    async with ConnectorClient(guard) as client:
        proofs = {
            name: credentials(
                server.auth, secrets=secrets, client=client, clock=clock, allow_private=server.allow_private
            )
            for name, server in expanded.servers.items()
        }
        http = HttpBackend(expanded.tools, expanded.connections, client=client, secrets=secrets, clock=clock)
        async with McpBackend(expanded.servers, credentials=proofs, secrets=secrets, guard=guard) as mcp:
            yield Connectors(http, mcp)


def _check_secrets(expanded: Expanded, secrets: SecretReader) -> None:
    missing: list[str] = []
    for name, connection in {**expanded.connections, **expanded.servers}.items():
        for ref in _refs(connection):
            try:
                secrets.read(ref)
            except SettingsError as error:
                missing.append(f"connections.{name}: {error}")
    if missing:
        raise SettingsError("\n".join(missing))


def _refs(model: BaseModel) -> Iterator[SecretRef]:
    for _, value in model:
        values = value.values() if isinstance(value, dict) else (value,)
        for item in values:
            if isinstance(item, SecretRef):
                yield item
            elif isinstance(item, BaseModel):
                yield from _refs(item)


def check_servers(expanded: Expanded) -> None:
    """Raises SettingsError naming the tool whose MCP server is not there, or does not allow it."""
    for name, tool in expanded.tools.items():
        if tool.mcp is None:
            continue
        server = expanded.servers.get(tool.mcp.server)
        if server is None:
            known = ", ".join(expanded.servers) or "none"
            raise SettingsError(f"tools.{name}.mcp.server: no MCP server is called {tool.mcp.server!r}; known: {known}")
        if tool.mcp.tool not in server.allow:
            raise SettingsError(
                f"tools.{name}.mcp.tool: {tool.mcp.tool!r} is not in the `allow` of {tool.mcp.server!r}; "
                f"it has {', '.join(server.allow)}"
            )
