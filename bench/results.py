"""What every benchmark leaves behind: a dated JSON file that names its machine, and a plot beside it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import psutil

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one measured quantity, in the unit of the samples given."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Percentiles:
        """Linear between neighbours (numpy's default). Raises ValueError if there are no samples."""
        values = np.fromiter(samples, dtype=np.float64)
        if not len(values):
            raise ValueError("percentiles of no samples: nothing was measured")
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        return cls(len(values), float(values.mean()), float(p50), float(p95), float(p99), float(values.max()))

    def as_json(self, digits: int = 1) -> dict[str, Json]:
        return {name: value if isinstance(value, int) else round(value, digits) for name, value in asdict(self).items()}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine(packages: Iterable[str]) -> dict[str, Json]:
    """What the figures were measured on: CPU, cores, memory, load when asked, Python, and versions of `packages`."""
    versions: dict[str, Json] = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_1m": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a cumulative plot: what share of the samples lies at or below each value."""

    label: str
    samples: Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """One way of doing one thing."""

    thing: str
    way: str
    x: float
    share: float


@dataclass(frozen=True, slots=True)
class Trade:
    """What it costs to be right: points over a logarithmic axis, and shares known from elsewhere as lines."""

    points: Sequence[Point]
    levels: Mapping[str, float]
    right: str
    """What is counted, for the axis of shares."""


def write(
    bench: str,
    result: Mapping[str, Json],
    *,
    packages: Iterable[str],
    plot: Sequence[Series] | Trade,
    axis: str,
    folder: Path = RESULTS,
    now: datetime | None = None,
) -> tuple[Path, Path]:
    """Write `<date>T<time>Z-<bench>.json` and `.png` into `folder`; returns both paths.

    The JSON holds `bench`, `at`, `machine` and `result`; the picture shows each series' cumulative distribution with
    its p50, p95 and p99, or a trade's points, over an axis named `axis`.
    """
    at = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{at:%Y-%m-%dT%H%M%SZ}-{bench}"
    document = {"bench": bench, "at": at.isoformat(timespec="seconds"), "machine": machine(packages), "result": result}
    report = stem.with_suffix(".json")
    report.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    picture = stem.with_suffix(".png")
    _draw(picture, bench, plot, axis)
    return report, picture


def _draw(path: Path, title: str, plot: Sequence[Series] | Trade, axis: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=axis)
    axes.grid(alpha=0.3)
    if isinstance(plot, Trade):
        _draw_trade(axes, plot)
    else:
        _draw_series(axes, plot)
    figure.savefig(path, dpi=120)


def _draw_series(axes: Axes, series: Sequence[Series]) -> None:
    for one in series:
        values = np.sort(np.asarray(one.samples, dtype=np.float64))
        found = Percentiles.of(values)
        label = f"{one.label}  p50 {found.p50:.0f}  p95 {found.p95:.0f}  p99 {found.p99:.0f}"
        (line,) = axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post", label=label)
        axes.plot([found.p50, found.p95, found.p99], [0.5, 0.95, 0.99], "o", color=line.get_color(), markersize=4)
    axes.set(ylabel="share of samples at or below", ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.legend(loc="lower right")


def _draw_trade(axes: Axes, trade: Trade) -> None:
    things = list(dict.fromkeys(point.thing for point in trade.points))
    ways = list(dict.fromkeys(point.way for point in trade.points))
    for point in trade.points:
        marker = "os^DvP"[ways.index(point.way) % 6]
        color = f"C{things.index(point.thing)}"
        axes.plot(point.x, point.share, marker, color=color, label=f"{point.thing}: {point.way}")
    for name, share in trade.levels.items():
        axes.axhline(share, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate(name, (0, share), xycoords=("axes fraction", "data"), fontsize=6, va="bottom")
    axes.set_xscale("log")
    axes.set_ylabel(trade.right)
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
