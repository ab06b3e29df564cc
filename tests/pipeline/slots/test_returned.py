"""What business systems return is read into the form that is kept, or left as it is."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.slots.reading import ReadingContext, spoken
from pipeline.slots.returned import from_system
from pipeline.slots.variables import SlotType, Variable


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        ("money", "480", "480.00"),
        ("money", "479.9", "479.90"),
        ("money", "1e3", "1000.00"),
        ("money", "120.00", "120.00"),
        ("number", "4.0", "4"),
        ("number", "100", "100"),
        ("number", "2.50", "2.5"),
        ("code", "5trw 991", "5TRW991"),
        ("code", "SW-1/A", "SW1A"),
        ("yes_no", "True", "yes"),
        ("yes_no", "No", "no"),
        ("date", "2026-12-04T19:30:00+01:00", "2026-12-04"),
        ("date", "2026-12-04", "2026-12-04"),
        ("time", "19:30", "19:30"),
        ("time", "19:30:00", "19:30"),
        ("time", "2026-12-04T19:30:00Z", "19:30"),
    ],
)
def test_what_says_a_value_of_the_type_is_kept_as_one(kind: SlotType, text: str, kept: str) -> None:
    variable = Variable(type=kind)
    assert from_system(variable, text) == kept
    assert spoken(variable, kept, ReadingContext(today=date(2026, 11, 28)))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("money", "on request"),
        ("money", "nan"),
        ("code", "see letter (1)"),
        ("money", "-5"),
        ("money", "1e999999"),
        ("number", "1e999999"),
        ("date", "soon"),
        ("time", "noon"),
        ("text", "4.0"),
    ],
)
def test_what_says_none_is_left_as_it_is(kind: SlotType, text: str) -> None:
    assert from_system(Variable(type=kind), text) == text
