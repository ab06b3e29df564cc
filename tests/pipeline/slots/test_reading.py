"""Saying values back, and what is left to choose from."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.slots.reading import Option, ReadingContext, fitting, read, spoken
from pipeline.slots.spans import spans_of
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

TODAY = date(2026, 11, 25)
OPENINGS = (
    Option("2026-12-01T10:00", "Tuesday at ten in the morning"),
    Option("2026-12-01T14:30", "Tuesday at two thirty in the afternoon"),
    Option("2026-12-04T15:30", "Friday at three thirty in the afternoon"),
)
OPENING = Variable(type="choice", options_from="openings")


@pytest.mark.parametrize(
    ("variable", "value", "english", "spanish"),
    [
        (Variable(type="date"), "2026-12-01", "Tuesday, the first of December", "el martes, uno de diciembre"),
        (
            Variable(type="date"),
            "2028-01-15",
            "the fifteenth of January, twenty twenty-eight",
            "el quince de enero de dos mil veintiocho",
        ),
        (
            Variable(type="date", ahead=False),
            "1985-03-03",
            "the third of March, nineteen eighty-five",
            "el tres de marzo de mil novecientos ochenta y cinco",
        ),
        (Variable(type="time"), "09:00", "nine in the morning", "las nueve de la mañana"),
        (Variable(type="time"), "10:30", "ten thirty in the morning", "las diez y media de la mañana"),
        (Variable(type="time"), "14:30", "two thirty in the afternoon", "las dos y media de la tarde"),
        (Variable(type="time"), "12:05", "twelve oh five in the afternoon", "las doce y cinco del mediodía"),
        (Variable(type="time"), "18:15", "six fifteen in the evening", "las seis y cuarto de la tarde"),
        (Variable(type="time"), "13:00", "one in the afternoon", "la una de la tarde"),
        (Variable(type="time"), "12:00", "noon", "el mediodía"),
        (Variable(type="money"), "120.00", "one hundred and twenty dollars", "ciento veinte dólares"),
        (
            Variable(type="money", country="ES"),
            "1.50",
            "one euro and fifty cents",
            "un euro con cincuenta céntimos",
        ),
        (Variable(type="money", country="GB"), "0.01", "one penny", "un penique"),
        (Variable(type="number"), "-3.25", "minus three point two five", "menos tres coma dos cinco"),
        (
            Variable(type="phone"),
            "+12065550134",
            "two zero six, five five five, zero one three four",
            "dos cero seis, cinco cinco cinco, cero uno tres cuatro",
        ),
        (
            Variable(type="phone"),
            "+34612345678",
            "plus three four, six one two, three four, five six, seven eight",
            "más tres cuatro, seis uno dos, tres cuatro, cinco seis, siete ocho",
        ),
        (
            Variable(type="email"),
            "john.smith42@gmail.com",
            "john dot smith four two at gmail dot com",
            "john punto smith cuatro dos arroba gmail punto com",
        ),
        (Variable(type="email"), "one@x.com", "o n e at x dot com", "one arroba x punto com"),
        (Variable(type="digits"), "1234", "one two three four", "uno dos tres cuatro"),
        (Variable(type="digits"), "5550134", "five five five, zero one three four", None),
        (Variable(type="digits"), "12345678", "one two three four, five six seven eight", None),
        (Variable(type="code"), "5TRW991", "five, T R W, nine nine one", "cinco, T R uve doble, nueve nueve uno"),
        (Variable(type="code"), "ABCDEFY", "A B C, D E F Y", "A B C, D E F i griega"),
        (Variable(type="code"), "7O2", "seven, O as in Oscar, two", "siete, O, dos"),
        (Variable(type="yes_no"), "yes", "yes", "sí"),
        (Variable(type="name"), "John Miller", "John Miller", "John Miller"),
        (Variable(type="text"), "my tooth hurts.", "my tooth hurts.", None),
        (Variable(type="choice", choices={"deep_cleaning": ()}), "deep_cleaning", "deep cleaning", None),
        (Variable(type="choice", choices={"exam": ("a check-up",)}), "exam", "a check-up", None),
        (OPENING, "2026-12-01T10:00", "Tuesday at ten in the morning", "el martes a las diez de la mañana"),
        (
            OPENING,
            "2026-12-15T12:00",
            "Tuesday, the fifteenth of December, at noon",
            "el martes, quince de diciembre, al mediodía",
        ),
        (OPENING, "2026-12-01", "Tuesday", "el martes"),
        (OPENING, "10:00", "ten in the morning", "las diez de la mañana"),
        (OPENING, "Doctor Lee", "Doctor Lee", "Doctor Lee"),
    ],
)
def test_values_are_spoken_as_people_say_them(
    variable: Variable, value: str, english: str, spanish: str | None
) -> None:
    assert spoken(variable, value, ReadingContext(TODAY)) == english
    if spanish is not None:
        assert spoken(variable, value, ReadingContext(TODAY, "es")) == spanish


@pytest.mark.parametrize(
    ("language", "window", "utterance", "hour"),
    [
        ("en", "17:00-23:00", "at seven", "19:00"),
        ("en", "17:00-23:00", "nine thirty", "21:30"),
        ("en", "17:00-23:00", "quarter to nine", "20:45"),
        ("en", "17:00-23:00", "at eleven", "23:00"),  # The end of a span is nearer than what is outside.
        ("en", "17:00-23:00", "seven in the morning", "07:00"),
        ("en", "17:00-23:00", "at one", "13:00"),  # Outside either way: by day.
        ("en", "11:30-14:00, 17:00-23:00", "at one", "13:00"),
        ("en", "18:00-2:00", "at one", "01:00"),
        ("en", "18:00-2:00", "twelve", "00:00"),
        ("en", "7:00-19:00", "seven", "07:00"),
        ("en", "8:00-22:00", "nine", "09:00"),
        ("es", "17:00-23:00", "a las siete y media", "19:30"),
        ("es", "17:00-23:00", "a las siete de la mañana", "07:00"),
    ],
)
def test_a_time_without_its_half_lies_where_its_variable_says(
    language: Language, window: str, utterance: str, hour: str
) -> None:
    reading = read(Variable(type="time"), utterance, ReadingContext(TODAY, language, window=spans_of(window)))
    assert reading is not None
    assert reading.value == hour


def test_an_option_is_spoken_as_it_was_offered() -> None:
    context = ReadingContext(TODAY, options=(Option("d1", "Doctor Sarah Miller"),))
    assert spoken(OPENING, "d1", context) == "Doctor Sarah Miller"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (Variable(type="date"), "1 December"),
        (Variable(type="date"), "2026-02-30"),
        (Variable(type="time"), "25:00"),
        (Variable(type="money"), "120"),
        (Variable(type="number"), "many"),
        (Variable(type="phone"), "555 0134"),
        (Variable(type="digits"), "12a"),
        (Variable(type="code"), "7xk"),
        (Variable(type="email"), "john"),
        (Variable(type="yes_no"), "maybe"),
    ],
)
def test_what_is_not_canonical_is_not_spoken(variable: Variable, value: str) -> None:
    with pytest.raises(ValueError, match=r"expected|day"):
        spoken(variable, value, ReadingContext(TODAY))


@pytest.mark.parametrize(
    ("utterance", "values"),
    [
        ("Tuesday", ["2026-12-01T10:00", "2026-12-01T14:30"]),
        ("in the afternoon", ["2026-12-01T14:30", "2026-12-04T15:30"]),
        ("Tuesday or Friday afternoon", ["2026-12-01T14:30", "2026-12-04T15:30"]),
        ("after two", ["2026-12-01T14:30", "2026-12-04T15:30"]),
        ("Tuesday at ten", ["2026-12-01T10:00"]),
        ("the first or the last", ["2026-12-01T10:00", "2026-12-04T15:30"]),
        ("not Tuesday", ["2026-12-04T15:30"]),
        ("not in the morning", ["2026-12-01T14:30", "2026-12-04T15:30"]),
        ("not before three", ["2026-12-04T15:30"]),
        ("any time, just not between two and three", []),
        ("I'm away on Tuesday", ["2026-12-04T15:30"]),
        ("Wednesday", []),
        ("what does it cost", []),
        ("", []),
    ],
)
def test_what_fits_is_what_the_caller_can_be_asked_between(utterance: str, values: list[str]) -> None:
    context = ReadingContext(TODAY, options=OPENINGS)
    assert [option.value for option in fitting(OPENING, utterance, context)] == values
    reading = read(OPENING, utterance, context)
    assert (reading.value if reading else None) == (values[0] if len(values) == 1 else None)


def test_fixed_choices_that_fit_are_offered_as_they_are_said() -> None:
    variable = Variable(type="choice", choices={"cleaning": ("a cleaning",), "exam": ("a check-up",), "other": ()})
    assert fitting(variable, "a cleaning or a checkup", ReadingContext(TODAY)) == (
        Option("cleaning", "a cleaning", ("a cleaning", "cleaning")),
        Option("exam", "a check-up", ("a check-up", "exam")),
    )


def test_only_a_choice_has_something_that_fits() -> None:
    assert fitting(Variable(type="date"), "Tuesday", ReadingContext(TODAY, options=OPENINGS)) == ()


@pytest.mark.parametrize(
    ("language", "utterance", "words"),
    [("en", "Um, my name is  John Miller, please.", "John Miller"), ("es", "Sí, me llamo José Núñez.", "José Núñez")],
)
def test_a_reading_keeps_the_callers_own_words(language: Language, utterance: str, words: str) -> None:
    reading = read(Variable(type="name"), utterance, ReadingContext(TODAY, language))
    assert reading is not None
    assert reading.words == words


def test_accents_may_come_in_two_parts() -> None:
    decomposed = "el mie\u0301rcoles"
    reading = read(Variable(type="date"), decomposed, ReadingContext(TODAY, "es"))
    assert reading is not None
    assert reading.value == "2026-12-02"
