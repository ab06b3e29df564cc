"""The carrier's end of a media stream under virtual time, playing what it gets as a telephone would."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.types import FloatAudio, SpeechChunk, Word
from telephony.audio import SILENT_FRAME, ulaw_to_float
from telephony.session import SocketClosed

STREAM = "MZ18ad3ab5a668481ce02b83e7395059f0"
CALL = "CA00000000000000000000000000000000"
ACCOUNT = "AC00000000000000000000000000000000"


def now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Played:
    """A piece of audio at the caller's ear."""

    start_s: float
    end_s: float
    ulaw: bytes


class FakeCarrier:
    """Plays audio in real time from when it arrives; echoes marks once played; a clear flushes and echoes all at once.

    An Outlet. Messages arrive `out_delay_s` after they are sent, echoes come back `back_delay_s` after they are due.
    """

    def __init__(
        self,
        *,
        out_delay_s: float = 0.0,
        back_delay_s: float = 0.0,
        drops_mark: Callable[[str], bool] = lambda name: False,
        on_echo: Callable[[str], object] = lambda name: None,
    ) -> None:
        self.out_delay_s = out_delay_s
        self.back_delay_s = back_delay_s
        self.drops_mark = drops_mark
        self.on_echo = on_echo
        self.played: list[Played] = []
        self.sent: list[tuple[float, str, Any]] = []
        """Everything that was sent to it: when, what, and with what."""
        self.echoed: list[str] = []
        self._on_the_way: deque[tuple[str, Any]] = deque()
        self._marks: deque[tuple[float, str]] = deque()
        self._echoes: deque[str] = deque()
        self._end_s = 0.0

    async def audio(self, ulaw: bytes) -> None:
        self.take("audio", ulaw)

    async def mark(self, name: str) -> None:
        self.take("mark", name)

    async def clear(self) -> None:
        self.take("clear", None)

    def take(self, kind: str, value: Any) -> None:
        self.sent.append((now_s(), kind, value))
        self._on_the_way.append((kind, value))
        asyncio.get_running_loop().call_later(self.out_delay_s, self._arrive)

    def times(self, kind: str) -> list[float]:
        return [at_s for at_s, sent, _ in self.sent if sent == kind]

    def heard_s(self, level: float) -> float:
        """Seconds of audio of this constant level that have been at the caller's ear by now."""
        seconds = 0.0
        for piece in self.played:
            audio = ulaw_to_float(piece.ulaw)
            loud = audio[audio > 0.02]  # the rest fills the frame up
            if loud.size and abs(float(np.median(loud)) - level) < 0.02:
                seconds += max(0.0, min(piece.end_s, now_s()) - piece.start_s)
        return seconds

    def _arrive(self) -> None:
        kind, value = self._on_the_way.popleft()
        now = now_s()
        if kind == "audio":
            start_s = max(now, self._end_s)
            self._end_s = start_s + len(value) / 8_000
            self.played.append(Played(start_s, self._end_s, value))
        elif kind == "mark":
            self._marks.append((max(now, self._end_s), value))
            asyncio.get_running_loop().call_at(max(now, self._end_s), self._echo_due)
        else:
            self._end_s = now
            self.played = [piece for piece in self.played if piece.start_s < now]
            for piece in self.played:
                piece.end_s = min(piece.end_s, now)
            self._marks = deque((now, name) for _, name in self._marks)
            self._echo_due()

    def _echo_due(self) -> None:
        while self._marks and self._marks[0][0] <= now_s() + 1e-9:
            _, name = self._marks.popleft()
            if not self.drops_mark(name):
                self._echoes.append(name)
                asyncio.get_running_loop().call_later(self.back_delay_s, self._echo)

    def _echo(self) -> None:
        name = self._echoes.popleft()
        self.echoed.append(name)
        self.on_echo(name)


class FakeTwilioLeg:
    """Twilio's end of the socket: a Socket whose other side speaks JSON and plays audio."""

    def __init__(self, carrier: FakeCarrier | None = None) -> None:
        self.carrier = carrier or FakeCarrier(out_delay_s=0.03, back_delay_s=0.03)
        self.carrier.on_echo = lambda name: self.say({"event": "mark", "streamSid": STREAM, "mark": {"name": name}})
        self.closed: tuple[int, str] | None = None
        self.broken = False
        """True: sending fails, though messages of the peer may still be unread."""
        self.flowing = asyncio.Event()
        """Cleared: the peer takes no more data."""
        self.flowing.set()
        self._to_us: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._chunk = 0

    # What the session sees

    async def receive(self) -> str | bytes:
        message = await self._to_us.get()
        if message is None:
            raise SocketClosed("the peer went away")
        return message

    async def send(self, text: str) -> None:
        if self.closed or self.broken:
            raise SocketClosed("closed")
        await self.flowing.wait()
        message = json.loads(text)
        assert message["streamSid"] == STREAM
        match message["event"]:
            case "media":
                self.carrier.take("audio", base64.b64decode(message["media"]["payload"]))
            case "mark":
                self.carrier.take("mark", message["mark"]["name"])
            case "clear":
                self.carrier.take("clear", None)
            case other:
                raise AssertionError(f"Twilio knows no event {other!r}")

    async def close(self, code: int, reason: str) -> None:
        assert len(reason.encode()) <= 123
        self.closed = self.closed or (code, reason)
        self.vanish()

    # What the test does

    def say(self, message: dict[str, Any] | str | bytes) -> None:
        self._to_us.put_nowait(json.dumps(message) if isinstance(message, dict) else message)

    def vanish(self) -> None:
        """The TCP connection is gone."""
        self._to_us.put_nowait(None)

    def connect(self) -> None:
        self.say({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, token: str = "", **changes: Any) -> None:
        body = {
            "accountSid": ACCOUNT,
            "streamSid": STREAM,
            "callSid": CALL,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token, "caller": "+15550100"},
        }
        self.say({"event": "start", "sequenceNumber": "1", "streamSid": STREAM, "start": body | changes})

    def media(self, ulaw: bytes = SILENT_FRAME, *, chunk: int | None = None, timestamp_ms: int | None = None) -> None:
        self._chunk = self._chunk + 1 if chunk is None else chunk
        at_ms = (self._chunk - 1) * 20 if timestamp_ms is None else timestamp_ms
        payload = base64.b64encode(ulaw).decode()
        body = {"track": "inbound", "chunk": str(self._chunk), "timestamp": str(at_ms), "payload": payload}
        self.say({"event": "media", "sequenceNumber": "2", "streamSid": STREAM, "media": body})

    async def silence(self, seconds: float) -> None:
        """The caller's side in real time, 20 ms a message."""
        for _ in range(round(seconds / 0.02)):
            self.media()
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        self.say({"event": "stop", "streamSid": STREAM, "stop": {"accountSid": ACCOUNT, "callSid": CALL}})


class FakeListener:
    """Remembers what the line told, and when."""

    def __init__(self) -> None:
        self.audible: list[tuple[float, str]] = []
        self.played: list[tuple[float, str]] = []

    def first_audio_sent(self, clause_id: str) -> None:
        self.audible.append((now_s(), clause_id))

    def clause_played(self, clause_id: str) -> None:
        self.played.append((now_s(), clause_id))


def tone(seconds: float, level: float = 0.3, rate_hz: int = 24_000) -> FloatAudio:
    """A constant level: it survives resampling and u-law, and tells clauses apart."""
    return np.full(round(seconds * rate_hz), level, dtype=np.float32)


def clause(words: str, *, word_s: float = 0.2, level: float = 0.3, parts: int = 1) -> list[SpeechChunk]:
    """Chunks of a clause whose words follow one another without pauses."""
    texts = words.split()
    timed = tuple(Word(text, i * word_s, (i + 1) * word_s) for i, text in enumerate(texts))
    pieces = np.array_split(tone(len(texts) * word_s, level), parts)
    return [SpeechChunk(piece, words=timed if i == 0 else (), last=i == parts - 1) for i, piece in enumerate(pieces)]
