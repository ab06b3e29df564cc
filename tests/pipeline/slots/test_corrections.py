"""What callers change of what is known, and what they leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from pipeline.slots.corrections import Known, called_wrong, corrections, second_thought, told
from pipeline.slots.reading import Option, ReadingContext
from pipeline.slots.spans import spans_of
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

TODAY = date(2026, 11, 25)
OFFER = (
    Option("2026-11-30T08:15", "Monday at eight fifteen in the morning"),
    Option("2026-12-03T08:15", "Thursday at eight fifteen in the morning"),
    Option("2026-12-03T16:45", "Thursday at four forty-five in the afternoon"),
)
VARIABLES: Mapping[str, Variable] = {
    "opening": Variable(type="choice", options_from="openings"),
    "name": Variable(type="name", description="who the table is for"),
    "day": Variable(type="date", description="day of the visit"),
    "hour": Variable(type="time", description="time of the visit"),
    "party": Variable(type="number", description="number of people"),
    "phone": Variable(type="phone"),
    "street": Variable(type="text", description="street address for the driver"),
    "plate": Variable(type="code", description="license plate"),
    "size": Variable(type="choice", choices={"small": ("small", "pequeño"), "large": ("large", "grande")}),
}


def known(language: Language = "en", **values: str) -> dict[str, Known]:
    return {
        name: Known(
            VARIABLES[name], value, ReadingContext(TODAY, language, OFFER if VARIABLES[name].options_from else ())
        )
        for name, value in values.items()
    }


def changed(utterance: str, language: Language, agreed: bool = False, **values: str) -> dict[str, str]:
    found = corrections(utterance, known(language, **values), language, agreed=agreed)
    return {name: reading.value for name, reading in found.items()}


TABLE = {"day": "2026-12-02", "hour": "20:00", "party": "4", "name": "Jon Baker", "phone": "+12065550134"}


@pytest.mark.parametrize(
    ("utterance", "wanted"),
    [
        ("no, seven thirty", {"hour": "19:30"}),
        ("no, in the morning", {"hour": "08:00"}),
        ("not Wednesday, Friday", {"day": "2026-11-27"}),
        ("It's six people, actually", {"party": "6"}),
        ("it's not Jon, it's Jonathan", {"name": "Jonathan Baker"}),
        ("It's not Jon it's Jonathan", {"name": "Jonathan Baker"}),
        ("No, it's not Jon, it's Mary Cook", {"name": "Mary Cook"}),
        ("No, the surname is Becker", {"name": "Jon Becker"}),
        ("No, B-A-C-K-E-R", {"name": "Jon Backer"}),
        ("No, it ends in 43", {"phone": "+12065550143"}),
        ("no, 206 555 0177", {"phone": "+12065550177"}),
        ("No, on Friday and for five people", {"day": "2026-11-27", "party": "5"}),
        ("No", {}),
        ("No, that's terrible", {}),
        ("No, six", {}),
        ("no, not Wednesday", {}),
    ],
)
def test_a_correction_changes_only_what_it_is_about(utterance: str, wanted: dict[str, str]) -> None:
    assert changed(utterance, "en", **TABLE) == wanted


@pytest.mark.parametrize(
    ("utterance", "wanted"),
    [
        ("no, a las siete y media", {"hour": "19:30"}),
        ("No el miércoles, el viernes", {"day": "2026-11-27"}),
        ("no es Jon, es Jonatán", {"name": "Jonatán Baker"}),
        ("No, me llamo Rosa Vega", {"name": "Rosa Vega"}),
        ("mejor el jueves", {"day": "2026-11-26"}),
        ("No, por la mañana", {"hour": "08:00"}),
        ("no", {}),
    ],
)
def test_a_correction_in_spanish_changes_only_what_it_is_about(utterance: str, wanted: dict[str, str]) -> None:
    assert changed(utterance, "es", **TABLE) == wanted


@pytest.mark.parametrize(
    ("utterance", "value"),
    [
        ("No, in the afternoon", "2026-12-03T16:45"),
        ("make it Monday", "2026-11-30T08:15"),
        ("not Thursday, Monday", "2026-11-30T08:15"),
    ],
)
def test_another_one_on_offer_is_the_one_nearest_to_what_was_chosen(utterance: str, value: str) -> None:
    assert changed(utterance, "en", opening="2026-12-03T08:15") == {"opening": value}


@pytest.mark.parametrize(
    ("utterance", "language", "wanted"),
    [
        ("No, it's 5TRW 992", "en", {"plate": "5TRW992"}),
        ("no, five T R W nine nine two", "en", {"plate": "5TRW992"}),
        ("No, the plate is 5TRW9921", "en", {"plate": "5TRW9921"}),
        ("It's not 5TRW991, it's 5TRW992", "en", {"plate": "5TRW992"}),
        ("no, seven thirty", "en", {"hour": "19:30"}),
        ("No, it's right, 5TRW991", "en", {}),
        ("No, es cinco, te, erre, uve doble, nueve nueve dos", "es", {"plate": "5TRW992"}),
    ],
)
def test_a_code_is_corrected_by_another_one(utterance: str, language: Language, wanted: dict[str, str]) -> None:
    assert changed(utterance, language, plate="5TRW991", hour="20:00") == wanted


@pytest.mark.parametrize(
    ("utterance", "wanted"),
    [
        ("the address, it's 19 Quarry Road", {"street": "19 Quarry Road"}),
        ("No, the street address should be 4 Hill Lane", {"street": "4 Hill Lane"}),
        ("Well, the address is just 9 Quarry Road", {"street": "9 Quarry Road"}),
        ("no, change the address, it should be 4 Hill Lane", {"street": "4 Hill Lane"}),
        ("no, it's 71 Quarry Road", {"street": "71 Quarry Road"}),
        ("no, the address is wrong", {}),
        ("no, six people", {"party": "6"}),
        ("No, that's not right", {}),
    ],
)
def test_a_text_is_corrected_where_it_is_called_or_resembles_the_one_before(
    utterance: str, wanted: dict[str, str]
) -> None:
    assert changed(utterance, "en", street="17 Quarry Road", party="4") == wanted


@pytest.mark.parametrize(("utterance", "language"), [("actually make it the other one", "en"), ("mejor el otro", "es")])
def test_the_other_one_of_two_is_the_one_that_was_not_chosen(utterance: str, language: Language) -> None:
    assert changed(utterance, language, size="small") == {"size": "large"}


@pytest.mark.parametrize(
    ("utterance", "wanted"),
    [
        ("Yes, Wednesday at eight", {}),
        ("Yes, this is Jon", {}),
        ("Yes, and have a nice evening", {}),
        ("Yes. Are you open on Friday?", {}),
        ("Yes, for six people", {"party": "6"}),
    ],
)
def test_a_yes_changes_only_what_it_names_otherwise(utterance: str, wanted: dict[str, str]) -> None:
    assert changed(utterance, "en", agreed=True, **TABLE) == wanted


NAMED = {
    "pet": Known(Variable(type="name", description="name of the pet"), "Nina", ReadingContext(TODAY)),
    "owner": Known(Variable(type="name", description="name of the caller"), "Paula Hart", ReadingContext(TODAY)),
}


@pytest.mark.parametrize(
    ("utterance", "language", "wanted"),
    [
        ("No, it's not Nina, it's Nora", "en", {"pet": "Nora"}),
        ("No, not Hart, it's Harte", "en", {"owner": "Paula Harte"}),
        ("No, the hamster is called Pip", "en", {"pet": "Pip"}),
        ("No, his name is Pip", "en", {"pet": "Pip"}),
        ("No, my name is Pauline Hart", "en", {"owner": "Pauline Hart"}),
        ("No, it's Pauline Hart", "en", {"owner": "Pauline Hart"}),
        ("No, just Paula", "en", {"owner": "Paula"}),
        ("No, it's Ted", "en", {}),
        ("Yes, but it's just Ted", "en", {}),
        ("No, no es Nina, es Nora", "es", {"pet": "Nora"}),
        ("No, la coneja se llama Mora", "es", {"pet": "Mora"}),
        ("No, me llamo Paula Gil", "es", {"owner": "Paula Gil"}),
        ("No, es solo Paula", "es", {"owner": "Paula"}),
    ],
)
def test_of_two_names_the_one_is_corrected_that_it_is_about(
    utterance: str, language: Language, wanted: dict[str, str]
) -> None:
    both = {name: replace(each, context=replace(each.context, language=language)) for name, each in NAMED.items()}
    assert {name: reading.value for name, reading in corrections(utterance, both, language).items()} == wanted


@pytest.mark.parametrize(
    ("utterance", "language", "agreed", "value"),
    [
        ("Just Helen Marsh, without the honey.", "en", False, "Helen Marsh"),
        ("Without the honey, please", "en", False, "Helen Marsh"),
        ("Yes, but it's just Helen Marsh.", "en", False, "Helen Marsh"),
        ("Yes, only Helen Marsh", "en", True, "Helen Marsh"),
        ("Helen Marsh", "en", False, None),
        ("Yes, Helen Marsh", "en", True, None),
        ("Just a moment, Helen", "en", False, None),
        ("Yes, without a doubt", "en", True, None),
        ("Sí, pero es solo Helen Marsh", "es", False, "Helen Marsh"),
        ("Quite el honey", "es", False, "Helen Marsh"),
    ],
)
def test_a_name_of_which_too_much_was_heard_may_be_cut_down(
    utterance: str, language: Language, agreed: bool, value: str | None
) -> None:
    assert changed(utterance, language, agreed, name="Helen Marsh Honey") == ({"name": value} if value else {})


@pytest.mark.parametrize(
    ("utterance", "language", "name"),
    [
        ("The pet's name", "en", "pet"),
        ("the hamster's name is wrong", "en", "pet"),
        ("The owner's name is wrong", "en", "owner"),
        ("my name", "en", "owner"),
        ("the name is wrong", "en", None),
        ("el nombre de la perra", "es", "pet"),
        ("mi nombre está mal", "es", "owner"),
    ],
)
def test_of_two_names_the_one_called_wrong_is_told_by_whose_it_is(
    utterance: str, language: Language, name: str | None
) -> None:
    assert called_wrong(utterance, {key: each.variable for key, each in NAMED.items()}, language) == name


EARLY = Known(Variable(type="time"), "07:00", ReadingContext(TODAY, window=spans_of("17:00-23:00")))


@pytest.mark.parametrize(
    ("utterance", "agreed", "hour"),
    [
        ("No, in the evening", False, "19:00"),
        ("In the evening", False, "19:00"),
        ("Evening, please", False, "19:00"),
        ("No, in the afternoon", False, "19:00"),
        ("Yes, in the evening", True, "19:00"),
        ("No, I meant tonight", False, "19:00"),
        ("No, nine in the evening", False, "21:00"),
        ("No, in the morning", False, "07:00"),  # It is said again.
        ("Yes, in the morning", True, None),
        ("Yes, have a nice evening", True, None),
        ("Yes, do you have music in the evening?", True, None),
        ("Yes, the evening show was sold out", True, None),
    ],
)
def test_a_half_of_the_day_changes_the_half_and_keeps_the_hour(utterance: str, agreed: bool, hour: str | None) -> None:
    found = corrections(utterance, {"hour": EARLY}, "en", agreed=agreed)
    assert (found["hour"].value if found else None) == hour


@pytest.mark.parametrize("utterance", ["No, de la noche", "Por la noche", "No, por la tarde"])
def test_it_does_so_in_spanish(utterance: str) -> None:
    spanish = replace(EARLY, context=replace(EARLY.context, language="es"))
    assert corrections(utterance, {"hour": spanish}, "es")["hour"].value == "19:00"


def test_an_answer_to_what_shall_be_changed_needs_no_mark() -> None:
    found = told("Seven thirty", known(**TABLE), "en")
    assert {name: reading.value for name, reading in found.items()} == {"hour": "19:30"}
    assert not told("Six", known(**TABLE), "en")


def test_a_number_that_could_be_anything_is_for_what_is_called_before_it() -> None:
    for said, name in (("the time, make it six", "hour"), ("my party, six", "party")):
        assert list(told(said, known(**TABLE), "en")) == [name]


@pytest.mark.parametrize(
    ("utterance", "language", "name"),
    [
        ("The name is wrong", "en", "name"),
        ("No, that's the wrong day", "en", "day"),
        ("Change the time, please", "en", "hour"),
        ("the name", "en", "name"),
        ("What day is it?", "en", None),
        ("no", "en", None),
        ("cambie la hora", "es", "hour"),
        ("cambie la mesa", "es", None),
    ],
)
def test_what_is_called_wrong_is_found_by_its_name_its_description_or_its_kind(
    utterance: str, language: Language, name: str | None
) -> None:
    assert called_wrong(utterance, VARIABLES, language) == name


def test_a_second_thought_is_told_from_the_answer_before_it() -> None:
    assert second_thought("Ana Silva, oh wait, make it Friday", "en") == ("Ana Silva, ", "oh wait, make it Friday")
    assert second_thought("Ana Silva, mejor el viernes", "es") == ("Ana Silva, ", "mejor el viernes")
    assert second_thought("Ana Silva", "en") is None
