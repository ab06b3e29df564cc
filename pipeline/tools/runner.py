"""Carrying out an agent's tool calls: checked first, then as often as is safe, and each write exactly once.

A write is recorded in the outbox before it is sent, and then carried through in a task of its own: an asker who is
cancelled (a barge-in, a hang-up) stops waiting, not the write. Its result is recorded and given to whoever asks for its
key again. What a process that died has left behind is settled by `recover`, or by the next who asks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pipeline.clock import Clock
from pipeline.tools.arguments import ArgumentCheck, ArgumentsError
from pipeline.tools.attempts import Attempts
from pipeline.tools.calls import ToolBackend, ToolCall, ToolResult
from pipeline.tools.definition import JsonValue, Tool, check_tools
from pipeline.tools.outbox import AlreadyDone, Begun, Outbox, OutboxError, PendingWrite

_log = logging.getLogger(__name__)

VERIFICATION_NEEDED = "verification_needed"
INVALID_ARGUMENTS = "invalid_arguments"
NOT_FOUND = "not_found"

LEASE_MARGIN_S = 5.0
"""A lease counts as over this long after it is: clocks of several machines differ, and results take time to record."""
POLL_S = 0.5
"""How often a write that another process carries out is asked for."""
RECORD_AGAIN_S = (0.2, 1.0, 3.0)
"""Pauses before a result is recorded again after the outbox failed."""
GIVE_UP_S = 86_400.0
"""A write that could not be settled for so long is recorded as 'unknown'."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """One tool, ready."""

    name: str
    tool: Tool
    check: ArgumentCheck
    attempts: Attempts


@dataclass(frozen=True, slots=True)
class _UnderWay:
    call: ToolCall
    task: asyncio.Task[ToolResult | None]
    """None: a recovery that settled nothing."""


class ToolRunner:
    """An agent's tools. One for a process and agent: breakers and bulkheads are shared by all calls.

    Close it, or use it as `async with`: that waits until every write under way has its result recorded. `backend`
    carries out all tools; `rng` spreads retries. Raises ValueError if what one tool says of another is wrong.
    """

    def __init__(
        self, tools: Mapping[str, Tool], backend: ToolBackend, outbox: Outbox, clock: Clock, rng: random.Random
    ) -> None:
        check_tools(tools)
        self._lanes = {
            name: _Lane(name, tool, ArgumentCheck(tool), Attempts(name, tool, backend, clock=clock, rng=rng))
            for name, tool in tools.items()
        }
        self._outbox = outbox
        self._clock = clock
        # Not a TaskGroup: there, one write's fault or the owner's cancellation would break off all the others.
        self._under_way: dict[str, _UnderWay] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Wait for the writes under way. If this is cancelled they stay pending, for `recover` to settle."""
        while self._under_way:
            await asyncio.wait([one.task for one in self._under_way.values()])

    def effect(self, tool: str) -> str:
        """'read' or 'write'. Raises KeyError for an unknown tool."""
        return self._lane(tool).tool.effect

    def loggable(self, call: ToolCall) -> dict[str, str]:
        """The call's arguments as text, without those that must not be logged. Raises KeyError for an unknown tool."""
        tool = self._lane(call.tool).tool
        known = {name: value for name, value in call.arguments.items() if name in tool.arguments and value is not None}
        return {name: str(value) for name, value in tool.shown(known).items()}

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        """The result, failures included; `level` is the caller's verification level.

        A write that was begun is carried through even if this is cancelled. Raises KeyError for an unknown tool, and
        ValueError for a key that is in use for another call.
        """
        lane = self._lane(call.tool)
        if level < lane.tool.needs_level:
            detail = f"needs verification level {lane.tool.needs_level}; the caller has {level}"
            return ToolResult("rejected", {}, VERIFICATION_NEEDED, detail)
        try:
            call = dataclasses.replace(call, arguments=lane.check.checked(call.arguments))
        except ArgumentsError as error:
            _log.warning("tool %s: %s", lane.name, error)
            return ToolResult("rejected", {}, INVALID_ARGUMENTS, str(error))
        result = await (self._read(lane, call) if lane.tool.effect == "read" else self._write(lane, call))
        if result.status != "ok":
            _log.warning("tool %s: %s %s: %s", lane.name, result.status, result.code, result.detail)
        return result

    async def recover(self) -> dict[str, ToolResult]:
        """Settle the writes that a process left behind when it died: key -> result of those that are settled now.

        Run it when a process starts, beside the calls, and now and then: it waits for the leases of pending writes to
        be over, and what cannot be learnt now (the system is still down) stays pending for the next time. Raises
        OutboxError.
        """
        tasks = {
            write.call.key: self._start(write.call, self._recover_one(write))
            for write in await self._outbox.pending()
            if write.call.key not in self._under_way
        }
        if tasks:
            await asyncio.wait(tasks.values())
        results = {key: task.result() for key, task in tasks.items()}
        return {key: result for key, result in results.items() if result is not None}

    def _lane(self, tool: str) -> _Lane:
        if tool not in self._lanes:
            raise KeyError(f"no tool is called {tool!r}; known: {', '.join(self._lanes) or 'none'}")
        return self._lanes[tool]

    # -- reads -----------------------------------------------------------------------------------------------------

    async def _read(self, lane: _Lane, call: ToolCall) -> ToolResult:
        sent = await lane.attempts.send(call)
        return sent.result or ToolResult("failed", {}, detail=sent.detail)

    # -- writes ----------------------------------------------------------------------------------------------------

    async def _write(self, lane: _Lane, call: ToolCall) -> ToolResult:
        while (known := self._under_way.get(call.key)) is not None:
            if known.call != call:
                raise ValueError(
                    f"key {call.key!r} is in use for another call; expected one of its own for each intent"
                )
            result = await asyncio.shield(known.task)
            if result is not None:
                return result
        result = await asyncio.shield(self._start(call, self._carry_through(lane, call)))
        assert result is not None
        return result

    def _start(self, call: ToolCall, work: Coroutine[None, None, ToolResult | None]) -> asyncio.Task[ToolResult | None]:
        task = asyncio.create_task(work, name=f"tool {call.key}")
        self._under_way[call.key] = _UnderWay(call, task)
        task.add_done_callback(lambda _: self._under_way.pop(call.key))
        return task

    async def _carry_through(self, lane: _Lane, call: ToolCall) -> ToolResult:
        asked_s = self._clock.wall_time_s()
        others = False
        while True:
            now_s = self._clock.wall_time_s()
            try:
                begun = await self._outbox.begin(call, now_s=now_s, until_s=now_s + self._lease_s(lane))
                if isinstance(begun, AlreadyDone):
                    return begun.result
                if isinstance(begun, Begun):
                    return await self._send_first(lane, call, now_s + self._lease_s(lane))
                first_look, others = not others, True
                if first_look and (result := await self._again(lane, call)) is not None:
                    return await self._record(call.key, result)
                write = await self._claim(lane, call.key)
            except OutboxError as error:
                _log.error("tool %s: the outbox failed: %s", lane.name, error)
                detail = f"the outbox failed ({error}); check the call store"
                return _unknown(detail) if others or error.maybe_written else ToolResult("failed", {}, detail=detail)
            if write is not None:
                result = await self._settle(lane, write, wait=False)
                return await self._record(call.key, result or _unknown("it was begun earlier; nobody knows the result"))
            if now_s - asked_s > self._lease_s(lane) + LEASE_MARGIN_S:
                # Should it be learnt after all, that replaces this.
                return await self._record(call.key, _unknown("another process has begun it and not finished it"))
            await self._clock.sleep(POLL_S)

    async def _again(self, lane: _Lane, call: ToolCall) -> ToolResult | None:
        """The result of a write that another process has begun, if its system tells it at once.

        A system that does a write once for one key can be sent it again, even while the other is at it: a caller whose
        gateway died need not wait until that one's lease is over.
        """
        if not lane.tool.takes_key:
            return None
        sent = await lane.attempts.send(call, maybe_done=True)
        return sent.result

    async def _send_first(self, lane: _Lane, call: ToolCall, until_s: float) -> ToolResult:
        sent = await lane.attempts.send(call, until_s=until_s)
        result = sent.result
        if result is None and sent.maybe_done:
            settled_s = self._clock.wall_time_s() + lane.tool.settles_s
            result = await self._look_up(lane, call, settled_s, wait=False) or _unknown(sent.detail)
        return await self._record(call.key, result or ToolResult("failed", {}, detail=sent.detail))

    async def _record(self, key: str, result: ToolResult) -> ToolResult:
        """Record a result. Returns what may be told: if it cannot be recorded, a no may yet turn into a yes."""
        for pause_s in (*RECORD_AGAIN_S, None):
            try:
                return await self._outbox.finish(key, result)
            except OutboxError as error:
                _log.error("tool call %s: its result (%s) cannot be recorded: %s", key, result.status, error)
            if pause_s is not None:
                await self._clock.sleep(pause_s)
        return result if result.status == "ok" else _unknown(f"{result.detail}; not recorded")

    # -- what others left behind -------------------------------------------------------------------------------------

    async def _recover_one(self, write: PendingWrite) -> ToolResult | None:
        key = write.call.key
        await self._clock.sleep(max(0.0, write.lease_until_s + LEASE_MARGIN_S - self._clock.wall_time_s()))
        lane = self._lanes.get(write.call.tool)
        try:
            claimed = await self._claim(lane, key)
        except OutboxError as error:
            _log.error("tool call %s: cannot be recovered now, the outbox failed: %s", key, error)
            return None
        if claimed is None:
            return None
        if lane is None:
            return await self._record(key, _unknown(f"the agent has no tool {write.call.tool!r} any more"))
        result = await self._settle(lane, claimed, wait=True)
        if result is None:
            may_be_learnt = lane.tool.takes_key or lane.tool.lookup is not None
            if may_be_learnt and self._clock.wall_time_s() - claimed.begun_s < GIVE_UP_S:
                return None
            result = _unknown("whether it was done could not be learnt; a person has to look")
        return await self._record(key, result)

    async def _claim(self, lane: _Lane | None, key: str) -> PendingWrite | None:
        now_s = self._clock.wall_time_s()
        lease_s = LEASE_MARGIN_S if lane is None else self._lease_s(lane) + lane.tool.settles_s
        return await self._outbox.claim(key, over_by_s=now_s - LEASE_MARGIN_S, until_s=now_s + lease_s)

    async def _settle(self, lane: _Lane, write: PendingWrite, *, wait: bool) -> ToolResult | None:
        """The result of a write that may or may not have been sent; None if it cannot be learnt now."""
        now_s = self._clock.wall_time_s()
        last_sent_s = write.lease_until_s + LEASE_MARGIN_S
        kept_s = lane.tool.http.key_kept_s if lane.tool.http is not None and lane.tool.takes_key else 0.0
        if now_s - write.begun_s < kept_s:
            sent = await lane.attempts.send(write.call, maybe_done=True, until_s=now_s + self._lease_s(lane))
            if sent.result is not None:
                return sent.result
            last_sent_s = self._clock.wall_time_s()
        return await self._look_up(lane, write.call, last_sent_s + lane.tool.settles_s, wait=wait)

    async def _look_up(self, lane: _Lane, call: ToolCall, settled_s: float, *, wait: bool) -> ToolResult | None:
        """Ask the system whether it did a write; that it did not is believed only from `settled_s` on."""
        if lane.tool.lookup is None:
            return None
        lookup = self._lanes[lane.tool.lookup]
        shared: dict[str, JsonValue] = {
            name: value for name, value in call.arguments.items() if name in lookup.tool.arguments
        }
        while True:
            asked_s = self._clock.wall_time_s()
            found = (await lookup.attempts.send(ToolCall(lookup.name, shared, call.key))).result
            if found is not None and found.status == "ok":
                values = {name: found.values.get(name) for name in lane.tool.returns}
                return ToolResult("ok", values, detail=f"found by {lookup.name}")
            if found is None or found.code != NOT_FOUND:
                return None
            if asked_s >= settled_s:
                return ToolResult("failed", {}, detail=f"{lookup.name} finds that it was not done")
            if not wait:
                return None
            await self._clock.sleep(settled_s - asked_s)

    def _lease_s(self, lane: _Lane) -> float:
        """Longest time from a write's record to its result."""
        lookup_s = self._lanes[lane.tool.lookup].attempts.longest_s if lane.tool.lookup else 0.0
        return lane.attempts.longest_s + 2 * lookup_s


def _unknown(detail: str) -> ToolResult:
    return ToolResult("unknown", {}, detail=detail)
