"""V2V, cut-offs and barge-in on made-up wires whose answers are known."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.v2v import (
    AUDIBLE_DBFS,
    REPLY_GAP_MS,
    CallRecord,
    Span,
    SpokenLine,
    TurnKind,
    TurnRecord,
    WireAudio,
    audible_spans,
    measure_turns,
    summarise,
)
from models.types import FloatAudio

RATE = 8_000
FRAME = RATE // 100


def tone(samples: int, dbfs: float = -20.0) -> FloatAudio:
    """Constant magnitude and alternating sign: audible from its first sample to its last."""
    signs = np.where(np.arange(samples) % 2, -1.0, 1.0)
    return (signs * 10 ** (dbfs / 20)).astype(np.float32)


def wire(length: int, *bursts: tuple[int, int]) -> FloatAudio:
    audio = np.zeros(length, dtype=np.float32)
    for start, end in bursts:
        audio[start:end] = tone(end - start)
    return audio


def line(start: int, end: int, kind: TurnKind = "say", turn: int = 0) -> SpokenLine:
    return SpokenLine(turn, kind, "words", start, end)


@settings(deadline=None)
@given(
    start=st.integers(0, 4 * RATE),
    length=st.integers(FRAME, RATE),
    pause=st.integers(REPLY_GAP_MS * 8 + 2 * FRAME, 2 * RATE),
    again=st.integers(FRAME, RATE),
)
def test_spans_are_found_to_the_sample_wherever_they_lie(start: int, length: int, pause: int, again: int) -> None:
    second = start + length + pause
    audio = wire(second + again + 37, (start, start + length), (second, second + again))
    assert audible_spans(audio) == [Span(start, start + length), Span(second, second + again)]


def test_pauses_between_words_do_not_part_a_span() -> None:
    audio = wire(RATE, (800, 1600), (1600 + 8 * (REPLY_GAP_MS - 30), 5000))
    assert audible_spans(audio) == [Span(800, 5000)]


def test_what_lies_below_the_threshold_is_silence() -> None:
    assert audible_spans(tone(RATE, AUDIBLE_DBFS - 1)) == []
    assert audible_spans(tone(RATE, AUDIBLE_DBFS + 1)) == [Span(0, RATE)]
    assert audible_spans(np.zeros(0, dtype=np.float32)) == []


@settings(deadline=None)
@given(end=st.integers(RATE, 3 * RATE), gap=st.integers(0, 3 * RATE))
def test_v2v_is_the_gap_between_the_last_and_the_first_audible_sample(end: int, gap: int) -> None:
    agent = wire(end + gap + RATE, (end + gap, end + gap + RATE))
    (turn,) = measure_turns([line(100, end)], agent)
    assert turn.v2v_ms == pytest.approx(gap / 8)
    assert turn.agent_first_audible_s == (end + gap) / RATE
    assert not turn.cut_off


@settings(deadline=None)
@given(end=st.integers(2 * RATE, 3 * RATE), early=st.integers(1, RATE))
def test_an_agent_that_begins_before_the_line_is_over_cuts_it_off(end: int, early: int) -> None:
    agent = wire(end + 4 * RATE, (end - early, end + 800), (end + RATE, end + 2 * RATE))
    (turn,) = measure_turns([line(100, end)], agent)
    assert turn.cut_off
    assert turn.v2v_ms is None, "a cut-off must not count as a fast answer"


def test_the_rest_of_an_earlier_reply_is_neither_a_cut_off_nor_an_answer() -> None:
    lines = [line(0, RATE), line(3 * RATE, 4 * RATE, turn=1)]
    agent = wire(8 * RATE, (2 * RATE, 3 * RATE + 2000), (5 * RATE, 6 * RATE))
    first, second = measure_turns(lines, agent)
    assert first.v2v_ms == 1000
    assert not second.cut_off
    assert second.v2v_ms == 1000


def test_a_reply_after_the_next_line_does_not_answer_the_one_before() -> None:
    lines = [line(0, RATE), line(2 * RATE, 3 * RATE, turn=1)]
    first, second = measure_turns(lines, wire(5 * RATE, (4 * RATE, 5 * RATE)))
    assert first.v2v_ms is None
    assert first.agent_first_audible_s is None
    assert second.v2v_ms == 1000


@settings(deadline=None)
@given(silent_after=st.integers(800, RATE), reply=st.integers(RATE, 2 * RATE))
def test_barge_in_lasts_until_the_flush_and_the_answer_counts_from_the_end_of_the_line(
    silent_after: int, reply: int
) -> None:
    begins, ends = 3 * RATE, 3 * RATE + 6000
    flush = begins + silent_after
    agent = wire(8 * RATE, (2 * RATE, flush), (ends + reply, 8 * RATE))
    (turn,) = measure_turns([line(begins, ends, "interrupt")], agent, clears=[flush])
    assert turn.barge_in_ms == pytest.approx(silent_after / 8)
    assert turn.v2v_ms == pytest.approx(reply / 8)
    assert not turn.cut_off


def test_a_flush_parts_the_old_reply_from_an_answer_that_follows_at_once() -> None:
    ends = 3 * RATE
    agent = wire(6 * RATE, (RATE, ends + 400), (ends + 480, 5 * RATE))
    (turn,) = measure_turns([line(2 * RATE, ends, "interrupt")], agent, clears=[ends + 400])
    assert turn.v2v_ms == pytest.approx(60)


def test_an_interruption_into_silence_measures_no_barge_in() -> None:
    (turn,) = measure_turns([line(2 * RATE, 3 * RATE, "interrupt")], wire(5 * RATE, (RATE, RATE + 800)))
    assert turn.barge_in_ms is None


def record(*turns: TurnRecord) -> CallRecord:
    return CallRecord(
        script="s",
        call_sid="CA1",
        stream_sid="MZ1",
        voice="v",
        seed=0,
        noise="none",
        started_wall_time_s=0.0,
        duration_s=1.0,
        ended_by="agent",
        end_reason="",
        turns=turns,
    )


def measured(kind: TurnKind = "say", **values: float | bool) -> TurnRecord:
    return TurnRecord.model_validate(
        {"turn": 0, "kind": kind, "text": "", "speech_start_s": 0.0, "speech_end_s": 1.0} | values
    )


def test_the_summary_reports_v2v_with_its_twin() -> None:
    answered = [measured(v2v_ms=float(ms), agent_first_audible_s=2.0) for ms in (400, 500, 600)]
    broken = measured("interrupt", v2v_ms=700.0, barge_in_ms=300.0, agent_first_audible_s=2.0)
    calls = [record(*answered, measured(cut_off=True)), record(broken, measured())]
    summary = summarise(calls)
    assert summary.v2v_ms is not None
    assert (summary.v2v_ms.count, summary.v2v_ms.p50) == (4, 550.0)
    assert (summary.spoken_turns, summary.cut_offs, summary.cut_off_rate) == (5, 1, 0.2)
    assert summary.unanswered == 1
    assert summary.barge_in_ms is not None
    assert summary.barge_in_ms.p50 == 300.0
    assert summary.greeting_ms is None


def test_a_record_is_saved_with_both_sides_and_read_back(tmp_path: Path) -> None:
    call = record(measured(v2v_ms=512.5)).attach(WireAudio(caller=b"\x00" * 320, agent=b"\xff" * 320))
    call.save(tmp_path)
    again = CallRecord.model_validate_json((tmp_path / "caller.json").read_text())
    assert again.turns == call.turns
    with wave.open(str(tmp_path / "wire.wav")) as wav:
        assert (wav.getnchannels(), wav.getframerate(), wav.getnframes()) == (2, 8_000, 320)
        samples = np.frombuffer(wav.readframes(320), dtype="<i2").reshape(-1, 2)
    assert np.all(samples[:, 0] < -30_000), "left is the caller (u-law 0x00 is the lowest value)"
    assert np.all(samples[:, 1] == 0), "right is the agent"
