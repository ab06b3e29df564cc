"""Tools, a back end by script, and an outbox that fails, for the runner under virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.clock import LoopClock
from pipeline.tools.calls import ToolCall, ToolFailure, ToolResult
from pipeline.tools.definition import Argument, HttpCall, JsonValue, Tool
from pipeline.tools.outbox import AlreadyDone, Begun, InFlight, MemoryOutbox, OutboxError, PendingWrite
from pipeline.tools.runner import ToolRunner

EPOCH_S = 1_795_572_000.0


class VirtualClock(LoopClock):
    """The loop's time, virtual; the wall's moves with it, and may be a little off."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self._skew_s = skew_s

    def wall_time_s(self) -> float:
        return EPOCH_S + self.now_s() + self._skew_s


def read_tool(**changes: object) -> Tool:
    return _tool({"effect": "read", "http": HttpCall(url="free"), **changes})


def write_tool(**changes: object) -> Tool:
    """A write that nothing protects from being done twice but the runner."""
    return _tool({"effect": "write", "http": HttpCall(method="POST", url="book"), **changes})


def keyed_tool(**changes: object) -> Tool:
    """A write whose system honours the idempotency key."""
    http = HttpCall(method="POST", url="book", idempotency_header="Idempotency-Key")
    return _tool({"effect": "write", "http": http, **changes})


def _tool(given: dict[str, object]) -> Tool:
    defaults: dict[str, object] = {
        "description": "Does it.",
        "arguments": {"day": Argument(), "card": Argument(required=False)},
        "returns": {"reference": "ref"},
        "redact": ("card",),
    }
    return Tool(**{**defaults, **given})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a back end does with one attempt."""

    outcome: ToolResult | Exception
    takes_s: float = 0.1
    acts: bool = False
    """It takes effect, whatever is answered."""


def done(reference: str = "R1", **more: JsonValue) -> Answer:
    return Answer(ToolResult("ok", {"reference": reference, **more}), acts=True)


def found(reference: str = "R1") -> Answer:
    return Answer(ToolResult("ok", {"reference": reference}))


def rejected(code: str) -> Answer:
    return Answer(ToolResult("rejected", {}, code))


def fails(*, sent: bool, retryable: bool = True, retry_after_s: float | None = None, acts: bool = False) -> Answer:
    failure = ToolFailure(retryable=retryable, sent=sent, retry_after_s=retry_after_s, detail="it failed")
    return Answer(failure, acts=acts)


def silent(*, acts: bool = False) -> Answer:
    return Answer(ToolResult("ok", {}), takes_s=1e6, acts=acts)


@dataclass
class FakeBackend:
    """Goes through a script for each tool; the last answer repeats."""

    script: Mapping[str, Sequence[Answer]]
    attempts: list[ToolCall] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    """Keys, in the order in which they took effect."""
    under_way: int = 0
    most_under_way: int = 0

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        answers = self.script[call.tool]
        answer = answers[min(self.count(call.tool), len(answers) - 1)]
        self.attempts.append(call)
        self.at_s.append(asyncio.get_running_loop().time())
        if answer.acts:
            self.effects.append(call.key)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(answer.takes_s)
        finally:
            self.under_way -= 1
        if isinstance(answer.outcome, Exception):
            raise answer.outcome
        return answer.outcome

    def count(self, tool: str) -> int:
        return sum(call.tool == tool for call in self.attempts)


@dataclass
class FailingOutbox(MemoryOutbox):
    """Fails at the next so many calls of a kind."""

    begins: int = 0
    finishes: int = 0
    claims: int = 0
    maybe_written: bool = False
    """A begin that fails was recorded all the same."""

    def __post_init__(self) -> None:
        super().__init__()

    async def begin(self, call: ToolCall, *, now_s: float, until_s: float) -> Begun | AlreadyDone | InFlight:
        if self.begins > 0:
            self.begins -= 1
            if self.maybe_written:
                await super().begin(call, now_s=now_s, until_s=until_s)
            raise OutboxError("the disk is full", maybe_written=self.maybe_written)
        return await super().begin(call, now_s=now_s, until_s=until_s)

    async def claim(self, key: str, *, over_by_s: float, until_s: float) -> PendingWrite | None:
        if self.claims > 0:
            self.claims -= 1
            raise OutboxError("the disk is full")
        return await super().claim(key, over_by_s=over_by_s, until_s=until_s)

    async def finish(self, key: str, result: ToolResult) -> ToolResult:
        if self.finishes > 0:
            self.finishes -= 1
            raise OutboxError("the disk is full")
        return await super().finish(key, result)


@dataclass
class Rig:
    """A runner on a fake back end."""

    runner: ToolRunner
    backend: FakeBackend
    outbox: MemoryOutbox

    async def ask(self, tool: str, key: str = "CA1/book/confirm/1", level: int = 0, **more: JsonValue) -> ToolResult:
        return await self.runner.run(ToolCall(tool, {"day": "2026-11-26", **more}, key), level=level)

    def another(self) -> Rig:
        """Another process: the same tools, system and outbox."""
        return Rig(_runner(self.runner_tools, self.backend, self.outbox), self.backend, self.outbox, self.runner_tools)

    runner_tools: Mapping[str, Tool] = field(default_factory=dict)


def rig(tools: Mapping[str, Tool], script: Mapping[str, Sequence[Answer]], outbox: MemoryOutbox | None = None) -> Rig:
    backend, outbox = FakeBackend(script), outbox or MemoryOutbox()
    return Rig(_runner(tools, backend, outbox), backend, outbox, tools)


def _runner(tools: Mapping[str, Tool], backend: FakeBackend, outbox: MemoryOutbox) -> ToolRunner:
    return ToolRunner(tools, backend, outbox, VirtualClock(), random.Random(7))


async def dies_while(outbox: MemoryOutbox, tool: str, **arguments: JsonValue) -> ToolCall:
    """What a process leaves behind that recorded a write, perhaps sent it, and died."""
    call = ToolCall(tool, {"day": "2026-11-26", **arguments}, "CA1/book/confirm/1")
    now_s = VirtualClock().wall_time_s()
    assert isinstance(await outbox.begin(call, now_s=now_s, until_s=now_s + 20), Begun)
    return call
