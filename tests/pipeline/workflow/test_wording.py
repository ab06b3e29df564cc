"""Texts with values in one form or another."""

from __future__ import annotations

from datetime import datetime

import pytest

from pipeline.hours import Hours
from pipeline.slots.variables import Variable
from pipeline.state import CallState, Value
from pipeline.workflow.wording import Wording

VARIABLES = {"hour": Variable(type="time"), "phone": Variable(type="phone")}
STATE = CallState(values={"hour": Value("19:00"), "phone": Value("+14155550100"), "door": Value("42", source="tool")})


@pytest.fixture
def words() -> Wording:
    now = datetime(2026, 11, 25, 9)
    return Wording(VARIABLES, caller="+12065550134", now=lambda: now, hours=Hours(), language="en")


def test_what_is_said_is_spoken_unless_it_says_otherwise(words: Wording) -> None:
    assert words.render(STATE, "At {hour}.") == words.render(STATE, "At {hour:speech}.") == "At seven in the evening."
    assert words.render(STATE, "At {hour:text}, door {door:digits}.") == "At 7 pm, door four two."


def test_the_letters_of_a_code_are_said_with_its_digits() -> None:
    plate = Wording(
        {"plate": Variable(type="code")}, caller="", now=lambda: datetime(2026, 11, 25), hours=Hours(), language="en"
    )
    state = CallState(values={"plate": Value("5TR91")})
    said = "five, T R, nine one"
    assert plate.render(state, "{plate}; {plate:digits}; {plate:text}") == f"{said}; {said}; 5TR91"
    assert plate.arguments(state, {"plate": "{plate}"}) == {"plate": "5TR91"}


def test_what_tools_get_is_as_it_is_kept_unless_it_says_otherwise(words: Wording) -> None:
    given = {"at": "{hour}", "text": "See you at {hour:text}. Call {caller:text}.", "note": "{hour:speech}"}
    assert words.arguments(STATE, given) == {
        "at": "19:00",
        "text": "See you at 7 pm. Call +1 206 555 0134.",
        "note": "seven in the evening",
    }


def test_a_number_that_is_not_known_is_left_out() -> None:
    hidden = Wording(VARIABLES, caller="", now=lambda: datetime(2026, 11, 25), hours=Hours(), language="en")
    assert hidden.arguments(STATE, {"from": "{caller:text}"}) == {}
