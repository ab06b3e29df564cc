"""Callers who ask for a moment, and those who also say something."""

from __future__ import annotations

import pytest

from pipeline.slots.types import Language
from pipeline.slots.waiting import asks_to_wait


@pytest.mark.parametrize(
    ("utterance", "language"),
    [
        ("Hold on.", "en"),
        ("hold on just a minute please", "en"),
        ("Hang on a second, let me check my planner.", "en"),
        ("Hmm, let me think about it.", "en"),
        ("let me grab a pen", "en"),
        ("Could you give me a moment?", "en"),
        ("One sec.", "en"),
        ("Wait, wait.", "en"),
        ("Bear with me, I'm looking for the letter.", "en"),
        ("Okay, I have to ask my partner first.", "en"),
        ("Don't hang up, I'll be right back.", "en"),
        ("That's a fair point, give me a minute", "en"),
        ("Good idea, let me ask my mom.", "en"),
        ("Un momento.", "es"),
        ("Es una buena idea, espere", "es"),
        ("Espere un segundito, por favor", "es"),
        ("Déjeme ver", "es"),
        ("déjame mirar la agenda", "es"),
        ("Perdone, deme un minuto", "es"),
        ("Tengo que preguntar a mi marido", "es"),
        ("A ver...", "es"),
    ],
)
def test_a_request_to_wait_is_one(utterance: str, language: Language) -> None:
    assert asks_to_wait(utterance, language)


@pytest.mark.parametrize(
    ("utterance", "language"),
    [
        ("Hold on, I mixed them up, it's 5003 1188", "en"),
        ("Wait, Monday.", "en"),
        ("I can't wait", "en"),
        ("How long do I have to wait?", "en"),
        ("Let me ask you something", "en"),
        ("let me see the later ones", "en"),
        ("The second one", "en"),
        ("Does it take a minute?", "en"),
        ("Hmm.", "en"),
        ("", "en"),
        ("Espera, el lunes", "es"),
        ("No puedo esperar", "es"),
        ("¿Cuánto hay que esperar?", "es"),
        ("La segunda", "es"),
    ],
)
def test_who_says_something_else_besides_does_not_merely_ask_to_wait(utterance: str, language: Language) -> None:
    assert not asks_to_wait(utterance, language)
