"""Requests from templates: {argument} placeholders in paths, queries, headers and bodies, each escaped for its place.

`{name}` is an argument, `{name|filter}` an argument in another form, `{{` and `}}` are braces. A placeholder that is
the whole text keeps the argument's JSON type; if that argument was not given, the key it stands at is left out, and so
is an object or list with nothing else in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from urllib.parse import quote

import phonenumbers

from pipeline.tools.definition import JsonValue

Arguments = Mapping[str, JsonValue]
Escape = Callable[[str], str]

_PIECES = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_]\w*)(?:\|(?P<filter>[a-z]+))?\}|[{}]")
_SOSL_RESERVED = re.compile(r"""([?&|!{}\[\]()^~*:\\"'+\-])""")
_SOSL_WORDS = re.compile(r"\b(AND|OR|NOT)\b")


class TemplateError(ValueError):
    """A template cannot be read, or an argument cannot stand where the template puts it."""


def digits(text: str) -> str:
    """Only the digits."""
    return re.sub(r"[^0-9]", "", text)


def national(text: str) -> str:
    """The digits of a phone number in E.164 form without its country's code: what some systems index."""
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException as error:
        raise TemplateError("expected a phone number in international form, such as +15551234567") from error
    return phonenumbers.national_significant_number(number)


FILTERS: Mapping[str, Callable[[str], str]] = MappingProxyType({"digits": digits, "national": national})


def escape_path(text: str) -> str:
    """For one segment of a path. Raises TemplateError for what would make it another path."""
    if text in ("", ".", ".."):
        raise TemplateError(f"{text!r} cannot stand in a path")
    return quote(text, safe="")


def escape_sosl(text: str) -> str:
    """For the search text between SOSL's braces: reserved characters and words mean themselves."""
    return _SOSL_WORDS.sub(lambda word: f'"{word[0]}"', _SOSL_RESERVED.sub(r"\\\1", text))


def escape_header(text: str) -> str:
    """For a header's value. Raises TemplateError for what would end the header."""
    if not (text.isascii() and text.isprintable()):
        raise TemplateError("a header's value may hold printable ASCII only")
    return text


def unescaped(text: str) -> str:
    """As it is: JSON and form encoding escape everything themselves."""
    return text


def placeholders(template: JsonValue) -> Iterator[str]:
    """The arguments that a template names. Raises TemplateError if it cannot be read."""
    if isinstance(template, str):
        for match in _PIECES.finditer(template):
            _check(template, match)
            if match["name"]:
                yield match["name"]
    elif isinstance(template, list):
        for item in template:
            yield from placeholders(item)
    elif isinstance(template, dict):
        for item in template.values():
            yield from placeholders(item)


def fill_text(template: str, arguments: Arguments, escape: Escape = unescaped) -> str:
    """The text with its placeholders filled; an argument that was not given is empty. Raises TemplateError."""

    def piece(match: re.Match[str]) -> str:
        _check(template, match)
        name = match["name"]
        if not name:
            return match[0][0]
        return escape(_filtered(match["filter"], arguments.get(name)))

    return _PIECES.sub(piece, template)


def fill_json(template: JsonValue, arguments: Arguments, escape: Escape = unescaped) -> JsonValue:
    """The value with its placeholders filled. Raises TemplateError."""
    if isinstance(template, str):
        whole = _whole(template)
        if whole is not None and not whole["filter"] and not isinstance(arguments.get(whole["name"]), str):
            return arguments.get(whole["name"])
        return fill_text(template, arguments, escape)
    if isinstance(template, list):
        return [fill_json(item, arguments, escape) for item in template if not _absent(item, arguments)]
    if isinstance(template, dict):
        return {
            key: fill_json(item, arguments, escape) for key, item in template.items() if not _absent(item, arguments)
        }
    return template


def fill_fields(templates: Mapping[str, str], arguments: Arguments, escape: Escape = unescaped) -> dict[str, str]:
    """Query parameters, form fields or headers; those that are nothing but an argument that was not given left out."""
    return {
        key: fill_text(template, arguments, escape)
        for key, template in templates.items()
        if not _absent(template, arguments)
    }


def _whole(template: str) -> re.Match[str] | None:
    match = _PIECES.fullmatch(template)
    return match if match and match["name"] else None


def _absent(template: JsonValue, arguments: Arguments) -> bool:
    """Whether nothing but arguments that were not given stands there."""
    if isinstance(template, str):
        whole = _whole(template)
        return whole is not None and arguments.get(whole["name"]) is None
    if isinstance(template, dict | list) and template:
        items = template.values() if isinstance(template, dict) else template
        return all(_absent(item, arguments) for item in items)
    return False


def _check(template: str, match: re.Match[str]) -> None:
    if match[0] in ("{", "}"):
        raise TemplateError(f"{template!r}: a brace that belongs to no placeholder; write {{{{ or }}}} for a brace")
    if match["filter"] and match["filter"] not in FILTERS:
        raise TemplateError(f"{template!r}: unknown filter {match['filter']!r}; known: {', '.join(FILTERS)}")


def _filtered(name: str | None, value: JsonValue) -> str:
    text = _text(value)
    return FILTERS[name](text) if name and text else text


def _text(value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
