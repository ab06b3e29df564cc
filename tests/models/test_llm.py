"""The settings' rules by themselves; one real engine, shared, for everything that only an engine can show."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from pydantic import ValidationError

from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.types import Delta, GenerateRequest, Message, ModelFailure

SETTINGS = LlmSettings(
    context_tokens=1024,
    max_prompt_tokens=768,
    max_new_tokens=64,
    max_sequences=2,
    kv_cache_mb=256,
    request_timeout_s=120.0,
    health_timeout_s=60.0,
)
SYSTEM = Message(
    "system",
    "You are the receptionist of Bright Dental on the phone. Answer the question in one short sentence, using only the "
    "fact. Be friendly, never invent anything, and keep every number exactly as it stands in the fact that you get.",
)


def ask(request_id: str, question: str, *, max_tokens: int = 24, priority: int = 0) -> GenerateRequest:
    return GenerateRequest(request_id, (SYSTEM, Message("user", question)), max_tokens=max_tokens, priority=priority)


def test_limits_that_do_not_fit_the_context_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"at most context_tokens \(1024\), got 1000 \+ 100"):
        LlmSettings(context_tokens=1024, max_prompt_tokens=1000, max_new_tokens=100)


async def test_an_engine_that_was_not_started_says_so() -> None:
    model = VllmLanguageModel(LlmSettings())
    with pytest.raises(ModelFailure, match="not started"):
        await collect(model, ask("early", "Are you there?"))
    await model.stop()


async def test_a_folder_without_a_model_is_refused_before_an_engine_is_made(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match=r"no config\.json; expected a transformers folder"):
        await VllmLanguageModel(LlmSettings()).start(tmp_path)


# --- One real engine -------------------------------------------------------------------------------------------------

engine_test = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[VllmLanguageModel]:
    from models.weights import prepare

    model = VllmLanguageModel(SETTINGS)
    await model.start(prepare("smollm2-135m-instruct"))
    yield model
    await model.stop()


async def collect(model: VllmLanguageModel, request: GenerateRequest) -> list[Delta]:
    async with aclosing(model.generate(request)) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def engine_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "EngineCore" in child.name()]


@pytest.mark.slow
@engine_test
async def test_deltas_stream_and_join_to_the_same_reply_every_time(model: VllmLanguageModel) -> None:
    question = (Message("user", "What is the capital of France?"),)
    deltas = await collect(model, GenerateRequest("a", question))
    assert len(deltas) > 3
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason == "stop"
    assert "Paris" in text_of(deltas)
    assert text_of(await collect(model, GenerateRequest("b", question))) == text_of(deltas)


@pytest.mark.slow
@engine_test
async def test_the_chat_template_is_applied_once(model: VllmLanguageModel) -> None:
    from transformers import AutoTokenizer

    from models.weights import prepare

    ids = model.prompt_tokens(ask("t", "Hello?"))
    tokenizer = AutoTokenizer.from_pretrained(prepare("smollm2-135m-instruct"))
    expected = (
        f"<|im_start|>system\n{SYSTEM.content}<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(ids) == expected


@pytest.mark.slow
@engine_test
async def test_length_and_stop_strings_end_a_reply(model: VllmLanguageModel) -> None:
    cut = await collect(model, ask("short", "Tell me a long story about the sea.", max_tokens=5))
    assert (cut[-1].finish_reason, sum(delta.token_count for delta in cut)) == ("length", 5)
    whole = text_of(await collect(model, ask("whole", "Count from one to nine: 1, 2, 3, 4", max_tokens=60)))
    word = whole.split()[3]
    request = GenerateRequest(
        "stopped", (SYSTEM, Message("user", "Count from one to nine: 1, 2, 3, 4")), max_tokens=60, stop=(f" {word}",)
    )
    stopped = await collect(model, request)
    assert stopped[-1].finish_reason == "stop"
    assert text_of(stopped) == whole[: whole.index(f" {word}")]


@pytest.mark.slow
@engine_test
async def test_no_reply_is_longer_than_the_settings_allow(model: VllmLanguageModel) -> None:
    request = GenerateRequest(
        "endless", (Message("user", "Write a very long story about the sea."),), max_tokens=100_000
    )
    assert sum(delta.token_count for delta in await collect(model, request)) <= SETTINGS.max_new_tokens


@pytest.mark.slow
@engine_test
async def test_closing_the_stream_frees_the_engine(model: VllmLanguageModel) -> None:
    async with aclosing(model.generate(ask("closed", "Tell me a long story.", max_tokens=200))) as deltas:
        await anext(deltas)
        assert model.statistics().unfinished == 1
    assert model.statistics().unfinished == 0
    # The engine itself: it can drop its prefix cache only while no request holds blocks of it.
    assert model._engine is not None
    assert await model._engine.reset_prefix_cache()


@pytest.mark.slow
@engine_test
async def test_cancelling_the_reader_frees_the_engine(model: VllmLanguageModel) -> None:
    started = asyncio.Event()

    async def read() -> None:
        async with aclosing(model.generate(ask("cancelled", "Tell me a long story.", max_tokens=200))) as deltas:
            async for _ in deltas:
                started.set()

    reader = asyncio.create_task(read())
    await started.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert model.statistics().unfinished == 0
    assert model._engine is not None
    assert await model._engine.reset_prefix_cache()


@pytest.mark.slow
@engine_test
async def test_choices_bind_the_reply(model: VllmLanguageModel) -> None:
    choices = ("zebra crossing", "purple", "yes")
    request = GenerateRequest("choice", (Message("user", "What is two plus two?"),), choices=choices)
    assert text_of(await collect(model, request)) in choices


@pytest.mark.slow
@engine_test
async def test_a_schema_binds_the_reply_or_fails_it(model: VllmLanguageModel) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {
            "animals": {"type": "array", "items": {"enum": ["zebra", "q:ant", "owl"]}, "minItems": 1, "maxItems": 2},
            "sure": {"enum": ["yes", "no"]},
        },
        "required": ["animals", "sure"],
        "additionalProperties": False,
    }
    said = await model.structured(ask("json", "Which animals fly?", max_tokens=48), schema)
    reply = json.loads(said)
    assert list(reply) == ["animals", "sure"]
    assert reply["sure"] in ("yes", "no")
    assert 1 <= len(reply["animals"]) <= 2
    assert set(reply["animals"]) <= {"zebra", "q:ant", "owl"}
    assert "\n" not in said
    warmer = dataclasses.replace(ask("json-2", "Which animals fly?", max_tokens=48), temperature=1.0)
    assert await model.structured(warmer, schema) == said, "the same whatever temperature the request brings"
    with pytest.raises(ModelFailure, match="request json-3: the reply is not whole after 4 tokens"):
        await model.structured(ask("json-3", "Which animals fly?", max_tokens=4), schema)
    with pytest.raises(ModelFailure, match="request json-4"):
        await model.structured(ask("json-4", "Which animals fly?"), {"type": "no such type"})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await model.structured(ask("json-5", "Which animals fly?", max_tokens=48), schema)
    assert model.statistics().unfinished == 0


@pytest.mark.slow
@engine_test
async def test_bad_requests_name_limit_and_value_and_leave_the_engine_well(model: VllmLanguageModel) -> None:
    with pytest.raises(ModelFailure, match=r"at most 768 tokens, got \d{4}"):
        await collect(model, ask("long", "word " * 2000))
    with pytest.raises(ModelFailure, match="at most 768 tokens"):
        await model.prefill(ask("long", "word " * 2000))
    with pytest.raises(ModelFailure, match="at least 1, got 0"):
        await collect(model, ask("none", "Hello?", max_tokens=0))
    with pytest.raises(ModelFailure, match="no messages"):
        await collect(model, GenerateRequest("empty", ()))
    with pytest.raises(ModelFailure, match="temperature"):
        await collect(model, GenerateRequest("cold", (Message("user", "Hello?"),), temperature=-1.0))
    assert await collect(model, ask("after", "Hello?", max_tokens=2))


@pytest.mark.slow
@engine_test
async def test_prefill_puts_the_prompt_into_the_cache(model: VllmLanguageModel) -> None:
    request = ask("warm", "When do you open on Wednesday, and is there a car park close to the practice?", max_tokens=3)
    length = len(model.prompt_tokens(request))
    assert model._engine is not None
    assert await model._engine.reset_prefix_cache()
    await model.prefill(request)
    before = model.statistics()
    await collect(model, request)
    after = model.statistics()
    assert after.prompt_tokens - before.prompt_tokens == length
    # All full blocks, but for the one that the last prompt token is in: that one is always computed.
    assert (
        after.cached_tokens - before.cached_tokens == (length - 1) // SETTINGS.block_tokens * SETTINGS.block_tokens > 0
    )


@pytest.mark.slow
@engine_test
async def test_the_urgent_go_before_those_who_came_first(model: VllmLanguageModel) -> None:
    finished: list[str] = []

    async def run(name: str, priority: int) -> None:
        await collect(model, ask(name, "Tell me a story about the sea.", max_tokens=30, priority=priority))
        finished.append(name)

    async with asyncio.TaskGroup() as tasks:
        # The first two fill the engine (max_sequences=2), the others queue.
        for name, priority in [("running-1", 0), ("running-2", 0), ("patient-1", 5), ("patient-2", 5), ("urgent", 0)]:
            tasks.create_task(run(name, priority))
            await asyncio.sleep(0.01)
    assert finished.index("urgent") < min(finished.index("patient-1"), finished.index("patient-2"))


@pytest.mark.slow
@engine_test
async def test_a_warm_up_is_skipped_while_the_engine_is_full(model: VllmLanguageModel) -> None:
    async with aclosing(model.generate(ask("x", "Tell me a story.", max_tokens=200))) as first:
        async with aclosing(model.generate(ask("y", "Tell me a story.", max_tokens=200))) as second:
            await anext(first)
            await anext(second)
            before = model.statistics().prompt_tokens
            await model.prefill(ask("z", "A prompt that nobody has sent before."))
            assert model.statistics().prompt_tokens == before


@pytest.mark.slow
@engine_test
async def test_a_reply_that_takes_too_long_is_aborted(
    model: VllmLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_settings", SETTINGS.model_copy(update={"request_timeout_s": 0.2}))
    with pytest.raises(ModelFailure, match=r"request slow was aborted: not finished within 0\.2 s"):
        await collect(model, ask("slow", "Tell me a long story about the sea.", max_tokens=200))
    assert model.statistics().unfinished == 0


@pytest.mark.slow
@engine_test
async def test_a_healthy_engine_passes_its_check(model: VllmLanguageModel) -> None:
    await model.check()
    await model.check()


@pytest.mark.slow
@engine_test
async def test_a_stuck_engine_is_noticed_and_recovers(
    model: VllmLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_settings", SETTINGS.model_copy(update={"health_timeout_s": 0.5}))
    (engine,) = engine_processes()
    engine.suspend()
    try:
        with pytest.raises(ModelFailure, match=r"not finished within 0\.5 s"):
            await model.check()
    finally:
        engine.resume()
    monkeypatch.undo()
    await model.check()


@pytest.mark.slow
@engine_test
async def test_death_of_the_engine_fails_replies_and_checks_and_leaves_no_process(model: VllmLanguageModel) -> None:
    """The last test of the shared engine: it does not come back."""
    (engine,) = engine_processes()

    async def read() -> list[Delta]:
        deltas = model.generate(ask("dying", "Tell me a long story.", max_tokens=200))
        async with aclosing(deltas):
            first = await anext(deltas)
            engine.kill()
            return [first, *[delta async for delta in deltas]]

    with pytest.raises(ModelFailure):
        await read()
    with pytest.raises(ModelFailure, match="died"):
        await model.check()
    await model.stop()
    assert engine_processes() == []


@pytest.mark.slow
def test_the_engine_does_not_outlive_an_owner_that_was_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline().strip() == "up"
        engines = [
            child for child in psutil.Process(owner.pid).children(recursive=True) if "EngineCore" in child.name()
        ]
        assert len(engines) == 1
    finally:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
    _, alive = psutil.wait_procs(engines, timeout=30)
    for process in alive:
        process.kill()
    assert alive == []


_OWNER = """
import asyncio
from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.weights import prepare

async def main():
    model = VllmLanguageModel(LlmSettings(kv_cache_mb=128))
    await model.start(prepare("smollm2-135m-instruct"))
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
