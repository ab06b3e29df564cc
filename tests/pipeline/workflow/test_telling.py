"""What words tell unasked of what flows would ask for."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.slots.reading import ReadingContext
from pipeline.slots.variables import Variable
from pipeline.workflow.telling import only_tells, tells

UNASKED = ReadingContext(date(2026, 11, 25), asked=False)
REFERENCE = Variable(type="code", description="booking reference")


@pytest.mark.parametrize(
    ("part", "told", "only"),
    [
        ("My booking reference is K7QX2.", True, True),
        ("and the reference is kilo seven Q X two", True, True),
        ("I'd like to move the visit, reference K7QX2, to a day in the week after", True, False),
        ("K7QX2", False, False),
        ("I have a booking for two people", False, False),
        ("What is a booking reference?", False, False),
    ],
)
def test_a_code_is_told_beside_what_it_is_called(part: str, told: bool, only: bool) -> None:
    assert tells(REFERENCE, part, UNASKED) is told
    assert only_tells([REFERENCE], part, UNASKED) is only
