"""How a catalogue becomes a prompt: words told apart by their first token, examples as turns. The engine is a fake."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.types import Catalogue, Exchange, GenerateRequest, Meaning, ModelFailure, Situation
from models.understanding import OneStepUnderstanding, name_meanings, one_step_prompt

CATALOGUE = Catalogue(
    "Test desk",
    (
        Meaning(
            "q:hours",
            'asks something that this answers: "We open at nine."',
            ("When do you open?", "Open yet?"),
            fact="We open at nine.",
        ),
        Meaning(
            "q:hours_saturday",
            'asks something that this answers: "On Saturday we are shut."',
            ("Saturdays?",),
            fact="On Saturday we are shut.",
        ),
        Meaning("hours_change", "wants other hours", ("Open later please",)),
        Meaning("other", "wants anything else"),
        Meaning("answer", "answers what you asked", in_flow_only=True),
    ),
    (Exchange("Which day?", "Monday", "answer"),),
)


class FakeEngine(VllmLanguageModel):
    """Tokens are letters; what it is asked is kept, and a word's weight is how often its first letter was asked for."""

    def __init__(self, favourite: str = "") -> None:
        super().__init__(LlmSettings())
        self.asked: list[GenerateRequest] = []
        self.favourite = favourite

    def token_ids(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    async def weigh(self, request: GenerateRequest, token_ids: Sequence[int]) -> tuple[float, ...]:
        self.asked.append(request)
        return tuple(0.0 if chr(token) == self.favourite else math.log(0.25) for token in token_ids)


def first_letter(word: str) -> int:
    return ord(word[0])


def test_each_meaning_has_a_word_whose_first_token_no_other_has() -> None:
    words = name_meanings(CATALOGUE.meanings, first_letter)
    assert len({first_letter(word) for word in words.values()}) == len(CATALOGUE.meanings)
    assert words["other"] == "other"
    assert words["hours_change"] == "hours", "a wish chooses before a fact about the same"
    assert words["q:hours_saturday"] == "saturday"


def test_a_fact_whose_own_words_are_taken_is_called_by_its_text() -> None:
    meanings = (
        Meaning("hours", "wants it"),
        Meaning("q:hours", "asks for it", fact="Opening late."),
    )
    assert name_meanings(meanings, first_letter)["q:hours"] == "opening"


def test_more_meanings_than_words_are_refused() -> None:
    with pytest.raises(ModelFailure, match="too many meanings"):
        name_meanings(CATALOGUE.meanings, lambda word: 1)


def test_the_prompt_is_the_same_every_time_and_shows_so_many_examples() -> None:
    words = name_meanings(CATALOGUE.meanings, first_letter)
    one, two = (one_step_prompt(CATALOGUE, words, examples=count) for count in (1, 2))
    assert one == one_step_prompt(CATALOGUE, words, examples=1)
    callers = [message.content for message in one if message.role == "user"]
    assert sorted(callers) == [
        '(You said: "Which day?") Monday',
        "Open later please",
        "Saturdays?",
        "When do you open?",
    ]
    assert len(two) == len(one) + 2


@pytest.mark.parametrize(
    ("situation", "can_be_meant"),
    [
        (Situation("hm"), {"q:hours", "q:hours_saturday", "hours_change", "other"}),
        (Situation("hm", "Which day?"), {"q:hours", "q:hours_saturday", "hours_change", "other", "answer"}),
        (Situation("hm", "Which day?", ("hours_change",)), {"q:hours", "q:hours_saturday", "other", "answer"}),
    ],
)
def test_only_what_can_be_meant_there_is_weighed(situation: Situation, can_be_meant: set[str]) -> None:
    judged = asyncio.run(OneStepUnderstanding(FakeEngine("o"), CATALOGUE, examples=1).judge(situation, "r1"))
    assert {label for label, _ in judged.probabilities} == can_be_meant
    assert sum(share for _, share in judged.probabilities) == pytest.approx(1)
    assert judged.probabilities[0] == ("other", pytest.approx(4 / (4 + len(can_be_meant) - 1)))


def test_what_is_asked_ends_with_the_callers_words_and_begins_alike_for_all() -> None:
    engine = FakeEngine()
    one = OneStepUnderstanding(engine, CATALOGUE, examples=2)
    asyncio.run(one.judge(Situation("When?"), "r1"))
    asyncio.run(one.judge(Situation("Monday", "Which day?"), "r2"))
    first, second = engine.asked
    assert first.messages[:-1] == second.messages[:-1]
    assert [request.messages[-1].content for request in engine.asked] == ["When?", '(You said: "Which day?") Monday']
