"""A system that fails is left alone, then tried once."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.tools.breaker import Breaker, BreakerOpen
from pipeline.tools.definition import BreakerSettings
from tests.pipeline.tools.fakes import VirtualClock
from tests.virtual_time import run_virtual

SETTINGS = BreakerSettings(failures=3, open_s=30)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ZeroDivisionError), breaker.attempt():
            raise ZeroDivisionError


def succeed(breaker: Breaker) -> None:
    with breaker.attempt():
        pass


def is_open(breaker: Breaker) -> bool:
    try:
        succeed(breaker)
    except BreakerOpen:
        return True
    return False


def test_failures_in_a_row_open_it_for_a_while() -> None:
    async def main() -> None:
        breaker = Breaker(SETTINGS, VirtualClock())
        fail(breaker, 3)
        await asyncio.sleep(29.9)
        assert is_open(breaker)
        await asyncio.sleep(0.2)
        assert not is_open(breaker)
        fail(breaker, 2)
        assert not is_open(breaker)

    run_virtual(main())


def test_a_success_between_failures_keeps_it_closed() -> None:
    async def main() -> None:
        breaker = Breaker(SETTINGS, VirtualClock())
        for _ in range(4):
            fail(breaker, 2)
            succeed(breaker)

    run_virtual(main())


def test_one_trial_decides_and_nobody_else_is_let_through_meanwhile() -> None:
    async def main() -> None:
        breaker = Breaker(SETTINGS, VirtualClock())
        fail(breaker, 3)
        await asyncio.sleep(30)
        trial = breaker.attempt()
        trial.__enter__()
        assert is_open(breaker)
        assert not trial.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        await asyncio.sleep(29)
        assert is_open(breaker)

    run_virtual(main())


def test_a_cancelled_trial_leaves_room_for_the_next() -> None:
    async def main() -> None:
        breaker = Breaker(SETTINGS, VirtualClock())
        fail(breaker, 3)
        await asyncio.sleep(30)
        with pytest.raises(asyncio.CancelledError), breaker.attempt():
            raise asyncio.CancelledError
        assert not is_open(breaker)

    run_virtual(main())


def test_attempts_from_before_it_opened_do_not_keep_it_open_longer() -> None:
    async def main() -> None:
        breaker = Breaker(SETTINGS, VirtualClock())
        early = breaker.attempt()
        early.__enter__()
        fail(breaker, 3)
        await asyncio.sleep(20)
        assert not early.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        await asyncio.sleep(10)
        assert not is_open(breaker)

    run_virtual(main())
