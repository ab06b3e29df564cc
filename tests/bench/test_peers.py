"""The comparison with a peer: equal text, a script that fits it, and what is reported."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import yaml
from rich.console import Console

from bench.peers.__main__ import ALL_SCRIPTS, rounds_of
from bench.peers.comparison import PlacedCall, as_result, reply_s, table
from bench.peers.environment import LOCK, PeerError, voices_file
from bench.peers.fixed_text import FixedReplies, FixedReply, as_we_ask, with_words_of
from bench.peers.llm_server import create_app
from bench.peers.ours import AGENT, FixedTextLanguageModel
from bench.peers.sides import FIXED_TEXT_MODEL, OURS, VARIANTS, Side, alone, processes_of, variant_names
from bench.script import load_script, pause_pieces
from bench.v2v import CallRecord, TurnRecord
from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.settings import SettingsError
from models.types import Delta, GenerateRequest
from pipeline.agent import load_agent
from pipeline.call_services import CallServices
from pipeline.clauses import split_clauses
from pipeline.clock import LoopClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.dialogue_manager import DialogueManager
from pipeline.fixed_lines import fixed_texts
from pipeline.grounding import answers, is_borne_out
from pipeline.plan import Says
from serve.build import _implementation
from serve.config import WORDS_STACK, load_stack
from serve.deployment_settings import LanguageModelSettings
from serve.deployments import LanguageModel


def replies() -> FixedReplies:
    return FixedReplies.load(load_agent(AGENT))


async def deltas(*counts: int, finish: str | None = None) -> AsyncIterator[Delta]:
    for place, count in enumerate(counts):
        last = place == len(counts) - 1
        yield Delta("x" * count, count, finish if last else None)


async def said(reply: str, source: AsyncIterator[Delta]) -> list[str]:
    return [delta.text async for delta in with_words_of(reply, source)]


async def test_each_token_buys_the_next_word_of_the_reply() -> None:
    assert await said("We open at nine. Come in.", deltas(1, 2, 1, 1, 1, 1, 1)) == [
        "We ",
        "open at ",
        "nine. ",
        "Come ",
        "in.",
    ]


async def test_a_model_that_ends_early_says_the_rest_at_once() -> None:
    assert await said("We open at nine.", deltas(1, 1, finish="stop")) == ["We ", "open at nine."]


async def test_the_last_word_ends_the_generation() -> None:
    source = deltas(2, 2, 2, 2)
    assert "".join(await said("We open at nine.", source)) == "We open at nine."
    # Two of four deltas were taken; the others were never asked for.
    assert [delta.token_count async for delta in source] == [2, 2]


def test_a_line_with_words_misheard_finds_its_reply() -> None:
    known = FixedReplies(
        [FixedReply("Where can I park?", "a", "Behind the house."), FixedReply("When do you open?", "b", "At nine.")]
    )
    assert known.to_line("when do you hope in").reply == "At nine."
    assert known.to_line("Where can I bark?").reply == "Behind the house."


def test_a_prompt_finds_its_reply_by_the_fact() -> None:
    for reply in replies().all:
        assert replies().to_prompt(as_we_ask("something else", reply.fact)) == reply
    with pytest.raises(ValueError, match="one of the agent's facts"):
        replies().to_prompt(as_we_ask("something else", "we are open"))


class Listening:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.requests: list[GenerateRequest] = []

    async def clauses(self, request: GenerateRequest) -> AsyncIterator[str]:
        self.requests.append(request)
        for clause in split_clauses(replies().to_prompt(request.messages[-1].content).reply):
            yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        raise AssertionError("nothing structured is asked of it")

    async def prefill(self, request: GenerateRequest) -> None:
        self.requests.append(request)


async def nothing_begins() -> None:
    raise AssertionError("no plan of these acts")


async def test_every_reply_is_said_whole_and_word_for_word_by_our_dialogue_manager() -> None:
    agent, model = load_agent(AGENT), Listening()
    manager = DialogueManager(
        agent,
        model,
        AgentContext(agent, RoughCounter()),
        CallServices(),
        spawn=asyncio.get_running_loop().create_task,
        log=lambda event: None,
        clock=LoopClock(),
    )
    for fact in agent.facts:
        plan = Says(fact.questions[0], facts=(fact,))
        clauses = [clause async for clause in manager.clauses(plan, 1, "1", nothing_begins)]
        assert " ".join(clause.text for clause in clauses) == replies().to_line(fact.questions[0]).reply
        assert {clause.source for clause in clauses} == {"llm"}, fact.id
        asked = model.requests[-1]
        assert asked.messages[-1].content == as_we_ask(fact.questions[0], fact.text)
        assert asked.messages[0].content == agent.persona
        assert len(asked.messages) == 2


def test_no_reply_can_come_out_of_the_cache_of_known_lines() -> None:
    cached = {clause for text in fixed_texts(load_agent(AGENT)) for clause in split_clauses(text)}
    spoken = [clause for reply in replies().all for clause in split_clauses(reply.reply)]
    assert not cached & set(spoken)
    assert len(set(spoken)) == len(spoken), "a clause said twice could be remembered"


def test_the_scripts_ask_for_every_reply_once_and_some_pause_in_mid_sentence() -> None:
    turns = [turn for path in ALL_SCRIPTS for turn in load_script(path).turns]
    lines = [" ".join(piece for piece in pause_pieces(turn.line) if isinstance(piece, str)) for turn in turns]
    assert lines == [reply.line for reply in replies().all]
    assert len(lines) >= 50
    assert sum("<pause" in turn.line for turn in turns) >= 12
    for reply in replies().all:
        assert 6 <= len(reply.reply.split()) <= 16


def test_rounds_are_cut_to_the_turns_asked_for_and_never_repeat_a_reply() -> None:
    scripts = [load_script(path) for path in ALL_SCRIPTS]
    assert [[len(script.turns) for script in group] for group in rounds_of(scripts, 20, 1)] == [[13], [7]]
    assert [[len(script.turns) for script in group] for group in rounds_of(scripts, 8, 2)] == [[2, 2], [2, 2]]
    with pytest.raises(ValueError, match="expected 1 to 52"):
        rounds_of(scripts, 53, 1)


def test_the_peers_environment_is_pinned_whole_and_its_variants_are_known() -> None:
    pinned = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    assert "pipecat-ai==1.14.0" in pinned
    assert all("==" in line for line in pinned)
    assert variant_names()[0] == "defaults"
    assert yaml.safe_load(VARIANTS.read_text())["defaults"] == {}, "nothing may be set in the defaults"


def test_our_voices_become_the_one_file_that_kokoro_onnx_reads(tmp_path: Path) -> None:
    style = np.arange(3 * 256, dtype="<f4")
    style.tofile(tmp_path / "af_test.bin")
    made = np.load(voices_file(tmp_path, tmp_path / "out" / "voices.npz"))
    assert list(made) == ["af_test"]
    np.testing.assert_array_equal(made["af_test"], style.reshape(3, 1, 256))
    with pytest.raises(PeerError, match="found none"):
        voices_file(tmp_path / "empty", tmp_path / "none.npz")


def test_only_the_side_that_is_called_runs() -> None:
    with subprocess.Popen(["sleep", "60"]) as ours, subprocess.Popen(["sleep", "60"]) as theirs:
        try:
            our = Side(OURS, "/", (), "", "")
            peer = Side("pipecat best", "/", (), "", "", (theirs.pid,))
            assert ours.pid in {process.pid for process in processes_of(our, [our, peer])}
            assert [process.pid for process in processes_of(peer, [our, peer])] == [theirs.pid]
            with alone(our, [our, peer]):
                assert halted(ours, theirs) == [False, True]
            with alone(peer, [our, peer]):
                assert halted(ours, theirs) == [True, False]
            assert halted(ours, theirs) == [False, False]
        finally:
            ours.kill()
            theirs.kill()


def halted(*processes: subprocess.Popen[bytes]) -> list[bool]:
    time.sleep(0.2)  # The kernel takes a moment to deliver a signal.
    return [psutil.Process(process.pid).status() == psutil.STATUS_STOPPED for process in processes]


def test_a_stack_file_may_name_another_class_for_its_language_model() -> None:
    settings = load_stack(WORDS_STACK).small_language_model
    assert isinstance(settings, LanguageModelSettings)
    named = settings.model_copy(update={"implementation": FIXED_TEXT_MODEL})
    assert (_implementation(settings), _implementation(named)) == (LanguageModel, FixedTextLanguageModel)
    for wrong in ("bench.peers.nowhere:Model", "bench.peers.ours:Nothing", "bench.peers.ours:AGENT"):
        with pytest.raises(SettingsError, match="implementation"):
            _implementation(settings.model_copy(update={"implementation": wrong}))


class ScriptedModel(VllmLanguageModel):
    """An engine whose tokens are known."""

    def __init__(self) -> None:
        super().__init__(LlmSettings())
        self.requests: list[GenerateRequest] = []

    async def start(self, folder: Path) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def generate(self, request: GenerateRequest):  # type: ignore[no-untyped-def,override]
        self.requests.append(request)
        for token in ("My ", "own ", "words."):
            yield Delta(token, 1, None)
        yield Delta("", 0, "stop")


@pytest.fixture
def ask() -> Callable[..., object]:
    async def post(model: ScriptedModel, known: FixedReplies | None, **body: object) -> httpx.Response:
        transport = httpx.ASGITransport(create_app(model, Path(), "Be kind.", known))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/v1/chat/completions", json={"stream": True, **body})

    return post


def content(answer: httpx.Response) -> str:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


async def test_the_peers_model_is_asked_as_ours_is_and_says_the_same_words(ask) -> None:  # type: ignore[no-untyped-def]
    model, reply = ScriptedModel(), replies().all[1]
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": reply.line}]
    answer = await ask(model, replies(), messages=messages, max_tokens=48, temperature=0.0)
    assert content(answer) == reply.reply
    (asked,) = model.requests
    assert asked.messages[-1].content == as_we_ask(reply.line, reply.fact)
    assert (asked.messages[0].content, asked.max_tokens, asked.temperature) == ("Be kind.", 48, 0.0)


async def test_without_fixed_replies_the_peers_model_speaks_for_itself(ask) -> None:  # type: ignore[no-untyped-def]
    model = ScriptedModel()
    answer = await ask(model, None, messages=[{"role": "user", "content": "Hello?"}])
    assert content(answer) == "My own words."
    assert model.requests[0].messages[-1].content == "Hello?"


def turn(number: int, kind: str = "say", **measured: object) -> TurnRecord:
    said = {"turn": number, "kind": kind, "text": "a", "speech_start_s": 1.0, "speech_end_s": 2.0}
    return TurnRecord.model_validate(said | measured)


def placed(side: str, *v2v_ms: float, barge_in_ms: float) -> PlacedCall:
    turns = [
        turn(number, v2v_ms=value, agent_first_audible_s=3.0, agent_last_audible_s=5.0)
        for number, value in enumerate(v2v_ms)
    ]
    turns.append(turn(len(turns), "interrupt", barge_in_ms=barge_in_ms))
    record = CallRecord(
        script="s",
        call_sid="CA1",
        stream_sid="MZ1",
        voice="v",
        seed=0,
        noise="none",
        started_wall_time_s=0.0,
        duration_s=9.0,
        ended_by="caller",
        end_reason="",
        turns=tuple(turns),
    )
    return PlacedCall(side, "s", record, {"caller": 0.1}, {"llm": 2} if side == OURS else {})


def test_the_report_has_every_side_its_ratio_to_ours_and_the_raw_turns() -> None:
    calls = [placed("pipecat best", 3000.0, 3000.0, barge_in_ms=400.0), placed(OURS, 1000.0, 500.0, barge_in_ms=200.0)]
    result = json.loads(json.dumps(as_result(calls, {"mode": "fixed"})))
    assert list(result["sides"]) == [OURS, "pipecat best"]
    assert result["ratios_to_ours"] == {
        "pipecat best": {"v2v_ms": {"p50": 4.0, "p95": 3.08}, "barge_in_ms": {"p50": 2.0, "p95": 2.0}}
    }
    assert result["sides"][OURS]["unanswered"] == 1
    assert [len(call["record"]["turns"]) for call in result["calls"]] == [3, 3]
    console = Console(width=160)
    with console.capture() as shown:
        console.print(table(calls))
    assert "3000 (x4.0)" in shown.get()


def test_a_reply_that_was_broken_into_does_not_count_for_the_length_of_replies() -> None:
    length = reply_s([placed(OURS, 800.0, 900.0, barge_in_ms=150.0).record])
    assert length is not None
    assert (length.count, length.mean) == (1, 2.0)


def test_every_fact_bears_its_reply_out_and_only_the_last_clause_completes_it() -> None:
    for reply in replies().all:
        clauses = split_clauses(reply.reply)
        assert all(is_borne_out(clause, reply.fact) for clause in clauses), reply
        whole = [answers(" ".join(clauses[: upto + 1]), reply.fact) for upto in range(len(clauses))]
        assert not any(whole[:-1]), reply
