"""Choosing among what is on offer by its place."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from pipeline.slots.reading import Option, ReadingContext, read
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

OPENINGS = Variable(type="choice", options_from="openings")
CONTEXT = ReadingContext(
    today=date(2026, 11, 25), options=(Option("a", "Tuesday at ten"), Option("b", "Friday at noon"))
)


@pytest.mark.parametrize(
    "utterance", ["I need to ask my husband first", "let me look at my calendar first", "who came last"]
)
def test_first_and_last_as_adverbs_choose_nothing(utterance: str) -> None:
    assert read(OPENINGS, utterance, CONTEXT) is None


@pytest.mark.parametrize("utterance", ["the first please", "I'd take first", "maybe the first", "first"])
def test_first_as_a_choice_is_one(utterance: str) -> None:
    reading = read(OPENINGS, utterance, CONTEXT)
    assert reading is not None
    assert reading.value == "a"


@pytest.mark.parametrize(
    ("utterance", "language"),
    [
        ("One second, please", "en"),
        ("just a second", "en"),
        ("Give me a second.", "en"),
        ("Could you hold on for a second?", "en"),
        ("un segundo, por favor", "es"),
        ("Deme un segundito", "es"),
    ],
)
def test_a_second_of_time_is_not_the_second_one(utterance: str, language: Language) -> None:
    assert read(OPENINGS, utterance, replace(CONTEXT, language=language)) is None


@pytest.mark.parametrize(
    ("utterance", "language", "value"),
    [
        ("Second, please", "en", "b"),
        ("Hang on a second. The first one.", "en", "a"),
        ("How about the second one?", "en", "b"),
        ("Is the second one still free?", "en", "b"),
        ("A ver... la segunda", "es", "b"),
    ],
)
def test_a_place_in_the_list_is_a_pick_beside_a_request_to_wait(utterance: str, language: Language, value: str) -> None:
    reading = read(OPENINGS, utterance, replace(CONTEXT, language=language))
    assert reading is not None
    assert reading.value == value


@pytest.mark.parametrize(
    ("utterance", "language"),
    [
        ("First, does it hurt?", "en"),
        ("Could you say the last one again?", "en"),
        ("Is the first one with a woman?", "en"),
        ("Last time I came by bus.", "en"),
        ("¿Cuál era la segunda?", "es"),
        ("¿Me puede repetir la última?", "es"),
    ],
)
def test_a_question_about_what_is_on_offer_picks_nothing(utterance: str, language: Language) -> None:
    assert read(OPENINGS, utterance, replace(CONTEXT, language=language)) is None


TWO_TIMES = ReadingContext(
    today=date(2026, 11, 25),
    options=(Option("2026-11-27T18:30", "Friday at six thirty"), Option("2026-11-27T21:00", "Friday at nine")),
)


@pytest.mark.parametrize(
    ("utterance", "value"),
    [("The later one.", "2026-11-27T21:00"), ("the earlier one please", "2026-11-27T18:30"), ("a later one", None)],
)
def test_of_two_times_the_later_one_is_the_second(utterance: str, value: str | None) -> None:
    reading = read(OPENINGS, utterance, TWO_TIMES)
    assert (reading and reading.value) == value


@pytest.mark.parametrize(
    ("utterance", "taken"),
    [("Yes, please.", True), ("That one.", True), ("No.", False), ("Yes, but later", False), ("One moment", False)],
)
def test_the_only_one_on_offer_is_taken_with_a_yes(utterance: str, taken: bool) -> None:
    one = replace(TWO_TIMES, options=TWO_TIMES.options[:1])
    assert (read(OPENINGS, utterance, one) is not None) == taken
    assert read(OPENINGS, utterance, TWO_TIMES) is None


TIMES = replace(
    CONTEXT,
    options=tuple(Option(f"2026-12-0{day}T{time}", "") for day, time in ((1, "11:00"), (1, "15:00"), (2, "17:30"))),
)


@pytest.mark.parametrize(
    ("utterance", "time"),
    [
        ("The eleven one.", "11:00"),
        ("I'd like the three one, please", "15:00"),
        ("the three o'clock one", "15:00"),
        ("Let's do the five thirty one", "17:30"),
        ("Oh, the five thirty-one is good", "17:30"),
        ("the 11 one", "11:00"),
        ("the second one", "15:00"),
        ("the last one", "17:30"),
        ("the four one", None),
        ("the twenty one", None),
        ("la de las once", "11:00"),
        ("el de las tres, por favor", "15:00"),
        ("pues la de las cinco y media", "17:30"),
        ("la segunda", "15:00"),
        ("la de las cuatro", None),
    ],
)
def test_the_one_at_a_time_of_day_is_found(utterance: str, time: str | None) -> None:
    context = replace(TIMES, language="es" if utterance.startswith(("la ", "el ", "pues ")) else "en")
    reading = read(OPENINGS, utterance, context)
    assert (reading.value[-5:] if reading else None) == time


def test_a_minute_that_is_on_offer_is_no_such_one() -> None:
    offered = replace(TIMES, options=(Option("2026-12-01T17:30", ""), Option("2026-12-01T17:31", "")))
    reading = read(OPENINGS, "the five thirty-one", offered)
    assert reading is not None
    assert reading.value == "2026-12-01T17:31"


BY_ID = {
    "en": ("Tuesday at ten in the morning", "Tuesday at 2:30 in the afternoon", "Thursday, December 10, at 9 am"),
    "es": ("el martes a las diez de la mañana", "el martes a las dos y media de la tarde", "el jueves a las nueve"),
}


@pytest.mark.parametrize(
    ("language", "said", "value"),
    [
        ("en", "the ten one", "0"),
        ("en", "half past two", "1"),
        ("en", "Thursday", "2"),
        ("en", "the one on the tenth", "2"),
        ("en", "the second one", "1"),
        ("en", "Tuesday", None),
        ("es", "la de las diez", "0"),
        ("es", "el jueves", "2"),
        ("es", "la más tarde", "2"),
        ("es", "el martes", None),
    ],
)
def test_what_its_system_knows_by_an_id_is_found_by_the_day_and_time_that_are_said_of_it(
    language: Language, said: str, value: str | None
) -> None:
    options = tuple(Option(str(number), words) for number, words in enumerate(BY_ID[language]))
    context = ReadingContext(today=date(2026, 11, 28), language=language, options=options)
    reading = read(Variable(type="choice", options_from="openings"), said, context)
    assert (reading.value if reading else None) == value


@pytest.mark.parametrize(("said", "value"), [("the shoe one", "1"), ("the book parcel", "0"), ("the parcel", None)])
def test_one_thing_is_named_by_what_several_are_called(said: str, value: str | None) -> None:
    options = (Option("0", "the parcel from Alder Books"), Option("1", "the parcel from Penrose Shoes"))
    context = ReadingContext(today=date(2026, 11, 28), options=options)
    reading = read(Variable(type="choice", options_from="parcels"), said, context)
    assert (reading.value if reading else None) == value
