"""Arguments are checked before anything is sent, and never quoted."""

from __future__ import annotations

import pytest

from pipeline.tools.arguments import ArgumentCheck, ArgumentsError, scrubbed
from pipeline.tools.definition import Argument, JsonValue
from tests.pipeline.tools.fakes import write_tool

TOOL = write_tool(
    arguments={
        "day": Argument(format="date"),
        "people": Argument(type="integer", required=False),
        "amount": Argument(type="number", required=False),
        "agreed": Argument(type="boolean", required=False),
        "kind": Argument(enum=("check", "cleaning"), required=False),
        "at": Argument(format="date-time", required=False),
        "code": Argument(pattern=r"^\d{4}$", max_length=4, required=False),
        "card": Argument(required=False),
    }
)
CHECK = ArgumentCheck(TOOL)


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("people", "3", 3),
        ("people", "3.00", 3),
        ("people", 3, 3),
        ("amount", "120.50", 120.5),
        ("amount", "120.00", 120),
        ("amount", "-4", -4),
        ("agreed", "yes", True),
        ("agreed", "false", False),
        ("kind", "check", "check"),
        ("at", "2026-11-26T09:00:00Z", "2026-11-26T09:00:00Z"),
        ("at", "2026-11-26T09:00:00+01:00", "2026-11-26T09:00:00+01:00"),
        ("code", "0123", "0123"),
    ],
)
def test_text_becomes_the_type_that_is_wanted(name: str, given: JsonValue, taken: JsonValue) -> None:
    checked = CHECK.checked({"day": "2026-11-26", name: given})
    assert checked == {"day": "2026-11-26", name: taken}
    assert type(checked[name]) is type(taken)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "'day' is a required property"),
        ({"day": None}, "'day' is a required property"),
        ({"day": "tomorrow"}, "argument 'day': expected format 'date'"),
        ({"day": "2026-02-30"}, "argument 'day': expected format 'date'"),
        ({"day": "2026-11-26", "people": "2.5"}, "argument 'people': expected type 'integer'"),
        ({"day": "2026-11-26", "people": "many"}, "argument 'people': expected type 'integer'"),
        ({"day": "2026-11-26", "agreed": "maybe"}, "argument 'agreed': expected type 'boolean'"),
        ({"day": "2026-11-26", "kind": "root"}, "argument 'kind': expected enum ['check', 'cleaning']"),
        ({"day": "2026-11-26", "at": "2026-11-26T09:00:00"}, "argument 'at': expected format 'date-time'"),
        ({"day": "2026-11-26", "at": "9 o'clock"}, "argument 'at': expected format 'date-time'"),
        ({"day": "2026-11-26", "code": "12"}, r"argument 'code': expected pattern"),
        ({"day": "2026-11-26", "code": "12345"}, "argument 'code': expected maxLength 4"),
        ({"day": "2026-11-26", "dya": "x"}, "'dya' was unexpected"),
        ({"day": ["2026-11-26"]}, "argument 'day': expected type 'string'"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, JsonValue], said: str) -> None:
    with pytest.raises(ArgumentsError) as raised:
        CHECK.checked(given)
    assert said in str(raised.value)


def test_what_does_not_fit_is_not_quoted() -> None:
    with pytest.raises(ArgumentsError) as raised:
        CHECK.checked({"day": "4111 1111", "card": 4111111, "code": "secret", "kind": "secret"})
    assert "4111" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_values_that_are_never_logged_are_cut_out_of_texts() -> None:
    arguments: dict[str, JsonValue] = {"day": "Monday", "card": "4111"}
    assert scrubbed("Monday: card 4111 refused", TOOL, arguments) == "Monday: card ... refused"
