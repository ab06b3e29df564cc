"""Seeded sounds a telephone line carries that are not speech: noises, music and silence, as a carrier delivers them.

Each clip is made at 8 kHz, cut to the telephone band (300-3400 Hz), set to a level, and passed through u-law, then
brought to 16 kHz as a call's audio is. A transcriber should make no words of any.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.types import HEARING_RATE_HZ, FloatAudio
from telephony.audio import WIRE_RATE_HZ, Resampler, float_to_ulaw, ulaw_to_float

Signal = npt.NDArray[np.float64]
Maker = Callable[[np.random.Generator, int], Signal]

LEVELS_DBFS = (-50.0, -40.0, -32.0, -26.0, -20.0)
"""RMS levels, from a quiet room to as loud as speech (-26 dBov, ITU-T G.191) and louder."""

SECONDS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0)


@dataclass(frozen=True, slots=True)
class NonSpeech:
    """One clip."""

    name: str
    kind: str
    audio: FloatAudio
    """16 kHz."""


def _coloured(rng: np.random.Generator, count: int, power_per_octave_db: float) -> Signal:
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / WIRE_RATE_HZ), 50.0)
    shaped: Signal = np.fft.irfft(spectrum * 10 ** (power_per_octave_db * np.log2(frequency / 50.0) / 20), count)
    return shaped


def _white(rng: np.random.Generator, count: int) -> Signal:
    return rng.standard_normal(count)


def _pink(rng: np.random.Generator, count: int) -> Signal:
    return _coloured(rng, count, -3.0)


def _brown(rng: np.random.Generator, count: int) -> Signal:
    return _coloured(rng, count, -6.0)


def _babble(rng: np.random.Generator, count: int) -> Signal:
    """A far-off crowd: many voices' worth of speech-shaped noise, each swelling at a syllable's pace (3-6 Hz)."""
    time = np.arange(count) / WIRE_RATE_HZ
    total = np.zeros(count)
    for _ in range(12):
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3, 6) * time + rng.uniform(0, 2 * np.pi))
        total += _coloured(rng, count, -6.0) * swell**2 * rng.uniform(0.3, 1.0)
    return total


def _hum(rng: np.random.Generator, count: int) -> Signal:
    time = np.arange(count) / WIRE_RATE_HZ
    mains = rng.choice([50.0, 60.0])
    tones = [np.sin(2 * np.pi * mains * n * time + rng.uniform(0, 6.3)) / n**0.7 for n in range(1, 30)]
    signal: Signal = np.sum(tones, axis=0) + 0.02 * rng.standard_normal(count)
    return signal


def _clicks(rng: np.random.Generator, count: int) -> Signal:
    signal = 0.01 * rng.standard_normal(count)
    for start in rng.integers(0, max(1, count - 80), size=max(2, int(count / WIRE_RATE_HZ * rng.uniform(1, 8)))):
        length = int(rng.integers(8, 80))
        signal[start : start + length] += rng.standard_normal(length) * np.exp(-np.arange(length) / 12) * 3
    return signal


def _note(frequency: float, count: int, brightness: float) -> Signal:
    time = np.arange(count) / WIRE_RATE_HZ
    partials = [brightness**n * np.sin(2 * np.pi * frequency * (n + 1) * time) for n in range(6)]
    attack = np.minimum(1.0, time / 0.01)
    signal: Signal = np.sum(partials, axis=0) * attack * np.exp(-time * 2.5)
    return signal


_MAJOR = (0, 2, 4, 5, 7, 9, 11, 12)


def _melody(rng: np.random.Generator, count: int) -> Signal:
    signal = np.zeros(count)
    root, step = 440.0 * 2 ** (rng.integers(-9, 6) / 12), int(WIRE_RATE_HZ * rng.uniform(0.18, 0.5))
    brightness = rng.uniform(0.2, 0.7)
    for start in range(0, count, step):
        length = min(count - start, 2 * step)
        frequency = root * 2 ** (_MAJOR[rng.integers(0, len(_MAJOR))] / 12)
        signal[start : start + length] += _note(frequency, length, brightness)
    return signal


def _chords(rng: np.random.Generator, count: int) -> Signal:
    signal = np.zeros(count)
    root, step = 220.0 * 2 ** (rng.integers(-3, 9) / 12), int(WIRE_RATE_HZ * rng.uniform(0.5, 1.2))
    for start in range(0, count, step):
        length = min(count - start, int(1.5 * step))
        degree = int(rng.choice([0, 3, 4, 5]))
        for third in (0, 2, 4):
            octave, place = divmod(degree + third, 7)
            frequency = root * 2 ** (octave + _MAJOR[place] / 12)
            signal[start : start + length] += _note(frequency, length, 0.5)
    beat = int(step / 2)
    for start in range(0, count, beat):
        length = min(count - start, 400)
        signal[start : start + length] += 0.8 * rng.standard_normal(length) * np.exp(-np.arange(length) / 60)
    return signal


def _silence(rng: np.random.Generator, count: int) -> Signal:
    return np.zeros(count)


MAKERS: dict[str, Maker] = {
    "white": _white,
    "pink": _pink,
    "brown": _brown,
    "babble": _babble,
    "hum": _hum,
    "clicks": _clicks,
    "melody": _melody,
    "chords": _chords,
    "silence": _silence,
}


def heard(line: FloatAudio) -> FloatAudio:
    """8 kHz audio as the models hear it in a call: u-law on the wire, then 16 kHz by the product's own resampler."""
    resampler = Resampler(WIRE_RATE_HZ, HEARING_RATE_HZ)
    wire = ulaw_to_float(float_to_ulaw(line))
    return np.concatenate([resampler.process(wire), resampler.flush()])


def _over_the_telephone(signal: Signal, level_dbfs: float) -> FloatAudio:
    spectrum = np.fft.rfft(signal)
    frequency = np.fft.rfftfreq(len(signal), 1 / WIRE_RATE_HZ)
    spectrum[(frequency < 300) | (frequency > 3400)] = 0
    banded = np.fft.irfft(spectrum, len(signal))
    rms = float(np.sqrt(np.mean(banded**2)))
    if rms > 0:
        banded *= 10 ** (level_dbfs / 20) / rms
    return heard(banded.astype(np.float32))


def clips(count: int = 100, seed: int = 2025) -> Iterator[NonSpeech]:
    """`count` clips of 1-8 s, the kinds in turn, levels and lengths varied. The same seed gives the same samples."""
    rng = np.random.default_rng(seed)
    kinds = itertools.cycle(MAKERS.items())
    for index in range(count):
        kind, make = next(kinds)
        level = float(rng.choice(LEVELS_DBFS))
        seconds = float(rng.choice(SECONDS))
        audio = _over_the_telephone(make(rng, int(seconds * WIRE_RATE_HZ)), level)
        yield NonSpeech(f"{index:03d}-{kind}-{seconds:g}s-{level:g}dBFS", kind, audio)
