"""Numbers that callers give unasked."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.slots.reading import ReadingContext, read
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

DUTCH = Variable(type="phone", country="NL")
"""Of these, eight digits may be a number, and are none in use."""


@pytest.mark.parametrize(
    ("utterance", "language", "value"),
    [
        ("The number is 3001 7724.", "en", "+3130017724"),
        ("Oh, and my number's 3001 7724", "en", "+3130017724"),
        ("My best number is 3001 7724", "en", "+3130017724"),
        ("Mi número es 3001 7724", "es", "+3130017724"),
        ("El número es el 3001 7724", "es", "+3130017724"),
        ("My order number is 3001 7724", "en", None),
        ("The policy number is 3001 7724", "en", None),
        ("Mi número de socio es 3001 7724", "es", None),
        ("I was given 3001 7724", "en", None),
        ("The number is 300 177", "en", None),
        ("Mi número es 300 177", "es", None),
    ],
)
def test_what_is_called_my_number_is_a_phone_number(utterance: str, language: Language, value: str | None) -> None:
    reading = read(DUTCH, utterance, ReadingContext(date(2026, 11, 25), language, asked=False))
    assert (reading.value if reading else None) == value
