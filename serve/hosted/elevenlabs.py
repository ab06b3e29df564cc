"""pipeline.ports.Speaker by ElevenLabs, with the times that it tells of each character.

Wire format: https://elevenlabs.io/docs/api-reference/streaming-with-timestamps
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from urllib.parse import quote

from pydantic import BaseModel, model_validator

from models.types import SpeechChunk, Word
from serve.hosted.exchange import Endpoint, Spend, body_of, read_as
from serve.hosted.settings import ElevenLabsSettings
from serve.hosted.speech import MOST_BYTES, ClauseAudio, bill, check_text, decoded, voice_of


class _Alignment(BaseModel):
    characters: list[str]
    character_start_times_seconds: list[float]
    character_end_times_seconds: list[float]

    @model_validator(mode="after")
    def _as_long(self) -> _Alignment:
        if not len(self.characters) == len(self.character_start_times_seconds) == len(self.character_end_times_seconds):
            raise ValueError("characters and times differ in number")
        return self


class _Line(BaseModel):
    audio_base64: str = ""
    alignment: _Alignment | None = None


class ElevenLabs:
    """One model of ElevenLabs'."""

    def __init__(self, settings: ElevenLabsSettings, endpoint: Endpoint, spend: Spend) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._spend = spend

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """As pipeline.ports.Speaker."""
        check_text(text)
        assert self._endpoint.key is not None
        clause = ClauseAudio(self._endpoint, text)
        aligned: list[_Alignment] = []
        path = f"/v1/text-to-speech/{quote(voice_of(self._settings, voice), safe='')}/stream/with-timestamps"
        async with self._endpoint.post(
            f"{path}?output_format=pcm_24000",
            headers={"Content-Type": "application/json", "xi-api-key": self._endpoint.key.get_secret_value()},
            content=body_of({"text": text, "model_id": self._settings.model}),
            most_bytes=MOST_BYTES,
        ) as body:
            bill(text, self._settings, self._spend)
            async with aclosing(body.lines()) as lines:
                async for line in lines:
                    if not line.strip():
                        continue
                    piece = read_as(self._endpoint, _Line, line)
                    if piece.alignment is not None and not clause.begun:
                        aligned.append(piece.alignment)
                    clause.feed(decoded(self._endpoint, piece.audio_base64))
                    if (chunk := clause.chunk(_words(aligned))) is not None:
                        yield chunk
            yield clause.last(_words(aligned))


def _words(aligned: Sequence[_Alignment]) -> list[Word]:
    """Whole words only: the last one may go on in what has not come yet."""
    words: list[Word] = []
    text, start_s, end_s = "", 0.0, 0.0
    for part in aligned:
        times = zip(part.characters, part.character_start_times_seconds, part.character_end_times_seconds, strict=True)
        for character, from_s, to_s in times:
            if character.isspace():
                words += [Word(text, start_s, end_s)] if text else []
                text = ""
            else:
                start_s = start_s if text else from_s
                text, end_s = text + character, to_s
    return words
