"""What providers that speak have in common: samples in chunks of one clause, the first of which has the words' times.

The port wants the times of all words with the first sound, when a provider has told those of the first few at most. The
others are spread by length, at the pace of those that are known; without any, at that of calm speech.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from models.types import SPEAKING_RATE_HZ, ModelFailure, SpeechChunk, Word
from serve.hosted.exchange import Endpoint, Spend
from serve.hosted.settings import HostedVoice

LONGEST_TEXT = 2000
"""More characters than this are no clause, as for the stack's own speaker."""
MOST_BYTES = 16_000_000
"""Of an answer: two minutes and a half of speech, in base64."""
_CHARACTERS_A_SECOND = 14.0
"""150 words a minute."""
_HELD_SAMPLES = SPEAKING_RATE_HZ // 100
"""Kept back, so that the last chunk is not empty."""
_LEAST_SAMPLES = SPEAKING_RATE_HZ // 50


def voice_of(settings: HostedVoice, voice: str) -> str:
    """The provider's voice that stands in for an agent's."""
    return settings.voices.get(voice, settings.voice)


def check_text(text: str) -> None:
    """Raises ModelFailure for what is no clause."""
    if len(text) > LONGEST_TEXT:
        raise ModelFailure(
            f"hosted text to speech: expected a clause of at most {LONGEST_TEXT} characters, got {len(text)}"
        )


def bill(text: str, settings: HostedVoice, spend: Spend) -> None:
    """A clause that a provider has begun to speak."""
    if settings.cost is not None:
        spend(len(text) / 1000.0 * settings.cost.per_1000_characters)


def decoded(endpoint: Endpoint, audio: str) -> bytes:
    """Base64. Raises ModelFailure."""
    try:
        return base64.b64decode(audio, validate=True)
    except binascii.Error as error:
        raise endpoint.malformed("a piece of audio is no base64") from error


class ClauseAudio:
    """One clause on its way: 16-bit samples in, chunks out as soon as there is something to hear."""

    def __init__(self, endpoint: Endpoint, text: str) -> None:
        self._endpoint = endpoint
        self._text = text
        self._bytes = bytearray()
        self.begun = False

    @property
    def held_s(self) -> float:
        """What has come and not gone out."""
        return len(self._bytes) / 2 / SPEAKING_RATE_HZ

    def feed(self, pcm: bytes) -> None:
        self._bytes += pcm

    def chunk(self, known: Sequence[Word] = ()) -> SpeechChunk | None:
        """What can be heard by now; None if it is too little. `known`: words whose times the provider has told."""
        ready = len(self._bytes) // 2 - _HELD_SAMPLES
        return self._chunk(ready, known, last=False) if ready >= _LEAST_SAMPLES else None

    def last(self, known: Sequence[Word] = ()) -> SpeechChunk:
        """The rest. Raises ModelFailure if there was no sound at all."""
        if not self.begun and len(self._bytes) < 2:
            raise self._endpoint.malformed("the answer has no sound")
        return self._chunk(len(self._bytes) // 2, known, last=True)

    def _chunk(self, count: int, known: Sequence[Word], *, last: bool) -> SpeechChunk:
        pcm = np.frombuffer(bytes(self._bytes[: 2 * count]), "<i2").astype(np.float32) / 32768.0
        del self._bytes[: 2 * count]
        words = () if self.begun else word_times(self._text, known)
        self.begun = True
        return SpeechChunk(pcm, words, last)


def word_times(text: str, known: Sequence[Word]) -> tuple[Word, ...]:
    """The clause's written words; as many as agree with those that are known, from the first on, have their times."""
    written = text.split()
    words: list[Word] = []
    for word, told in zip(written, known, strict=False):
        if _plain(word) != _plain(told.text):
            break
        start_s = max(told.start_s, words[-1].end_s if words else 0.0)
        words.append(Word(word, start_s, max(start_s, told.end_s)))
    said = sum(len(word.text) + 1 for word in words)
    end_s = words[-1].end_s if words else 0.0
    pace = said / end_s if end_s > 0 else _CHARACTERS_A_SECOND
    for word in written[len(words) :]:
        start_s, end_s = end_s, end_s + (len(word) + 1) / pace
        words.append(Word(word, start_s, end_s))
    return tuple(words)


def _plain(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
