"""What holds of every value and every text: what the agent says is understood when said back, and nothing raises."""

from __future__ import annotations

from datetime import date, timedelta
from string import ascii_lowercase
from typing import get_args

import phonenumbers
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.slots.reading import Option, Reading, ReadingContext, fitting, read, spoken
from pipeline.slots.types import Language
from pipeline.slots.variables import SlotType, Variable

TODAY = date(2026, 11, 25)
LANGUAGES: tuple[Language, ...] = get_args(Language)
languages = st.sampled_from(LANGUAGES)
days = st.dates(date(2025, 1, 1), date(2030, 12, 31))
OPTIONS = (
    Option("2026-12-01T10:00", "Tuesday at ten in the morning"),
    Option("2026-12-04T15:30", "Friday at half past three", ("the late one",)),
    Option("", ""),
    Option("2026-13-99", "a date that is none"),
)


def said_back(variable: Variable, value: str, context: ReadingContext) -> str | None:
    reading = read(variable, spoken(variable, value, context), context)
    return reading.value if reading else None


@given(languages, days, st.integers(0, 365 * 3))
def test_a_date_ahead_is_understood_when_said_back(language: Language, today: date, days_ahead: int) -> None:
    value = (today + timedelta(days=days_ahead)).isoformat()
    assert said_back(Variable(type="date"), value, ReadingContext(today, language)) == value


@given(languages, days, st.dates(date(1900, 1, 1), date(2099, 12, 31)))
def test_any_other_date_is_understood_when_said_back(language: Language, today: date, day: date) -> None:
    variable = Variable(type="date", ahead=False)
    assert said_back(variable, day.isoformat(), ReadingContext(today, language)) == day.isoformat()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_time_of_day_is_understood_when_said_back(language: Language) -> None:
    variable, context = Variable(type="time"), ReadingContext(TODAY, language)
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60)]
    assert [time for time in times if said_back(variable, time, context) != time] == []


@given(languages, st.decimals(0, 10**9, places=2))
def test_an_amount_is_understood_when_said_back(language: Language, amount: object) -> None:
    for country in ("US", "ES", "GB", "MX"):
        value = f"{amount:.2f}"
        assert said_back(Variable(type="money", country=country), value, ReadingContext(TODAY, language)) == value


@example("es", 479001000, "")
@given(languages, st.integers(-(10**9), 10**9), st.text("0123456789", max_size=4))
def test_a_number_is_understood_when_said_back(language: Language, whole: int, decimals: str) -> None:
    value = f"{whole}.{decimals}".rstrip("0").rstrip(".") if decimals else str(whole)
    assert said_back(Variable(type="number"), value, ReadingContext(TODAY, language)) == value


@given(languages, st.text("0123456789", min_size=1, max_size=20))
def test_digits_are_understood_when_said_back(language: Language, value: str) -> None:
    assert said_back(Variable(type="digits"), value, ReadingContext(TODAY, language)) == value


@given(languages, st.from_regex(r"\A(?:[A-Z0-9]{1,11}[0-9][A-Z0-9]{1,8}|[A-Z]{3,12})\Z"))
def test_a_code_is_understood_when_said_back(language: Language, value: str) -> None:
    assert said_back(Variable(type="code"), value, ReadingContext(TODAY, language)) == value


@given(languages, st.from_regex(r"\A[2-9][0-9]{2}[2-9][0-9]{6}\Z"))
def test_a_phone_number_is_understood_when_said_back(language: Language, national: str) -> None:
    assert said_back(Variable(type="phone"), f"+1{national}", ReadingContext(TODAY, language)) == f"+1{national}"


@pytest.mark.parametrize(("language", "country"), [("en", "US"), ("en", "GB"), ("es", "ES")])
def test_numbers_of_every_country_are_understood_when_said_back(language: Language, country: str) -> None:
    variable, context = Variable(type="phone", country=country), ReadingContext(TODAY, language)
    lost = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            value = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            if said_back(variable, value, context) != value:
                lost.append((region, value, spoken(variable, value, context)))
    assert lost == []


words = st.text(ascii_lowercase, min_size=1, max_size=8) | st.sampled_from(
    ["one", "dot", "at", "o", "double", "is", "my", "no", "dos", "punto", "arroba", "y", "as", "in", "veinte", "mil"]
)
atoms = st.builds("".join, st.lists(words | st.text("0123456789", min_size=1, max_size=3), min_size=1, max_size=3))


@given(
    languages,
    st.builds(
        lambda parts, joins: "".join(part + join for part, join in zip(parts, [*joins, ""], strict=False)),
        st.lists(atoms, min_size=1, max_size=3),
        st.lists(st.sampled_from("._-+"), min_size=2, max_size=2),
    ),
    st.lists(words, min_size=1, max_size=2),
    st.sampled_from(["com", "org", "net", "es", "co.uk", "no", "me", "io"]),
)
def test_an_address_is_understood_when_said_back(language: Language, local: str, hosts: list[str], top: str) -> None:
    local = local.strip("._-+")
    assume(local and len(local) <= 64)
    value = f"{local}@{'-'.join(hosts)}.{top}"
    variable, context = Variable(type="email"), ReadingContext(TODAY, language)
    assume(read(variable, value, context) == Reading(value, value, 1.0))
    assert said_back(variable, value, context) == value


GIVEN = ("John", "Mary-Jane", "María", "José", "Will", "April", "Xiu", "Ng", "Åse", "Anna", "O'Brien", "Julio")
FAMILY = ("Smith", "O'connor", "García", "McDonald", "Miller", "Ruiz", "Li", "Núñez", "Hope", "De La Cruz", "Van Dyke")


@given(languages, st.sampled_from(GIVEN), st.sampled_from(FAMILY))
def test_a_name_is_understood_when_said_back(language: Language, given_name: str, family: str) -> None:
    value = f"{given_name} {family}"
    assert said_back(Variable(type="name"), value, ReadingContext(TODAY, language)) == value


@given(languages, st.text(max_size=60))
def test_a_text_is_understood_when_said_back(language: Language, said: str) -> None:
    variable, context = Variable(type="text"), ReadingContext(TODAY, language)
    reading = read(variable, said, context)
    assume(reading is not None)
    assert reading is not None
    assert said_back(variable, reading.value, context) == reading.value


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("value", ["yes", "no"])
def test_yes_and_no_are_understood_when_said_back(language: Language, value: str) -> None:
    assert said_back(Variable(type="yes_no"), value, ReadingContext(TODAY, language)) == value


@pytest.mark.parametrize("value", ["cleaning", "deep_cleaning", "checkup", "other"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_choice_is_understood_when_said_back(language: Language, value: str) -> None:
    ways: dict[str, tuple[str, ...]] = {
        "cleaning": (),
        "deep_cleaning": (),
        "checkup": ("a check-up",),
        "other": ("something else",),
    }
    assert said_back(Variable(type="choice", choices=ways), value, ReadingContext(TODAY, language)) == value


@given(languages, st.sets(st.integers(0, 40 * 24 * 4), min_size=1, max_size=6))
def test_an_opening_is_understood_when_said_back(language: Language, quarters: set[int]) -> None:
    variable = Variable(type="choice", options_from="openings")
    plain = ReadingContext(TODAY, language)
    values = []
    for quarter in sorted(quarters):
        day, of_day = TODAY + timedelta(days=quarter // 96), quarter % 96
        values.append(f"{day.isoformat()}T{of_day // 4:02}:{of_day % 4 * 15:02}")
    options = tuple(Option(value, spoken(variable, value, plain)) for value in values)
    context = ReadingContext(TODAY, language, options)
    assert [said_back(variable, value, context) for value in values] == values


SPEECH = st.lists(
    st.sampled_from(
        """um no not sorry Tuesday next week the first third of March may at ten thirty half past quarter to a.m.
        p.m. in morning afternoon one two oh double twenty hundred thousand and point minus dollars cents $ € 3/14
        10:30 2026-12-01 99/99 5-5-5 +1 206 john dot gmail com @ as in Sam S-M-I-T-H S M my name is for yes last
        option number between after el martes mañana por la tarde las dos y media menos cuarto mil cien un con
        centavos arroba punto guion bajo sí . , ? no problem week from days ago hace dentro de pasado que viene '
        " - ( ) double o'clock 2026 '85 Dr. Mr.""".split()
    ),
    max_size=12,
).map(" ".join)


@pytest.mark.parametrize("kind", get_args(SlotType))
@given(
    languages,
    st.text(max_size=80) | SPEECH,
    st.booleans(),
    st.sampled_from([(), OPTIONS]),
    st.dates(date(1, 1, 1), date(9999, 12, 31)) | st.just(TODAY),
)
def test_no_text_raises(
    kind: SlotType, language: Language, said: str, asked: bool, options: tuple[Option, ...], today: date
) -> None:
    for ahead in (True, False):
        variable = Variable(type=kind, ahead=ahead, description="number of people")
        context = ReadingContext(today, language, options, asked)
        reading = read(variable, said, context)
        fitting(variable, said, context)
        if reading is not None and today == TODAY:
            assert 0 < reading.confidence <= 1
            spoken(variable, reading.value, context)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", get_args(SlotType))
def test_a_long_monologue_is_read_within_a_blink(kind: SlotType) -> None:
    """Patterns that backtrack would take minutes; the bound is generous because machines differ."""
    said = "well um, the the one two a b c , , , no, Tuesday at ten or so and and john dot smith " * 40
    for language in LANGUAGES:
        read(Variable(type=kind), said, ReadingContext(TODAY, language, OPTIONS))
