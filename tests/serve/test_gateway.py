"""The gateway against a hand-made carrier: who gets in, what bad input does, and that other calls notice nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from pipeline.clock import LoopClock
from pipeline.escalation import HandOver
from pipeline.state import CallState, Memory, Value
from serve.gateway_state import DIALLED_PATH, VOICE_PATH, WHISPER_PATH
from serve.session_store import SessionStore
from serve.traffic_split import TrafficSplit, Variant, only
from tests.pipeline.agents import AGENT
from tests.serve.gateway_rig import Rig, Stream, gateway_rig, saved_run, twiml_parameters


async def admitted(rig: Rig, call_sid: str) -> dict[str, str]:
    return twiml_parameters(await rig.webhook(call_sid))


async def test_a_signed_webhook_gets_a_stream_and_no_secret(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        answer = await rig.webhook("CA1")
        assert answer.status_code == 200
        assert 'url="wss://calls.example.com/twilio/media"' in answer.text
        assert 'action="https://calls.example.com/twilio/action?attempt=1"' in answer.text
        parameters = twiml_parameters(answer)
        assert parameters["caller"] == "+15550001111"
        assert parameters["token"]
        assert "an-auth-token" not in answer.text
        assert "an-auth-token" not in repr(rig.services)


@pytest.mark.parametrize("signature", [None, "", "bm90IGl0", "ünïcode"])
async def test_a_webhook_without_a_right_signature_is_refused_and_told_why(
    tmp_path: Path, signature: str | None
) -> None:
    async with gateway_rig(tmp_path) as rig:
        headers = {} if signature is None else {"X-Twilio-Signature": signature.encode()}
        answer = await rig.client.post(VOICE_PATH, data={"CallSid": "CA1"}, headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 403
        assert "X-Twilio-Signature" in answer.text
        assert "TWILIO_AUTH_TOKEN" in answer.text
        assert await rig.metric('trunkline_refused_total{why="signature"}') == 1


async def test_a_webhook_of_megabytes_or_of_no_call_is_refused(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        assert (await rig.client.post(VOICE_PATH, content=b"a=" + b"b" * 2_000_000)).status_code == 413
        assert (await rig.client.post(VOICE_PATH, content=b"\xff\xfe")).status_code in (400, 403)
        assert (await rig.webhook("")).status_code == 400
        assert (await rig.webhook("CA/../../etc")).status_code == 400


async def test_a_repeated_webhook_gets_the_same_answer(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path, max_calls=1) as rig:
        assert (await rig.webhook("CA1")).text == (await rig.webhook("CA1")).text


async def test_one_call_too_many_is_told_that_lines_are_busy(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path, max_calls=2) as rig:
        for sid in ("CA1", "CA2"):
            assert twiml_parameters(await rig.webhook(sid))
        busy = await rig.webhook("CA3")
        assert busy.status_code == 200
        assert "busy" in busy.text
        assert "<Hangup" in busy.text
        assert not twiml_parameters(busy)


async def test_a_place_that_is_not_taken_up_becomes_free(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path, max_calls=1, token_lifetime_s=0.2) as rig:
        assert await admitted(rig, "CA1")
        await asyncio.sleep(0.25)
        assert await admitted(rig, "CA2")


@pytest.mark.parametrize("signature", ["", "bm90IGl0"])
async def test_a_socket_without_a_right_signature_is_refused(tmp_path: Path, signature: str) -> None:
    async with gateway_rig(tmp_path) as rig:
        with pytest.raises(InvalidStatus) as refused:
            async with rig.media(signature):
                pass
        assert refused.value.response.status_code == 403
        assert b"X-Twilio-Signature" in refused.value.response.body


async def test_a_token_opens_one_stream_only(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        parameters = await admitted(rig, "CA1")
        async with rig.media() as first, rig.media() as second:
            await Stream(first, "CA1").begin(parameters)
            greeted = json.loads(await first.recv())
            assert greeted["event"] == "media"
            thief = Stream(second, "CA1")
            await thief.begin(parameters)
            assert await thief.closed() == 1008
            assert thief.heard == []
            assert json.loads(await first.recv())["streamSid"] == "MZCA1"


async def test_a_token_expires(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path, token_lifetime_s=0.1) as rig:
        parameters = await admitted(rig, "CA1")
        await asyncio.sleep(0.15)
        async with rig.media() as socket:
            stream = Stream(socket, "CA1")
            await stream.begin(parameters)
            assert await stream.closed() == 1008
            assert "expired" in (socket.close_reason or "")


async def media_before_start(stream: Stream, parameters: dict[str, str]) -> None:
    await stream.socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
    await stream.media()


async def second_start(stream: Stream, parameters: dict[str, str]) -> None:
    await stream.begin(parameters)
    await stream.start(parameters)


async def wrong_stream_sid(stream: Stream, parameters: dict[str, str]) -> None:
    await stream.begin(parameters)
    await stream.media(stream_sid="MZsomeoneelse")


async def broken_json_without_end(stream: Stream, parameters: dict[str, str]) -> None:
    await stream.begin(parameters)
    for _ in range(30):
        await stream.socket.send('{"event": "media", ')


async def a_megabyte(stream: Stream, parameters: dict[str, str]) -> None:
    await stream.begin(parameters)
    await stream.media("A" * 1_000_000)


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [
        (media_before_start, 1008),
        (second_start, 1008),
        (wrong_stream_sid, 1008),
        (broken_json_without_end, 1008),
        (a_megabyte, 1009),
    ],
)
async def test_bad_input_ends_its_own_call_only(tmp_path: Path, misbehave, code: int) -> None:  # type: ignore[no-untyped-def]
    async with gateway_rig(tmp_path) as rig:
        good_parameters, bad_parameters = await admitted(rig, "CAgood"), await admitted(rig, "CAbad")
        async with rig.media() as good_socket, rig.media() as bad_socket:
            good, bad = Stream(good_socket, "CAgood"), Stream(bad_socket, "CAbad")
            await good.begin(good_parameters)
            await misbehave(bad, bad_parameters)
            assert await asyncio.wait_for(bad.closed(), 5) == code
            assert bad_socket.close_reason
            listening = asyncio.create_task(good.listen())
            await good.talk(0.3)
            assert sum(event["event"] == "media" for event in good.heard) >= 10
            await good.send("stop", streamSid=good.stream_sid, stop={"accountSid": "AC1", "callSid": "CAgood"})
            await listening


@pytest.mark.parametrize("payload", ["%%%", "QQ", "", "QUJD"])
async def test_odd_payloads_are_passed_over(tmp_path: Path, payload: str) -> None:
    async with gateway_rig(tmp_path) as rig:
        parameters = await admitted(rig, "CA1")
        async with rig.media() as socket:
            stream = Stream(socket, "CA1")
            await stream.begin(parameters)
            await stream.media(payload)
            await stream.talk(0.1)
            assert json.loads(await socket.recv())["event"] == "media"


async def test_a_call_leaves_events_audio_and_figures(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        parameters = await admitted(rig, "CA1")
        async with rig.media() as socket:
            stream = Stream(socket, "CA1")
            await stream.begin(parameters)
            listening = asyncio.create_task(stream.listen())
            await stream.talk(0.5)
            await stream.send("stop", streamSid=stream.stream_sid, stop={"accountSid": "AC1", "callSid": "CA1"})
            await listening
        run = await saved_run(tmp_path, "CA1")
        kinds = [json.loads(line)["kind"] for line in (run / "events.jsonl").read_text().splitlines()]
        assert kinds[0] == "call_started"
        assert kinds[-1] == "call_ended"
        assert (run / "call.wav").stat().st_size > 8000
        summary = json.loads((run / "gateway.json").read_text())
        assert summary["end"] == "caller_hung_up"
        assert summary["event_loop_lag"]["samples"] >= 5
        assert summary["pacing"]["frames"] >= 20
        assert await rig.metric("trunkline_calls") == 0
        assert await rig.metric('trunkline_calls_ended_total{reason="caller_hung_up"}') == 1
        over = await rig.action("CA1")
        assert "<Hangup" in over.text


async def test_a_socket_that_breaks_off_is_a_lost_line_and_the_carrier_may_connect_again(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        parameters = await admitted(rig, "CA1")
        async with rig.media() as socket:
            stream = Stream(socket, "CA1")
            await stream.begin(parameters)
            await stream.media()
            await socket.recv()
            socket.transport.abort()
        for _ in range(100):
            if (await rig.client.get("/healthz")).json()["calls"] == 0:
                break
            await asyncio.sleep(0.05)
        again = await rig.action("CA1", CallStatus="in-progress")
        fresh = twiml_parameters(again)
        assert fresh["token"] != parameters["token"]
        assert "attempt=2" in again.text


async def test_health_readiness_and_metrics(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path, not_ready=("Router: no answer within 2 s",)) as rig:
        assert (await rig.client.get("/healthz")).status_code == 200
        waiting = await rig.client.get("/readyz")
        assert waiting.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "Router" in waiting.text
        await asyncio.sleep(0.2)
        assert await rig.metric("trunkline_event_loop_lag_seconds_count") >= 2
    async with gateway_rig(tmp_path) as rig:
        assert (await rig.client.get("/readyz")).json()["agent"] == "Test desk"


async def test_calls_are_shared_out_over_versions_and_each_is_recorded_under_its_own(tmp_path: Path) -> None:
    other = AGENT.model_copy(update={"persona": "You are another test desk."})
    mine, theirs = (only(agent).variants[0].agents for agent in (AGENT, other))
    traffic = TrafficSplit((Variant(mine, 50), Variant(theirs, 50)))
    async with gateway_rig(tmp_path, traffic=traffic) as rig:
        calls = [f"CA{number}" for number in range(6)]
        for call_sid in calls:
            answer = await rig.webhook(call_sid)
            async with rig.media() as socket:
                stream = Stream(socket, call_sid)
                await stream.begin(twiml_parameters(answer))
                await stream.talk(0.1)
                await stream.send("stop", streamSid=stream.stream_sid, stop={"accountSid": "AC1", "callSid": call_sid})
                await stream.closed()
        expected = {call_sid: rig.services.pool.pick(call_sid)[0].version for call_sid in calls}
        assert set(expected.values()) == {mine[0].version, theirs[0].version}
        async with asyncio.timeout(10):
            while len(await rig.services.store.outcomes()) < len(calls):  # noqa: ASYNC110  # written behind the call
                await asyncio.sleep(0.02)
        for version in set(expected.values()):
            outcomes = await rig.services.store.outcomes(version=version)
            assert {one.call_sid for one in outcomes} == {call for call, its in expected.items() if its == version}


async def kept_by_another_gateway(rig: Rig, package: HandOver | None = None) -> None:
    """Call CA1 was held by a gateway that is gone."""
    other = SessionStore(rig.services.store, rig.services.pool, LoopClock())
    runtimes = (rig.services.pool.first,)
    other.save("CA1", runtimes, Memory(CallState(values={"name": Value("John Miller")})))
    if package is not None:
        other.put_through("CA1", runtimes, package)
    await other.saved("CA1")


async def test_a_call_whose_gateway_died_is_taken_over(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        assert "<Hangup" in (await rig.action("CA1", CallStatus="in-progress")).text
        await kept_by_another_gateway(rig)
        again = await rig.action("CA1", CallStatus="in-progress")
        async with rig.media() as socket:
            stream = Stream(socket, "CA1")
            await stream.begin(twiml_parameters(again))
            listening = asyncio.create_task(stream.listen())
            await stream.talk(0.3)
            await stream.send("stop", streamSid=stream.stream_sid, stop={"accountSid": "AC1", "callSid": "CA1"})
            await listening
        run = await saved_run(tmp_path, "CA1")
        said = [json.loads(line).get("text", "") for line in (run / "events.jsonl").read_text().splitlines()]
        assert "Sorry, we were cut off." in said
        assert "Hello, this is the test desk." not in said


async def test_whoever_takes_a_call_over_is_told_what_it_is_about(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        await kept_by_another_gateway(rig, HandOver("tool_failure", "desk", "Wants Friday.", {}, (), ""))
        answer = await rig.action("CA1", CallStatus="in-progress")
        number = ElementTree.fromstring(answer.text).find("Dial/Number")
        assert number is not None
        assert number.text == "+15550199"
        assert number.attrib["url"] == "https://calls.example.com/twilio/whisper?call=CA1"
        whispered = await rig.webhook("CA9", WHISPER_PATH, query="?call=CA1")
        assert "tool failure: Wants Friday." in whispered.text
        unsigned = await rig.client.post(WHISPER_PATH + "?call=CA1", data={"CallSid": "CA9"})
        assert unsigned.status_code == httpx.codes.FORBIDDEN


async def test_a_call_that_was_put_through_ends_and_one_that_nobody_took_is_told_so(tmp_path: Path) -> None:
    async with gateway_rig(tmp_path) as rig:
        await kept_by_another_gateway(rig, HandOver("request", "desk", "", {}, (), ""))
        for status in ("busy", "no-answer", "failed"):
            told = await rig.webhook("CA1", DIALLED_PATH, DialCallStatus=status)
            assert "nobody can take your call" in told.text
            assert "<Hangup" in told.text
        taken = await rig.webhook("CA1", DIALLED_PATH, DialCallStatus="completed")
        assert "<Say" not in taken.text
        assert "<Hangup" in taken.text
        assert "<Say" in (await rig.webhook("CA7", DIALLED_PATH, DialCallStatus="busy")).text
        unsigned = await rig.client.post(DIALLED_PATH, data={"CallSid": "CA1"})
        assert unsigned.status_code == httpx.codes.FORBIDDEN
