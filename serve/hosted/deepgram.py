"""pipeline.ports.Transcriber by Deepgram.

The port's turns are whole, so a turn is one request. The streaming interface is there too, but Deepgram reads it at
1.25 times the speed of speech: four seconds that are sent at once are answered after three.

Wire format: https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded,
https://developers.deepgram.com/reference/speech-to-text/listen-streaming, https://developers.deepgram.com/docs/close-stream
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing
from urllib.parse import urlencode

from pydantic import BaseModel

from models.types import HEARING_RATE_HZ, FloatAudio, Languages, ModelFailure, Transcript, Word
from serve.hosted.exchange import Endpoint, Spend, read_as
from serve.hosted.hearing import MOST_BYTES, bill, frames, pcm16, transcript
from serve.hosted.settings import DeepgramSettings
from serve.hosted.sockets import open_socket

_FRAME_S = 0.25


class _Word(BaseModel):
    word: str
    start: float
    end: float
    confidence: float = 1.0
    punctuated_word: str = ""


class _Alternative(BaseModel):
    transcript: str
    confidence: float = 1.0
    words: list[_Word] = []


class _Channel(BaseModel):
    alternatives: list[_Alternative]
    detected_language: str = ""


class _Results(BaseModel):
    channels: list[_Channel]


class _Answer(BaseModel):
    results: _Results


class _Message(BaseModel):
    """Of the stream."""

    type: str
    is_final: bool = False
    channel: _Channel | list[int] | None = None
    description: str = ""


class Deepgram:
    """One model of Deepgram's."""

    def __init__(self, settings: DeepgramSettings, endpoint: Endpoint, spend: Spend) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._spend = spend

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        """As pipeline.ports.Transcriber; finals and partials cost the same here."""
        pcm = pcm16(audio)
        ask = self._by_stream if self._settings.way == "stream" else self._by_request
        found, language = await ask(pcm, languages)
        bill(audio, self._settings.cost, self._spend)
        spoken = [one for one in found if one.transcript]
        confidence = sum(one.confidence for one in spoken) / len(spoken) if spoken else 1.0
        text = " ".join(one.transcript for one in spoken)
        return transcript(text, _words(spoken), confidence, audio, languages, language)

    async def _by_request(self, pcm: bytes, languages: Languages) -> tuple[list[_Alternative], str]:
        language = {"detect_language": "true"} if languages.others else {"language": languages.expected}
        async with self._endpoint.post(
            f"/v1/listen?{self._query(language)}",
            headers={**self._headers(), "Content-Type": "application/octet-stream"},
            content=pcm,
            most_bytes=MOST_BYTES,
        ) as body:
            answer = await body.read_as(_Answer)
        channels = answer.results.channels[:1]
        return [one for channel in channels for one in channel.alternatives[:1]], "".join(
            channel.detected_language for channel in channels
        )

    async def _by_stream(self, pcm: bytes, languages: Languages) -> tuple[list[_Alternative], str]:
        """The stream tells no language."""
        query = self._query({"language": "multi" if languages.others else languages.expected})
        found: list[_Alternative] = []
        async with open_socket(self._endpoint, f"/v1/listen?{query}", self._headers()) as socket:
            for frame in frames(pcm, _FRAME_S):
                await socket.send(frame)
            await socket.send(json.dumps({"type": "CloseStream"}))
            async with aclosing(socket.messages()) as messages:
                async for text in messages:
                    message = read_as(self._endpoint, _Message, text)
                    if message.type == "Results" and message.is_final and isinstance(message.channel, _Channel):
                        found += message.channel.alternatives[:1]
                    elif message.type == "Metadata":
                        return found, ""
                    elif message.type == "Error":
                        raise ModelFailure(f"{self._endpoint.name}: {self._endpoint.plain(message.description)}")
        raise self._endpoint.malformed("the stream was closed without its summary")

    def _query(self, language: dict[str, str]) -> str:
        how = {"encoding": "linear16", "sample_rate": str(HEARING_RATE_HZ), "channels": "1", "smart_format": "true"}
        return urlencode({"model": self._settings.model, **how, **language})

    def _headers(self) -> dict[str, str]:
        assert self._endpoint.key is not None
        return {"Authorization": f"Token {self._endpoint.key.get_secret_value()}"}


def _words(found: list[_Alternative]) -> Iterator[Word]:
    for one in found:
        for word in one.words:
            yield Word(word.punctuated_word or word.word, word.start, word.end, word.confidence)
