"""docs/settings.md: all keys of agent and stack files, with what they take and what holds if they are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from serve.agent_schema import LINK, Schema, agent_schema
from serve.config import Stack
from serve.traffic_split import ROOT

PAGE = ROOT / "docs" / "settings.md"

_HEAD = """# All settings

Every key of agent files and of stack files, made by `trunkline agent schema --markdown --out docs/settings.md`. How
they are used is told in [agents.md](agents.md), [connectors.md](connectors.md) and [serving.md](serving.md); keys that
an agent file need not have come with the product, as [agents.md](agents.md#what-every-business-has) says.
"""
_WORDS: Mapping[str, str] = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}
_MOST_DEFAULT = 48
"""Characters; a longer default is that of the section which the key links to."""


def settings_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    for title, schema in (("Agent files", agent_schema()), ("Stack files", Stack.model_json_schema())):
        definitions = _mapping(schema["$defs"])
        parts.append(f"## {title}\n\n" + "\n".join(_table(schema, definitions)) + "\n")
        for key in _in_order(schema, definitions):
            parts.append(f"### {_title(key)}\n\n" + "\n".join(_section(_mapping(definitions[key]), definitions)) + "\n")
    return "\n".join(parts)


def _in_order(schema: Schema, definitions: Schema) -> list[str]:
    """The objects with keys, each after what names it first."""
    found: dict[str, None] = {}

    def visit(inside: JsonValue) -> None:
        for name in _named(inside):
            if name not in found and "properties" in _mapping(definitions[name]):
                found[name] = None
                visit(definitions[name])

    visit(schema["properties"])
    return list(found)


def _named(schema: JsonValue) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(named := schema.get("$ref"), str):
            yield named.rpartition("/")[2]
        for inner in schema.values():
            yield from _named(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _named(inner)


def _section(schema: Schema, definitions: Schema) -> Iterator[str]:
    if about := _told(schema):
        yield f"{about}\n"
    yield from _table(schema, definitions)


def _table(schema: Schema, definitions: Schema) -> Iterator[str]:
    required = schema.get("required", [])
    yield "| key | takes | left out | what |"
    yield "|---|---|---|---|"
    for key, value in _mapping(schema["properties"]).items():
        entry = _mapping(value)
        told = _told(entry) or _of_kind(entry, definitions)
        missing = "**needed**" if isinstance(required, list) and key in required else _default(entry)
        yield f"| `{key}` | {_takes(entry)} | {missing} | {told} |"


def _of_kind(entry: Schema, definitions: Schema) -> str:
    """What is told of a key by what stands there, for one that says nothing itself."""
    if "const" in entry:
        return "What this is."
    kinds = [*dict.fromkeys(_named(entry))]
    about = _told(_mapping(definitions[kinds[0]])) if len(kinds) == 1 and kinds[0] in definitions else ""
    return about.partition(". ")[0]


def _takes(schema: Schema) -> str:
    if isinstance(named := schema.get("$ref"), str):
        name = named.rpartition("/")[2]
        return "anything" if name == "JsonValue" else f"[{_title(name)}](#{_title(name).lower().replace(' ', '-')})"
    for either in ("anyOf", "oneOf"):
        if isinstance(kinds := schema.get(either), list):
            taken = [_takes(_mapping(kind)) for kind in kinds if _mapping(kind).get("type") != "null"]
            return " or ".join(dict.fromkeys(taken))
    if isinstance(values := schema.get("enum"), list):
        return ", ".join(f"`{value}`" for value in values)
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        several = schema.get("prefixItems")
        if isinstance(several, list):
            return "list of " + ", ".join(_takes(_mapping(one)) for one in several)
        return f"list: {_takes(_mapping(schema.get('items', {})))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        if isinstance(patterns := schema.get("patternProperties"), dict):
            inner = next(iter(patterns.values()))
        return f"by name: {_takes(inner)}" if isinstance(inner, dict) else _WORDS[kind]
    return f"{_WORDS.get(kind, kind)}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    least = [f"{schema[key]}" for key in ("minimum",) if key in schema]
    least += [f"more than {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
    most = [f"up to {schema['maximum']}"] if "maximum" in schema else []
    most += [f"less than {schema['exclusiveMaximum']}"] if "exclusiveMaximum" in schema else []
    said = " ".join([*least, *most]) if most else " ".join(f"from {one}" if one[0] != "m" else one for one in least)
    return f", {said}" if said else ""


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default is None or default in ("", [], {}):
        return ""
    text = json.dumps(default, ensure_ascii=False) if not isinstance(default, str) else default
    return (
        f"`{text}`"
        if len(text) <= _MOST_DEFAULT
        else "as its section says"
        if "$ref" in schema or "allOf" in schema
        else "a list"
    )


def _told(schema: Schema) -> str:
    """The description in one line, its files as links."""
    text = " ".join(str(schema.get("description", "")).split())
    text = re.sub(r"(?<=; )None:", "left out:", text)
    text = re.sub(r"\bNone:", "Left out:", text).replace("|", "\\|")
    return LINK.sub(lambda found: _linked(found[0]), text)


def _linked(name: str) -> str:
    if not (ROOT / name).is_file():
        return name
    return f"[{name}]({name.removeprefix('docs/') if name.startswith('docs/') else f'../{name}'})"


def _title(name: str) -> str:
    """'AskNode' -> 'Ask node'."""
    first, *others = re.findall(r"[A-Z][a-z0-9]*", name)
    return " ".join([first, *(other.lower() for other in others)])


def _mapping(schema: JsonValue) -> Schema:
    assert isinstance(schema, dict)
    return schema
