"""Where an utterance is parted, and where not."""

from __future__ import annotations

import pytest

from pipeline.slots.types import Language
from pipeline.understanding.segments import asks_or_wonders, segments


@pytest.mark.parametrize(
    ("language", "said", "parts"),
    [
        ("en", "Do you sell stamps? And when do you shut?", ("Do you sell stamps?", "And when do you shut?")),
        ("en", "do you sell stamps and when do you shut", ("do you sell stamps", "when do you shut")),
        ("en", "I need a locker, and what does it cost", ("I need a locker", "what does it cost")),
        ("en", "Do you sell stamps? Also, where are you?", ("Do you sell stamps?", "where are you?")),
        ("en", "Hello. I want a locker", ("Hello.", "I want a locker")),
        ("en", "where's the desk, when does it open", ("where's the desk", "when does it open")),
        ("es", "¿Venden sellos? ¿Y a qué hora cierran?", ("¿Venden sellos?", "¿Y a qué hora cierran?")),
        ("es", "quiero una taquilla y cuánto cuesta", ("quiero una taquilla", "cuánto cuesta")),
        ("es", "dónde están y hay taquillas", ("dónde están", "hay taquillas")),
    ],
)
def test_it_turns_to_something_else_at_a_sentence_s_end_and_before_another_clause(
    language: Language, said: str, parts: tuple[str, ...]
) -> None:
    assert segments(said, language) == parts


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "a locker for me and my brother"),
        ("en", "I want stamps and envelopes, please"),
        ("en", "my locker is under Mr. Otis"),
        ("en", "do you take letters and parcels"),
        ("en", "Okay. Um. Please. Do you sell stamps?"),
        ("es", "una taquilla para mí y mi hermano"),
        ("es", "sellos y sobres, por favor"),
    ],
)
def test_what_is_one_is_not_parted(language: Language, said: str) -> None:
    assert len(segments(said, language)) == 1


def test_a_story_is_left_whole() -> None:
    story = "I came in. I sat down. I waited. I left. I called. Nobody was there."
    assert segments(story, "en") == (story,)


@pytest.mark.parametrize("said", ["", "   ", "?!", "and"])
def test_nothing_is_no_part(said: str) -> None:
    assert len(segments(said, "en")) <= 1


@pytest.mark.parametrize(
    ("language", "said", "asks"),
    [
        ("en", "And I was wondering about lockers", True),
        ("en", "I'd like to know the price", True),
        ("en", "how much is a locker", True),
        ("en", "my locker is jammed", False),
        ("es", "¿Abren los domingos?", True),
        ("es", "a qué hora cierran", True),
        ("es", "quería saber el precio", True),
        ("es", "mi taquilla no abre", False),
    ],
)
def test_a_question_is_known_without_its_mark(language: Language, said: str, asks: bool) -> None:
    assert asks_or_wonders(said, language) is asks
