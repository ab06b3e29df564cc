"""The caller's words: transcripts of the turn so far while the caller speaks, and of the whole turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

from models.types import FloatAudio, Languages, ModelFailure, Transcript
from pipeline import events as ev
from pipeline.clock import Clock, since_ms
from pipeline.partials import PartialBudget
from pipeline.ports import Transcriber
from pipeline.turns import TurnTracker

_BETWEEN_PARTIALS_S = 0.15
"""Partials come no faster than this."""
_SPARE = 2
"""For silences that may be its last, a turn asks this much oftener than once every `every_ms`."""


class OnPartial(Protocol):
    def __call__(self, turn: int, text: str, *, stable: bool) -> None:
        """Words of the turn under way; `stable`: they begin with those of the partial before, and more is expected."""
        ...


class Hearing:
    """One call's use of the transcriber."""

    def __init__(
        self,
        tracker: TurnTracker,
        transcriber: Transcriber,
        log: ev.EventLog,
        clock: Clock,
        *,
        every_ms: int,
        timeout_s: float,
        budget: PartialBudget,
        languages: Callable[[], Languages],
        spawn: Callable[[Coroutine[None, None, Transcript | None]], asyncio.Task[Transcript | None]],
        partial: OnPartial,
    ) -> None:
        """`budget`: says which partials are asked for, over all calls; those for a silence are asked for in any case.
        `languages`: what may be spoken now; `spawn` starts work that ends with the call; `partial` is told of each
        partial of the present turn."""
        self._tracker = tracker
        self._transcriber = transcriber
        self._log = log
        self._clock = clock
        self._every_s = every_ms / 1000
        self._timeout_s = timeout_s
        self._budget = budget
        self._languages = languages
        self._spawn = spawn
        self._on_partial = partial
        self._turn = 0
        self._task: asyncio.Task[Transcript | None] | None = None
        self._began_s = self._last_s = self._due_s = 0.0
        self._asked = 0
        """Times at which a partial was asked for, or would have been."""
        self._whole: asyncio.Task[Transcript | None] | None = None
        """The last partial of the turn under way, of its audio up to `_last_s`."""
        self._text = ""

    def turn_began(self) -> None:
        self._began_s = self._last_s = self._due_s = self._tracker.received_s
        self._asked = 0
        self._whole = None
        self._text = ""

    def maybe_partial(self, turn: int) -> None:
        """Now and then while the caller speaks; and as a silence begins, since that one may be the last needed.

        Not at every dip between words: a turn asks at most once every `every_ms`, and `_SPARE` times more. The budget's
        refusals count as if it had asked, or its silences would stand in for them.
        """
        self._turn = turn
        tracker = self._tracker
        since_s = tracker.received_s - self._last_s
        busy = self._task is not None and not self._task.done()
        if busy or not tracker.speaking:
            return
        spare = self._asked < _SPARE + (tracker.received_s - self._began_s) // self._every_s
        falls_silent = tracker.silence_ms > 0 and since_s >= _BETWEEN_PARTIALS_S and spare
        due = tracker.voiced and since_s >= self._every_s
        if falls_silent:
            self._ask(turn, urgent=True)
        elif due and self._budget.take(self, waited_s=since_s):
            self._ask(turn, urgent=False).add_done_callback(lambda _: self._budget.give_back())
        elif due and tracker.received_s - self._due_s >= self._every_s:
            self._due_s = tracker.received_s
            self._asked += 1

    def _ask(self, turn: int, *, urgent: bool) -> asyncio.Task[Transcript | None]:
        self._last_s = self._due_s = self._tracker.received_s
        self._asked += 1
        self._task = self._whole = self._spawn(self._partial(turn, self._tracker.turn_audio(), urgent=urgent))
        return self._task

    async def hear(self, audio: FloatAudio, speech_end_s: float) -> Transcript:
        """The turn's words; those of the last partial, if it had the whole of the speech. Raises ModelFailure."""
        if self._whole is not None and self._last_s >= speech_end_s:
            transcript = await asyncio.shield(self._whole)
            if transcript is not None and not transcript.draft:
                return transcript
        return await self._transcribed(audio, final=True)

    async def _transcribed(self, audio: FloatAudio, *, final: bool) -> Transcript:
        began_s = self._clock.now_s()
        try:
            return await self._transcriber.transcribe(audio, self._languages(), final=final)
        finally:
            # One that was given up took at least this long.
            self._budget.answered(began_s)

    async def _partial(self, turn: int, audio: FloatAudio, *, urgent: bool) -> Transcript | None:
        began_s = self._clock.now_s()
        try:
            async with asyncio.timeout(self._timeout_s):
                transcript = await self._transcribed(audio, final=urgent)
        except (ModelFailure, TimeoutError) as error:
            self._log.append(ev.StageFailed(turn=turn, stage="transcribe", error=explain(error)))
            return None
        if transcript.text and turn == self._turn:
            before, self._text = self._text, transcript.text
            goes_on = transcript.text.lower().startswith(before.rstrip(" .,?!…").lower())
            # With an urgent one the reply itself is being made.
            self._on_partial(turn, transcript.text, stable=bool(before) and goes_on and not urgent)
            took_ms = since_ms(self._clock, began_s)
            self._log.append(
                ev.PartialTranscript(turn=turn, text=transcript.text, audio_s=transcript.audio_s, took_ms=took_ms)
            )
        return transcript


def explain(error: BaseException) -> str:
    """A stage's failure in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__}: no answer in time"
