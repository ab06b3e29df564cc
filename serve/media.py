"""One call's media stream on the gateway: socket, conversation, recording and figures brought together."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

from pipeline.call import Call
from pipeline.call_services import CallServices
from pipeline.events import CallStarted, EventLog
from pipeline.language_switcher import AgentSpec
from pipeline.preemptive_generation import tally
from serve.agent_pool import AgentRuntime
from serve.call_store import StoreError
from serve.gateway_state import MEDIA_PATH, GatewayState
from serve.hand_over import deliver
from serve.outcome import outcome_of
from serve.recording import RunRecorder
from telephony.playout import MediaTap, Playout
from telephony.session import (
    POLICY_VIOLATION,
    CallInfo,
    SessionOutcome,
    SessionSettings,
    SocketClosed,
    run_media_session,
)

SUMMARY_FILE = "gateway.json"
"""In the call's folder: how the stream ended, and how well the gateway kept time meanwhile."""

log = logging.getLogger(__name__)


async def answer_stream(socket: WebSocket, gateway: GatewayState) -> None:
    """Serve one WebSocket of the carrier to its end."""
    if not gateway.signatures.socket_ok(MEDIA_PATH, socket.headers.get("x-twilio-signature")):
        gateway.metrics.refused_total.labels(why="signature").inc()
        await _refuse(socket)
        return
    await socket.accept()
    stream = asyncio.create_task(_serve(socket, gateway))
    try:
        await asyncio.shield(stream)
    except asyncio.CancelledError:
        # Ray Serve's direct ingress cancels the handler as soon as the peer has closed, with messages still unread
        # (Twilio's `stop` among them). The session reads those, then the disconnect, and ends by itself.
        await stream
        raise


async def _refuse(socket: WebSocket) -> None:
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        text = "X-Twilio-Signature is missing or does not fit the public wss:// URL of this stream\n"
        await socket.send_denial_response(PlainTextResponse(text, status_code=403))
    else:
        await socket.close(POLICY_VIOLATION)


async def _serve(socket: WebSocket, gateway: GatewayState) -> None:
    services = gateway.services
    began_s = time.monotonic()
    call = _GatewayCall(gateway)
    outcome: SessionOutcome | None = None
    gateway.metrics.calls.inc()
    try:
        outcome = await run_media_session(
            _AsgiSocket(socket),
            start_call=call.start,
            tokens=gateway.tokens,
            clock=services.clock,
            settings=SessionSettings(max_message_bytes=services.settings.max_message_bytes),
            admit=call.admit,
            tap_factory=call.tap if services.settings.record else None,
        )
    finally:
        gateway.metrics.calls.dec()
        await call.finish(outcome, began_s)


class _GatewayCall:
    """What a session asks of the gateway for its call, and what is left to do when it has ended."""

    def __init__(self, gateway: GatewayState) -> None:
        self._gateway = gateway
        self._log = EventLog(gateway.services.clock)
        self._recorder: RunRecorder | None = None
        self._call_sid = ""
        self._stream = ""

    async def admit(self, info: CallInfo) -> None:
        """Take the call's place at this gateway. Raises TurnedAway or TokenError."""
        self._stream = await self._gateway.admissions.begin(info.call_sid)
        self._call_sid = info.call_sid

    def tap(self, info: CallInfo) -> MediaTap:
        """The recorder, on the call's own time."""
        services = self._gateway.services
        self._log = EventLog(services.clock)
        self._recorder = RunRecorder(services.runs_dir, info.call_sid, services.clock.wall_time_s())
        self._log.subscribe(self._recorder.on_event)
        return _SinceStart(self._recorder, epoch_s=services.clock.now_s())

    async def start(self, info: CallInfo, playout: Playout) -> Call:
        """The conversation, its first event written."""
        services = self._gateway.services
        before = await self._gateway.sessions.load(info.call_sid)
        runtimes = before.runtimes if before is not None else services.pool.pick(info.call_sid)
        self._gateway.metrics.follow(self._log)
        self._log.append(
            CallStarted(
                call_sid=info.call_sid,
                stream_sid=info.stream_sid,
                caller=info.caller,
                agent=runtimes[0].agent.name,
                agent_version=runtimes[0].version,
                weights=dict(services.weights),
                wall_time_s=services.clock.wall_time_s(),
            )
        )
        spec, *others = (self._spec(info, runtime, runtimes) for runtime in runtimes)
        if before is not None:
            spec = replace(spec, services=replace(spec.services, memory=before.memory))
        return Call(
            spec,
            others=others,
            vad=services.new_vad(),
            line=playout,
            log=self._log,
            clock=services.clock,
            preemptive=self._gateway.preemptive,
            partials=self._gateway.partials,
        )

    def _spec(self, info: CallInfo, runtime: AgentRuntime, runtimes: tuple[AgentRuntime, ...]) -> AgentSpec:
        runtimes = (runtime, *(other for other in runtimes if other is not runtime))
        return runtime.spec(services_of(self._gateway, info, runtimes))

    async def finish(self, outcome: SessionOutcome | None, began_s: float) -> None:
        """Close the recording, write the summary, free the call's place."""
        if self._call_sid:
            lost = outcome is None or outcome.end in ("line_lost", "failed")
            await self._gateway.admissions.end(self._stream, lost=lost)
            await self._gateway.sessions.close(self._call_sid, over=not lost)
            if not lost:
                await self._keep_outcome()
        if outcome is not None and outcome.end in ("refused", "turned_away"):
            why = "full" if outcome.end == "turned_away" else "stream"
            self._gateway.metrics.refused_total.labels(why=why).inc()
            call_sid = outcome.info.call_sid if outcome.info is not None else "(not started)"
            log.warning("stream of call %s refused: %s", call_sid, outcome.close_reason)
        if outcome is not None and outcome.pacing is not None:
            self._gateway.metrics.observe_pacing(outcome.pacing)
        if self._recorder is None:
            return
        await self._recorder.close()
        summary = self._summary(outcome, began_s)
        await asyncio.to_thread(_write_summary, self._recorder.folder / SUMMARY_FILE, summary)

    async def _keep_outcome(self) -> None:
        events = list(self._log)
        started = next((event for event in events if isinstance(event, CallStarted)), None)
        if started is None:
            return
        # A long call has thousands of events, and other calls' frames are due.
        outcome = await asyncio.to_thread(
            outcome_of,
            events,
            call_sid=started.call_sid,
            agent=started.agent,
            version=started.agent_version,
            started_s=started.wall_time_s,
        )
        try:
            await self._gateway.services.store.add_outcome(outcome)
        except StoreError as error:
            log.error("call %s: what came of it cannot be kept for comparisons: %s", self._call_sid, error)

    def _summary(self, outcome: SessionOutcome | None, began_s: float) -> dict[str, object]:
        lag = self._gateway.lag.since(began_s)
        summary: dict[str, object] = {
            "call_sid": self._call_sid,
            "event_loop_lag": asdict(lag),
            "speculation": tally(self._log).as_json(),
        }
        if self._recorder is not None and self._recorder.failure:
            summary["recording"] = self._recorder.failure
        if outcome is None:
            return summary | {"end": "failed"}
        summary |= {
            "end": outcome.end,
            "close_code": outcome.close_code,
            "close_reason": outcome.close_reason,
            "messages": asdict(outcome.counts),
            "warnings": list(outcome.warnings),
        }
        if outcome.pacing is not None:
            pacing = outcome.pacing
            summary["pacing"] = {
                "frames": pacing.frames,
                "p50_ms": round(pacing.p50_ms, 3),
                "p99_ms": round(pacing.p99_ms, 3),
                "max_ms": round(pacing.max_ms, 3),
            }
        return summary


def services_of(gateway: GatewayState, info: CallInfo, runtimes: tuple[AgentRuntime, ...]) -> CallServices:
    """A call's ties to the world, for the agent that the first of the runtimes is made for."""
    runtime, sessions = runtimes[0], gateway.sessions
    return CallServices(
        call_id=info.call_sid,
        caller=info.caller,
        tools=runtime.tools,
        now=lambda: runtime.agent.hours.now(gateway.services.clock.wall_time_s()),
        save=partial(sessions.save, info.call_sid, runtimes),
        saved=partial(sessions.saved, info.call_sid),
        hand_over=partial(deliver, gateway, info, runtimes),
    )


class _SinceStart:
    """Hands the wire's audio on with times counted from the call's start."""

    def __init__(self, tap: MediaTap, *, epoch_s: float) -> None:
        self._tap = tap
        self._epoch_s = epoch_s

    def received(self, ulaw: bytes, at_s: float) -> None:
        self._tap.received(ulaw, at_s - self._epoch_s)

    def sent(self, ulaw: bytes, play_at_s: float) -> None:
        self._tap.sent(ulaw, play_at_s - self._epoch_s)

    def cleared(self, at_s: float) -> None:
        self._tap.cleared(at_s - self._epoch_s)


class _AsgiSocket:
    """telephony.session.Socket over an accepted ASGI WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._gone = False

    async def receive(self) -> str | bytes:
        if self._gone:
            raise SocketClosed("the peer has closed")
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            self._gone = True
            raise SocketClosed(f"code {message.get('code')} {message.get('reason') or ''}".strip())
        text: str | None = message.get("text")
        binary: bytes | None = message.get("bytes")
        return text if text is not None else binary or b""

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_text(text)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            # Starlette and uvicorn raise RuntimeError for a send after the close.
            raise SocketClosed(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        if not self._gone:
            with suppress(WebSocketDisconnect, RuntimeError, OSError):
                await self._socket.close(code, reason)


def _write_summary(path: Path, summary: dict[str, object]) -> None:
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
