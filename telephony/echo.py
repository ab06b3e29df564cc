"""The agent's own voice coming back over the line, told from the caller's.

The delay is found by normalised cross-correlation of the last 256 ms with what was played; then a filter of 8 ms is
fitted by least squares at that delay, and a frame is echo if the filter, as learnt before it, accounts for most of its
energy. Correlation alone cannot let a caller through in time: for 200 ms after he begins its window still matches.

Measured (tests/telephony/test_echo.py): of the speech-active echo frames, 93 to 95% of recorded speech at 180 ms and
-6 to -30 dB are taken out, 73 to 98% of synthetic speech at 60 to 600 ms. What gets through comes in runs of up to
160 ms, mostly before the delay is found: less than silences the agent. Long tails (20 ms) are gated less, 76 to 89%.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.types import FloatAudio
from telephony.audio import FRAME_BYTES, WIRE_RATE_HZ, level_dbfs, overlapping, ulaw_to_float
from telephony.playout import MediaTap

_Doubles = npt.NDArray[np.float64]

SILENT_DBFS: Final = -55.0
"""Audio below this level is neither speech nor worth a look."""

MAX_DELAY_S: Final = 0.8
"""Longest way from being played at the carrier to coming back."""

KEPT_S: Final = 1.5
"""How much of what was sent is kept: the longest delay, a window, and what is sent ahead of its time."""

MATCH: Final = 0.6
"""Normalised cross-correlation from which a delay is taken for an echo's."""

EXPLAINED: Final = 0.6
"""Share of a frame's energy that the echo path must account for: the rest lies 4 dB below it or lower."""

_WINDOW: Final = 2_048
"""Received samples that are looked for in what was sent: 256 ms."""

_LAGS: Final = round(MAX_DELAY_S * WIRE_RATE_HZ)

_FFT: Final = 5_400
"""Two of them hold window and lags, each with lags of its own: half the time of one that holds all. 2^3 * 3^3 * 5^2."""

_LAGS_EACH: Final = _FFT - _WINDOW + 1
"""Lags of one transform in which nothing wraps round."""

_TAPS: Final = 64
"""Length of the path's filter, 8 ms: what a hybrid smears."""

_BEFORE: Final = _TAPS // 4
"""Taps that lie before the delay found."""

_REACH: Final = _LAGS + _TAPS
"""Samples after which nothing of what was sent comes back any more."""

_FORGET: Final = 0.97
"""Weight of what a path has learnt, for each frame learnt since: half is forgotten in 0.45 s of echo."""

_RIDGE: Final = 1e-3
"""Share of the played power added to each tap's own, so that tones cannot make the fit blow up."""
_FLOOR: Final = 1e-6
"""Power below which nothing is divided by: -60 dBFS."""
_EMPHASIS: Final = 0.9
"""First-order pre-emphasis of what is correlated: speech falls off by some 6 dB an octave."""

_SNAP: Final = 2
"""Samples by which a time may be off for the audio still to follow on what came before."""

_RELEARN_FRAMES: Final = 4
"""After 80 ms without one explained frame the path may have changed: it is learnt afresh."""

_LEAST_JUDGED: Final = FRAME_BYTES // 2


class _Track:
    """The last `kept` samples or more of one direction, by number on the call's clock; zero where there is nothing."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._samples: FloatAudio = np.zeros(4 * kept, np.float32)
        self._from = 0
        self.end = 0
        """Number of the sample after the last."""

    def put(self, samples: FloatAudio, at: int) -> None:
        """Add samples that begin at `at`; times that are a rounding off the end of what is there follow on it."""
        if abs(at - self.end) <= _SNAP:
            at = self.end
        stop = at + samples.size
        if at < self._from or stop > self._from + self._samples.size:
            recent = self.window(at - self._kept, self._kept)
            self._samples[:] = 0.0
            self._samples[: self._kept] = recent
            self._from = at - self._kept
        elif at < self.end:
            self.cut(at)
        place = at - self._from
        self._samples[place : place + samples.size] = samples
        self.end = stop

    def cut(self, at: int) -> None:
        """From `at` on there is nothing."""
        if at < self.end:
            self._samples[max(0, at - self._from) : max(0, self.end - self._from)] = 0.0
            self.end = at

    def window(self, start: int, size: int) -> FloatAudio:
        """`size` samples from `start` on."""
        place = start - self._from
        if place >= 0 and place + size <= self._samples.size:
            return self._samples[place : place + size]
        out: FloatAudio = np.zeros(size, np.float32)
        low, high = max(0, place), min(self._samples.size, place + size)
        if low < high:
            out[low - place : high - place] = self._samples[low:high]
        return out


class EchoGuard:
    """One call's guard. It is a `MediaTap` and hands what it is told to the tap it was given."""

    def __init__(self, tap: MediaTap | None = None) -> None:
        self._tap = tap
        self._sent = _Track(round(KEPT_S * WIRE_RATE_HZ))
        self._received = _Track(_WINDOW)
        self._audible_end = -_WINDOW - _REACH
        """Number of the sample after the last frame sent that can be heard."""
        self._path: _Path | None = None
        self._unexplained = 0
        """Frames in a row that the path did not explain."""
        self._unjudged = 0
        """Samples received since the last judgement."""
        self._echo = False

    def received(self, ulaw: bytes, at_s: float) -> None:
        """See MediaTap: for the other tap only."""
        if self._tap is not None:
            self._tap.received(ulaw, at_s)

    def sent(self, ulaw: bytes, play_at_s: float) -> None:
        """See MediaTap."""
        if self._tap is not None:
            self._tap.sent(ulaw, play_at_s)
        audio = ulaw_to_float(ulaw)
        self._sent.put(audio, round(play_at_s * WIRE_RATE_HZ))
        if level_dbfs(audio) > SILENT_DBFS:
            self._audible_end = self._sent.end

    def cleared(self, at_s: float) -> None:
        """See MediaTap."""
        if self._tap is not None:
            self._tap.cleared(at_s)
        at = round(at_s * WIRE_RATE_HZ)
        self._sent.cut(at)
        self._audible_end = min(self._audible_end, at)

    def is_echo(self, audio: FloatAudio, at_s: float) -> bool:
        """Whether this audio, float32 (n,), 8 kHz, the next that came in, is only the agent's voice.

        `at_s` is when its end had come in, on the clock of `sent`. Pieces shorter than 10 ms are judged together:
        one that completes no 10 ms is taken for what the one before was.
        """
        if not audio.size:
            return False
        self._received.put(audio, round(at_s * WIRE_RATE_HZ) - audio.size)
        end = self._received.end
        if end - audio.size > self._audible_end + _REACH:
            self._echo = False
            self._unexplained = self._unjudged = 0
            return False
        if level_dbfs(audio) < SILENT_DBFS:
            return False
        self._unjudged += audio.size
        if self._unjudged >= _LEAST_JUDGED:
            self._unjudged = 0
            self._echo = self._judge(end)
        return self._echo

    def _judge(self, end: int) -> bool:
        """Whether the 20 ms up to sample number `end` are echo; learns from them if so."""
        start = end - FRAME_BYTES
        got = self._received.window(start, FRAME_BYTES)
        if self._path is not None:
            rows = self._rows(start, FRAME_BYTES, self._path.lag)
            if self._path.explains(rows, got):
                self._path.learn(rows, got)
                self._unexplained = 0
                return True
        self._unexplained += 1
        lag = self._search(end)
        if lag is None:
            return False
        if self._path is not None and abs(lag - self._path.lag) <= _BEFORE and self._unexplained < _RELEARN_FRAMES:
            return False  # the window still matches by what came before the caller began to speak
        path = _Path(lag)
        path.learn(self._rows(end - _WINDOW, _WINDOW, lag), self._received.window(end - _WINDOW, _WINDOW))
        if not path.explains(self._rows(start, FRAME_BYTES, lag), got):
            return False
        self._path = path
        self._unexplained = 0
        return True

    def _rows(self, start: int, size: int, lag: int) -> FloatAudio:
        """What was sent around the time of each received sample less the lag, oldest first, shape (size, taps)."""
        first = start - lag + _BEFORE - (_TAPS - 1)
        return overlapping(self._sent.window(first, size + _TAPS - 1), size, _TAPS)

    def _search(self, end: int) -> int | None:
        """The lag at which the last window of received audio matches what was sent; None if it does at none."""
        got = _emphasised(self._received.window(end - _WINDOW, _WINDOW))
        sent = _emphasised(self._sent.window(end - _WINDOW - _LAGS, _WINDOW + _LAGS))
        halves = np.zeros((2, _FFT), np.float32)
        halves[0] = sent[:_FFT]
        halves[1, : sent.size - _LAGS_EACH] = sent[_LAGS_EACH:]
        spectra = np.fft.rfft(halves) * np.conj(np.fft.rfft(got, _FFT))
        product = np.fft.irfft(spectra, _FFT)[:, :_LAGS_EACH].reshape(-1)[: _LAGS + 1]
        running = np.zeros(sent.size + 1)
        np.cumsum(np.square(sent, dtype=np.float64), out=running[1:])
        energy = (running[_WINDOW:] - running[: _LAGS + 1]).astype(np.float32)
        # The square of the normalised cross-correlation, but for what was received, which is the same at each lag.
        match = np.square(product) / (np.maximum(energy, 0.0) + np.float32(_FLOOR))
        best = int(np.argmax(match))
        return _LAGS - best if match[best] >= MATCH**2 * (float(np.dot(got, got)) + _FLOOR) else None


class _Path:
    """A delay and a short filter, fitted to what came back by least squares that forget."""

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self._moments: _Doubles = np.zeros((_TAPS, _TAPS))
        self._cross: _Doubles = np.zeros(_TAPS)
        self._filter: FloatAudio = np.zeros(_TAPS, np.float32)

    def explains(self, rows: FloatAudio, got: FloatAudio) -> bool:
        """Whether what was sent, shape (n, taps), accounts for what was received, shape (n,)."""
        rest = got - rows.dot(self._filter)
        return float(np.dot(rest, rest)) <= (1.0 - EXPLAINED) * float(np.dot(got, got))

    def learn(self, rows: FloatAudio, got: FloatAudio) -> None:
        """Fit the filter to these samples too."""
        self._moments *= _FORGET
        self._cross *= _FORGET
        for at in range(0, len(got), FRAME_BYTES):
            # A frame at a time: for a larger product OpenBLAS would wake its threads, which spin for milliseconds.
            some = rows[at : at + FRAME_BYTES]
            self._moments += some.T @ some
            self._cross += got[at : at + FRAME_BYTES].dot(some)
        ridge = _RIDGE * float(np.trace(self._moments)) / _TAPS + _FLOOR
        system = self._moments.copy()
        system.flat[:: _TAPS + 1] += ridge
        self._filter = np.linalg.solve(system, self._cross).astype(np.float32)


def _emphasised(audio: FloatAudio) -> FloatAudio:
    """Speech's high tones raised towards the level of its low ones, so that a pitch alone makes no match."""
    out = audio.copy()
    out[1:] -= np.float32(_EMPHASIS) * audio[:-1]
    return out
