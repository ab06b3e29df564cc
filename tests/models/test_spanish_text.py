"""Written Spanish as it is said."""

from __future__ import annotations

import pytest

from models.spanish_text import spanish_words


def said(text: str) -> str:
    return " ".join(word.text + word.pause for word in spanish_words(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("¿En qué puedo ayudarle?", "En qué puedo ayudarle?"),
        ("Abrimos de 8 a 5.", "Abrimos de ocho a cinco."),
        ("Cuesta 120 dólares,", "Cuesta ciento veinte dólares,"),
        ("El 415550", "El cuatro uno cinco cinco cinco cero"),
        ("«Señor» Núñez…", "Señor Núñez…"),
        ("¡Adiós!", "Adiós!"),
        ("¿?", ""),
    ],
)
def test_text_becomes_words(text: str, words: str) -> None:
    assert said(text) == words


def test_words_know_what_they_were_written_as() -> None:
    assert [(word.text, word.written) for word in spanish_words("a las 21 horas")][2:4] == [
        ("veintiuno", 2),
        ("horas", 3),
    ]
