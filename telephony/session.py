"""One media stream, from the socket's opening to its end: checks, the caller's audio in, the agent's audio out.

The socket itself is the server's; here it is a small protocol, so that a call runs the same under any server or none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Protocol

import numpy as np
from pydantic import Field

from models.settings import StrictModel
from models.types import HEARING_RATE_HZ, FloatAudio
from pipeline.clock import Clock
from pipeline.ports import PlayoutListener
from telephony.audio import WIRE_RATE_HZ, Resampler, ulaw_to_float
from telephony.echo import EchoGuard
from telephony.inbound import CallerAudio, SessionCounts
from telephony.playout import LineLost, MediaTap, PacingStats, Playout, PlayoutSettings
from telephony.tokens import TokenError
from telephony.twilio import (
    Connected,
    Dtmf,
    Mark,
    Media,
    Start,
    Stop,
    Unknown,
    WireError,
    WireEvent,
    check_media_format,
    clear_message,
    mark_message,
    media_message,
    parse_message,
)

log = logging.getLogger(__name__)

NORMAL: Final = 1000
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013
"""WebSocket close codes (RFC 6455, 7.4.1, and IANA's registry)."""

MAX_CLOSE_REASON_BYTES: Final = 123
"""RFC 6455, 5.5: a control frame holds 125 bytes, two of them the code."""

_MAX_WARNINGS = 20

_TIMER_S = 0.001
"""A timer may fire this much early: uvloop's clock ticks in whole milliseconds."""

TOKEN_PARAMETER: Final = "token"  # noqa: S105 (the name of a parameter)
CALLER_PARAMETER: Final = "caller"
CALLED_PARAMETER: Final = "called"
"""Names of the <Parameter>s that our TwiML sends and the start message brings back."""


class SocketClosed(ConnectionError):
    """The peer closed the socket, or it broke."""


class TurnedAway(Exception):
    """There is no place for the call here."""


class Socket(Protocol):
    """An accepted WebSocket. `receive` and `send` are each awaited by one task at a time and may be cancelled."""

    async def receive(self) -> str | bytes:
        """The next message: text frames as str, binary ones as bytes. Raises SocketClosed."""
        ...

    async def send(self, text: str) -> None:
        """Send a text frame; may wait for a slow peer. Raises SocketClosed."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the socket; nothing happens if it is closed. `reason` has at most 123 bytes."""
        ...


class Tokens(Protocol):
    def redeem(self, token: str, call_sid: str) -> None:
        """Use a token up. Raises TokenError."""
        ...


class CallPort(PlayoutListener, Protocol):
    """What a session needs of a call. `feed`, `press` and `caller_gone` return at once."""

    def feed(self, frame: FloatAudio) -> None:
        """The caller's audio, 16 kHz, at most 20 ms a frame, without gaps; the first frame is 1.8 ms short."""
        ...

    def press(self, digit: str) -> None:
        """The caller pressed a key: 0-9, *, # or A-D."""
        ...

    def caller_gone(self, reason: Literal["caller_hung_up", "line_lost"]) -> None:
        """Nobody listens any more; `run` should return soon."""
        ...

    async def run(self) -> None:
        """The conversation; returns when it is over."""
        ...


class SessionSettings(StrictModel):
    """Limits of one media stream."""

    start_timeout_s: float = Field(default=5.0, gt=0.0)
    """How long after the socket opened the start message may take."""
    media_timeout_s: float = Field(default=10.0, gt=0.0)
    """Without a message for this long the line counts as lost. Twilio sends audio every 20 ms, silence too."""
    send_timeout_s: float = Field(default=5.0, gt=0.0)
    """A peer that takes no data for this long is lost."""
    close_timeout_s: float = Field(default=1.0, gt=0.0)
    """How long closing the socket may take, and how long a stop message may come after sending has failed."""
    call_end_grace_s: float = Field(default=5.0, gt=0.0)
    """How long a call may take to end after the caller has gone before it is cancelled."""
    play_out_timeout_s: float = Field(default=30.0, gt=0.0)
    """How long what is queued may still play after the call is over."""
    max_message_bytes: int = Field(default=64 * 1024, ge=1024)
    """A longer message closes the stream with 1009."""
    max_faults: int = Field(default=10, ge=0)
    """Malformed messages passed over in one call; one more closes the stream with 1008."""
    max_gap_ms: float = Field(default=5_000.0, ge=0.0)
    """Longest jump of media timestamps that is filled with silence; a longer one counts as a malformed message."""
    echo_guard: bool = True
    """Whether the agent's own voice that the line sends back is silenced before the call hears it."""
    playout: PlayoutSettings = PlayoutSettings()


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Who calls, as the start message said."""

    call_sid: str
    stream_sid: str
    account_sid: str
    caller: str
    """The caller's number, from our TwiML's <Parameter>; empty if it was not sent. Never proof of identity."""
    called: str
    """The number that was called; empty if it was not sent."""
    parameters: Mapping[str, str]
    """All parameters but the token."""


SessionEnd = Literal["caller_hung_up", "agent_hung_up", "line_lost", "refused", "turned_away", "failed"]
"""'refused': the peer broke the protocol or had no valid token; 'turned_away': there was no place for the call;
'failed': the call raised an exception."""


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """How a media stream ended."""

    end: SessionEnd
    close_code: int
    close_reason: str
    info: CallInfo | None = None
    """None if it ended before a valid start message."""
    counts: SessionCounts = field(default_factory=SessionCounts)
    warnings: tuple[str, ...] = ()
    """The first 20 things that were wrong with the peer's messages."""
    pacing: PacingStats | None = None

    @property
    def call_over(self) -> bool:
        """True if the call itself is over; False if only the stream is, and the caller may still hold the line."""
        return self.end in ("caller_hung_up", "agent_hung_up")


async def run_media_session(
    socket: Socket,
    *,
    start_call: Callable[[CallInfo, Playout], Awaitable[CallPort]],
    tokens: Tokens,
    clock: Clock,
    settings: SessionSettings | None = None,
    admit: Callable[[CallInfo], Awaitable[None]] | None = None,
    tap_factory: Callable[[CallInfo], MediaTap] | None = None,
    account_sid: str | None = None,
) -> SessionOutcome:
    """Serve an accepted socket until its call is over; closes the socket in any case.

    `admit` is asked before anything is done for the call, and raises TurnedAway, or TokenError for a token that was
    used up elsewhere. `account_sid`, if given, is the only account whose streams are taken. Raises only
    CancelledError: whatever a peer or a call does wrong is in the outcome (and an exception of the call in the log). If
    cancelled, the call is told that the caller hung up and gets `call_end_grace_s` to end.
    """
    session = _Session(
        socket, start_call, tokens, clock, settings or SessionSettings(), admit, tap_factory, account_sid
    )
    try:
        return await session.run()
    finally:
        await session.close()


class _Over(Exception):
    """The stream is over."""

    def __init__(self, end: SessionEnd, code: int, reason: str) -> None:
        super().__init__(reason)
        self.end: SessionEnd = end
        self.code = code
        self.reason = reason


class _Patience:
    """`asyncio.timeout` for what begins anew fifty times a second, and hardly ever takes too long.

    To begin anew only notes the time; one timer, set again when it fires too early, looks whether it is over.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> _Patience:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises TimeoutError if it took too long."""
        self.rest()
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def begin(self) -> None:
        """From now on it may take as long as the time-out."""
        self._due_s = self._loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._due_s, self._look)

    def rest(self) -> None:
        """Nothing is waited for."""
        self._due_s = None

    def _look(self) -> None:
        self._timer = None
        if self._due_s is None:
            return
        if self._loop.time() < self._due_s - _TIMER_S:
            self._timer = self._loop.call_at(self._due_s, self._look)
        else:
            self._limit.reschedule(self._loop.time())


class _TwilioOutlet:
    """Playout's way out: one message a call, none of which may take longer than the time-out."""

    def __init__(self, socket: Socket, stream_sid: str, timeout_s: float) -> None:
        self._socket = socket
        self._stream_sid = stream_sid
        self._timeout_s = timeout_s
        self._patience = _Patience(timeout_s)

    async def drive(self, playout: Playout) -> None:
        """Run the playout that sends here. Raises LineLost."""
        try:
            async with self._patience:
                await playout.run()
        except TimeoutError as error:
            raise LineLost(f"the peer took no data for {self._timeout_s:g} s") from error

    async def audio(self, ulaw: bytes) -> None:
        await self._send(media_message(self._stream_sid, ulaw))

    async def mark(self, name: str) -> None:
        await self._send(mark_message(self._stream_sid, name))

    async def clear(self) -> None:
        await self._send(clear_message(self._stream_sid))

    async def _send(self, text: str) -> None:
        self._patience.begin()
        try:
            await self._socket.send(text)
        except SocketClosed as error:
            raise LineLost(f"the socket closed: {error}") from error
        finally:
            self._patience.rest()


class _Ear:
    """The caller's audio on its way to the call: evened out, tapped, freed of the agent's own voice, resampled."""

    def __init__(self, call: CallPort, tap: MediaTap | None, guard: EchoGuard | None, audio: CallerAudio) -> None:
        self._call = call
        self._tap = tap
        self._guard = guard
        self._audio = audio
        self._resampler = Resampler(WIRE_RATE_HZ, HEARING_RATE_HZ)

    def hear(self, media: Media) -> None:
        """Raises WireError for a wild timestamp."""
        for ulaw, at_s in self._audio.take(media):
            if self._tap is not None:
                self._tap.received(ulaw, at_s)
            heard = ulaw_to_float(ulaw)
            if self._guard is not None and self._guard.is_echo(heard, at_s):
                heard = np.zeros_like(heard)
            self._call.feed(self._resampler.process(heard))


class _Session:
    def __init__(
        self,
        socket: Socket,
        start_call: Callable[[CallInfo, Playout], Awaitable[CallPort]],
        tokens: Tokens,
        clock: Clock,
        settings: SessionSettings,
        admit: Callable[[CallInfo], Awaitable[None]] | None,
        tap_factory: Callable[[CallInfo], MediaTap] | None,
        account_sid: str | None,
    ) -> None:
        self._socket = socket
        self._start_call = start_call
        self._tokens = tokens
        self._clock = clock
        self._settings = settings
        self._admit = admit
        self._tap_factory = tap_factory
        self._account_sid = account_sid
        self._counts = SessionCounts()
        self._warnings: list[str] = []
        self._ended = asyncio.Event()
        self._ending = _Over("failed", INTERNAL_ERROR, "cancelled")
        self._stream_sid = ""

    async def run(self) -> SessionOutcome:
        try:
            start = await self._opening()
        except _Over as over:
            self._end(over)
            return self._outcome(None, None)
        shown = {name: value for name, value in start.parameters.items() if name != TOKEN_PARAMETER}
        caller, called = shown.get(CALLER_PARAMETER, ""), shown.get(CALLED_PARAMETER, "")
        info = CallInfo(start.call_sid, start.stream_sid, start.account_sid, caller, called, shown)
        self._stream_sid = start.stream_sid
        try:
            if self._admit is not None:
                await self._admit(info)
            tap = self._tap_factory(info) if self._tap_factory else None
            guard = EchoGuard(tap) if self._settings.echo_guard else None
            tap = guard or tap
            outlet = _TwilioOutlet(self._socket, start.stream_sid, self._settings.send_timeout_s)
            playout = Playout(
                outlet,
                clock=self._clock,
                hang_up=self._hang_up,
                settings=self._settings.playout,
                tap=tap,
            )
            call = await self._start_call(info, playout)
        except TurnedAway as error:
            self._end(_Over("turned_away", TRY_AGAIN_LATER, str(error)))
            return self._outcome(info, None)
        except TokenError as error:
            self._end(_refused(str(error)))
            return self._outcome(info, None)
        except Exception as error:
            log.exception("call %s could not be started", start.call_sid)
            self._end(_Over("failed", INTERNAL_ERROR, f"the call could not be started: {error}"))
            return self._outcome(info, None)
        playout.attach(call)
        await self._converse(call, playout, outlet, tap, guard)
        return self._outcome(info, playout.stats)

    async def close(self) -> None:
        """Close the socket with the ending's code; never takes long and never raises for a dead peer."""
        reason = self._ending.reason.encode("utf-8")[:MAX_CLOSE_REASON_BYTES].decode("utf-8", "ignore")
        with suppress(SocketClosed, TimeoutError):
            async with asyncio.timeout(self._settings.close_timeout_s):
                await self._socket.close(self._ending.code, reason)

    async def _opening(self) -> Start:
        """Take messages up to a valid start. Raises _Over."""
        connected = False
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                while True:
                    event = await self._next()
                    match event:
                        case Connected() if not connected:
                            connected = True
                        case Start() if connected:
                            self._check(event)
                            return event
                        case Stop():
                            raise _Over("caller_hung_up", NORMAL, "stopped before it started")
                        case Unknown() | None:
                            pass
                        case _:
                            expected = "start" if connected else "connected"
                            name = type(event).__name__.lower()
                            raise _refused(f"expected a {expected!r} message, got {name!r}")
        except TimeoutError:
            raise _refused(f"no valid start message within {self._settings.start_timeout_s:g} s") from None

    def _check(self, start: Start) -> None:
        try:
            check_media_format(start)
            if self._account_sid is not None and start.account_sid != self._account_sid:
                raise _refused("stream of another account: its accountSid is not the one configured here")
            self._tokens.redeem(start.parameters.get(TOKEN_PARAMETER, ""), start.call_sid)
        except (WireError, TokenError) as error:
            raise _refused(str(error)) from error

    async def _next(self) -> WireEvent | None:
        """The next event; None for a message that was malformed and passed over. Raises _Over."""
        try:
            message = await self._socket.receive()
        except SocketClosed as error:
            raise _Over("line_lost", NORMAL, f"the socket closed without a stop message: {error}") from error
        try:
            event = parse_message(message, max_bytes=self._settings.max_message_bytes)
        except WireError as error:
            self._fault(error)
            return None
        if isinstance(event, Unknown):
            self._counts.unknown += 1
            self._warn(f"event {event.name!a} is unknown and was passed over")
        return event

    def _fault(self, error: WireError) -> None:
        """Count a malformed message. Raises _Over for one too many or one too long."""
        self._counts.faults += 1
        self._warn(str(error))
        if error.fault == "too_long":
            raise _Over("refused", TOO_BIG, str(error)) from error
        if self._counts.faults > self._settings.max_faults:
            raise _refused(f"{self._counts.faults} malformed messages; the last: {error}") from error

    def _warn(self, text: str) -> None:
        if len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(text)
            log.warning("stream %s: %s", self._stream_sid or "(not started)", text)

    async def _converse(
        self,
        call: CallPort,
        playout: Playout,
        outlet: _TwilioOutlet,
        tap: MediaTap | None,
        guard: EchoGuard | None,
    ) -> None:
        async with asyncio.TaskGroup() as group:
            talk = group.create_task(self._part(call.run()), name="talk")
            hear = group.create_task(self._part(self._hear(call, playout, tap, guard)), name="hear")
            speak = group.create_task(self._part(outlet.drive(playout)), name="speak")
            try:
                await self._ended.wait()
                if self._ending.end == "agent_hung_up":
                    rest = group.create_task(playout.wait_for_playout(), name="play out")
                    await asyncio.wait(
                        {rest, hear, speak},
                        timeout=self._settings.play_out_timeout_s,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    rest.cancel()
                elif not talk.done():
                    call.caller_gone("caller_hung_up" if self._ending.end == "caller_hung_up" else "line_lost")
                await asyncio.wait({talk}, timeout=self._settings.call_end_grace_s)
            except asyncio.CancelledError:
                # Ray Serve's direct ingress cancels the handler when the peer's socket goes away.
                self._end(_Over("caller_hung_up", NORMAL, "the caller hung up"))
                call.caller_gone("caller_hung_up")
                await asyncio.wait({talk}, timeout=self._settings.call_end_grace_s)
                raise
            finally:
                for task in (talk, hear, speak):
                    task.cancel()

    async def _part(self, work: Coroutine[None, None, None]) -> None:
        """One of a stream's three tasks: however it ends, the stream ends, and no other call is touched."""
        try:
            await work
        except _Over as over:
            self._end(over)
        except LineLost as error:
            # The peer's last words may still be unread, and a stop among them makes this a hang-up.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.close_timeout_s):
                    await self._ended.wait()
            self._end(_Over("line_lost", INTERNAL_ERROR, str(error)))
        except Exception as error:
            log.exception("stream %s: the call failed", self._stream_sid)
            self._end(_Over("failed", INTERNAL_ERROR, f"the call failed: {type(error).__name__}"))
        else:
            self._end(_Over("agent_hung_up", NORMAL, "the call is over"))

    async def _hear(self, call: CallPort, playout: Playout, tap: MediaTap | None, guard: EchoGuard | None) -> None:
        ear = _Ear(call, tap, guard, CallerAudio(self._clock, self._counts, self._settings.max_gap_ms))
        timeout_s = self._settings.media_timeout_s
        try:
            async with _Patience(timeout_s) as patience:
                while True:
                    patience.begin()
                    event = await self._next()
                    if event is None or isinstance(event, Unknown):
                        continue
                    if isinstance(event, (Connected, Start)):
                        raise _refused(f"a second {type(event).__name__.lower()!r} message in one stream")
                    if event.stream_sid != self._stream_sid:
                        raise _refused(f"expected streamSid {self._stream_sid[:40]}, got {event.stream_sid[:40]!a}")
                    match event:
                        case Media():
                            try:
                                ear.hear(event)
                            except WireError as error:
                                self._fault(error)
                        case Mark():
                            playout.mark_echoed(event.name)
                        case Dtmf():
                            call.press(event.digit)
                        case Stop():
                            raise _Over("caller_hung_up", NORMAL, "the caller hung up")
        except TimeoutError:
            raise _Over("line_lost", POLICY_VIOLATION, f"no message for {timeout_s:g} s") from None

    async def _hang_up(self) -> None:
        # Closing the socket ends <Connect>; Twilio then asks `action`, which answers <Hangup/>.
        self._end(_Over("agent_hung_up", NORMAL, "the agent hung up"))

    def _end(self, ending: _Over) -> None:
        """The first ending counts."""
        if not self._ended.is_set():
            self._ending = ending
            self._ended.set()

    def _outcome(self, info: CallInfo | None, pacing: PacingStats | None) -> SessionOutcome:
        ending = self._ending
        return SessionOutcome(ending.end, ending.code, ending.reason, info, self._counts, tuple(self._warnings), pacing)


def _refused(reason: str) -> _Over:
    return _Over("refused", POLICY_VIOLATION, reason)
