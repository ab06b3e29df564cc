"""Who does not have what he is asked for says so, and is not asked again."""

from __future__ import annotations

import pytest

from pipeline.slots.lacking import lacks_it
from pipeline.slots.types import Language


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "I don't have it with me"),
        ("en", "Sorry, I don't know the number."),
        ("en", "no idea"),
        ("en", "I've lost the receipt, it was in my other coat"),
        ("en", "um, I can't find it right now"),
        ("es", "no lo tengo a mano"),
        ("es", "Perdone, no encuentro el recibo"),
        ("es", "ni idea"),
    ],
)
def test_who_has_none_is_understood(language: Language, said: str) -> None:
    assert lacks_it(said, language)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "I don't know, can you look it up?"),
        ("en", "hang on, I can't find my glasses"),
        ("en", "it's 4 4 1 7"),
        ("en", "No, it's seven zero two"),
        ("es", "No, es el 4 5 6"),
        ("es", "¿no lo tienen ustedes?"),
    ],
)
def test_who_asks_or_looks_or_tells_it_has_one(language: Language, said: str) -> None:
    assert not lacks_it(said, language)
