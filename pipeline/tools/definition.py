"""An agent's tools: what may be done on business systems, how it is called, and how carefully."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from models.settings import StrictModel

__all__ = [
    "DEFAULT_CODES",
    "Argument",
    "BreakerSettings",
    "Effect",
    "HttpCall",
    "JsonValue",
    "McpCall",
    "OpenApiCall",
    "Tool",
    "check_tools",
]

Effect = Literal["read", "write"]
"""'write' if a call may change something; else it may be repeated freely."""

KEY_PLACEHOLDER = "{idempotency_key}"
"""In a template: the call's idempotency key."""


DEFAULT_CODES: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid",
        403: "forbidden",
        404: "not_found",
        409: "conflict",
        410: "not_found",
        412: "conflict",
        422: "invalid",
    }
)
"""What an HTTP status means as a rejection unless the tool says otherwise."""


def _is_jmespath(expression: str) -> str:
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"expected a JMESPath expression, which this is not ({why}); correct it") from error
    return expression


def _is_status_or_jmespath(test: str) -> str:
    if not test.isdigit():
        return _is_jmespath(test)
    if not 100 <= int(test) <= 599:
        raise ValueError("expected an HTTP status from 100 to 599, or a JMESPath test; correct it")
    return test


JmesPath = Annotated[str, AfterValidator(_is_jmespath)]
StatusOrTest = Annotated[str, AfterValidator(_is_status_or_jmespath)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Argument(StrictModel):
    """One argument of a tool; a plain value."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    """Text that says a number or yes/no is taken for one where one is wanted: variables are text."""
    description: str = ""
    """What it is, for a model that calls the tool."""
    required: bool = True
    """Whether the tool cannot be called without it."""
    enum: tuple[str, ...] = ()
    """For strings: the values allowed; empty for any."""
    pattern: str | None = None
    """For strings: a regular expression that must be found in the value; `^` and `$` tie it to its ends."""
    format: str | None = None
    """For strings, as JSON Schema names it; date, date-time, email, uuid, ipv4 and ipv6 are checked, others are not."""
    max_length: int | None = Field(default=None, ge=1)
    """For strings: characters."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, which this is not ({error}); correct it") from error
        return pattern

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if self.type != "string" and (self.enum or self.pattern or self.format or self.max_length):
            raise ValueError(f"enum, pattern, format and max_length go with type string, not {self.type}; remove them")
        return self

    def json_schema(self) -> dict[str, JsonValue]:
        """This argument as a JSON Schema."""
        schema: dict[str, JsonValue] = {"type": self.type}
        if self.description:
            schema["description"] = self.description
        if self.enum:
            schema["enum"] = list(self.enum)
        if self.pattern is not None:
            schema["pattern"] = self.pattern
        if self.format is not None:
            schema["format"] = self.format
        if self.max_length is not None:
            schema["maxLength"] = self.max_length
        return schema


class HttpCall(StrictModel):
    """A request to a web service. In templates `{name}` is an argument, `{idempotency_key}` the call's key."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """Of the request."""
    url: str = Field(min_length=1)
    """Template; relative to the base of the connection in `auth`, or whole."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Templates."""
    query: dict[str, str] = Field(default_factory=dict)
    """Templates."""
    body: JsonValue = None
    """Template: JSON with placeholders in its texts; none without it."""
    auth: str | None = None
    """Entry of the agent's `connections` that it is called by."""
    idempotency_header: str | None = Field(default=None, min_length=1)
    """Header for the call's key, if the system does a write once for one key however often it is sent."""
    honours_key: bool = False
    """The same, for a system that takes the key elsewhere: the templates then hold {idempotency_key}."""
    key_kept_s: float = Field(default=86_400, gt=0)
    """How long the system remembers a key; a write begun longer ago is not sent again."""
    escaping: Literal["none", "url", "sosl"] = "none"
    """What arguments are escaped for, beyond what their place in the request needs."""
    codes: dict[StatusOrTest, Code] = Field(default_factory=dict)
    """HTTP status, or JMESPath test on the answer -> rejection code, such as not_found or conflict."""

    @model_validator(mode="after")
    def _sends_the_key(self) -> Self:
        if self.honours_key and not self._holds_key:
            raise ValueError(f"honours_key needs {KEY_PLACEHOLDER} in url, query, headers or body; add it")
        return self

    def rejections(self) -> frozenset[str]:
        """The codes by which the system may say no."""
        by_status = dict(DEFAULT_CODES) | {int(key): code for key, code in self.codes.items() if key.isdigit()}
        return frozenset(by_status.values()) | frozenset(self.codes.values())

    @property
    def takes_key(self) -> bool:
        """Whether the system does a write once for one key."""
        return self.idempotency_header is not None or self.honours_key

    @property
    def _holds_key(self) -> bool:
        templates = json.dumps([self.url, self.query, self.headers, self.body], ensure_ascii=False)
        return KEY_PLACEHOLDER in templates


class McpCall(StrictModel):
    """A tool of a Model Context Protocol server."""

    server: str = Field(min_length=1)
    """Entry of the agent's `connections`."""
    tool: str = Field(min_length=1)
    """The server's name for it."""


class OpenApiCall(StrictModel):
    """An operation of an OpenAPI 3 file."""

    file: str = Field(min_length=1)
    """Path, relative to the agent file."""
    operation: str = Field(min_length=1)
    """Its operationId, or "GET /path"."""
    auth: str | None = None
    """Which of the agent's `connections` it is called by, where several are on the file's server; None: the one that is
    there, or none."""


class BreakerSettings(StrictModel):
    """When a system that fails is left alone."""

    failures: int = Field(default=5, ge=1)
    """Failed attempts in a row after which nothing more is sent."""
    open_s: float = Field(default=30, gt=0)
    """For how long; then one attempt shows whether it is back."""


class Tool(StrictModel):
    """One tool, under its name in the agent file."""

    description: str = Field(min_length=1)
    """What it does, in a sentence."""
    effect: Effect
    """Whether it only looks something up, or changes something."""
    arguments: dict[str, Argument] = Field(default_factory=dict)
    """What it is given, by name."""
    returns: dict[str, JmesPath] = Field(default_factory=dict)
    """Name -> JMESPath over the back end's answer; nothing else of it is kept."""

    http: HttpCall | None = None
    """Back end: a web service. Exactly one of http, mcp and openapi is given."""
    mcp: McpCall | None = None
    """Back end: a tool of an MCP server."""
    openapi: OpenApiCall | None = None
    """Back end: an operation of an OpenAPI file."""

    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """One attempt may take this long, and may wait this long for its turn before (see `at_once`)."""
    attempts: int = Field(default=2, ge=1, le=5)
    """Sent at most so often, where a repeat is safe: always for a read; for a write only if it certainly was not sent,
    or the system honours the idempotency key."""
    backoff_ms: float = Field(default=200, ge=0, le=10_000)
    """Longest wait before the second attempt, doubled for each further one; the wait is random below that."""
    retry_within_s: float = Field(default=4.0, ge=0, le=60)
    """A system that asks to be left alone longer than this is not tried again: a caller waits."""
    breaker: BreakerSettings = BreakerSettings()
    at_once: int = Field(default=8, ge=1, le=1000)
    """Attempts of all calls together that may be under way at once."""

    lookup: str | None = None
    """For a write: a read tool that tells whether it was done. It gets those of the write's arguments that it knows,
    and the write's key as {idempotency_key}; it answers with what the write would return, or the code not_found."""
    settles_s: float = Field(default=60, ge=0, le=3600)
    """For a write: how long after it was sent it may still take effect, or not be seen by `lookup` yet."""

    filler: str | None = Field(default=None, min_length=1)
    """Line said while it works."""
    needs_level: int = Field(default=0, ge=0)
    """Verification level that the caller must have."""
    confirm: bool = False
    """For a write: what it will do is read back to the caller first."""
    redact: tuple[str, ...] = ()
    """Arguments and returns that are never logged, nor shown to a model."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [kind for kind in ("http", "mcp", "openapi") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of http, mcp and openapi; got {', '.join(given) or 'none'}")
        if self.effect == "read" and (self.confirm or self.lookup):
            raise ValueError("confirm and lookup go with effect write; remove them")
        # MCP's and OpenAPI's arguments may only be known once they are taken over.
        unknown = set(self.redact) - set(self.arguments) - set(self.returns)
        if self.http is not None and unknown:
            raise ValueError(f"redact: neither argument nor return: {', '.join(sorted(unknown))}; correct the spelling")
        return self

    @property
    def takes_key(self) -> bool:
        """Whether its system does a write once for one idempotency key, so that a repeat is safe."""
        return self.http is not None and self.http.takes_key

    def json_schema(self) -> dict[str, JsonValue]:
        """Its arguments as a JSON Schema of an object."""
        properties: dict[str, JsonValue] = {name: argument.json_schema() for name, argument in self.arguments.items()}
        required: list[JsonValue] = [name for name, argument in self.arguments.items() if argument.required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def shown(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Those of its arguments or returned values that may be logged and shown to a model."""
        return {name: value for name, value in values.items() if name not in self.redact}


def check_tools(tools: Mapping[str, Tool]) -> None:
    """Check what one tool says of another. Raises ValueError naming the tool."""
    for name, tool in tools.items():
        if tool.lookup is None:
            continue
        lookup = tools.get(tool.lookup)
        if lookup is None or lookup.effect != "read":
            what = "no tool" if lookup is None else "a write"
            raise ValueError(f"tools.{name}.lookup: expected a tool with effect read; {tool.lookup!r} is {what}")
        missing = [key for key, argument in lookup.arguments.items() if argument.required and key not in tool.arguments]
        if missing:
            raise ValueError(
                f"tools.{name}.lookup: {tool.lookup!r} needs {', '.join(missing)}, which {name!r} has no argument for"
            )
