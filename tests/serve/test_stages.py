"""Batches in two stages, under virtual time: the engine is a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from serve.stages import Again, TwoStageQueue
from tests.virtual_time import run_virtual

PARTIAL, FINAL = 1, 0


@dataclass
class Engine:
    """Takes its time for each stage, and keeps a record. Items that begin with a capital are of a kind of their own."""

    first_s: float = 0.1
    second_s: float = 0.2
    log: list[tuple[str, float, list[str]]] = field(default_factory=list)
    loops: set[str] = field(default_factory=set)
    busy: list[str] = field(default_factory=list)
    together: int = 0

    async def first(self, items: Sequence[str]) -> list[str]:
        await self._take("first", items, self.first_s)
        if "early" in items:
            raise ValueError("first stage")
        return list(items)

    async def second(self, items: list[str], wanted: Sequence[bool]) -> list[str | Again[str]]:
        await self._take("second", [item for item, one in zip(items, wanted, strict=True) if one], self.second_s)
        if "late" in items:
            raise ValueError("second stage")
        return [Again(item.upper()) if item in self.loops else f"<{item}>" for item in items]

    async def _take(self, stage: str, items: Sequence[str], for_s: float) -> None:
        assert stage not in self.busy
        self.busy.append(stage)
        self.together = max(self.together, len(self.busy))
        self.log.append((stage, round(asyncio.get_running_loop().time(), 3), list(items)))
        await asyncio.sleep(for_s)
        self.busy.remove(stage)

    def of(self, stage: str) -> list[tuple[float, list[str]]]:
        return [(at_s, items) for name, at_s, items in self.log if name == stage]


def queue(
    engine: Engine, *, at_once: Literal[1, 2], max_size: int = 4, wait_s: float = 0
) -> TwoStageQueue[str, list[str], str]:
    return TwoStageQueue(
        engine.first, engine.second, kind=str.isupper, max_size=max_size, wait_s=wait_s, at_once=at_once
    )


async def answered(
    asked: TwoStageQueue[str, list[str], str], *items: str, priority: int = FINAL, at_s: float = 0.0
) -> list[str | BaseException]:
    await asyncio.sleep(at_s)
    return await asyncio.gather(*(asked.submit(item, priority=priority) for item in items), return_exceptions=True)


def test_by_itself_a_batch_takes_both_stages_and_no_longer() -> None:
    async def main() -> float:
        assert await answered(queue(Engine(), at_once=2), "a", "b") == ["<a>", "<b>"]
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(0.3)


@pytest.mark.parametrize(("at_once", "took_s"), [(1, 4 * 0.3), (2, 0.1 + 4 * 0.2)])
def test_the_next_batch_is_in_the_first_stage_while_one_is_in_the_second_if_two_may_be(
    at_once: Literal[1, 2], took_s: float
) -> None:
    engine = Engine()

    async def main() -> float:
        assert await answered(queue(engine, at_once=at_once, max_size=1), *"abcd") == ["<a>", "<b>", "<c>", "<d>"]
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(took_s)
    assert engine.together == at_once


@pytest.mark.parametrize("at_once", [1, 2])
def test_finals_go_before_partials_that_came_earlier(at_once: Literal[1, 2]) -> None:
    engine = Engine()

    async def main() -> None:
        one = queue(engine, at_once=at_once, max_size=2)
        await asyncio.gather(
            answered(one, "running", "too"),
            answered(one, "partial a", "partial b", priority=PARTIAL, at_s=0.01),
            answered(one, "final", at_s=0.02),
        )

    run_virtual(main())
    assert [items for _, items in engine.of("second")] == [
        ["running", "too"],
        ["final", "partial a"],
        ["partial b"],
    ]


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_differs_in_kind_shares_no_batch_and_the_oldest_goes_first(at_once: Literal[1, 2]) -> None:
    engine = Engine()
    run_virtual(answered(queue(engine, at_once=at_once), "a", "B", "c", "D"))
    assert [items for _, items in engine.of("first")] == [["a", "c"], ["B", "D"]]


def test_a_batch_waits_for_company_as_long_as_it_is_told() -> None:
    engine = Engine()

    async def main() -> None:
        one = queue(engine, at_once=1, wait_s=0.004)
        await asyncio.gather(answered(one, "a"), answered(one, "b", at_s=0.003))

    run_virtual(main())
    assert engine.of("first") == [(0.004, ["a", "b"])]


def test_the_next_batch_takes_company_until_the_second_stage_is_nearly_free() -> None:
    engine = Engine(first_s=0.02, second_s=0.2)

    async def main() -> None:
        one = queue(engine, at_once=2)
        await answered(one, "shows how long it takes")
        await asyncio.gather(
            *(answered(one, name, at_s=at_s) for name, at_s in (("a", 0), ("b", 0.05), ("c", 0.1), ("d", 0.19)))
        )

    run_virtual(main())
    began_s = 0.22
    first, second = engine.of("first")[1:], engine.of("second")[1:]
    assert first[:2] == [(pytest.approx(began_s), ["a"]), (pytest.approx(began_s + 0.2), ["b", "c", "d"])]
    # The second stage went from one to the next without a break.
    assert second[1][0] - second[0][0] == pytest.approx(0.2)


def test_a_full_batch_does_not_wait_for_more() -> None:
    engine = Engine(first_s=0.02, second_s=0.2)

    async def main() -> None:
        one = queue(engine, at_once=2, max_size=2)
        await answered(one, "shows how long it takes")
        await asyncio.gather(answered(one, "a"), answered(one, "b", "c", at_s=0.05))

    run_virtual(main())
    assert engine.of("first")[2] == (pytest.approx(0.22 + 0.05), ["b", "c"])


@pytest.mark.parametrize("at_once", [1, 2])
def test_who_has_gone_is_dropped_before_either_stage(at_once: Literal[1, 2]) -> None:
    engine = Engine()

    async def main() -> list[str | BaseException]:
        one = queue(engine, at_once=at_once, max_size=2)
        running = asyncio.create_task(answered(one, "running"))
        await asyncio.sleep(0.01)
        gone = [asyncio.create_task(one.submit(name, priority=PARTIAL)) for name in ("leaves", "leaves too")]
        last = asyncio.create_task(answered(one, "comes last", priority=PARTIAL))
        await asyncio.sleep(0.01)
        for task in gone:
            task.cancel()
        return await running + await last

    assert run_virtual(main()) == ["<running>", "<comes last>"]
    assert [items for _, items in engine.of("first")] == [["running"], ["comes last"]]


def test_what_everybody_left_in_the_first_stage_does_not_reach_the_second() -> None:
    engine = Engine()

    async def main() -> list[str | BaseException]:
        one = queue(engine, at_once=2, max_size=2)
        pair = [asyncio.create_task(one.submit(name, priority=FINAL)) for name in ("leaves", "stays")]
        await asyncio.sleep(0.05)
        pair[0].cancel()
        await pair[1]
        lone = asyncio.create_task(one.submit("leaves alone", priority=FINAL))
        await asyncio.sleep(0.05)
        lone.cancel()
        return await answered(one, "next")

    assert run_virtual(main()) == ["<next>"]
    assert [items for _, items in engine.of("second")] == [["stays"], ["next"]]


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize(("bad", "message"), [("early", "first stage"), ("late", "second stage")])
def test_a_failure_reaches_the_batch_it_happened_to_and_no_other(
    at_once: Literal[1, 2], bad: str, message: str
) -> None:
    async def main() -> list[str | BaseException]:
        return await answered(queue(Engine(), at_once=at_once, max_size=2), "a", "b", bad, "with it", "c")

    good_a, good_b, *failed, good_c = run_virtual(main())
    assert [good_a, good_b, good_c] == ["<a>", "<b>", "<c>"]
    assert [str(error) for error in failed] == [message, message]


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_is_to_go_through_again_keeps_its_place_and_its_company_is_answered(at_once: Literal[1, 2]) -> None:
    engine = Engine(loops={"loop"})

    async def main() -> tuple[float, float]:
        one = queue(engine, at_once=at_once, max_size=2)
        loop = asyncio.create_task(answered(one, "loop"))
        company = asyncio.create_task(answered(one, "company"))
        later = asyncio.create_task(answered(one, "later", "latest", "last", at_s=0.01))
        assert await company == ["<company>"]
        company_s = asyncio.get_running_loop().time()
        assert await loop == ["<LOOP>"]
        loop_s = asyncio.get_running_loop().time()
        assert await later == ["<later>", "<latest>", "<last>"]
        return company_s, loop_s

    company_s, loop_s = run_virtual(main())
    assert company_s == pytest.approx(0.3)
    # It goes before all that have not begun.
    order = [items for _, items in engine.of("second")][1:]
    begun = [] if at_once == 1 else [["later", "latest"]]
    assert order[: len(begun) + 1] == [*begun, ["LOOP"]]
    assert loop_s < 0.3 + 2 * 0.3


def test_a_batch_with_too_few_results_fails_instead_of_being_waited_for_ever() -> None:
    async def short(items: list[str], wanted: Sequence[bool]) -> list[str]:
        return []

    async def main() -> list[str | BaseException]:
        one: TwoStageQueue[str, list[str], str] = TwoStageQueue(
            Engine().first, short, kind=len, max_size=1, wait_s=0, at_once=1
        )
        return await answered(one, "a")

    (error,) = run_virtual(main())
    assert isinstance(error, ValueError)
