"""Keys become an answer once the caller has finished."""

from __future__ import annotations

import asyncio

from pipeline.clock import LoopClock
from pipeline.keypad import Keypad
from tests.virtual_time import run_virtual


def entered(keys: list[tuple[float, str]], *, until_s: float) -> list[tuple[float, str]]:
    """What was entered, and when, of keys pressed at these times."""
    came: list[tuple[float, str]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        keypad = Keypad(
            LoopClock(),
            spawn=loop.create_task,
            entered=lambda digits: came.append((round(loop.time() - began_s, 2), digits)),
        )
        for at_s, key in keys:
            await asyncio.sleep(began_s + at_s - loop.time())
            keypad.press(key)
        await asyncio.sleep(began_s + until_s - loop.time())

    run_virtual(main())
    return came


def test_digits_are_one_answer_two_and_a_half_seconds_after_the_last_of_them() -> None:
    assert entered([(0.0, "4"), (2.0, "1"), (4.0, "5")], until_s=20) == [(6.5, "415")]


def test_the_hash_key_ends_the_answer_at_once() -> None:
    assert entered([(0.0, "7"), (0.3, "2"), (0.6, "#")], until_s=20) == [(0.6, "72")]


def test_after_a_pause_another_answer_begins() -> None:
    assert entered([(0.0, "1"), (4.0, "2")], until_s=20) == [(2.5, "1"), (6.5, "2")]


def test_keys_that_are_no_digits_are_no_answer() -> None:
    assert entered([(0.0, "*"), (1.0, "#"), (5.0, "*"), (5.2, "8")], until_s=20) == [(7.7, "8")]
