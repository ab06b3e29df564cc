"""Codes: what words they come from, and what an agent file says of them."""

from __future__ import annotations

from datetime import date

import pytest

from models.speech_text import spoken_text
from pipeline.slots.reading import ReadingContext, read, spoken
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

PLATE = Variable(type="code", description="license plate")
TODAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("utterance", "language", "words"),
    [
        ("It's five, T, R, nine nine, thanks.", "en", "five, T, R, nine nine"),
        ("T as in Tom, 991, please", "en", "T as in Tom, 991"),
        ("5TR91, no, zero two", "en", "5TR91, no, zero two"),
        ("Es 5831 BCD, gracias", "es", "5831 BCD"),
    ],
)
def test_a_code_keeps_the_words_that_it_was_said_in(utterance: str, language: Language, words: str) -> None:
    reading = read(PLATE, utterance, ReadingContext(TODAY, language))
    assert reading is not None
    assert reading.words == words


@pytest.mark.parametrize(
    ("pattern", "utterance", "value"),
    [
        ("[A-Z0-9]{6}", "here at the top of the letter, Q W R T Z P", "QWRTZP"),
        ("[A-Z0-9]{5,8}", "five, T, R, W, nine nine one, seven, six", None),  # Too long: which part is it?
        ("[A-Z]{2}[0-9]{3}", "TR0O1", "TR001"),
        ("[A-Z]{2}[0-9]{3}", "TR0 O 1", "TR001"),
        ("[A-Z]{3}[0-9]{2}", "T R zero zero one", "TRO01"),
        ("[A-Z]{2}[0-9]{4}", "TR9001, no, zero two", "TR9002"),
        ("[A-Z]{2}[0-9]{4}", "I have a cat and two dogs", None),
        ("[A-Z]", "B", "B"),
    ],
)
def test_a_pattern_says_what_is_meant(pattern: str, utterance: str, value: str | None) -> None:
    reading = read(Variable(type="code", pattern=pattern), utterance, ReadingContext(TODAY))
    assert (reading.value if reading else None) == value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("4BDX90, no wait", None),
        ("not 4BDX90", None),
        ("4BDX90, not 91", "4BDX90"),
        ("Four. B. D. X. Nine zero please.", "4BDX90"),
        ("C as in çedilla, 4, 4", "C44"),
        ("4BDX90, no, BDX", None),  # Part of it, and which?
        ("4BDX90, sorry, 4BDY90, no, 4BDZ90", "4BDZ90"),
        ("double double double four", None),
        ("4BDX90, and what does it cost?", "4BDX90"),
    ],
)
def test_what_is_taken_back_is_no_code(said: str, value: str | None) -> None:
    reading = read(PLATE, said, ReadingContext(TODAY))
    assert (reading.value if reading else None) == value


def test_no_letter_is_said_as_an_article() -> None:
    assert spoken_text(spoken(PLATE, "ABA1A", ReadingContext(TODAY))) == "eigh B eigh, one, eigh"
