"""Days of the year that have a name: when they are, and how callers and the agent call them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

from dateutil.easter import easter

from pipeline.slots.types import Language
from pipeline.slots.wording import Heard, phrase

_WEEK = 7
_MONDAY, _THURSDAY, _FRIDAY = 0, 3, 4


@dataclass(frozen=True, slots=True)
class Feast:
    """One of them."""

    on: Callable[[int], date]
    """Its date in a year."""
    spoken: Mapping[Language, str]
    """As it stands after 'on', or by itself in Spanish ('el día de Navidad')."""
    heard: Mapping[Language, re.Pattern[str]]
    """In folded text."""


def _every(month: int, day: int) -> Callable[[int], date]:
    return lambda year: date(year, month, day)


def _nth(month: int, weekday: int, place: int) -> Callable[[int], date]:
    """The first (0), second, ... of a weekday in a month; the last is -1."""

    def on(year: int) -> date:
        if place < 0:
            last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
            return last - timedelta(days=(last.weekday() - weekday) % _WEEK)
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % _WEEK + _WEEK * place)

    return on


def _from_easter(days: int) -> Callable[[int], date]:
    return lambda year: easter(year) + timedelta(days=days)


def _feast(on: Callable[[int], date], en: str, es: str, heard_en: str, heard_es: str) -> Feast:
    return Feast(on, {"en": en, "es": es}, {"en": phrase(heard_en), "es": phrase(heard_es)})


FEASTS: Mapping[str, Feast] = MappingProxyType(
    {
        "new_year": _feast(
            _every(1, 1), "New Year's Day", "el día de Año Nuevo", r"new year(?:'?s(?: day)?)?", "ano nuevo"
        ),
        "epiphany": _feast(
            _every(1, 6),
            "Epiphany",
            "el día de Reyes",
            r"epiphany|three kings(?: day)?",
            r"(?:dia de )?reyes(?: magos)?",
        ),
        "martin_luther_king_day": _feast(
            _nth(1, _MONDAY, 2),
            "Martin Luther King Day",
            "el día de Martin Luther King",
            r"(?:martin luther king|mlk)(?: jr)?(?: day)?",
            "martin luther king",
        ),
        "valentines_day": _feast(
            _every(2, 14), "Valentine's Day", "San Valentín", r"(?:saint |st )?valentine'?s(?: day)?", "san valentin"
        ),
        "presidents_day": _feast(
            _nth(2, _MONDAY, 2),
            "Presidents' Day",
            "el día de los Presidentes",
            r"president'?s'? day",
            r"dia de los presidentes",
        ),
        "maundy_thursday": _feast(
            _from_easter(-3), "Maundy Thursday", "el Jueves Santo", r"maundy thursday|holy thursday", "jueves santo"
        ),
        "good_friday": _feast(_from_easter(-2), "Good Friday", "el Viernes Santo", "good friday", "viernes santo"),
        "easter": _feast(
            easter,
            "Easter Sunday",
            "el Domingo de Pascua",
            r"easter(?: sunday)?(?! monday)",
            r"(?:domingo de )?(?:pascua|resurreccion)",
        ),
        "easter_monday": _feast(
            _from_easter(1), "Easter Monday", "el Lunes de Pascua", "easter monday", "lunes de pascua"
        ),
        "mothers_day": _feast(
            _nth(5, 6, 1), "Mother's Day", "el día de la Madre", r"mother'?s'? day", "dia de la madre"
        ),
        "memorial_day": _feast(_nth(5, _MONDAY, -1), "Memorial Day", "Memorial Day", "memorial day", "memorial day"),
        "juneteenth": _feast(_every(6, 19), "Juneteenth", "Juneteenth", "juneteenth", "juneteenth"),
        "independence_day": _feast(
            _every(7, 4), "the Fourth of July", "el cuatro de julio", "independence day", r"dia de la independencia"
        ),
        "labor_day": _feast(_nth(9, _MONDAY, 0), "Labor Day", "Labor Day", r"labou?r day", "labor day"),
        "may_day": _feast(
            _every(5, 1), "May Day", "el Primero de Mayo", "may day", r"(?:dia|fiesta) del trabajo|dia del trabajador"
        ),
        "columbus_day": _feast(
            _nth(10, _MONDAY, 1),
            "Columbus Day",
            "Columbus Day",
            r"columbus day|indigenous peoples'? day",
            "columbus day",
        ),
        "halloween": _feast(_every(10, 31), "Halloween", "Halloween", "halloween", "halloween"),
        "all_saints": _feast(
            _every(11, 1), "All Saints' Day", "Todos los Santos", r"all saints'?(?: day)?", "todos los santos"
        ),
        "veterans_day": _feast(_every(11, 11), "Veterans Day", "Veterans Day", r"veteran'?s'? day", "veterans day"),
        "thanksgiving": _feast(
            _nth(11, _THURSDAY, 3),
            "Thanksgiving",
            "el día de Acción de Gracias",
            r"thanksgiving(?: day)?",
            "accion de gracias",
        ),
        "christmas_eve": _feast(_every(12, 24), "Christmas Eve", "el día de Nochebuena", "christmas eve", "nochebuena"),
        "christmas": _feast(
            _every(12, 25), "Christmas Day", "el día de Navidad", r"(?:christmas|xmas)(?: day)?", r"(?:dia de )?navidad"
        ),
        "boxing_day": _feast(
            _every(12, 26),
            "the day after Christmas",
            "el día después de Navidad",
            r"boxing day|(?:the )?day after christmas",
            r"dia despues de navidad",
        ),
        "new_years_eve": _feast(
            _every(12, 31), "New Year's Eve", "el día de Nochevieja", r"new year'?s eve", r"nochevieja|fin de ano"
        ),
    }
)
"""By their names in agent files."""


def feasts_said(heard: Heard) -> Iterator[tuple[Feast, int, int]]:
    """Those that are named, in the order of the utterance, with where; the longest wins where several overlap."""
    found = [
        (feast, match.start(), match.end())
        for feast in FEASTS.values()
        for match in feast.heard[heard.language].finditer(heard.flat)
    ]
    end = 0
    for feast, start, stop in sorted(found, key=lambda one: (one[1], -one[2])):
        if start >= end:
            end = stop
            yield feast, start, stop


def next_of(feast: Feast, today: date) -> date:
    """Its date this year, or the next year's if that has gone by."""
    day = feast.on(today.year)
    return day if day >= today else feast.on(today.year + 1)
