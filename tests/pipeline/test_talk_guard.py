"""What a model says in a free conversation is said only if something bears it out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.slots.types import Language
from pipeline.talk_guard import Given, may_be_said, sentences, without_assent

ENGLISH = Given(
    true=(
        "We are open Monday to Friday from eight to five.",
        "locker number four seven one one place on the second floor free from Thursday",
        "Reserve a locker. locker number four seven one one reserved until Friday",
    ),
    refused=("Extend a reservation. locker number four seven one one day Sunday not possible",),
    told=("locker number four seven one one", "day Monday"),
    matter=(
        "Find out which locker it is about and why it does not open. What is the locker number? Which day suits you? "
        "locker number day my locker is jammed and I want a refund"
    ),
    never=("promise a refund", "name a price"),
)
SPANISH = Given(
    true=("Abrimos de lunes a viernes de ocho a cinco.", "número de taquilla cuatro siete sitio en la segunda planta"),
    refused=("Prolongar una reserva. día el domingo completo",),
    told=("número de taquilla cuatro siete", "día el lunes"),
    matter="Averigua de qué taquilla se trata. ¿Cuál es el número de taquilla? ¿Qué día le viene bien? no abre",
    never=("prometer un reembolso",),
)


@pytest.mark.parametrize(
    "sentence",
    [
        "Okay.",
        "I'm sorry to hear that.",
        "Let me look that up for you.",
        "We are open from eight to five.",
        "Your locker is on the second floor.",
        "Thanks, your locker is free from Thursday.",
        "I have reserved locker four seven one one until Friday.",
        "I couldn't extend the reservation to Sunday.",
        "So that's Monday, right?",
        "Okay, what is your locker number?",
        "Could you tell me the locker number, please?",
        "On which day does the locker open?",
        "Would Monday suit you?",
        "I need the locker number.",
        "Is there anything else?",
    ],
)
def test_courtesies_what_was_found_echoes_and_questions_of_the_matter_are_said(sentence: str) -> None:
    assert may_be_said(sentence, ENGLISH, "en")


@pytest.mark.parametrize(
    "sentence",
    [
        "Yes.",
        "Of course.",
        "We are open until nine.",
        "Your locker is on the third floor.",
        "Your locker is not on the second floor.",
        "Your locker is fine.",
        "It will be free on Monday.",
        "The locker opens on Monday.",
        "I have extended the reservation.",
        "I've extended the reservation to Sunday, no problem.",
        "It's extended, right?",
        "We will refund you.",
        "Would you like a refund?",
        "That costs twenty dollars.",
        "You get it for free.",
        "We will call you.",
        "Will do.",
        "Would Tuesday suit you?",
        "Thank you, Rosa.",
        "Is your locker 4712?",
        "A colleague will come to your locker.",
        "Your locker is on the second floor, and we will bring a new key.",
        "The locker is {place}.",
        "<b>Okay</b>",
    ],
)
def test_what_nobody_gave_is_not_said(sentence: str) -> None:
    assert not may_be_said(sentence, ENGLISH, "en")


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Vale, ¿cuál es el número de taquilla?", True),
        ("Su taquilla está en la segunda planta.", True),
        ("¿Le viene bien el lunes?", True),
        ("No he podido prolongar la reserva.", True),
        ("Lo siento mucho.", True),
        ("Claro.", False),
        ("¿Le viene bien el martes?", False),
        ("Su taquilla está en la tercera planta.", False),
        ("Le llamaremos el lunes.", False),
        ("Le devolvemos el dinero.", False),
        ("¿Quiere un reembolso?", False),
        ("Abrimos los sábados.", False),
    ],
)
def test_the_same_in_spanish(sentence: str, said: bool) -> None:
    assert may_be_said(sentence, SPANISH, "es") is said


@pytest.mark.parametrize(
    ("sentence", "language", "bare"),
    [
        ("Sure, which locker is it?", "en", "Which locker is it?"),
        ("Of course! No problem.", "en", ""),
        ("Surely it is open.", "en", "Surely it is open."),
        ("Sí, claro, ¿qué día?", "es", "¿Qué día?"),
    ],
)
def test_a_yes_before_a_sentence_is_left_out(sentence: str, language: Language, bare: str) -> None:
    assert without_assent(sentence, language) == bare


def test_a_claim_and_what_hangs_on_it_are_judged_together() -> None:
    text = "I found your locker, it is on the second floor. What day suits you?"
    assert sentences(text) == ["I found your locker, it is on the second floor.", "What day suits you?"]


@given(
    number=st.integers(6, 9999).filter(lambda number: number not in (4711, 8)),
    frame=st.sampled_from(
        ["That is {} dollars.", "Your locker is number {}.", "Is it locker {}?", "We are open until {}.", "So {} then."]
    ),
)
def test_no_number_that_nobody_gave_is_ever_said(number: int, frame: str) -> None:
    assert not may_be_said(frame.format(number), ENGLISH, "en")


@given(
    words=st.lists(
        st.sampled_from(["refund", "guarantee", "voucher", "driver", "manager", "compensation", "Rosa", "tomorrow"]),
        min_size=1,
        max_size=3,
    ),
    frame=st.sampled_from(["We promise you a {}.", "Your {} is on its way.", "Yes, the {} is here.", "It was the {}."]),
)
def test_no_claim_of_what_is_no_part_of_anything_given_is_ever_said(words: list[str], frame: str) -> None:
    assert not may_be_said(without_assent(frame.format(" and ".join(words)), "en"), ENGLISH, "en")
