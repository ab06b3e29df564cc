"""Clauses of several calls through one engine: what is most urgent runs first, and what is of its kind runs with it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from models.kokoro import KokoroSpeaker, compute
from models.kokoro_engine import KokoroEngine, Part, Row, Window
from models.types import FloatAudio, SpeechChunk

__all__ = ["BatchedSpeech", "DeadlineBatcher", "Runner", "Shape"]

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")

_TOKENS_ALIKE = 64
"""Clauses whose phonemes round up to the same multiple are of one length for the front."""


class Runner(Protocol):
    """Runs a blocking function where it blocks nobody else."""

    async def __call__(self, function: Callable[[], T], /) -> T: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What an item costs: items of one kind run together, all at the size of the one that is most urgent."""

    kind: str
    size: int


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Result]):
    due_s: float
    order: int
    shape: Shape
    item: Item
    answer: asyncio.Future[Result]


class DeadlineBatcher(Generic[Item, Result]):
    """Items of many callers, run by one function over a batch, one batch at a time.

    The item that is due first goes first, and takes with it those of its kind that are no larger, in the order in which
    they are due: they cost nothing then. An item whose caller has gone is dropped.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, max_size: int) -> None:
        """`run` gets 1 to `max_size` items of one kind and gives as many results."""
        self._run = run
        self._max_size = max_size
        self._waiting: list[_Waiting[Item, Result]] = []
        self._order = itertools.count()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item, shape: Shape, *, due_s: float) -> Result:
        """The item's result. `due_s`: by the loop's clock. Raises what `run` raised for its batch."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(due_s, next(self._order), shape, item, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        try:
            while batch := self._next():
                await self._run_batch(batch)
        finally:
            self._worker = None

    def _next(self) -> list[_Waiting[Item, Result]]:
        self._waiting = sorted(
            (waiting for waiting in self._waiting if not waiting.answer.done()),
            key=lambda waiting: (waiting.due_s, waiting.order),
        )
        if not self._waiting:
            return []
        lead = self._waiting[0].shape
        fitting = (
            waiting for waiting in self._waiting if waiting.shape.kind == lead.kind and waiting.shape.size <= lead.size
        )
        batch = list(itertools.islice(fitting, self._max_size))
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        return batch

    async def _run_batch(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._run([waiting.item for waiting in batch])
        except Exception as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(result)


class BatchedSpeech:
    """Kokoro for several calls at once, on an engine that is faster so.

    What a caller hears next is due when the audio that he has runs out; his first audio, when he asked for it.
    """

    def __init__(self, speaker: KokoroSpeaker, engine: KokoroEngine, in_engine: Runner, beside: Runner) -> None:
        """`in_engine` runs what the engine computes, one call after another; `beside`, what it need not wait for."""
        self._speaker = speaker
        self._engine = engine
        self._in_engine = in_engine
        self._beside = beside
        self._batcher: DeadlineBatcher[Row | Window, Part | FloatAudio] = DeadlineBatcher(
            self._run, max_size=engine.most_windows
        )

    async def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """One clause as audio; closing stops after the window that is being computed. Raises ModelFailure."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        clause = await self._beside(lambda: self._speaker.read(text, voice))
        if clause is None:
            return
        parts = await asyncio.gather(*(self._part(row, asked_s) for row in clause.rows))
        speech = await self._in_engine(lambda: self._speaker.begin(clause, parts))
        heard_s: float | None = None
        while (window := speech.wanted) is not None:
            audio = await self._audio(window, asked_s if heard_s is None else heard_s + speech.given_s)
            chunk = speech.take(audio)
            if chunk is not None:
                heard_s = loop.time() if heard_s is None else heard_s
                yield chunk

    async def check(self) -> None:
        """Have the engine compute a few frames, ahead of what is not late. Raises ModelFailure."""
        await self._audio(self._speaker.probe, asyncio.get_running_loop().time())

    async def _part(self, row: Row, due_s: float) -> Part:
        size = -(-len(row.tokens) // _TOKENS_ALIKE) * _TOKENS_ALIKE
        part = await self._batcher.submit(row, Shape("front", size), due_s=due_s)
        assert isinstance(part, Part)
        return part

    async def _audio(self, window: Window, due_s: float) -> FloatAudio:
        frames = len(window.frames)
        size = next((bucket for bucket in self._engine.frame_buckets if bucket >= frames), frames)
        kind = "whole" if window.statistics is None else "window"
        audio = await self._batcher.submit(window, Shape(kind, size), due_s=due_s)
        assert not isinstance(audio, Part)
        return audio

    async def _run(self, items: Sequence[Row | Window]) -> Sequence[Part | FloatAudio]:
        rows = [item for item in items if isinstance(item, Row)]
        if rows:
            return await self._in_engine(lambda: self._engine.front(rows))
        windows = [item for item in items if isinstance(item, Window)]
        return await self._in_engine(lambda: compute(self._engine, windows))
