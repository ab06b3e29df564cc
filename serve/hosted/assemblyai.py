"""pipeline.ports.Transcriber by AssemblyAI.

Its interface for one request is made for agents that know themselves when a turn has ended. The streaming interface is
there too, but it wants audio no faster than it is spoken.

Wire format: https://www.assemblyai.com/docs/api-reference/sync-api/transcribe,
https://www.assemblyai.com/docs/sync-stt/getting-started/transcribe-a-short-audio-file,
https://assemblyai.com/docs/streaming/universal-3-pro/u3-pro-message-sequence
"""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import urlencode

from pydantic import BaseModel

from models.types import HEARING_RATE_HZ, FloatAudio, Languages, ModelFailure, Transcript, Word
from serve.hosted.exchange import Endpoint, Spend, body_of, read_as
from serve.hosted.hearing import MOST_BYTES, bill, frames, pcm16, transcript
from serve.hosted.settings import AssemblyAiSettings
from serve.hosted.sockets import open_socket

SYNC_URL = "https://sync.assemblyai.com"
STREAM_URL = "https://streaming.assemblyai.com"
_FRAME_S = 0.25
"""The stream takes 50 to 1000 ms a message."""
_SHORTEST_S = 0.08
"""A shorter turn is refused."""


class _Word(BaseModel):
    text: str
    confidence: float = 1.0
    start: float | None = None
    """Milliseconds."""
    end: float | None = None


class _Answer(BaseModel):
    text: str
    confidence: float = 1.0
    words: list[_Word] = []


class _Message(BaseModel):
    """Of the stream."""

    type: str
    turn_order: int = 0
    end_of_turn: bool = False
    transcript: str = ""
    words: list[_Word] = []
    error: str = ""
    error_code: int | None = None


class AssemblyAi:
    """One model of AssemblyAI's."""

    def __init__(self, settings: AssemblyAiSettings, endpoint: Endpoint, spend: Spend) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._spend = spend

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        """As pipeline.ports.Transcriber; it tells no language, so the expected one is what was spoken."""
        pcm = pcm16(audio)
        if len(audio) < _SHORTEST_S * HEARING_RATE_HZ:
            return transcript("", (), 1.0, audio, languages)
        ask = self._by_stream if self._settings.way == "stream" else self._by_request
        text, words, confidence = await ask(pcm, languages)
        bill(audio, self._settings.cost, self._spend)
        timed = (
            Word(word.text, word.start / 1000, word.end / 1000, word.confidence)
            for word in words
            if word.start is not None and word.end is not None
        )
        return transcript(text, timed, confidence, audio, languages)

    async def _by_request(self, pcm: bytes, languages: Languages) -> tuple[str, Sequence[_Word], float]:
        several = [languages.expected, *languages.others]
        config = {
            "language_code": several if languages.others else languages.expected,
            "sample_rate": HEARING_RATE_HZ,
            "channels": 1,
        }
        boundary = randomness.token_hex(16)
        async with self._endpoint.post(
            "/transcribe",
            headers={
                **self._headers(),
                "X-AAI-Model": self._settings.model or "universal-3-5-pro",
                "Content-Type": f"multipart/form-data; boundary={boundary}",
            },
            content=_multipart(boundary, body_of(config), pcm),
            most_bytes=MOST_BYTES,
        ) as body:
            answer = await body.read_as(_Answer)
        return answer.text, answer.words, answer.confidence

    async def _by_stream(self, pcm: bytes, languages: Languages) -> tuple[str, Sequence[_Word], float]:
        english = languages.expected == "en" and not languages.others
        model = f"universal-streaming-{'english' if english else 'multilingual'}"
        query = urlencode(
            {
                "speech_model": self._settings.model or model,
                "sample_rate": str(HEARING_RATE_HZ),
                "encoding": "pcm_s16le",
                "format_turns": "true",
            }
        )
        turns: dict[int, _Message] = {}
        async with open_socket(self._endpoint, f"/v3/ws?{query}", self._headers()) as socket:
            for frame in frames(pcm, _FRAME_S):
                await socket.send(frame)
            await socket.send(json.dumps({"type": "ForceEndpoint"}))
            await socket.send(json.dumps({"type": "Terminate"}))
            async with aclosing(socket.messages()) as messages:
                async for text in messages:
                    message = read_as(self._endpoint, _Message, text)
                    if message.type == "Turn" and message.end_of_turn:
                        turns[message.turn_order] = message  # The formatted one comes after the plain one.
                    elif message.type == "Error":
                        why = self._endpoint.plain(message.error)
                        raise ModelFailure(f"{self._endpoint.name}: error {message.error_code}: {why}")
                    elif message.type == "Termination":
                        return _joined([turns[order] for order in sorted(turns)])
        raise self._endpoint.malformed("the stream was closed without its summary")

    def _headers(self) -> dict[str, str]:
        assert self._endpoint.key is not None
        return {"Authorization": self._endpoint.key.get_secret_value()}


def _joined(turns: Sequence[_Message]) -> tuple[str, Sequence[_Word], float]:
    words = [word for turn in turns for word in turn.words]
    confidence = sum(word.confidence for word in words) / len(words) if words else 1.0
    return " ".join(turn.transcript for turn in turns), words, confidence


def _multipart(boundary: str, config: bytes, pcm: bytes) -> bytes:
    """`config` first: what follows is read by it."""
    parts = (("config", "application/json", config), ("audio", "audio/pcm", pcm))
    body = b""
    for name, kind, content in parts:
        file = '; filename="turn.pcm"' if name == "audio" else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {kind}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()
