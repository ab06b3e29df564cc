"""A pet's name and its owner's in one form: each is told, asked for and corrected by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest

from models.settings import StrictModel, parse_settings
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState
from pipeline.workflow.definition import Flow
from pipeline.workflow.engine import Step, WorkflowEngine
from pipeline.workflow.form import without_forms

NOW = datetime(2026, 11, 25, 9)
FILE = """
variables:
  day: {type: date}
  town: {type: text}
  pet: {type: name, description: name of the pet}
  name: {type: name, description: name of the caller}
flows:
  visit:
    start: who
    cancelled: Fine, nothing is booked.
    nodes:
      who:
        do: form
        fields: {day: "When?", pet: "What is your pet's name?", name: "And yours?"}
        read_back: "{pet}, of {name}, {day}. Right?"
        exhausted: lost
        go: lost
      lost: {do: say, say: "Somebody will help you.", go: end}
  board:
    start: who
    nodes:
      who: {do: form, fields: {town: "Where do you live?", name: "Your name?"}, exhausted: lost, go: lost}
      lost: {do: say, say: "Somebody will help you.", go: end}
"""


class Desk(StrictModel):
    variables: dict[str, Variable]
    flows: dict[str, Flow]


DESK = parse_settings(FILE, Desk, "test_two_names.py")


def play(flow: str, *said: str, language: Language = "en") -> Step:
    flows = {name: without_forms(each, language) for name, each in DESK.flows.items()}
    desk = WorkflowEngine(flows, DESK.variables, call_id="CA1", now=lambda: NOW, language=language)
    step = desk.start(CallState(), flow, said[0], 1)
    for turn, words in enumerate(said[1:], 2):
        step = desk.answer(step.state, words, turn)
    return step


def names(step: Step) -> Mapping[str, str]:
    return {name: step.state.values[name].value for name in ("pet", "name") if name in step.state.values}


@pytest.mark.parametrize(
    ("language", "said", "told"),
    [
        ("en", "Hi, Owen Price, my puppy Otto's due on Friday", {"pet": "Otto", "name": "Owen Price"}),
        ("en", "This is Owen Price, Otto the beagle needs a bath", {"name": "Owen Price"}),
        ("en", "I'm Owen Price. Our parrot is called Coco.", {"pet": "Coco", "name": "Owen Price"}),
        ("en", "My hamster is ill, his name's Pip, he's two.", {"pet": "Pip"}),
        ("en", "something for my daughter Ida", {"name": "Ida"}),
        ("es", "Buenos días, Elena Gil, mi gata Mora no come", {"pet": "Mora", "name": "Elena Gil"}),
        ("es", "Me llamo Elena Gil y mi perro se llama Chispa", {"pet": "Chispa", "name": "Elena Gil"}),
    ],
)
def test_what_begins_a_call_tells_each_name_as_what_it_is(
    language: Language, said: str, told: Mapping[str, str]
) -> None:
    assert names(play("visit", said, language=language)) == told


@pytest.mark.parametrize(
    ("language", "said", "told"),
    [
        ("en", ("The hamster's Pip.", "Owen Price, like I said."), {"pet": "Pip", "name": "Owen Price"}),
        ("en", ("Pip, and I'm Owen Price",), {"pet": "Pip", "name": "Owen Price"}),
        ("en", ("He's called Pip", "Price, sir."), {"pet": "Pip", "name": "Price"}),
        ("en", ("My name is Owen Price",), {"name": "Owen Price"}),
        ("es", ("La gata se llama Mora", "Elena Gil, como le dije"), {"pet": "Mora", "name": "Elena Gil"}),
        ("es", ("Soy Elena Gil",), {"name": "Elena Gil"}),
    ],
)
def test_an_answer_tells_the_name_that_it_is_about(
    language: Language, said: tuple[str, ...], told: Mapping[str, str]
) -> None:
    begun = "a visit on Friday" if language == "en" else "una visita el viernes"
    assert names(play("visit", begun, *said, language=language)) == told


def test_words_with_capitals_that_answer_something_else_are_no_name() -> None:
    assert names(play("board", "I need a place for my dog", "Cedar Falls, near the old school.")) == {}


@pytest.mark.parametrize(
    ("language", "said", "corrected"),
    [
        ("en", ("No, it's not Nina, it's Nora",), {"pet": "Nora"}),
        ("en", ("No, the cat is called Lola",), {"pet": "Lola"}),
        ("en", ("No, my name is Paula Hart",), {"name": "Paula Hart"}),
        ("en", ("Yes, but it's just Pat.",), {"name": "Pat"}),
        ("en", ("no", "The pet's name. It's Lola."), {"pet": "Lola"}),
        ("en", ("no", "The cat's name. It's Lola."), {"pet": "Lola"}),
        ("en", ("no", "My name. It's Paula Hart."), {"name": "Paula Hart"}),
        ("en", ("no", "The pet's name.", "Lola"), {"pet": "Lola"}),
        ("es", ("No, no es Nina, es Nora",), {"pet": "Nora"}),
        ("es", ("No, la gata se llama Lola",), {"pet": "Lola"}),
        ("es", ("no", "El nombre de la mascota. Es Lola."), {"pet": "Lola"}),
        ("es", ("no", "El nombre de la gata.", "Lola"), {"pet": "Lola"}),
    ],
)
def test_at_a_read_back_the_name_changes_that_the_correction_is_about(
    language: Language, said: tuple[str, ...], corrected: Mapping[str, str]
) -> None:
    begun = {
        "en": "I'm Pat Hart, and my cat Nina is due on Friday",
        "es": "Soy Pat Hart y mi gata Nina tiene cita el viernes",
    }
    step = play("visit", begun[language], *said, language=language)
    assert names(step) == {"pet": "Nina", "name": "Pat Hart"} | dict(corrected)
    assert step.says[-1].startswith(f"{names(step)['pet']}, of {names(step)['name']}")
