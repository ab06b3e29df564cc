"""A carrier with one caller, who books a time, is patient, and calls nothing booked that was not said to be."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import httpx
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from serve.gateway_state import ACTION_PATH, MEDIA_PATH, VOICE_PATH
from tests.chaos.lines import GOODBYE, LINES, NAME, QUESTION, SLOTS, WISH, YES
from tests.pipeline.fakes import AMPLITUDE_STEP, WORD_S
from tests.serve.gateway_rig import FRAME_S, PUBLIC_URL, TOKEN, Stream, twiml_parameters

Told = Literal["nothing", "booked", "taken", "not promised"]

ANSWERS: tuple[tuple[str, str], ...] = (
    ("Is that right?", YES),
    ("What name", NAME),
    ("get the name", NAME),
    ("Which would you like?", "slot"),
    ("Which day and time", "slot"),
    ("How can I help", WISH),
    ("we were cut off", WISH),
    ("Are you still there", "again"),
    ("something went wrong", "again"),
    ("say that", "again"),
)
"""What is answered to words of the agent's; the first that fits."""
LONGEST_S = 120.0
LOGGED_WITHIN_S = 5.0
IMPATIENT_S = 6.0
"""Silence after which the caller says the last thing again."""


@dataclass(slots=True)
class Caller:
    """One call, from the first ring to the end, over as many gateways as it takes."""

    call_sid: str
    hour: str
    """Of the opening that is wanted."""
    phone: str
    gateways: list[str]
    """Base URLs of those that are up; the carrier asks the first that answers."""
    runs_dir: Path
    asks: bool
    """Whether there is a question in the middle, for the language model."""
    told: Told = "nothing"
    heard: list[str] = field(default_factory=list)
    streams: int = 0
    speaks_again_after_s: float | None = None
    """From the moment that its gateway was gone to the next gateway's first sound."""
    end: str = ""
    booking: asyncio.Event = field(default_factory=asyncio.Event)
    """A booking was sent."""
    _logged: asyncio.Event = field(default_factory=asyncio.Event)
    """The gateway that had the call last has written that it is over."""
    _say: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _last: str = WISH
    _asked: bool = False
    _acted_s: float = 0.0
    _cut_s: float | None = None

    async def call(self) -> None:
        """Place the call and have it; returns at its end."""
        following = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(LONGEST_S):
                answer = await self._webhook(VOICE_PATH)
                while (parameters := twiml_parameters(answer)) and (url := self._media_url()):
                    self.streams += 1
                    await self._converse(url, parameters)
                    if self.end == "hung up":
                        return
                    self._cut_s = asyncio.get_running_loop().time()
                    answer = await self._webhook(ACTION_PATH, f"?attempt={min(self.streams, 2)}")
            dialled = ElementTree.fromstring(answer.text).find("Dial")
            self.end = self.end or ("put through" if dialled is not None else "ended by the agent")
        except TimeoutError:
            self.end = "never ended"
        finally:
            # The call's log is a little behind the call.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOGGED_WITHIN_S):
                    await self._logged.wait()
            following.cancel()

    async def _webhook(self, path: str, query: str = "") -> httpx.Response:
        form = {"CallSid": self.call_sid, "From": self.phone, "To": "+15550002222", "CallStatus": "in-progress"}
        signature = RequestValidator(TOKEN).compute_signature(PUBLIC_URL + path + query, form)
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                for gateway in list(self.gateways):
                    with suppress(httpx.TransportError):
                        headers = {"X-Twilio-Signature": signature}
                        return await client.post(gateway + path + query, data=form, headers=headers)
                await asyncio.sleep(0.2)

    def _media_url(self) -> str:
        return self.gateways[0].replace("http", "ws") + MEDIA_PATH if self.gateways else ""

    async def _converse(self, url: str, parameters: dict[str, str]) -> None:
        signature = RequestValidator(TOKEN).compute_signature("wss://calls.example.com" + MEDIA_PATH, {})
        with suppress(WebSocketException, OSError):
            async with connect(url, additional_headers={"X-Twilio-Signature": signature}, max_size=None) as socket:
                stream = Stream(socket, self.call_sid)
                await stream.begin(parameters)
                talking = asyncio.create_task(self._talk(stream))
                try:
                    await _listen(stream, socket)
                finally:
                    talking.cancel()
                    with suppress(asyncio.CancelledError, WebSocketException, OSError):
                        await talking

    async def _talk(self, stream: Stream) -> None:
        """Frames in real time: what is to be said, else silence."""
        loop = asyncio.get_running_loop()
        due_s, self._acted_s = loop.time(), loop.time()
        while not self.end:
            amplitude, frames = 0.0, 1
            if not self._say.empty():
                line = self._say.get_nowait()
                amplitude, frames = (LINES.index(line) + 1) * AMPLITUDE_STEP, round(_length_s(line) / FRAME_S)
            elif loop.time() - self._acted_s > IMPATIENT_S:
                self._utter(self._last)
            for _ in range(frames):
                await stream.media(amplitude=amplitude)
                due_s += FRAME_S
                await asyncio.sleep(max(0.0, due_s - loop.time()))
        await stream.send("stop", streamSid=stream.stream_sid, stop={"accountSid": "AC1", "callSid": self.call_sid})

    def _utter(self, line: str) -> None:
        self._last, self._acted_s = line, asyncio.get_running_loop().time()
        self._say.put_nowait(line)

    async def _follow(self) -> None:
        """Read what was heard from the calls' event logs, those of gateways that are dead by now included."""
        read: dict[Path, int] = {}
        while True:
            for path in sorted(self.runs_dir.glob(f"*-{self.call_sid}/events.jsonl")):
                data = path.read_bytes()[read.get(path, 0) :]
                whole = data[: data.rfind(b"\n") + 1]
                read[path] = read.get(path, 0) + len(whole)
                for line in whole.splitlines():
                    self._happened(json.loads(line))
            await asyncio.sleep(0.05)

    def _happened(self, event: dict[str, object]) -> None:
        match event:
            case {"kind": "tool_started", "tool": "book_appointment"}:
                self.booking.set()
            case {"kind": "first_audio"}:
                self._acted_s = asyncio.get_running_loop().time()
                if self._cut_s is not None and self.speaks_again_after_s is None:
                    self.speaks_again_after_s = self._acted_s - self._cut_s
            case {"kind": "call_ended"}:
                self._logged.set()
            case {"kind": "reply_ended", "heard": str(heard)} if heard:
                self.heard.append(heard)
                self._react(heard)

    def _react(self, heard: str) -> None:
        if "You're booked" in heard:
            self.told = "booked"
        elif "just been taken" in heard:
            self.told = "taken"
        elif "can't promise" in heard or "can't reach" in heard:
            self.told = "not promised"
        if "Goodbye" in heard and self.told != "nothing":
            self.end = "hung up"
        elif self.told == "booked":
            self._utter(GOODBYE)
        elif self.told in ("nothing", "taken"):
            answer = next((answer for words, answer in ANSWERS if words in heard), None)
            if answer == NAME and self.asks and not self._asked:
                self._asked, answer = True, QUESTION
            if answer is not None:
                self._utter({"slot": SLOTS[self.hour], "again": self._last}.get(answer, answer))


def _length_s(line: str) -> float:
    return len(line.split()) * WORD_S


async def _listen(stream: Stream, socket: ClientConnection) -> None:
    """Play what comes, and say so by its marks once it has been played."""
    loop = asyncio.get_running_loop()
    end_s = loop.time()
    echoes: list[tuple[float, object]] = []

    async def echo() -> None:
        while True:
            while echoes and echoes[0][0] <= loop.time():
                await stream.send("mark", streamSid=stream.stream_sid, mark=echoes.pop(0)[1])
            await asyncio.sleep(0.02)

    echoing = asyncio.create_task(echo())
    try:
        async for message in socket:
            event = json.loads(message)
            if event["event"] == "media":
                seconds = len(event["media"]["payload"]) * 3 / 4 / 8000
                end_s = max(end_s, loop.time()) + seconds
            elif event["event"] == "mark":
                echoes.append((end_s, event["mark"]))
            elif event["event"] == "clear":
                end_s = loop.time()
                echoes[:] = [(end_s, mark) for _, mark in echoes]
    finally:
        echoing.cancel()
        with suppress(asyncio.CancelledError, WebSocketException, OSError):
            await echoing
