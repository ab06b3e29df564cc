"""Dates: "the third of March", "next Tuesday", "pasado mañana", "dentro de dos semanas". No clock: `today` is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from pipeline.slots import date_words
from pipeline.slots.date_words import day_words, month_words, patterns, short_year_words, weekday_words, year_words
from pipeline.slots.numbers import cardinal_words
from pipeline.slots.types import DOUBTFUL, LIKELY, SURE, UNSURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import Heard, apart, goes_on_from_another, settle

_WEEK_DAYS = 7
_YEARS_SEARCHED = 8
"""29 February comes at least this often."""
_MONTHS_SEARCHED = 13
_YEAR = re.compile(r"(?<![\d/.\-])(?:19|20)\d{2}(?![\d/\-]|[.:]\d)")
_SHORT_YEAR_AFTER = re.compile(r"[\s,]+(?:of |del? )?'?(?P<year>\d{2})(?=\W*$)")
_MORE_BEFORE = re.compile(r"\b(?:weeks?|months?|years?|semanas?|mes|meses|anos?) (?:and|y)\s$")
"""'A month and three days ago' is not three days ago."""
_SLOT_GAP = re.compile(r"[\s,\-]+")


@dataclass(frozen=True, slots=True)
class DateSaid:
    """A date as it was said."""

    day: date
    """The likeliest."""
    also: tuple[date, ...] = ()
    """What it may mean besides."""
    weekday: int | None = None
    """Only a day of the week was said: 0 is Monday."""
    day_of_month: int | None = None
    """Only a day of the month was said."""
    bound: Literal["on", "after", "before"] = "on"
    explicit: bool = True
    """Whether it can hardly be anything but a date; 'today' and 'the third' can."""
    whole: bool = False
    """Whether day, month and year were said."""

    def fits(self, day: date) -> bool:
        """Whether a date agrees with it."""
        if self.bound != "on":
            return day > self.day if self.bound == "after" else day < self.day
        if self.weekday is not None:
            return day.weekday() == self.weekday
        if self.day_of_month is not None:
            return day.day == self.day_of_month
        return day == self.day or day in self.also


_Maker = Callable[[re.Match[str], "_Frame"], Found[DateSaid] | None]


@dataclass(frozen=True, slots=True)
class _Frame:
    heard: Heard
    today: date
    ahead: bool

    @property
    def language(self) -> Language:
        return self.heard.language


def dates_said(heard: Heard, today: date, *, ahead: bool = True) -> list[Found[DateSaid]]:
    """Every date, in the order of the utterance; the longest wins where several overlap."""
    frame = _Frame(heard, today, ahead)
    # What reads like a date and is none ("Monday, the first of December") still hides the parts of it.
    return [
        Found(_bounded(one.value, heard, one.start), one.start, one.end, one.confidence)
        for one in apart(_every(frame))
        if one.value is not None and not date_words.GONE_BY[heard.language].search(heard.flat, 0, one.start)
    ]


def _bounded(said: DateSaid, heard: Heard, start: int) -> DateSaid:
    for way, pattern in date_words.offsets(heard.language).items():
        match = pattern.search(heard.flat, 0, start)
        if match is not None:
            sign = 1 if way == "after" else -1
            number = date_words.counts(heard.language).get(match["count"])
            count = int(match["count"]) if match["count"].isdigit() else number or 1
            days, months = date_words.UNITS[heard.language][match["unit"]]
            moved = _moved(said.day, sign * count * days, sign * count * months)
            return DateSaid(moved) if moved is not None else said
    for bound, pattern in date_words.BOUNDS[heard.language].items():
        if pattern.search(heard.flat, 0, start):
            return replace(said, bound=bound)
    return said


def _every(frame: _Frame) -> Iterator[Found[DateSaid | None]]:
    for kind, expressions in patterns(frame.language).items():
        for expression in expressions:
            for match in expression.finditer(frame.heard.flat):
                found = _MAKERS[kind](match, frame)
                said = found.value if found else None
                yield Found(said, match.start(), match.end(), found.confidence if found else 0.0)


def _said(match: re.Match[str], said: DateSaid, confidence: float) -> Found[DateSaid]:
    return Found(said, match.start(), match.end(), confidence)


def _group(match: re.Match[str], name: str) -> str:
    """A group's words with single spaces; empty if it is missing."""
    words = match.groupdict().get(name)
    return _SLOT_GAP.sub(" ", words).strip() if words else ""


# -- a day of a month ----------------------------------------------------------------------------------------------


def _day_and_month(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    named = _group(match, "month")
    if named == "may" and frame.language == "en" and _group(match, "day") in ("one", "two"):
        return None
    return _day_of(match, frame, month_words(frame.language)[named])


def _month_in_figures(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    """'The 15th of the ninth', 'el quince del nueve'."""
    return _day_of(match, frame, date_words.month_number(_group(match, "month")))


def _day_of(match: re.Match[str], frame: _Frame, month: int) -> Found[DateSaid] | None:
    day = _day_number(_group(match, "day"), frame.language)
    year_text, short = _group(match, "year"), _group(match, "short_year")
    if year_text:
        year = int(year_text) if year_text.isdigit() else year_words(frame.language)[year_text]
        return _full(match, frame, year, month, day)
    if short and (short.startswith("'") or not frame.ahead):
        figures = short.removeprefix("'")
        two = int(figures) if figures.isdigit() else short_year_words(frame.language)[short]
        return _full(match, frame, _century(two, frame), month, day)
    found = nearest(frame.today, month, day, ahead=frame.ahead)
    if found is None or not _weekday_agrees(match, frame, found):
        return None
    confidence = LIKELY if frame.ahead else DOUBTFUL
    return _said(match, DateSaid(found), SURE if _group(match, "weekday") and frame.ahead else confidence)


def _full(match: re.Match[str], frame: _Frame, year: int, month: int, day: int) -> Found[DateSaid] | None:
    found = _date(year, month, day)
    if found is None or not _weekday_agrees(match, frame, found):
        return None
    return _said(match, DateSaid(found, whole=True), SURE)


def _weekday_agrees(match: re.Match[str], frame: _Frame, found: date) -> bool:
    named = _group(match, "weekday")
    return not named or weekday_words(frame.language)[named] == found.weekday()


def _day_number(words: str, language: Language) -> int:
    figures = re.match(r"\d+", words)
    return int(figures[0]) if figures else day_words(language)[words]


def _century(two: int, frame: _Frame) -> int:
    """The year of two digits: the next one if dates lie ahead, else the last one."""
    year = frame.today.year // 100 * 100 + two
    if frame.ahead:
        return year
    return year if year <= frame.today.year else year - 100


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None  # The 31st of June: said, but no date.


def nearest(today: date, month: int, day: int, *, ahead: bool) -> date | None:
    """The next such day from today on, or the last one up to today; None for the 31st of June."""
    step = 1 if ahead else -1
    for years in range(_YEARS_SEARCHED + 1):
        found = _date(today.year + step * years, month, day)
        if found is not None and (found >= today if ahead else found <= today):
            return found
    return None


def _numeric(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    first, second = int(match["first"]), int(match["second"])
    year_text = match["year"]
    month_first = frame.language == "en" and second <= 31
    if first > 12 or second > 12:
        month_first = second > 12
    month, day = (first, second) if month_first else (second, first)
    sure = first > 12 or second > 12 or first == second
    if not year_text:
        if match["separator"] != "/":
            return None
        found = nearest(frame.today, month, day, ahead=frame.ahead) if 1 <= month <= 12 else None
        return _said(match, DateSaid(found), LIKELY if sure else UNSURE) if found else None
    year = int(year_text) if len(year_text) == 4 else _century(int(year_text), frame)
    found = _date(year, month, day)
    return _said(match, DateSaid(found, whole=True), SURE if sure else UNSURE) if found else None


def _iso(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    found = _date(int(match["year"]), int(match["month"]), int(match["day"]))
    return _said(match, DateSaid(found, whole=True), SURE) if found else None


def _weekday_and_day(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    """'Tuesday the third': the first third that is a Tuesday."""
    said = _group(match, "day") or _group(match, "figures")
    day, weekday = _day_number(said, frame.language), weekday_words(frame.language)[match["weekday"]]
    days = list(_days_of_month(frame, day))
    fitting = [each for each in days if each.weekday() == weekday]
    if not fitting:
        return None
    return _said(match, DateSaid(fitting[0]), SURE if fitting[0] == days[0] else UNSURE)


def _day_only(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    day = _day_number(_group(match, "day"), frame.language)
    found = next(_days_of_month(frame, day), None)
    if found is None:
        return None
    return _said(match, DateSaid(found, day_of_month=day, explicit=bool(_group(match, "on"))), UNSURE)


def _day_of_next_month(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    months = 0 if _group(match, "this") or _group(match, "now") else 1
    first = _moved(frame.today.replace(day=1), 0, months)
    day = _day_number(_group(match, "day"), frame.language)
    found = _date(first.year, first.month, day) if first else None
    return _said(match, DateSaid(found), SURE) if found else None


def _days_of_month(frame: _Frame, day: int) -> Iterator[date]:
    """The days of that number in the months ahead, or in those gone by."""
    for months in range(_MONTHS_SEARCHED):
        place = frame.today.month - 1 + (months if frame.ahead else -months)
        found = _date(frame.today.year + place // 12, place % 12 + 1, day)
        if found is not None and (found >= frame.today if frame.ahead else found <= frame.today):
            yield found


# -- a day of the week ---------------------------------------------------------------------------------------------


def _weekday(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    """'Tuesday': the next one, or the last one where dates lie behind; today's own weekday is left open."""
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    distance = (weekday - frame.today.weekday()) % _WEEK_DAYS or _WEEK_DAYS
    found = frame.today + timedelta(days=distance if frame.ahead else distance - _WEEK_DAYS)
    also: tuple[date, ...] = ()
    confidence = LIKELY
    if distance == _WEEK_DAYS:
        also, confidence = (frame.today,), DOUBTFUL
        found = frame.today + timedelta(days=_WEEK_DAYS if frame.ahead else -_WEEK_DAYS)
    return _said(match, DateSaid(found, also, weekday=weekday), confidence)


def _this_weekday(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    distance = (weekday - frame.today.weekday()) % _WEEK_DAYS
    return _said(match, DateSaid(frame.today + timedelta(days=distance)), LIKELY)


def _next_weekday(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    """'Next Tuesday': that of next week. Some mean the coming one, if that is still this week."""
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    found = _monday(frame.today) + timedelta(days=_WEEK_DAYS + weekday)
    coming = frame.today + timedelta(days=(weekday - frame.today.weekday()) % _WEEK_DAYS or _WEEK_DAYS)
    if coming == found:
        return _said(match, DateSaid(found), LIKELY)
    if frame.language == "es":
        # 'El próximo martes' and 'el martes que viene' are the coming one.
        return _said(match, DateSaid(coming, (found,)), UNSURE)
    return _said(match, DateSaid(found, (coming,)), UNSURE)


def _last_weekday(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    distance = (frame.today.weekday() - weekday) % _WEEK_DAYS or _WEEK_DAYS
    return _said(match, DateSaid(frame.today - timedelta(days=distance)), UNSURE)


def _weekday_of_next_week(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    return _said(match, DateSaid(_monday(frame.today) + timedelta(days=_WEEK_DAYS + weekday)), SURE)


def _week_from_weekday(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    distance = (weekday - frame.today.weekday()) % _WEEK_DAYS or _WEEK_DAYS
    return _said(match, DateSaid(frame.today + timedelta(days=distance + _WEEK_DAYS)), LIKELY)


def _nth_weekday(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    """'The second Tuesday of December'."""
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    named = _group(match, "month")
    first = frame.today.replace(day=1)
    if named:
        beginning = nearest(first, month_words(frame.language)[named], 1, ahead=True)
        first = beginning or first
    elif _group(match, "next"):
        first = _moved(first, 0, 1) or first
    days = [
        day
        for day in (first + timedelta(days=each) for each in range((weekday - first.weekday()) % _WEEK_DAYS, 31, 7))
        if day.month == first.month
    ]
    place = date_words.PLACES[frame.language][_group(match, "place")]
    return _said(match, DateSaid(days[place]), LIKELY) if place < len(days) else None


def _week_after_next(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    weekday = weekday_words(frame.language)[_group(match, "weekday")]
    return _said(match, DateSaid(_monday(frame.today) + timedelta(days=2 * _WEEK_DAYS + weekday)), LIKELY)


def _other_day(match: re.Match[str], frame: _Frame) -> None:
    """A day that is told by something else ("the Monday before Christmas"), or no one day ("every Friday")."""


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


# -- counted from today --------------------------------------------------------------------------------------------


_HOUR: Mapping[Language, str] = {
    "en": r"(?:\d[\d:.]*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon|half|quarter)\b",
    "es": r"(?:\d[\d:.]*|una|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce)\b",
}
_TIME_FOLLOWS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(rf"[ ,]*(?:at|around|about) {_HOUR['en']}"),
    "es": re.compile(rf"[ ,]*(?:a|sobre) las? {_HOUR['es']}"),
}
"""What makes a day that may be said in passing ("how are you today") the day that is meant ("tonight at seven")."""
_TIME_BEFORE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(rf"\bat {_HOUR['en']}(?: (?:\w+|[ap]\.?m\.?|o'clock))? $"),
    "es": re.compile(rf"\ba las? {_HOUR['es']}(?: y \w+)? (?:de )?$"),
}


def _relative(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    words = _group(match, "relative")
    days = date_words.RELATIVE_DAYS[frame.language][words] + (_WEEK_DAYS if _group(match, "week") else 0)
    beside_a_time = _TIME_FOLLOWS[frame.language].match(frame.heard.flat, match.end())
    beside_a_time = beside_a_time or _TIME_BEFORE[frame.language].search(frame.heard.flat, 0, match.start())
    explicit = words not in date_words.SAID_IN_PASSING or bool(_group(match, "on")) or beside_a_time is not None
    return _said(match, DateSaid(frame.today + timedelta(days=days), explicit=explicit), SURE)


def _distance(match: re.Match[str], frame: _Frame) -> Found[DateSaid] | None:
    """'In three days', 'two weeks from tomorrow', 'hace tres meses'."""
    count, unit = _group(match, "count"), _group(match, "unit")
    if _MORE_BEFORE.search(frame.heard.flat, 0, match.start()):
        return None
    number = int(count) if count.isdigit() else date_words.counts(frame.language)[count]
    days, months = date_words.UNITS[frame.language][unit]
    sign = -1 if _group(match, "ago") else 1
    start = frame.today + timedelta(days=date_words.RELATIVE_DAYS[frame.language].get(_group(match, "start"), 0))
    found = _moved(start, sign * number * days, sign * number * months)
    return _said(match, DateSaid(found), LIKELY if months else SURE) if found else None


def _moved(start: date, days: int, months: int) -> date | None:
    place = start.year * 12 + start.month - 1 + months
    try:
        first = date(place // 12, place % 12 + 1, 1)
        length = ((first + timedelta(days=31)).replace(day=1) - first).days
        return first.replace(day=min(start.day, length)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None  # Beyond the calendar.


_MAKERS: Mapping[date_words.Kind, _Maker] = {
    "day_and_month": _day_and_month,
    "numeric": _numeric,
    "iso": _iso,
    "weekday_and_day": _weekday_and_day,
    "day_only": _day_only,
    "day_of_next_month": _day_of_next_month,
    "weekday": _weekday,
    "this_weekday": _this_weekday,
    "next_weekday": _next_weekday,
    "last_weekday": _last_weekday,
    "weekday_of_next_week": _weekday_of_next_week,
    "week_from_weekday": _week_from_weekday,
    "relative": _relative,
    "distance": _distance,
    "month_in_figures": _month_in_figures,
    "nth_weekday": _nth_weekday,
    "week_after_next": _week_after_next,
    "other_day": _other_day,
}


# -- type date -----------------------------------------------------------------------------------------------------


def read_date(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """A date, not a bound ("after Tuesday"). Unasked, no 'today' in passing and no 'the third'; one that need not lie
    ahead only with its year."""
    found = []
    for one in dates_said(heard, context.today, ahead=variable.ahead):
        one = one if variable.ahead else _with_its_year(one, heard, context.today)
        if not context.asked and not (one.value.explicit if variable.ahead else one.value.whole):
            continue
        if variable.ahead and (one.value.day < context.today or one.value.bound != "on"):
            continue
        found.append(Found(one.value.day.isoformat(), one.start, one.end, one.confidence))
    return settle(found, heard)


def _with_its_year(one: Found[DateSaid], heard: Heard, today: date) -> Found[DateSaid]:
    """A date gone by with the year that is said apart from it ("In 1990, on the 3rd of May", "July 4th, 82"), or
    instead of its own ("May 3rd, 1990, no, 1991")."""
    said = one.value
    if said.weekday is not None or said.day_of_month is not None:
        return one
    short = _SHORT_YEAR_AFTER.match(heard.flat, one.end)
    apart_from_it = [match for match in _YEAR.finditer(heard.flat) if not one.start <= match.start() < one.end]
    if said.whole and not (apart_from_it and goes_on_from_another(heard, apart_from_it[-1].start())):
        return one
    if said.whole or len(apart_from_it) == 1:
        year = int(apart_from_it[-1][0])
    elif short is not None and not apart_from_it:
        year = today.year // 100 * 100 + int(short["year"])
        year = year if year <= today.year else year - 100
    else:
        return one
    whole = _date(year, said.day.month, said.day.day)
    return replace(one, value=DateSaid(whole, whole=True), confidence=LIKELY) if whole else one


def spoken_date(variable: Variable, value: str, language: Language, today: date) -> str:
    """'2026-12-01' -> 'Tuesday, the first of December'; with the year instead of the weekday if it would not be taken
    for granted. Raises ValueError if it is no date."""
    day = _canonical_day(value)
    named = _named_day(day, language)
    if nearest(today, day.month, day.day, ahead=variable.ahead) == day and not (day.month == 2 and day.day == 29):
        return _with_weekday(day, named, language)
    year = date_words.year_in_words(day.year, language)
    return f"the {named}, {year}" if language == "en" else f"el {named} de {year}"


def spoken_day(value: str, language: Language, today: date) -> str:
    """A date near today by its weekday alone ('Tuesday'), one further off in full; for appointments on offer."""
    day = _canonical_day(value)
    if 0 < (day - today).days < _WEEK_DAYS:
        return weekday_name(day, language) if language == "en" else f"el {weekday_name(day, language)}"
    return spoken_date(Variable(type="date"), value, language, today)


def _canonical_day(value: str) -> date:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII) is None:
        raise ValueError(f"expected a date such as '2026-12-01', got {value!r}; give the canonical value")
    return date.fromisoformat(value)


def _named_day(day: date, language: Language) -> str:
    month = date_words.MONTHS[language][day.month - 1]
    if language == "en":
        return f"{date_words.ordinal_en(day.day)} of {month.capitalize()}"
    return f"{cardinal_words(day.day, 'es')} de {month}"


def _with_weekday(day: date, named: str, language: Language) -> str:
    name = weekday_name(day, language)
    return f"{name}, the {named}" if language == "en" else f"el {name}, {named}"


def weekday_name(day: date, language: Language) -> str:
    name = date_words.WEEKDAYS[language][day.weekday()]
    return name.capitalize() if language == "en" else name
