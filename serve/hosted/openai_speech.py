"""pipeline.ports.Speaker by OpenAI, or a server that answers as it does. It tells no times of words.

Wire format: https://platform.openai.com/docs/api-reference/audio/createSpeech ('pcm': 24 kHz, 16 bit, no header)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from models.types import SpeechChunk
from serve.hosted.exchange import Endpoint, Spend, body_of
from serve.hosted.settings import OpenAiSpeechSettings
from serve.hosted.speech import MOST_BYTES, ClauseAudio, bill, check_text, voice_of


class OpenAiSpeech:
    """One model of OpenAI's."""

    def __init__(self, settings: OpenAiSpeechSettings, endpoint: Endpoint, spend: Spend) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._spend = spend

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """As pipeline.ports.Speaker."""
        check_text(text)
        clause = ClauseAudio(self._endpoint, text)
        async with self._endpoint.post(
            "/audio/speech",
            headers={
                **self._endpoint.bearer(),
                "Content-Type": "application/json",
                "Accept": "application/octet-stream",
            },
            content=body_of(
                {
                    "model": self._settings.model,
                    "input": text,
                    "voice": voice_of(self._settings, voice),
                    "response_format": "pcm",
                }
            ),
            most_bytes=MOST_BYTES,
        ) as body:
            bill(text, self._settings, self._spend)
            async with aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    clause.feed(piece)
                    if (chunk := clause.chunk()) is not None:
                        yield chunk
            yield clause.last()
