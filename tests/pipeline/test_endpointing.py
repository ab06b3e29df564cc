"""When a turn is over: silence, Smart Turn and the words, weighed together."""

import pytest

from pipeline.agent import PausePoint, TurnTaking
from pipeline.endpointing import Evidence, Words, asks, asks_yes_or_no, is_over, sounds_unfinished

SETTINGS = TurnTaking(
    pause_points=(PausePoint(silence_ms=128, probability=0.85), PausePoint(silence_ms=320, probability=0.5)),
    timeout_ms=512,
    either_or_more_ms=96,
    open_timeout_ms=800,
    unfinished_timeout_ms=1440,
)


@pytest.mark.parametrize(
    ("silence_ms", "probability", "over"),
    [(128, 0.9, True), (128, 0.8, False), (320, 0.6, True), (320, 0.4, False), (448, 0.4, False), (512, 0.0, True)],
)
def test_complete_words_end_as_soon_as_smart_turn_is_sure_enough(
    silence_ms: int, probability: float, over: bool
) -> None:
    assert is_over(Evidence(silence_ms, probability, "complete"), SETTINGS) is over


@pytest.mark.parametrize(("words", "limit_ms"), [("may_go_on", 512), ("open", 800), ("broken_off", 1440)])
def test_other_words_wait_for_their_silence_however_sure_smart_turn_is(words: Words, limit_ms: int) -> None:
    assert not is_over(Evidence(limit_ms - 32, 0.99, words), SETTINGS)
    assert is_over(Evidence(limit_ms, 0.99, words), SETTINGS)


def test_a_question_for_yes_or_no_waits_for_an_or_unless_smart_turn_is_sure() -> None:
    assert not is_over(Evidence(576, 0.4, "either_or"), SETTINGS)
    assert is_over(Evidence(608, 0.4, "either_or"), SETTINGS)
    assert is_over(Evidence(320, 0.6, "either_or"), SETTINGS)


@pytest.mark.parametrize(
    "text", ["Is there a screen in the room?", "Hello. And do you see children?", "can I pay by card"]
)
def test_questions_for_yes_or_no(text: str) -> None:
    assert asks_yes_or_no(text)


@pytest.mark.parametrize("text", ["Is it free or do I pay?", "How much is it?", "Is it open? What does it cost?"])
def test_questions_that_no_or_will_follow(text: str) -> None:
    assert not asks_yes_or_no(text)


def test_without_smart_turn_silence_decides() -> None:
    assert not is_over(Evidence(480, None, "complete"), SETTINGS)
    assert is_over(Evidence(512, None, "complete"), SETTINGS)


@pytest.mark.parametrize(
    "text",
    [
        "My number is 555",
        "my phone number is five five five, one two",
        "The code is 4 7",
        "the hours and",
        "Do you take?",
        "I'd like to,",
        "How many books can I",
        "And when do you?",
        "Is there?",
        "We would",
        "I'm late because I",
        "It's",
        "I need",
    ],
)
def test_words_that_break_off(text: str) -> None:
    assert sounds_unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "Where are you?",
        "How much is it?",
        "You are open on Sunday, are you?",
        "You don't take cash, do you?",
        "Which plans do you accept?",
        "Yes, I can.",
        "No, I don't.",
        "What do you need?",
    ],
)
def test_a_subject_at_the_end_is_no_break_where_the_rest_was_said(text: str) -> None:
    assert not sounds_unfinished(text)


@pytest.mark.parametrize(
    "text", ["How much is it", "Okay, and when do you close?", "Tell me your hours", "Your address, please."]
)
def test_what_asks(text: str) -> None:
    assert asks(text)


@pytest.mark.parametrize("text", ["I just moved here.", "My tooth broke.", "It is a present for my father."])
def test_what_asks_nothing(text: str) -> None:
    assert not asks(text)


@pytest.mark.parametrize(
    "text",
    ["My number is 555 123 4567.", "my phone number is five five five one two three four five six seven", "At 3.30."],
)
def test_a_whole_number_is_finished(text: str) -> None:
    assert not sounds_unfinished(text)


def test_presets_are_ordered_and_single_keys_override_them() -> None:
    brisk, balanced, patient = (
        TurnTaking.model_validate({"preset": name}) for name in ("brisk", "balanced", "patient")
    )
    assert brisk.timeout_ms < balanced.timeout_ms <= 600 < patient.timeout_ms
    assert TurnTaking.model_validate({"preset": "patient", "timeout_ms": 700}).timeout_ms == 700
    assert TurnTaking.model_validate({"preset": "patient", "timeout_ms": 700}).pause_points == patient.pause_points


@pytest.mark.parametrize(
    "text", ["quería pedir una cita para", "me llamo", "el martes o", "sí, pero", "una limpieza y", "eh...", "quiero"]
)
def test_spanish_that_breaks_off_wants_another_word(text: str) -> None:
    assert sounds_unfinished(text, "es")


@pytest.mark.parametrize("text", ["quería pedir una cita", "el martes a las diez", "sí, es correcto.", "María López"])
def test_spanish_that_is_whole_does_not(text: str) -> None:
    assert not sounds_unfinished(text, "es")


def test_spanish_questions_and_requests_ask() -> None:
    assert asks("¿Qué horario tienen?", "es")
    assert asks("y cuánto cuesta una limpieza", "es")
    assert asks("una cita por favor", "es")
    assert not asks("me duele una muela", "es")
