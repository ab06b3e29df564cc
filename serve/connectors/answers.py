"""From what a system answered to what a tool returns: parsing, rejection codes, projection, cleaning."""

from __future__ import annotations

import json
from collections.abc import Mapping

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from pipeline.tools.definition import DEFAULT_CODES, JsonValue
from serve.connectors.text import TextLimits, clean, clean_text


class AnswerError(ValueError):
    """An answer cannot be used: no JSON, or a projection that does not fit it."""


def compiled(expression: str) -> ParsedResult:
    """A JMESPath expression. Raises ValueError naming what is wrong with it."""
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        raise ValueError(f"{expression!r}: no JMESPath expression: {' '.join(str(error).split())}") from error


def parse_json(body: bytes) -> JsonValue:
    """A JSON document; an empty body is null. Raises AnswerError."""
    if not body.strip():
        return None
    try:
        value: JsonValue = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise AnswerError("expected JSON; the body is none") from error
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class Projection:
    """The `returns` of a tool: name -> JMESPath over the answer."""

    def __init__(self, returns: Mapping[str, str], limits: TextLimits) -> None:
        self._expressions = {name: compiled(expression) for name, expression in returns.items()}
        self._limits = limits

    def values(self, answer: JsonValue) -> dict[str, JsonValue]:
        """Each value, cleaned; null where the answer has nothing.

        Raises AnswerError, also for a list of which nothing could be chosen.
        """
        return {
            name: clean(_choosable(_search(expression, answer, f"returns.{name}"), name), self._limits)
            for name, expression in self._expressions.items()
        }


class Rejections:
    """The `codes` of a tool: an HTTP status or a JMESPath test on the body -> why the system said no."""

    def __init__(self, codes: Mapping[str, str]) -> None:
        self._by_status = dict(DEFAULT_CODES) | {int(key): code for key, code in codes.items() if key.isdigit()}
        self._tests = [(compiled(key), code) for key, code in codes.items() if not key.isdigit()]

    def code(self, status: int, answer: JsonValue) -> str | None:
        """The first test that holds, else the status's code; None if neither says no."""
        for expression, code in self._tests:
            if holds(expression, answer):
                return code
        return self._by_status.get(status)


def holds(expression: ParsedResult, answer: JsonValue) -> bool:
    """Whether a JMESPath test is true of the answer; a test that does not fit the answer is not."""
    try:
        found = _search(expression, answer, "test")
    except AnswerError:
        return False
    return found not in (None, False, "", [], {})


_MESSAGE = "[0].message || message || error.message || error_description || description || title || error || detail"


def message(answer: JsonValue) -> str:
    """What an error's body says in words, as vendors commonly write it; cleaned, at most 200 characters."""
    try:
        found = _search(compiled(_MESSAGE), answer, "message")
    except AnswerError:
        return ""
    return clean_text(found, 200) if isinstance(found, str) else ""


def _search(expression: ParsedResult, answer: JsonValue, what: str) -> JsonValue:
    try:
        return _as_json(expression.search(answer))
    except JMESPathError as error:
        # The error's own text quotes the answer.
        raise AnswerError(f"{what}: this JMESPath does not fit the answer ({type(error).__name__})") from error


def _choosable(found: JsonValue, name: str) -> JsonValue:
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    if entries and not any("value" in entry for entry in entries):
        raise AnswerError(
            f"returns.{name}: its entries have {', '.join(entries[0]) or 'nothing'}; expected `value`, and `spoken` "
            f"for what is said: project them, such as {name}[*].{{value: id, spoken: title}}"
        )
    return found


def _as_json(value: object) -> JsonValue:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    raise AnswerError(f"expected JSON, got {type(value).__name__}")
