"""Stretches of a day as files write them: "8:00-17:00", "11:30-14:00, 17:00-23:00", "18:00-2:00"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

DAY_MIN = 24 * 60
_EXAMPLES = "such as 8:00-17:00, or 11:30-14:00, 17:00-23:00; by the 24-hour clock"
_SPAN = re.compile(r"(\d{1,2})(?::([0-5]\d))?\s*[-–]\s*(\d{1,2})(?::([0-5]\d))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """From one time to another."""

    start: int
    """Minutes after midnight."""
    end: int
    """Likewise, and later; more than a day's where the span goes past midnight. The minute itself is no part of it."""

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day that the span begins on lies in it."""
        return self.start <= minute < self.end


@lru_cache(maxsize=256)
def spans_of(text: str) -> tuple[Span, ...]:
    """The spans that a text names, in their order. Raises ValueError if it does not name such."""
    spans = tuple(_span(part.strip()) for part in text.split(","))
    if any(one.end > other.start for one, other in pairwise(spans)):
        raise ValueError(f"{text!r}: one begins before the other ends; expected spans that follow one another")
    if spans[-1].end - DAY_MIN > spans[0].start:
        raise ValueError(f"{text!r}: the last ends after the first has begun on the next day; shorten one")
    return spans


def _span(text: str) -> Span:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected from-to, {_EXAMPLES}; got {text!r}")
    start, end = (int(match[hour]) * 60 + int(match[hour + 1] or 0) for hour in (1, 3))
    if start >= DAY_MIN or end > DAY_MIN:
        raise ValueError(f"{text!r}: a day has 24 hours; expected from-to, {_EXAMPLES}")
    if start == end:
        raise ValueError(f"{text!r}: from and to are the same; write 0:00-24:00 for the whole day")
    return Span(start, end if end > start else end + DAY_MIN)


def minute_of(text: str) -> int:
    """'14:30' in minutes after midnight. Raises ValueError if it is no time."""
    match = re.fullmatch(r"([01]?\d|2[0-4]):([0-5]\d)", text, re.ASCII)
    if match is None or (minute := int(match[1]) * 60 + int(match[2])) > DAY_MIN:
        raise ValueError(f"expected a time such as 14:30, got {text!r}")
    return minute
