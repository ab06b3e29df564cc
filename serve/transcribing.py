"""Whisper shared by many calls: their turns meet in batches, and each batch is encoded, then decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.cuda_faults import leave_on_cuda_fault
from models.types import HEARING_RATE_HZ, FloatAudio, Languages, ModelFailure, Transcript
from serve.stages import Again, TwoStageQueue

if TYPE_CHECKING:
    from models.whisper import EncodedTurns, Turn, WhisperTranscriber

_CHECK, _FINAL, _PARTIAL = range(3)
"""Who goes first."""
_CHECK_AUDIO_S = 0.5
_CHECK_AUDIO_RMS = 0.01
"""Noise as on a bad line: loud enough to be decoded."""


class WhisperQueue:
    """One set of Whisper weights. Turns that want the full window and shorter ones don't share a batch."""

    def __init__(
        self,
        model: WhisperTranscriber,
        *,
        language: str,
        max_size: int,
        wait_s: float,
        at_once: Literal[1, 2],
        check_s: float,
    ) -> None:
        """`language`: one that the model was loaded for; `check_s`: it is unwell if a check takes longer. The others as
        of TwoStageQueue."""
        self._model = model
        self._check_s = check_s
        noise = np.random.default_rng(0).standard_normal(int(_CHECK_AUDIO_S * HEARING_RATE_HZ)) * _CHECK_AUDIO_RMS
        self._check_turn = model.prepare(noise.astype(np.float32), languages=Languages(language))
        self._threads = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="whisper")
        """Of the stages: they never wait behind turns that are being prepared."""
        self._proved = False
        """Something was transcribed since the last check."""
        self._queue: TwoStageQueue[Turn, EncodedTurns, Transcript] = TwoStageQueue(
            self._encode,
            self._decode,
            kind=lambda turn: turn.full_window,
            max_size=max_size,
            wait_s=wait_s,
            at_once=at_once,
        )

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        """One whole turn, or the turn so far, as WhisperTranscriber takes it; finals go first. Raises ModelFailure.

        After a fault of the GPU the process ends.
        """
        if self._model.wants_full_window(audio):
            turn = await asyncio.to_thread(self._model.prepare, audio, languages=languages)
        else:
            # At once: a detour through a thread would part it from those that came with it.
            turn = self._model.prepare(audio, languages=languages)
        return await self._through(turn, _FINAL if final else _PARTIAL)

    async def check(self) -> None:
        """Transcribe next to nothing ahead of all that wait, unless the model has worked since the last check.

        Raises ModelFailure if it fails or takes too long.
        """
        if not self._proved:
            try:
                async with asyncio.timeout(self._check_s):
                    await self._through(self._check_turn, _CHECK)
            except TimeoutError as error:
                raise ModelFailure(f"Whisper: half a second was not transcribed within {self._check_s:g} s") from error
        self._proved = False

    async def _through(self, turn: Turn, priority: int) -> Transcript:
        try:
            return await self._queue.submit(turn, priority=priority)
        except ModelFailure as error:
            leave_on_cuda_fault(error)
            raise

    async def _encode(self, turns: Sequence[Turn]) -> EncodedTurns:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._model.encode, turns)

    async def _decode(self, encoded: EncodedTurns, wanted: Sequence[bool]) -> list[Transcript | Again[Turn]]:
        decode = partial(self._model.decode, encoded, wanted=wanted)
        outcomes = await asyncio.get_running_loop().run_in_executor(self._threads, decode)
        self._proved = True
        return [one if isinstance(one, Transcript) else Again(one) for one in outcomes]
