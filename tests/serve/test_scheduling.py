from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from serve.scheduling import BatchQueue, PrioritySlot


async def test_the_slot_goes_to_the_most_urgent_waiter_not_the_oldest() -> None:
    slot, order = PrioritySlot(), []

    async def work(name: str, priority: int) -> None:
        async with slot.hold(priority):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        async with slot.hold(0):
            for name, priority in (("later a", 1), ("later b", 1), ("first", 0)):
                tasks.create_task(work(name, priority))
            await asyncio.sleep(0)
            assert order == []
    assert order == ["first", "later a", "later b"]


async def test_a_waiter_that_gives_up_does_not_keep_the_slot() -> None:
    slot = PrioritySlot()
    async with slot.hold(0):
        waiting = asyncio.create_task(hold_once(slot))
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.wait_for(hold_once(slot), 1)


async def test_a_waiter_cancelled_as_it_gets_the_slot_hands_it_on() -> None:
    slot = PrioritySlot()
    async with slot.hold(0):
        waiting = asyncio.create_task(hold_once(slot))
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(hold_once(slot), 1)


async def hold_once(slot: PrioritySlot) -> None:
    async with slot.hold(0):
        pass


async def test_finals_go_before_partials_that_came_earlier_and_calls_share_a_batch() -> None:
    gate, batches = threading.Event(), list[list[str]]()

    def run(items: Sequence[str]) -> list[str]:
        batches.append(list(items))
        gate.wait(5)
        return [item.upper() for item in items]

    queue: BatchQueue[str, str] = BatchQueue(run, max_size=2, wait_s=0)
    first = asyncio.create_task(queue.submit("running", priority=1))
    await asyncio.sleep(0.01)
    rest = [
        asyncio.create_task(queue.submit(item, priority=priority))
        for item, priority in (("partial a", 1), ("partial b", 1), ("final", 0))
    ]
    await asyncio.sleep(0.01)
    gate.set()
    assert [await task for task in (first, *rest)] == ["RUNNING", "PARTIAL A", "PARTIAL B", "FINAL"]
    assert batches == [["running"], ["final", "partial a"], ["partial b"]]


async def test_a_request_whose_caller_has_gone_is_not_computed() -> None:
    gate, seen = threading.Event(), list[str]()

    def run(items: Sequence[str]) -> list[str]:
        gate.wait(5)
        seen.extend(items)
        return list(items)

    queue: BatchQueue[str, str] = BatchQueue(run, max_size=1, wait_s=0)
    first = asyncio.create_task(queue.submit("running", priority=0))
    await asyncio.sleep(0.01)
    gone = asyncio.create_task(queue.submit("gone", priority=0))
    await asyncio.sleep(0)
    gone.cancel()
    gate.set()
    await first
    assert await queue.submit("next", priority=0) == "next"
    assert seen == ["running", "next"]


async def test_a_failed_batch_fails_its_own_requests_only() -> None:
    def run(items: Sequence[str]) -> list[str]:
        if "bad" in items:
            raise ValueError("bad item")
        return list(items)

    queue: BatchQueue[str, str] = BatchQueue(run, max_size=1, wait_s=0)
    bad, good = await asyncio.gather(
        queue.submit("bad", priority=0), queue.submit("good", priority=1), return_exceptions=True
    )
    assert isinstance(bad, ValueError)
    assert good == "good"
