"""The embedded stack with real models on real Serve deployments: it answers, it fails promptly, it comes back."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx
import numpy as np
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect as open_socket

from models.types import GenerateRequest, Languages, Message, ModelFailure, Situation
from serve.gateway_state import MEDIA_PATH, VOICE_PATH
from serve.handles import (
    RayLanguageModel,
    RayRouter,
    RaySpeaker,
    RayTranscriber,
    RayUnderstanding,
    Remote,
)
from tests.conftest import StackUp
from tests.serve.gateway_rig import Stream, twiml_parameters
from tests.serve.stack_rig import remote, signal_replica, until_back

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

LINE = "We are open Monday to Friday from eight to five, and on Saturday mornings by appointment only."
PROMPT_S = 6.0
"""A replica's death is told within."""


def worder(up: StackUp) -> Remote:
    """The deployment that answers for the small language model."""
    engine = up.stack.language_model("small")
    return Remote(engine.deployment, remote(up, engine.deployment).handle, engine.timeout_s)


def request(request_id: str, max_tokens: int = 48) -> GenerateRequest:
    messages = (
        Message("system", "You are a helpful assistant."),
        Message("user", "Tell me a long story about a dentist who lived by the sea."),
    )
    return GenerateRequest(request_id=request_id, messages=messages, max_tokens=max_tokens)


async def test_each_model_answers_through_its_handle(stack_up: StackUp) -> None:
    chunks = [
        chunk async for chunk in RaySpeaker(remote(stack_up, "TextToSpeech")).speak(LINE, voice=stack_up.agent.voice)
    ]
    assert chunks[-1].last
    assert len(chunks[0].words) >= 10
    speech = np.concatenate([chunk.pcm for chunk in chunks])
    hearing = np.interp(np.arange(0, speech.size, 1.5), np.arange(speech.size), speech).astype(np.float32)
    heard = await RayTranscriber(remote(stack_up, "SpeechToText")).transcribe(hearing, Languages(), final=True)
    assert "monday" in heard.text.lower()
    decision = await RayRouter(remote(stack_up, "Router"), stack_up.version).route("what are your opening hours")
    assert decision.passages
    clauses = [c async for c in RayLanguageModel(worder(stack_up)).clauses(request("answers"))]
    assert len(" ".join(clauses).split()) >= 5


async def test_a_reply_that_is_closed_early_frees_the_engine(stack_up: StackUp) -> None:
    model = RayLanguageModel(worder(stack_up))
    for attempt in range(2 * stack_up.stack.language_model("small").settings.engine.max_sequences):
        async with aclosing(model.clauses(request(f"closed-{attempt}", max_tokens=400))) as clauses:
            assert await anext(clauses)
    assert [c async for c in model.clauses(request("after", max_tokens=8))]


async def test_the_model_that_understands_chooses_among_what_the_agent_knows(stack_up: StackUp) -> None:
    model = RayUnderstanding(remote(stack_up, "Understanding"), stack_up.version)
    said = Situation("could you tell me what you'd charge me for a cleaning")
    judged = await model.judge(said, "price")
    assert judged.probabilities[0][0] == "q:price_cleaning"
    assert sum(share for _, share in judged.probabilities) == pytest.approx(1)
    asked = await model.judge(Situation("yes please do", "So that's Friday at nine. Is that right?"), "yes")
    assert asked.probabilities[0][0] == "answer"
    with pytest.raises(ModelFailure, match="no catalogue of agent version 'other'"):
        await RayUnderstanding(remote(stack_up, "Understanding"), "other").judge(said, "nobody")


async def test_judgements_that_are_given_up_free_the_engine(stack_up: StackUp) -> None:
    model = RayUnderstanding(remote(stack_up, "Understanding"), stack_up.version)
    assert stack_up.stack.understanding is not None
    for attempt in range(2 * stack_up.stack.understanding.engine.max_sequences):
        asking = asyncio.create_task(
            model.judge(Situation(f"where do I leave my car number {attempt}"), f"up-{attempt}")
        )
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert (await model.judge(Situation("is there somewhere to park"), "after")).probabilities[0][0] == "q:parking"


async def test_the_gateway_is_ready_and_takes_a_call(stack_up: StackUp) -> None:
    state = stack_up.state
    validator = RequestValidator(state.twilio_auth_token)
    async with httpx.AsyncClient(base_url=state.url) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready", "agent": stack_up.agent.name}
        form = {"CallSid": "CAstack", "From": "+15550001111", "To": "+15550002222"}
        signature = validator.compute_signature(state.public_url + VOICE_PATH, form)
        answer = await client.post(VOICE_PATH, data=form, headers={"X-Twilio-Signature": signature})
    signed = validator.compute_signature("wss" + state.public_url.removeprefix("https") + MEDIA_PATH, {})
    async with open_socket(
        state.url.replace("http", "ws") + MEDIA_PATH, additional_headers={"X-Twilio-Signature": signed}
    ) as socket:
        stream = Stream(socket, "CAstack")
        await stream.begin(twiml_parameters(answer))
        listening = asyncio.create_task(stream.listen())
        await stream.talk(3.0)
        await stream.send("stop", streamSid=stream.stream_sid, stop={"accountSid": "AC1", "callSid": "CAstack"})
        await listening
    assert sum(event["event"] == "media" for event in stream.heard) >= 100
    (run,) = state.runs_dir.glob("*-CAstack")
    summary = await saved(run / "gateway.json")
    # The stop was read before the close, although Serve cancels the handler at the close.
    assert summary["end"] == "caller_hung_up"
    assert summary["event_loop_lag"]["samples"] > 20
    kinds = [json.loads(line)["kind"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert kinds[0] == "call_started"
    assert kinds[-1] == "call_ended"


@pytest.mark.parametrize("name", ["TextToSpeech", "Understanding"])
async def test_a_replica_killed_mid_reply_is_a_prompt_failure_and_comes_back(stack_up: StackUp, name: str) -> None:
    target = worder(stack_up) if name == "Understanding" else remote(stack_up, name)
    reply = pieces(stack_up, target, name)
    await anext(reply)
    signal_replica(name, signal.SIGKILL)
    began_s = time.monotonic()
    with pytest.raises(ModelFailure, match=name):
        async for _ in reply:
            pass
    assert time.monotonic() - began_s < PROMPT_S
    await until_back(target)
    assert [piece async for piece in pieces(stack_up, target, name)]


def pieces(up: StackUp, target: Remote, name: str) -> AsyncIterator[object]:
    """A reply long enough to be killed in the middle."""
    if name == "TextToSpeech":
        return RaySpeaker(target).speak(LINE, voice=up.agent.voice)
    return RayLanguageModel(target).clauses(request(f"killed-{time.monotonic_ns()}", max_tokens=200))


async def saved(path: Path) -> dict[str, dict[str, int] | str]:
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110, ASYNC240  # another process writes it
            await asyncio.sleep(0.05)
    summary: dict[str, dict[str, int] | str] = json.loads(path.read_text())  # noqa: ASYNC240
    return summary
