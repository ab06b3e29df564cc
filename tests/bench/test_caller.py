"""The simulated caller: what it plays back, how it behaves, and what it sends over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from bench.actor import Actor, CallerEvent, Playback
from bench.caller import CallFailed, CallTarget, parse_stream_twiml, place_call
from bench.script import Noise, Script
from bench.v2v import Span
from bench.voices import RenderedLine, make_noise, read_wav, render_turn
from models.settings import parse_settings
from models.types import FloatAudio
from telephony.audio import float_to_pcm16, float_to_ulaw, level_dbfs, ulaw_level_dbfs
from telephony.twilio import (
    Connected,
    Dtmf,
    Mark,
    Media,
    Start,
    Stop,
    WireEvent,
    clear_message,
    hang_up_twiml,
    mark_message,
    media_message,
    parse_message,
    stream_twiml,
)

RATE = 8_000
FRAME = 160


def tone(samples: int, dbfs: float = -20.0) -> FloatAudio:
    """A square wave of 400 Hz: as loud at its first and last sample as in between."""
    signs = np.where(np.arange(samples) // 10 % 2, -1.0, 1.0)
    return (signs * 10 ** (dbfs / 20)).astype(np.float32)


def ulaw_tone(ms: int) -> bytes:
    return float_to_ulaw(tone(ms * 8))


def script(turns: str, more: str = "") -> Script:
    return parse_settings(f"name: x\npause_ms: 300\nmax_wait_ms: 1500\nturns: {turns}\n{more}", Script, "x.yaml")


class FakeVoice:
    """A tone of 200 ms a word."""

    name = "fake"

    def render(self, text: str, seed: int) -> FloatAudio:
        return tone(1600 * len(text.split()))


# -- playback ----------------------------------------------------------------------------------------------------------


def test_audio_plays_in_order_behind_what_is_buffered() -> None:
    playback = Playback()
    playback.media(b"\x01" * 800, now=100)
    playback.media(b"\x02" * 800, now=200)
    assert playback.played(0, 2000) == b"\xff" * 100 + b"\x01" * 800 + b"\x02" * 800 + b"\xff" * 300


def test_marks_come_back_when_their_audio_has_been_played_and_at_once_if_nothing_is_buffered() -> None:
    playback = Playback()
    playback.mark("empty", now=50)
    assert playback.due(50) == ["empty"]
    playback.media(b"\x01" * 800, now=100)
    playback.mark("first", now=120)
    playback.media(b"\x01" * 800, now=130)
    playback.mark("second", now=140)
    assert playback.due(899) == []
    assert playback.due(900) == ["first"]
    assert playback.due(900) == []
    assert playback.due(1700) == ["second"]
    assert playback.marks_played == 3


def test_clear_drops_what_is_left_and_gives_every_outstanding_mark_back_at_once() -> None:
    playback = Playback()
    playback.media(b"\x01" * 8000, now=0)
    playback.mark("a", now=0)
    playback.media(b"\x02" * 8000, now=0)
    playback.mark("b", now=0)
    assert playback.clear(now=9000) == ["a", "b"]
    assert (playback.marks_played, playback.clears) == (1, [9000])
    playback.media(b"\x03" * 80, now=9500)
    assert playback.played(8900, 9600) == b"\x02" * 100 + b"\xff" * 500 + b"\x03" * 80 + b"\xff" * 20


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1200), st.integers(0, 1500)), min_size=1, max_size=30))
def test_every_sample_is_played_exactly_once_and_marks_keep_their_order(pieces: list[tuple[int, int]]) -> None:
    playback = Playback()
    now, names = 0, []
    returned: list[str] = []
    for number, (length, wait) in enumerate(pieces):
        playback.media(bytes([number]) * length, now)
        playback.mark(str(number), now)
        names.append(str(number))
        now += wait
        returned += playback.due(now)
    returned += playback.due(now + sum(length for length, _ in pieces))
    played = playback.played(0, now + 40_000).replace(b"\xff", b"")
    assert played == b"".join(bytes([number]) * length for number, (length, _) in enumerate(pieces))
    assert returned == names


def test_a_hole_in_a_stretch_of_audio_is_an_underrun_and_a_pause_after_a_mark_is_not() -> None:
    playback = Playback()
    playback.media(b"\x01" * 160, now=0)
    playback.media(b"\x01" * 160, now=200)
    playback.mark("end", now=200)
    playback.media(b"\x01" * 160, now=1000)
    assert (playback.underruns, playback.underrun_samples) == (1, 40)


# -- behaviour, frame by frame, without a clock ------------------------------------------------------------------------


@dataclass
class Stage:
    """An actor and the agent it hears, stepped together."""

    plan: Script
    playback: Playback = field(default_factory=Playback)
    events: list[CallerEvent] = field(default_factory=list)
    sent: list[FloatAudio] = field(default_factory=list)

    def __post_init__(self) -> None:
        lines = [render_turn(turn, FakeVoice(), 0) for turn in self.plan.turns]
        self.actor = Actor(self.plan, lines, self.playback, [], self.events.append)

    def agent_says(self, ms: int) -> None:
        self.playback.media(ulaw_tone(ms), self.actor.now)

    def step(self) -> bool:
        frame = self.actor.next_frame()
        if frame is not None:
            self.sent.append(frame)
        return frame is not None

    def until(self, kind: str, turn: int) -> None:
        for _ in range(2000):
            if any(event.kind == kind and event.turn == turn for event in self.events):
                return
            assert self.step(), f"hung up before {kind} of turn {turn}"
        raise AssertionError(f"no {kind} of turn {turn} within 40 s")

    def to_the_end(self) -> None:
        for _ in range(3000):
            if not self.step():
                return
        raise AssertionError("the caller never hung up")


def test_the_caller_lets_the_greeting_end_and_then_speaks() -> None:
    stage = Stage(script("[{say: one two}]"))
    stage.agent_says(500)
    stage.until("line_began", 0)
    # 500 ms of greeting, 300 ms of silence to be sure that it is over; one frame to notice.
    assert stage.events[-1].at_s == pytest.approx(0.8, abs=0.021)
    stage.until("line_ended", 0)
    greeting, line = stage.actor.lines()
    assert (greeting.turn, greeting.kind) == (-1, "greeting")
    spoken = np.concatenate(stage.sent)[line.start : line.end]
    assert len(spoken) == 2 * 1600
    assert level_dbfs(spoken) == pytest.approx(-20, abs=0.1), "line positions are those of the audio sent"


def test_pauses_in_a_reply_shorter_than_the_callers_patience_are_waited_out() -> None:
    stage = Stage(script("[{say: one}, {say: two}]", "greeting: {wait: false}"))
    stage.until("line_ended", 0)
    stage.agent_says(400)
    for _ in range(20 + 10):
        stage.step()
    stage.agent_says(400)
    resumed_s = stage.actor.now / RATE
    stage.until("line_began", 1)
    assert stage.events[-1].at_s == pytest.approx(resumed_s + 0.4 + 0.3, abs=0.021)


def test_an_unanswered_line_is_given_up_after_the_longest_wait() -> None:
    stage = Stage(script("[{say: one}, {say: two}]", "greeting: {wait: false}"))
    stage.until("line_ended", 0)
    ended_s = stage.events[-1].at_s
    stage.until("line_began", 1)
    assert stage.events[-1].at_s == pytest.approx(ended_s + 1.5, abs=0.021)
    assert not any(event.kind == "reply_began" for event in stage.events)


def test_an_interruption_begins_the_given_time_after_the_reply_became_audible() -> None:
    stage = Stage(script("[{say: one}, {interrupt: {after_ms: 500, say: stop that}}]", "greeting: {wait: false}"))
    stage.until("line_ended", 0)
    stage.agent_says(10_000)
    audible_s = stage.actor.now / RATE
    stage.until("line_began", 1)
    assert stage.events[-1].at_s == pytest.approx(audible_s + 0.5, abs=0.041)
    # The rest of the reply that was broken is no answer; what comes after the flush is.
    stage.until("line_ended", 1)
    for _ in range(5):
        stage.step()
    assert not any(event.kind == "reply_began" and event.turn == 1 for event in stage.events)
    stage.playback.clear(stage.actor.now)
    stage.agent_says(300)
    delay = stage.actor.now - stage.actor.lines()[-1].end
    stage.until("reply_began", 1)
    measured = stage.events[-1].measured
    assert measured is not None
    assert measured.v2v_ms == delay / 8


@pytest.mark.parametrize(
    ("turns", "said_ms"),
    [
        ("[{hang_up: {moment: mid_word, say: a b c d e, after_ms: 300}}]", 300),
        ("[{say: one}, {hang_up: {moment: mid_reply, after_ms: 400}}]", 200),
        ("[{say: one two}, {hang_up: {}}]", 400),
    ],
)
def test_hanging_up_breaks_off_at_the_moment_asked_for(turns: str, said_ms: int) -> None:
    stage = Stage(script(turns, "greeting: {wait: false}"))
    if "say: one" in turns:
        stage.until("line_ended", 0)
        stage.agent_says(2_000)
        began = stage.actor.now
        stage.to_the_end()
        heard_ms = (stage.actor.now - began) / 8
        assert heard_ms == pytest.approx(400 if "mid_reply" in turns else 2_300, abs=41)
    else:
        stage.to_the_end()
    spoken = sum(level_dbfs(frame) > -45 for frame in stage.sent) * 20
    assert spoken == said_ms
    assert all(line.end <= stage.actor.now for line in stage.actor.lines())


def test_keys_are_pressed_one_by_one_and_silence_waits_for_the_agent_to_speak_up() -> None:
    stage = Stage(script('[{dtmf: "12"}, {silence_ms: 5000}, {wait_ms: 200}]', "greeting: {wait: false}"))
    pressed: list[str] = []
    for _ in range(21):
        stage.step()
        pressed += stage.actor.take_keys()
    assert pressed == ["1", "2"]
    stage.agent_says(100)
    stage.until("reply_ended", 0)
    for _ in range(50):
        stage.step()
    stage.agent_says(200)
    stage.until("reply_ended", 1)
    ended = stage.actor.now
    stage.to_the_end()
    assert stage.actor.now - ended == pytest.approx(200 * 8, abs=FRAME)


# -- speech ------------------------------------------------------------------------------------------------------------


def test_a_pause_in_a_line_is_silence_of_that_length_and_lies_inside_the_line() -> None:
    plan = script("[{say: one <pause 500ms> two three}]")
    line = render_turn(plan.turns[0], FakeVoice(), 0)
    assert line is not None
    assert (line.text, len(line.pcm)) == ("one two three", 1600 + 4000 + 3200)
    assert line.audible == Span(0, len(line.pcm))
    assert level_dbfs(line.pcm[1600:5600]) == -np.inf


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_noise_has_the_level_asked_for_and_repeats_with_its_seed(kind: str) -> None:
    noise = Noise.model_validate({"kind": kind, "snr_db": 12})
    first, again, other = (make_noise(noise.kind, noise.snr_db, seed, FakeVoice()).next(8 * RATE) for seed in (1, 1, 2))
    assert level_dbfs(first) == pytest.approx(-22 - 12, abs=1.0)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_recording_stands_in_for_the_voice(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "hi.wav"), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(float_to_pcm16(np.sin(np.arange(16_000) / 8).astype(np.float32) * 0.5).tobytes())
    plan = script("[{say: hi, recording: hi.wav}]")
    turn = plan.turns[0].model_copy(update={"recording": tmp_path / "hi.wav"})
    line = render_turn(turn, FakeVoice(), 0)
    assert isinstance(line, RenderedLine)
    assert len(line.pcm) == pytest.approx(len(read_wav(tmp_path / "hi.wav")), abs=320)
    assert line.audible.end - line.audible.start == pytest.approx(RATE, abs=320)


# -- over a real socket ------------------------------------------------------------------------------------------------

TOKEN = "not-a-secret"
PUBLIC = "https://calls.example.com"


EventT = TypeVar("EventT", bound=WireEvent)


class FakeAgent:
    """Speaks Twilio's protocol from the other side: a level gate for ears, tones for words."""

    silence_frames = 15
    reply_ms = 600

    def __init__(self) -> None:
        self.messages: list[WireEvent] = []
        self.raw: list[dict[str, object]] = []
        self.forms: list[tuple[str, dict[str, str], bool]] = []
        self.socket_signed = False
        self.delays_s: list[float] = []
        self.replies = 0
        self.hang_up_after_replies = 99
        self.app = FastAPI()
        self.app.add_api_route("/twilio/voice", self.voice, methods=["POST"])
        self.app.add_api_route("/twilio/action", self.action, methods=["POST"])
        self.app.add_api_websocket_route("/twilio/media", self.media)

    async def voice(self, request: Request) -> Response:
        if not await self._signed(request, "/twilio/voice"):
            return Response("bad signature", status_code=403)
        url = PUBLIC.replace("https", "wss") + "/twilio/media"
        twiml = stream_twiml(url, action_url=f"{PUBLIC}/twilio/action?attempt=1", parameters={"token": "abc"})
        return Response(twiml, media_type="application/xml")

    async def action(self, request: Request) -> Response:
        await self._signed(request, "/twilio/action?attempt=1")
        return Response(hang_up_twiml(), media_type="application/xml")

    async def _signed(self, request: Request, path: str) -> bool:
        form = {key: str(value) for key, value in (await request.form()).items()}
        signature = request.headers.get("x-twilio-signature", "")
        good = bool(RequestValidator(TOKEN).validate(PUBLIC + path, form, signature))
        self.forms.append((path, form, good))
        return good

    async def media(self, wire: WebSocket) -> None:
        signature = wire.headers.get("x-twilio-signature", "")
        url = PUBLIC.replace("https", "wss") + "/twilio/media"
        self.socket_signed = signature == RequestValidator(TOKEN).compute_signature(url, {})
        assert wire.headers["host"] == "calls.example.com"
        await wire.accept()
        with suppress(WebSocketDisconnect):
            await self._converse(wire)

    async def _converse(self, wire: WebSocket) -> None:
        clock = asyncio.get_running_loop()
        loud = quiet = 0
        last_loud_s = speaking_until_s = 0.0
        sid = ""
        while True:
            text = await wire.receive_text()
            event = parse_message(text)
            self.messages.append(event)
            self.raw.append(json.loads(text))
            match event:
                case Start(stream_sid=sid):
                    await self._say(wire, sid, "greeting")
                    speaking_until_s = clock.time() + self.reply_ms / 1000
                case Stop():
                    return
                case Media(ulaw=ulaw) if ulaw_level_dbfs(ulaw) > -45:
                    loud, quiet, last_loud_s = loud + 1, 0, clock.time()
                    if loud == 5 and clock.time() < speaking_until_s:
                        await wire.send_text(clear_message(sid))
                        speaking_until_s = 0.0
                case Media():
                    quiet += 1
                    if loud and quiet == self.silence_frames:
                        loud = 0
                        self.replies += 1
                        await self._say(wire, sid, f"reply {self.replies}")
                        self.delays_s.append(clock.time() - last_loud_s)
                        speaking_until_s = clock.time() + self.reply_ms / 1000
                    if self.replies == self.hang_up_after_replies and clock.time() > speaking_until_s + 0.2:
                        await wire.close(1000)
                        return
                case _:
                    pass

    async def _say(self, wire: WebSocket, sid: str, name: str) -> None:
        await wire.send_text(media_message(sid, ulaw_tone(self.reply_ms)))
        await wire.send_text(mark_message(sid, name))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[CallTarget]:
        with _bound_socket() as bound:
            server = uvicorn.Server(uvicorn.Config(self.app, log_level="error", ws="websockets-sansio"))
            task = asyncio.create_task(server.serve(sockets=[bound]))
            try:
                yield CallTarget(PUBLIC, f"http://127.0.0.1:{bound.getsockname()[1]}", TOKEN)
            finally:
                server.should_exit = True
                await task

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [message for message in self.messages if isinstance(message, kind)]


def _bound_socket() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


async def test_a_call_sends_what_twilio_sends_and_measures_the_delay_the_agent_had() -> None:
    agent = FakeAgent()
    agent.hang_up_after_replies = 3
    plan = script(
        '[{say: one two}, {dtmf: "7"}, {say: three}, {interrupt: {after_ms: 200, say: no no no}}]', "ended_by: agent"
    )
    heard: list[CallerEvent] = []
    async with agent.serving() as target:
        record = await place_call(target, plan, seed=1, voice=FakeVoice(), on_event=heard.append)

    # Every message was understood by the project's own, strict parser; counts are strings and have no gaps.
    assert isinstance(agent.messages[0], Connected)
    assert isinstance(agent.messages[1], Start)
    assert agent.messages[1].parameters == {"token": "abc"}
    assert [int(str(raw["sequenceNumber"])) for raw in agent.raw[1:]] == list(range(1, len(agent.raw)))
    media = agent.of(Media)
    assert [message.chunk for message in media] == list(range(1, len(media) + 1))
    assert [message.timestamp_ms for message in media] == [20 * index for index in range(len(media))]
    assert {len(message.ulaw) for message in media} == {FRAME}
    assert [message.digit for message in agent.of(Dtmf)] == ["7"]
    assert [message.name for message in agent.of(Mark)] == ["greeting", "reply 1", "reply 2", "reply 3"]
    assert agent.socket_signed
    assert [(path, good) for path, _, good in agent.forms] == [
        ("/twilio/voice", True),
        ("/twilio/action?attempt=1", True),
    ]
    assert agent.forms[1][1]["CallStatus"] == "in-progress"

    assert (record.ended_by, record.action_verbs) == ("agent", ("Hangup",))
    assert (record.marks_received, record.marks_played, record.clears) == (4, 3, 1)
    wire = record.wire
    assert wire is not None
    assert len(wire.agent) == len(wire.caller)
    assert wire.caller.startswith(b"".join(message.ulaw for message in media))

    greeting, first, keys, second, third = record.turns
    assert greeting.agent_first_audible_s is not None
    assert keys.v2v_ms is None
    # A machine that is late with frames delays what the agent hears: that much is not the agent's doing.
    slack_ms = 40 + record.latest_frame_ms
    for turn, delay_s in zip((first, second, third), agent.delays_s, strict=True):
        assert turn.v2v_ms is not None
        assert -5 <= turn.v2v_ms - delay_s * 1000 <= slack_ms
        assert not turn.cut_off
    # The agent flushes at the fifth loud frame.
    assert third.barge_in_ms is not None
    assert 80 <= third.barge_in_ms <= 100 + slack_ms
    live = [event.measured.v2v_ms for event in heard if event.kind == "reply_began" and event.measured]
    assert live[1:] == [turn.v2v_ms for turn in (first, second, third)]


async def test_an_agent_that_is_too_eager_is_caught_cutting_off() -> None:
    agent = FakeAgent()
    agent.hang_up_after_replies = 2
    plan = script("[{say: one <pause 600ms> two three four five}]", "ended_by: agent")
    async with agent.serving() as target:
        record = await place_call(target, plan, seed=1, voice=FakeVoice())
    assert record.turns[1].cut_off
    assert record.turns[1].v2v_ms is None


async def test_hanging_up_in_mid_word_sends_stop_and_completes_the_call() -> None:
    agent = FakeAgent()
    plan = script("[{hang_up: {moment: mid_word, say: one two three, after_ms: 200}}]", "greeting: {wait: false}")
    async with agent.serving() as target:
        record = await place_call(target, plan, seed=1, voice=FakeVoice())
    assert isinstance(agent.messages[-1], Stop)
    assert record.ended_by == "caller"
    assert agent.forms[-1][1]["CallStatus"] == "completed"
    assert record.turns[-1].speech_end_s == pytest.approx(0.2)


async def test_a_webhook_that_refuses_the_signature_fails_the_call_with_its_status() -> None:
    async with FakeAgent().serving() as target:
        with pytest.raises(CallFailed, match="expected 200 from /twilio/voice, got 403: bad signature") as failed:
            await place_call(replace(target, auth_token="forged"), script("[{say: hi}]"), seed=1, voice=FakeVoice())
    assert (failed.value.step, failed.value.status) == ("webhook", 403)


class FakeRude(FakeAgent):
    """Answers with something that is not Twilio's protocol."""

    async def _say(self, wire: WebSocket, sid: str, name: str) -> None:
        await wire.send_text(json.dumps({"event": "play", "streamSid": sid}))


async def test_an_agent_that_breaks_the_protocol_ends_the_call_as_a_failure() -> None:
    async with FakeRude().serving() as target:
        record = await place_call(target, script("[{say: hi}]"), seed=1, voice=FakeVoice())
    assert record.ended_by == "failure"
    assert "'play'; expected media, mark or clear" in record.end_reason


@pytest.mark.parametrize(
    ("twiml", "said"),
    [
        ("not xml", "expected TwiML, got 'not xml'"),
        ("<Response><Say>busy</Say></Response>", "expected TwiML with <Connect><Stream>, got Say"),
        ('<Response><Connect><Stream url="wss://h/p?x=1"/></Connect></Response>', "without a query string"),
        ("<Html/>", "<Response> at the top"),
    ],
)
def test_twiml_that_opens_no_stream_says_what_was_expected(twiml: str, said: str) -> None:
    with pytest.raises(CallFailed, match=said):
        parse_stream_twiml(twiml)
