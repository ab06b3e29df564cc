"""Sending one call: so many at once, the breaker, a time-out for each attempt, repeats only where they are safe.

The repeats are a loop of our own: whether one is safe hangs on every attempt before it, not only on the last, and
tenacity would bring no more than the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import traceback
from dataclasses import dataclass, replace

from pipeline.clock import Clock
from pipeline.tools.arguments import scrubbed
from pipeline.tools.breaker import Breaker, BreakerOpen
from pipeline.tools.calls import ToolBackend, ToolCall, ToolFailure, ToolResult
from pipeline.tools.definition import Tool

_log = logging.getLogger(__name__)

CONFLICT = "conflict"
"""Rejection that, for a repeated write, may mean that the first is still under way or was done."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of all attempts."""

    result: ToolResult | None
    """An answer that can be believed; None if there was none."""
    maybe_done: bool
    """Without an answer: the system may have acted."""
    detail: str = ""


class Attempts:
    """The way to one tool's system, shared by all calls of this process."""

    def __init__(self, name: str, tool: Tool, backend: ToolBackend, *, clock: Clock, rng: random.Random) -> None:
        self._name = name
        self._tool = tool
        self._backend = backend
        self._clock = clock
        self._rng = rng
        self._places = asyncio.Semaphore(tool.at_once)
        self._breaker = Breaker(tool.breaker, clock)

    @property
    def longest_s(self) -> float:
        """Longest time that `send` takes."""
        pauses = range(self._tool.attempts - 1)
        backoff_s = sum(self._longest_pause_s(number) + self._tool.retry_within_s for number in pauses)
        return self._tool.attempts * 2 * self._tool.timeout_s + backoff_s

    async def send(self, call: ToolCall, *, maybe_done: bool = False, until_s: float = math.inf) -> Sent:
        """Send until there is an answer, or no further attempt is allowed.

        `maybe_done`: the call may have been sent before. `until_s`: wall time after which no attempt begins. An 'ok'
        holds the tool's returns and nothing else.
        """
        detail = "no attempt was allowed any more"
        for number in range(self._tool.attempts):
            try:
                result = await self._attempt(call, until_s)
                failure = _doubt(result, maybe_done=maybe_done)
                if failure is None:
                    return Sent(self._projected(call, result), maybe_done)
            except ToolFailure as raised:
                failure = raised
            detail = scrubbed(failure.detail, self._tool, call.arguments)
            maybe_done = maybe_done or failure.sent
            if number + 1 == self._tool.attempts or not self._may_repeat(failure, maybe_done=maybe_done):
                break
            pause_s = self._rng.uniform(0, self._longest_pause_s(number)) + (failure.retry_after_s or 0)
            _log.info("tool %s: attempt %d failed (%s); again in %.1f s", self._name, number + 1, detail, pause_s)
            await self._clock.sleep(pause_s)
        return Sent(None, maybe_done, detail)

    async def _attempt(self, call: ToolCall, until_s: float) -> ToolResult:
        tool = self._tool
        try:
            async with asyncio.timeout(tool.timeout_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise _not_sent(f"{tool.at_once} calls are under way already; none ended in time") from error
        try:
            if self._clock.wall_time_s() >= until_s:
                raise _not_sent("too late for another attempt")
            with self._breaker.attempt():
                return await self._call(call)
        except BreakerOpen as error:
            raise _not_sent(str(error)) from error
        finally:
            self._places.release()

    async def _call(self, call: ToolCall) -> ToolResult:
        try:
            async with asyncio.timeout(self._tool.timeout_s):
                return await self._backend.call(self._tool, call)
        except ToolFailure:
            raise
        except TimeoutError as error:
            detail = f"no answer within {self._tool.timeout_s:g} s"
            raise ToolFailure(retryable=True, sent=True, detail=detail) from error
        except Exception as error:  # A fault of the back end must not end the caller's call.
            trace = scrubbed("".join(traceback.format_exception(error)), self._tool, call.arguments)
            _log.error("tool %s: its back end broke\n%s", self._name, trace)
            detail = f"the back end broke ({type(error).__name__}); see the log"
            raise ToolFailure(retryable=False, sent=True, detail=detail) from error

    def _may_repeat(self, failure: ToolFailure, *, maybe_done: bool) -> bool:
        safe = self._tool.effect == "read" or not maybe_done or self._tool.takes_key
        return failure.retryable and safe and (failure.retry_after_s or 0) <= self._tool.retry_within_s

    def _longest_pause_s(self, number: int) -> float:
        return self._tool.backoff_ms / 1000 * float(2**number)

    def _projected(self, call: ToolCall, result: ToolResult) -> ToolResult:
        values = {name: result.values.get(name) for name in self._tool.returns} if result.status == "ok" else {}
        return replace(result, values=values, detail=scrubbed(result.detail, self._tool, call.arguments))


def _doubt(result: ToolResult, *, maybe_done: bool) -> ToolFailure | None:
    """Why a back end's result is no answer; None if it is one."""
    if result.status == "rejected" and result.code == CONFLICT and maybe_done:
        return ToolFailure(retryable=True, sent=True, detail=f"conflict with an earlier attempt? {result.detail}")
    if result.status in ("failed", "unknown"):
        return ToolFailure(retryable=False, sent=result.status == "unknown", detail=result.detail)
    return None


def _not_sent(detail: str) -> ToolFailure:
    return ToolFailure(retryable=False, sent=False, detail=detail)
