"""The overhead benchmark: its fakes, its callers against a gateway of its own, and what it makes of logs and stacks."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import uvloop
from rich.console import Console

from bench import load, overhead
from bench.instant_models import instant_models
from bench.load import CpuUse, Load, LoadCaller, call_payloads, put_load, spoken_lines
from bench.overhead import CallProbe, Measured, Saved, gateway_process, overheads_ms, top_costs
from bench.results import Json
from models.types import SPEAKING_RATE_HZ, GenerateRequest, Message
from pipeline.agent import load_agent
from pipeline.events import FirstAudio, SpeechStarted, TurnDecided
from pipeline.grounding import is_borne_out

# -- fakes -------------------------------------------------------------------------------------------------------------


async def test_the_instant_answer_is_borne_out_and_is_no_line_synthesised_beforehand() -> None:
    agent, models = load_agent(overhead.AGENT), instant_models()
    decision = await models.router.route("anything")
    fact = agent.fact(decision.passages[0].id)
    assert decision.confidence >= agent.route_confidence
    assert decision.passages[0].score >= agent.fact_score
    request = GenerateRequest("x", (Message("user", f"Caller: when?\nFact: {fact.text}"),))
    (clause,) = [clause async for clause in models.language_model.clauses(request)]
    assert is_borne_out(clause, fact.text)
    assert clause != fact.text


async def test_the_instant_speaker_takes_as_long_as_speech_and_comes_in_chunks_with_word_times() -> None:
    text = "Sure, we are open Monday to Friday, from eight to five."
    chunks = [chunk async for chunk in instant_models().speaker.speak(text, voice="x")]
    seconds = sum(len(chunk.pcm) for chunk in chunks) / SPEAKING_RATE_HZ
    assert 3.0 < seconds < 4.5
    assert len(chunks) > 3
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [word.text for word in chunks[0].words] == text.split()
    assert chunks[0].words[-1].end_s == pytest.approx(seconds, abs=0.01)
    assert all(not chunk.words for chunk in chunks[1:])
    assert float(np.abs(chunks[0].pcm[:480]).mean()) > 0.01, "its very first frame is audible"


# -- callers -----------------------------------------------------------------------------------------------------------


def test_a_call_is_as_long_as_asked_and_says_its_lines_in_turn() -> None:
    lines = [["a"] * 10, ["b"] * 20]
    payloads = call_payloads(lines, frames=1000, wait_s=1.0, first=1)
    assert len(payloads) == 1000
    assert set(payloads[:50]) == {base64.b64encode(b"\xff" * 160).decode()}
    pause = round(load.REPLY_S / 0.02)
    assert payloads[50:70] == ["b"] * 20
    assert payloads[70 + pause : 80 + pause] == ["a"] * 10


def test_frames_are_late_by_playouts_schedule_not_by_the_gap_between_them() -> None:
    caller = object.__new__(LoadCaller)
    caller.arrival_late_ms, caller._reply_s, caller._reply_end_s, caller._reply_frames = [], 0.0, 0.0, 0
    # Five go out at once, since playout may be 80 ms ahead; the sixth is 7 ms late; the seventh is on time again.
    for ms in (0, 0, 0, 0, 0, 27, 40):
        caller._arrived(10.0 + ms / 1000)
    assert caller.arrival_late_ms == pytest.approx([0, 0, 0, 0, 7, 0], abs=1e-6)
    caller._arrived(20.0)
    caller._arrived(20.0)
    assert caller.arrival_late_ms[6:] == pytest.approx([0], abs=1e-6), "after a pause another reply begins"


# -- figures -----------------------------------------------------------------------------------------------------------


def test_overhead_is_from_the_decision_to_the_first_audio_of_the_same_turn() -> None:
    log = [
        FirstAudio(turn=0, clause_id="t0.1.c0", at_s=0.1),
        SpeechStarted(turn=1, audio_s=3.0, at_s=3.1),
        TurnDecided(turn=1, reason="model", speech_end_s=4.0, silence_ms=128, at_s=4.2),
        FirstAudio(turn=1, clause_id="t1.2.c0", at_s=4.205),
        FirstAudio(turn=1, clause_id="t1.2.c1", at_s=6.0),
        TurnDecided(turn=2, reason="model", speech_end_s=9.0, silence_ms=128, at_s=9.2),
        TurnDecided(turn=2, reason="timeout", speech_end_s=9.5, silence_ms=512, at_s=10.0),
        FirstAudio(turn=2, clause_id="t2.3.c0", at_s=10.002),
        TurnDecided(turn=3, reason="model", speech_end_s=12.0, silence_ms=128, at_s=12.2),
    ]
    assert overheads_ms(log) == pytest.approx([5.0, 2.0])


class FakeTime:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s


@dataclass
class FakeTracker:
    """As much of a TurnTracker as the wait before a reply looks at."""

    received_s: float = 0.0
    stirs: bool = False
    speaking: bool = False


class ProbedCall:
    """A probe and the calm it watches, driven by hand: a window of 32 ms comes in with every frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, settle_ms: int) -> None:
        self.time = FakeTime()
        monkeypatch.setattr(overhead, "time", self.time)
        self.probe = CallProbe()
        overhead._probe.set(self.probe)
        self.tracker = FakeTracker()
        self.calm = overhead.ProbedOnsetGuard(settle_ms=settle_ms)

    def frame(self, *, at_ms: float, speaking: bool = False) -> None:
        self.time.now_s = 100.0 + at_ms / 1000
        self.probe.frame_came()
        self.tracker.received_s += 0.032
        self.tracker.stirs = self.tracker.speaking = speaking
        self.calm.update(self.tracker)  # type: ignore[arg-type]

    def decided(self) -> None:
        self.calm.decided(self.tracker)  # type: ignore[arg-type]

    def sent(self, *, at_ms: float) -> None:
        self.time.now_s = 100.0 + at_ms / 1000
        self.probe.frame_sent()

    @property
    def waits_ms(self) -> list[float]:
        return [round(wait_s * 1000, 3) for wait_s in self.probe.waits_s]


def test_overhead_begins_when_the_frame_that_ends_the_wait_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    call = ProbedCall(monkeypatch, settle_ms=64)
    call.sent(at_ms=0)
    call.frame(at_ms=20)
    call.decided()
    call.frame(at_ms=40)
    call.sent(at_ms=41)
    assert call.waits_ms == [], "still waiting: what goes out is of an older reply"
    call.frame(at_ms=67)
    call.sent(at_ms=70)
    call.sent(at_ms=90)
    assert call.waits_ms == [10.0], "due at 60, seven late in coming and three on its way out; counted once"


def test_a_decision_that_the_caller_talks_over_is_no_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    call = ProbedCall(monkeypatch, settle_ms=64)
    call.frame(at_ms=20)
    call.decided()
    call.frame(at_ms=40, speaking=True)
    for at_ms in (60, 80, 100):
        call.frame(at_ms=at_ms)
    call.sent(at_ms=500)
    assert call.waits_ms == []


def measured(calls: int, overhead_ms: float, worst_p99_ms: float, turns: int = 30) -> Measured:
    cpu = CpuUse(gateway=0.5, gateway_loop=0.4, callers=0.2, others=0.0, stolen=0.0)
    saved = Saved([overhead_ms] * turns, [(0.1, 1.0, 2.0), (0.1, worst_p99_ms, 50.0)], [(0.1, 1.0, 2.0, 0.5)])
    return Measured(Load(calls, cpu, [0.1], [0.2], 0), saved, [overhead_ms] * turns)


@pytest.mark.parametrize(
    ("one", "many", "met"),
    [
        ((10, 1), (10, 10), True),
        ((10.1, 1), (9, 9), False),
        ((9, 1), (10.1, 9), False),
        ((1, 11), (1, 9), True),
        ((1, 1), (1, 10.1), False),
    ],
)
def test_overhead_is_judged_at_the_fewest_and_the_most_calls_and_pacing_at_the_most_by_its_worst(
    one: tuple[float, float], many: tuple[float, float], met: bool
) -> None:
    runs = [measured(1, *one), measured(32, *many)]
    assert overhead._judge(runs, {}, Console(quiet=True)) is met


def test_overhead_is_not_judged_by_a_handful_of_turns() -> None:
    result: dict[str, Json] = {}
    runs = [measured(1, 50, 1, turns=29), measured(8, 5, 1), measured(32, 5, 1)]
    assert overhead._judge(runs, result, Console(quiet=True))
    assert "decision to first frame, p99, 8 call(s), 30 turns" in str(result)


def test_cpu_is_counted_for_one_call_and_20_ms() -> None:
    assert measured(10, 1, 1).cpu_us_a_frame == pytest.approx(1000.0)


def test_costs_are_shares_of_all_samples_and_recursion_counts_once() -> None:
    stacks = [
        "MainThread;run (uvloop/loop.pyx);feed (pipeline/turns.py);probability (models/silero.py) 60",
        "MainThread;run (uvloop/loop.pyx);feed (pipeline/turns.py);feed (pipeline/turns.py) 20",
        "recorder;write (serve/recording.py) 20",
        "recorder;wait (threading.py);Condition.wait (threading.py:295) 900",
        "",
    ]
    costs = {cost.function: cost for cost in top_costs(stacks, 10)}
    assert costs["feed (pipeline/turns.py)"].inclusive == pytest.approx(0.8)
    assert costs["feed (pipeline/turns.py)"].alone == pytest.approx(0.2)
    assert costs["probability (models/silero.py)"].alone == pytest.approx(0.6)
    assert costs["write (serve/recording.py)"].inclusive == pytest.approx(0.2)
    with pytest.raises(RuntimeError, match="no samples"):
        top_costs([""], 10)


def test_a_call_that_did_not_end_as_planned_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "call").mkdir()
    (tmp_path / "call" / overhead.SUMMARY_FILE).write_text(json.dumps({"end": "line_lost"}))
    with pytest.raises(RuntimeError, match="call: expected the caller to hang up"):
        overhead.read_saved(tmp_path)


# -- all of it ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_calls_are_answered_measured_and_over_and_the_gateway_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "RAMP_S", 0.2)
    with gateway_process(tmp_path, 2) as gateway:
        assert gateway.pid != os.getpid()
        found = uvloop.run(put_load(gateway.pid, gateway.port, spoken_lines(), 2, 16.0))
    assert not psutil.pid_exists(gateway.pid)
    saved = overhead.read_saved(tmp_path)
    assert len(saved.pacing) == len(saved.lag) == len(gateway.waits_s) == 2
    assert len(saved.overheads_ms) >= 2
    assert all(0 <= wait < 500 for wait in saved.overheads_ms)
    waits = [wait_s for call in gateway.waits_s for wait_s in call]
    assert len(waits) >= 2
    assert all(-0.005 < wait_s < 0.3 for wait_s in waits)
    assert len(found.arrival_late_ms) > 300, "a greeting and a reply are some 150 frames a call"
    assert len(found.late_ms) == 2 * round(17.2 / 0.02)
    assert 0 < found.cpu.gateway_loop <= found.cpu.gateway < 2
    one = Measured(replace(found, calls=2), saved, [wait_s * 1000 for wait_s in waits])
    assert json.loads(json.dumps(one.as_json()))["turns"] == len(saved.overheads_ms)
