"""Silences: asked into, ended, and granted to who asks for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeline.clock import LoopClock
from pipeline.silence import SilenceWatch
from tests.pipeline.agents import AGENT
from tests.pipeline.rig import play
from tests.virtual_time import run_virtual

PATIENT = AGENT.model_copy(
    update={"turn_taking": AGENT.turn_taking.model_copy(update={"reprompt_after_s": 8.0, "moment_more_s": 22.0})}
)
Deed = Callable[[SilenceWatch], None]


def watched(deeds: list[tuple[float, Deed]], *, until_s: float) -> list[tuple[int, str]]:
    """What the watch does, and about when, of a caller who is silent but for these deeds."""
    came: list[tuple[int, str]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        async def close(reason: str) -> None:
            came.append((round(loop.time() - began_s), reason))
            await asyncio.sleep(until_s)

        watch = SilenceWatch(
            PATIENT,
            LoopClock(),
            busy=lambda: False,
            say=lambda: came.append((round(loop.time() - began_s), "asks")),
            close=close,
        )
        running = asyncio.create_task(watch.run())
        for at_s, deed in deeds:
            await asyncio.sleep(began_s + at_s - loop.time())
            deed(watch)
        await asyncio.sleep(began_s + until_s - loop.time())
        running.cancel()

    run_virtual(main())
    return came


def asks_for_a_moment(watch: SilenceWatch) -> None:
    watch.heard_from()
    watch.answered()
    watch.grant_moment()


def speaks(watch: SilenceWatch) -> None:
    watch.heard_from()
    watch.answered()


def test_a_silence_is_asked_into_twice_and_then_ends_the_call() -> None:
    assert watched([], until_s=40) == [(8, "asks"), (16, "asks"), (24, "silence")]


def test_who_asks_for_a_moment_is_left_alone_longer_once() -> None:
    assert watched([(4.0, asks_for_a_moment)], until_s=60) == [(34, "asks"), (42, "asks"), (50, "silence")]


def test_a_moment_is_over_once_the_caller_speaks_again() -> None:
    assert watched([(1.0, asks_for_a_moment), (11.0, speaks)], until_s=22) == [(19, "asks")]


def test_each_request_gets_its_moment() -> None:
    assert watched([(1.0, asks_for_a_moment), (25.0, asks_for_a_moment)], until_s=60) == [(55, "asks")]


def test_in_a_call_the_moment_is_counted_from_when_it_was_granted() -> None:
    played = play([(3.0, "hang on, let me get my diary")], for_s=33, agent=PATIENT)
    assert played.heard()[1:] == ["Sure, take your time."]
    played = play([(3.0, "hang on, let me get my diary")], for_s=45, agent=PATIENT)
    assert played.heard()[1:3] == ["Sure, take your time.", "Are you there?"]
