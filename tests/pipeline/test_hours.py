"""When a business is open: what its file says, by its own clock."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from models.settings import SettingsError, parse_settings
from pipeline.feasts import FEASTS
from pipeline.hours import Hours, minute_at, weekdays_of

BAKERY = """
zone: America/New_York
tuesday-friday: 6:30-18:00
saturday: 7:00-13:00
exceptions:
  2026-12-24: 6:30-12:00
  12-24 to 12-26: closed
  thanksgiving: 7:00-10:00
  2027-08-02 to 2027-08-14: closed
"""
BAR = """
mon-thu: 18:00-2:00
fri, sat: 12:00-14:30, 18:00 - 3:00
"""


def hours(text: str) -> Hours:
    return parse_settings(text, Hours, "hours.yaml")


def spans(day: date, text: str = BAKERY) -> list[tuple[int, int]]:
    return [(span.start, span.end) for span in hours(text).on(day)]


def test_a_day_has_the_hours_of_its_weekday_and_a_day_that_is_not_named_is_closed() -> None:
    assert spans(date(2026, 11, 24)) == spans(date(2026, 11, 27)) == [(390, 1080)]
    assert spans(date(2026, 11, 28)) == [(420, 780)]
    assert spans(date(2026, 11, 29)) == spans(date(2026, 11, 30)) == []


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 12, 24), [(390, 720)]),  # A date is told more precisely than a stretch of every year.
        (date(2026, 12, 25), []),
        (date(2027, 12, 24), []),
        (date(2026, 11, 26), [(420, 600)]),
        (date(2027, 11, 25), [(420, 600)]),
        (date(2027, 8, 3), []),
        (date(2028, 8, 3), [(390, 1080)]),
    ],
)
def test_an_exception_holds_on_its_days_and_the_most_precise_one_wins(
    day: date, expected: list[tuple[int, int]]
) -> None:
    assert spans(day) == expected


def test_a_stretch_of_every_year_may_go_over_its_turn() -> None:
    shut = hours("monday-sunday: 9:00-17:00\nexceptions: {12-23 to 01-02: closed}")
    closed = [day for day in (22, 23, 31) if not shut.on(date(2026, 12, day))]
    assert closed == [23, 31]
    assert [day for day in (1, 2, 3) if not shut.on(date(2026, 1, day))] == [1, 2]


def test_public_holidays_are_kept_but_for_exceptions() -> None:
    shop = hours("monday-sunday: 9:00-17:00\nholidays: US-NY\nexceptions: {memorial_day: 9:00-12:00}")
    assert not shop.on(date(2026, 7, 4))
    assert not shop.on(date(2026, 7, 3))  # The Friday on which a Saturday's is kept.
    assert not shop.on(date(2027, 11, 25))
    assert len(shop.on(date(2026, 5, 25))) == 1
    assert not hours("monday-sunday: 9:00-17:00\nholidays: ES").on(date(2026, 1, 6))


@pytest.mark.parametrize(
    ("day", "at", "is_open"),
    [
        (date(2026, 11, 23), "17:59", False),
        (date(2026, 11, 23), "18:00", True),
        (date(2026, 11, 24), "01:59", True),
        (date(2026, 11, 24), "02:00", False),
        (date(2026, 11, 28), "14:30", False),
        (date(2026, 11, 29), "02:30", True),  # Saturday night.
        (date(2026, 11, 29), "18:30", False),
    ],
)
def test_a_span_past_midnight_belongs_to_the_day_it_begins_on(day: date, at: str, is_open: bool) -> None:
    moment = datetime.combine(day, datetime.strptime(at, "%H:%M").time())
    assert hours(BAR).is_open(day, minute_at(moment)) is is_open


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-11-24T05:00", "2026-11-24T06:30"),
        ("2026-11-24T06:30", "2026-11-25T06:30"),
        ("2026-11-28T13:00", "2026-12-01T06:30"),
        ("2026-12-24T12:00", "2026-12-29T06:30"),
    ],
)
def test_the_next_opening_is_found_across_closed_days(moment: str, opens: str) -> None:
    assert hours(BAKERY).next_opening(datetime.fromisoformat(moment)) == datetime.fromisoformat(opens)


def test_what_never_opens_has_no_next_opening() -> None:
    assert Hours().next_opening(datetime(2026, 11, 24)) is None
    assert not Hours().known


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        # In the night to 8 March 2026 the clocks of New York go forward, in that to 1 November back.
        (datetime(2026, 3, 7, 11, 29, tzinfo=UTC), False),
        (datetime(2026, 3, 7, 12, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 10, 10, 29, tzinfo=UTC), False),
        (datetime(2026, 3, 10, 10, 30, tzinfo=UTC), True),
        (datetime(2026, 10, 30, 10, 30, tzinfo=UTC), True),
        (datetime(2026, 11, 3, 10, 30, tzinfo=UTC), False),
        (datetime(2026, 11, 3, 11, 30, tzinfo=UTC), True),
    ],
)
def test_it_opens_by_the_clock_on_its_wall_whatever_daylight_saving_does(moment: datetime, is_open: bool) -> None:
    bakery = hours(BAKERY)
    now = bakery.now(moment.timestamp())
    assert bakery.is_open(now.date(), minute_at(now)) is is_open


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (datetime(2026, 3, 8, 6, 59, tzinfo=UTC), datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
        (datetime(2026, 11, 1, 5, 59, tzinfo=UTC), datetime(2026, 11, 1, 6, 0, tzinfo=UTC)),
    ],
)
def test_a_span_over_a_change_of_the_clocks_ends_by_the_clock(before: datetime, after: datetime) -> None:
    bar = hours("zone: America/New_York\nsaturday: 18:00-2:00")
    moments = [bar.now(each.timestamp()) for each in (before, after)]
    # In spring two o'clock is never; in autumn it is one o'clock twice, and the bar stays open for both.
    assert [bar.is_open(each.date(), minute_at(each)) for each in moments] == [True, moments[1].hour == 1]


def test_the_next_opening_is_told_by_the_clock_after_a_change() -> None:
    bakery = hours("zone: America/New_York\nmonday: 8:00-17:00")
    opens = bakery.next_opening(bakery.now(datetime(2026, 3, 7, 20, tzinfo=UTC).timestamp()))
    assert opens is not None
    assert opens.isoformat() == "2026-03-09T08:00:00-04:00"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("saturday: 9:00", "saturday: expected from-to, such as 8:00-17:00, or closed; got 540"),
        ("sunday: off", "sunday: expected from-to, such as 8:00-17:00, or closed; got False"),
        ("monday: 8am-5pm", "by the 24-hour clock; got '8am-5pm'"),
        ("monday: 8:00-25:00", "a day has 24 hours"),
        ("monday: 9:00-9:00", "write 0:00-24:00 for the whole day"),
        ("monday: 12:00-14:00, 13:00-15:00", "one begins before the other ends"),
        ("monday: 12:00-14:00, 18:00-13:00", "the last ends after the first has begun on the next day"),
        ("mondy: 8:00-17:00", "'mondy' names no day of the week; expected such as monday, or monday-friday"),
        ("monday-friday: 8:00-17:00\nfri: closed", "friday is named by 'monday-friday' and by 'fri'; choose"),
        ("holidays: XX", "Country XX not available; expected a country, such as US"),
        ("holidays: US-QQ", "does not have subdivision QQ; expected a country, such as US, or a part"),
        ("exceptions: {xmas: closed}", "exceptions: 'xmas' names no day"),
        ("exceptions: {02-30: closed}", "exceptions: '02-30': day is out of range"),
        ("exceptions: {2026-12-24 to 12-26: closed}", "both with a year or neither"),
        ("exceptions: {2026-12-24 to 2026-12-20: closed}", "expected the earlier date first"),
        ("exceptions: {12-24: noon}", "got 'noon'"),
    ],
)
def test_what_makes_no_sense_is_named_with_what_was_expected(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as error:
        hours(text)
    assert complaint in str(error.value)


def test_days_may_be_named_in_many_ways() -> None:
    assert weekdays_of("monday-friday") == (0, 1, 2, 3, 4)
    assert weekdays_of("Sat, Sun") == (5, 6)
    assert weekdays_of("saturday-monday") == (5, 6, 0)


def test_the_days_of_the_year_that_have_a_name_are_where_calendars_have_them() -> None:
    known = {
        "easter": (date(2024, 3, 31), date(2026, 4, 5), date(2027, 3, 28)),
        "good_friday": (date(2024, 3, 29), date(2026, 4, 3), date(2027, 3, 26)),
        "thanksgiving": (date(2024, 11, 28), date(2026, 11, 26), date(2027, 11, 25)),
        "memorial_day": (date(2024, 5, 27), date(2026, 5, 25), date(2027, 5, 31)),
        "labor_day": (date(2024, 9, 2), date(2026, 9, 7), date(2027, 9, 6)),
        "martin_luther_king_day": (date(2024, 1, 15), date(2026, 1, 19), date(2027, 1, 18)),
    }
    for name, days in known.items():
        assert tuple(FEASTS[name].on(day.year) for day in days) == days
