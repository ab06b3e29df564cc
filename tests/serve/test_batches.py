from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from models.kokoro import KokoroSpeaker, SpeechStreaming
from models.kokoro_engine import Part, Row, Window
from models.types import FloatAudio, ModelFailure
from serve.batches import BatchedSpeech, DeadlineBatcher, Shape
from tests.virtual_time import run_virtual

T = TypeVar("T")

RUN_S = 0.1
SMALL, LARGE = Shape("window", 36), Shape("window", 104)


class Batches:
    """Takes RUN_S for every batch, and remembers them."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    async def __call__(self, items: Sequence[str]) -> list[str]:
        self.seen.append(list(items))
        await asyncio.sleep(RUN_S)
        return [item.upper() for item in items]


def run_together(asked: Sequence[tuple[str, Shape, float]], most: int = 4) -> Batches:
    """Item, shape and when it is due, all asked for while one called 'busy' runs."""
    batches = Batches()

    async def main() -> None:
        batcher: DeadlineBatcher[str, str] = DeadlineBatcher(batches, max_size=most)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(batcher.submit("busy", LARGE, due_s=0))
            await asyncio.sleep(RUN_S / 2)
            answers = [tasks.create_task(batcher.submit(item, shape, due_s=due)) for item, shape, due in asked]
        assert [answer.result() for answer in answers] == [item.upper() for item, _, _ in asked]

    run_virtual(main())
    assert batches.seen.pop(0) == ["busy"]
    return batches


def test_windows_of_several_calls_run_together_and_what_is_due_first_leads() -> None:
    asked = [("later", LARGE, 3.0), ("soon", LARGE, 0.4), ("now", LARGE, 0.1), ("in a while", LARGE, 1.0)]
    assert run_together(asked, most=2).seen == [["now", "soon"], ["in a while", "later"]]


def test_a_shorter_window_comes_along_and_a_longer_one_does_not_hold_up_a_shorter() -> None:
    asked = [("first audio", SMALL, 0.1), ("long", LARGE, 0.2), ("short", SMALL, 0.3)]
    assert run_together(asked).seen == [["first audio", "short"], ["long"]]
    asked = [("long", LARGE, 0.1), ("short", SMALL, 0.2)]
    assert run_together(asked).seen == [["long", "short"]]


def test_kinds_do_not_mix() -> None:
    front = Shape("front", 64)
    asked = [("text", front, 0.2), ("window", SMALL, 0.1), ("text too", front, 0.3)]
    assert run_together(asked).seen == [["window"], ["text", "text too"]]


def test_of_what_is_due_at_one_time_the_oldest_goes_first() -> None:
    asked = [(name, SMALL, 0.1) for name in "abc"]
    assert run_together(asked, most=2).seen == [["a", "b"], ["c"]]


def test_a_caller_who_has_gone_costs_nothing() -> None:
    batches = Batches()

    async def main() -> None:
        batcher: DeadlineBatcher[str, str] = DeadlineBatcher(batches, max_size=4)
        running = asyncio.create_task(batcher.submit("busy", SMALL, due_s=0))
        gone, stays = (asyncio.create_task(batcher.submit(name, SMALL, due_s=1)) for name in ("gone", "stays"))
        await asyncio.sleep(RUN_S / 2)
        gone.cancel()
        assert (await stays, await running) == ("STAYS", "BUSY")
        assert await batcher.submit("afterwards", SMALL, due_s=2) == "AFTERWARDS"

    run_virtual(main())
    assert batches.seen[-1] == ["afterwards"]
    assert "gone" not in [item for batch in batches.seen[1:] for item in batch]


def test_a_failure_is_told_to_everyone_in_its_batch_and_the_next_batch_runs() -> None:
    async def run(items: Sequence[int]) -> list[int]:
        await asyncio.sleep(RUN_S)
        return [1 // item for item in items]

    async def main() -> list[object]:
        batcher: DeadlineBatcher[int, int] = DeadlineBatcher(run, max_size=2)
        asked = (batcher.submit(item, SMALL, due_s=due) for due, item in enumerate((1, 0, 1)))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    first, second, third = run_virtual(main())
    assert (isinstance(first, ZeroDivisionError), isinstance(second, ZeroDivisionError), third) == (True, True, 1)


# --- Whole clauses ----------------------------------------------------------------------------------------------------


class ToneEngine:
    """Every phoneme is 50 ms of tone; says what it ran together."""

    most_windows, frame_buckets = 4, (36, 64, 104)

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []
        self.broken = False

    def front(self, rows: Sequence[Row]) -> list[Part]:
        self.ran.append(("front", len(rows)))
        return [Part(np.full(len(row.tokens), 2)) for row in rows]

    def windows(self, windows: Sequence[Window]) -> list[FloatAudio]:
        if self.broken:
            raise ModelFailure("the engine is gone")
        self.ran.append(("windows", len(windows)))
        return [np.full(len(window.frames) * 300, 0.2, np.float32) for window in windows]

    def whole(self, part: Part) -> tuple[FloatAudio, np.ndarray]:
        self.ran.append(("whole", 1))
        return np.full(part.frames * 300, 0.2, np.float32), np.ones((2, 3)) * [[0.0], [1.0]]

    def warm_up(self) -> None: ...


@pytest.fixture
def engine() -> ToneEngine:
    return ToneEngine()


@pytest.fixture(params=["windowed", "whole"])
def speaker(request: pytest.FixtureRequest, tmp_path: Path, engine: ToneEngine) -> KokoroSpeaker:
    (tmp_path / "voices").mkdir()
    for voice in ("af_x", "bm_y"):
        (tmp_path / "voices" / f"{voice}.bin").write_bytes(bytes(512 * 1024))
    made = KokoroSpeaker(tmp_path, engine, SpeechStreaming(mode=request.param))
    made.warm_up(["af_x", "bm_y"])
    engine.ran.clear()
    return made


async def in_engine(function: Callable[[], T], /) -> T:
    """Takes RUN_S, and one at a time is the batcher's affair."""
    await asyncio.sleep(RUN_S)
    return function()


async def at_once(function: Callable[[], T], /) -> T:
    return function()


TEXTS = (("The tide turns at noon.", "af_x"), ("Bring a warm coat, please, and good shoes.", "bm_y"))


def test_clauses_of_two_calls_are_those_of_one_call_each_and_share_the_engine(
    speaker: KokoroSpeaker, engine: ToneEngine
) -> None:
    alone = [list(speaker.speak(text, voice=voice)) for text, voice in TEXTS]
    apart = len(engine.ran)
    engine.ran.clear()
    speech = BatchedSpeech(speaker, engine, in_engine, at_once)

    async def said(text: str, voice: str) -> list[object]:
        return [chunk async for chunk in speech.speak(text, voice)]

    async def main() -> list[list[object]]:
        return await asyncio.gather(*(said(text, voice) for text, voice in TEXTS))

    for together, one in zip(run_virtual(main()), alone, strict=True):
        assert len(together) == len(one)
        for chunk, other in zip(together, one, strict=True):
            np.testing.assert_array_equal(chunk.pcm, other.pcm)
            assert (chunk.words, chunk.last) == (other.words, other.last)
    assert ("front", 2) in engine.ran
    assert len(engine.ran) < apart


@pytest.mark.parametrize("speaker", ["windowed"], indirect=True)
def test_who_waits_for_his_first_audio_goes_before_who_has_some_left(
    speaker: KokoroSpeaker, engine: ToneEngine
) -> None:
    engine.most_windows = 1
    speech = BatchedSpeech(speaker, engine, in_engine, at_once)
    order: list[str] = []

    async def say(name: str, text: str) -> None:
        async for _ in speech.speak(text, "af_x"):
            order.append(name)

    async def main() -> None:
        text = "There are sailings in the morning, at noon, and late at night. " * 4
        async with asyncio.TaskGroup() as calls:
            for number in range(4):
                calls.create_task(say(f"long {number}", text))
            await asyncio.sleep(25 * RUN_S)
            order.clear()
            calls.create_task(say("new", "Yes, there is."))

    run_virtual(main())
    # What runs when its text, its plan and its window are asked for, and no more; taking turns would take eight.
    assert order.index("new") <= 4
    assert len(order) > 12


@pytest.mark.parametrize("text", ["", "...", "— !"])
def test_nothing_to_say_costs_no_engine(speaker: KokoroSpeaker, engine: ToneEngine, text: str) -> None:
    speech = BatchedSpeech(speaker, engine, in_engine, at_once)

    async def main() -> list[object]:
        return [chunk async for chunk in speech.speak(text, "af_x")]

    assert run_virtual(main()) == []
    assert engine.ran == []


def test_a_check_has_the_engine_compute(speaker: KokoroSpeaker, engine: ToneEngine) -> None:
    speech = BatchedSpeech(speaker, engine, in_engine, at_once)
    run_virtual(speech.check())
    assert engine.ran == [("windows", 1)]
    engine.broken = True
    with pytest.raises(ModelFailure, match="the engine is gone"):
        run_virtual(speech.check())
