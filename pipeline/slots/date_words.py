"""The words of dates in each language, and the patterns that they come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from re import Pattern
from typing import Literal

from num2words import num2words

from pipeline.slots.numbers import cardinal_words
from pipeline.slots.types import Language
from pipeline.slots.wording import fold, one_of, phrase

Kind = Literal[
    "day_and_month",
    "numeric",
    "iso",
    "weekday_and_day",
    "day_only",
    "day_of_next_month",
    "weekday",
    "this_weekday",
    "next_weekday",
    "last_weekday",
    "weekday_of_next_week",
    "week_from_weekday",
    "relative",
    "distance",
    "month_in_figures",
    "nth_weekday",
    "week_after_next",
    "other_day",
]

WEEKDAYS: Mapping[Language, tuple[str, ...]] = {
    "en": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
MONTHS: Mapping[Language, tuple[str, ...]] = {
    "en": tuple("january february march april may june july august september october november december".split()),
    "es": tuple("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()),
}
RELATIVE_DAYS: Mapping[Language, Mapping[str, int]] = {
    "en": {
        "today": 0,
        "tonight": 0,
        "this morning": 0,
        "this afternoon": 0,
        "this evening": 0,
        "now": 0,
        "tomorrow": 1,
        "the day after tomorrow": 2,
        "day after tomorrow": 2,
        "yesterday": -1,
        "the day before yesterday": -2,
        "day before yesterday": -2,
    },
    "es": {
        "hoy": 0,
        "hoy mismo": 0,
        "esta manana": 0,
        "esta tarde": 0,
        "esta noche": 0,
        "manana": 1,
        "pasado manana": 2,
        "de hoy en ocho": 7,
        "de manana en ocho": 8,
        "de hoy en quince": 14,
        "ayer": -1,
        "anteayer": -2,
        "antier": -2,
    },
}
SAID_IN_PASSING = frozenset({"today", "hoy", "now", "yesterday", "ayer", "tonight", "esta noche"})
UNITS: Mapping[Language, Mapping[str, tuple[int, int]]] = {
    "en": {"day": (1, 0), "days": (1, 0), "week": (7, 0), "weeks": (7, 0), "month": (0, 1), "months": (0, 1)}
    | {"fortnight": (14, 0), "year": (0, 12), "years": (0, 12)},
    "es": {"dia": (1, 0), "dias": (1, 0), "semana": (7, 0), "semanas": (7, 0), "mes": (0, 1), "meses": (0, 1)}
    | {"ano": (0, 12), "anos": (0, 12)},
}
"""Each in (days, months)."""
PLACES: Mapping[Language, Mapping[str, int]] = {
    "en": {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1},
    "es": {"primer": 0, "primero": 0, "segundo": 1, "tercer": 2, "tercero": 2, "cuarto": 3, "ultimo": -1},
}
"""Which of a month's Mondays."""
BOUNDS: Mapping[Language, Mapping[Literal["after", "before"], Pattern[str]]] = {
    "en": {
        "after": re.compile(r"\b(?:after|later than|from|starting(?: on)?|(?:the )?week of)\s(?:the\s)?$"),
        "before": re.compile(r"\b(?:before|earlier than|until|till)\s(?:the\s)?$"),
    },
    "es": {
        "after": re.compile(r"\b(?:despues (?:de|del)|a partir (?:de|del)|desde|la semana (?:de|del))\s(?:el\s)?$"),
        "before": re.compile(r"\b(?:antes (?:de|del)|hasta)\s(?:el\s)?$"),
    },
}
"""What, right before a date, makes it the limit of a stretch of time."""
GONE_BY: Mapping[Language, Pattern[str]] = {
    "en": re.compile(r"\bsince\s(?:about\s|last\s|the\s)?$"),
    "es": re.compile(r"\b(?:lleva|llevo|hace)\b.*\bdesde\s(?:el\s)?$"),
}
"""What, right before a date, says that it has gone by."""
OFFSETS: Mapping[Language, Mapping[Literal["after", "before"], str]] = {
    "en": {"after": "after", "before": "before"},
    "es": {"after": "despues (?:de|del)", "before": "antes (?:de|del)"},
}
"""What, between a count of days or weeks and a date, moves the date by them ("two days after Friday")."""
_YEARS = range(1900, 2100)
_SHORT_YEARS = range(30, 100)
"""Years said by their last two digits that can hardly be anything else."""
_MOST_COUNTED = 31


def _flat(words: str) -> str:
    return fold(words).replace("-", " ")


def ordinal_en(day: int) -> str:
    """3 -> 'third'."""
    return str(num2words(day, to="ordinal"))


def year_in_words(year: int, language: Language) -> str:
    return str(num2words(year, to="year")) if language == "en" else cardinal_words(year, "es")


@lru_cache(maxsize=2)
def weekday_words(language: Language) -> Mapping[str, int]:
    return {_flat(name): place for place, name in enumerate(WEEKDAYS[language])}


@lru_cache(maxsize=2)
def month_words(language: Language) -> Mapping[str, int]:
    names = {_flat(name): place for place, name in enumerate(MONTHS[language], start=1)}
    short = {name[:3]: place for name, place in names.items() if language == "en" or name[:3] != "mar"}
    return {**short, **names, **({"sept": 9} if language == "en" else {"setiembre": 9})}


@lru_cache(maxsize=2)
def ordinal_words(language: Language) -> Mapping[str, int]:
    if language == "es":
        return {"primero": 1}
    return {_flat(ordinal_en(day)): day for day in range(1, 32)}


@lru_cache(maxsize=2)
def day_words(language: Language) -> Mapping[str, int]:
    """Days of the month, as ordinals and as cardinals."""
    return {_flat(cardinal_words(day, language)): day for day in range(1, 32)} | dict(ordinal_words(language))


_MONTHS_COUNTED: Mapping[str, int] = {_flat(ordinal_en(month)): month for month in range(1, 13)}
_MONTHS_COUNTED_ES: Mapping[str, int] = {_flat(cardinal_words(month, "es")): month for month in range(1, 13)}


def month_number(words: str) -> int:
    """A month said by its number: 'seventh', '7', '7th', 'siete'."""
    figures = re.match(r"\d+", words)
    return int(figures[0]) if figures else {**_MONTHS_COUNTED, **_MONTHS_COUNTED_ES}[words]


@lru_cache(maxsize=2)
def year_words(language: Language) -> Mapping[str, int]:
    words = {_flat(year_in_words(year, language)): year for year in _YEARS}
    if language == "en":
        words |= {
            f"nineteen {between}{_flat(cardinal_words(year - 1900, 'en'))}": year
            for year in range(1901, 2000)
            for between in ("hundred ", "hundred and ", *(("zero ",) if year < 1910 else ()))
        }
        words |= {said.replace(" and ", " "): year for said, year in words.items()}
        words |= {_flat(cardinal_words(year, "en")): year for year in range(2000, 2100)}
        words |= {_flat(cardinal_words(year, "en")).replace(" and ", " "): year for year in range(2000, 2100)}
    return words


@lru_cache(maxsize=2)
def short_year_words(language: Language) -> Mapping[str, int]:
    return {_flat(cardinal_words(year, language)): year for year in _SHORT_YEARS}


@lru_cache(maxsize=2)
def counts(language: Language) -> Mapping[str, int]:
    words = {_flat(cardinal_words(count, language)): count for count in range(1, _MOST_COUNTED + 1)}
    if language == "en":
        return words | {"a": 1, "a couple of": 2, "a couple": 2}
    return words | {"un": 1, "una": 1, "un par de": 2}


@lru_cache(maxsize=2)
def offsets(language: Language) -> Mapping[Literal["after", "before"], Pattern[str]]:
    """What moves the date right after it."""
    count = rf"(?P<count>the|el|la|\d{{1,2}}|{one_of(counts(language))})\s(?P<unit>{one_of(UNITS[language])})"
    return {way: re.compile(rf"\b{count}\s{words}\s(?:the\s|el\s)?$") for way, words in OFFSETS[language].items()}


@lru_cache(maxsize=2)
def patterns(language: Language) -> Mapping[Kind, tuple[Pattern[str], ...]]:
    """The patterns of each kind of date, for folded text."""
    iso = phrase(r"(?<![\d\-])(?P<year>(?:19|20)\d{2})[\-/](?P<month>\d{2})[\-/](?P<day>\d{2})(?![\-/\d])")
    lead = r"(?:(?:on|for) )?" if language == "en" else r"(?:para )?(?:el )?(?:dia )?"
    numeric = phrase(
        rf"{lead}(?<![\d/.\-$])(?P<first>\d{{1,2}})(?P<separator>[/.\-])(?P<second>\d{{1,2}})"
        r"(?:(?P=separator)(?P<year>(?:19|20)\d{2}|\d{2}))?(?![\d/\-])"
    )
    weekday = f"(?P<weekday>{one_of(weekday_words(language))})"
    month = f"(?P<month>{one_of(month_words(language))})"
    year = rf"(?P<year>(?:19|20)\d{{2}}|{one_of(year_words(language))})"
    short_year = rf"(?P<short_year>'\d{{2}}|{one_of(short_year_words(language))})"
    either_year = f"(?:{year}|{short_year})"
    relative = f"(?P<relative>{one_of(RELATIVE_DAYS[language])})"
    start = f"(?P<start>{one_of(RELATIVE_DAYS[language])})"
    place = rf"(?:(?:the|el|on) )*(?P<place>{one_of(PLACES[language])})"
    distance = rf"(?P<count>\d{{1,2}}|{one_of(counts(language))}) (?P<unit>{one_of(UNITS[language])})"
    words = one_of(day_words(language))
    if language == "en":
        ordinal = rf"(?P<day>\d{{1,2}}(?:st|nd|rd|th)|{one_of(ordinal_words('en'))})"
        day = rf"(?P<day>\d{{1,2}}(?:st|nd|rd|th)?|{words})"
        no_clock = (
            r"(?!\s?[:.]\d)(?! (?:am|pm|a\.m|p\.m|o'clock|people|of us|minutes))"
            + rf"(?! (?:of )?(?:{one_of(month_words(language))})\b)"
        )
        no_choice = r"(?! (?:one|option|time|opening|slot|available|choice|appointment|visit|thing))"
        return {
            "iso": (iso,),
            "numeric": (numeric,),
            "day_and_month": (
                phrase(rf"(?:{weekday} )?(?:the )?{day} (?:day )?(?:of )?{month}\.?(?: (?:of )?{either_year})?"),
                phrase(rf"(?:{weekday} )?{month}\.? (?:the )?{day}(?!\s?[:.]\d)(?: (?:of )?{either_year})?"),
            ),
            "weekday_and_day": (
                phrase(rf"{weekday} (?:the )?{ordinal}{no_choice}"),
                phrase(
                    rf"{weekday} (?:the (?P<day>{words})|(?:the )?(?P<figures>1[3-9]|2\d|3[01])){no_choice}{no_clock}"
                ),
            ),
            "month_in_figures": (
                phrase(
                    rf"(?:the )?{ordinal} of (?:the )?"
                    rf"(?P<month>(?:1[0-2]|[1-9])(?:st|nd|rd|th)?|{one_of(_MONTHS_COUNTED)})"
                    rf"(?: (?:of )?{either_year})?(?! (?:day|week|month|floor|of))"
                ),
            ),
            "nth_weekday": (
                phrase(rf"{place} {weekday} (?:of|in) (?:{month}|(?P<next>next month)|(?:the|this) month)"),
            ),
            "week_after_next": (
                phrase(rf"(?:on )?{weekday} (?:of |in )?(?:the )?week after next"),
                phrase(rf"(?:the )?week after next(?: on)? {weekday}"),
                phrase(rf"(?:on )?{weekday} not next week (?:but )?(?:in )?the week after"),
            ),
            "other_day": (
                phrase(rf"(?:the )?{weekday} (?:after next|before (?:last|christmas|easter|new year)|after(?! \w))"),
                phrase(rf"every (?:other )?{weekday}"),
                phrase(rf"{place} {weekday} (?:of|in|after|before)(?: the)?(?: next| this| new)? \w+"),
            ),
            "day_only": (
                phrase(rf"(?P<on>on|for) the (?P<day>1[3-9]|2\d|3[01]){no_choice}{no_clock}"),
                phrase(rf"(?:(?P<on>on|for) )?the {ordinal}{no_choice}"),
                phrase(r"(?P<day>\d{1,2}(?:st|nd|rd|th))" + no_choice),
            ),
            "day_of_next_month": (phrase(rf"(?:on )?(?:the )?{ordinal} of (?:next|(?P<this>this)) month"),),
            "weekday": (phrase(rf"(?:on )?{weekday}"),),
            "this_weekday": (
                phrase(rf"(?:this|this coming|coming|the coming) {weekday}"),
                phrase(rf"{weekday} this week"),
            ),
            "next_weekday": (phrase(rf"next {weekday}"),),
            "last_weekday": (phrase(rf"(?:last|this past) {weekday}"),),
            "weekday_of_next_week": (
                phrase(rf"(?:on )?{weekday} (?:of )?next week"),
                phrase(rf"next week(?: on)? {weekday}"),
            ),
            "week_from_weekday": (phrase(rf"a week (?:from|on)(?: this)? {weekday}"), phrase(rf"{weekday} week")),
            "relative": (phrase(rf"(?:(?P<on>for|on|by|until) )?{relative}(?P<week> week)?"),),
            "distance": (
                phrase(rf"(?:in|within) {distance}(?: time)?"),
                phrase(rf"{distance} from {start}"),
                phrase(rf"{distance} (?P<ago>ago)"),
            ),
        }
    day = rf"(?P<day>\d{{1,2}}(?:º|o)?|{words})"
    no_time = (
        r"(?!\s?[:.]\d)(?! (?:de la (?:manana|tarde|noche|madrugada)|y (?:media|cuarto)|menos|en punto|horas"
        r"|personas|dias|semanas|meses|opcion))"
    )
    following = r"(?:que viene|proximo|que sigue|siguiente)"
    next_week = r"(?:la semana que viene|la proxima semana|la otra semana|la semana proxima)"
    return {
        "iso": (iso,),
        "numeric": (numeric,),
        "day_and_month": (
            phrase(
                rf"(?:(?:el )?{weekday} (?:(?:el )?(?:dia )?)?)?(?:el )?(?:dia )?{day} (?:de )?{month}"
                rf"(?: (?:de |del )?(?:ano )?{either_year})?"
            ),
            phrase(rf"{month} {day}{no_time}"),
        ),
        "month_in_figures": (
            phrase(
                rf"(?:para )?(?:el )?(?:dia )?{day} del? (?P<month>1[0-2]|[1-9]|{one_of(_MONTHS_COUNTED_ES)})"
                rf"(?: (?:de |del )?(?:ano )?"
                rf"(?:{year}|(?P<short_year>'?\d{{2}}|{one_of(short_year_words(language))})))?"
                rf"{no_time}"
            ),
        ),
        "nth_weekday": (
            phrase(rf"{place} {weekday} (?:de|del) (?:{month}|(?P<next>(?:proximo mes|mes que viene))|(?:este )?mes)"),
        ),
        "week_after_next": (
            phrase(rf"(?:el )?{weekday} (?:de )?(?:dentro de|en) (?:dos|2) semanas"),
            phrase(rf"(?:dentro de|en) (?:dos|2) semanas (?:el )?{weekday}"),
            phrase(rf"(?:el )?{weekday} de la semana siguiente a la (?:proxima|que viene)"),
            phrase(rf"(?:el )?{weekday} (?:no )?de {next_week} (?:no )?(?:sino )?(?:de )?la (?:otra|siguiente)"),
        ),
        "other_day": (
            phrase(rf"(?:todos los|cada) {weekday}"),
            phrase(rf"(?:el )?{weekday} {following} no (?:sino )?el (?:otro|siguiente)"),
            phrase(rf"(?:el )?proximo {weekday} no (?:sino )?el (?:otro|siguiente)"),
            phrase(rf"{place} {weekday} (?:del|despues|antes) (?:ano|de)"),
        ),
        "weekday_and_day": (phrase(rf"(?:el )?{weekday} (?:el )?(?:dia )?{day}{no_time}"),),
        "day_only": (phrase(rf"(?:(?P<on>para) )?(?:el dia|dia|el) {day}{no_time}"),),
        "day_of_next_month": (
            phrase(
                rf"(?:el )?(?:dia )?{day} (?:del (?:proximo mes|mes que viene|mes proximo|(?P<this>mes)(?! que| prox))"
                r"|de (?P<now>este) mes)"
            ),
        ),
        "weekday": (phrase(rf"(?:el )?{weekday}"),),
        "this_weekday": (phrase(rf"este {weekday}"), phrase(rf"(?:el )?{weekday} de esta semana")),
        "next_weekday": (phrase(rf"(?:el )?proximo {weekday}"), phrase(rf"(?:el )?{weekday} {following}")),
        "last_weekday": (phrase(rf"(?:el )?pasado {weekday}"), phrase(rf"(?:el )?{weekday} pasado(?! manana)")),
        "weekday_of_next_week": (
            phrase(rf"(?:el )?{weekday} de {next_week}"),
            phrase(rf"{next_week} (?:el )?{weekday}"),
        ),
        "week_from_weekday": (phrase(rf"(?:del|de este) {weekday} en ocho(?: dias)?"),),
        "relative": (phrase(rf"(?<!la\s)(?<!las\s)(?<!esta\s)(?<!una\s)(?:(?P<on>para|hasta) )?{relative}"),),
        "distance": (phrase(rf"(?:en|dentro de|de aqui a) {distance}"), phrase(rf"(?P<ago>hace) {distance}")),
    }
