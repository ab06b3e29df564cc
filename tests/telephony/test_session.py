"""A media stream from opening to end: what is let in, what is heard, and how each way of ending ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from models.types import FloatAudio
from pipeline.clock import LoopClock
from telephony.playout import MediaTap, Playout
from telephony.session import CallInfo, TurnedAway
from telephony.tokens import StreamTokens, TokenError
from tests.telephony.fakes import ACCOUNT, CALL, STREAM, FakeTwilioLeg, clause, now_s
from tests.telephony.session_rig import FakeCall, Rig, run


def test_a_call_runs_from_start_to_stop() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        call = rig.call
        assert call is not None
        assert call.info == CallInfo(CALL, STREAM, ACCOUNT, "+15550100", "", {"caller": "+15550100"})
        await rig.leg.silence(0.5)
        rig.leg.say({"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track", "digit": "#"}})
        await rig.leg.silence(0.5)
        rig.leg.stop()
        outcome = await session
        assert (outcome.end, outcome.close_code, outcome.call_over) == ("caller_hung_up", 1000, True)
        assert rig.leg.closed == (1000, "the caller hung up")
        assert call.gone == ["caller_hung_up"]
        assert call.keys == "#"
        assert call.heard_s == pytest.approx(1.0, abs=0.002)
        assert not call.cancelled
        assert (outcome.counts.media, outcome.counts.faults, outcome.warnings) == (50, 0, ())

    run(main)


def test_the_agent_speaks_is_heard_and_hangs_up() -> None:
    async def conversation(call: FakeCall) -> None:
        for chunk in clause("good bye then"):
            call.line.play("c", chunk)
        await call.line.hang_up()

    async def main(rig: Rig) -> None:
        rig.conversation = conversation
        session = await rig.opened()
        caller = asyncio.create_task(rig.leg.silence(5.0))
        outcome = await session
        caller.cancel()
        await asyncio.wait({caller})
        assert (outcome.end, outcome.close_code, outcome.call_over) == ("agent_hung_up", 1000, True)
        assert now_s() == pytest.approx(0.66, abs=0.01), "0.6 s of speech and the way there and back"
        call = rig.call
        assert call is not None
        assert [name for _, name in call.audible] == ["c"]
        assert [name for _, name in call.played] == ["c"]
        assert rig.leg.carrier.heard_s(0.3) == pytest.approx(0.6, abs=0.01)
        assert outcome.pacing is not None
        assert outcome.pacing.frames == 30

    run(main)


def test_what_is_queued_when_the_call_returns_is_still_played() -> None:
    async def conversation(call: FakeCall) -> None:
        for chunk in clause("good bye"):
            call.line.play("c", chunk)

    async def main(rig: Rig) -> None:
        rig.conversation = conversation
        outcome = await (await rig.opened())
        assert outcome.end == "agent_hung_up"
        assert rig.leg.carrier.heard_s(0.3) == pytest.approx(0.4, abs=0.01)

    run(main)


def test_the_last_words_are_cut_short_if_the_caller_goes() -> None:
    async def conversation(call: FakeCall) -> None:
        for chunk in clause("a b c d e f g h i j", word_s=2.0):
            call.line.play("c", chunk)

    async def main(rig: Rig) -> None:
        rig.conversation = conversation
        session = await rig.opened()
        await rig.leg.silence(0.5)
        rig.leg.stop()
        await session
        assert now_s() < 1.0

    run(main)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda leg, tokens: (leg.connect(), leg.media()), "expected a 'start' message, got 'media'"),
        (lambda leg, tokens: leg.media(), "expected a 'connected' message, got 'media'"),
        (lambda leg, tokens: leg.start(tokens.issue(CALL)), "expected a 'connected' message, got 'start'"),
        (lambda leg, tokens: (leg.connect(), leg.start("")), "no stream token"),
        (lambda leg, tokens: (leg.connect(), leg.start("forged")), "not issued by this service"),
        (lambda leg, tokens: (leg.connect(), leg.start(tokens.issue("CAother"))), "issued for another call"),
        (
            lambda leg, tokens: (
                leg.connect(),
                leg.start(
                    tokens.issue(CALL), mediaFormat={"encoding": "audio/l16", "sampleRate": 16000, "channels": 1}
                ),
            ),
            "expected start.mediaFormat audio/x-mulaw, 8000 Hz",
        ),
        (lambda leg, tokens: (leg.connect(), leg.start(tokens.issue(CALL), accountSid="AC1")), "another account"),
        (lambda leg, tokens: leg.connect(), "no valid start message within 5 s"),
    ],
    ids=[
        "media before start",
        "media before connected",
        "start before connected",
        "no token",
        "forged token",
        "token of another call",
        "another format",
        "another account",
        "no start",
    ],
)
def test_a_stream_that_does_not_open_properly_is_refused(
    prepare: Callable[[FakeTwilioLeg, StreamTokens], object], reason: str
) -> None:
    async def main(rig: Rig) -> None:
        prepare(rig.leg, rig.tokens)
        outcome = await rig.session(account_sid=ACCOUNT)
        assert (outcome.end, outcome.close_code, outcome.call_over) == ("refused", 1008, False)
        assert reason in outcome.close_reason
        assert rig.leg.closed is not None
        assert reason[:60] in rig.leg.closed[1]
        assert rig.call is None, "no call begins"
        assert now_s() <= 5.001

    run(main)


@pytest.mark.parametrize(
    ("fault", "end", "code"),
    [
        (TurnedAway("all places are taken"), "turned_away", 1013),
        (TokenError("reused", "all places are taken"), "refused", 1008),
    ],
)
def test_a_call_that_is_not_admitted_closes_the_stream_and_begins_nothing(
    fault: Exception, end: str, code: int
) -> None:
    async def admit(info: CallInfo) -> None:
        assert info.call_sid == CALL
        raise fault

    def tap(info: CallInfo) -> MediaTap:
        raise AssertionError("nothing is recorded")

    async def main(rig: Rig) -> None:
        session = rig.session(admit=admit, tap_factory=tap)
        rig.leg.connect()
        rig.leg.start(rig.tokens.issue(CALL))
        outcome = await session
        assert (outcome.end, outcome.close_code, outcome.call_over) == (end, code, False)
        assert rig.leg.closed == (code, "all places are taken")
        assert rig.call is None

    run(main)


def test_a_token_opens_one_stream_and_the_first_one_goes_on() -> None:
    async def main(rig: Rig) -> None:
        token = rig.tokens.issue(CALL)
        rig.leg.connect()
        rig.leg.start(token)
        first = rig.session()
        await asyncio.sleep(0.1)
        thief = Rig()
        thief.tokens = rig.tokens
        thief.leg.connect()
        thief.leg.start(token)
        outcome = await thief.session()
        assert (outcome.end, outcome.close_reason) == ("refused", "stream token was used before")
        assert not first.done()
        rig.leg.stop()
        assert (await first).end == "caller_hung_up"

    run(main)


def test_an_expired_token_is_refused() -> None:
    async def main(rig: Rig) -> None:
        rig.tokens = StreamTokens(b"0123456789abcdef", LoopClock(), lifetime_s=-3.0)
        rig.leg.connect()
        rig.leg.start(rig.tokens.issue(CALL))
        outcome = await rig.session()
        assert (outcome.close_code, outcome.close_reason) == (1008, "stream token expired 3 s ago")

    run(main)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"event": "connected", "protocol": "Call", "version": "1.0.0"}, "a second 'connected' message"),
        (None, "a second 'start' message"),
        (
            {
                "event": "media",
                "streamSid": "MZother",
                "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "/w=="},
            },
            f"expected streamSid {STREAM}, got 'MZother'",
        ),
        ({"event": "stop", "streamSid": "MZother", "stop": {}}, "got 'MZother'"),
    ],
)
def test_a_stream_that_breaks_the_protocol_is_closed(message: dict[str, Any] | None, reason: str) -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        if message is None:
            rig.leg.start(rig.tokens.issue(CALL))
        else:
            rig.leg.say(message)
        outcome = await session
        assert (outcome.end, outcome.close_code) == ("refused", 1008)
        assert reason in outcome.close_reason
        assert rig.call is not None
        assert rig.call.gone == ["line_lost"]

    run(main)


MALFORMED: list[dict[str, Any] | str | bytes] = [
    '{"event":',
    b"\x00\x01",
    {"event": "media", "streamSid": STREAM},
    {
        "event": "media",
        "streamSid": STREAM,
        "media": {"track": "inbound", "chunk": "9", "timestamp": "0", "payload": "?"},
    },
    {
        "event": "media",
        "streamSid": STREAM,
        "media": {"track": "inbound", "chunk": "9", "timestamp": "0", "payload": ""},
    },
]


def test_a_few_malformed_messages_are_passed_over_with_a_warning() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        for message in MALFORMED:
            rig.leg.say(message)
        rig.leg.say({"event": "tomorrow", "streamSid": STREAM})
        await rig.leg.silence(0.2)
        rig.leg.stop()
        outcome = await session
        assert outcome.end == "caller_hung_up"
        assert (outcome.counts.faults, outcome.counts.unknown, outcome.counts.media) == (5, 1, 10)
        assert len(outcome.warnings) == 6
        assert all("expected" in warning or "unknown" in warning for warning in outcome.warnings)

    run(main)


def test_too_many_malformed_messages_close_the_stream() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        for _ in range(11):
            rig.leg.say('{"event":')
        outcome = await session
        assert (outcome.end, outcome.close_code) == ("refused", 1008)
        assert "11 malformed messages; the last: expected a JSON object" in outcome.close_reason

    run(main)


def test_a_message_of_a_megabyte_closes_the_stream() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        rig.leg.media(b"\xff" * 1_000_000)
        outcome = await session
        assert (outcome.end, outcome.close_code) == ("refused", 1009)
        assert rig.leg.closed is not None
        assert rig.leg.closed[1].startswith("expected a message of at most 65536 bytes; got 13")

    run(main)


def test_sixty_seconds_of_a_silent_caller_are_not_a_lost_line() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        await rig.leg.silence(60.0)
        assert not session.done()
        rig.leg.stop()
        assert (await session).end == "caller_hung_up"

    run(main)


def test_without_any_message_the_line_counts_as_lost() -> None:
    async def main(rig: Rig) -> None:
        outcome = await (await rig.opened())
        assert (outcome.end, outcome.close_reason) == ("line_lost", "no message for 10 s")
        assert outcome.call_over is False
        assert now_s() == pytest.approx(10.0, abs=0.1)
        assert rig.call is not None
        assert rig.call.gone == ["line_lost"]

    run(main)


def test_the_line_counts_as_lost_so_long_after_its_last_message() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        await rig.leg.silence(13.3)
        assert (await session).close_reason == "no message for 10 s"
        assert now_s() == pytest.approx(23.3, abs=0.1)

    run(main)


def test_a_socket_that_vanishes_without_a_stop_is_a_lost_line() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        await rig.leg.silence(0.3)
        rig.leg.vanish()
        outcome = await session
        assert outcome.end == "line_lost"
        assert rig.call is not None
        assert rig.call.gone == ["line_lost"]

    run(main)


async def _talk_on(call: FakeCall) -> None:
    for chunk in clause("a b c d e"):
        call.line.play("c", chunk)
    await call.over.wait()


def test_a_caller_who_hangs_up_mid_reply_ends_the_call_at_once() -> None:
    async def main(rig: Rig) -> None:
        rig.conversation = _talk_on
        session = await rig.opened()
        await rig.leg.silence(0.5)
        rig.leg.stop()
        outcome = await session
        assert outcome.end == "caller_hung_up"
        assert now_s() == pytest.approx(0.5, abs=0.01)

    run(main)


@pytest.mark.parametrize(("stops", "end"), [(True, "caller_hung_up"), (False, "line_lost")])
def test_a_send_that_fails_is_a_hang_up_if_a_stop_is_still_unread(stops: bool, end: str) -> None:
    async def main(rig: Rig) -> None:
        rig.conversation = _talk_on
        session = await rig.opened()
        await rig.leg.silence(0.3)
        rig.leg.broken = True
        await asyncio.sleep(0.1)
        if stops:
            rig.leg.stop()
        assert (await session).end == end
        assert now_s() < 2.0

    run(main)


def test_a_peer_that_takes_no_data_is_lost_and_blocks_nobody() -> None:
    async def main(rig: Rig) -> None:
        rig.conversation = _talk_on
        session = await rig.opened()
        rig.leg.flowing.clear()
        caller = asyncio.create_task(rig.leg.silence(10.0))
        await asyncio.sleep(2.0)
        assert rig.call is not None
        assert rig.call.heard_s > 1.9, "hearing goes on while sending is stuck"
        outcome = await session
        assert (outcome.end, outcome.close_reason) == ("line_lost", "the peer took no data for 5 s")
        assert now_s() < 7.0
        caller.cancel()
        await asyncio.wait({caller})

    run(main)


def test_a_stall_is_timed_from_the_send_that_stalls_however_long_the_call_has_run() -> None:
    async def main(rig: Rig) -> None:
        async def talk_long(call: FakeCall) -> None:
            for chunk in clause("a " * 60):
                call.line.play("c", chunk)
            await call.over.wait()

        rig.conversation = talk_long
        session = await rig.opened()
        caller = asyncio.create_task(rig.leg.silence(30.0))
        await asyncio.sleep(7.3)
        rig.leg.flowing.clear()
        assert (await session).close_reason == "the peer took no data for 5 s"
        # Five seconds, and one in which a stop may still be read.
        assert now_s() == pytest.approx(7.3 + 5.0 + 1.0, abs=0.1)
        caller.cancel()
        await asyncio.wait({caller})

    run(main)


def test_a_peer_that_takes_data_again_in_time_is_not_lost() -> None:
    async def main(rig: Rig) -> None:
        rig.conversation = _talk_on
        session = await rig.opened()
        caller = asyncio.create_task(rig.leg.silence(40.0))
        for _ in range(4):
            rig.leg.flowing.clear()
            await asyncio.sleep(4.8)
            rig.leg.flowing.set()
            await asyncio.sleep(0.1)
        assert not session.done()
        rig.leg.stop()
        assert (await session).end == "caller_hung_up"
        caller.cancel()
        await asyncio.wait({caller})

    run(main)


def test_a_call_that_does_not_end_is_cancelled_after_its_grace() -> None:
    async def main(rig: Rig) -> None:
        async def deaf(call: FakeCall) -> None:
            await asyncio.sleep(1_000)

        rig.conversation = deaf
        session = await rig.opened()
        rig.leg.stop()
        outcome = await session
        assert outcome.end == "caller_hung_up"
        assert now_s() == pytest.approx(5.0, abs=0.1)
        assert rig.call is not None
        assert rig.call.cancelled

    run(main)


@pytest.mark.parametrize("where", ["run", "feed"])
def test_an_exception_in_a_call_ends_that_stream_only(where: str) -> None:
    async def main(rig: Rig) -> None:
        async def broken(call: FakeCall) -> None:
            raise ZeroDivisionError

        def broken_feed(frame: FloatAudio) -> None:
            raise ZeroDivisionError

        if where == "run":
            rig.conversation = broken
        session = await rig.opened()
        assert rig.call is not None
        if where == "feed":
            rig.call.feed = broken_feed  # type: ignore[method-assign]
            rig.leg.media()
        outcome = await session
        assert (outcome.end, outcome.close_code, outcome.call_over) == ("failed", 1011, False)
        assert outcome.close_reason == "the call failed: ZeroDivisionError"
        assert now_s() < 1.0

    run(main)


def test_a_call_that_cannot_begin_closes_the_stream() -> None:
    async def main(rig: Rig) -> None:
        def refuse(info: CallInfo, playout: Playout) -> FakeCall:
            raise RuntimeError("no models")

        rig._start_call = refuse  # type: ignore[method-assign]
        session = rig.session()
        rig.leg.connect()
        rig.leg.start(rig.tokens.issue(CALL))
        outcome = await session
        assert (outcome.end, outcome.close_code) == ("failed", 1011)
        assert "no models" in outcome.close_reason

    run(main)


def test_a_cancelled_handler_lets_the_call_end_and_closes_the_socket() -> None:
    async def main(rig: Rig) -> None:
        ended: list[str] = []

        async def tidy(call: FakeCall) -> None:
            await call.over.wait()
            await asyncio.sleep(0.5)
            ended.append("saved")

        rig.conversation = tidy
        session = await rig.opened()
        await rig.leg.silence(0.1)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await session
        assert ended == ["saved"]
        assert rig.call is not None
        assert rig.call.gone == ["caller_hung_up"]
        assert rig.leg.closed == (1000, "the caller hung up")

    run(main)


def test_close_reasons_fit_a_control_frame_whatever_the_peer_wrote() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        rig.leg.say({"event": "mark", "streamSid": "é" * 400, "mark": {"name": "x"}})
        assert (await session).close_code == 1008
        assert rig.leg.closed is not None  # its fake checks the length

    run(main)
