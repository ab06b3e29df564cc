"""What a stack file says of stand-ins becomes models that have them; without a word of it, they are what they were."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing

import numpy as np
import pytest

from models.settings import SettingsError, parse_settings
from models.types import FloatAudio, GenerateRequest, Languages, Message, ModelFailure, SpeechChunk, Transcript
from pipeline.clock import LoopClock
from serve.config import EMBEDDED_STACK, WORDS_STACK, EngineAt, Stack, load_stack
from serve.metrics import Metrics
from serve.stand_ins import StandIns
from tests.serve.hosted.fakes import events, rig, says, streams

EMBEDDED = EMBEDDED_STACK.read_text()
WORDS = WORDS_STACK.read_text()
AUDIO = np.zeros(1600, np.float32)
REQUEST = GenerateRequest("r", (Message("user", "hello"),))


class Broken:
    """A deployment whose replica is gone."""

    def __init__(self, name: str = "own") -> None:
        self.name = name

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        raise ModelFailure(f"{self.name}: gone")

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        raise ModelFailure(f"{self.name}: gone")
        yield ""

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        raise ModelFailure(f"{self.name}: gone")

    async def prefill(self, request: GenerateRequest) -> None:
        pass

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        raise ModelFailure(f"{self.name}: gone")
        yield SpeechChunk(AUDIO)


class Works(Broken):
    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        yield self.name


def with_fallback(text: str, part: str, fallback: str) -> Stack:
    """A stack file with a stand-in for one of its parts."""
    begin = f"{part}:\n"
    assert begin in text
    return parse_settings(text.replace(begin, f"{begin}  fallback: {fallback}\n", 1), Stack, "my-stack.yaml")


async def test_nothing_stands_in_and_nothing_is_opened_unless_the_stack_file_says_so() -> None:
    own = Broken()
    for path in (EMBEDDED_STACK, WORDS_STACK):
        stack = load_stack(path)
        assert stack.hosted() == {}
        assert (stack.stand_in("small"), stack.stand_in("large")) == (None, None)
        async with AsyncExitStack() as things:
            stand_ins = await StandIns.opened(stack, Metrics().fallback, LoopClock(), things)
            assert stand_ins.transcriber(own) is own
            assert stand_ins.speaker(own) is own
            assert stand_ins.language_model("large", lambda engine: own) is own


async def test_hearing_speech_and_words_go_to_hosted_models_while_ones_own_are_gone() -> None:
    heard = {"results": {"channels": [{"alternatives": [{"transcript": "Hello there."}]}]}}
    chat = [{"choices": [{"delta": {"content": "Good day."}, "finish_reason": "stop"}]}]
    keys = {"DEEPGRAM_API_KEY": "d", "MY_KEY": "o"}
    metrics = Metrics()
    async with (
        rig(says(heard)) as ears,
        rig(streams(events(chat, done=True))) as words,
        rig(streams([b"\1\0" * 9000])) as mouth,
    ):
        text = EMBEDDED
        for part, hosted in (
            ("speech_to_text", f"provider: deepgram, base_url: '{ears.provider.url}', cost: {{per_minute: 60}}"),
            ("text_to_speech", f"provider: openai_speech, voice: v, key_env: MY_KEY, base_url: '{mouth.provider.url}'"),
            (
                "large_language_model",
                f"provider: openai_chat, model: m, key_env: null, base_url: '{words.provider.url}'",
            ),
        ):
            fallback = f"  fallback: {{hosted: {{{hosted}, allow_private: true}}}}\n"
            assert f"{part}:\n" in text
            text = text.replace(f"{part}:\n", f"{part}:\n{fallback}", 1)
        stack = parse_settings(text, Stack, "my-stack.yaml")
        stand_ins = StandIns(stack, metrics.fallback, LoopClock(), ears.client, keys)
        assert (await stand_ins.transcriber(Broken()).transcribe(AUDIO, Languages(), final=True)).text == "Hello there."
        model = stand_ins.language_model("large", lambda engine: Broken())
        async with aclosing(model.clauses(REQUEST)) as clauses:
            assert [clause async for clause in clauses] == ["Good day."]
        async with aclosing(stand_ins.speaker(Broken()).speak("Good day.", voice="af_heart")) as chunks:
            assert [chunk.last async for chunk in chunks][-1]
        assert json.loads(words.last.body)["model"] == "m"
        assert mouth.last.headers["Authorization"] == "Bearer o"
    shown = metrics.render().decode()
    for line in (
        'trunkline_fallback_asked_total{server="primary",stage="speech_to_text"} 1.0',
        'trunkline_fallback_failed_total{server="primary",stage="speech_to_text"} 1.0',
        'trunkline_fallback_asked_total{server="backup",stage="text_to_speech"} 1.0',
        'trunkline_fallback_in_use{stage="large_language_model"} 1.0',
        'trunkline_hosted_cost_total{provider="deepgram",stage="speech_to_text"} 0.1',
    ):
        assert line in shown


async def test_a_smaller_model_of_the_stack_stands_in_for_the_large_one() -> None:
    own_engine = re.search(r"^small_language_model:\n(?:  .*\n)+", WORDS, re.MULTILINE)
    assert own_engine is not None
    large = own_engine[0].replace("small_", "large_", 1) + "  fallback: {deployment: small_language_model}\n"
    text = re.sub(r"^large_language_model:\n(?:  .*\n)+", lambda _: large, WORDS, flags=re.MULTILINE)
    stack = parse_settings(text, Stack, "my-stack.yaml")
    engine = stack.stand_in("large")
    assert engine is not None
    assert engine.deployment == "SmallLanguageModel"

    def at(engine: EngineAt) -> Broken:
        return (Broken if engine.deployment == "LargeLanguageModel" else Works)(engine.deployment)

    model = StandIns(stack, Metrics().fallback, LoopClock(), None).language_model("large", at)
    async with aclosing(model.clauses(REQUEST)) as clauses:
        assert [clause async for clause in clauses] == ["SmallLanguageModel"]


async def test_a_missing_key_is_told_when_the_models_are_put_together() -> None:
    stack = with_fallback(EMBEDDED, "text_to_speech", "{hosted: {provider: elevenlabs, voice: v}}")
    async with rig(says({})) as one:
        stand_ins = StandIns(stack, Metrics().fallback, LoopClock(), one.client, {})
        with pytest.raises(SettingsError, match="ELEVENLABS_API_KEY: missing or empty"):
            stand_ins.speaker(Broken())


@pytest.mark.parametrize(
    ("text", "part", "fallback", "told"),
    [
        (EMBEDDED, "large_language_model", "{deployment: understanding}", "both are one engine, and fail together"),
        (WORDS, "large_language_model", "{deployment: small_language_model}", "both are one engine"),
        (WORDS, "small_language_model", "{deployment: small_language_model}", "it would stand in for itself"),
        (WORDS, "large_language_model", "{deployment: speech_to_text}", "large_language_model.fallback.deployment"),
        (EMBEDDED, "speech_to_text", "{hosted: {provider: cartesia, voice: v}}", "no such kind: 'cartesia'"),
        (EMBEDDED, "text_to_speech", "{hosted: {provider: cartesia, voise: v}}", "voise: unknown key"),
    ],
)
def test_a_stand_in_that_cannot_be_one_is_told(text: str, part: str, fallback: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        with_fallback(text, part, fallback)
    assert told in str(error.value)
