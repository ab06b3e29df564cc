"""Many callers in one lean process: prepared lines, real webhooks and WebSockets, an absolute 20 ms schedule for each.

`bench.caller` listens to what it hears and acts on it; thirty-two of it would take the cores from the gateway they
measure. These speak by the clock, whatever the agent says, and count how late they were themselves.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from bench.actor import Playback
from bench.caller import CallTarget, _Twilio
from bench.voices import PiperVoice
from models.weights import home_folder, prepare
from telephony.audio import FRAME_BYTES, FRAME_S, SILENT_FRAME, WIRE_RATE_HZ, float_to_ulaw
from telephony.playout import PlayoutSettings

TOKEN: Final = "bench"  # noqa: S105 (any will do: both sides are ours)
PUBLIC_URL: Final = "https://calls.example.com"

LINES = (
    "When are you open on weekdays?",
    "How much is a cleaning?",
    "Where can I park my car?",
    "Do you see children?",
)
"""What the callers say; Piper's voice, rendered once and kept on disk."""
LINE_SEED = 7
REPLY_S = 5.0
"""Silence after each line: the reply fits in."""
GREETING_S = 4.5
RAMP_S = 4.0
"""Calls come in one after another over this time, so that neither frames nor turns fall together."""
SETTLE_S = 1.0


def spoken_lines(texts: Sequence[str] = LINES) -> list[list[str]]:
    """The texts as base64 payloads of 20 ms of u-law; rendered by Piper the first time."""
    voice = PiperVoice(prepare("piper-joe"), home_folder() / "caller")
    return [_payloads(float_to_ulaw(voice.render(text, LINE_SEED))) for text in texts]


def _payloads(ulaw: bytes) -> list[str]:
    frames = (ulaw[at : at + FRAME_BYTES] for at in range(0, len(ulaw), FRAME_BYTES))
    return [base64.b64encode(frame + SILENT_FRAME[len(frame) :]).decode("ascii") for frame in frames]


def call_payloads(
    lines: Sequence[Sequence[str]], frames: int, wait_s: float, first: int, reply_s: float = REPLY_S
) -> list[str]:
    """A whole call: silence for `wait_s`, then lines in turn from number `first`, each with `reply_s` of silence."""
    (silence,) = _payloads(SILENT_FRAME)

    def quiet(seconds: float) -> Iterable[str]:
        return repeat(silence, round(seconds / FRAME_S))

    payloads = list(quiet(wait_s))
    number = first
    while len(payloads) < frames:
        payloads += chain(lines[number % len(lines)], quiet(reply_s))
        number += 1
    return payloads[:frames]


class LoadCaller:
    """One caller: prepared frames out on an absolute schedule, marks back when their audio has been played."""

    def __init__(self, socket: ClientConnection, target: CallTarget, parameters: Mapping[str, str]) -> None:
        self._socket = socket
        self._target = target
        self._parameters = parameters
        self._stream_sid = target.call_sid.replace("CA", "MZ", 1)
        self._sequence = 0
        self._began_s = 0.0
        self._reply_s = self._reply_end_s = 0.0
        self._reply_frames = 0
        self.playback = Playback()
        self.late_ms: list[float] = []
        """How late each of our frames went out."""
        self.arrival_late_ms: list[float] = []
        """How late each frame of a reply came in, against its first one; see `_arrived`."""

    async def call(self, payloads: Sequence[str]) -> None:
        """Say everything, then hang up. Raises ConnectionError if the gateway closes the stream before."""
        await self._socket.send('{"event": "connected", "protocol": "Call", "version": "1.0.0"}')
        start = {
            "accountSid": self._target.account_sid,
            "streamSid": self._stream_sid,
            "callSid": self._target.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": WIRE_RATE_HZ, "channels": 1},
            "customParameters": dict(self._parameters),
        }
        await self._send("start", json.dumps(start))
        self._began_s = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            await self._talk(payloads)
            await self._send(
                "stop", json.dumps({"accountSid": self._target.account_sid, "callSid": self._target.call_sid})
            )
            await self._socket.close()
            await listening

    async def _talk(self, payloads: Sequence[str]) -> None:
        try:
            for number, payload in enumerate(payloads, start=1):
                due_s = self._began_s + number * FRAME_S
                await asyncio.sleep(due_s - time.perf_counter())
                media = (
                    f'{{"track": "inbound", "chunk": "{number}", "timestamp": "{(number - 1) * 20}", '
                    f'"payload": "{payload}"}}'
                )
                await self._send("media", media)
                self.late_ms.append(max(0.0, time.perf_counter() - due_s) * 1000)
                for name in self.playback.due(self._now()):
                    await self._echo(name)
        except ConnectionClosed as error:
            raise ConnectionError(f"call {self._target.call_sid}: the gateway closed the stream: {error}") from error

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                now_s = time.perf_counter()
                message = json.loads(text)
                match message["event"]:
                    case "media":
                        self._arrived(now_s)
                        self.playback.media(base64.b64decode(message["media"]["payload"]), self._now())
                    case "mark":
                        self.playback.mark(message["mark"]["name"], self._now())
                    case "clear":
                        self._reply_end_s = 0.0
                        for name in self.playback.clear(self._now()):
                            await self._echo(name)

    def _arrived(self, now_s: float) -> None:
        """Hold a frame against playout's schedule: 20 ms apart, the first few at once, that far ahead of the ear."""
        if now_s > self._reply_end_s:
            self._reply_s, self._reply_frames = now_s, 0
        ahead_s = PlayoutSettings().send_ahead_ms / 1000
        due_s = self._reply_s + max(0.0, self._reply_frames * FRAME_S - ahead_s)
        if self._reply_frames:
            self.arrival_late_ms.append((now_s - due_s) * 1000)
        self._reply_frames += 1
        self._reply_end_s = self._reply_s + self._reply_frames * FRAME_S

    async def _echo(self, name: str) -> None:
        await self._send("mark", json.dumps({"name": name}))

    async def _send(self, event: str, body: str) -> None:
        self._sequence += 1
        await self._socket.send(
            f'{{"event": "{event}", "sequenceNumber": "{self._sequence}", "streamSid": "{self._stream_sid}", '
            f'"{event}": {body}}}'
        )

    def _now(self) -> int:
        """The sample of the call at this moment."""
        return max(0, round((time.perf_counter() - self._began_s) * WIRE_RATE_HZ))


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Of a stretch of time, in cores."""

    gateway: float
    gateway_loop: float
    """Of it, the thread of the event loop; the rest is recorders and what else runs in threads."""
    callers: float
    others: float
    """Everything else on the machine: above 0.1, the figures are not ours alone."""
    stolen: float
    """Time the hypervisor gave to others."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of so many calls at once."""

    calls: int
    cpu: CpuUse
    late_ms: list[float]
    """The callers' own frames."""
    arrival_late_ms: list[float]
    underruns: int
    """How often a caller's buffer ran dry in the middle of a reply."""


class _CpuMeter:
    def __init__(self, gateway_pid: int) -> None:
        self._pid = gateway_pid
        self._gateway = psutil.Process(gateway_pid)
        self._callers = psutil.Process()
        self._before = self._read()

    def _read(self) -> tuple[float, ...]:
        machine = psutil.cpu_times()
        busy_s = machine.user + machine.system + getattr(machine, "irq", 0.0) + getattr(machine, "softirq", 0.0)
        both = (one.cpu_times() for one in (self._gateway, self._callers))
        gateway_s, callers_s = (one.user + one.system for one in both)
        loop_s = sum(one.user_time + one.system_time for one in self._gateway.threads() if one.id == self._pid)
        return time.perf_counter(), gateway_s, loop_s, callers_s, busy_s, getattr(machine, "steal", 0.0)

    def use(self) -> CpuUse:
        """Since the meter was made."""
        wall_s, gateway_s, loop_s, callers_s, busy_s, stolen_s = (
            after - before for after, before in zip(self._read(), self._before, strict=True)
        )
        others_s = max(0.0, busy_s - gateway_s - callers_s)
        shares = (seconds / wall_s for seconds in (gateway_s, loop_s, callers_s, others_s, stolen_s))
        return CpuUse(*shares)


async def put_load(
    pid: int,
    port: int,
    lines: Sequence[Sequence[str]],
    calls: int,
    seconds: float,
    meanwhile: Callable[[], Coroutine[None, None, None]] | None = None,
) -> Load:
    """So many calls at once to a gateway process `pid` at `port` of this machine, for so many seconds once all are up.

    `meanwhile` runs during that time. Raises ConnectionError if the gateway closes a stream, bench.caller.CallFailed if
    it refuses one.
    """
    random = np.random.default_rng(calls)
    cycle_s = REPLY_S + FRAME_S * len(lines[0])
    frames = round((RAMP_S + SETTLE_S + seconds) / FRAME_S)
    callers: list[LoadCaller] = []

    async def one(number: int, http: httpx.AsyncClient) -> None:
        await asyncio.sleep(RAMP_S * number / calls)
        wait_s = GREETING_S + float(random.uniform(0, cycle_s if calls > 1 else 0))
        payloads = call_payloads(lines, frames, wait_s, first=number)
        async with _stream(port, http) as (socket, target, parameters):
            caller = LoadCaller(socket, target, parameters)
            callers.append(caller)
            await caller.call(payloads)

    async def metered() -> CpuUse:
        await asyncio.sleep(RAMP_S + SETTLE_S)
        meter = _CpuMeter(pid)
        began_s = time.perf_counter()
        if meanwhile is not None:
            await meanwhile()
        await asyncio.sleep(began_s + seconds - SETTLE_S - time.perf_counter())
        return meter.use()

    async with httpx.AsyncClient(trust_env=False) as http, asyncio.TaskGroup() as tasks:
        metering = tasks.create_task(metered())
        for number in range(calls):
            tasks.create_task(one(number, http))
    return Load(
        calls=calls,
        cpu=metering.result(),
        late_ms=[late for caller in callers for late in caller.late_ms],
        arrival_late_ms=[late for caller in callers for late in caller.arrival_late_ms],
        underruns=sum(caller.playback.underruns for caller in callers),
    )


@asynccontextmanager
async def _stream(
    port: int, http: httpx.AsyncClient
) -> AsyncIterator[tuple[ClientConnection, CallTarget, Mapping[str, str]]]:
    """A media stream as Twilio opens it: signed webhook, signed handshake."""
    target = CallTarget(PUBLIC_URL, f"http://127.0.0.1:{port}", TOKEN)
    twilio = _Twilio(target, http)
    instructions = await twilio.voice_webhook()
    socket = await twilio.open_stream(instructions.url)
    try:
        yield socket, target, instructions.parameters
    finally:
        await socket.close()
