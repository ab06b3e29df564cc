"""Paced playout with a ledger of what the caller heard.

Audio goes out in 20 ms frames on an absolute schedule, a bounded time ahead of the playback clock: the time at which
the carrier, playing in real time from the moment it got the audio, ends what it has. Each clause is followed by a
mark; echoes correct the clock. Every `clear` starts a new playback generation, and a mark carries the generation it
was sent in, so the echo of a flushed mark is never taken for audio that was heard.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from pydantic import Field

from models.settings import StrictModel
from models.types import SpeechChunk, Word
from pipeline.clock import Clock
from pipeline.ports import HeardClause, PlayoutListener
from telephony.audio import (
    FRAME_S,
    WIRE_RATE_HZ,
    Framer,
    Resampler,
    float_to_ulaw,
    ulaw_level_dbfs,
)

AUDIBLE_DBFS: Final = -50.0
"""Level above which a frame counts as heard: speech on the telephone lies near -26 dBFS, line noise below -60."""

_RECENT_ECHOES = 8

_TICK_S = 1e-6
"""Times nearer than this are the same: a timer may fire this much early."""


class PlayoutSettings(StrictModel):
    """How audio is paced to the carrier."""

    send_ahead_ms: float = Field(default=80.0, ge=20.0, le=1000.0)
    """How far ahead of the playback clock audio is sent: more rides out more jitter, less leaves less to clear."""
    line_delay_ms: float = Field(default=60.0, ge=0.0, le=1000.0)
    """Least time assumed from sending to hearing. Late echoes raise it; words count as heard this much later."""
    echo_grace_ms: float = Field(default=500.0, ge=0.0, le=10_000.0)
    """How long after its time a clause's mark is waited for before the clause counts as played without it."""


class Outlet(Protocol):
    """The carrier's side of playout; called by one task only. Each raises LineLost if the line is gone or stalls."""

    async def audio(self, ulaw: bytes) -> None: ...

    async def mark(self, name: str) -> None: ...

    async def clear(self) -> None: ...


class LineLost(ConnectionError):
    """The way to the carrier is gone: closed, or stalled for longer than a send may take."""


class MediaTap(Protocol):
    """A listener on the wire's audio, e.g. the recorder. All times are on the call's clock; calls must return at once.

    Whoever makes a tap closes it.
    """

    def received(self, ulaw: bytes, at_s: float) -> None:
        """The caller's audio without gaps, up to 20 ms; `at_s` is when it had come in, evened out by its timestamp."""
        ...

    def sent(self, ulaw: bytes, play_at_s: float) -> None:
        """A 20 ms frame of ours, and when the carrier starts to play it; in order, without overlap unless cleared."""
        ...

    def cleared(self, at_s: float) -> None:
        """Sent audio with a play time from `at_s` on was never heard."""
        ...


class PacingStats:
    """How late frames went out, against the schedule: a histogram in steps of 0.1 ms, the last one open-ended."""

    STEP_MS: Final = 0.1

    def __init__(self) -> None:
        self._counts = np.zeros(2_001, dtype=np.int64)
        self.max_ms = 0.0

    def add(self, late_s: float) -> None:
        late_ms = max(0.0, late_s * 1000.0)
        self._counts[min(int(late_ms / self.STEP_MS + 0.5), self._counts.size - 1)] += 1
        self.max_ms = max(self.max_ms, late_ms)

    @property
    def frames(self) -> int:
        return int(self._counts.sum())

    def quantile_ms(self, share: float) -> float:
        """Lateness that `share` (0 to 1) of the frames stayed within; 0 if none was sent."""
        frames = self.frames
        if not frames:
            return 0.0
        index = int(np.searchsorted(np.cumsum(self._counts), share * frames))
        return self.max_ms if index >= self._counts.size - 1 else index * self.STEP_MS

    @property
    def p50_ms(self) -> float:
        return self.quantile_ms(0.50)

    @property
    def p99_ms(self) -> float:
        return self.quantile_ms(0.99)


@dataclass(slots=True)
class _Span:
    """A stretch of a clause that plays without a gap."""

    from_s: float
    """Place in the clause."""
    play_s: float
    """When it starts to play, on the playback clock."""
    length_s: float = 0.0


@dataclass(slots=True)
class _Clause:
    """A clause in the ledger."""

    id: str
    rate_hz: int
    resampler: Resampler
    framer: Framer = field(default_factory=Framer)
    words: tuple[Word, ...] = ()
    frames: list[bytes] = field(default_factory=list)
    """All of it that was queued so far."""
    spans: list[_Span] = field(default_factory=list)
    finished: bool = False
    """Its last chunk was queued."""
    closed: bool = False
    """Its last frame was queued: a mark follows."""
    audible: bool = False
    """An audible frame of it was sent."""
    played: bool = False
    """All that was sent of it was played."""
    cut_s: float | None = None
    """How much of it had been played when it was cleared."""

    @property
    def sent_s(self) -> float:
        return self.spans[-1].from_s + self.spans[-1].length_s if self.spans else 0.0

    def place_s(self, play_s: float) -> float:
        """How far into the clause the playback clock's time `play_s` is."""
        if self.played:
            return self.sent_s
        if self.cut_s is not None:
            return self.cut_s
        for span in reversed(self.spans):
            if play_s > span.play_s:
                return span.from_s + min(play_s - span.play_s, span.length_s)
        return 0.0

    def rewind(self, play_s: float) -> int:
        """Go back to the first word that was not heard whole by `play_s`; the index of the frame to go on with."""
        place_s = self.place_s(play_s)
        if self.words:
            count = next((i for i, word in enumerate(self.words) if word.end_s > place_s), len(self.words))
            start_s = self.words[count].start_s if count < len(self.words) else place_s
            place_s = max(start_s, self.words[count - 1].end_s if count else 0.0)
        place_s = min(place_s, self.sent_s)
        # Ended a frame ago, so that rounding takes nothing off what was heard.
        self.spans = [_Span(0.0, play_s - place_s - FRAME_S, place_s)] if place_s else []
        return int(place_s / FRAME_S + _TICK_S)

    def heard(self, play_s: float) -> HeardClause:
        complete = self.played and self.finished
        if complete:
            words = self.words
        else:
            place_s = self.place_s(play_s)
            # A prefix, even if the times of two words should overlap.
            count = next((i for i, word in enumerate(self.words) if word.end_s > place_s), len(self.words))
            words = self.words[:count]
        return HeardClause(self.id, " ".join(word.text for word in words), complete)


@dataclass(slots=True)
class _Frame:
    clause: _Clause
    ulaw: bytes
    queued_s: float


@dataclass(slots=True)
class _Echo:
    """A mark that is out: its clause, when its audio ends on the playback clock, and when it counts as played."""

    clause: _Clause
    end_s: float
    due_s: float


class Playout:
    """A `pipeline.ports.AudioOutput`: the way to the caller's ear. One task runs `run`, which alone writes."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        clock: Clock,
        hang_up: Callable[[], Awaitable[None]],
        settings: PlayoutSettings | None = None,
        tap: MediaTap | None = None,
    ) -> None:
        """`hang_up` ends the call at the carrier."""
        settings = settings or PlayoutSettings()
        self._outlet = outlet
        self._clock = clock
        self._hang_up = hang_up
        self._tap = tap
        self._listener: PlayoutListener | None = None
        self._ahead_s = settings.send_ahead_ms / 1000
        self._floor_s = settings.line_delay_ms / 1000
        self._grace_s = settings.echo_grace_ms / 1000
        self._lags_s: deque[float] = deque(maxlen=_RECENT_ECHOES)
        self._generation = 0
        self._clear_due = False
        self._held = False
        """Nothing goes out until `resume` or `clear`."""
        self._queue: deque[_Frame | _Clause] = deque()
        """Frames, and after its last frame a clause, which stands for its mark."""
        self._echoes: deque[_Echo] = deque()
        self._given_up: dict[str, float] = {}
        """Clauses of this generation that count as played for want of an echo, and when their audio ended: an echo that
        comes all the same tells how long the way is."""
        self._reply: list[_Clause] = []
        self._filling: _Clause | None = None
        """The clause that chunks are queued for."""
        self._closed_ids: set[str] = set()
        self._play_end_s = clock.now_s()
        """When the carrier ends playing what was sent."""
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._over = False
        self.stats = PacingStats()

    def attach(self, listener: PlayoutListener) -> None:
        """Tell `listener` from now on."""
        self._listener = listener

    @property
    def generation(self) -> int:
        """How often the line was cleared."""
        return self._generation

    # What the call does (pipeline.ports.AudioOutput)

    def play(self, clause_id: str, chunk: SpeechChunk) -> None:
        """Queue a chunk of a clause. A clause that comes after an unfinished one ends that one.

        Chunks of a clause that was cleared are dropped: its speaker may not know yet. Raises ValueError for a chunk of
        a clause that is over or for a change of sample rate within one.
        """
        if self._over or clause_id in self._closed_ids:
            return
        clause = self._filling
        if clause is None or clause.id != clause_id:
            if any(clause_id == other.id for other in self._reply):
                raise ValueError(
                    f"clause {clause_id!r}: expected chunks before its last one and before the next clause"
                )
            if clause is not None:
                self._close(clause)
            clause = _Clause(
                clause_id, chunk.sample_rate_hz, Resampler(chunk.sample_rate_hz, WIRE_RATE_HZ), words=chunk.words
            )
            self._filling = clause
            self._reply.append(clause)
        elif chunk.sample_rate_hz != clause.rate_hz:
            raise ValueError(
                f"clause {clause_id!r}: expected {clause.rate_hz} Hz throughout, got {chunk.sample_rate_hz}"
            )
        self._enqueue(clause, clause.framer.push(float_to_ulaw(clause.resampler.process(chunk.pcm))))
        if chunk.last:
            clause.finished = True
            self._close(clause)
        self._changed()

    def clear(self) -> tuple[HeardClause, ...]:
        """Silence now; what was heard of the reply until now. See pipeline.ports.AudioOutput.

        Chunks that still come for its clauses are dropped; a clause of which none was said before is a new one.
        """
        now_s = self._clock.now_s()
        for clause in self._reply:
            clause.cut_s = clause.place_s(now_s - self._lag_s)
        self._closed_ids.update(clause.id for clause in self._reply if not clause.played)
        self._queue.clear()
        self._filling = None
        self._flush(now_s)
        self._held = False
        return self.heard()

    def pause(self) -> tuple[HeardClause, ...]:
        """Silence now, and keep what was not heard. See pipeline.ports.AudioOutput."""
        now_s = self._clock.now_s()
        heard = self.heard()
        self._queue.clear()
        for clause in self._reply:
            if not clause.played and clause.cut_s is None:
                rest = clause.frames[clause.rewind(now_s - self._lag_s) :]
                self._queue.extend(_Frame(clause, ulaw, now_s) for ulaw in rest)
                if clause.closed:
                    self._queue.append(clause)
        self._flush(now_s)
        self._held = True
        return heard

    def resume(self) -> None:
        """Go on after a hold; without one, nothing happens."""
        self._held = False
        now_s = self._clock.now_s()
        self._queue = deque(
            _Frame(head.clause, head.ulaw, now_s) if isinstance(head, _Frame) else head for head in self._queue
        )
        self._changed()

    def heard(self) -> tuple[HeardClause, ...]:
        """What was heard so far of the reply's clauses, in order: never more than was played."""
        play_s = self._clock.now_s() - self._lag_s
        return tuple(clause.heard(play_s) for clause in self._reply)

    def start_reply(self) -> None:
        """Begin a new ledger."""
        if self._filling is not None:
            self._close(self._filling)
            self._changed()
        self._reply = []

    async def wait_for_playout(self) -> None:
        """Wait until everything queued was played or flushed, or the line is gone."""
        await self._settled.wait()

    async def hang_up(self) -> None:
        """End the call once everything queued was played."""
        await self.wait_for_playout()
        await self._hang_up()

    def _flush(self, now_s: float) -> None:
        """Have the carrier drop what it has: a new playback generation."""
        self._echoes.clear()
        self._given_up.clear()
        self._generation += 1
        if not self._held:
            self._clear_due = True
            self._play_end_s = now_s
            if self._tap is not None:
                self._tap.cleared(now_s)
        self._changed()

    # What the session does

    def mark_echoed(self, name: str) -> bool:
        """A mark came back. False if it is of an older generation (it was flushed) or not waited for."""
        generation, _, clause_id = name.partition(":")
        if generation != str(self._generation):
            return False
        now_s = self._clock.now_s()
        place = next((i for i, echo in enumerate(self._echoes) if echo.clause.id == clause_id), None)
        if place is None:
            end_s = self._given_up.pop(clause_id, None)
            if end_s is not None:
                self._lags_s.append(now_s - end_s)
            return False
        echo = self._echoes[place]
        if now_s >= echo.end_s:
            self._lags_s.append(now_s - echo.end_s)
        for earlier in list(self._echoes)[: place + 1]:
            # The carrier plays in order, so marks before this one are over too; and audio cannot have been played
            # before its time has passed, whatever the echo says.
            earlier.due_s = min(earlier.due_s, earlier.end_s)
        self._wake.set()
        self._count_played(now_s)
        return True

    async def run(self) -> None:
        """Send what is queued until cancelled. Raises LineLost.

        Waits on the event loop's timers, which `LoopClock` reads too.
        """
        try:
            while True:
                self._wake.clear()
                if self._clear_due:
                    self._clear_due = False
                    await self._outlet.clear()
                    continue
                now_s = self._clock.now_s()
                self._count_played(now_s)
                head = self._queue[0] if self._queue and not self._held else None
                if isinstance(head, _Clause):
                    self._queue.popleft()
                    await self._send_mark(head, now_s)
                elif head is not None and (due_s := self._due_s(head)) <= now_s + _TICK_S:
                    self._queue.popleft()
                    self.stats.add(now_s - due_s)
                    await self._send_frame(head)
                else:
                    await self._pause(now_s)
        finally:
            self._over = True
            self._queue.clear()
            self._echoes.clear()
            self._settled.set()

    def _due_s(self, frame: _Frame) -> float:
        """When a frame may go out: once it is there, and no further ahead of the playback clock than allowed."""
        return max(frame.queued_s, self._play_end_s - self._ahead_s)

    async def _pause(self, now_s: float) -> None:
        """Until something is due or the call wants something."""
        next_s = self._next_s(now_s)
        if next_s is None:
            await self._wake.wait()
            return
        # Not `asyncio.timeout`: its time-out cancels this task to wake it, four times the work, for every frame.
        timer = asyncio.get_running_loop().call_later(next_s - now_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _next_s(self, now_s: float) -> float | None:
        """When something is due; None if nothing is."""
        head = self._queue[0] if self._queue and not self._held else None
        next_s = self._due_s(head) if isinstance(head, _Frame) else None
        if self._echoes:
            echo_s = self._echoes[0].due_s
            next_s = echo_s if next_s is None else min(next_s, echo_s)
        if next_s is None and not self._held:
            quiet_s = self._play_end_s + self._lag_s
            if self._filling is None or quiet_s <= now_s + _TICK_S:
                self._settled.set()
            else:
                next_s = quiet_s
        return next_s

    async def _send_frame(self, frame: _Frame) -> None:
        generation = self._generation
        await self._outlet.audio(frame.ulaw)
        if generation != self._generation:
            return  # cleared while it was under way: the clear goes out behind it, nobody hears it
        now_s = self._clock.now_s()
        clause = frame.clause
        span = clause.spans[-1] if clause.spans else None
        self._play_end_s = max(now_s, self._play_end_s)
        if span is None or self._play_end_s > span.play_s + span.length_s + _TICK_S:
            clause.spans.append(_Span(clause.sent_s, self._play_end_s))
        if self._tap is not None:
            self._tap.sent(frame.ulaw, self._play_end_s)
        clause.spans[-1].length_s += FRAME_S
        self._play_end_s += FRAME_S
        if not clause.audible and ulaw_level_dbfs(frame.ulaw) > AUDIBLE_DBFS:
            clause.audible = True
            if self._listener is not None:
                self._listener.first_audio_sent(clause.id)

    async def _send_mark(self, clause: _Clause, now_s: float) -> None:
        end_s = self._play_end_s
        # Listed before it is sent: the echo may be read before the send returns.
        self._echoes.append(_Echo(clause, end_s, max(end_s, now_s) + self._floor_s + self._grace_s))
        await self._outlet.mark(f"{self._generation}:{clause.id}")

    def _count_played(self, now_s: float) -> None:
        while self._echoes and self._echoes[0].due_s <= now_s + _TICK_S:
            echo = self._echoes.popleft()
            clause = echo.clause
            if now_s > echo.end_s + self._floor_s:
                self._given_up[clause.id] = echo.end_s
            clause.played = True
            if self._listener is not None:
                self._listener.clause_played(clause.id)

    @property
    def _lag_s(self) -> float:
        """How long after its time on the playback clock audio is surely heard."""
        return max(self._floor_s, *self._lags_s) if self._lags_s else self._floor_s

    def _changed(self) -> None:
        self._wake.set()
        if not self._over:
            self._settled.clear()

    def _enqueue(self, clause: _Clause, frames: list[bytes]) -> None:
        now_s = self._clock.now_s()
        clause.frames += frames
        self._queue.extend(_Frame(clause, ulaw, now_s) for ulaw in frames)

    def _close(self, clause: _Clause) -> None:
        """No more of it comes: queue what is left of it, and its mark."""
        self._enqueue(clause, clause.framer.push(float_to_ulaw(clause.resampler.flush())))
        self._enqueue(clause, clause.framer.flush())
        clause.closed = True
        self._queue.append(clause)
        self._filling = None
