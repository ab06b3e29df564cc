"""A clock that can be stopped."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import LoopClock, StoppableClock
from tests.virtual_time import run_virtual


def test_time_passes_only_while_the_clock_is_going() -> None:
    async def main() -> None:
        clock = StoppableClock(LoopClock())
        await asyncio.sleep(5)
        assert clock.now_s() == 0
        with clock.going():
            await asyncio.sleep(2)
            with clock.going():
                await asyncio.sleep(1)
            assert clock.now_s() == pytest.approx(3)
        await asyncio.sleep(5)
        assert clock.now_s() == pytest.approx(3)

    run_virtual(main())


def test_a_wait_is_not_over_before_its_time_has_passed() -> None:
    async def main() -> None:
        clock = StoppableClock(LoopClock())
        wait = asyncio.create_task(clock.sleep(3))
        for _ in range(2):
            with clock.going():
                await asyncio.sleep(1.4)
            await asyncio.sleep(100)
        assert not wait.done()
        with clock.going():
            await wait
        assert clock.now_s() == pytest.approx(3)

    run_virtual(main())
