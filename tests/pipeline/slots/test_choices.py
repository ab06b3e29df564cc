"""Choosing among what is on offer by its place."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.slots.reading import Option, ReadingContext, read
from pipeline.slots.variables import Variable

OPENINGS = Variable(type="choice", options_from="openings")
CONTEXT = ReadingContext(
    today=date(2026, 11, 25), options=(Option("a", "Tuesday at ten"), Option("b", "Friday at noon"))
)


@pytest.mark.parametrize(
    "utterance", ["I need to ask my husband first", "let me look at my calendar first", "who came last"]
)
def test_first_and_last_as_adverbs_choose_nothing(utterance: str) -> None:
    assert read(OPENINGS, utterance, CONTEXT) is None


@pytest.mark.parametrize("utterance", ["the first please", "I'd take first", "maybe the first", "first"])
def test_first_as_a_choice_is_one(utterance: str) -> None:
    reading = read(OPENINGS, utterance, CONTEXT)
    assert reading is not None
    assert reading.value == "a"
