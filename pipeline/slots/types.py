"""What is read, and from what: shared by the readers of all types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Generic, Literal, TypeVar

from pipeline.slots.spans import Span

Language = Literal["en", "es"]

SURE = 1.0
LIKELY = 0.9
"""Read plainly, with a little left open (a weekday without its date)."""
UNSURE = 0.7
"""One of two readings, by custom (a time of day without its half)."""
DOUBTFUL = 0.6
"""Worth reading back before it is used."""


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that may be chosen now."""

    value: str
    """Canonical; a date or time in ISO form can be chosen by saying its day or time."""
    spoken: str
    keywords: tuple[str, ...] = ()
    """Further ways in which callers say it."""


@dataclass(frozen=True, slots=True)
class ReadingContext:
    """What an utterance is read against."""

    today: date
    """For the caller."""
    language: Language = "en"
    options: tuple[Option, ...] = ()
    """What is on offer now, in the order in which it was said."""
    asked: bool = True
    """Whether this variable was asked for; else nothing is read without an explicit mark."""
    opening: bool = False
    """Whether the utterance begins something, and answers nothing: then callers often say first who they are."""
    window: tuple[Span, ...] = ()
    """Where a time of day lies whose half is not said; empty: by day."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that was read."""

    value: str
    """Canonical."""
    words: str
    """The caller's words it came from."""
    confidence: float
    """In [0, 1]; below 1 where the words have another reading."""


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Found(Generic[T_co]):
    """Something found in an utterance, at [start, end)."""

    value: T_co
    start: int
    end: int
    confidence: float = SURE
