"""How a text-to-speech replica lets callers take turns on its engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from models.cuda_faults import leave_on_cuda_fault
from models.kokoro import KokoroSpeaker, SpeechStreaming, compute
from models.kokoro_engine import FRAME_BUCKETS, KokoroEngine
from models.types import ModelFailure, SpeechChunk
from serve.batches import BatchedSpeech
from serve.scheduling import PrioritySlot

__all__ = ["Replica", "kokoro_engine"]

T = TypeVar("T")

_CHECK_TIMEOUT_S = 10
"""A few frames take some milliseconds; whoever waits longer for them waits for nothing."""


def kokoro_engine(
    folder: Path,
    *,
    implementation: Literal["onnx", "torch"] = "onnx",
    device: Literal["cpu", "cuda"] = "cpu",
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    threads: int = 2,
    max_batch_size: int = 4,
    frame_buckets: Sequence[int] = FRAME_BUCKETS,
) -> KokoroEngine:
    """From a prepared folder. ONNX Runtime takes `threads` only, for it runs on the CPU, in int8, clause by clause.

    Raises ModelFailure.
    """
    if implementation == "onnx":
        from models.kokoro_onnx import OnnxKokoro

        if device != "cpu":
            raise ModelFailure(f"text to speech: ONNX Runtime runs on the CPU, got device {device!r}; choose torch")
        return OnnxKokoro(folder, threads=threads)
    from models.kokoro_torch import TorchKokoro, load_weights

    return TorchKokoro(
        load_weights(folder),
        device=device,
        dtype=dtype,
        threads=threads,
        max_batch_size=max_batch_size,
        frame_buckets=frame_buckets,
    )


class Replica:
    """Kokoro for the calls of one stack."""

    def __init__(
        self, folder: Path, engine: Callable[[], KokoroEngine], streaming: SpeechStreaming, voices: Sequence[str]
    ) -> None:
        """Load and warm up, in the thread that will compute. Raises ModelFailure."""
        self._thread = _EngineThread()
        made = self._thread.now(engine)
        speaker = KokoroSpeaker(folder, made, streaming)
        self._thread.now(lambda: speaker.warm_up(voices))
        self._speech: _TakingTurns | BatchedSpeech = (
            BatchedSpeech(speaker, made, self._thread, _aside)
            if made.most_windows > 1
            else _TakingTurns(speaker, made, self._thread)
        )

    def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """One clause as audio; closing stops after the window that is being computed. Raises ModelFailure."""
        return self._speech.speak(text, voice)

    async def check(self) -> None:
        """A few frames, in good time. Raises ModelFailure."""
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                await self._speech.check()
        except TimeoutError as error:
            raise ModelFailure(f"text to speech: a few frames took longer than {_CHECK_TIMEOUT_S} s") from error


class _TakingTurns:
    """One computation at a time, and whoever still waits for a first sample goes first."""

    def __init__(self, speaker: KokoroSpeaker, engine: KokoroEngine, thread: _EngineThread) -> None:
        self._speaker = speaker
        self._engine = engine
        self._thread = thread
        self._slot = PrioritySlot()

    async def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        chunks = iter(self._speaker.speak(text, voice=voice))
        priority = 0
        while True:
            async with self._slot.hold(priority):
                chunk = await self._thread(lambda: next(chunks, None))
            if chunk is None:
                return
            yield chunk
            priority = 1

    async def check(self) -> None:
        async with self._slot.hold(0):
            await self._thread(lambda: compute(self._engine, [self._speaker.probe]))


class _EngineThread:
    """The one thread in which an engine computes. Where its GPU has failed, the process ends."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kokoro")

    async def __call__(self, function: Callable[[], T], /) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function)
        except Exception as error:
            leave_on_cuda_fault(error)
            raise

    def now(self, function: Callable[[], T]) -> T:
        """Waits for it."""
        return self._pool.submit(function).result()


async def _aside(function: Callable[[], T], /) -> T:
    return await asyncio.to_thread(function)
