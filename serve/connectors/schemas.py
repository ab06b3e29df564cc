"""JSON Schemas that others wrote (MCP servers, OpenAPI files), taken over as the arguments and returns of a tool."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.tools.definition import Argument, JsonValue
from serve.connectors.text import clean_text

Schema = Mapping[str, JsonValue]

_TYPES = ("string", "integer", "number", "boolean")
_DEEPEST_REF = 32


class Document:
    """A document whose schemas may point at one another with `$ref` inside it."""

    def __init__(self, root: Schema) -> None:
        self.root = root

    def at(self, value: JsonValue) -> Schema:
        """The object itself, or what its `$ref` leads to. Raises ValueError for one that leads nowhere or outside."""
        for _ in range(_DEEPEST_REF):
            if not isinstance(value, dict):
                raise ValueError(f"expected an object, got {type(value).__name__}")
            ref = value.get("$ref")
            if not isinstance(ref, str):
                return value
            value = self._target(ref)
        raise ValueError("a $ref leads round in a circle")

    def _target(self, ref: str) -> JsonValue:
        if not ref.startswith("#/"):
            raise ValueError(f"$ref {ref!r}: expected one inside the document, such as #/components/schemas/Name")
        found: JsonValue = dict(self.root)
        for part in ref[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise ValueError(f"$ref {ref!r}: there is no {key!r}")
            found = found[key]
        return found


def arguments_of(schema: Schema, document: Document | None = None) -> dict[str, Argument]:
    """The properties of an object's schema as arguments.

    A tool's arguments are flat: a property that is a list or an object is left out if it is optional. Raises ValueError
    if it is required, or if the schema is not an object's.
    """
    document = document or Document(schema)
    schema = document.at(dict(schema))
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if schema.get("type", "object") != "object" or not isinstance(properties, dict) or not isinstance(required, list):
        raise ValueError("expected the schema of an object with properties")
    arguments: dict[str, Argument] = {}
    for name, value in properties.items():
        argument = argument_of(document.at(value), required=name in required)
        if argument is not None:
            arguments[name] = argument
        elif name in required:
            raise ValueError(f"argument {name!r} is required but neither text, number nor yes/no; call it by `http`")
    return arguments


def argument_of(schema: Schema, *, required: bool) -> Argument | None:
    """One property as an argument; None for lists, objects and anything else that is no plain value."""
    kind = schema.get("type")
    if isinstance(kind, list):  # ["string", "null"], as OpenAPI 3.1 and many servers write optional values
        plain = [item for item in kind if item != "null"]
        kind = plain[0] if len(plain) == 1 else None
    choices = schema.get("enum")
    if kind is None and isinstance(choices, list) and all(isinstance(item, str) for item in choices):
        kind = "string"
    if not isinstance(kind, str) or kind not in _TYPES:
        return None
    given: dict[str, JsonValue] = {
        "type": kind,
        "required": required,
        "description": clean_text(_string(schema, "description"), 200),
    }
    if isinstance(choices, list) and kind == "string":
        given["enum"] = [item for item in choices if isinstance(item, str)]
    if kind == "string":
        given |= {"format": _string(schema, "format") or None, "pattern": _pattern(schema)}
        longest = schema.get("maxLength")
        if isinstance(longest, int) and longest > 0:
            given["max_length"] = longest
    return Argument.model_validate(given, strict=False)


def returns_of(schema: Schema | None, document: Document | None = None) -> dict[str, str]:
    """The properties of what a tool answers as `returns`, each by its own name; all of it as `answer` if unknown."""
    if schema is None:
        return {"answer": "@"}
    document = document or Document(schema)
    properties = document.at(dict(schema)).get("properties")
    if not isinstance(properties, dict) or not properties:
        return {"answer": "@"}
    return {name: f'"{name}"' for name in properties if '"' not in name and "\\" not in name}


def _pattern(schema: Schema) -> str | None:
    """Its pattern, unless only another dialect than Python's can read it; whoever wrote it checks it as well."""
    pattern = _string(schema, "pattern")
    try:
        re.compile(pattern)
    except re.error:
        return None
    return pattern or None


def _string(schema: Schema, key: str) -> str:
    value = schema.get(key)
    return value if isinstance(value, str) else ""
