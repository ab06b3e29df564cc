"""Progress on a terminal and in a log."""

from __future__ import annotations

import io

from rich.console import Console

from serve.progress import RichProgress


def shown(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None, _environ={})
    with RichProgress(console) as progress:
        progress.step("ready-before", "checking")
        progress.done("ready-before")
        progress.start("whisper", 2_000_000)
        progress.step("whisper", "fetching")
        progress.advance("whisper", 500_000)
        progress.advance("whisper", 1_500_000)
        progress.done("whisper")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_each_step_is_one_line() -> None:
    assert shown(terminal=False).splitlines() == [
        "whisper: preparing (2 MB)",
        "whisper: fetching",
        "whisper: ready",
    ]


def test_on_a_terminal_a_bar_ends_full_and_ready() -> None:
    bars = [line for line in shown(terminal=True).splitlines() if "whisper" in line]
    assert "2.0/2.0 MB" in bars[-1]
    assert bars[-1].rstrip().endswith("ready")
    assert not any("ready-before" in line for line in bars)
