"""A simulated Twilio caller: phones a gateway over real HTTP and WebSocket, and measures it from the outside.

What it sends is what Twilio sends: a signed voice webhook, a signed WebSocket handshake, `connected`, `start`, 20 ms
of u-law every 20 ms from the first moment to the last, `mark` echoes, `dtmf`, `stop`, and then a request to `action`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree

import httpx
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bench.actor import Actor, CallerEvent, OnEvent, Playback
from bench.script import Script
from bench.v2v import CallRecord, EndedBy, WireAudio, measure_turns
from bench.voices import NoiseSource, RenderedLine, Voice, make_noise, render_turn
from telephony.audio import FRAME_BYTES, FRAME_S, WIRE_RATE_HZ, float_to_ulaw, ulaw_to_float

_HTTP_TIMEOUT_S = 15.0
"""Twilio's own limit for reading a webhook's answer."""
_NORMAL_CLOSURE = 1000


class CallFailed(RuntimeError):
    """The call could not be placed or was refused: names the step, what was expected and what came."""

    def __init__(self, step: Literal["webhook", "stream"], status: int | None, detail: str) -> None:
        super().__init__(f"{step}: {detail}")
        self.step = step
        self.status = status
        """HTTP status, if there was an answer."""


@dataclass(frozen=True, slots=True)
class CallTarget:
    """Who is called, and what Twilio would know."""

    public_url: str
    """https://host under which the gateway is registered with Twilio: what is signed. Never connected to."""
    base_url: str
    """http://127.0.0.1:port: where the gateway is really reached."""
    auth_token: str
    voice_path: str = "/twilio/voice"
    account_sid: str = "AC" + "0" * 32
    from_number: str = "+15005550006"
    to_number: str = "+15005550001"
    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class StreamInstructions:
    """What the TwiML of a voice webhook asks for."""

    url: str
    parameters: Mapping[str, str]
    action: str | None


@dataclass(frozen=True, slots=True)
class Speech:
    """Everything the caller will say in a script, rendered."""

    lines: tuple[RenderedLine | None, ...]
    noises: tuple[NoiseSource, ...]


def prepare_speech(script: Script, voice: Voice, seed: int) -> Speech:
    """Render all lines of a script. Blocking: seconds a line the first time, nothing once they are kept on disk.

    Raises VoiceError.
    """
    lines = tuple(render_turn(turn, voice, seed) for turn in script.turns)
    noises = []
    if script.noise is not None:
        noises.append(make_noise(script.noise.kind, script.noise.snr_db, seed, voice))
    if script.comfort_noise_dbfs is not None:
        noises.append(NoiseSource.white(script.comfort_noise_dbfs, seed))
    return Speech(lines, tuple(noises))


async def place_call(
    target: CallTarget, script: Script, *, seed: int, voice: Voice, on_event: OnEvent = lambda event: None
) -> CallRecord:
    """Place one call and play the script to its end.

    `on_event` is called on the event loop as things happen and must return at once.
    Raises CallFailed if the webhook or the stream is refused, VoiceError if the caller cannot speak.
    """
    speech = await asyncio.to_thread(prepare_speech, script, voice, seed)
    stream_sid = "MZ" + secrets.token_hex(16)
    wall_time_s = time.time()
    playback = Playback()
    actor = Actor(script, speech.lines, playback, speech.noises, on_event)
    async with httpx.AsyncClient(timeout=_HTTP_TIMEOUT_S, trust_env=False) as http:
        twilio = _Twilio(target, http)
        instructions = await twilio.voice_webhook()
        try:
            socket = await twilio.open_stream(instructions.url)
        except (OSError, InvalidHandshake, TimeoutError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            raise CallFailed("stream", status, f"expected a WebSocket at {instructions.url}; {error}") from error
        media = _MediaStream(socket, target, stream_sid, instructions.parameters, actor, playback)
        on_event(CallerEvent("connected", 0.0, -1, stream_sid))
        try:
            ended_by, reason = await media.run()
        finally:
            await socket.close()
        verbs = await twilio.after_stream(instructions.action, hung_up=ended_by == "caller")
    on_event(CallerEvent("ended", actor.now / WIRE_RATE_HZ, len(script.turns) - 1, reason))
    agent = playback.played(0, len(media.sent))
    return CallRecord(
        script=script.name,
        call_sid=target.call_sid,
        stream_sid=stream_sid,
        voice=voice.name,
        seed=seed,
        noise=f"{script.noise.kind} {script.noise.snr_db:g} dB" if script.noise else "none",
        started_wall_time_s=wall_time_s,
        duration_s=actor.now / WIRE_RATE_HZ,
        ended_by=ended_by,
        end_reason=reason,
        action_verbs=verbs,
        turns=measure_turns(actor.lines(), ulaw_to_float(agent), playback.clears),
        marks_received=playback.marks_received,
        marks_played=playback.marks_played,
        clears=len(playback.clears),
        underruns=playback.underruns,
        underrun_ms=playback.underrun_samples * 1000 / WIRE_RATE_HZ,
        latest_frame_ms=media.latest_frame_s * 1000,
    ).attach(WireAudio(bytes(media.sent), agent))


def parse_stream_twiml(twiml: str) -> StreamInstructions:
    """The two-way stream that TwiML connects to. Raises CallFailed if it connects to none."""
    root = _parse_twiml(twiml)
    connect_verb = root.find("Connect")
    stream = None if connect_verb is None else connect_verb.find("Stream")
    if connect_verb is None or stream is None:
        verbs = ", ".join(child.tag for child in root) or "no verb"
        raise CallFailed("webhook", 200, f"expected TwiML with <Connect><Stream>, got {verbs}: {twiml[:200]}")
    url = stream.get("url", "")
    if urlsplit(url).scheme != "wss" or urlsplit(url).query:
        raise CallFailed("webhook", 200, f"expected a wss:// URL without a query string in <Stream>, got {url!r}")
    parameters = {item.get("name", ""): item.get("value", "") for item in stream.findall("Parameter")}
    return StreamInstructions(url, parameters, connect_verb.get("action"))


def _parse_twiml(twiml: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(twiml)  # noqa: S314  # our own gateway's answer
    except ElementTree.ParseError as error:
        raise CallFailed("webhook", 200, f"expected TwiML, got {twiml[:200]!r} ({error})") from error
    if root.tag != "Response":
        raise CallFailed("webhook", 200, f"expected TwiML with <Response> at the top, got <{root.tag}>")
    return root


class _Twilio:
    """Twilio's requests, signed for the public URL, sent to the real one."""

    def __init__(self, target: CallTarget, http: httpx.AsyncClient) -> None:
        self._target = target
        self._http = http
        self._validator = RequestValidator(target.auth_token)
        self._base = urlsplit(target.base_url)

    async def voice_webhook(self) -> StreamInstructions:
        """Ask what to do with the call. Raises CallFailed."""
        url = self._target.public_url.rstrip("/") + self._target.voice_path
        try:
            answer = await self._post(url, self._form("ringing"))
        except httpx.HTTPError as error:
            raise CallFailed("webhook", None, f"no answer from {self._target.base_url} ({error!r})") from error
        if answer.status_code != httpx.codes.OK:
            detail = f"expected 200 from {self._target.voice_path}, got {answer.status_code}: {answer.text[:200]}"
            raise CallFailed("webhook", answer.status_code, detail)
        return parse_stream_twiml(answer.text)

    async def open_stream(self, url: str) -> ClientConnection:
        """The media stream's socket."""
        parts = urlsplit(url)
        return await connect(
            urlunsplit(("ws", parts.netloc, parts.path, "", "")),
            host=self._base.hostname,
            port=self._base.port or 80,
            proxy=None,
            compression=None,
            additional_headers={"X-Twilio-Signature": str(self._validator.compute_signature(url, {}))},
            user_agent_header="TwilioMediaStreams/1.0",
            ping_interval=None,
        )

    async def after_stream(self, action: str | None, *, hung_up: bool) -> tuple[str, ...]:
        """Ask `action` what comes next; its verbs. None are followed."""
        if action is None:
            return ()
        public = action if "://" in action else self._target.public_url.rstrip("/") + action
        try:
            answer = await self._post(public, self._form("completed" if hung_up else "in-progress"))
        except httpx.HTTPError as error:
            return (f"(no answer: {error!r})",)
        if answer.status_code != httpx.codes.OK:
            return (f"(HTTP {answer.status_code})",)
        try:
            return tuple(verb.tag for verb in _parse_twiml(answer.text))
        except CallFailed as error:
            return (f"({error})",)

    async def go_on(self, action: str | None) -> StreamInstructions:
        """Ask `action` after a stream that broke: the next stream. Raises CallFailed if the call is over."""
        if action is None:
            raise CallFailed("webhook", None, "the TwiML had no `action` to ask after its stream")
        try:
            answer = await self._post(action, self._form("in-progress"))
        except httpx.HTTPError as error:
            raise CallFailed("webhook", None, f"no answer from {self._target.base_url} ({error!r})") from error
        return parse_stream_twiml(answer.text)

    async def _post(self, url: str, form: dict[str, str]) -> httpx.Response:
        parts = urlsplit(url)
        return await self._http.post(
            urlunsplit((self._base.scheme, self._base.netloc, parts.path, parts.query, "")),
            data=form,
            headers={
                "Host": parts.netloc,
                "X-Twilio-Signature": str(self._validator.compute_signature(url, form)),
                "User-Agent": "TwilioProxy/1.1",
            },
        )

    def _form(self, status: str) -> dict[str, str]:
        target = self._target
        return {
            "AccountSid": target.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": target.call_sid,
            "CallStatus": status,
            "Called": target.to_number,
            "Caller": target.from_number,
            "Direction": "inbound",
            "From": target.from_number,
            "To": target.to_number,
        }


class _MediaStream:
    """One media stream, from `connected` to `stop`.

    Sample 0 of the timeline is when `start` has been sent. The frame of samples [160 k, 160 (k + 1)) leaves when its
    last sample has been spoken, at (k + 1) * 20 ms: no sample is on the wire before its time.
    """

    def __init__(
        self,
        socket: ClientConnection,
        target: CallTarget,
        stream_sid: str,
        parameters: Mapping[str, str],
        actor: Actor,
        playback: Playback,
    ) -> None:
        self._socket = socket
        self._target = target
        self._stream_sid = stream_sid
        self._parameters = parameters
        self._actor = actor
        self._playback = playback
        self._sequence = 0
        self._began_s = 0.0
        self.sent = bytearray()
        """The caller's side as it went out."""
        self.latest_frame_s = 0.0
        self._hung_up = False

    async def run(self) -> tuple[EndedBy, str]:
        """Talk until one side ends the call; who did, and how."""
        await self._socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await self._send("start", self._start_body())
        self._began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            talking = tasks.create_task(self._talk())
            fault = await self._listen()
            if not self._hung_up:
                talking.cancel()
        if fault:
            return "failure", fault
        if self._hung_up:
            return "caller", "the caller hung up"
        code, why = self._socket.close_code, self._socket.close_reason
        if code == _NORMAL_CLOSURE:
            return "agent", "the agent ended the call"
        return "failure", f"the stream was closed with {code} {why!r}"

    async def _talk(self) -> None:
        """Send the caller's frames on time until the caller hangs up or the stream is closed."""
        loop = asyncio.get_running_loop()
        frame_count = 0
        with contextlib.suppress(ConnectionClosed):
            while (frame := self._actor.next_frame()) is not None:
                frame_count += 1
                due_s = self._began_s + frame_count * FRAME_S
                await asyncio.sleep(due_s - loop.time())
                ulaw = float_to_ulaw(frame)
                await self._send_frame(frame_count, ulaw)
                self.sent += ulaw
                self.latest_frame_s = max(self.latest_frame_s, loop.time() - due_s)
                for key in self._actor.take_keys():
                    await self._send("dtmf", {"track": "inbound_track", "digit": key})
                await self._echo(self._playback.due(self._now()))
            self._hung_up = True
            await self._send("stop", {"accountSid": self._target.account_sid, "callSid": self._target.call_sid})
            await self._socket.close()

    async def _listen(self) -> str:
        """Take what the agent sends until either side closes the stream; what was wrong with it, or ''."""
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                fault = await self._take(text)
                if fault:
                    return fault
        return ""

    async def _take(self, text: str | bytes) -> str:
        now = self._now()
        try:
            message = json.loads(text)
            event = message["event"]
            if message["streamSid"] != self._stream_sid:
                return f"the agent sent {text[:120]!r}; expected streamSid {self._stream_sid!r}"
            if event == "media":
                self._playback.media(base64.b64decode(message["media"]["payload"], validate=True), now)
            elif event == "mark":
                self._playback.mark(str(message["mark"]["name"]), now)
                await self._echo(self._playback.due(now))
            elif event == "clear":
                await self._echo(self._playback.clear(now))
            else:
                return f"the agent sent the event {event!r}; expected media, mark or clear"
        except (ValueError, KeyError, TypeError) as error:
            return f"the agent sent {text[:120]!r}; expected a media, mark or clear message ({error!r})"
        return ""

    async def _echo(self, names: list[str]) -> None:
        for name in names:
            await self._send("mark", {"name": name})

    async def _send_frame(self, count: int, ulaw: bytes) -> None:
        body = {
            "track": "inbound",
            "chunk": str(count),
            "timestamp": str((count - 1) * FRAME_BYTES * 1000 // WIRE_RATE_HZ),
            "payload": base64.b64encode(ulaw).decode("ascii"),
        }
        await self._send("media", body)

    async def _send(self, event: str, body: Mapping[str, object]) -> None:
        self._sequence += 1
        message = {
            "event": event,
            "sequenceNumber": str(self._sequence),
            "streamSid": self._stream_sid,
            event: body,
        }
        await self._socket.send(json.dumps(message))

    def _start_body(self) -> dict[str, object]:
        return {
            "accountSid": self._target.account_sid,
            "streamSid": self._stream_sid,
            "callSid": self._target.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": WIRE_RATE_HZ, "channels": 1},
            "customParameters": dict(self._parameters),
        }

    def _now(self) -> int:
        """The timeline's sample at this moment."""
        return max(0, round((asyncio.get_running_loop().time() - self._began_s) * WIRE_RATE_HZ))
