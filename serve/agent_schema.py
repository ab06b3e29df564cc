"""The JSON Schema of agent files as they are written: with connections, presets, and links to what explains a key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

from pipeline.agent import Agent
from pipeline.agent_library import library_flows
from serve.connectors.connection import HttpConnection, McpServer
from serve.connectors.presets import PRESETS
from serve.traffic_split import ROOT

LINK = re.compile(r"\b(?:docs|configs|models|pipeline|serve)/[\w./-]+\.(?:md|py|yaml)\b")
"""A file of this project, as descriptions name it: relative to its root."""
_CONNECTIONS: TypeAdapter[HttpConnection | McpServer] = TypeAdapter(HttpConnection | McpServer)

Schema = dict[str, JsonValue]


def agent_schema(root: Path = ROOT) -> Schema:
    """Draft 2020-12. Editors that show Markdown get the files below `root` that a description names as links."""
    schema: Schema = Agent.model_json_schema()
    connections: Schema = _CONNECTIONS.json_schema()
    definitions = _mapping(schema["$defs"])
    definitions |= _mapping(connections["$defs"])
    definitions["UsedConnection"] = {
        "type": "object",
        "description": "A system of a known vendor: its preset and the preset's settings, or keys of an HTTP "
        "connection that replace the preset's (docs/connectors.md).",
        "properties": {
            "preset": {
                "enum": [path.stem for path in sorted(PRESETS.glob("*.yaml"))],
                "description": "A system whose calls come with the product.",
            }
        },
        "required": ["preset"],
    }
    definitions["UsedTool"] = {
        "type": "object",
        "description": "A tool of a connection that has a preset; keys beside `use` replace the preset's "
        "(docs/connectors.md).",
        "properties": {
            "use": {"type": "string", "pattern": r"^\w+\.\w+$", "description": "CONNECTION.TOOL"},
            **_mapping(_mapping(definitions["Tool"])["properties"]),
        },
        "required": ["use"],
        "additionalProperties": False,
    }
    definitions["UsedFlow"] = {
        "type": "object",
        "description": "A flow of the library, filled with the agent's tools; keys beside `use` and `with` replace the "
        "library's (docs/agents.md).",
        "properties": {
            "use": {"enum": [*library_flows()], "description": "A flow that comes with the product."},
            "with": {"type": "object", "description": "Parameters by name: tools, names of variables, texts."},
            **_mapping(_mapping(definitions["Flow"])["properties"]),
        },
        "required": ["use"],
        "additionalProperties": False,
    }
    keys = _mapping(schema["properties"])
    both = connections["anyOf"]
    assert isinstance(both, list)
    kinds_of: dict[str, list[JsonValue]] = {
        "connections": [*both, {"$ref": "#/$defs/UsedConnection"}],
        "tools": [{"$ref": "#/$defs/Tool"}, {"$ref": "#/$defs/UsedTool"}],
        "flows": [{"$ref": "#/$defs/Flow"}, {"$ref": "#/$defs/UsedFlow"}],
    }
    for key, kinds in kinds_of.items():
        named = _mapping(_mapping(keys[key])["patternProperties"])
        named |= {pattern: {"anyOf": kinds} for pattern in named}
    for described in _described(schema):
        text = str(described["description"])
        linked = LINK.sub(lambda link: _linked(link[0], root), text)
        if linked != text:
            described["markdownDescription"] = linked
    return schema


def _linked(name: str, root: Path) -> str:
    file = root / name
    return f"[{name}]({file.resolve().as_uri()})" if file.is_file() else name


def _described(schema: JsonValue) -> Iterator[Schema]:
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            yield schema
        for inner in [*schema.values()]:
            yield from _described(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _described(inner)


def _mapping(schema: JsonValue) -> Schema:
    assert isinstance(schema, dict)
    return schema
