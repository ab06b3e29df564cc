"""What the pipeline sees of a deployment that answers, hangs, dies or says no. The handle is a fake of Ray Serve's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.types import (
    GenerateRequest,
    Judgement,
    Languages,
    Message,
    ModelFailure,
    Situation,
    SpeechChunk,
    Transcript,
)
from serve import handles
from serve.handles import RayLanguageModel, RaySpeaker, RayTranscriber, RayUnderstanding, Remote

REQUEST = GenerateRequest(request_id="r", messages=(Message("user", "hello"),))
AUDIO = np.zeros(16_000, np.float32)


class FakeStream:
    """A streaming response: yields its pieces, then raises or ends; remembers whether it was cancelled."""

    def __init__(self, pieces: list[Any], then: BaseException | None = None, *, hang: bool = False) -> None:
        self.cancelled = False
        self._pieces = pieces
        self._then = then
        self._hang = hang

    async def __aiter__(self) -> AsyncIterator[Any]:
        for piece in self._pieces:
            yield piece
        if self._hang:
            await asyncio.sleep(3600)
        if self._then is not None:
            raise self._then

    def cancel(self) -> None:
        self.cancelled = True


def handle(**methods: Callable[..., Any]) -> SimpleNamespace:
    """Like a DeploymentHandle with these methods, streaming or not."""
    made = SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in methods.items()})
    made.options = lambda **_: made
    return made


def transcriber(answer: Callable[[], Awaitable[Transcript]], timeout_s: float = 0.05) -> RayTranscriber:
    return RayTranscriber(Remote("SpeechToText", handle(transcribe=lambda *asked: Lazily(answer)), timeout_s))


async def answers() -> Transcript:
    return Transcript("hello")


async def hangs() -> Transcript:
    await asyncio.sleep(3600)
    return Transcript("never")


async def died() -> Transcript:
    raise RuntimeError("The actor died unexpectedly before finishing this task.\nIts node was removed.")


async def test_an_answer_passes_through() -> None:
    assert (await transcriber(answers).transcribe(AUDIO, Languages(), final=True)).text == "hello"


async def test_a_hanging_replica_is_a_failure_after_the_time_out() -> None:
    with pytest.raises(ModelFailure, match=r"SpeechToText: no answer within 0\.05 s"):
        await transcriber(hangs).transcribe(AUDIO, Languages(), final=True)


async def test_a_dead_replica_is_a_failure_at_once() -> None:
    with pytest.raises(ModelFailure, match=r"SpeechToText: RuntimeError: Its node was removed"):
        await transcriber(died, timeout_s=3600).transcribe(AUDIO, Languages(), final=True)


async def test_after_a_death_the_wait_is_short_until_a_replica_is_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "RECOVERING_TIMEOUT_S", 0.02)
    behaviour: Callable[[], Awaitable[object]] = died
    there: Callable[[], Awaitable[object]] = hangs
    fake = handle(transcribe=lambda *asked: Lazily(behaviour), ready=lambda: there())
    speech = RayTranscriber(Remote("SpeechToText", fake, 3600))
    with pytest.raises(ModelFailure, match="Its node was removed"):
        await speech.transcribe(AUDIO, Languages(), final=True)
    behaviour = answers
    with pytest.raises(ModelFailure, match=r"within 0\.02 s"):
        await speech.transcribe(AUDIO, Languages(), final=True)
    there = answers
    behaviour = slowly
    assert (await speech.transcribe(AUDIO, Languages(), final=True)).text == "hello"


class Lazily:
    """An answer that is only made once it is waited for."""

    cancelled = False

    def __init__(self, answer: Callable[[], Awaitable[object]]) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, object]:
        return self._answer().__await__()

    def cancel(self) -> None:
        self.cancelled = True


async def slowly() -> Transcript:
    await asyncio.sleep(0.1)
    return Transcript("hello")


async def test_a_turn_whose_words_nobody_waits_for_any_more_is_cancelled_at_the_replica() -> None:
    late, left = Lazily(hangs), Lazily(hangs)
    with pytest.raises(ModelFailure, match="no answer within"):
        await RayTranscriber(Remote("SpeechToText", handle(transcribe=lambda *asked: late), 0.01)).transcribe(
            AUDIO, Languages(), final=False
        )
    speech = RayTranscriber(Remote("SpeechToText", handle(transcribe=lambda *asked: left), 30))
    asking = asyncio.create_task(speech.transcribe(AUDIO, Languages(), final=False))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    assert (late.cancelled, left.cancelled) == (True, True)


async def test_closing_a_reply_early_cancels_it_at_the_replica() -> None:
    stream = FakeStream(["Sure,", "we are open."])
    model = RayLanguageModel(Remote("SmallLanguageModel", handle(clauses=lambda request: stream), 1))
    async with aclosing(model.clauses(REQUEST)) as clauses:
        assert await anext(clauses) == "Sure,"
        assert not stream.cancelled
    assert stream.cancelled


async def test_a_structured_answer_that_nobody_waits_for_any_more_is_cancelled_at_the_replica() -> None:
    class Response:
        cancelled = False

        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(60).__await__()
            return "{}"

        def cancel(self) -> None:
            self.cancelled = True

    response = Response()
    asked: list[Any] = []

    def structured(*of: Any) -> Response:
        asked.append(of)
        return response

    model = RayLanguageModel(Remote("LargeLanguageModel", handle(structured=structured), 30))
    asking = asyncio.create_task(model.structured(REQUEST, {"type": "object"}))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    assert (response.cancelled, asked) == (True, [(REQUEST, {"type": "object"})])


async def test_a_judgement_that_nobody_waits_for_any_more_is_cancelled_at_the_replica() -> None:
    judged = Judgement((("book", 1.0),))

    class Response:
        cancelled = False

        def __init__(self, takes_s: float) -> None:
            self._takes_s = takes_s

        def __await__(self) -> Generator[Any, None, Judgement]:
            yield from asyncio.sleep(self._takes_s).__await__()
            return judged

        def cancel(self) -> None:
            self.cancelled = True

    slow, late = Response(60), Response(60)
    one = RayUnderstanding(Remote("Understanding", handle(judge=lambda *of: slow), 30), "v1")
    asking = asyncio.create_task(one.judge(Situation("book me in"), "r1"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert slow.cancelled
    with pytest.raises(ModelFailure, match="no answer within"):
        await RayUnderstanding(Remote("Understanding", handle(judge=lambda *of: late), 0.01), "v1").judge(
            Situation("book me in"), "r2"
        )
    assert late.cancelled
    quick = RayUnderstanding(Remote("Understanding", handle(judge=lambda *of: Response(0)), 1), "v1")
    assert await quick.judge(Situation("book me in"), "r3") == judged


async def test_a_replica_that_dies_or_hangs_between_clauses_is_a_failure() -> None:
    for stream, why in (
        (FakeStream(["Sure,"], RuntimeError("gone")), "gone"),
        (FakeStream(["Sure,"], hang=True), "no answer within"),
    ):
        model = RayLanguageModel(Remote("SmallLanguageModel", handle(clauses=lambda request, s=stream: s), 0.05))
        clauses = model.clauses(REQUEST)
        assert await anext(clauses) == "Sure,"
        with pytest.raises(ModelFailure, match=why):
            await anext(clauses)
        assert stream.cancelled


async def test_speech_comes_chunk_by_chunk() -> None:
    chunks = [SpeechChunk(np.zeros(10, np.float32), last=False), SpeechChunk(np.zeros(5, np.float32))]
    speaker = RaySpeaker(Remote("TextToSpeech", handle(speak=lambda text, voice: FakeStream(chunks)), 1))
    assert [chunk.last async for chunk in speaker.speak("Hello.", voice="af_heart")] == [False, True]
