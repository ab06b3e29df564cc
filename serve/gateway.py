"""The gateway: a plain ASGI app that takes the carrier's webhooks and holds the calls.

It runs under Ray Serve (`serve/gateway_app.py`) and under bare uvicorn alike; what it needs of the world comes in
as `GatewayServices`. Nothing here may block the event loop: see the `event_loop_lag` metric.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from urllib.parse import parse_qsl
from uuid import uuid4

from fastapi import FastAPI, Header, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse

from pipeline.partials import PartialBudget
from pipeline.preemptive_generation import PreemptiveBudget
from serve.admission import Admissions
from serve.gateway_state import (
    ACTION_PATH,
    DIALLED_PATH,
    MEDIA_PATH,
    VOICE_PATH,
    WHISPER_PATH,
    GatewayServices,
    GatewayState,
)
from serve.hand_over import not_taken_twiml, put_through_twiml, whisper
from serve.media import answer_stream
from serve.metrics import LoopLagProbe
from serve.session_store import SessionStore
from telephony.tokens import StreamTokens
from telephony.twilio import SignatureChecker, hang_up_twiml, say_and_hang_up_twiml, whisper_twiml

MAX_FORM_BYTES = 65_536
"""A webhook's form is a few hundred bytes."""
MAX_LOST_STREAMS = 2
"""A call whose stream breaks is connected again this often before it is told goodbye."""
MAX_TURNED_AWAY = 8
"""A stream that came to a full gateway is sent on its way again this often, for there is room at another one."""

BUSY_LINE = "All our lines are busy right now. Please call again in a few minutes."
LOST_LINE = "We are sorry, the connection to our assistant was lost. Please call again."
_TAKEN = ("completed", "answered")
"""What the carrier says of a call that was put through and that somebody took."""


def make_state(services: GatewayServices) -> GatewayState:
    """What one gateway process keeps, over the given services."""
    metrics = services.metrics
    auth_token = services.secrets.twilio_auth_token.get_secret_value()
    return GatewayState(
        services=services,
        metrics=metrics,
        lag=LoopLagProbe(metrics, sample_ms=services.settings.loop_lag_sample_ms),
        preemptive=PreemptiveBudget(
            at_once=services.settings.guesses_at_once,
            waste_share=services.settings.wasted_guesses,
            on_partials=services.settings.prefill_on_partials,
        ),
        partials=PartialBudget(
            services.clock,
            when=services.settings.partials.when,
            most_a_second=services.settings.partials.most_a_second,
            at_once=services.settings.partials.at_once,
            slow_ms=services.settings.partials.slow_ms,
        ),
        sessions=SessionStore(services.store, services.pool, services.clock),
        admissions=Admissions(
            services.store.places(services.secrets.public_url, uuid4().hex, services.settings.max_calls),
            services.clock,
            metrics,
            max_calls=services.settings.max_calls,
            expected_for_s=services.settings.token_lifetime_s,
        ),
        tokens=StreamTokens(
            hashlib.sha256(b"trunkline stream tokens " + auth_token.encode()).digest(),
            services.clock,
            lifetime_s=services.settings.token_lifetime_s,
        ),
        signatures=SignatureChecker(auth_token, services.secrets.public_url),
    )


def create_app(services: GatewayServices) -> FastAPI:
    """The gateway over the given services."""
    gateway = make_state(services)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await gateway.admissions.announce()
        beside = [
            asyncio.create_task(gateway.lag.run()),
            asyncio.create_task(gateway.admissions.keep_announced()),
            asyncio.create_task(_drain_when_told(gateway)),
        ]
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await gateway.admissions.leave()

    app = FastAPI(title="Trunkline gateway", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_webhooks(app, gateway)
    _add_health(app, gateway)

    async def media(socket: WebSocket) -> None:
        await answer_stream(socket, gateway)

    app.add_api_websocket_route(MEDIA_PATH, media)
    return app


async def _drain_when_told(gateway: GatewayState) -> None:
    await gateway.services.draining.wait()
    await gateway.admissions.drain()


def _add_webhooks(app: FastAPI, gateway: GatewayState) -> None:
    @app.post(VOICE_PATH)
    async def voice(request: Request, x_twilio_signature: Annotated[str | None, Header()] = None) -> Response:
        """A call is coming in: connect its stream, or say that the lines are busy."""
        form = await _signed_form(request, gateway, VOICE_PATH, x_twilio_signature)
        if isinstance(form, Response):
            return form
        call_sid = form["CallSid"]
        try:
            answer = gateway.stream(call_sid, caller=form.get("From", ""), called=form.get("To", ""), attempt=1)
        except ValueError as error:
            return PlainTextResponse(f"CallSid: {error}\n", status_code=400)
        told = await gateway.admissions.admit(call_sid, answer)
        return _twiml(told) if told is not None else _busy(gateway)

    @app.post(ACTION_PATH)
    async def action(request: Request, x_twilio_signature: Annotated[str | None, Header()] = None) -> Response:
        """A call's stream has ended: hang up, or connect again if nobody meant it to end."""
        form = await _signed_form(request, gateway, ACTION_PATH, x_twilio_signature)
        if isinstance(form, Response):
            return form
        call_sid = form["CallSid"]
        ending = await gateway.admissions.ending(call_sid)
        session = await gateway.sessions.load(call_sid)
        caller, called = form.get("From", ""), form.get("To", "")
        if session is not None and session.package is not None:
            agent = session.runtimes[0].agent
            return _twiml(put_through_twiml(gateway, agent, call_sid, session.package, caller=caller, called=called))
        if ending == "over" or (ending is None and session is None):
            return _twiml(hang_up_twiml())
        if form.get("CallStatus") == "completed":
            await gateway.admissions.give_up(call_sid)
            return _twiml(hang_up_twiml())
        attempt, turned_away = _count(request, "attempt", left_out=1), _count(request, "turned_away", left_out=0)
        if ending == "turned_away":
            turned_away += 1
        else:
            attempt, turned_away = attempt + 1, 0
        if turned_away > MAX_TURNED_AWAY or attempt > MAX_LOST_STREAMS + 1:
            await gateway.admissions.give_up(call_sid)
            return _busy(gateway) if attempt == 1 else _twiml(say_and_hang_up_twiml(LOST_LINE))
        again = gateway.stream(call_sid, caller=caller, called=called, attempt=attempt, turned_away=turned_away)
        await gateway.admissions.admit_again(call_sid, again)
        return _twiml(again)

    @app.post(DIALLED_PATH)
    async def dialled(request: Request, x_twilio_signature: Annotated[str | None, Header()] = None) -> Response:
        """A call that was put through has come back: it is over, or nobody took it."""
        form = await _signed_form(request, gateway, DIALLED_PATH, x_twilio_signature)
        if isinstance(form, Response):
            return form
        if form.get("DialCallStatus") in _TAKEN:
            return _twiml(hang_up_twiml())
        session = await gateway.sessions.load(form["CallSid"])
        return _twiml(
            not_taken_twiml(session.runtimes[0].agent) if session is not None else say_and_hang_up_twiml(LOST_LINE)
        )

    @app.post(WHISPER_PATH)
    async def whispered(request: Request, x_twilio_signature: Annotated[str | None, Header()] = None) -> Response:
        """A person has answered a call that is put through: tell them what it is about."""
        form = await _signed_form(request, gateway, WHISPER_PATH, x_twilio_signature)
        if isinstance(form, Response):
            return form
        session = await gateway.sessions.load(request.query_params.get("call", ""))
        text = whisper(session.runtimes[0].agent, session.package) if session is not None and session.package else ""
        return _twiml(whisper_twiml(text) if text else whisper_twiml("A call from our assistant."))


def _add_health(app: FastAPI, gateway: GatewayState) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        """The process runs and its event loop turns."""
        return JSONResponse({"status": "ok", "calls": gateway.admissions.live})

    @app.get("/readyz")
    async def readyz() -> Response:
        """The models answer, and new calls are taken."""
        if gateway.admissions.draining:
            return JSONResponse({"status": "draining"}, status_code=503)
        faults = await gateway.services.not_ready()
        if faults:
            return JSONResponse({"status": "not ready", "waiting_for": faults}, status_code=503)
        return JSONResponse({"status": "ready", "agent": gateway.services.pool.first.agent.name})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus exposition."""
        return Response(gateway.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _count(request: Request, name: str, *, left_out: int) -> int:
    """A number of the action's URL, which is ours."""
    given = request.query_params.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 4 else left_out


async def _signed_form(
    request: Request, gateway: GatewayState, path: str, signature: str | None
) -> dict[str, str] | Response:
    """The webhook's fields, or the answer that refuses it."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            return PlainTextResponse(f"form too large: expected at most {MAX_FORM_BYTES} bytes\n", status_code=413)
    try:
        form = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        return PlainTextResponse(f"body: expected a form of at most 200 fields in UTF-8; {error}\n", status_code=400)
    if not gateway.signatures.webhook_ok(path, form, signature, query=request.url.query):
        gateway.metrics.refused_total.labels(why="signature").inc()
        fault = "does not fit" if signature else "is missing"
        return PlainTextResponse(
            f"X-Twilio-Signature {fault}: expected one of {gateway.services.secrets.public_url}{path} and the form, "
            "made with this account's auth token; check TWILIO_AUTH_TOKEN, TRUNKLINE_PUBLIC_URL and the number's "
            "webhook\n",
            status_code=403,
        )
    if not form.get("CallSid"):
        return PlainTextResponse("CallSid: missing; expected Twilio's form of a voice call\n", status_code=400)
    return form


def _busy(gateway: GatewayState) -> Response:
    gateway.metrics.refused_total.labels(why="busy").inc()
    return _twiml(say_and_hang_up_twiml(BUSY_LINE))


def _twiml(text: str) -> Response:
    return Response(text, media_type="application/xml")
