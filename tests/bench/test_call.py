"""What `make bench-call` reports of the calls it placed."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from bench.call import as_result, summary_lines, to_the_answer, turn_table
from bench.script import SCRIPTS, load_script
from bench.v2v import CallRecord, TurnRecord, summarise
from pipeline import events as ev


def record() -> CallRecord:
    said = {"kind": "say", "speech_start_s": 1.0, "speech_end_s": 2.0}
    return CallRecord(
        script="s",
        call_sid="CA1",
        stream_sid="MZ1",
        voice="v",
        seed=0,
        noise="none",
        started_wall_time_s=0.0,
        duration_s=9.0,
        ended_by="agent",
        end_reason="",
        latest_frame_ms=3.25,
        turns=(
            TurnRecord.model_validate(
                {**said, "turn": 0, "text": "One?", "v2v_ms": 812.5, "agent_first_audible_s": 2.8}
            ),
            TurnRecord.model_validate({**said, "turn": 1, "text": "Two?", "cut_off": True}),
            TurnRecord.model_validate({**said, "turn": 2, "text": "Three?"}),
        ),
    )


def test_the_table_shows_cut_offs_and_missing_replies_beside_the_times() -> None:
    console = Console(width=100)
    with console.capture() as shown:
        console.print(turn_table([record()]))
    lines = [line for line in shown.get().splitlines() if "?" in line]
    assert "812" in lines[0]
    assert "cut off" in lines[1]
    assert "no reply" in lines[2]


def test_v2v_is_never_reported_without_its_twin() -> None:
    lines = summary_lines(summarise([record()]))
    assert lines[0].startswith("V2V         p50 812")
    assert lines[1] == "cut-offs    1 of 3 turns (33.3%)"
    result = as_result(load_script(SCRIPTS / "dental_bench.yaml"), [record()], ["turn 2: ..."])
    written = json.loads(json.dumps(result))
    assert (written["v2v_ms"]["p50"], written["cut_off_rate"], written["unanswered"]) == (812.5, 1 / 3, 1)
    assert written["latest_frame_ms"] == 3.2
    assert len(written["turns"]) == 3


def test_a_filler_never_lowers_v2v() -> None:
    events = [
        ev.ClauseDecided(turn=1, clause_id="t1.1.c0", text="One moment.", source="filler"),
        ev.FirstAudio(turn=1, clause_id="t1.1.c0", at_s=2.77),
        ev.FirstAudio(turn=1, clause_id="t1.1.c1", at_s=4.27),
    ]
    changed, to_filler_ms = to_the_answer(record(), events)
    assert changed.turns[0].v2v_ms == pytest.approx(812.5 + 1500)
    assert to_filler_ms == [812.5]
    assert to_the_answer(record(), events[2:]) == (record(), [])
