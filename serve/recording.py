"""What a call leaves behind: `runs/<UTC time>-<call sid>/` with its events and a stereo recording.

Left is the caller as received, right the agent as *played*: audio that a `clear` threw away is not in it. Everything
is decoded and written on a thread of the recorder's own, as the call goes, so that neither a slow disk nor a long
call costs the gateway anything: at most a sliding window of audio is held in memory.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.events import Event, to_json
from telephony.audio import WIRE_RATE_HZ, Pcm16, WavWriter, ulaw_to_pcm16

log = logging.getLogger(__name__)

EVENTS_FILE = "events.jsonl"
AUDIO_FILE = "call.wav"

SETTLED_S = 2.0
"""Audio older than this is written: no `clear` reaches further back, and jitter is far below it."""
WRITE_BLOCK_S = 1.0
"""Audio is written in blocks of about this length; a killed process loses at most this, `SETTLED_S` and
`DRAIN_EVERY_S`."""
LATE_S = 10.0
"""For how long the caller's audio may fall behind before its absence is written as silence."""
AHEAD_S = 30.0
"""Audio placed further than this into the future is left out: memory stays bounded whatever a peer sends."""
QUEUE_LIMIT = 10_000
"""Frames waiting for the disk (100 s of both sides) beyond which audio is left out. Events never are."""
DRAIN_EVERY_S = 0.5
"""What came in is taken in batches: a thread that wakes for each frame costs a gateway with many calls a third of its
time, and every time it wakes it takes the interpreter's lock from the event loop."""
LAG_FRAMES = 50
"""A lag that every one of so many frames in a row shares is lost audio, not jitter."""
LAG_TOLERANCE_S = 0.1


class StereoWindow:
    """Places both sides on one time axis and hands over what can no longer change. Pure; counts in samples at 8 kHz."""

    def __init__(self) -> None:
        self._base = 0
        self._now = 0
        self._left = bytearray()
        self._right: deque[tuple[int, Pcm16]] = deque()
        self._lags: deque[int] = deque(maxlen=LAG_FRAMES)

    @property
    def held_samples(self) -> int:
        """Samples of both sides in memory."""
        return len(self._left) // 2 + sum(pcm.size for _, pcm in self._right)

    @property
    def settled_samples(self) -> int:
        """Stereo samples that can be taken now."""
        settled = self._now - _samples(SETTLED_S)
        if settled - self._left_end < _samples(LATE_S):
            settled = min(settled, self._left_end)
        return max(0, settled - self._base)

    @property
    def _left_end(self) -> int:
        return self._base + len(self._left) // 2

    def time_is(self, at_s: float) -> None:
        """The call has got to this time."""
        self._now = max(self._now, _samples(at_s))

    def received(self, pcm: Pcm16, at_s: float) -> bool:
        """The caller's audio, whose first sample came in at `at_s`; false if there is no room for it.

        Frames follow one another without gaps however they jitter; silence is put in only where audio is missing.
        """
        self.time_is(at_s + pcm.size / WIRE_RATE_HZ)
        if self._left_end + pcm.size > self._now + _samples(AHEAD_S):
            return False
        lag = _samples(at_s) - self._left_end
        self._lags.append(lag)
        tolerance = _samples(LAG_TOLERANCE_S)
        if lag > tolerance and len(self._lags) == LAG_FRAMES and (shared := min(self._lags)) > tolerance:
            self._left += bytes(2 * shared)
            self._lags.clear()
        self._left += pcm.tobytes()
        return True

    def sent(self, pcm: Pcm16, play_at_s: float) -> bool:
        """The agent's audio, heard from `play_at_s` on; false if that is too far ahead."""
        start = _samples(play_at_s)
        if self._right:
            last_start, last = self._right[-1]
            end = last_start + last.size
            # Rounding of times must not tear continuous speech apart: 5 ms is less than a frame and cannot be heard.
            start = end if abs(start - end) <= WIRE_RATE_HZ // 200 else start
        if start + pcm.size > self._now + _samples(AHEAD_S):
            return False
        self._right.append((start, pcm))
        return True

    def cleared(self, at_s: float) -> None:
        """The carrier dropped what it had not played by then."""
        self.time_is(at_s)
        self._cut_right(_samples(at_s))

    def take(self, *, everything: bool = False) -> Pcm16:
        """What is settled, interleaved left, right; with `everything`, all until now (the call is over)."""
        if everything:
            self._cut_right(max(self._now, self._left_end))
            right_end = max((start + pcm.size for start, pcm in self._right), default=0)
            count = max(self._left_end, right_end) - self._base
        else:
            count = self.settled_samples
        block = np.zeros((max(0, count), 2), np.int16)
        left = np.frombuffer(bytes(self._left[: 2 * count]), np.int16)
        block[: left.size, 0] = left
        del self._left[: 2 * count]
        end = self._base + count
        later: deque[tuple[int, Pcm16]] = deque()
        for start, pcm in self._right:
            first, last = max(start, self._base), min(start + pcm.size, end)
            if first < last:
                block[first - self._base : last - self._base, 1] = pcm[first - start : last - start]
            if start + pcm.size > end:
                later.append((start, pcm))
        self._right = later
        self._base = end
        return block.reshape(-1)

    def _cut_right(self, end: int) -> None:
        self._right = deque((start, pcm[: end - start]) for start, pcm in self._right if start < end)


@dataclass(frozen=True, slots=True)
class _Received:
    ulaw: bytes
    at_s: float


@dataclass(frozen=True, slots=True)
class _Sent:
    ulaw: bytes
    play_at_s: float


@dataclass(frozen=True, slots=True)
class _Cleared:
    at_s: float


class RunRecorder:
    """Writes one call's folder. Takes events as a listener of the log, audio as the tap of the line.

    Every method but `close` returns at once. A disk that fails ends the recording, never the call: the reason is
    logged and kept in `failure`. Raises OSError on creation if the folder cannot be made.
    """

    def __init__(self, root: Path, call_sid: str, wall_time_s: float) -> None:
        self.folder = _make_folder(root, call_sid, wall_time_s)
        self.failure: str | None = None
        """Why the recording is not whole; None if it is."""
        self._waiting: deque[Event | _Received | _Sent | _Cleared] = deque()
        """Put in by the event loop, taken out by the thread; neither needs a lock for it."""
        self._stopped = False
        self._closing = threading.Event()
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name=f"recorder-{self.folder.name}", daemon=True)
        self._thread.start()

    def on_event(self, event: Event) -> None:
        if not self._stopped:
            self._waiting.append(event)

    def received(self, ulaw: bytes, at_s: float) -> None:
        """The caller's audio; `at_s` is when its first sample reached us."""
        self._put_audio(_Received(ulaw, at_s))

    def sent(self, ulaw: bytes, play_at_s: float) -> None:
        """The agent's audio as it went out, and when the carrier starts to play it."""
        self._put_audio(_Sent(ulaw, play_at_s))

    def cleared(self, at_s: float) -> None:
        """What was sent but not played by `at_s` has been dropped."""
        if not self._stopped:
            self._waiting.append(_Cleared(at_s))

    async def close(self) -> None:
        """Write what is left. Calling it twice does no harm."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join)

    def _put_audio(self, item: _Received | _Sent) -> None:
        if self._stopped:
            return
        if len(self._waiting) < QUEUE_LIMIT:
            self._waiting.append(item)
        else:
            self._leave_out("the disk does not keep up")

    def _leave_out(self, why: str) -> None:
        if not self._left_out:
            self.failure = f"audio was left out of {AUDIO_FILE}: {why}"
            log.error("%s: %s", self.folder, self.failure)
        self._left_out += 1

    def _run(self) -> None:
        try:
            self._write_all()
        except OSError as error:
            self.failure = f"recording stopped: {error}"
            log.error("%s: %s", self.folder, self.failure)
            self._stopped = True
            self._waiting.clear()

    def _write_all(self) -> None:
        window, wav = StereoWindow(), WavWriter(self.folder / AUDIO_FILE, channels=2)
        try:
            with (self.folder / EVENTS_FILE).open("w", encoding="utf-8") as events:
                over = False
                while not over:
                    over = self._closing.wait(DRAIN_EVERY_S)
                    while self._waiting:
                        self._take(self._waiting.popleft(), window, events.write)
                        if window.settled_samples >= _samples(WRITE_BLOCK_S):
                            wav.write(window.take())
                    events.flush()
            wav.write(window.take(everything=True))
        finally:
            wav.close()

    def _take(
        self, item: Event | _Received | _Sent | _Cleared, window: StereoWindow, write: Callable[[str], int]
    ) -> None:
        match item:
            case _Received(ulaw, at_s):
                placed = window.received(ulaw_to_pcm16(ulaw), at_s)
            case _Sent(ulaw, play_at_s):
                placed = window.sent(ulaw_to_pcm16(ulaw), play_at_s)
            case _Cleared(at_s):
                window.cleared(at_s)
                placed = True
            case _:
                window.time_is(item.at_s)
                write(to_json(item) + "\n")
                placed = True
        if not placed:
            self._leave_out(f"it lies more than {AHEAD_S:.0f} s ahead of the call")


def _make_folder(root: Path, call_sid: str, wall_time_s: float) -> Path:
    """A new folder; the call sid comes off the wire, so nothing of it but letters, digits, - and _ gets into a path."""
    time = datetime.fromtimestamp(wall_time_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{time}-{re.sub(r'[^A-Za-z0-9_-]', '_', call_sid)[:64] or 'call'}"
    for attempt in range(1, 1000):
        folder = root / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(
        f"{root / name}: 999 folders of this name exist; expected to find a free one; remove old runs"
    )


def _samples(seconds: float) -> int:
    return round(seconds * WIRE_RATE_HZ)
