"""An operation of an OpenAPI 3 file as a tool: the file says how to call it, the agent file what it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.settings import SettingsError
from pipeline.tools.definition import Argument, HttpCall, JsonValue, OpenApiCall, Tool
from serve.connectors.connection import HttpConnection, origin
from serve.connectors.schemas import Document, Schema, argument_of, arguments_of, returns_of

_METHODS = ("get", "post", "put", "patch", "delete")
_OWN_HEADERS = frozenset({"accept", "content-type", "authorization"})
_FORM = "application/x-www-form-urlencoded"
_LARGEST = 8_000_000


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, ready to be called."""

    description: str
    arguments: Mapping[str, Argument]
    returns: Mapping[str, str]
    http: HttpCall


def load_document(path: Path) -> Document:
    """An OpenAPI 3 file, YAML or JSON. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read; expected an OpenAPI 3 file") from error
    if len(text) > _LARGEST:
        raise SettingsError(f"{path}: larger than {_LARGEST // 1_000_000} MB; cut out the operations that are used")
    try:
        root = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{path}: neither YAML nor JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(root, dict) or not str(root.get("openapi", "")).startswith("3."):
        raise SettingsError(f"{path}: expected an OpenAPI 3 file, with `openapi: 3...` at its top")
    return Document({str(key): _as_json(value) for key, value in root.items()})


def _as_json(value: object) -> JsonValue:
    """YAML as the JSON it stands for: statuses are text even as keys, and an example date is text."""
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def expand_operation(name: str, tool: Tool, connections: Mapping[str, HttpConnection], folder: Path) -> Tool:
    """The tool itself, or for one whose back end is `openapi` the same tool with `http`.

    It is called by the connection that it names or that is on the file's own server, or without one if there is none.
    Arguments and returns that the agent file gives replace the operation's; `file` is relative to `folder`. Raises
    SettingsError.
    """
    if tool.openapi is None:
        return tool
    path = folder / tool.openapi.file
    document = load_document(path)
    try:
        server = _server(document)
        auth = _connection(tool.openapi, server, connections)
        found = operation(document, tool.openapi.operation, auth)
        return Tool.model_validate(
            {
                **{key: getattr(tool, key) for key in tool.model_fields_set},
                "arguments": tool.arguments or found.arguments,
                "returns": tool.returns or found.returns,
                "http": found.http,
                "openapi": None,
            }
        )
    except ValueError as error:
        raise SettingsError(f"tools.{name}: {path}: {error}") from error


def _connection(call: OpenApiCall, server: str, connections: Mapping[str, HttpConnection]) -> str | None:
    """The connection that an operation on this server is called by. Raises ValueError."""
    fitting = [name for name, connection in connections.items() if origin(connection.base_url) == origin(server)]
    if call.auth is not None and call.auth not in fitting:
        raise ValueError(
            f"openapi.auth: no connection {call.auth!r} is on its server {server!r}; "
            f"expected one of {', '.join(fitting) or 'none'}"
        )
    if call.auth is None and len(fitting) > 1:
        raise ValueError(f"its server {server!r} fits the connections {', '.join(fitting)}; name one in `openapi.auth`")
    return call.auth or next(iter(fitting), None)


def operation(document: Document, wanted: str, auth: str | None) -> Operation:
    """The operation of that `operationId`, or "GET /path"; `auth` is the connection it is called by, if any.

    Its parameters and the properties of its body become arguments; their names in snake case. Raises ValueError if
    there is no such operation, or it needs what a call's flat arguments cannot give.
    """
    path, method, shared, found = _find(document, wanted)
    arguments: dict[str, Argument] = {}
    fields: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for parameter in _parameters(document, shared, found):
        place, name = _text(parameter, "in"), _text(parameter, "name")
        if place not in fields or (place == "header" and name.lower() in _OWN_HEADERS):
            continue
        required = parameter.get("required") is True or place == "path"
        argument = argument_of(
            {"description": _text(parameter, "description"), **document.at(parameter.get("schema", {}))},
            required=required,
        )
        if argument is None:
            if required:
                raise ValueError(f"{place} parameter {name!r} is required but no plain value; call it by `http`")
            continue
        fields[place][name] = _add(arguments, name, argument)
    body, headers = _body(document, found, arguments)
    url = path
    for name, template in fields["path"].items():
        url = url.replace("{" + name + "}", template)
    http = HttpCall.model_validate(
        {
            "method": method.upper(),
            "url": _server(document) + url,
            "auth": auth,
            "query": fields["query"],
            "headers": {**headers, **fields["header"]},
            **({} if body is None else {"body": body}),
        },
        strict=False,
    )
    return Operation(
        description=_text(found, "summary") or _text(found, "description") or wanted,
        arguments=arguments,
        returns=_returns(document, found),
        http=http,
    )


def _find(document: Document, wanted: str) -> tuple[str, str, Schema, Schema]:
    known: list[str] = []
    for path, item in document.at(document.root.get("paths", {})).items():
        shared = document.at(item)
        for method in _METHODS:
            if method not in shared:
                continue
            found = document.at(shared[method])
            names = (_text(found, "operationId"), f"{method.upper()} {path}")
            if wanted in names:
                return path, method, shared, found
            known.append(names[0] or names[1])
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    raise ValueError(f"no operation is called {wanted!r}; it has {shown or 'none'}")


def _parameters(document: Document, shared: Schema, found: Schema) -> Iterator[Schema]:
    by_place: dict[tuple[str, str], Schema] = {}
    for holder in (shared, found):
        listed = holder.get("parameters", [])
        if not isinstance(listed, list):
            raise ValueError("`parameters` is no list")
        for value in listed:
            parameter = document.at(value)
            by_place[_text(parameter, "in"), _text(parameter, "name")] = parameter
    yield from by_place.values()


def _body(
    document: Document, found: Schema, arguments: dict[str, Argument]
) -> tuple[dict[str, JsonValue] | None, dict[str, str]]:
    """The body's template and the headers it needs."""
    if "requestBody" not in found:
        return None, {}
    content = document.at(document.at(found["requestBody"]).get("content", {}))
    kind = next((name for name in content if name.split(";")[0] in ("application/json", _FORM)), None)
    if kind is None:
        raise ValueError(f"its body is {', '.join(content) or 'nothing'}; expected application/json or a form")
    schema = document.at(document.at(content[kind]).get("schema", {}))
    template: dict[str, JsonValue] = {}
    for name, argument in arguments_of(schema, document).items():
        template[name] = _add(arguments, name, argument)
    return template, {"Content-Type": _FORM} if kind == _FORM else {}


def _add(arguments: dict[str, Argument], name: str, argument: Argument) -> str:
    """Take an argument in; the placeholder that stands for it."""
    snake = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").lower()
    if not snake or snake in arguments:
        raise ValueError(f"two arguments are called {snake!r} (one of them {name!r}); call it by `http`")
    arguments[snake] = argument
    return "{" + snake + "}"


def _returns(document: Document, found: Schema) -> dict[str, str]:
    responses = document.at(found.get("responses", {}))
    status = next((status for status in sorted(responses) if status.startswith("2")), None)
    if status is None:
        return {}
    content = document.at(document.at(responses[status]).get("content", {}))
    kind = next((name for name in content if "json" in name), None)
    if kind is None:
        return {}
    return returns_of(document.at(document.at(content[kind]).get("schema", {})), document)


def _server(document: Document) -> str:
    servers = document.root.get("servers")
    url = _text(document.at(servers[0]), "url") if isinstance(servers, list) and servers else ""
    if not url.startswith(("https://", "http://")) or "{" in url:
        raise ValueError(f"its first server is {url!r}; write the whole URL there, without variables")
    return url.rstrip("/")


def _text(schema: Schema, key: str) -> str:
    value = schema.get(key)
    return value if isinstance(value, str) else ""
