"""Two versions of an agent, by what came of their calls: differences with 95% confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve.call_store import CallOutcome

FEWEST = 10
"""Calls of a version, below which nothing is compared."""
Values = npt.NDArray[np.float64]
_Z = 1.959964
_RESAMPLES = 4000


class TooFewCalls(ValueError):
    """There is nothing to compare yet."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both versions."""

    name: str
    a: float
    b: float
    low: float
    """Ends of the interval of b - a."""
    high: float
    percent: bool = False
    """Both are shares."""

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def compare(a: Sequence[CallOutcome], b: Sequence[CallOutcome]) -> list[Difference]:
    """Containment, escalation, tool success, turns and latency. Raises TooFewCalls."""
    if min(len(a), len(b)) < FEWEST:
        raise TooFewCalls(
            f"expected at least {FEWEST} calls of each version, got {len(a)} and {len(b)}; take more calls"
        )
    found = [
        _share("contained", [call.contained for call in a], [call.contained for call in b]),
        _share("escalated", [bool(call.escalated) for call in a], [bool(call.escalated) for call in b]),
    ]
    tools_a, tools_b = ([(call.tools_ok, call.tools_failed) for call in calls] for calls in (a, b))
    if all(any(ok + failed for ok, failed in calls) for calls in (tools_a, tools_b)):
        # Calls of one tool are not independent of each other within a phone call: whole calls are drawn.
        found.append(_resampled("tool success", tools_a, tools_b, _tool_share, percent=True))
    found.append(_resampled("turns (mean)", [c.turns for c in a], [c.turns for c in b], _mean))
    for name, figure in (("V2V p50 ms (median)", _p50_ms), ("V2V p95 ms (median)", _p95_ms)):
        known_a, known_b = ([value for call in calls if (value := figure(call)) is not None] for calls in (a, b))
        if min(len(known_a), len(known_b)) >= FEWEST:
            found.append(_resampled(name, known_a, known_b, _median))
    return found


def calls_needed(share: float, points: float = 0.05) -> int:
    """Calls of each version to see a difference of so many points in a share, four times in five (Lehr 1992)."""
    return math.ceil(16 * max(share * (1 - share), 0.01) / points**2)


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927)."""
    share, z2 = successes / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(a: tuple[int, int], b: tuple[int, int]) -> tuple[float, float]:
    """95% interval of the difference of two shares b - a, each (successes, count) (Newcombe 1998, method 10)."""
    share_a, share_b = a[0] / a[1], b[0] / b[1]
    (low_a, high_a), (low_b, high_b) = wilson(*a), wilson(*b)
    gap = share_b - share_a
    low = gap - math.hypot(share_b - low_b, high_a - share_a)
    high = gap + math.hypot(high_b - share_b, share_a - low_a)
    return low, high


def _share(name: str, a: Sequence[bool], b: Sequence[bool]) -> Difference:
    low, high = newcombe((sum(a), len(a)), (sum(b), len(b)))
    return Difference(name, sum(a) / len(a), sum(b) / len(b), low, high, percent=True)


def _resampled(
    name: str,
    a: Sequence[object],
    b: Sequence[object],
    figure: Callable[[Values], float],
    *,
    percent: bool = False,
) -> Difference:
    """By the percentile bootstrap; the same calls always give the same interval."""
    rng = np.random.default_rng(1)
    one, other = np.array(a, np.float64), np.array(b, np.float64)
    gaps = [
        figure(other[rng.integers(0, len(other), len(other))]) - figure(one[rng.integers(0, len(one), len(one))])
        for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(gaps, [2.5, 97.5])
    return Difference(name, figure(one), figure(other), float(low), float(high), percent)


def _p50_ms(call: CallOutcome) -> float | None:
    return call.latency_p50_ms


def _p95_ms(call: CallOutcome) -> float | None:
    return call.latency_p95_ms


def _mean(values: Values) -> float:
    return float(values.mean())


def _median(values: Values) -> float:
    return float(np.median(values))


def _tool_share(values: Values) -> float:
    total = values.sum()
    return float(values[:, 0].sum() / total) if total else 1.0
