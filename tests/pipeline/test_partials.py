"""The budget of partials, shared by many callers, under virtual time."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from pipeline.clock import LoopClock
from pipeline.partials import PartialBudget, When
from tests.virtual_time import run_virtual

EVERY_S = 0.4
FRAME_S = 0.02


@dataclass
class Transcriber:
    """One card: it works on one turn at a time, finals first. Partials under way are known."""

    takes_s: float
    slow_from_to_s: tuple[float, float] = (0.0, 0.0)
    """When something else takes the card: all lasts six times as long."""
    waiting: list[tuple[int, int, asyncio.Event]] = field(default_factory=list)
    count: int = 0
    busy: bool = False

    async def transcribe(self, *, final: bool) -> None:
        self.count += 1
        if self.busy:
            turn = asyncio.Event()
            self.waiting.append((0 if final else 1, self.count, turn))
            await turn.wait()
        self.busy = True
        from_s, to_s = self.slow_from_to_s
        await asyncio.sleep(self.takes_s * (6 if from_s <= LoopClock().now_s() < to_s else 1))
        self.busy = False
        if self.waiting:
            self.waiting.sort(key=lambda one: one[:2])
            self.busy = True
            self.waiting.pop(0)[2].set()


@dataclass
class Caller:
    """Speaks without end; asks for a partial as a call does."""

    budget: PartialBudget
    transcriber: Transcriber
    phase: float = 0.0
    """By this share of the time between its finals it is ahead of others."""
    at_s: list[float] = field(default_factory=list)
    finals_s: dict[float, float] = field(default_factory=dict)
    """How long each took, by when it was asked for."""

    async def speak(self, *, for_s: float, begins_s: float = 0.0, final_every_s: float = math.inf) -> None:
        await asyncio.sleep(begins_s)
        clock = LoopClock()
        last_s = began_s = clock.now_s()
        final_s = began_s - self.phase * final_every_s if final_every_s < math.inf else began_s
        task: asyncio.Task[None] | None = None
        finals: list[asyncio.Task[None]] = []
        while (now_s := clock.now_s()) < began_s + for_s:
            busy = task is not None and not task.done()
            if not busy and now_s - last_s >= EVERY_S - 1e-9 and self.budget.take(self, waited_s=now_s - last_s):
                last_s = now_s
                self.at_s.append(now_s)
                task = asyncio.create_task(self._ask(final=False))
                task.add_done_callback(lambda _: self.budget.give_back())
            if now_s - final_s >= final_every_s:
                final_s = now_s
                finals.append(asyncio.create_task(self._ask(final=True)))
            await asyncio.sleep(FRAME_S)
        await asyncio.gather(*finals, *([task] if task else []))

    async def _ask(self, *, final: bool) -> None:
        began_s = LoopClock().now_s()
        await self.transcriber.transcribe(final=final)
        self.budget.answered(began_s)
        if final:
            self.finals_s[began_s] = LoopClock().now_s() - began_s

    def __hash__(self) -> int:
        return id(self)


def spoken(
    count: int,
    *,
    for_s: float,
    takes_s: float = 0.01,
    when: When = "idle",
    most_a_second: float = 20.0,
    at_once: int = 16,
    final_every_s: float = math.inf,
    slow_from_to_s: tuple[float, float] = (0.0, 0.0),
) -> list[Caller]:
    """What came of some callers that begin within a frame of one another."""

    async def main() -> list[Caller]:
        budget = PartialBudget(LoopClock(), when=when, most_a_second=most_a_second, at_once=at_once, slow_ms=200)
        transcriber = Transcriber(takes_s, slow_from_to_s)
        callers = [Caller(budget, transcriber, index / count) for index in range(count)]
        async with asyncio.TaskGroup() as tasks:
            for index, caller in enumerate(callers):
                begins_s = FRAME_S * index / count
                tasks.create_task(caller.speak(for_s=for_s, begins_s=begins_s, final_every_s=final_every_s))
        return callers

    return run_virtual(main())


@pytest.mark.parametrize("when", ["always", "idle"])
def test_a_caller_alone_has_a_partial_each_time_it_is_due(when: When) -> None:
    (caller,) = spoken(1, for_s=4.01, when=when)
    assert caller.at_s == pytest.approx([EVERY_S * (1 + index) for index in range(10)])


def test_if_never_nobody_has_one() -> None:
    assert [caller.at_s for caller in spoken(3, for_s=4, when="never")] == [[], [], []]


def test_if_always_all_have_them_whatever_it_costs() -> None:
    callers = spoken(64, for_s=4.01, when="always", takes_s=1e-4)
    assert all(len(caller.at_s) == 10 for caller in callers)


def test_many_callers_have_no_more_than_is_allowed_in_any_second() -> None:
    asked = sorted(at_s for caller in spoken(64, for_s=10) for at_s in caller.at_s)
    assert all(sum(begins_s <= at_s < begins_s + 1 for at_s in asked) <= 20 + 2 for begins_s in asked)
    # And it is made use of.
    assert len(asked) >= 0.9 * 20 * (10 - EVERY_S)


def test_many_callers_share_it_evenly() -> None:
    callers = spoken(64, for_s=10)
    counts = [len(caller.at_s) for caller in callers]
    assert max(counts) - min(counts) <= 1
    gaps = [later - sooner for caller in callers for sooner, later in zip(caller.at_s, caller.at_s[1:], strict=False)]
    assert max(gaps) < 1.2 * 64 / 20


def test_no_more_are_under_way_than_is_allowed() -> None:
    callers = spoken(30, for_s=5, takes_s=10.0, at_once=4)
    assert sum(len(caller.at_s) for caller in callers) == 4


def test_who_pauses_keeps_its_place_and_holds_up_nobody() -> None:
    async def main() -> list[str]:
        budget = PartialBudget(LoopClock(), when="idle", most_a_second=1.0, at_once=9, slow_ms=200)
        served: list[str] = []

        def ask(who: str, waited_s: float) -> None:
            if budget.take(who, waited_s=waited_s):
                served.append(who)

        ask("first", 0.4)
        for tenth in range(1, 40):
            await asyncio.sleep(0.1)
            # The one that has waited longest speaks in words with gaps between them.
            if tenth < 8 or tenth > 15:
                ask("halting", 5.0 + tenth / 10)
            ask("fluent", 1.0 + tenth / 10 if not served[1:] else 0.0)
        return served

    assert run_virtual(main())[:3] == ["first", "fluent", "halting"]


def test_when_answers_become_slow_fewer_are_asked_for_until_they_are_quick_again() -> None:
    slow_s = (8.0, 16.0)
    # Three finals a second. For twenty partials besides, a transcriber that takes six times as long has no room.
    callers = spoken(20, for_s=30, takes_s=0.04, slow_from_to_s=slow_s, final_every_s=6.7)
    partials = sorted(at_s for caller in callers for at_s in caller.at_s)
    finals = {at_s: took_s for caller in callers for at_s, took_s in caller.finals_s.items()}

    def a_second(from_s: float, to_s: float) -> float:
        return sum(from_s <= at_s < to_s for at_s in partials) / (to_s - from_s)

    assert a_second(4, 8) > 15
    assert a_second(12, 16) < 5
    assert a_second(26, 30) > 15
    assert max(took_s for at_s, took_s in finals.items() if at_s > 18) < 0.2
    assert all(
        sum(begins_s <= at_s < begins_s + 6 for at_s in caller.at_s) for caller in callers for begins_s in (18, 24)
    )
