"""What a benchmark leaves behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.results import Percentiles, Point, Series, Trade, write


def test_percentiles_of_a_known_row() -> None:
    found = Percentiles.of(range(101))
    assert (found.count, found.p50, found.p95, found.p99, found.maximum) == (101, 50, 95, 99, 100)
    assert found.as_json() == {"count": 101, "mean": 50.0, "p50": 50.0, "p95": 95.0, "p99": 99.0, "maximum": 100.0}


def test_percentiles_of_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Percentiles.of([])


def test_a_result_is_dated_names_its_machine_and_has_a_picture(tmp_path: Path) -> None:
    report, picture = write(
        "stt",
        {"wer": 3.0},
        packages=("numpy", "no-such-package"),
        plot=[Series("ours", [100.0, 120.0]), Series("theirs", [350.0, 420.0])],
        axis="milliseconds",
        folder=tmp_path / "results",
        now=datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC),
    )
    assert report.name == "2025-02-03T040506Z-stt.json"
    said = json.loads(report.read_text())
    assert said["bench"] == "stt"
    assert said["at"] == "2025-02-03T04:05:06+00:00"
    assert said["result"] == {"wer": 3.0}
    assert said["machine"]["cores"] >= 1
    assert said["machine"]["cpu"]
    assert said["machine"]["packages"]["numpy"]
    assert said["machine"]["packages"]["no-such-package"] is None
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_trade_is_drawn_too(tmp_path: Path) -> None:
    points = [Point("few", "fast", 5.0, 0.8), Point("few", "slow", 300.0, 0.9), Point("many", "fast", 6.0, 0.7)]
    _, picture = write(
        "understanding",
        {},
        packages=(),
        plot=Trade(points, {"elsewhere": 0.95}, "share that is right"),
        axis="milliseconds",
        folder=tmp_path,
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
