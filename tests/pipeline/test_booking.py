"""The booking form by talk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agent import BookingForm, Opening
from pipeline.booking import TRIES, BookingDialogue, asked_name, asked_time, spoken_opening, spoken_time
from tests.pipeline.agents import AGENT

assert AGENT.booking is not None
FORM: BookingForm = AGENT.booking
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@pytest.mark.parametrize(
    ("said", "day", "time"),
    [
        ("Tuesday at ten.", "Tuesday", "10:00"),
        ("Tuesday at 10 a.m., please", "Tuesday", "10:00"),
        ("um, half past two on Tuesday", "Tuesday", "14:30"),
        ("Tuesday at two thirty in the afternoon", "Tuesday", "14:30"),
        ("2:30 on Tuesday works", "Tuesday", "14:30"),
        ("Tuesday, 14:30", "Tuesday", "14:30"),
        ("Tuesday afternoon", "Tuesday", "14:30"),
        ("the morning on Tuesday", "Tuesday", "10:00"),
        ("quarter to nine on Thursday", "Thursday", "08:45"),
        ("Friday at 3:30pm", "Friday", "15:30"),
        ("Friday at 3.30 p.m.", "Friday", "15:30"),
    ],
)
def test_a_spoken_time_fits_its_opening(said: str, day: str, time: str) -> None:
    assert asked_time(said).fits(Opening(day=day, time=time))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "day", "time"),
    [
        ("Tuesday at ten", "Tuesday", "14:30"),
        ("Tuesday at ten p.m.", "Tuesday", "10:00"),
        ("Wednesday at ten", "Tuesday", "10:00"),
        ("Tuesday morning", "Tuesday", "14:30"),
    ],
)
def test_a_spoken_time_fits_no_other_opening(said: str, day: str, time: str) -> None:
    assert not asked_time(said).fits(Opening(day=day, time=time))  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["the first one please", "I'd like that one", "hello", "", "what does it cost"])
def test_words_without_a_time_name_none(said: str) -> None:
    assert not asked_time(said).named


@given(st.sampled_from(DAYS), st.integers(0, 23), st.sampled_from([0, 15, 30]))
def test_what_the_agent_says_of_an_opening_is_understood_when_said_back(day: str, hour: int, minute: int) -> None:
    opening = Opening(day=day, time=f"{hour:02}:{minute:02}")  # type: ignore[arg-type]
    assert asked_time(spoken_opening(opening)).fits(opening)


def test_times_are_spoken_as_people_say_them() -> None:
    assert [spoken_time(time) for time in ("09:00", "14:30", "12:05", "18:15")] == [
        "nine in the morning",
        "two thirty in the afternoon",
        "twelve oh five in the afternoon",
        "six fifteen in the evening",
    ]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("My name is John Miller.", "John Miller"),
        ("It's sarah o'connor", "Sarah O'connor"),
        ("Yes, it's for Anna.", "Anna"),
        ("John Miller", "John Miller"),
        ("What are your hours?", None),
        ("Can I do Tuesday instead", None),
        ("", None),
    ],
)
def test_names(said: str, name: str | None) -> None:
    assert asked_name(said) == name


def test_the_whole_dialogue() -> None:
    dialogue = BookingDialogue(FORM)
    assert dialogue.begin("I'd like to book").text.startswith("I have Tuesday at ten in the morning")
    assert dialogue.answer("Tuesday at ten").text == "What is your name?"
    assert dialogue.answer("John Miller").text == "Tuesday at ten in the morning for John Miller, right?"
    done = dialogue.answer("Yes, that's right.")
    assert (done.state, dict(done.values)) == ("done", {"opening": "Tuesday 10:00", "name": "John Miller"})


def test_a_time_named_in_the_first_words_is_not_asked_for_again() -> None:
    assert BookingDialogue(FORM).begin("book me in for Tuesday at half past two").text == "What is your name?"


def test_a_time_that_is_not_open_is_refused_with_what_is() -> None:
    assert BookingDialogue(FORM).begin("Sunday at nine please").text.startswith("That is taken. I have Tuesday")


def test_no_at_the_confirmation_changes_the_time_and_keeps_the_name() -> None:
    dialogue = BookingDialogue(FORM)
    dialogue.begin("Tuesday at ten")
    dialogue.answer("Ann Lee")
    assert (
        dialogue.answer("No, make it two thirty").text == "Tuesday at two thirty in the afternoon for Ann Lee, right?"
    )
    assert dialogue.answer("yes").values == (("opening", "Tuesday 14:30"), ("name", "Ann Lee"))


def test_gives_up_after_tries_that_fit_nothing() -> None:
    dialogue = BookingDialogue(FORM)
    dialogue.begin("book")
    states = [dialogue.answer("bananas").state for _ in range(TRIES)]
    assert states == ["open"] * (TRIES - 1) + ["given_up"]
