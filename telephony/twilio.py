"""Twilio Media Streams as pure functions: wire text to typed events and back, TwiML, and signature checks.

Message shapes follow Twilio's "Media Streams - WebSocket messages" reference. Unknown fields are let pass (Twilio adds
some without notice), missing or mistyped ones are a WireError.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, VoiceResponse

from telephony.audio import WIRE_RATE_HZ

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Longest message taken. Twilio's own are about 350 bytes."""

MAX_PARAMETER_CHARS: Final = 500
"""Twilio's limit on name and value of one <Parameter> together."""

WIRE_ENCODING: Final = "audio/x-mulaw"

WireFault = Literal["too_long", "not_text", "broken_json", "bad_shape", "bad_payload", "wrong_format"]


class WireError(ValueError):
    """A message that is not what the protocol says: what was expected, and what came."""

    def __init__(self, fault: WireFault, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.fault: WireFault = fault


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket is a media stream's; sent first."""

    protocol: str
    version: str


@dataclass(frozen=True, slots=True)
class Start:
    """Who calls and in what format the audio comes; sent once."""

    stream_sid: str
    call_sid: str
    account_sid: str
    tracks: tuple[str, ...]
    encoding: str
    sample_rate_hz: int
    channels: int
    parameters: Mapping[str, str]
    """The <Parameter>s of the TwiML that opened the stream."""


@dataclass(frozen=True, slots=True)
class Media:
    """A piece of the caller's audio."""

    stream_sid: str
    track: str
    chunk: int
    """Counts the messages of a track, from 1."""
    timestamp_ms: int
    """Presentation time since the stream's start."""
    ulaw: bytes
    """G.711 u-law, 8000 Hz; 160 bytes are usual, any length is legal."""


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key was pressed."""

    stream_sid: str
    digit: str


@dataclass(frozen=True, slots=True)
class Mark:
    """The echo of a mark of ours: what was sent before it has been played, or was flushed by `clear`."""

    stream_sid: str
    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream is over: the caller hung up, or the call was moved on."""

    stream_sid: str
    call_sid: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event this version does not know: to be noted and passed over."""

    name: str


WireEvent: TypeAlias = Connected | Start | Media | Dtmf | Mark | Stop | Unknown

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
"""Twilio sends counts as JSON strings; plain numbers are taken too."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _ConnectedWire(_Wire):
    protocol: str
    version: str


class _MediaFormat(_Wire):
    encoding: str
    sampleRate: int
    channels: int


class _StartBody(_Wire):
    streamSid: Name
    callSid: Name
    accountSid: Name
    tracks: tuple[str, ...]
    mediaFormat: _MediaFormat
    customParameters: dict[str, str] = {}


class _StartWire(_Wire):
    streamSid: Name
    start: _StartBody


class _MediaBody(_Wire):
    track: str
    chunk: Count
    timestamp: Count
    payload: str


class _MediaWire(_Wire):
    streamSid: Name
    media: _MediaBody


class _DtmfBody(_Wire):
    digit: Annotated[str, Field(pattern=r"^[0-9A-D*#]$")]


class _DtmfWire(_Wire):
    streamSid: Name
    dtmf: _DtmfBody


class _MarkBody(_Wire):
    name: Name


class _MarkWire(_Wire):
    streamSid: Name
    mark: _MarkBody


class _StopBody(_Wire):
    callSid: str = ""


class _StopWire(_Wire):
    streamSid: Name
    stop: _StopBody = _StopBody()


class _UsualMediaBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    track: str
    chunk: str
    timestamp: str
    payload: bytes
    """msgspec reads base64 where bytes are wanted, as strictly as we do."""


class _UsualMedia(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A media message exactly as Twilio documents it: nearly all messages are, and this reads them ten times faster."""

    event: Literal["media"]
    streamSid: str
    media: _UsualMediaBody
    sequenceNumber: str = ""


_USUAL_MEDIA: Final = msgspec.json.Decoder(_UsualMedia)

_MOST_DIGITS: Final = 18

WireT = TypeVar("WireT", bound=_Wire)


def parse_message(message: str | bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> WireEvent:
    """One WebSocket message as an event. Raises WireError."""
    if len(message) > max_bytes:
        raise WireError("too_long", f"a message of at most {max_bytes} bytes", f"{len(message)}")
    if isinstance(message, bytes):
        raise WireError("not_text", "a text frame", f"a binary one of {len(message)} bytes")
    if '"media"' in message and (media := _usual_media(message)) is not None:
        return media
    try:
        data = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise WireError("broken_json", "a JSON object", f"{_shown(message)} ({error})") from error
    if not isinstance(data, dict):
        raise WireError("bad_shape", "a JSON object", _shown(message))
    event = data.get("event")
    if not isinstance(event, str):
        raise WireError("bad_shape", "an object with a text field 'event'", _shown(message))
    match event:
        case "media":
            return _media(_read(_MediaWire, event, data))
        case "mark":
            mark = _read(_MarkWire, event, data)
            return Mark(mark.streamSid, mark.mark.name)
        case "dtmf":
            dtmf = _read(_DtmfWire, event, data)
            return Dtmf(dtmf.streamSid, dtmf.dtmf.digit)
        case "stop":
            stop = _read(_StopWire, event, data)
            return Stop(stop.streamSid, stop.stop.callSid)
        case "start":
            return _start(_read(_StartWire, event, data))
        case "connected":
            connected = _read(_ConnectedWire, event, data)
            return Connected(connected.protocol, connected.version)
        case _:
            return Unknown(event[:40])


def check_media_format(start: Start) -> None:
    """Raises WireError unless the caller's audio comes as u-law, 8000 Hz, mono."""
    got = (start.encoding, start.sample_rate_hz, start.channels)
    if got != (WIRE_ENCODING, WIRE_RATE_HZ, 1):
        raise WireError(
            "wrong_format",
            f"start.mediaFormat {WIRE_ENCODING}, {WIRE_RATE_HZ} Hz, 1 channel",
            f"{_shown(start.encoding)}, {start.sample_rate_hz} Hz, {start.channels}",
        )
    if "inbound" not in start.tracks:
        raise WireError("wrong_format", "start.tracks with 'inbound'", _shown(",".join(start.tracks)))


def media_message(stream_sid: str, ulaw: bytes) -> str:
    """Audio to be played after what is buffered at Twilio."""
    payload = binascii.b2a_base64(ulaw, newline=False).decode("ascii")
    return f'{{"event": "media", "streamSid": {json.dumps(stream_sid)}, "media": {{"payload": "{payload}"}}}}'


def mark_message(stream_sid: str, name: str) -> str:
    """A mark, echoed once all audio sent before it has been played (or flushed)."""
    return json.dumps({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def clear_message(stream_sid: str) -> str:
    """Drop all audio buffered at Twilio; all outstanding marks come back at once."""
    return json.dumps({"event": "clear", "streamSid": stream_sid})


def _usual_media(message: str) -> Media | None:
    """A media message of the usual shape; None for everything else, which the other reader judges."""
    try:
        usual = _USUAL_MEDIA.decode(message)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
    body = usual.media
    chunk, timestamp = body.chunk, body.timestamp
    if not (usual.streamSid and body.payload and _is_count(chunk) and _is_count(timestamp)):
        return None
    return Media(usual.streamSid, body.track, int(chunk), int(timestamp), body.payload)


def _is_count(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= _MOST_DIGITS


def _read(model: type[WireT], event: str, data: dict[str, object]) -> WireT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        got = "nothing" if first["type"] == "missing" else _shown(repr(first["input"]))
        raise WireError("bad_shape", f"a {event!r} message with a valid {where} ({first['msg']})", got) from error


def _start(wire: _StartWire) -> Start:
    body = wire.start
    if body.streamSid != wire.streamSid:
        raise WireError("bad_shape", "the same streamSid twice in 'start'", f"{wire.streamSid} and {body.streamSid}")
    return Start(
        stream_sid=body.streamSid,
        call_sid=body.callSid,
        account_sid=body.accountSid,
        tracks=body.tracks,
        encoding=body.mediaFormat.encoding,
        sample_rate_hz=body.mediaFormat.sampleRate,
        channels=body.mediaFormat.channels,
        parameters=body.customParameters,
    )


def _media(wire: _MediaWire) -> Media:
    body = wire.media
    try:
        ulaw = base64.b64decode(body.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError("bad_payload", "media.payload in base64", f"{_shown(body.payload)} ({error})") from error
    if not ulaw:
        raise WireError("bad_payload", "media.payload of at least one u-law byte", "none")
    return Media(wire.streamSid, body.track, body.chunk, body.timestamp, ulaw)


def _shown(text: str) -> str:
    """A short, printable form of what came, fit for a log line."""
    return ascii(text[:60]) + ("..." if len(text) > 60 else "")


def stream_twiml(stream_url: str, *, action_url: str, parameters: Mapping[str, str]) -> str:
    """TwiML that connects the call to a two-way stream; `action_url` is asked for once the stream has ended.

    Raises ValueError for a URL that Twilio would refuse (error 31920) or a parameter over its limit.
    """
    url = urlsplit(stream_url)
    if url.scheme != "wss" or not url.netloc or url.query or url.fragment:
        raise ValueError(f"stream URL: expected wss://host/path without a query string, got {stream_url!r}")
    for name, value in parameters.items():
        if len(name) + len(value) >= MAX_PARAMETER_CHARS:
            raise ValueError(
                f"parameter {name!r}: name and value must be under {MAX_PARAMETER_CHARS} characters together, "
                f"got {len(name) + len(value)}"
            )
    connect = Connect(action=action_url, method="POST")
    stream = connect.stream(url=stream_url)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    response = VoiceResponse()
    response.append(connect)
    return str(response)


def hang_up_twiml() -> str:
    """TwiML that ends the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def dial_twiml(number: str, *, action_url: str, caller_id: str = "", whisper_url: str = "") -> str:
    """TwiML that puts the caller through to a number (E.164) or a SIP address.

    `action_url`: asked for TwiML once that is over, or has come to nothing. `caller_id`: shown to whoever is called;
    Twilio wants one of the account's numbers or the caller's own. `whisper_url`: asked for TwiML that is played to
    whoever answers, before the two are connected.
    """
    response = VoiceResponse()
    shown = {"caller_id": caller_id} if caller_id else {}
    dial = response.dial(action=action_url, method="POST", answer_on_bridge=True, **shown)
    if number.startswith(("sip:", "sips:")):
        dial.sip(number)
    else:
        dial.number(number, **({"url": whisper_url} if whisper_url else {}))
    return str(response)


def whisper_twiml(text: str, *, language: str = "en-US") -> str:
    """TwiML that says something to the one who was called, who is then connected."""
    response = VoiceResponse()
    response.say(text, language=language)
    return str(response)


def say_and_hang_up_twiml(text: str, *, language: str = "en-US") -> str:
    """TwiML in the carrier's own voice, for when ours cannot speak: too many calls, or the stream is lost for good."""
    response = VoiceResponse()
    response.say(text, language=language)
    response.hangup()
    return str(response)


class SignatureChecker:
    """Checks `X-Twilio-Signature`: base64 HMAC-SHA1 over the public URL and, for a webhook, the sorted form fields."""

    def __init__(self, auth_token: str, public_url: str) -> None:
        """`public_url` is what Twilio was given: https://host[:port][/prefix]. Raises ValueError."""
        url = urlsplit(public_url)
        if url.scheme != "https" or not url.hostname or url.query or url.fragment:
            raise ValueError(f"public URL: expected https://host[:port][/prefix], got {public_url!r}")
        if not auth_token:
            raise ValueError("auth token: expected the Twilio account's auth token, got an empty one")
        self._validator = RequestValidator(auth_token)
        self._host = url.netloc
        self._prefix = url.path.rstrip("/")

    def webhook_ok(self, path: str, form: Mapping[str, str], signature: str | None, *, query: str = "") -> bool:
        """True if a POST to `path` (below the public URL) with these form fields was signed by Twilio."""
        return self._signed("https", path, query, form, signature)

    def socket_ok(self, path: str, signature: str | None) -> bool:
        """True if the WebSocket handshake for `path` was signed by Twilio: over wss://host/path, without parameters."""
        return self._signed("wss", path, "", {}, signature)

    def _signed(self, scheme: str, path: str, query: str, form: Mapping[str, str], signature: str | None) -> bool:
        if not signature:
            return False
        given = signature.encode("utf-8", "replace")
        # Twilio signs with or without the default port, and with the slash as the URL was written in the console;
        # RequestValidator itself tries only :80 for wss.
        host, _, port = self._host.partition(":")
        hosts = {self._host, host, f"{host}:{port or 443}"}
        bare = self._prefix + "/" + path.strip("/")
        # Every form is compared, so that the time taken does not tell which one was near.
        matches = [
            hmac.compare_digest(given, self._expected(urlunsplit((scheme, name, slashed, query, "")), form))
            for name in hosts
            for slashed in (bare.rstrip("/"), bare.rstrip("/") + "/")
        ]
        return any(matches)

    def _expected(self, url: str, form: Mapping[str, str]) -> bytes:
        return str(self._validator.compute_signature(url, dict(form))).encode("ascii")
