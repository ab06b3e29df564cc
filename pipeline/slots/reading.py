"""Reading typed values out of what callers say, and saying them back. Pure; the same words give the same reading.

variable = Variable(type="date")
context = ReadingContext(today=date(2026, 11, 25))
read(variable, "um, Tuesday, no, Wednesday", context)   # Reading("2026-12-02", "Wednesday", 0.6)
spoken(variable, "2026-12-01", context)                 # "Tuesday, the first of December"
"""

from __future__ import annotations

import re
from datetime import date
from typing import get_args

from pipeline.slots.bearers import bearer_of
from pipeline.slots.choices import choosing_words, fits_none, fitting_options, read_choice, spoken_choice
from pipeline.slots.codes import read_code, spoken_code
from pipeline.slots.dates import dates_said, read_date, spoken_date
from pipeline.slots.digits import read_digits, read_phone, spoken_digits, spoken_phone
from pipeline.slots.emails import read_email, spoken_email
from pipeline.slots.money import read_money, spoken_money
from pipeline.slots.names import read_name
from pipeline.slots.numbers import numbers, read_number, spoken_number
from pipeline.slots.texts import read_text
from pipeline.slots.times import NAMED_STREET, read_time, spoken_time, times_said
from pipeline.slots.types import Found, Language, Option, Reading, ReadingContext
from pipeline.slots.variables import SlotType, Variable
from pipeline.slots.wording import Heard, hear
from pipeline.slots.yes_no import read_yes_no, spoken_yes_no

__all__ = ["Option", "Reading", "ReadingContext", "claimed", "fitting", "nothing_then", "prepare", "read", "spoken"]


def read(variable: Variable, utterance: str, context: ReadingContext) -> Reading | None:
    """The variable's value, if the utterance tells it; None rather than a guess. Takes any text.

    What is taken back in one breath does not count ("Tuesday, no, Wednesday"). With `context.asked` false, a value
    needs an explicit mark ("my name is", "at ten"). The confidence is below 1 where the words have another reading.
    """
    heard = hear(utterance, context.language)
    found = _find(variable, heard, context)
    if found is None or (variable.pattern is not None and re.fullmatch(variable.pattern, found.value) is None):
        return None
    return Reading(found.value, heard.words(found.start, found.end), found.confidence)


def fitting(variable: Variable, utterance: str, context: ReadingContext) -> tuple[Option, ...]:
    """What may be chosen and fits the utterance, in the order of the offer: more than one where it is left open.

    Empty if the utterance tells nothing about the choice, or nothing fits, or the variable is no choice.
    """
    if variable.type != "choice":
        return ()
    return fitting_options(variable, hear(utterance, context.language), context)


def nothing_then(variable: Variable, utterance: str, context: ReadingContext) -> bool:
    """Whether the utterance says a day or time, and nothing of what may be chosen is then."""
    return variable.type == "choice" and fits_none(variable, hear(utterance, context.language), context)


def claimed(variable: Variable, utterance: str, context: ReadingContext) -> str:
    """The words of an utterance that are about the variable, whether or not they settle it; empty if none are."""
    if variable.type == "choice":
        return choosing_words(variable, hear(utterance, context.language), context)
    reading = read(variable, utterance, context)
    return reading.words if reading is not None else ""


def spoken(variable: Variable, value: str, context: ReadingContext) -> str:
    """How the agent says a canonical value, in words for text-to-speech; `read` understands it.

    Raises ValueError for a value that is not canonical for the variable's type.
    """
    language = context.language
    match variable.type:
        case "text" | "name":
            return value
        case "choice":
            return spoken_choice(variable, value, context)
        case "yes_no":
            return spoken_yes_no(value, language)
        case "number":
            return spoken_number(value, language)
        case "money":
            return spoken_money(variable, value, language)
        case "date":
            return spoken_date(variable, value, language, context.today)
        case "time":
            return spoken_time(value, language)
        case "email":
            return spoken_email(value, language)
        case "phone":
            return spoken_phone(variable, value, language)
        case "digits":
            return spoken_digits(value, language)
        case "code":
            return spoken_code(value, language)


def prepare(language: Language) -> None:
    """Compile what a language's readers need, so that its first caller does not wait for it (some 200 ms)."""
    options = (Option("2026-12-01T10:00", ""), Option("2026-12-01T11:00", ""))
    context = ReadingContext(date(2026, 12, 1), language, options)
    for kind in get_args(SlotType):
        read(Variable(type=kind), "1", context)
    for bearer in ("pet", "caller"):
        read(Variable(type="name", description=bearer), "1", context)


def _moments(heard: Heard, context: ReadingContext) -> list[Found[object]]:
    """The days and times of day that are said outright."""
    dates = dates_said(heard, context.today)
    times = [one for one in times_said(heard, dates) if one.value.mark == "plain"]
    return [*dates, *times]


def _house_numbers(heard: Heard) -> list[Found[object]]:
    """Numbers before the name of a street."""
    return [
        Found(None, one.start, one.end) for one in numbers(heard) if NAMED_STREET.match(heard.text, one.end) is not None
    ]


def _find(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    match variable.type:
        case "text":
            return read_text(variable, heard, context)
        case "name":
            return read_name(heard, context, bearer_of(variable.description))
        case "choice":
            return read_choice(variable, heard, context)
        case "yes_no":
            return read_yes_no(heard, context)
        case "number":
            return read_number(variable, heard, context, taken=[*_moments(heard, context), *_house_numbers(heard)])
        case "money":
            return read_money(variable, heard, context)
        case "date":
            return read_date(variable, heard, context)
        case "time":
            return read_time(heard, context, taken=dates_said(heard, context.today))
        case "email":
            return read_email(heard, context)
        case "phone":
            return read_phone(variable, heard, context)
        case "digits":
            return read_digits(variable, heard, context)
        case "code":
            return read_code(variable, heard, context)
