"""pipeline.ports.Speaker by Cartesia, with the times that it tells of each word.

Wire format: https://docs.cartesia.ai/api-reference/tts/sse, https://docs.cartesia.ai/api-reference/tts/websocket
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pydantic import BaseModel, model_validator

from models.types import SPEAKING_RATE_HZ, ModelFailure, SpeechChunk, Word
from serve.hosted.exchange import Endpoint, Spend, body_of, read_as
from serve.hosted.settings import CartesiaSettings
from serve.hosted.speech import MOST_BYTES, ClauseAudio, bill, check_text, decoded, voice_of

VERSION = "2025-04-16"
"""Of the interface, told with each request."""
_WAITS_FOR_TIMES_S = 0.3
"""The first sound waits for the first times until so much has come: they are sent as events of their own."""


class _Times(BaseModel):
    words: list[str]
    start: list[float]
    end: list[float]

    @model_validator(mode="after")
    def _as_long(self) -> _Times:
        if not len(self.words) == len(self.start) == len(self.end):
            raise ValueError("words and times differ in number")
        return self


class _Event(BaseModel):
    type: str
    data: str = ""
    word_timestamps: _Times | None = None
    error: str = ""
    title: str = ""
    message: str = ""


class Cartesia:
    """One model of Cartesia's."""

    def __init__(self, settings: CartesiaSettings, endpoint: Endpoint, spend: Spend) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._spend = spend

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """As pipeline.ports.Speaker."""
        check_text(text)
        clause = ClauseAudio(self._endpoint, text)
        known: list[Word] = []
        done = False
        async with self._endpoint.post(
            "/tts/sse",
            headers={
                **self._endpoint.bearer(),
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "Cartesia-Version": VERSION,
            },
            content=body_of(self._body(text, voice)),
            most_bytes=MOST_BYTES,
        ) as body:
            bill(text, self._settings, self._spend)
            async with aclosing(body.events()) as events:
                async for data in events:
                    event = read_as(self._endpoint, _Event, data)
                    if event.type == "error":
                        why = event.error or f"{event.title} {event.message}"
                        raise ModelFailure(f"{self._endpoint.name}: {self._endpoint.plain(why)}")
                    if event.type == "done":
                        done = True
                        break
                    if (times := event.word_timestamps) is not None:
                        known += map(Word, times.words, times.start, times.end)
                    clause.feed(decoded(self._endpoint, event.data))
                    may_begin = clause.begun or known or clause.held_s >= _WAITS_FOR_TIMES_S
                    if may_begin and (chunk := clause.chunk(known)) is not None:
                        yield chunk
            if not done:
                raise ModelFailure(f"{self._endpoint.name}: the speech broke off before its end")
            yield clause.last(known)

    def _body(self, text: str, voice: str) -> dict[str, object]:
        return {
            "model_id": self._settings.model,
            "transcript": text,
            "voice": {"mode": "id", "id": voice_of(self._settings, voice)},
            "language": self._settings.languages.get(voice, self._settings.language),
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": SPEAKING_RATE_HZ},
            "add_timestamps": True,
        }
