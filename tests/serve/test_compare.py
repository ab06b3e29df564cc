"""Comparing two versions by their calls."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import events as ev
from serve.call_store import CallOutcome, CallStore
from serve.cli import app
from serve.compare import FEWEST, TooFewCalls, calls_needed, compare, newcombe, wilson
from serve.outcome import outcome_of

ONE = CallOutcome(
    call_sid="CA0",
    agent="shop",
    agent_version="a" * 12,
    started_s=0,
    turns=5,
    contained=True,
    escalated="",
    tools_ok=3,
    tools_failed=0,
    latency_p50_ms=700.0,
    latency_p95_ms=900.0,
)


def calls(count: int, *, contained: float, version: str = "a" * 12, slower_ms: float = 0) -> list[CallOutcome]:
    rng = random.Random(f"{count} {contained} {version}")
    return [
        replace(
            ONE,
            call_sid=f"CA{version[0]}{number}",
            agent_version=version,
            started_s=number,
            contained=(yes := rng.random() < contained),
            escalated="" if yes else "request",
            latency_p50_ms=rng.gauss(700 + slower_ms, 40),
        )
        for number in range(count)
    ]


def test_intervals_are_the_published_ones() -> None:
    # Newcombe 1998, table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    low, high = newcombe((48, 80), (56, 70))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-4), pytest.approx(0.3339, abs=5e-4))
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.binomial(60, 0.8, 2000), rng.binomial(90, 0.7, 2000)
    inside = [low <= -0.1 <= high for x, y in zip(a, b, strict=True) for low, high in [newcombe((x, 60), (y, 90))]]
    assert 0.93 <= sum(inside) / len(inside) <= 0.97


def test_a_difference_is_shown_where_there_is_one_and_only_there() -> None:
    found = {one.name: one for one in compare(calls(400, contained=0.9), calls(400, contained=0.7, slower_ms=50))}
    assert found["contained"].shown
    assert found["contained"].b < found["contained"].a
    assert found["V2V p50 ms (median)"].shown
    assert 40 < found["V2V p50 ms (median)"].b - found["V2V p50 ms (median)"].a < 60
    assert not found["turns (mean)"].shown
    assert not found["tool success"].shown


def test_too_few_calls_are_not_compared() -> None:
    with pytest.raises(TooFewCalls, match=f"at least {FEWEST} calls of each version, got {FEWEST - 1} and 50"):
        compare(calls(FEWEST - 1, contained=0.9), calls(50, contained=0.9))


def test_small_differences_need_many_calls() -> None:
    assert calls_needed(0.9) < calls_needed(0.7) < calls_needed(0.5)
    assert calls_needed(0.5) == 1600


def test_an_outcome_is_read_from_the_call_s_events() -> None:
    log = ev.EventLog(_Still())
    for event in (
        ev.FinalTranscript(turn=1, text="a person", average_log_probability=0, took_ms=1),
        ev.ToolFinished(turn=1, tool="find", effect="read", status="rejected", code="not_found", arguments={}),
        ev.ToolFinished(turn=1, tool="book", effect="write", status="unknown", code="", arguments={}),
        ev.TransferRequested(turn=1, reason="request", target="desk", next_step=""),
        ev.CallEnded(reason="transferred"),
    ):
        log.append(event)
    found = outcome_of(list(log), call_sid="CA1", agent="shop", version="v", started_s=1.0)
    assert (found.turns, found.contained, found.escalated) == (1, False, "request")
    assert (found.tools_ok, found.tools_failed) == (1, 1)


class _Still:
    def now_s(self) -> float:
        return 0.0

    def wall_time_s(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError


def test_the_command_reads_the_store_and_says_what_it_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'calls.db'}"

    async def fill() -> None:
        async with await CallStore.open(url) as store:
            for outcome in (*calls(60, contained=1.0), *calls(60, contained=0.4, version="b" * 12)):
                await store.add_outcome(outcome)

    asyncio.run(fill())
    shown = CliRunner().invoke(app, ["agent", "compare", "a" * 12, "b" * 12, "--store", url])
    assert shown.exit_code == 0, shown.output
    line = next(line for line in shown.output.splitlines() if line.startswith("contained"))
    assert "100.0%" in line
    assert "not shown" not in line
    none = CliRunner().invoke(app, ["agent", "compare", "a" * 12, "c" * 12, "--store", url])
    assert none.exit_code == 2
    assert "got 60 and 0" in none.output
