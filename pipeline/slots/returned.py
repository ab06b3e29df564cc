"""What business systems return, as values of a variable's type: a price of 480 is the amount '480.00'."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation

from pipeline.slots.variables import Variable

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}\S*)?|\d{2}:\d{2}(?::\d{2}\S*)?", re.ASCII)
_MOST_DIGITS = 15
"""A number with more is none that anybody is told: "1e999999" would be a megabyte of noughts."""
_YES_NO = {"true": "yes", "false": "no"}


def from_system(variable: Variable, text: str) -> str:
    """The text in the canonical form of the variable's type, or as it is if it says nothing of that type."""
    match variable.type:
        case "money":
            amount = _number(text)
            return text if amount is None or amount < 0 else f"{amount:.2f}"
        case "number":
            number = _number(text)
            return text if number is None else f"{number.normalize():f}"
        case "yes_no":
            return _YES_NO.get(text.lower(), text.lower())
        case "date" if _MOMENT.fullmatch(text) and "-" in text:
            return text[:10]
        case "time" if _MOMENT.fullmatch(text):
            return text[-5:] if len(text) == len("19:30") else _time(text)
        case "code":
            code = re.sub(r"[\s./\-]", "", text).upper()
            return code if re.fullmatch(r"[A-Z0-9]+", code) else text
        case _:
            return text


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS else None


def _time(text: str) -> str:
    if ":" not in text:
        return text
    try:
        moment = datetime.fromisoformat(text if "-" in text[:5] else f"2000-01-01T{text}")
    except ValueError:
        return text
    return f"{moment:%H:%M}"
