"""Times of day: "half past two", "10:30 a.m.", "las dos y media", "after three"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from pipeline.slots.numbers import cardinal_words, number_words
from pipeline.slots.spans import DAY_MIN, Span
from pipeline.slots.types import DOUBTFUL, LIKELY, SURE, UNSURE, Found, Language, ReadingContext
from pipeline.slots.wording import Heard, core, fold, goes_on_from_another, one_of, overlaps, phrase, settle

Part = Literal["morning", "noon", "afternoon", "evening", "night"]
Bound = Literal["at", "after", "before"]
Mark = Literal["plain", "likely", "bare"]
"""How sure it is that a time is meant: 'plain' ("at ten", "10:30", "half past two"), 'likely' ("las dos", "ten
thirty"), 'bare' ("ten")."""

OFFICE_HOURS = range(7, 19)
"""Where a time lies whose half of the day is not said, and whose variable says nothing of that."""

_PARTS: Mapping[Part, range] = {
    "morning": range(12 * 60),
    "noon": range(12 * 60, 16 * 60),
    "afternoon": range(12 * 60, 18 * 60),
    "evening": range(17 * 60, DAY_MIN),
    "night": range(18 * 60, DAY_MIN),
}
"""Minutes after midnight."""
_PART_WORDS: Mapping[Language, Mapping[Part, re.Pattern[str]]] = {
    "en": {
        "morning": phrase(r"mornings?|before noon|before lunch"),
        "afternoon": phrase(r"afternoons?|after lunch"),
        "evening": phrase(r"evenings?|tonight"),
        "night": phrase(r"(?:at|in the) night"),
    },
    "es": {
        "morning": phrase(r"(?:por|en|de|a) la manana|esta manana|las mananas|madrugada"),
        "noon": phrase(r"(?:del|al|a) mediodia"),
        "afternoon": phrase(r"(?<!mas.)tardes?"),
        "night": phrase(r"noche"),
    },
}
_ONES: Mapping[Language, frozenset[str]] = {"en": frozenset({"one"}), "es": frozenset({"una", "uno", "un"})}
_COUNTED: Mapping[Language, str] = {
    "en": "people|persons|guests|adults|kids|children|days?|weeks?|months?|years?|dollars?|cents?|percent|minutes?"
    "|more|of us|o'clocks|ones?|times|street|avenue|road",
    "es": "personas|ninos|adultos|dias?|semanas?|mes|meses|anos?|dolares|pesos|euros|minutos?|veces|mas|de nosotros",
}


@dataclass(frozen=True, slots=True)
class TimeSaid:
    """A time of day as it was said."""

    minutes: tuple[int, ...]
    """Minutes after midnight that it may mean, the likeliest first."""
    bound: Bound = "at"
    mark: Mark = "plain"

    def fits(self, minute: int) -> bool:
        """Whether a time, in minutes after midnight, agrees with it."""
        if self.bound == "after":
            return minute >= self.minutes[0]
        if self.bound == "before":
            return minute < self.minutes[0]
        return minute in self.minutes


def fits_part(part: Part, minute: int) -> bool:
    """Whether a time, in minutes after midnight, is in that part of the day."""
    return minute in _PARTS[part]


def in_part(part: Part, minute: int) -> int | None:
    """The same time by a clock of twelve hours in that part of the day; None if it never is in it."""
    if fits_part(part, minute):
        return minute
    moved = (minute + DAY_MIN // 2) % DAY_MIN
    # "In the afternoon" of seven is an evening's, strictly, and no morning's.
    late = part != "morning" and moved >= DAY_MIN // 2 > minute
    return moved if late or fits_part(part, moved) else None


def part_of_day(heard: Heard) -> Part | None:
    """The one part of the day that is asked for; None if none is, or several are."""
    named = settle(parts_named(heard), heard)
    return named.value if named else None


def parts_named(heard: Heard) -> list[Found[Part]]:
    """Every part of the day that is named, in the order of the utterance."""
    found = [
        Found(part, match.start(), match.end())
        for part, pattern in _PART_WORDS[heard.language].items()
        for match in pattern.finditer(heard.flat)
    ]
    return sorted(found, key=lambda one: one.start)


@lru_cache(maxsize=2)
def _hours(language: Language) -> Mapping[str, int]:
    hours = {_plain(cardinal_words(hour, language)): hour for hour in range(24)}
    return {**hours, "una": 1} if language == "es" else hours


@lru_cache(maxsize=2)
def _minutes(language: Language) -> Mapping[str, int]:
    words = {_plain(cardinal_words(minute, language)): minute for minute in range(10, 60)}
    zeros = ("oh", "o", "zero") if language == "en" else ("cero",)
    words |= {f"{zero} {cardinal_words(one, language)}": one for zero in zeros for one in range(1, 10)}
    return words


@lru_cache(maxsize=1)
def _joined_minutes_es() -> Mapping[str, int]:
    """What follows 'y' or 'menos'."""
    ones = {_plain(cardinal_words(one, "es")): one for one in range(1, 10)}
    return {**ones, **_minutes("es"), "media": 30, "cuarto": 15, "un cuarto": 15}


def _plain(words: str) -> str:
    return fold(words).replace("-", " ")


_COUNTS_EN: Mapping[str, int] = {
    "a quarter": 15,
    "quarter": 15,
    "half": 30,
    **{cardinal_words(count, "en").replace("-", " "): count for count in range(1, 30)},
}
_ODD_COUNTS_EN = tuple(words for words, minutes in _COUNTS_EN.items() if minutes % 5)
"""'Two to four' is a stretch of time, 'two minutes to four' and 'two past four' are none."""
NAMED_STREET = re.compile(
    r" (?:[A-Z][a-z]+ ){1,2}(?:Street|St|Avenue|Ave|Road|Rd|Drive|Lane|Court|Boulevard|Way|Place|Circle|Terrace)\b"
)
"""'At 5 Main Street': figures before a name are an address."""
_COUNTS_GUESTS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:tables? for|party of|group of|room for|reservation for|number)\s$"),
    "es": re.compile(r"\b(?:mesa para|grupo de|numero)\s$"),
}
_NOT_BEFORE = r"(?<![\d$€£.,:/+#\-])"
_NOT_AFTER = r"(?![%/]|[.,:\-]\d|(?:st|nd|rd|th)\b)"


@lru_cache(maxsize=2)
def _pattern(language: Language) -> re.Pattern[str]:
    half = r"a\.?\s?m\b\.?|p\.?\s?m\b\.?"
    hours, minutes = one_of(_hours(language)), one_of(_minutes(language))
    if language == "en":
        return phrase(
            r"(?:(?P<at>at|around|about|@) )?(?:the )?"
            rf"(?:(?!(?:{one_of(_ODD_COUNTS_EN)}|[1-5]?[1-46-9]) (?:to|till|before))"
            rf"(?P<count>{one_of(_COUNTS_EN)}|[1-5]?\d)(?P<counted> min(?:ute)?s?)?"
            r" (?P<way>past|after|to|till|before) )?"
            rf"{_NOT_BEFORE}(?:(?P<packed>\d{{3,4}})|(?P<hour>\d{{1,2}}|{hours}))"
            rf"(?:[:.](?P<figures>[0-5]\d)(?!\d)|\s(?P<spaced>[0-5]\d)(?!\d)| (?P<words>{minutes}))?"
            r"(?P<clock> o'?\s?clock| hundred(?: hours)?| sharp| on the dot)?"
            rf"(?:[\s,]*(?P<half>{half}|in the (?:morning|afternoon|evening|night|a\.?\s?m\b\.?)|at night))?"
            rf"{_NOT_AFTER}"
        )
    joined = one_of(_joined_minutes_es())
    part = r"(?:de la|por la|en la) (?:manana|tarde|noche|madrugada)|(?:del|de|al) mediodia"
    return phrase(
        r"(?:(?P<at>a|sobre|hacia|como a|desde) (?=las?\s))?"
        rf"(?:(?P<to>{joined}|[1-5]?\d)(?: minutos)? para )?(?:(?P<article>las?) )?"
        rf"{_NOT_BEFORE}(?:(?P<packed>\d{{3,4}})|(?P<hour>\d{{1,2}}|{hours}))"
        r"(?:\s?(?::|\.|h)\s?(?P<figures>[0-5]\d)(?!\d)|\s(?P<spaced>[0-5]\d)(?!\d)"
        rf"| (?:y|con) (?P<joined>{joined}|[0-5]?\d)(?: minutos)?| menos (?P<less>{joined}|[0-5]?\d)(?: minutos)?"
        rf"| (?P<words>{minutes}))?"
        r"(?P<clock> en punto|\s?h(?:oras?|s)?\b)?"
        rf"(?:[\s,]*(?P<half>{half}|{part}))?{_NOT_AFTER}"
    )


_FROM_NAMED_EN = rf"(?:(?P<count>{one_of(_COUNTS_EN)})(?: minutes?)? (?P<way>past|after|to|till|before) )?"
_NAMED: Mapping[Language, Mapping[int, re.Pattern[str]]] = {
    "en": {
        12 * 60: phrase(rf"{_FROM_NAMED_EN}(?:at |around |12 |twelve )?(?:noon|midday)"),
        0: phrase(rf"{_FROM_NAMED_EN}(?:at )?midnight"),
    },
    "es": {12 * 60: phrase(r"(?<!del\s)(?<!de\s)(?:a |al )?medio(?: )?dia"), 0: phrase(r"(?:a |la )?medianoche")},
}
_AFTER: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:after|from|past|later than|any time after|between|starting(?: at)?|not before|no earlier than"
        r"|not earlier than)\s$"
    ),
    "es": re.compile(r"\b(?:despues de|a partir de|desde|pasadas|entre|mas tarde de|no antes de)\s$"),
}
_BEFORE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:before|until|till|earlier than|(?:no|not) later than|not after)\s$"),
    "es": re.compile(r"\b(?:antes de|hasta|no mas tarde de)\s$"),
}
_TO: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"^\s(?:and|to|till|until)\s$"),
    "es": re.compile(r"^\s(?:y|a|hasta)\s$"),
}

_GONE_BY: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\bsince(?: about| around)?\s$"),
    "es": re.compile(r"\b(?:lleva|llevo|hace)\b.*\bdesde\s$"),
}
_NOT_BETWEEN: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:not|except|but) (?:between|from)\s$"),
    "es": re.compile(r"\b(?:no|menos|salvo|excepto) entre\s$"),
}


def times_said(heard: Heard, taken: Iterable[Found[object]] = ()) -> list[Found[TimeSaid]]:
    """Every time of day, in the order of the utterance, but where something else (a date) was found already."""
    taken = list(taken)
    found = [
        Found(TimeSaid(((minute + _from_named(match)) % DAY_MIN,)), match.start(), match.end())
        for minute, pattern in _NAMED[heard.language].items()
        for match in pattern.finditer(heard.flat)
    ]
    for match in _pattern(heard.language).finditer(heard.flat):
        said = _said_en(match, heard) if heard.language == "en" else _said_es(match, heard)
        if said is not None and not overlaps(said, [*taken, *found]):
            found.append(said)
    return _bounded(sorted(found, key=lambda one: one.start), heard)


def _from_named(match: re.Match[str]) -> int:
    """Minutes before or after noon or midnight."""
    count = match.groupdict().get("count")
    if count is None:
        return 0
    minutes = _COUNTS_EN[_gaps(count)]
    return minutes if match["way"] in ("past", "after") else -minutes


def _bounded(found: list[Found[TimeSaid]], heard: Heard) -> list[Found[TimeSaid]]:
    """With the bounds that the words before them set ('after three', 'between two and four'); without what has gone by
    ('since ten') and stretches that are excepted ('not between twelve and one')."""
    bounded: list[Found[TimeSaid]] = []
    excluded: Found[TimeSaid] | None = None
    for one in found:
        before = heard.flat[: one.start]
        if _GONE_BY[heard.language].search(before) or _NOT_BETWEEN[heard.language].search(before):
            excluded = one
            continue
        if excluded is not None and _TO[heard.language].search(heard.flat[excluded.end : one.start]):
            continue
        bound: Bound = "at"
        if _AFTER[heard.language].search(before):
            bound = "after"
        elif _BEFORE[heard.language].search(before) or (
            bounded
            and bounded[-1].value.bound == "after"
            and _TO[heard.language].search(heard.flat[bounded[-1].end : one.start])
        ):
            bound = "before"
        mark = "plain" if bound != "at" and one.value.mark == "likely" else one.value.mark
        bounded.append(Found(TimeSaid(one.value.minutes, bound, mark), one.start, one.end, one.confidence))
    return bounded


def _said_en(match: re.Match[str], heard: Heard) -> Found[TimeSaid] | None:
    hour, minute = _hour(match, "en")
    confidence = SURE
    if match["count"]:
        count = match["count"]
        minute = int(count) if count.isdigit() else _COUNTS_EN[_gaps(count)]
        if match["way"] in ("to", "till", "before"):
            minute = -minute
            # "Five to six" may be a stretch of time.
            confidence = SURE if match["counted"] or "quarter" in count else DOUBTFUL
        elif not match["counted"] and count.isdigit():
            confidence = UNSURE
    elif match["words"]:
        minute = _minutes("en")[_gaps(match["words"])]
    elif match["figures"] or match["spaced"]:
        minute = int(match["figures"] or match["spaced"])
    half = re.sub(r"[.\s]", "", match["half"] or "")
    plain = bool(match["at"] or match["count"] or match["figures"] or match["clock"] or half)
    mark: Mark = "plain" if plain else "likely" if match["words"] or match["spaced"] else "bare"
    start = match.start("at") if match["at"] else match.start()
    if hour > 23 or minute > 59 or _is_other_number(match, mark, heard):
        return None
    half_before = re.search(r"\bhalf\s$", heard.flat[: match.start()])
    if half_before and not match["count"]:
        minute, mark, confidence, start = minute + 30, "plain", DOUBTFUL, half_before.start()
    return _found(hour, minute, _part_en(half), mark, match, heard, start, confidence)


def _hour(match: re.Match[str], language: Language) -> tuple[int, int]:
    """The hour, and the minute if both are one figure ('1030')."""
    if match["packed"] and int(match["packed"]) % 5 == 0:
        return int(match["packed"][:-2]), int(match["packed"][-2:])
    words = match["hour"] or match["packed"]
    return (int(words) if words.isdigit() else _hours(language)[_gaps(words)]), 0


def _part_en(half: str) -> Part | Literal["am", "pm"] | None:
    if half in ("am", "pm", "intheam"):
        return "pm" if half == "pm" else "am"
    for part in ("morning", "afternoon", "evening"):
        if half.endswith(part):
            return part
    return "night" if half else None


def _said_es(match: re.Match[str], heard: Heard) -> Found[TimeSaid] | None:
    hour, minute = _hour(match, "es")
    if match["joined"]:
        minute = _minute_es(match["joined"])
    elif match["words"]:
        minute = _minutes("es")[_gaps(match["words"])]
    elif match["figures"] or match["spaced"]:
        minute = int(match["figures"] or match["spaced"])
    if match["less"] or match["to"]:
        minute = -_minute_es(match["less"] or match["to"])
    half = re.sub(r"[.\s]", "", match["half"] or "")
    telling = bool(match["figures"] or match["joined"] or match["less"] or match["to"] or match["clock"] or half)
    mark: Mark = "plain" if telling or match["at"] else "likely" if match["article"] or match["words"] else "bare"
    if hour > 23 or abs(minute) > 59 or _is_other_number(match, mark, heard):
        return None
    if (
        match["joined"]
        and not match["article"]
        and match["joined"] not in ("media", "cuarto", "un cuarto")
        and not half
    ):
        mark = "bare"
    return _found(hour, minute, _part_es(half), mark, match, heard, match.start(), SURE)


def _part_es(half: str) -> Part | Literal["am", "pm"] | None:
    parts: Mapping[str, Part | Literal["am", "pm"]] = {
        "am": "am",
        "pm": "pm",
        "manana": "morning",
        "madrugada": "am",
        "tarde": "afternoon",
        "noche": "night",
        "mediodia": "noon",
    }
    return next((part for word, part in parts.items() if half.endswith(word)), None)


def _minute_es(words: str) -> int:
    return int(words) if words.isdigit() else _joined_minutes_es()[_gaps(words)]


def _gaps(words: str) -> str:
    return re.sub(r"[\s,\-]+", " ", words)


@lru_cache(maxsize=2)
def _other_number(language: Language) -> tuple[re.Pattern[str], re.Pattern[str]]:
    numbers = one_of(number_words(language)) + "|double|triple|doble"
    after = re.compile(rf"^[\s\-]*(?:(?:y )?(?:{numbers})\b|\d)|^\s?(?:{_COUNTED[language]})\b")
    before = re.compile(rf"(?:\b(?:{numbers})(?: y)?|\d|#|\bnumber|\bnumero|\boption|\bopcion)[\s\-]*$")
    return before, after


def _is_other_number(match: re.Match[str], mark: Mark, heard: Heard) -> bool:
    """Whether the number counts something else, or is part of a longer one."""
    before, after = _other_number(heard.language)
    following = heard.flat[match.end() :]
    if match["hour"] in _ONES[heard.language] and mark == "bare" and core(heard) != match.span():
        return True
    if after.search(following) and not match["half"] and not match["clock"]:
        return True
    if mark == "plain" and not match["at"]:
        return False
    if mark != "plain" and _COUNTS_GUESTS[heard.language].search(heard.flat, 0, match.start()):
        return True
    if match["at"]:
        # "A table for eight at six": the number before it counts something else.
        return NAMED_STREET.match(heard.text[match.end() :]) is not None
    street = NAMED_STREET.match(heard.text[match.end() :]) is not None
    return street or before.search(heard.flat[: match.start()]) is not None


def _found(
    hour: int,
    minute: int,
    part: Part | Literal["am", "pm"] | None,
    mark: Mark,
    match: re.Match[str],
    heard: Heard,
    start: int,
    confidence: float,
) -> Found[TimeSaid] | None:
    # "Quarter to twelve in the morning" is before noon, not before midnight.
    hours = (12,) if hour == 12 and minute < 0 and part in ("am", "morning") else _hours_meant(hour, part)
    if not hours:
        return None
    written = (match["hour"] or "").startswith("0") or (match["packed"] or "").startswith("0")
    if written and part is None:
        hours = (hour,)
    minutes = tuple((each * 60 + minute) % DAY_MIN for each in hours)
    if len(minutes) > 1:
        elsewhere = part_of_day(heard)
        if elsewhere is not None:
            kept = tuple(each for each in minutes if fits_part(elsewhere, each))
            # "This afternoon at seven" is an evening's, strictly, and no morning's.
            minutes = kept or tuple(each for each in minutes if (each < DAY_MIN // 2) == (elsewhere == "morning"))
    if len(minutes) > 1:
        minutes = tuple(sorted(minutes, key=lambda each: each // 60 not in OFFICE_HOURS))
        confidence = min(confidence, UNSURE)
    end = match.end()
    return Found(TimeSaid(minutes, "at", mark), start, end, confidence)


def _hours_meant(hour: int, part: Part | Literal["am", "pm"] | None) -> tuple[int, ...]:
    if hour > 12 or hour == 0:
        return () if part in ("am", "morning") and hour > 12 else (hour,)
    early, late = hour % 12, hour % 12 + 12
    match part:
        case None:
            return (early, late)
        case "am" | "morning":
            return (early,)
        case "night":
            return (early,) if hour == 12 or hour < 6 else (late,)
        case "noon" | "pm" | "afternoon" | "evening":
            return (late,)


def clock(minute: int) -> str:
    """Minutes after midnight as HH:MM."""
    return f"{minute // 60:02}:{minute % 60:02}"


def within(found: Found[TimeSaid], window: tuple[Span, ...]) -> Found[TimeSaid]:
    """With the meaning first that lies in the window; the end of a span is nearer to it than what is outside."""

    def outside(minute: int) -> int:
        minutes = (minute, minute + DAY_MIN)
        if any(span.holds(each) for span in window for each in minutes):
            return 0
        return 1 if any(span.end in minutes for span in window) else 2

    minutes = found.value.minutes
    if len(minutes) < 2 or not window:
        return found
    ranked = tuple(sorted(minutes, key=outside))
    decides = outside(ranked[0]) < outside(ranked[1]) and found.confidence >= UNSURE
    confidence = LIKELY if decides else found.confidence
    return replace(found, value=replace(found.value, minutes=ranked), confidence=confidence)


def read_time(heard: Heard, context: ReadingContext, taken: Iterable[Found[object]] = ()) -> Found[str] | None:
    """A time of day, not a bound ("after three"). A bare number only if asked for; `taken`: dates found already."""
    said = [within(one, context.window) for one in times_said(heard, taken) if one.value.bound == "at"]
    best: Mark = "plain"
    if context.asked and not any(one.value.mark == "plain" for one in said):
        best = "likely" if any(one.value.mark == "likely" for one in said) else "bare"
    return settle(
        [
            Found(clock(one.value.minutes[0]), one.start, one.end, one.confidence)
            for one in said
            if one.value.mark == best
            or (context.asked and (one.value.mark != "bare" or goes_on_from_another(heard, one.start)))
        ],
        heard,
    )


def spoken_time(value: str, language: Language) -> str:
    """'14:30' -> 'two thirty in the afternoon', 'las dos y media de la tarde'. Raises ValueError if it is no time."""
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value, re.ASCII)
    if match is None:
        raise ValueError(f"expected a time such as '14:30', got {value!r}; give the canonical value")
    words, part = clock_words(int(match[1]) * 60 + int(match[2]), language)
    return f"{words} {part}".rstrip()


def clock_words(minute: int, language: Language) -> tuple[str, str]:
    """Minutes after midnight by a clock of twelve hours, and the part of the day: 'two thirty', 'in the afternoon'."""
    return _clock_en(*divmod(minute, 60)) if language == "en" else _clock_es(*divmod(minute, 60))


def _clock_en(hour: int, minute: int) -> tuple[str, str]:
    if minute == 0 and hour in (0, 12):
        return "noon" if hour else "midnight", ""
    half = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    words = cardinal_words((hour - 1) % 12 + 1, "en")
    if minute:
        words += f" {cardinal_words(minute, 'en')}" if minute >= 10 else f" oh {cardinal_words(minute, 'en')}"
    return words, half


def _clock_es(hour: int, minute: int) -> tuple[str, str]:
    if minute == 0 and hour in (0, 12):
        return "el mediodía" if hour else "la medianoche", ""
    name = "la una" if hour % 12 == 1 else f"las {cardinal_words((hour - 1) % 12 + 1, 'es')}"
    past = {0: "", 15: " y cuarto", 30: " y media"}.get(minute, f" y {cardinal_words(minute, 'es')}")
    part = (
        "de la madrugada"
        if hour < 6
        else "de la mañana"
        if hour < 12
        else "del mediodía"
        if hour == 12
        else "de la tarde"
        if hour < 20
        else "de la noche"
    )
    return f"{name}{past}", part
