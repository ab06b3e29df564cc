"""Telephone audio: u-law by table, streaming resampling, 20 ms frames, levels, WAV files streamed to disk.

Wire audio is G.711 u-law, 8000 Hz, mono, one byte a sample; everything above the wire is float32 in [-1, 1].
"""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.types import FloatAudio

Pcm16 = npt.NDArray[np.int16]
"""Mono samples, shape (n,), 16 bits."""

WIRE_RATE_HZ: Final = 8_000
"""Rate of everything on the telephone wire."""

FRAME_S: Final = 0.020
"""Length of one wire frame, seconds."""

FRAME_BYTES: Final = 160
"""u-law bytes in one wire frame."""

ULAW_SILENCE: Final = 0xFF
"""The u-law code of zero."""

SILENT_FRAME: Final = bytes([ULAW_SILENCE]) * FRAME_BYTES

_STOPBAND_DB = 70.0
"""Attenuation of aliases and images. u-law's own noise lies about 38 dB below the signal."""

_GROUP = 16
"""Outputs that the resampler makes from one run of inputs, or more if the phases are more."""

_GROUPS_AT_ONCE = 64
"""Rows of one matrix product: small enough for OpenBLAS not to use its threads, which spin when they have nothing to do
(measured: 180 us of the other core's time for 50 us of work)."""


def _decode_table() -> Pcm16:
    """The 16-bit value of each of the 256 codes (ITU-T G.711, table 2a; its 14-bit values times four)."""
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((codes & 0x0F) << 3) + 0x84) << ((codes & 0x70) >> 4)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


def _encode_table() -> npt.NDArray[np.uint8]:
    """The code of each 16-bit value, indexed by the value plus 32768.

    G.711 quantises 14-bit magnitudes: add the bias of 33, the place of the top bit is the segment, the four bits
    below it the step.
    """
    values = np.arange(-32_768, 32_768, dtype=np.int32)
    biased = np.minimum(np.abs(values) >> 2, 8_158) + 33
    segment = np.floor(np.log2(biased)).astype(np.int32) - 5
    step = (biased >> (segment + 1)) & 0x0F
    sign = np.where(values < 0, 0x80, 0)
    codes: npt.NDArray[np.uint8] = (~(sign | (segment << 4) | step) & 0xFF).astype(np.uint8)
    return codes


_DECODE = _decode_table()
_DECODE_FLOAT: FloatAudio = _DECODE.astype(np.float32) / np.float32(32_768)
_ENCODE = _encode_table()


def ulaw_to_pcm16(ulaw: bytes) -> Pcm16:
    """Decode u-law of any length, shape (len(ulaw),)."""
    return _DECODE.take(np.frombuffer(ulaw, np.uint8))


def ulaw_to_float(ulaw: bytes) -> FloatAudio:
    """Decode u-law of any length, shape (len(ulaw),)."""
    return _DECODE_FLOAT.take(np.frombuffer(ulaw, np.uint8))


def pcm16_to_ulaw(pcm: Pcm16) -> bytes:
    """Encode 16-bit samples, one byte each."""
    return _ENCODE[pcm.astype(np.int32) + 32_768].tobytes()


def float_to_pcm16(audio: FloatAudio) -> Pcm16:
    """Round to 16 bits; what lies outside [-1, 1] is clipped."""
    pcm: Pcm16 = np.rint(np.clip(audio, -1.0, 1.0) * 32_767.0).astype(np.int16)
    return pcm


def float_to_ulaw(audio: FloatAudio) -> bytes:
    """Encode float samples, one byte each; what lies outside [-1, 1] is clipped."""
    return pcm16_to_ulaw(float_to_pcm16(audio))


def level_dbfs(audio: FloatAudio) -> float:
    """RMS level in dB below full scale; -inf for digital silence or no samples."""
    if audio.size == 0:
        return -math.inf
    exact = audio.astype(np.float64)
    power = float(np.dot(exact, exact)) / audio.size
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf


def ulaw_level_dbfs(ulaw: bytes) -> float:
    """RMS level of u-law audio in dB below full scale."""
    return level_dbfs(ulaw_to_float(ulaw))


def overlapping(audio: FloatAudio, count: int, size: int, *, step: int = 1) -> FloatAudio:
    """A view of `count` runs of `size` samples, `step` apart, as rows. `audio` must be contiguous and long enough.

    numpy's own `sliding_window_view` takes 10 us to make one. Multiply with `dot`, which copies the rows side by side:
    the operator @ does without BLAS for rows that overlap.
    """
    view: FloatAudio = np.ndarray((count, size), np.float32, audio, 0, (audio.itemsize * step, audio.itemsize))
    return view


@dataclass(frozen=True, slots=True)
class _FilterBank:
    """A rational resampler's low-pass filter as one matrix that makes a group of outputs from a run of inputs."""

    matrix: FloatAudio
    """Shape (run, group): column j holds the taps of the group's output j, at the inputs it is made from."""
    taps: int
    """Inputs that one output is made from."""
    half: int
    """Half length of the filter, in samples of `up` times the input rate: how far it looks ahead."""
    step: int
    """Inputs from one group's run to the next one's."""

    @property
    def group(self) -> int:
        """Outputs in a group: a multiple of `up`, so that all groups begin with the same phase."""
        return int(self.matrix.shape[1])


@lru_cache(maxsize=16)
def _filter_bank(up: int, down: int) -> _FilterBank:
    """A Kaiser-windowed sinc (Kaiser's length formula) at `up` times the input rate.

    Flat to 85% of the lower of the two Nyquist limits (3.4 kHz for 8 kHz: the telephone band) and down from 115% of it,
    so that what folds or mirrors lands above the telephone band.
    """
    limit = 1.0 / max(up, down)  # the lower Nyquist limit, as a fraction of the design rate's
    width = 0.30 * limit * math.pi
    half = math.ceil((_STOPBAND_DB - 7.95) / (2.285 * width) / 2.0)
    places = np.arange(-half, half + 1)
    beta = 0.1102 * (_STOPBAND_DB - 8.7)
    response = np.sinc(places * limit) * np.kaiser(places.size, beta)
    response *= up / response.sum()
    taps = math.ceil(response.size / up)
    padded = np.zeros(taps * up)
    padded[: response.size] = response
    phases = padded.reshape(taps, up).T[:, ::-1]  # the taps of each phase, oldest input first
    group = up * max(1, _GROUP // up)
    at = [half % up + output * down for output in range(group)]
    matrix = np.zeros((at[-1] // up + taps, group), np.float32)
    for output, place in enumerate(at):
        matrix[place // up : place // up + taps, output] = phases[place % up]
    return _FilterBank(matrix, taps, half, step=group * down // up)


class Resampler:
    """Streaming rational resampling with a look-ahead of 1.8 ms for 8 -> 16 kHz and for 24 -> 8 kHz.

    Output sample m is the input at the time of m; a sample comes out as soon as the filter has seen its look-ahead,
    so a 20 ms frame in gives 20 ms out from the second frame on. soxr's streams, measured on 20 ms frames, hold back
    up to 60 ms (LQ) or 114 ms (HQ) at 8 -> 16 kHz and give it in bursts; QQ holds nothing but does not filter.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        if from_hz <= 0 or to_hz <= 0:
            raise ValueError(f"expected sample rates above 0 Hz, got {from_hz} and {to_hz}")
        shared = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // shared, from_hz // shared
        self._from_hz = from_hz
        self._bank = _filter_bank(self._up, self._down)
        self.reset()

    @property
    def look_ahead_s(self) -> float:
        """How much input after a sample's time is needed before it comes out."""
        return self._bank.half / (self._from_hz * self._up)

    def reset(self) -> None:
        """Ready for a new signal."""
        self._held_from = self._run_from(0)
        self._held: FloatAudio = np.zeros(-self._held_from, dtype=np.float32)
        self._taken = 0
        self._given = 0

    def process(self, audio: FloatAudio) -> FloatAudio:
        """Take samples, shape (n,), any n; give what can be given now, shape (m,)."""
        self._taken += audio.size
        return self._advance(audio, (self._taken * self._up - 1 - self._bank.half) // self._down + 1)

    def flush(self) -> FloatAudio:
        """The rest, as if silence followed: in all, out / in = the ratio of the rates, rounded up. Then reset."""
        total = -(-self._taken * self._up // self._down)
        rest = self._advance(np.zeros(0, dtype=np.float32), total)
        self.reset()
        return rest

    def _run_from(self, group: int) -> int:
        """Number of the first input of a group's run."""
        return group * self._bank.step + self._bank.half // self._up - (self._bank.taps - 1)

    def _advance(self, audio: FloatAudio, until: int) -> FloatAudio:
        if until <= self._given:
            self._held = np.concatenate((self._held, audio))
            return np.zeros(0, dtype=np.float32)
        run, size = self._bank.matrix.shape
        first, last = self._given // size, -(-until // size)
        # The last group may want inputs that are not there yet: only for outputs that are not given yet either.
        there = self._held.size + audio.size
        missing = max(0, self._run_from(last - 1) + run - self._held_from - there)
        held = np.concatenate((self._held, audio, np.zeros(missing, np.float32)))
        runs = overlapping(held, last - first, run, step=self._bank.step)
        groups = [runs[at : at + _GROUPS_AT_ONCE].dot(self._bank.matrix) for at in range(0, len(runs), _GROUPS_AT_ONCE)]
        out = groups[0] if len(groups) == 1 else np.concatenate(groups)
        given: FloatAudio = out.reshape(-1)[self._given - first * size : until - first * size]
        self._given = until
        keep = self._run_from(until // size) - self._held_from
        self._held = held[keep:there].copy()
        self._held_from += keep
        return given


class Framer:
    """Cuts a stream of u-law bytes into 160-byte frames."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, ulaw: bytes) -> list[bytes]:
        """The whole frames there are now; the rest waits."""
        data = self._rest + ulaw
        whole = len(data) - len(data) % FRAME_BYTES
        self._rest = data[whole:]
        return [data[at : at + FRAME_BYTES] for at in range(0, whole, FRAME_BYTES)]

    def flush(self) -> list[bytes]:
        """The last frame, filled up with silence; none if nothing waits."""
        rest, self._rest = self._rest, b""
        return [rest + SILENT_FRAME[len(rest) :]] if rest else []


def interleave(left: Pcm16, right: Pcm16) -> Pcm16:
    """Two mono tracks as stereo, shape (2 n,): left, right, left... The shorter one is filled up with silence."""
    stereo = np.zeros((max(left.size, right.size), 2), dtype=np.int16)
    stereo[: left.size, 0] = left
    stereo[: right.size, 1] = right
    return stereo.reshape(-1)


class WavWriter:
    """A 16-bit WAV file written as the audio comes: never a whole call in memory, valid at any time."""

    def __init__(self, path: Path, *, sample_rate_hz: int = WIRE_RATE_HZ, channels: int = 1) -> None:
        """Raises OSError if the file cannot be created."""
        self._channels = channels
        self._bytes = path.open("wb")
        self._file = wave.open(self._bytes, "wb")  # noqa: SIM115 (held open for the length of a call)
        self._file.setnchannels(channels)
        self._file.setsampwidth(2)
        self._file.setframerate(sample_rate_hz)
        self._file.writeframes(b"")
        self._bytes.flush()

    def write(self, samples: Pcm16) -> None:
        """Append samples, interleaved if there are several channels. Raises ValueError for half a stereo frame."""
        if samples.size % self._channels:
            raise ValueError(f"expected a multiple of {self._channels} samples (one a channel), got {samples.size}")
        self._file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
        self._bytes.flush()

    def close(self) -> None:
        self._file.close()
        self._bytes.close()

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
