"""Presets: connections and tools of known vendors (configs/connectors/*.yaml), brought into an agent file by name.

connections: {crm: {preset: hubspot, token: {env: HUBSPOT_TOKEN}}}
tools: {find_caller: {use: crm.find_caller}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from models.settings import SettingsError, StrictModel, load_settings, parse_settings
from pipeline.tools.definition import JsonValue, Tool, check_tools
from serve.connectors.connection import Connection, HttpConnection, McpServer
from serve.connectors.openapi import expand_operation

PRESETS = Path(__file__).resolve().parent.parent.parent / "configs" / "connectors"

_SETTING = re.compile(r"\$\{(\w+)\}")
_CONNECTION = "connection"
"""`${connection}` in a preset's tools: the name that the agent file gave the connection."""


class Setting(StrictModel):
    """Something about a vendor's system that differs from customer to customer."""

    description: str
    default: JsonValue = None
    """Used if the agent file gives none. Without this key the setting must be given; with null, what uses it is left
    out."""


class Preset(StrictModel):
    """A vendor's file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    settings: dict[str, Setting] = Field(default_factory=dict)
    connection: dict[str, JsonValue]
    """An HttpConnection, with `${setting}` placeholders."""
    tools: dict[str, dict[str, JsonValue]] = Field(min_length=1)
    """Tools, with `${setting}` placeholders."""


class _Connections(StrictModel):
    connections: dict[str, Connection]


class _Tools(StrictModel):
    tools: dict[str, Tool]


@dataclass(frozen=True, slots=True)
class Expanded:
    """The connections and tools of an agent file, written out."""

    connections: Mapping[str, HttpConnection]
    servers: Mapping[str, McpServer]
    tools: Mapping[str, Tool]


def expand(
    connections: Mapping[str, JsonValue], tools: Mapping[str, JsonValue], *, source: str, folder: Path = PRESETS
) -> Expanded:
    """Write out the `connections` and `tools` of an agent file, as its YAML has them.

    A connection is an HttpConnection, an McpServer or `{preset: NAME, ...}` with the preset's settings and perhaps keys
    of an HttpConnection that replace the preset's. A tool is a Tool or `{use: CONNECTION.TOOL, ...}` with keys of a
    Tool that replace the preset's. Tools of an OpenAPI file become plain HTTP tools. `source` names the file in
    errors; paths of OpenAPI files are relative to it. Raises SettingsError.
    """
    uses = {
        name: _use(name, entry, source, folder)
        for name, entry in connections.items()
        if isinstance(entry, dict) and "preset" in entry
    }
    written = {
        name: uses[name].connection if name in uses else _with_kind(entry) for name, entry in connections.items()
    }
    checked = parse_settings(_yaml({"connections": written}), _Connections, source).connections
    http = {name: connection for name, connection in checked.items() if isinstance(connection, HttpConnection)}
    servers = {name: connection for name, connection in checked.items() if isinstance(connection, McpServer)}
    merged = {name: _tool(name, entry, uses, source) for name, entry in tools.items()}
    found = parse_settings(_yaml({"tools": merged}), _Tools, source).tools
    ready = {name: expand_operation(name, tool, http, Path(source).parent) for name, tool in found.items()}
    try:
        check_tools(ready)
    except ValueError as error:
        raise SettingsError(f"{source}: {error}") from error
    return Expanded(connections=http, servers=servers, tools=ready)


@dataclass(frozen=True, slots=True)
class _Use:
    """A preset with one agent's settings filled in."""

    preset: str
    connection: JsonValue
    tools: Mapping[str, JsonValue]


def _use(name: str, entry: dict[str, JsonValue], source: str, folder: Path) -> _Use:
    where = f"{source}: connections.{name}"
    wanted = entry["preset"]
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if not isinstance(wanted, str) or wanted not in known:
        raise SettingsError(f"{where}.preset: expected one of {', '.join(known)}; got {wanted!r}")
    preset = load_settings(folder / f"{wanted}.yaml", Preset)
    values: dict[str, JsonValue] = {_CONNECTION: name}
    for key, setting in preset.settings.items():
        if key in entry:
            values[key] = entry[key]
        elif "default" in setting.model_fields_set:
            values[key] = setting.default
        else:
            raise SettingsError(f"{where}.{key}: missing; {wanted} needs it: {setting.description}")
    replaced = {key: value for key, value in entry.items() if key not in preset.settings and key != "preset"}
    unknown = set(replaced) - set(HttpConnection.model_fields)
    if unknown:
        raise SettingsError(
            f"{where}: unknown key {', '.join(sorted(unknown))}; {wanted} has the settings "
            f"{', '.join(preset.settings)}, and every key of an HTTP connection may be replaced"
        )
    connection = _fill(preset.connection, values, where)
    assert isinstance(connection, dict)
    return _Use(
        preset=wanted,
        connection={"kind": "http", **connection, **replaced},
        tools={key: _fill(tool, values, where) for key, tool in preset.tools.items()},
    )


def _tool(name: str, entry: JsonValue, uses: Mapping[str, _Use], source: str) -> JsonValue:
    if not isinstance(entry, dict) or "use" not in entry:
        return entry
    where = f"{source}: tools.{name}.use"
    wanted = entry["use"]
    connection, _, tool = wanted.partition(".") if isinstance(wanted, str) else ("", "", "")
    if connection not in uses:
        raise SettingsError(
            f"{where}: expected CONNECTION.TOOL with a connection that has a preset "
            f"({', '.join(uses) or 'there is none'}); got {wanted!r}"
        )
    use = uses[connection]
    if tool not in use.tools:
        raise SettingsError(f"{where}: {use.preset} has the tools {', '.join(use.tools)}; got {tool!r}")
    base = use.tools[tool]
    assert isinstance(base, dict)
    return {**base, **{key: value for key, value in entry.items() if key != "use"}}


def _with_kind(entry: JsonValue) -> JsonValue:
    return {"kind": "http", **entry} if isinstance(entry, dict) and "base_url" in entry else entry


def _fill(template: JsonValue, values: Mapping[str, JsonValue], where: str) -> JsonValue:
    """The template with its `${setting}`s filled; a key whose whole value is a setting that is null is left out."""
    if isinstance(template, str):
        whole = _SETTING.fullmatch(template)
        if whole:
            return _setting(whole[1], values, where)
        return _SETTING.sub(lambda match: _text(match[1], values, where), template)
    if isinstance(template, list):
        return [_fill(item, values, where) for item in template]
    if isinstance(template, dict):
        filled = {key: _fill(item, values, where) for key, item in template.items()}
        return {key: item for key, item in filled.items() if item is not None or template[key] is None}
    return template


def _setting(name: str, values: Mapping[str, JsonValue], where: str) -> JsonValue:
    if name not in values:
        raise SettingsError(f"{where}: the preset uses ${{{name}}}, which is no setting of it")
    return values[name]


def _text(name: str, values: Mapping[str, JsonValue], where: str) -> str:
    value = _setting(name, values, where)
    if not isinstance(value, str):
        raise SettingsError(
            f"{where}.{name}: expected text, since it is part of an address or a template; got a {type(value).__name__}"
        )
    if "{" in value or "}" in value:
        raise SettingsError(f"{where}.{name}: braces stand for arguments; write the value without them")
    return value


def _yaml(value: Mapping[str, JsonValue]) -> str:
    """As JSON, which YAML contains: the one reader of settings then names what is wrong in it."""
    return json.dumps(value, ensure_ascii=False)
