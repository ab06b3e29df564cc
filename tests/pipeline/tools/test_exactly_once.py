"""Property: whatever fails, hangs, is cancelled or dies, a key takes effect at most once, what is told is true, and
nothing that was begun is forgotten."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.tools.calls import ToolCall, ToolFailure, ToolResult
from pipeline.tools.definition import BreakerSettings, Tool
from pipeline.tools.outbox import AlreadyDone, Begun, InFlight, MemoryOutbox, PendingWrite
from pipeline.tools.runner import ToolRunner
from tests.pipeline.tools.fakes import VirtualClock, keyed_tool, read_tool, write_tool
from tests.virtual_time import run_virtual

SETTLES_S = 30.0
_COMMON: Mapping[str, object] = {"timeout_s": 2.0, "attempts": 3, "settles_s": SETTLES_S}
_PATIENT = BreakerSettings(failures=1000)
TOOLS: Mapping[str, Tool] = {
    "keyed": keyed_tool(**_COMMON, breaker=_PATIENT),
    "keyed_with_breaker": keyed_tool(**_COMMON, breaker=BreakerSettings(failures=2, open_s=5)),
    "looked_up": write_tool(**_COMMON, breaker=_PATIENT, lookup="find"),
    "bare": write_tool(**_COMMON, breaker=_PATIENT),
    "find": read_tool(timeout_s=2.0, attempts=2, breaker=_PATIENT),
}
WRITES = ("keyed", "keyed_with_breaker", "looked_up", "bare")

Fate = Literal["done", "refused", "lost", "done_unheard", "done_late", "error", "error_done", "no", "slow"]
FATES: tuple[Fate, ...] = ("done", "refused", "lost", "done_unheard", "done_late", "error", "error_done", "no", "slow")


@dataclass
class FakeSystem:
    """A business system across a network. What reaches it happens, whatever becomes of the process that sent it."""

    fates: list[Fate]
    """Of the attempts to come; afterwards all is well."""
    happened: Counter[str] = field(default_factory=Counter)
    answers: dict[str, ToolResult] = field(default_factory=dict)
    """By key: what a system that honours keys answered first."""
    working_on: set[str] = field(default_factory=set)

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        fate = self.fates.pop(0) if self.fates else "done"
        if fate == "refused":
            raise ToolFailure(retryable=True, sent=False, detail="refused")
        if fate == "lost":
            await asyncio.sleep(1e9)
        if call.tool == "find":
            return await self._find(fate, call)
        if call.key in self.answers and TOOLS[call.tool].takes_key:
            await asyncio.sleep(0.1)
            return self.answers[call.key]
        if call.key in self.working_on and TOOLS[call.tool].takes_key:
            return ToolResult("rejected", {}, "conflict", "the first request is still being worked on")
        return await self._write(fate, call)

    async def _find(self, fate: Fate, call: ToolCall) -> ToolResult:
        await asyncio.sleep(0.1)
        if fate.startswith("error"):
            raise ToolFailure(retryable=True, sent=True, detail="HTTP 500")
        if self.happened[call.key]:
            return ToolResult("ok", {"reference": call.key})
        return ToolResult("rejected", {}, "not_found")

    async def _write(self, fate: Fate, call: ToolCall) -> ToolResult:
        if fate == "error":
            raise ToolFailure(retryable=True, sent=True, detail="HTTP 500")
        answer = ToolResult("ok", {"reference": call.key})
        if fate == "no":
            answer = ToolResult("rejected", {}, "closed")
        self.working_on.add(call.key)
        takes_s = {"done_late": SETTLES_S - 3, "slow": 1.9}.get(fate, 0.2)
        landed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(takes_s, self._land, call, answer, landed)
        if fate == "error_done":
            raise ToolFailure(retryable=True, sent=True, detail="HTTP 502")
        await asyncio.shield(landed)
        await asyncio.sleep(1e9 if fate == "done_unheard" else 0.1)
        return answer

    def _land(self, call: ToolCall, answer: ToolResult, landed: asyncio.Future[None]) -> None:
        self.working_on.discard(call.key)
        self.answers[call.key] = answer
        self.happened[call.key] += answer.status == "ok"
        if not landed.done():
            landed.set_result(None)


@dataclass
class FakeProcess:
    """One gateway's runner. Once it is dead nothing that it does reaches the outbox or the system."""

    world: World
    skew_s: float
    alive: bool = True
    asks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = random.Random(self.world.seed)
        self.runner = ToolRunner(TOOLS, self, self, VirtualClock(self.skew_s), rng)
        self.recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        self.world.told(await self.runner.recover())

    def ask(self, call: ToolCall) -> None:
        self.asks.append(asyncio.create_task(self._ask(call)))

    async def _ask(self, call: ToolCall) -> None:
        result = await self.runner.run(call, level=0)
        if self.alive:
            self.world.told({call.key: result})

    def kill(self) -> None:
        self.alive = False
        for task in [self.recovery, *self.asks, *(one.task for one in self.runner._under_way.values())]:
            task.cancel()

    async def _while_alive(self) -> None:
        """Takes a moment, in which the process may die; then nothing follows any more."""
        await asyncio.sleep(0.01)
        if not self.alive:
            await asyncio.get_running_loop().create_future()

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        await self._while_alive()
        return await self.world.system.call(tool, call)

    async def begin(self, call: ToolCall, *, now_s: float, until_s: float) -> Begun | AlreadyDone | InFlight:
        await self._while_alive()
        begun = await self.world.outbox.begin(call, now_s=now_s, until_s=until_s)
        await self._while_alive()
        return begun

    async def claim(self, key: str, *, over_by_s: float, until_s: float) -> PendingWrite | None:
        await self._while_alive()
        write = await self.world.outbox.claim(key, over_by_s=over_by_s, until_s=until_s)
        await self._while_alive()
        return write

    async def finish(self, key: str, result: ToolResult) -> ToolResult:
        await self._while_alive()
        stands = await self.world.outbox.finish(key, result)
        await self._while_alive()
        return stands

    async def pending(self) -> list[PendingWrite]:
        await self._while_alive()
        return list(await self.world.outbox.pending())


@dataclass
class World:
    """What outlives every process, and what all callers were told."""

    system: FakeSystem
    seed: int
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    answers: list[tuple[str, ToolResult]] = field(default_factory=list)

    def told(self, results: Mapping[str, ToolResult]) -> None:
        self.answers += results.items()


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens, some time after the step before."""

    what: Literal["ask", "hang_up", "kill", "start"]
    after_s: float
    number: int = 0
    """Which key, asker or process."""


DELAYS = st.one_of(st.sampled_from([0.0, 0.005, 0.015, 0.025, 0.1, 0.25, 1.0, 3.0]), st.floats(0, 40))
ASKS = st.builds(Step, st.just("ask"), DELAYS, st.integers(0, 2))
STEPS = st.lists(
    st.one_of(
        ASKS,
        ASKS,
        st.builds(Step, st.sampled_from(["hang_up", "kill", "start"]), DELAYS, st.integers(0, 3)),
    ),
    min_size=1,
    max_size=8,
)


async def play(tool: str, fates: list[Fate], steps: list[Step], seed: int) -> tuple[World, list[str]]:
    """Play a scenario, then let the network heal, recover, and ask for every key once more."""
    world = World(FakeSystem(list(fates)), seed)
    skews = [0.0, 2.0, -2.0]
    processes = [FakeProcess(world, skews[0])]
    keys: list[str] = []
    for step in steps:
        await asyncio.sleep(step.after_s)
        process = processes[step.number % len(processes)]
        if step.what == "start" and len(processes) < 3:
            processes.append(FakeProcess(world, skews[len(processes)]))
        elif step.what == "ask":
            keys.append(f"CA{step.number}/flow/node/1")
            process.ask(ToolCall(tool, {"day": "2026-11-26"}, keys[-1]))
        elif step.what == "hang_up" and process.asks:
            process.asks[step.number % len(process.asks)].cancel()
        elif step.what == "kill":
            process.kill()
            processes[processes.index(process)] = FakeProcess(world, process.skew_s)
    await asyncio.sleep(300)
    world.system.fates.clear()
    last = FakeProcess(world, 0.0)
    begun = {write.call.key for write in await world.outbox.pending()} | {key for key, _ in world.answers}
    for _ in range(3):
        await asyncio.sleep(300)
        world.told(await last.runner.recover())
    assert not await world.outbox.pending(), "a write was forgotten"
    before = +world.system.happened
    for key in sorted(begun):
        world.told({key: await last.runner.run(ToolCall(tool, {"day": "2026-11-26"}, key), level=0)})
    assert +world.system.happened == before, "a key that had a result took effect again"
    return world, keys


@pytest.mark.parametrize("tool", WRITES)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=st.lists(st.sampled_from(FATES), max_size=6), steps=STEPS, seed=st.integers(0, 3))
@example(fates=["done_late"], steps=[Step("ask", 0), Step("kill", 0.1), Step("ask", 1)], seed=0)
@example(fates=["error_done", "error_done"], steps=[Step("ask", 0), Step("hang_up", 0.05), Step("ask", 0)], seed=0)
@example(fates=["done"], steps=[Step("ask", 0), Step("kill", 0.015)], seed=0)
def test_at_most_once_told_truly_and_never_forgotten(
    tool: str, fates: list[Fate], steps: list[Step], seed: int
) -> None:
    world, keys = run_virtual(play(tool, fates, steps, seed))
    happened = world.system.happened
    assert set(happened) <= set(keys)
    assert all(count <= 1 for count in happened.values()), f"done more than once: {happened}"
    for key, result in world.answers:
        if result.status == "ok":
            assert happened[key] == 1, "told it was done, and it was not"
            assert result.values == {"reference": key}
        elif result.status in ("rejected", "failed"):
            assert happened[key] == 0, f"told it was not done ({result.detail}), and it was"


def test_a_key_that_died_with_its_process_is_done_after_all_if_the_system_honours_keys() -> None:
    world, keys = run_virtual(play("keyed", ["lost"], [Step("ask", 0), Step("kill", 0.1)], 0))
    assert world.system.happened == {keys[0]: 1}
    assert {result.status for _, result in world.answers} == {"ok"}
