"""Canonical values as people write them: for text messages and notes, not for text-to-speech."""

from __future__ import annotations

from datetime import date, datetime
from datetime import time as clock

import phonenumbers

from pipeline.slots.currencies import currency_of
from pipeline.slots.date_words import MONTHS
from pipeline.slots.dates import weekday_name
from pipeline.slots.digits import spoken_digits
from pipeline.slots.reading import spoken
from pipeline.slots.types import Language, ReadingContext
from pipeline.slots.variables import Variable


def written(variable: Variable, value: str, context: ReadingContext) -> str:
    """'7 pm', 'Friday, December 4', '+1 415 555 0100'. Raises ValueError for a value that is not canonical."""
    language = context.language
    match variable.type:
        case "date":
            return _day(date.fromisoformat(value), context)
        case "time":
            return _time(clock.fromisoformat(value), language)
        case "money":
            return _money(variable, value, language)
        case "number":
            return value if language == "en" else value.replace(".", ",")
        case "phone":
            number = phonenumbers.parse(value, None)
            form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
            return str(form).replace("-", " ")
        case "choice":
            return _choice(variable, value, context)
        case "yes_no":
            return spoken(variable, value, context)
        case "text" | "name" | "email" | "digits" | "code":
            return value


def one_by_one(value: str, language: Language) -> str:
    """The digits of a value, each said by itself: '+14155550100' -> 'one four one, five five five, ...'."""
    return spoken_digits("".join(each for each in value if each.isdigit() and each.isascii()), language)


def _day(day: date, context: ReadingContext) -> str:
    name, month = weekday_name(day, context.language), MONTHS[context.language][day.month - 1]
    elsewhen = day.year != context.today.year
    if context.language == "es":
        return f"{name} {day.day} de {month}{f' de {day.year}' if elsewhen else ''}"
    return f"{name}, {month.capitalize()} {day.day}{f', {day.year}' if elsewhen else ''}"


def _time(time: clock, language: Language) -> str:
    hour, minute = time.hour, time.minute
    if language == "es":
        return f"{hour}:{minute:02}"
    return f"{(hour - 1) % 12 + 1}{f':{minute:02}' if minute else ''} {'am' if hour < 12 else 'pm'}"


def _money(variable: Variable, value: str, language: Language) -> str:
    amount = value.removesuffix(".00")
    singular, plural = currency_of(variable.country).unit[language]
    return f"{amount if language == 'en' else amount.replace('.', ',')} {singular if amount == '1' else plural}"


def _choice(variable: Variable, value: str, context: ReadingContext) -> str:
    """A moment as it is written; anything else as it is called."""
    try:
        moment = datetime.fromisoformat(value) if "T" in value else None
    except ValueError:
        moment = None
    if moment is None:
        return spoken(variable, value, context)
    at = "at" if context.language == "en" else "a la" if moment.hour == 1 else "a las"
    return f"{_day(moment.date(), context)} {at} {_time(moment.time(), context.language)}"
