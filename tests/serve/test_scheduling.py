from __future__ import annotations

import asyncio

import pytest

from serve.scheduling import PrioritySlot


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
