"""Questions about opening hours: the answer is made of the hours, for the day that is asked about."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from models.settings import parse_settings
from pipeline.feasts import FEASTS
from pipeline.hours import CLOSED, Hours
from pipeline.hours_asked import answered, asks_only_for_a_day
from pipeline.hours_said import LONGEST_WEEK, SpokenHours
from pipeline.slots.dates import dates_said
from pipeline.slots.types import Language
from pipeline.slots.wording import hear

GARAGE = """
monday-friday: 8:00-17:00
saturday: 9:00-13:00
exceptions:
  12-25: closed
  new_year: closed
  christmas_eve: 8:00-12:00
  2026-12-28 to 2026-12-31: closed
"""
BISTRO = "tuesday-sunday: 17:00-23:00"
WEDNESDAY = datetime(2026, 11, 25, 16, 0)


def hours(text: str) -> Hours:
    return parse_settings(text, Hours, "hours.yaml")


@pytest.mark.parametrize(
    ("text", "english", "spanish"),
    [
        (
            GARAGE,
            "We are open Monday to Friday from eight to five, and on Saturday from nine to one.",
            "Abrimos de lunes a viernes de las ocho a las cinco, y los sábados de las nueve a la una.",
        ),
        (
            BISTRO,
            "We are open Tuesday to Sunday from five to eleven in the evening.",
            "Abrimos de martes a domingo de las cinco a las once de la noche.",
        ),
        (
            "mon-thu: 11:30-14:00, 17:00-22:00\nfri, sat: 18:00-2:00",
            "We are open Monday to Thursday from eleven thirty to two and from five to ten in the evening, and on "
            "Friday and Saturday from six in the evening to two in the morning.",
            "Abrimos de lunes a jueves de las once y media a las dos y de las cinco a las diez de la noche, y los "
            "viernes y los sábados de las seis de la tarde a las dos de la madrugada.",
        ),
        (
            "monday, tuesday, thursday: 8:30-12:00",
            "We are open on Monday, Tuesday and Thursday from eight thirty to noon.",
            "Abrimos los lunes, los martes y los jueves de las ocho y media al mediodía.",
        ),
        (
            "monday-sunday: 0:00-24:00",
            "We are open every day around the clock.",
            "Abrimos todos los días las veinticuatro horas.",
        ),
        (
            "monday-sunday: 7:00-20:00",
            "We are open every day from seven in the morning to eight in the evening.",
            "Abrimos todos los días de las siete de la mañana a las ocho de la noche.",
        ),
    ],
)
def test_the_usual_week_is_said_as_people_say_it(text: str, english: str, spanish: str) -> None:
    assert SpokenHours(hours(text), "en").week() == english
    assert SpokenHours(hours(text), "es").week() == spanish


def test_a_week_that_nobody_could_keep_in_mind_is_asked_about_by_day() -> None:
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    text = "\n".join(f"{day}: 8:{10 + place}-12:{10 + place}, 13:00-19:{10 + place}" for place, day in enumerate(days))
    week = SpokenHours(hours(text), "en").week()
    assert week.endswith("For which day would you like to know them?")
    assert len(week) < LONGEST_WEEK


@pytest.mark.parametrize(
    ("utterance", "answer"),
    [
        ("What are your hours?", "We are open Monday to Friday from eight to five, and on Saturday from nine to one."),
        ("When can I come on Saturday?", "On Saturday we are open from nine to one."),
        ("And tomorrow?", "Tomorrow we are open from eight to five."),
        ("How late are you there this evening?", "Today we are open from eight to five."),
        ("Will you be open at Christmas?", "On Christmas Day we are closed."),
        ("What about Christmas Eve?", "On Christmas Eve we are open from eight to noon."),
        ("Is anybody there on December 29th?", "On Tuesday, the twenty-ninth of December, we are closed."),
        ("Are you there on January the second?", "On Saturday, the second of January, we are open from nine to one."),
        ("Do you work Sundays?", "On Sundays we are closed."),
        ("Could I pick it up on a Sunday", "On Sundays we are closed."),
        (
            "Are you open on weekends",
            "On Saturdays we are open from nine to one. On Sundays we are closed.",
        ),
        (
            "Is the shop open Friday or Saturday?",
            "On Friday we are open from eight to five. On Saturday we are open from nine to one.",
        ),
        ("Are you open on Wednesday?", "On Wednesdays we are open from eight to five."),
        ("Are you open right now?", "We are open now, until five in the afternoon."),
        ("Which days are you closed?", "We are closed on Sunday."),
        ("Can I come this Thursday", "Tomorrow we are open from eight to five."),
        ("Can I come on Thursday", "On Thursday we are open from eight to five."),
        ("Are you open on bank holidays?", "We are closed on Christmas Day and New Year's Day."),
    ],
)
def test_the_day_that_is_asked_about_is_answered_for(utterance: str, answer: str) -> None:
    assert answered(hours(GARAGE), "en", utterance, WEDNESDAY) == answer


@pytest.mark.parametrize(
    ("utterance", "answer"),
    [
        (
            "¿Qué horario tienen?",
            "Abrimos de lunes a viernes de las ocho a las cinco, y los sábados de las nueve a la una.",
        ),
        ("¿Puedo ir el sábado?", "El sábado abrimos de las nueve a la una."),
        ("¿Y mañana?", "Mañana abrimos de las ocho a las cinco."),
        ("¿Trabajan los domingos?", "Los domingos estamos cerrados."),
        ("¿Están en Navidad?", "El día de Navidad estamos cerrados."),
        ("¿Y en Nochebuena?", "El día de Nochebuena abrimos de las ocho al mediodía."),
        ("¿Abren el dos de enero?", "El sábado, dos de enero, abrimos de las nueve a la una."),
        ("¿Están abiertos ahora mismo?", "Ahora estamos abiertos, hasta las cinco de la tarde."),
        ("¿Qué días cierran?", "Estamos cerrados los domingos."),
        ("¿Abren los festivos?", "Estamos cerrados el día de Navidad y el día de Año Nuevo."),
    ],
)
def test_it_is_in_spanish_too(utterance: str, answer: str) -> None:
    assert answered(hours(GARAGE), "es", utterance, WEDNESDAY) == answer


KEPT = "monday-friday: 8:00-17:00\nholidays: US"


@pytest.mark.parametrize(
    ("text", "language", "utterance", "answer"),
    [
        (KEPT, "en", "Are you open on holidays?", "We are closed on public holidays."),
        (KEPT, "es", "¿Abren los días feriados?", "Estamos cerrados los días festivos."),
        (KEPT, "en", "Are you open on Labor Day?", "On Labor Day we are closed."),
        (KEPT, "en", "Are you open tomorrow?", "Tomorrow we are closed."),  # Thanksgiving.
        (
            f"{KEPT}\nexceptions: {{thanksgiving: 8:00-10:30}}",
            "en",
            "Do you work on federal holidays?",
            "Tomorrow we are open from eight to ten thirty in the morning.",
        ),
    ],
)
def test_public_holidays_are_answered_for(text: str, language: Language, utterance: str, answer: str) -> None:
    assert answered(hours(text), language, utterance, WEDNESDAY) == answer


@pytest.mark.parametrize(
    ("moment", "english", "spanish"),
    [
        (
            "2026-11-25T07:00",
            "We are closed now. We open again today at eight in the morning.",
            "Ahora estamos cerrados. Volvemos a abrir hoy a las ocho de la mañana.",
        ),
        (
            "2026-11-28T13:00",
            "We are closed now. We open again on Monday at eight in the morning.",
            "Ahora estamos cerrados. Volvemos a abrir el lunes a las ocho de la mañana.",
        ),
        (
            "2026-12-24T18:00",
            "We are closed now. We open again on Saturday at nine in the morning.",
            "Ahora estamos cerrados. Volvemos a abrir el sábado a las nueve de la mañana.",
        ),
        (
            "2026-12-26T18:00",
            "We are closed now. We open again on Saturday, the second of January, at nine in the morning.",
            "Ahora estamos cerrados. Volvemos a abrir el sábado, dos de enero, a las nueve de la mañana.",
        ),
    ],
)
def test_out_of_hours_it_is_said_when_it_opens_again(moment: str, english: str, spanish: str) -> None:
    now = datetime.fromisoformat(moment)
    assert answered(hours(GARAGE), "en", "Are you open now?", now) == english
    assert answered(hours(GARAGE), "es", "¿Están abiertos ahora?", now) == spanish


def test_a_day_that_is_over_is_not_said_to_be_open() -> None:
    evening = WEDNESDAY.replace(hour=18)
    assert answered(hours(GARAGE), "en", "Are you open today?", evening) == (
        "We are closed for today. We open again tomorrow at eight in the morning."
    )


@pytest.mark.parametrize(
    ("day", "answer"),
    [
        (27, "On Saturday we are open from nine to one. On Sunday we are closed."),
        (28, "On Saturday we are open from nine to one. On Sunday we are closed."),
        (29, "Today we are closed. We open again tomorrow at eight in the morning."),
    ],
)
def test_this_weekend_is_what_is_left_of_it(day: int, answer: str) -> None:
    assert answered(hours(GARAGE), "en", "Are you open this weekend?", WEDNESDAY.replace(day=day)) == answer


def test_a_weekday_that_may_be_today_or_next_week_is_answered_for_both_if_one_is_an_exception() -> None:
    text = f"{BISTRO}\nexceptions: {{2026-12-02: closed}}"
    assert answered(hours(text), "en", "Are you open on Wednesday?", WEDNESDAY) == (
        "Today we are open from five to eleven in the evening. On Wednesday, the second of December, we are closed."
    )


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("text", [GARAGE, BISTRO])
def test_what_is_said_of_any_date_is_what_its_hours_are(text: str, language: Language) -> None:
    """For every day of a year: the day is read back by the reader of dates."""
    business = hours(text)
    said = SpokenHours(business, language)
    for days in range(1, 365):
        day = WEDNESDAY.date() + timedelta(days=days)
        sentence = hear(said.on_date(day, WEDNESDAY), language)
        assert [found.value.day for found in dates_said(sentence, WEDNESDAY.date())] == [day]
        assert bool(business.on(day)) == ("closed" not in sentence.flat and "cerrados" not in sentence.flat)


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_day_with_a_name_is_understood_by_the_name_that_the_agent_gives_it(language: Language) -> None:
    for name, feast in FEASTS.items():
        day = feast.on(2027)
        closed = hours(f"monday-sunday: 9:00-17:00\nexceptions: {{{name}: closed}}")
        answer = answered(closed, language, feast.spoken[language], datetime(2027, 1, 1, 8))
        assert closed.exceptions[name] == CLOSED
        assert not closed.on(day)
        assert "closed" in answer or "cerrad" in answer, (name, answer)


@pytest.mark.parametrize(
    ("language", "utterance", "only"),
    [
        ("en", "And tomorrow?", True),
        ("en", "Okay, what about Saturday then?", True),
        ("en", "Monday, until when?", True),
        ("en", "Tomorrow.", False),
        ("en", "Is it ready tomorrow?", False),
        ("en", "How about Tuesday at ten?", False),
        ("es", "¿Y el sábado?", True),
        ("es", "¿Puedo ir el sábado?", False),
    ],
)
def test_who_asks_for_nothing_but_a_day_is_told_apart(language: Language, utterance: str, only: bool) -> None:
    assert asks_only_for_a_day(utterance, language, WEDNESDAY) is only
