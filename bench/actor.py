"""The simulated caller's ear and mind: what the phone plays, and what the caller does, one 20 ms frame after another.

No clock and no socket in here: time is counted in samples of the wire's timeline and moves with `Actor.next_frame`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.script import HangUp, Script, Turn
from bench.v2v import AUDIBLE_DBFS, REPLY_GAP_MS, SpokenLine, TurnKind, TurnRecord, agent_spans, measure_turns
from bench.voices import NoiseSource, RenderedLine
from models.types import FloatAudio
from telephony.audio import FRAME_BYTES, ULAW_SILENCE, WIRE_RATE_HZ, ulaw_level_dbfs, ulaw_to_float

_UNDERRUN_LIMIT = WIRE_RATE_HZ // 5
"""A hole longer than this is a pause in the agent's speech, not audio that came late."""

_KEY_EVERY = 10
"""Frames from one keypress to the next."""


EventKind = Literal["connected", "line_began", "line_ended", "reply_began", "reply_ended", "key", "ended"]


@dataclass(frozen=True, slots=True)
class CallerEvent:
    """Something the caller did or noticed, as it happens."""

    kind: EventKind
    at_s: float
    """Seconds on the wire's timeline."""
    turn: int
    """Index in the script; -1 before the first turn."""
    text: str = ""
    """The line, the key, or why the call ended."""
    measured: TurnRecord | None = None
    """With 'reply_began': the turn as measured so far, V2V included."""


OnEvent = Callable[[CallerEvent], None]


class Playback:
    """The carrier's buffer and the phone's loudspeaker, as Twilio does it.

    Audio is played in real time in the order it comes, a mark comes back once what was sent before it has been
    played, `clear` drops what has not been played and gives all outstanding marks back at once.
    """

    def __init__(self) -> None:
        self._sound = bytearray()
        self._end = 0
        self._marks: list[tuple[int, str]] = []
        self._marked = True
        self.clears: list[int] = []
        """Samples at which the buffer was dropped."""
        self.marks_received = 0
        self.marks_played = 0
        self.underruns = 0
        self.underrun_samples = 0

    def media(self, ulaw: bytes, now: int) -> None:
        """Audio has come at sample `now`: it plays at once, or after what is buffered."""
        start = max(self._end, now)
        if not self._marked and 0 < start - self._end <= _UNDERRUN_LIMIT:
            self.underruns += 1
            self.underrun_samples += start - self._end
        self._sound.extend(bytes([ULAW_SILENCE]) * (start - len(self._sound)))
        self._sound.extend(ulaw)
        self._end = start + len(ulaw)
        self._marked = False

    def mark(self, name: str, now: int) -> None:
        """A mark has come; `due` gives it back when it is time."""
        self.marks_received += 1
        self._marks.append((max(self._end, now), name))
        self._marked = True

    def clear(self, now: int) -> list[str]:
        """Drop what has not been played by sample `now`; all outstanding marks, to be echoed at once."""
        flushed = self.due(now) + [name for _, name in self._marks]
        self._marks.clear()
        del self._sound[now:]
        self._end = min(self._end, now)
        self._marked = True
        self.clears.append(now)
        return flushed

    def due(self, now: int) -> list[str]:
        """Marks whose audio has been played by sample `now`, in order; each is given once."""
        ready = [name for at, name in self._marks if at <= now]
        self._marks = [(at, name) for at, name in self._marks if at > now]
        self.marks_played += len(ready)
        return ready

    def played(self, since: int, until: int) -> bytes:
        """What came out of the loudspeaker in samples [since, until), filled up with silence."""
        sound = bytes(self._sound[since:until])
        return sound + bytes([ULAW_SILENCE]) * (until - since - len(sound))


class Actor:
    """Plays a script: speaks, listens, breaks in, presses keys, hangs up."""

    def __init__(
        self,
        script: Script,
        lines: Sequence[RenderedLine | None],
        playback: Playback,
        noises: Sequence[NoiseSource],
        on_event: OnEvent,
    ) -> None:
        """`lines` holds what is said in each turn of the script, None where nothing is."""
        self._script = script
        self._rendered = lines
        self._playback = playback
        self._noises = noises
        self._on_event = on_event
        self._now = 0
        self._mouth: FloatAudio = np.zeros(0, dtype=np.float32)
        self._keys: list[str] = []
        self._done: list[SpokenLine] = []
        self._acting = self._act_script()

    @property
    def now(self) -> int:
        """Samples of the call so far; the next frame begins here."""
        return self._now

    def next_frame(self) -> FloatAudio | None:
        """The caller's next 20 ms, shape (160,), or None: the caller has hung up."""
        if next(self._acting, "hung up") == "hung up":
            return None
        said, self._mouth = self._mouth[:FRAME_BYTES], self._mouth[FRAME_BYTES:]
        frame = np.zeros(FRAME_BYTES, dtype=np.float32)
        frame[: len(said)] = said
        for noise in self._noises:
            frame += noise.next(FRAME_BYTES)
        self._now += FRAME_BYTES
        return frame

    def take_keys(self) -> list[str]:
        """Keys pressed since the last time."""
        keys, self._keys = self._keys, []
        return keys

    def lines(self) -> list[SpokenLine]:
        """What the caller did so far, with lines that were broken off cut to what was said."""
        return [replace(line, start=min(line.start, self._now), end=min(line.end, self._now)) for line in self._done]

    def _act_script(self) -> Iterator[None]:
        if self._script.greeting.wait:
            yield from self._hear_out(self._begin(-1, "greeting", ""), self._script.max_wait_ms)
        for index, turn in enumerate(self._script.turns):
            yield from self._act_turn(index, turn)
        if self._script.ended_by == "agent":
            yield from self._pass(self._script.max_wait_ms)

    def _act_turn(self, index: int, turn: Turn) -> Iterator[None]:
        script = self._script
        if turn.interrupt is not None:
            yield from self._pass(turn.interrupt.after_ms)
        if turn.hang_up is not None:
            yield from self._hang_up(index, turn.hang_up)
        elif turn.wait_ms is not None:
            self._begin(index, "wait", "")
            yield from self._pass(turn.wait_ms)
        elif turn.silence_ms is not None:
            yield from self._hear_out(self._begin(index, "silence", ""), turn.silence_ms)
        elif turn.dtmf:
            line = self._begin(index, "dtmf", turn.dtmf)
            for key in turn.dtmf:
                self._keys.append(key)
                self._tell("key", index, key)
                yield from self._frames(_KEY_EVERY)
            yield from self._hear_out(replace(line, start=self._now, end=self._now), script.max_wait_ms)
        else:
            line = yield from self._speak(index, turn)
            after = script.turns[index + 1] if index + 1 < len(script.turns) else None
            if after is not None and _breaks_in(after):
                yield from self._until_reply(line, script.max_wait_ms)
            else:
                yield from self._hear_out(line, script.max_wait_ms)

    def _hang_up(self, index: int, hang_up: HangUp) -> Iterator[None]:
        rendered = self._rendered[index]
        if rendered is not None:
            self._begin_line(index, "hang_up", rendered)
            yield from self._frames(rendered.audible.start // FRAME_BYTES)
        else:
            self._begin(index, "hang_up", "")
        if hang_up.moment != "now":
            yield from self._pass(hang_up.after_ms)

    def _speak(self, index: int, turn: Turn) -> Generator[None, None, SpokenLine]:
        rendered = self._rendered[index]
        assert rendered is not None, "a turn with a line has been rendered"
        line = self._begin_line(index, turn.kind, rendered)
        while self._now < line.end:
            yield
        self._tell("line_ended", index, line.text)
        return line

    def _begin_line(self, index: int, kind: TurnKind, rendered: RenderedLine) -> SpokenLine:
        self._mouth = rendered.pcm
        start, end = self._now + rendered.audible.start, self._now + rendered.audible.end
        line = SpokenLine(index, kind, rendered.text, start, end)
        self._done.append(line)
        self._tell("line_began", index, rendered.text)
        return line

    def _begin(self, index: int, kind: TurnKind, text: str) -> SpokenLine:
        line = SpokenLine(index, kind, text, self._now, self._now)
        self._done.append(line)
        return line

    def _hear_out(self, line: SpokenLine, max_wait_ms: int) -> Iterator[None]:
        """Listen until the agent has answered and fallen silent."""
        if not (yield from self._until_reply(line, max_wait_ms)):
            return
        began = last_audible = self._now
        pause, longest = _samples(self._script.pause_ms), _samples(self._script.max_reply_ms)
        while self._now - last_audible < pause and self._now - began < longest:
            yield
            if self._hears():
                last_audible = self._now
        self._tell("reply_ended", line.turn, "")

    def _until_reply(self, line: SpokenLine, max_wait_ms: int) -> Generator[None, None, bool]:
        """Listen until the reply to a line is audible; False if none is within the time."""
        deadline = self._now + _samples(max_wait_ms)
        while self._now < deadline:
            if self._hears() and self._is_reply(line):
                measured = self._measured(line)
                self._on_event(
                    CallerEvent("reply_began", self._now / WIRE_RATE_HZ, line.turn, line.text, measured=measured)
                )
                return True
            yield
        return False

    def _hears(self) -> bool:
        """Whether the agent was audible in the frame that has just passed."""
        since = max(0, self._now - FRAME_BYTES)
        return ulaw_level_dbfs(self._playback.played(since, self._now)) >= AUDIBLE_DBFS

    def _is_reply(self, line: SpokenLine) -> bool:
        """Whether what is audible now began with or after the line, and is not the rest of a reply before it."""
        since = max(0, line.start - _samples(REPLY_GAP_MS))
        heard = ulaw_to_float(self._playback.played(since, self._now))
        spans = agent_spans(heard, [cut - since for cut in self._playback.clears])
        return bool(spans) and spans[-1].start >= line.start - since

    def _measured(self, line: SpokenLine) -> TurnRecord:
        agent = ulaw_to_float(self._playback.played(0, self._now))
        return measure_turns([line], agent, self._playback.clears)[0]

    def _pass(self, duration_ms: int) -> Iterator[None]:
        yield from self._frames(duration_ms * WIRE_RATE_HZ // 1000 // FRAME_BYTES)

    def _frames(self, count: int) -> Iterator[None]:
        for _ in range(count):
            yield

    def _tell(self, kind: EventKind, turn: int, text: str) -> None:
        self._on_event(CallerEvent(kind, self._now / WIRE_RATE_HZ, turn, text))


def _breaks_in(turn: Turn) -> bool:
    return turn.interrupt is not None or (turn.hang_up is not None and turn.hang_up.moment == "mid_reply")


def _samples(duration_ms: int) -> int:
    return duration_ms * WIRE_RATE_HZ // 1000
