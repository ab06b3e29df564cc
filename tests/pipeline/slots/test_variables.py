"""Variables: what an agent file may say of them."""

from __future__ import annotations

import pytest

from models.settings import SettingsError, parse_settings
from pipeline.slots.variables import Variable


def test_a_variable_needs_only_its_type() -> None:
    variable = parse_settings("type: date", Variable, "agent.yaml")
    assert (variable.ahead, variable.sensitive, variable.pattern) == (True, False, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{type: colour}", "type: Input should be 'text', 'name'"),
        ("{type: date, choices: {a: [b]}}", "choices and options_from go with type choice, not date"),
        ("{type: choice, choices: {a: []}, options_from: list}", "expected choices or options_from, got both"),
        ("{type: choice, choices: {a: [left], b: [Left!]}}", "'left' would mean 'a' and 'b'"),
        ("{type: choice, choices: {a: ['?']}}", "choices.a: expected words"),
        ("{type: digits, fewest_digits: 5, most_digits: 4}", "expected fewest_digits <= most_digits, got 5 and 4"),
        ("{type: digits, pattern: '('}", "expected a regular expression"),
        ("{type: phone, country: usa}", "country"),
        ("{type: money, country: ZZ}", "expected one whose currency is known"),
        ("{type: phone, country: ZZ}", "expected one whose phone numbers are known"),
        ("{type: date, between: 9:00-17:00}", "between goes with type time, not date"),
        ("{type: time, between: evening}", "expected from-to, such as 8:00-17:00"),
        ("{type: time, between: 17:00}", "got 1020"),
        ("{type: date, colour: red}", "colour: unknown key"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(text, Variable, "agent.yaml")
    assert complaint in str(refused.value)
