"""What is on offer is named in portions that people can keep in mind, and more of it to who asks for more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from models.settings import StrictModel, parse_settings
from pipeline.slots.reading import Option
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState
from pipeline.workflow.definition import Flow
from pipeline.workflow.engine import Step, WorkflowEngine

NAMES = ("the red canoe", "the blue kayak", "the long raft", "the old dinghy", "the small sloop", "the wide punt")
BOATS = tuple(Option(f"b{number}", name) for number, name in enumerate(NAMES))


class Desk(StrictModel):
    variables: dict[str, Variable]
    flows: dict[str, Flow]


DESK = parse_settings(
    """
variables: {boat: {type: choice, options_from: boats}}
flows:
  rent:
    start: which
    nodes:
      which:
        do: ask
        variable: boat
        say: ["I have {boats}. Which would you like?", "I can only offer {boats}."]
        narrow: "I have {fitting}."
        go: end
        exhausted: sorry
      sorry: {do: say, say: "I'm sorry.", go: end}
""",
    Desk,
    "test_offers.py",
)


def ask(*answers: str, boats: Sequence[Option] = BOATS, language: Language = "en") -> Step:
    desk = WorkflowEngine(
        DESK.flows, DESK.variables, call_id="CA1", now=lambda: datetime(2026, 11, 25, 9), language=language
    )
    step = desk.start(CallState(lists={"boats": tuple(boats)}), "rent", "", 1)
    for answer in answers:
        step = desk.answer(step.state, answer, 1)
    return step


def chosen(step: Step) -> str:
    return step.state.values["boat"].value


def test_no_more_than_three_things_are_named_at_once() -> None:
    assert ask().says == ("I have the red canoe, the blue kayak, or the long raft. Which would you like?",)


@pytest.mark.parametrize("said", ["What else do you have?", "none of those really", "do you have any other ones"])
def test_who_wants_something_else_hears_the_next_few(said: str) -> None:
    step = ask(said)
    assert step.says == ("I also have the old dinghy, the small sloop, or the wide punt. Which would you like?",)
    assert step.fitted


@pytest.mark.parametrize("said", ["anything sooner?", "what else is there"])
def test_who_wants_something_else_than_fits_hears_what_did_not(said: str) -> None:
    days = tuple(Option(f"2026-11-{day}T{hour}:00", "then") for day in (26, 27) for hour in (10, 15))
    assert ask("on Friday", boats=days).state.narrowed == tuple(option.value for option in days[2:])
    other = ask("on Friday", said, boats=days)
    assert other.state.narrowed == tuple(option.value for option in days[:2])


def test_who_wants_a_time_that_nothing_has_hears_so_and_what_has_not_been_named() -> None:
    hours = tuple(Option(f"2026-11-26T{hour:02}:00", "then") for hour in range(9, 15))
    step = ask("at seven in the evening", boats=hours)
    assert step.says == (
        "I'm sorry, I have nothing then.",
        "I also have then, then, or then. Which would you like?",
    )
    assert not step.fitted
    assert ask("at seven in the evening", boats=hours[:3]).says[0].startswith("I can only offer")


def test_after_the_last_ones_it_is_said_that_there_are_no_more_and_the_first_are_named_again() -> None:
    step = ask("anything else?", "anything else?")
    assert step.says[0].startswith("I'm sorry, that's all I have. There is the red canoe,")
    assert (
        chosen(
            WorkflowEngine(DESK.flows, DESK.variables, call_id="CA1", now=lambda: datetime(2026, 11, 25, 9)).answer(
                step.state, "the first one", 1
            )
        )
        == "b0"
    )


def test_who_never_wants_what_there_is_leaves_as_the_file_says() -> None:
    assert ask(*["something different"] * 3, boats=BOATS[:2]).says == ("I'm sorry.",)


def test_a_place_counts_among_those_named_last_and_a_name_among_all() -> None:
    assert chosen(ask("the last one")) == "b2"
    assert chosen(ask("anything else?", "the first one")) == "b3"
    assert chosen(ask("anything else?", "the blue kayak then")) == "b1"
    assert chosen(ask("the wide punt")) == "b5"


def test_a_yes_takes_the_only_thing_on_offer() -> None:
    assert chosen(ask("yes please", boats=BOATS[:1])) == "b0"


def test_after_an_aside_what_was_named_last_is_named_again() -> None:
    desk = WorkflowEngine(DESK.flows, DESK.variables, call_id="CA1", now=lambda: datetime(2026, 11, 25, 9))
    assert desk.question(ask("anything else?").state).startswith("I also have the old dinghy")


def test_in_spanish_too() -> None:
    step = ask("¿No tiene otra cosa? ¿Qué más hay?", language="es")
    assert step.says[0].startswith("También tengo the old dinghy")
    assert ask("ninguna de esas", "ninguna", language="es").says[0].startswith("Lo siento, no tengo más.")
