"""Whether an utterance is a value and little else, and what is said beside a no."""

from __future__ import annotations

import pytest

from pipeline.slots.little_else import after_no, bare_no, little_else
from pipeline.slots.types import Language


@pytest.mark.parametrize(
    ("language", "said", "told", "little"),
    [
        ("en", "Friday at ten would be nicer", ["Friday", "ten"], True),
        ("en", "Could I have the Labrador, please?", ["Labrador"], True),
        ("en", "Friday is my grandmother's birthday", ["Friday"], False),
        ("en", "the Friday before Friday", ["Friday"], False),
        ("es", "Mejor el viernes a las diez", ["viernes", "diez"], True),
        ("es", "¿Me podría poner el azul, por favor?", ["azul"], True),
        ("es", "el viernes es fiesta en mi pueblo", ["viernes"], False),
    ],
)
def test_a_value_and_little_else(language: Language, said: str, told: list[str], little: bool) -> None:
    assert little_else(said, told, language) is little


def test_a_few_other_words_may_be_allowed() -> None:
    assert little_else("Friday is my birthday", ["Friday"], "en", most=1)
    assert not little_else("Friday is my grandmother's birthday", ["Friday"], "en", most=1)


@pytest.mark.parametrize(
    ("language", "said", "left"),
    [
        ("en", "No, that's not right.", ""),
        ("en", "nope, sorry", ""),
        ("en", "No, no, the green one with stripes", "the green one with stripes"),
        ("es", "No, eso no está bien.", ""),
        ("es", "Ay no, la verde de rayas", "la verde de rayas"),
    ],
)
def test_more_than_a_no(language: Language, said: str, left: str) -> None:
    assert bare_no(said, language) is not bool(left)
    assert not left or after_no(said, language) == left
