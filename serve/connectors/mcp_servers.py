"""Tools of Model Context Protocol servers, by streamable HTTP or stdio. What they return is data, no instructions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    CallToolResult,
    ContentBlock,
    TextContent,
)
from mcp_types import Tool as ServerTool

from models.settings import SettingsError
from pipeline.tools.calls import ToolCall, ToolFailure, ToolResult
from pipeline.tools.definition import Effect, JsonValue, McpCall, Tool
from serve.connectors.addresses import AddressGuard, RefusedAddress
from serve.connectors.answers import AnswerError, Projection, parse_json
from serve.connectors.auth import Credentials
from serve.connectors.connection import McpServer
from serve.connectors.http import OUR_SHARE
from serve.connectors.schemas import arguments_of, returns_of
from serve.connectors.secret_values import SecretReader
from serve.connectors.text import clean_text
from serve.connectors.transport import mcp_client

_log = logging.getLogger(__name__)

_MOST_PAGES = 20
_NOT_DONE = frozenset({INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND})


class _Unavailable(Exception):
    """The server cannot be reached or started. Nothing was sent to a tool."""


class _CredentialsAuth(httpx2.Auth):
    """Our credentials on the MCP library's requests; once more with new ones after a 401."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        proof = await self._credentials.headers()
        request.headers.update(proof)
        response = yield request
        if response.status_code == 401 and self._credentials.refused(proof):
            request.headers.update(await self._credentials.headers())
            yield request


class _Session:
    """One server's connection: opened when first needed, opened again after it broke. A task of its own holds it."""

    def __init__(
        self, name: str, server: McpServer, *, credentials: Credentials, secrets: SecretReader, guard: AddressGuard
    ) -> None:
        self._name = name
        self._server = server
        self._credentials = credentials
        self._secrets = secrets
        self._guard = guard
        self._wanted = asyncio.Event()
        self._broken = asyncio.Event()
        self._client: asyncio.Future[Client] | None = None

    async def client(self) -> Client:
        """The connected client. Raises _Unavailable."""
        if self._client is None or (self._client.done() and self._broken.is_set()):
            self._client = asyncio.get_running_loop().create_future()
            self._wanted.set()
        return await asyncio.shield(self._client)

    def broke(self, client: Client) -> None:
        """This client is of no use any more; the next who asks gets a new one."""
        if self._client is not None and self._client.done() and self._client.result() is client:
            self._broken.set()

    async def hold(self) -> None:
        """Hold a connection open while one is wanted; ends by cancellation."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            assert self._client is not None
            await self._hold_one(self._client)

    async def _hold_one(self, promise: asyncio.Future[Client]) -> None:
        self._broken = broken = asyncio.Event()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._server.connect_timeout_s):
                    client = await stack.enter_async_context(self._connection())
                promise.set_result(client)
                await broken.wait()
        except Exception as error:  # Whatever a server's transport raises, alone or in a group, the others go on.
            why = f"MCP server {self._name!r} cannot be used: {_reason(error)}"
            if promise.done():
                _log.warning(why)
            else:
                promise.set_exception(_Unavailable(why))
                promise.exception()  # Seen, even if whoever asked has gone.
        finally:
            broken.set()
            if not promise.done():
                promise.set_exception(_Unavailable(f"MCP server {self._name!r}: we are closing down"))
                promise.exception()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Client, None]:
        server = self._server
        if server.url is None:
            environment = {name: self._secrets.read(ref).get_secret_value() for name, ref in server.environment.items()}
            command, *arguments = server.command
            async with Client(StdioServerParameters(command=command, args=arguments, env=environment)) as client:
                yield client
            return
        http = mcp_client(
            self._guard,
            allow_private=server.allow_private,
            headers=server.headers,
            auth=_CredentialsAuth(self._credentials),
            read_timeout_s=300.0,
        )
        async with http, Client(streamable_http_client(server.url, http_client=http)) as client:
            yield client


class McpBackend:
    """Carries out tools whose back end is `mcp`. Use it as `async with`: it holds the servers' connections."""

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        credentials: Mapping[str, Credentials],
        secrets: SecretReader,
        guard: AddressGuard,
    ) -> None:
        self._servers = servers
        self._sessions = {
            name: _Session(name, server, credentials=credentials[name], secrets=secrets, guard=guard)
            for name, server in servers.items()
        }
        self._tasks = asyncio.TaskGroup()
        self._holding: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._holding = [self._tasks.create_task(session.hold()) for session in self._sessions.values()]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._holding:
            task.cancel()
        await self._tasks.__aexit__(kind, error, traceback)

    async def tools(self) -> dict[str, ServedTools]:
        """What every server offers now and this agent may use; ask when a call starts. Never raises for a server."""
        async with asyncio.TaskGroup() as group:
            listings = {name: group.create_task(self._served(name)) for name in self._servers}
        return {name: listing.result() for name, listing in listings.items()}

    async def _served(self, name: str) -> ServedTools:
        server = self._servers[name]
        try:
            async with asyncio.timeout(server.connect_timeout_s):
                listed = await self._list(name)
        except (_Unavailable, MCPError, TimeoutError) as error:
            return ServedTools({}, {tool: f"not listed: {_reason(error)}" for tool in server.allow})
        tools: dict[str, Tool] = {}
        missing: dict[str, str] = {}
        for tool, effect in server.allow.items():
            if tool not in listed:
                missing[tool] = "the server does not offer it"
                continue
            try:
                tools[tool] = _taken_over(name, listed[tool], effect, server)
            except ValueError as error:
                missing[tool] = str(error)
        return ServedTools(tools, missing)

    async def _list(self, name: str) -> dict[str, ServerTool]:
        client = await self._sessions[name].client()
        listed: dict[str, ServerTool] = {}
        cursor: str | None = None
        try:
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                listed |= {tool.name: tool for tool in page.tools}
                cursor = page.next_cursor
                if not cursor:
                    break
        except MCPError as error:
            if error.code in (CONNECTION_CLOSED, INVALID_REQUEST):
                self._sessions[name].broke(client)
            raise
        return listed

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        """One attempt. Raises ToolFailure; whether a broken connection had sent the call is not known, so `sent` is
        then true."""
        mcp = tool.mcp
        assert mcp is not None
        session = self._sessions[mcp.server]
        if mcp.tool not in self._servers[mcp.server].allow:
            raise _failure(f"MCP server {mcp.server!r}: tool {mcp.tool!r} is not in its `allow`", sent=False)
        client: Client | None = None
        try:
            async with asyncio.timeout(tool.timeout_s * OUR_SHARE):
                client = await session.client()
                result = await client.call_tool(mcp.tool, dict(call.arguments))
        except _Unavailable as error:
            raise _failure(str(error), sent=False, retryable=True) from error
        except TimeoutError as error:
            sent = client is not None
            raise _failure(f"MCP server {mcp.server!r}: no answer in time", sent=sent, retryable=True) from error
        except MCPError as error:
            assert client is not None
            if error.code in (CONNECTION_CLOSED, INVALID_REQUEST):
                session.broke(client)
            raise _failure(
                f"MCP server {mcp.server!r}: {clean_text(error.message, 200)} ({error.code})",
                sent=error.code not in _NOT_DONE,
                retryable=error.code not in (INVALID_PARAMS, METHOD_NOT_FOUND),
            ) from error
        except RuntimeError as error:
            # What the library raises for a result that breaks the schema which the server itself declared.
            raise _failure(f"MCP server {mcp.server!r}: {clean_text(str(error), 200)}", sent=True) from error
        return self._result(mcp, tool, result)

    def _result(self, mcp: McpCall, tool: Tool, result: CallToolResult) -> ToolResult:
        limits = self._servers[mcp.server].text
        answer = answer_of(result)
        if result.is_error:
            said = f"{mcp.server}.{mcp.tool}: {clean_text(_text(result.content), 200)}"
            if tool.effect == "write":
                # MCP does not say whether a tool refused or broke half-way.
                raise _failure(said, sent=True)
            return ToolResult(status="rejected", values={}, code="tool_error", detail=said)
        try:
            values = Projection(tool.returns, limits).values(answer)
        except AnswerError as error:
            raise _failure(f"{mcp.server}.{mcp.tool}: {error}", sent=True) from error
        return ToolResult(status="ok", values=values)


@dataclass(frozen=True, slots=True)
class ServedTools:
    """What one server offers when a call starts."""

    tools: Mapping[str, Tool]
    """By the server's own name for it; arguments as the server's schema has them."""
    missing: Mapping[str, str]
    """Tools that the agent may use but cannot now -> why."""


def answer_of(result: CallToolResult) -> JsonValue:
    """A result as JSON: its structured content, else its text if that is JSON, else `{"text": ...}`."""
    if isinstance(result.structured_content, dict | list):
        return parse_json(json.dumps(result.structured_content).encode())
    text = _text(result.content)
    try:
        parsed = parse_json(text.encode())
    except AnswerError:
        parsed = None
    return parsed if isinstance(parsed, dict | list) else {"text": text}


def _text(content: Sequence[ContentBlock]) -> str:
    return "\n".join(block.text for block in content if isinstance(block, TextContent))


def _taken_over(name: str, served: ServerTool, effect: Effect, server: McpServer) -> Tool:
    return Tool(
        description=clean_text(served.description or "", 400) or served.name,
        effect=effect,
        arguments=arguments_of(served.input_schema),
        returns=returns_of(served.output_schema),
        mcp=McpCall(server=name, tool=served.name),
    )


def _reason(error: BaseException) -> str:
    """What went wrong, in a line; of a group, its first cause."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, MCPError | _Unavailable | RefusedAddress | SettingsError | ToolFailure):
        return clean_text(str(error), 300)
    return type(error).__name__


def _failure(detail: str, *, sent: bool, retryable: bool = False) -> ToolFailure:
    return ToolFailure(retryable=retryable, sent=sent, retry_after_s=None, detail=detail)
