"""The record of writes: each is noted before it is sent and its result after, so that none is done twice or forgotten.

A write is held by one runner at a time, by a lease: while it lasts, nobody else touches the write; once it is over, its
runner has died or given up, and another may claim it. Times are wall time, in seconds since the epoch: runners of
several machines share an outbox, and their clocks must agree within a few seconds (the runner allows for five).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.tools.calls import ToolCall, ToolResult


class OutboxError(Exception):
    """The outbox cannot be used now, or not like this."""

    def __init__(self, message: str, *, maybe_written: bool = False) -> None:
        super().__init__(message)
        self.maybe_written = maybe_written
        """What was to be recorded may have been, though the confirmation was lost."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The write is recorded and ours to send."""


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """This key has a result; nothing may be sent for it any more."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class InFlight:
    """Somebody has begun this write and not finished it."""

    lease_until_s: float


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """A write that was begun and has no result."""

    call: ToolCall
    begun_s: float
    lease_until_s: float
    """Nothing that began it, or claimed it since, sends anything after this."""


class Outbox(Protocol):
    """Where writes are recorded; what is recorded is there for good once a method returns. All raise OutboxError."""

    async def begin(self, call: ToolCall, *, now_s: float, until_s: float) -> Begun | AlreadyDone | InFlight:
        """Record a write that is about to be sent. Of all who ask for a key, one gets Begun, with a lease."""
        ...

    async def claim(self, key: str, *, over_by_s: float, until_s: float) -> PendingWrite | None:
        """Take over a pending write whose lease was over at `over_by_s`: the write as it stood, and a lease until
        `until_s`. None if it is finished, or is held."""
        ...

    async def finish(self, key: str, result: ToolResult) -> ToolResult:
        """Record a result; it replaces no other, unless that is 'unknown'. The call's arguments are forgotten.

        Returns the result that stands.
        """
        ...

    async def pending(self) -> Sequence[PendingWrite]:
        """All writes without a result, held ones included."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    write: PendingWrite
    result: ToolResult | None = None


class MemoryOutbox:
    """For trials without a store: knows nothing any more when the process ends."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    async def begin(self, call: ToolCall, *, now_s: float, until_s: float) -> Begun | AlreadyDone | InFlight:
        entry = self._entries.get(call.key)
        if entry is None:
            self._entries[call.key] = _Entry(PendingWrite(call, now_s, until_s))
            return Begun()
        check_same_tool(entry.write.call.tool, call)
        return InFlight(entry.write.lease_until_s) if entry.result is None else AlreadyDone(entry.result)

    async def claim(self, key: str, *, over_by_s: float, until_s: float) -> PendingWrite | None:
        entry = self._entries.get(key)
        if entry is None or entry.result is not None or entry.write.lease_until_s > over_by_s:
            return None
        self._entries[key] = _Entry(replace(entry.write, lease_until_s=until_s))
        return entry.write

    async def finish(self, key: str, result: ToolResult) -> ToolResult:
        entry = self._entries.get(key)
        if entry is None:
            raise OutboxError(f"no write {key!r} was begun; begin it before it is finished")
        if entry.result is not None and entry.result.status != "unknown":
            return entry.result
        forgotten = replace(entry.write, call=replace(entry.write.call, arguments={}))
        self._entries[key] = _Entry(forgotten, result)
        return result

    async def pending(self) -> Sequence[PendingWrite]:
        return [entry.write for entry in self._entries.values() if entry.result is None]


def check_same_tool(known: str, call: ToolCall) -> None:
    """Raises OutboxError if a key is used for two tools."""
    if known != call.tool:
        raise OutboxError(f"key {call.key!r} belongs to a call of {known!r}; expected another key for {call.tool!r}")
