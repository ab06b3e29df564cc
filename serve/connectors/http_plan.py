"""A tool's HTTP call, checked and ready: everything about it that does not depend on one call's arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit

import httpx
from jmespath.parser import ParsedResult

from models.settings import SettingsError
from pipeline.tools.calls import ToolCall
from pipeline.tools.definition import HttpCall, JsonValue, Tool
from serve.connectors.answers import Projection, Rejections, compiled, holds
from serve.connectors.connection import HttpConnection, origin
from serve.connectors.templates import (
    TemplateError,
    escape_header,
    escape_path,
    escape_sosl,
    fill_fields,
    fill_json,
    fill_text,
    placeholders,
    unescaped,
)

NOW, KEY = "now", "idempotency_key"
"""Placeholders that every template has: the time (ISO 8601, UTC) and the call's idempotency key."""

FORM = "application/x-www-form-urlencoded"
_SHORTEST_REDACTED = 3


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, before the authentication headers."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How one tool's calls become requests, and its answers results."""

    tool: Tool
    http: HttpCall
    connection_name: str | None
    connection: HttpConnection
    url: str
    """Template; absolute."""
    host: str
    projection: Projection
    rejections: Rejections
    busy: tuple[ParsedResult, ...]

    @classmethod
    def of(cls, name: str, tool: Tool, http: HttpCall, connections: Mapping[str, HttpConnection]) -> Plan:
        """Check a tool. Raises SettingsError naming it."""
        try:
            return cls._checked(tool, http, connections)
        except ValueError as error:
            raise SettingsError(f"tools.{name}: {error}") from error

    @classmethod
    def _checked(cls, tool: Tool, http: HttpCall, connections: Mapping[str, HttpConnection]) -> Plan:
        absolute = http.url.startswith(("https://", "http://"))
        if absolute and "{" in origin(http.url):
            raise ValueError(f"http.url: {http.url!r}: expected a fixed host; arguments may only stand in the path")
        if http.auth is not None:
            connection = connections.get(http.auth)
            if connection is None:
                raise ValueError(
                    f"http.auth: no HTTP connection is called {http.auth!r}; known: {', '.join(connections) or 'none'}"
                )
            url = http.url if absolute else f"{connection.base_url.rstrip('/')}/{http.url.lstrip('/')}"
            if origin(url) != origin(connection.base_url):
                raise ValueError(
                    f"http.url: {http.url!r} is another host than that of {http.auth!r}, whose credentials it would get"
                )
        elif absolute:
            url = http.url
            connection = HttpConnection(base_url=origin(url))
        else:
            raise ValueError(f"http.url: {http.url!r} is relative; give a whole URL, or a connection in http.auth")
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            raise ValueError(f"http.url: {http.url!r}: put what follows the '?' under http.query")
        used = set(_placeholders(http))
        unknown = used - set(tool.arguments) - {NOW, KEY}
        if unknown:
            raise ValueError(
                f"no such argument: {', '.join(sorted(unknown))}; known: {', '.join((*tool.arguments, NOW, KEY))}"
            )
        return cls(
            tool=tool,
            http=http,
            connection_name=http.auth,
            connection=connection,
            url=url,
            host=parts.hostname or parts.netloc,
            projection=Projection(tool.returns, connection.text),
            rejections=Rejections(http.codes),
            busy=tuple(compiled(test) for test in connection.busy),
        )

    @property
    def needs_json(self) -> bool:
        """Whether a successful answer must be JSON."""
        return bool(self.tool.returns)

    def is_busy(self, body: JsonValue) -> bool:
        """Whether an error's body says that the system did nothing because it has too much to do."""
        return any(holds(test, body) for test in self.busy)

    def request(self, call: ToolCall, now_s: float) -> Request:
        """The request for one call; `now_s` is the time since the epoch. Raises TemplateError."""
        now = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        arguments = {**call.arguments, NOW: now, KEY: call.key}
        escape = escape_sosl if self.http.escaping == "sosl" else unescaped
        url = httpx.URL(fill_text(self.url, arguments, escape_path))
        query = fill_fields(self.http.query, arguments, escape)
        if query:
            # A space is %20: some systems take the '+' that forms use for a plus.
            url = url.copy_with(query=urlencode(query, quote_via=quote).encode())
        headers = {
            **self.connection.headers,
            **fill_fields(self.http.headers, arguments, escape_header),
            "Accept-Encoding": "identity",
        }
        if self.http.idempotency_header is not None:
            headers[self.http.idempotency_header] = escape_header(call.key)
        content = None
        if self.http.body is not None:
            content, kind = _body(fill_json(self.http.body, arguments, escape), headers)
            headers.setdefault("Content-Type", kind)
        return Request(self.http.method, url, headers, content)

    def without_secrets(self, call: ToolCall, text: str) -> str:
        """Text for a log, without the values of arguments that are never logged."""
        for name in self.tool.redact:
            value = call.arguments.get(name)
            if isinstance(value, str) and len(value) >= _SHORTEST_REDACTED:
                text = text.replace(value, "...")
        return text


def _placeholders(http: HttpCall) -> Iterator[str]:
    try:
        yield from placeholders(http.url)
        for fields in (http.headers, http.query):
            for template in fields.values():
                yield from placeholders(template)
        yield from placeholders(http.body)
    except TemplateError as error:
        raise ValueError(f"http: {error}") from error


def _body(filled: JsonValue, headers: Mapping[str, str]) -> tuple[bytes, str]:
    """The body's bytes and what they are: JSON, or a form if the tool's own Content-Type says so."""
    kinds = [value for name, value in headers.items() if name.lower() == "content-type"]
    if kinds and kinds[0].startswith(FORM):
        assert isinstance(filled, dict)
        return urlencode({key: _form_text(value) for key, value in filled.items() if value is not None}).encode(), FORM
    return json.dumps(filled, ensure_ascii=False, separators=(",", ":")).encode(), "application/json"


def _form_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
