"""What callers ask about opening hours, answered from `hours` for the very day or moment that they ask about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from pipeline.feasts import feasts_said, next_of
from pipeline.hours import WEEKDAYS, Hours
from pipeline.hours_said import SpokenHours
from pipeline.slots import date_words
from pipeline.slots.dates import DateSaid, dates_said
from pipeline.slots.types import Found, Language
from pipeline.slots.wording import Heard, hear, one_of, overlaps, phrase

_MOST_DAYS = 3
"""Days that are answered for at once."""
_NOW: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:right )?now|at the moment|currently|still (?:open|there)|open (?:yet|already)|already open"),
    "es": phrase(r"ahora(?: mismo)?|en este momento|todavia|aun"),
}
_PUBLIC: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:public |bank |federal |national |legal )?holidays?"),
    "es": phrase(r"(?:dias? )?(?:festivos?|feriados?)"),
}
_CLOSED: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:what|which) days? (?:\w+ )*(?:closed|shut|off)"),
    "es": phrase(r"que dias? (?:\w+ )*(?:cerrad[oa]s?|cierran|cierra|no abren)"),
}
_WEEKEND: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?P<this>(?:this|the coming|next) )?weekends?"),
    "es": phrase(r"(?P<this>este )?fin(?:es)? de semana(?P<next> que viene)?"),
}
_ONLY_A_DAY: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\W*(?:(?:okay|ok|oh|so|um|uh|and|but|what|how|about|on|then)\b\W*)*DAY"
        r"(?:\W+(?:then|from|until|till|to|when|what|time|is|it|the|same|too|as|well))*\W*\?\W*"
    ),
    "es": re.compile(
        r"\W*(?:(?:vale|ah|y|pero|que|tal|entonces|el|los|en)\b\W*)*DAY"
        r"(?:\W+(?:entonces|desde|hasta|a|de|que|hora|cuando|tambien|igual))*\W*\?\W*"
    ),
}
"""'And tomorrow?', 'Monday, from when?': DAY is the day."""
_SATURDAY, _SUNDAY = 5, 6


def answered(hours: Hours, language: Language, utterance: str, now: datetime) -> str:
    """The answer to a question about opening hours; the usual week if it names no day."""
    said, heard = SpokenHours(hours, language), hear(utterance, language)
    sentences = _of_days(hours, said, heard, now)
    if sentences:
        return " ".join(dict.fromkeys(sentences[:_MOST_DAYS]))
    if _NOW[language].search(heard.flat):
        return said.now(now)
    if _CLOSED[language].search(heard.flat) and (days := said.closed_days()):
        return days
    if _PUBLIC[language].search(heard.flat):
        return said.holidays(now) or said.week()
    return said.week()


def _of_days(hours: Hours, said: SpokenHours, heard: Heard, now: datetime) -> list[str]:
    """A sentence for each day that is named, in the order of the utterance."""
    today = now.date()
    found: list[Found[tuple[str, ...]]] = [
        Found((said.on_feast(feast, next_of(feast, today)),), start, end) for feast, start, end in feasts_said(heard)
    ]
    for match in _WEEKEND[heard.language].finditer(heard.flat):
        if any(match.groupdict().values()) and today.weekday() == _SUNDAY:
            texts: tuple[str, ...] = (said.on_date(today, now),)
        elif any(match.groupdict().values()):
            saturday = today + timedelta(days=(_SATURDAY - today.weekday()) % len(WEEKDAYS))
            texts = (said.on_coming(saturday), said.on_coming(saturday + timedelta(days=1)))
        else:
            texts = (said.usually(_SATURDAY), said.usually(_SUNDAY))
        found.append(Found(texts, *match.span()))
    for match in _usual(heard.language).finditer(heard.flat):
        name = next(name for name in match.groups() if name)
        found.append(Found((said.usually(date_words.weekday_words(heard.language)[name]),), *match.span()))
    taken = list(found)
    for one in dates_said(heard, today):
        if not overlaps(one, taken) and not _NOW[heard.language].fullmatch(heard.flat, one.start, one.end):
            found.append(Found(_of_date(hours, said, one.value, now), one.start, one.end))
    return [text for one in sorted(found, key=lambda one: one.start) for text in one.value]


def _of_date(hours: Hours, said: SpokenHours, day: DateSaid, now: datetime) -> tuple[str, ...]:
    if day.weekday is None:
        return (said.on_date(day.day, now),)
    if not day.also:
        return (said.on_coming(day.day),)
    # On a Wednesday, "Wednesday" may be today or the next one.
    days = (now.date(), day.day)
    if all(hours.is_usual(each) for each in days):
        return (said.usually(day.weekday),)
    return tuple(said.on_date(each, now) for each in days)


@cache
def _usual(language: Language) -> re.Pattern[str]:
    """A day of the week as it usually is: "on Mondays", "on a Monday", "los lunes"."""
    names = one_of(date_words.weekday_words(language))
    if language == "en":
        return phrase(rf"({names})s|(?:on an?|every|any|each) ({names})")
    return phrase(rf"(?:los|cada) ({names})s?|({one_of(('sabado', 'domingo'))})s")


def asks_only_for_a_day(utterance: str, language: Language, now: datetime) -> bool:
    """Whether nothing but a day is asked for ("And tomorrow?"): then it is when the business is open."""
    heard = hear(utterance, language)
    days = dates_said(heard, now.date())
    if len(days) != 1 or days[0].value.bound != "on":
        return False
    flat = f"{heard.flat[: days[0].start]}DAY{heard.flat[days[0].end :]}"
    return _ONLY_A_DAY[language].fullmatch(flat) is not None
