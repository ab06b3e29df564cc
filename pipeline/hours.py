"""When a business is open: the key `hours` of an agent file, and what follows from it. Pure: the moment is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from holidays import country_holidays
from pydantic import BeforeValidator, Field, field_validator, model_validator

from models.settings import StrictModel
from pipeline.feasts import FEASTS
from pipeline.slots.spans import DAY_MIN, Span, spans_of

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CLOSED = "closed"
_SHORT = 3
"""Letters by which a weekday may be named."""
_LONGEST_CLOSED_DAYS = 370
_DATE = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})", re.ASCII)
_ANY_LEAP_YEAR = 2028


def _opening(text: object) -> object:
    if text != CLOSED:
        if not isinstance(text, str):
            # YAML reads an unquoted `9:00` as a number, and `off` as no.
            raise ValueError(f"expected from-to, such as 8:00-17:00, or {CLOSED}")
        spans_of(text)
    return text


Opening = Annotated[str, BeforeValidator(_opening)]
"""One or several spans of a day, such as 11:30-14:00, 17:00-23:00; or `closed`."""


class Hours(StrictModel):
    """When it is open, where it is. Every further key is a day of the week or several (monday, monday-friday,
    "tuesday, thursday"), with from-to by the 24-hour clock (8:00-17:00; 11:30-14:00, 17:00-23:00; 18:00-2:00); days
    that are not named are closed."""

    __pydantic_extra__: dict[str, Opening] = Field(init=False)
    model_config = StrictModel.model_config | {"extra": "allow"}

    zone: str | None = None
    """An IANA name ("America/New_York"): what time it is, and which day "tomorrow" is. None: where the gateway's
    machine is."""
    holidays: str | None = None
    """Closed on the public holidays of a country or of a part of it (US, US-NY, ES-MD: ISO 3166), exceptions aside."""
    exceptions: dict[str, Opening] = Field(default_factory=dict)
    """Other hours on a date ("2026-12-24": 8:00-12:00), on one of every year ("12-25": closed), from one to another
    ("2026-08-03 to 2026-08-14": closed), or on a day by its name (thanksgiving: closed; pipeline/feasts.py)."""

    @field_validator("zone")
    @classmethod
    def _is_a_time_zone(cls, name: str | None) -> str | None:
        if name is not None and name not in available_timezones():
            raise ValueError(f"no such time zone: {name!r}; expected an IANA name, such as America/New_York")
        return name

    @field_validator("holidays")
    @classmethod
    def _has_a_calendar(cls, code: str | None) -> str | None:
        if code is not None:
            try:
                _public(code, _ANY_LEAP_YEAR)
            except NotImplementedError as error:  # What the library raises for a place that it does not know.
                raise ValueError(f"{error}; expected a country, such as US, or a part of one, such as US-NY") from None
        return code

    @model_validator(mode="after")
    def _names_days(self) -> Hours:
        seen: dict[int, str] = {}
        for key in self._openings():
            for weekday in weekdays_of(key):
                if weekday in seen:
                    raise ValueError(f"{WEEKDAYS[weekday]} is named by {seen[weekday]!r} and by {key!r}; choose")
                seen[weekday] = key
        for key in self.exceptions:
            _Days.of(key)
        return self

    def _openings(self) -> Mapping[str, str]:
        return self.__pydantic_extra__ or {}

    # -- what is open ----------------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether it says anything of when it is open."""
        return bool(self._openings())

    def of_weekday(self, weekday: int) -> tuple[Span, ...]:
        """The spans of a day of the week (0 is Monday) as it usually is."""
        for key, opening in self._openings().items():
            if weekday in weekdays_of(key):
                return _spans(opening)
        return ()

    def exception_on(self, day: date) -> str | None:
        """The key of the exception that a date falls under, the one that says most precisely when; None if none."""
        keys = [key for key in self.exceptions if _Days.of(key).hold(day)]
        return min(keys, key=lambda key: _Days.of(key).vagueness, default=None)

    def is_holiday(self, day: date) -> bool:
        """Whether a date is one of the public holidays that it keeps."""
        return self.holidays is not None and day in _public(self.holidays, day.year)

    def is_usual(self, day: date) -> bool:
        """Whether a date is like every other of its weekday."""
        return self.exception_on(day) is None and not self.is_holiday(day)

    def on(self, day: date) -> tuple[Span, ...]:
        """The spans of a date."""
        if self.is_usual(day):
            return self.of_weekday(day.weekday())
        key = self.exception_on(day)
        return () if key is None else _spans(self.exceptions[key])

    def span_at(self, day: date, minute: int) -> tuple[date, Span] | None:
        """The span that a minute of a date lies in, and the date on which that begins; None if it is closed then."""
        yesterday = day - timedelta(days=1)
        spans = [(day, span) for span in self.on(day) if span.holds(minute)]
        spans += [(yesterday, span) for span in self.on(yesterday) if span.holds(minute + DAY_MIN)]
        return spans[0] if spans else None

    def is_open(self, day: date, minute: int) -> bool:
        """Whether it is open at a minute of a date."""
        return self.span_at(day, minute) is not None

    def next_opening(self, moment: datetime) -> datetime | None:
        """When it opens next after a moment by the wall clock there; None if it does not within a year."""
        for days in range(_LONGEST_CLOSED_DAYS):
            day = moment.date() + timedelta(days=days)
            for span in self.on(day):
                opens = datetime.combine(day, time(span.start // 60, span.start % 60), moment.tzinfo)
                # By the wall clock, as hours are meant: no arithmetic across a change of daylight-saving time.
                if opens.replace(tzinfo=None) > moment.replace(tzinfo=None):
                    return opens
        return None

    def window(self) -> tuple[Span, ...]:
        """All spans of the usual week."""
        return tuple(dict.fromkeys(span for weekday in range(len(WEEKDAYS)) for span in self.of_weekday(weekday)))

    def now(self, wall_time_s: float) -> datetime:
        """What a clock on its wall says, so many seconds after the epoch."""
        if self.zone is None:
            return datetime.fromtimestamp(wall_time_s, UTC).astimezone()
        return datetime.fromtimestamp(wall_time_s, ZoneInfo(self.zone))


def minute_at(moment: datetime) -> int:
    """Minutes after midnight."""
    return moment.hour * 60 + moment.minute


@lru_cache(maxsize=256)
def _public(code: str, year: int) -> frozenset[date]:
    """The public holidays of a year there. Raises what `country_holidays` does for a place that it does not know."""
    country, _, part = code.partition("-")
    return frozenset(country_holidays(country, subdiv=part or None, years=year))


def _spans(opening: str) -> tuple[Span, ...]:
    return () if opening == CLOSED else spans_of(opening)


@lru_cache(maxsize=256)
def weekdays_of(text: str) -> tuple[int, ...]:
    """'monday-wednesday, fri' -> (0, 1, 2, 4). Raises ValueError for what names no day of the week."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = (each.strip() for each in part.partition("-"))
        start = _weekday(first, text)
        length = (_weekday(last, text) - start) % len(WEEKDAYS) if last else 0
        found += [(start + days) % len(WEEKDAYS) for days in range(length + 1)]
    return tuple(found)


def _weekday(word: str, text: str) -> int:
    for place, name in enumerate(WEEKDAYS):
        if word.lower() in (name, name[:_SHORT]):
            return place
    raise ValueError(f"{text!r} names no day of the week; expected such as monday, or monday-friday")


@dataclass(frozen=True, slots=True)
class _Days:
    """The days that an exception's key names."""

    feast: str = ""
    first: tuple[int, int, int] = (0, 0, 0)
    """Year, month and day; the year is 0 where every year's is meant."""
    last: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, key: str) -> _Days:
        """Raises ValueError for a key that names none."""
        if key in FEASTS:
            return cls(feast=key)
        first, _, last = key.partition(" to ")
        days = cls("", _parts(first, key), _parts(last or first, key))
        if bool(days.first[0]) != bool(days.last[0]) or (days.first[0] and days.first > days.last):
            raise ValueError(f"exceptions: {key!r}: expected the earlier date first, and both with a year or neither")
        return days

    @property
    def vagueness(self) -> tuple[bool, bool]:
        """A single day is told more precisely than several, and one of one year more than one of every year."""
        return self.first != self.last, not self.first[0]

    def hold(self, day: date) -> bool:
        if self.feast:
            return FEASTS[self.feast].on(day.year) == day
        at = (day.year if self.first[0] else 0, day.month, day.day)
        if self.first <= self.last:
            return self.first <= at <= self.last
        return at >= self.first or at <= self.last  # Over the turn of the year.


def _parts(text: str, key: str) -> tuple[int, int, int]:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        expected = f'a date ("2026-12-24"), one of every year ("12-25"), or one of {", ".join(FEASTS)}'
        raise ValueError(f"exceptions: {key!r} names no day; expected {expected}")
    year, month, day = int(match[1] or 0), int(match[2]), int(match[3])
    try:
        date(year or _ANY_LEAP_YEAR, month, day)
    except ValueError as error:
        raise ValueError(f"exceptions: {key!r}: {error}") from None
    return year, month, day
