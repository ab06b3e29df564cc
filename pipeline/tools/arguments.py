"""A call's arguments, checked against the tool before anything is sent. What is wrong is said without the values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from pipeline.tools.definition import Argument, JsonValue, Tool

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_YES_NO: Mapping[str, bool] = MappingProxyType({"true": True, "yes": True, "false": False, "no": False})
_CHECKED_FORMATS = ("date", "email", "ipv4", "ipv6", "uuid")
_SHORTEST_SCRUBBED = 3
"""Characters; shorter values are also found where they mean something else."""


class ArgumentsError(ValueError):
    """Arguments do not fit the tool. Names them, never their values."""


class ArgumentCheck:
    """The arguments of one tool."""

    def __init__(self, tool: Tool) -> None:
        self._arguments = tool.arguments
        self._validator = Draft202012Validator(tool.json_schema(), format_checker=_formats())

    def checked(self, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The arguments in their declared types; those that are null count as not given. Raises ArgumentsError."""
        given = {
            name: _typed(self._arguments.get(name), value) for name, value in arguments.items() if value is not None
        }
        problems = [_said(error) for error in self._validator.iter_errors(given)]
        if problems:
            raise ArgumentsError("; ".join(problems))
        return given


def scrubbed(text: str, tool: Tool, arguments: Mapping[str, JsonValue]) -> str:
    """The text without the values of arguments that are never logged."""
    return _without(text, (arguments[name] for name in tool.redact if name in arguments))


def _without(text: str, values: Iterable[JsonValue]) -> str:
    for value in values:
        if value is not None and len(str(value)) >= _SHORTEST_SCRUBBED:
            text = text.replace(str(value), "...")
    return text


def _typed(argument: Argument | None, value: JsonValue) -> JsonValue:
    """A text as the number or yes/no it says, if one is wanted; anything else unchanged, for the schema to judge."""
    if argument is None or not isinstance(value, str):
        return value
    if argument.type == "boolean":
        return _YES_NO.get(value.strip().lower(), value)
    if argument.type in ("integer", "number") and _NUMBER.fullmatch(value.strip()):
        number = Decimal(value.strip())
        if number == number.to_integral_value():
            return int(number)
        return value if argument.type == "integer" else float(number)
    return value


def _said(error: ValidationError) -> str:
    """What is wrong, without the value: the validator's own message quotes it."""
    if not error.absolute_path:
        return error.message
    return f"argument {error.absolute_path[0]!r}: expected {error.validator} {error.validator_value!r}"


def _formats() -> FormatChecker:
    checker = FormatChecker(formats=_CHECKED_FORMATS)

    @checker.checks("date-time", raises=ValueError)
    def _is_date_time(value: object) -> bool:
        return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)

    return checker
