"""Conditions on days, times and numbers: when they hold, and when nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from models.settings import SettingsError, parse_settings
from pipeline.hours import Hours
from pipeline.slots.variables import Variable
from pipeline.state import CallState, Value
from pipeline.workflow.definition import Guard
from pipeline.workflow.guards import Conditions

VARIABLES = {
    "day": Variable(type="date"),
    "hour": Variable(type="time"),
    "guests": Variable(type="number"),
    "total": Variable(type="money"),
    "note": Variable(type="text"),
}
HOURS = parse_settings(
    """
zone: America/New_York
monday-thursday: 11:30-14:00, 17:00-22:00
friday: 17:00-1:00
exceptions: {12-25: closed}
""",
    Hours,
    "hours.yaml",
)
WEDNESDAY = datetime(2026, 11, 25, 13, 59)


def holds(guard: str, now: datetime = WEDNESDAY, **values: str) -> bool:
    state = CallState(values={name: Value(value) for name, value in values.items()})
    return Conditions(VARIABLES, HOURS, lambda: now).hold(parse_settings(guard, Guard, "guard.yaml"), state)


@pytest.mark.parametrize(
    ("guard", "values", "expected"),
    [
        ('open: "{day} {hour}"', {"day": "2026-11-30", "hour": "12:00"}, True),
        ('open: "{day} {hour}"', {"day": "2026-11-30", "hour": "14:00"}, False),
        ('open: "{hour} {day}"', {"day": "2026-11-28", "hour": "00:30"}, True),
        ('open: "{day} {hour}"', {"day": "2026-11-28", "hour": "12:00"}, False),
        ('open: "{day} {hour}"', {"day": "2026-12-25", "hour": "18:00"}, False),
        ('open: "{day} {hour}"', {"day": "2026-11-30"}, False),
        ('open: "{day}"', {"day": "2026-11-30"}, True),
        ('open: "{day}"', {"day": "2026-11-29"}, False),
        ('open: "{hour}"', {"hour": "21:30"}, True),
        ('open: "{hour}"', {"hour": "15:00"}, False),
        ("weekday: {day: monday-thursday}", {"day": "2026-11-30"}, True),
        ("weekday: {day: [saturday, sunday]}", {"day": "2026-11-30"}, False),
        ("weekday: {day: monday}", {}, False),
        ("at_most: {guests: 8}", {"guests": "8"}, True),
        ("at_most: {guests: 8}", {"guests": "9"}, False),
        ("at_most: {guests: 8}", {}, False),
        ("{at_least: {guests: 2}, at_most: {guests: 8}}", {"guests": "1"}, False),
        ("between: {guests: [2, 8]}", {"guests": "2"}, True),
        ("between: {total: [10, 49.99]}", {"total": "50.00"}, False),
        ("at_least: {note: 3}", {"note": "many"}, False),
        ("at_least: {hour: 17:00}", {"hour": "17:00"}, True),
        ('at_least: {hour: "17:30"}', {"hour": "17:00"}, False),
        ("between: {hour: [9:00, 12:00]}", {"hour": "12:00"}, True),
        ("between: {hour: [22:00, 2:00]}", {"hour": "01:30"}, True),
        ("between: {hour: [22:00, 2:00]}", {"hour": "12:00"}, False),
        ("at_most: {day: today}", {"day": "2026-11-25"}, True),
        ("at_least: {day: today+2}", {"day": "2026-11-26"}, False),
        ("at_least: {day: today + 2 days}", {"day": "2026-11-27"}, True),
        ("between: {day: [2026-12-01, 2026-12-31]}", {"day": "2026-12-31"}, True),
        ("between: {day: [2026-12-01, 2026-12-31]}", {"day": "2027-01-01"}, False),
    ],
)
def test_a_condition_holds_for_these_values(guard: str, values: dict[str, str], expected: bool) -> None:
    assert holds(guard, **values) is expected


def test_whether_it_is_open_now_changes_with_the_minute() -> None:
    assert holds("open: now", WEDNESDAY)
    assert not holds("open: now", WEDNESDAY.replace(hour=14, minute=0))
    assert holds("none_of: [{open: now}]", WEDNESDAY.replace(hour=14, minute=0))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 3, 5, 22, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 9, 21, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 9, 20, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 29, 21, 0, tzinfo=UTC), True),
        (datetime(2026, 11, 2, 21, 0, tzinfo=UTC), False),
    ],
)
def test_now_is_by_the_clock_there_before_and_after_daylight_saving_time(moment: datetime, expected: bool) -> None:
    assert holds("open: now", HOURS.now(moment.timestamp())) is expected


@pytest.mark.parametrize(
    ("guard", "complaint"),
    [
        ("{}", "an empty condition; expected one or more of known, unknown, equals, at_least"),
        ("open: today", 'expected now or variables, such as "{day} {hour}"'),
        ("weekday: {day: workdays}", "'workdays' names no day of the week"),
        ("between: {guests: [2]}", "between.guests"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(guard: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_settings(guard, Guard, "guard.yaml")
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("guard", "values"),
    [
        ("at_least: {day: soon}", {"day": "2026-11-30"}),
        ("at_least: {hour: noon}", {"hour": "12:00"}),
        ("at_least: {guests: few}", {"guests": "3"}),
    ],
)
def test_a_bound_that_does_not_fit_its_variable_is_an_error(guard: str, values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"soon|noon|few"):
        holds(guard, **values)
