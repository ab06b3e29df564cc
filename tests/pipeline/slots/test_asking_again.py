"""Callers who did not catch what was said, and those who say something else."""

from __future__ import annotations

import pytest

from pipeline.slots.asking_again import asks_again
from pipeline.slots.types import Language


@pytest.mark.parametrize(
    ("utterance", "language"),
    [
        ("Sorry?", "en"),
        ("I'm sorry, what did you say?", "en"),
        ("Um, what was that?", "en"),
        ("Huh?", "en"),
        ("I beg your pardon?", "en"),
        ("Oh, I couldn't quite hear you.", "en"),
        ("Sorry, I missed the last bit.", "en"),
        ("Could you please repeat that?", "en"),
        ("Wait, what?", "en"),
        ("One more time, please.", "en"),
        ("¿Perdón?", "es"),
        ("¿Cómo?", "es"),
        ("¿Mande?", "es"),
        ("Perdone, no le he entendido bien.", "es"),
        ("¿Qué ha dicho?", "es"),
        ("Ay, disculpe, ¿me lo puede repetir?", "es"),
        ("Otra vez, por favor.", "es"),
    ],
)
def test_who_did_not_catch_the_last_words_asks_for_them_again(utterance: str, language: Language) -> None:
    assert asks_again(utterance, language)


@pytest.mark.parametrize(
    ("utterance", "language"),
    [
        ("Sorry, no.", "en"),
        ("Sorry, make it Friday", "en"),
        ("What time is that?", "en"),
        ("Excuse me, do you do braces?", "en"),
        ("I didn't get it.", "en"),  # Of a code that was sent.
        ("I missed it.", "en"),  # Of a delivery.
        ("Again on Monday", "en"),
        ("Okay.", "en"),
        ("", "en"),
        ("Perdón, el martes no", "es"),
        ("¿Cómo llego?", "es"),
        ("¿Qué días abren?", "es"),
        ("No, gracias", "es"),
    ],
)
def test_who_says_anything_else_besides_does_not(utterance: str, language: Language) -> None:
    assert not asks_again(utterance, language)
