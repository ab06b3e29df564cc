"""Values as people write them."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.slots.reading import Option, ReadingContext
from pipeline.slots.types import Language
from pipeline.slots.variables import SlotType, Variable
from pipeline.slots.written import one_by_one, written

OFFERED = (Option("nadia", "Doctor Nadia Haddad"), Option("2026-12-04T19:00", "Friday at seven"))


@pytest.mark.parametrize(
    ("kind", "value", "english", "spanish"),
    [
        ("date", "2026-12-04", "Friday, December 4", "viernes 4 de diciembre"),
        ("date", "2027-01-05", "Tuesday, January 5, 2027", "martes 5 de enero de 2027"),
        ("time", "19:00", "7 pm", "19:00"),
        ("time", "00:05", "12:05 am", "0:05"),
        ("time", "12:30", "12:30 pm", "12:30"),
        ("money", "120.00", "120 dollars", "120 dólares"),
        ("money", "1.00", "1 dollar", "1 dólar"),
        ("money", "7.50", "7.50 dollars", "7,50 dólares"),
        ("number", "2.5", "2.5", "2,5"),
        ("phone", "+14155550100", "+1 415 555 0100", "+1 415 555 0100"),
        ("digits", "0123", "0123", "0123"),
        ("code", "5TRW991", "5TRW991", "5TRW991"),
        ("name", "Ann Lee", "Ann Lee", "Ann Lee"),
        ("email", "ann@shop.example", "ann@shop.example", "ann@shop.example"),
        ("text", "by the door", "by the door", "by the door"),
        ("yes_no", "yes", "yes", "sí"),
        ("choice", "nadia", "Doctor Nadia Haddad", "Doctor Nadia Haddad"),
        ("choice", "2026-12-04T19:00", "Friday, December 4 at 7 pm", "viernes 4 de diciembre a las 19:00"),
        ("choice", "2026-12-04T01:00", "Friday, December 4 at 1 am", "viernes 4 de diciembre a la 1:00"),
    ],
)
def test_each_type_in_both_languages(kind: SlotType, value: str, english: str, spanish: str) -> None:
    languages: tuple[tuple[Language, str], ...] = (("en", english), ("es", spanish))
    for language, expected in languages:
        assert written(Variable(type=kind), value, ReadingContext(date(2026, 11, 25), language, OFFERED)) == expected


def test_a_fixed_choice_is_written_as_it_is_said() -> None:
    variable = Variable(type="choice", choices={"check_up": ("a check-up", "check up")})
    assert written(variable, "check_up", ReadingContext(date(2026, 11, 25))) == "a check-up"


def test_digits_are_said_one_by_one() -> None:
    assert one_by_one("+14155", "en") == "one four one, five five"
