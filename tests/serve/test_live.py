import asyncio
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import events as ev
from serve.live import LiveView, follow_events
from serve.timeline import CallerFigures, LatencySummary
from tests.serve.example_run import ExampleCall


def example() -> list[ev.Event]:
    return sorted(ExampleCall().build().events, key=lambda event: event.at_s)


def shown(events: list[ev.Event], *, terminal: bool = False, **figures: CallerFigures) -> str:
    out = io.StringIO()
    with LiveView(Console(file=out, width=110, force_terminal=terminal, color_system=None)) as view:
        for event in events:
            view.handle(event)
        view.final_summary(Path("runs/20261123T004419Z-CA1"), **figures)
    return out.getvalue()


def test_a_pipe_gets_both_sides_words_the_waterfall_and_what_went_wrong():
    text = shown(example())
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert "0:04.1" not in text
    assert any(line.endswith("caller What are your opening hours?") for line in lines)
    assert any(line.endswith("agent We are open Monday to Friday, from eight to five.") for line in lines)
    assert "voice to voice 604 ms · turn 1 · model · question · knowledge" in lines
    stages = [line.split()[0] for line in lines if re.search(r"at \d+ ms$", line)][:6]
    assert stages == ["turn", "final", "route", "first", "first", "first"]
    assert any("barge-in" in line and "half" in line for line in lines)
    assert "[past three, and a quarter to five in the afternoon.]" in " ".join(lines)
    assert any(line.endswith("caller Do you have free … (never transcribed in full)") for line in lines)
    assert any("transcribe: SpeechToText: the replica died" in line for line in lines)
    assert any("booking: opening Tuesday half past three, name Anna" in line for line in lines)
    assert any(line.endswith("ended farewell") for line in lines)
    assert "\x1b" not in text


def test_a_partial_is_printed_when_it_changes_and_not_again():
    partial = ev.PartialTranscript(turn=1, text="I would like", audio_s=1.0, took_ms=80)
    more = ev.PartialTranscript(turn=1, text="I would like to", audio_s=1.4, took_ms=80)
    text = shown([partial, partial, partial, more, more])
    assert text.count("I would like …") == 1
    assert text.count("I would like to …") == 1


def test_on_a_terminal_the_words_being_spoken_change_in_place_and_the_clock_runs():
    out, now_s = io.StringIO(), [10.0]
    view = LiveView(Console(file=out, width=100, force_terminal=True, color_system=None), now_s=lambda: now_s[0])
    with view:
        view.handle(ev.SpeechStarted(turn=1, audio_s=1.0))
        view.handle(ev.PartialTranscript(turn=1, text="I would", audio_s=1.0, took_ms=80))
        now_s[0] += 1.5
        view.handle(ev.PartialTranscript(turn=1, text="I would like", audio_s=1.4, took_ms=80))
        moving = out.getvalue()
        assert "I would … 0.0 s" in moving
        assert "I would like … 1.5 s" in moving
        assert "\x1b[2K" in moving, "the line before is erased, not left standing"
        view.handle(ev.TurnDecided(turn=1, reason="model", speech_end_s=2.0, silence_ms=200))
        view.handle(ev.FinalTranscript(turn=1, text="I would like that.", average_log_probability=0, took_ms=9))
    assert "I would like that." in out.getvalue()


def test_on_a_terminal_a_cut_reply_is_left_standing_with_its_unheard_words_set_apart():
    text = shown(example(), terminal=True)
    assert "Certainly. On Tuesday I have two o'clock, half [past three," in text


def test_the_summary_prefers_what_the_caller_measured_and_names_both():
    figures = CallerFigures(v2v=LatencySummary(5, 612.4, 801.0), cut_offs=1, spoken_turns=6)
    text = shown(example(), caller=figures)
    assert re.search(r"voice to voice\s+p50 612 ms\s+p95 801 ms\s+5 turns\s+on the wire", text)
    assert re.search(r"p50 501 ms\s+p95 685 ms\s+6 turns\s+as the gateway sees it", text)
    assert re.search(r"false cut-offs\s+1 of 6 turns", text)
    assert "runs/20261123T004419Z-CA1" in text
    assert "not known" in shown(example())


def test_words_from_outside_cannot_steer_the_terminal():
    text = shown(
        [
            ev.CallStarted(call_sid="CA1", stream_sid="MZ", caller="+1\x1b[2J", agent="a", wall_time_s=0),
            ev.PartialTranscript(turn=1, text="[bold red]hi[/] \x1b]0;owned\x07", audio_s=1, took_ms=1),
        ]
    )
    assert "[bold red]hi[/]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


async def test_following_waits_for_the_file_and_for_whole_lines(tmp_path: Path):
    path, stop = tmp_path / "events.jsonl", asyncio.Event()
    seen: asyncio.Queue[ev.Event] = asyncio.Queue()
    partial = ev.PartialTranscript(turn=1, text="grüß", audio_s=1.0, took_ms=2.0)
    line = ev.to_json(partial).encode() + b"\n"
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow_events(path, seen.put_nowait, stop, poll_s=0.005))
        await asyncio.sleep(0.02)
        middle = line.index("ü".encode()) + 1
        with path.open("ab", buffering=0) as file:
            file.write(line + line[:middle])
            assert await seen.get() == partial
            await asyncio.sleep(0.03)
            assert seen.empty()
            file.write(line[middle:])
            assert await seen.get() == partial
            file.write(line + b'{"kind": "par')
        stop.set()
    assert await seen.get() == partial
    assert seen.empty()


async def test_a_whole_line_that_is_no_event_is_named(tmp_path: Path):
    path, stop = tmp_path / "events.jsonl", asyncio.Event()
    path.write_text(ev.to_json(ev.Keypress(digit="1")) + "\nnonsense\n", encoding="utf-8")
    stop.set()
    with pytest.raises(ValueError, match=r"events\.jsonl, line 2: expected one JSON object"):
        await follow_events(path, lambda event: None, stop)
