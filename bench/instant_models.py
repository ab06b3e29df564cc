"""The five models a call uses, none of which computes anything: what is left of a call's time is our own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Final

import numpy as np

from models.types import (
    SPEAKING_RATE_HZ,
    FloatAudio,
    GenerateRequest,
    Languages,
    ModelFailure,
    Passage,
    RouteDecision,
    SpeechChunk,
    Transcript,
)
from models.types import Word as SpokenWord
from pipeline.call_models import CallModels

FACT_ID: Final = "hours"
QUESTION: Final = "When are you open?"
"""What the instant transcriber hears in every turn, and the fact that answers it."""

_CHARACTERS_A_SECOND = 15.0
_SPEECH_RMS = 0.08


class InstantTranscriber:
    """Hears the same question in everything."""

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        return Transcript(text=QUESTION, audio_s=audio.size / 16_000)


class InstantRouter:
    """Is sure that the question is about `FACT_ID`."""

    async def route(self, text: str) -> RouteDecision:
        return RouteDecision(label="question", confidence=0.95, passages=(Passage(id=FACT_ID, text="", score=0.9),))


class InstantLanguageModel:
    """Says the fact it was given in words of its own, so that it is not one of the lines synthesised beforehand."""

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        fact = request.messages[-1].content.rpartition("Fact: ")[2]
        yield f"Sure, {fact[0].lower()}{fact[1:]}"

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        raise ModelFailure("it holds no free conversations")

    async def prefill(self, request: GenerateRequest) -> None:
        return None


class InstantSpeaker:
    """Speaks noise: as long as speech would be, in chunks like Kokoro's, with word times."""

    def __init__(self) -> None:
        self._spoken: dict[str, tuple[SpeechChunk, ...]] = {}

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        if text not in self._spoken:
            self._spoken[text] = _noise_chunks(text)
        for chunk in self._spoken[text]:
            yield chunk


class InstantTurnScorer:
    """Sure of every pause that the turn is over."""

    async def end_of_turn_probability(self, audio: FloatAudio) -> float:
        return 0.99


def instant_models() -> CallModels:
    """All five models a call uses; none of them computes anything."""
    return CallModels(
        InstantTranscriber(), InstantRouter(), InstantLanguageModel(), InstantSpeaker(), InstantTurnScorer()
    )


def _noise_chunks(text: str) -> tuple[SpeechChunk, ...]:
    words = text.split()
    length_s = len(text) / _CHARACTERS_A_SECOND
    pace_s = length_s / len(words)
    times = tuple(SpokenWord(word, at * pace_s, (at + 1) * pace_s) for at, word in enumerate(words))
    noise = np.random.default_rng(0).standard_normal(int(length_s * SPEAKING_RATE_HZ)).astype(np.float32) * _SPEECH_RMS
    chunks: list[SpeechChunk] = []
    start, size = 0, 0.35 * SPEAKING_RATE_HZ
    while start < len(noise):
        stop = start + int(size)
        chunks.append(SpeechChunk(noise[start:stop], () if chunks else times, last=stop >= len(noise)))
        start, size = stop, min(size * 1.25, 1.2 * SPEAKING_RATE_HZ)
    return tuple(chunks)
