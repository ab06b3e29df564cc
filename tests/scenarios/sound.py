"""Speech that says which word it is: every word has a sample value of its own, which survives u-law and resampling.

So the fake transcriber hears exactly what the wire carried, the agent's echo is heard as the agent's own words, and
what reached the caller's ear can be read off the carrier's audio word by word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.types import FloatAudio
from telephony.audio import ULAW_SILENCE, WIRE_RATE_HZ, float_to_ulaw, ulaw_to_float
from tests.pipeline.fakes import WORD_S

WORD_BYTES = round(WORD_S * WIRE_RATE_HZ)

_QUIETEST, _LOUDEST = 0.012, 0.6


@dataclass(frozen=True, slots=True)
class Heard:
    """A word in a stretch of audio."""

    word: str
    start_s: float
    end_s: float


class Codebook:
    """Gives each distinct word of a call a u-law code (about 170 there are), and reads words off audio."""

    def __init__(self) -> None:
        codes = np.arange(256, dtype=np.uint8)
        loud = np.abs(ulaw_to_float(codes.tobytes()))
        usable = [int(code) for code in codes[(loud > _QUIETEST) & (loud < _LOUDEST)]]
        self._noise = usable.pop()
        self._free = usable
        self._codes: dict[str, int] = {}
        self._words: dict[int, str] = {}

    def ulaw(self, words: Sequence[str]) -> bytes:
        """The words as wire audio, a quarter second each."""
        return b"".join(bytes([self._code(word)]) * WORD_BYTES for word in words)

    def noise(self, duration_ms: int) -> bytes:
        """Loud wire audio without words."""
        return bytes([self._noise]) * (duration_ms * WIRE_RATE_HZ // 1000)

    def pcm(self, words: Sequence[str], rate_hz: int) -> FloatAudio:
        """The words as samples of a speaker."""
        levels = ulaw_to_float(bytes(self._code(word) for word in words))
        return np.repeat(levels, round(WORD_S * rate_hz))

    def read(self, audio: FloatAudio, rate_hz: int) -> list[Heard]:
        """The words in the audio, in order; a word of which less than half is there is not heard."""
        return self.read_ulaw(float_to_ulaw(audio), rate_hz)

    def read_ulaw(self, ulaw: bytes, rate_hz: int = WIRE_RATE_HZ) -> list[Heard]:
        """The same for encoded audio of any rate."""
        codes = np.frombuffer(ulaw, np.uint8)
        if codes.size == 0:
            return []
        starts = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1))
        ends = np.concatenate((starts[1:], [codes.size]))
        heard = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            word = self._words.get(int(codes[start]))
            count = round((end - start) / rate_hz / WORD_S) if word is not None else 0
            for index in range(count):
                from_s = start / rate_hz + index * WORD_S
                heard.append(Heard(word or "", from_s, min(from_s + WORD_S, end / rate_hz)))
        return heard

    def _code(self, word: str) -> int:
        if word not in self._codes:
            if not self._free:
                raise ValueError(f"no sample value is left for {word!r}: the call has too many different words")
            self._codes[word] = self._free.pop()
            self._words[self._codes[word]] = word
        return self._codes[word]


def silence(duration_ms: int) -> bytes:
    return bytes([ULAW_SILENCE]) * (duration_ms * WIRE_RATE_HZ // 1000)
