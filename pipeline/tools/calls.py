"""One call of a tool, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import TypeAdapter

from pipeline.tools.definition import JsonValue, Tool

__all__ = [
    "JsonValue",
    "Status",
    "ToolBackend",
    "ToolCall",
    "ToolFailure",
    "ToolResult",
    "arguments_from_json",
    "arguments_to_json",
    "result_from_json",
    "result_to_json",
]

Status = Literal["ok", "rejected", "failed", "unknown"]
"""'ok': done; 'rejected': the system said no, and nothing was done; 'failed': certainly not done; 'unknown': a write
was sent and its outcome could not be learnt."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A wish to call a tool."""

    tool: str
    arguments: Mapping[str, JsonValue]
    key: str
    """Idempotency key: the same for one intent of one call, however often it is asked for."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call."""

    status: Status
    values: Mapping[str, JsonValue]
    """The tool's `returns`; empty unless the status is 'ok'."""
    code: str = ""
    """If rejected: which no, such as "conflict" or "not_found"."""
    detail: str = ""
    """In words, for logs."""


class ToolFailure(Exception):
    """One attempt came to nothing. Raised by a back end."""

    def __init__(self, *, retryable: bool, sent: bool, retry_after_s: float | None = None, detail: str = "") -> None:
        super().__init__(detail)
        self.retryable = retryable
        """Another attempt may fare better."""
        self.sent = sent
        """The system may have acted: false only if it certainly has not."""
        self.retry_after_s = retry_after_s
        """How long the system asks to be left alone."""
        self.detail = detail


class ToolBackend(Protocol):
    """Carries out calls on a system."""

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        """One attempt. Raises ToolFailure. Cancelling it gives up waiting; what was sent stays sent."""
        ...


_RESULT: TypeAdapter[ToolResult] = TypeAdapter(ToolResult)
_ARGUMENTS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def result_to_json(result: ToolResult) -> str:
    return _RESULT.dump_json(result).decode()


def result_from_json(text: str) -> ToolResult:
    """Raises pydantic.ValidationError, a ValueError, for text that is no result."""
    return _RESULT.validate_json(text)


def arguments_to_json(arguments: Mapping[str, JsonValue]) -> str:
    return _ARGUMENTS.dump_json(dict(arguments)).decode()


def arguments_from_json(text: str) -> dict[str, JsonValue]:
    """Raises pydantic.ValidationError, a ValueError, for text that is no object."""
    return _ARGUMENTS.validate_json(text)
