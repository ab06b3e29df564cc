"""What would go wrong with an agent because of what lies around it: other files, voices, the addresses of systems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from models.kokoro import SPANISH
from models.settings import SettingsError
from models.weights import WeightsError, entry
from pipeline.agent import Agent
from pipeline.tools.definition import HttpCall, JsonValue, Tool
from pipeline.workflow.check import Finding
from serve.agent_file import load_agent_file
from serve.connectors.connection import HttpConnection
from serve.connectors.http_plan import Plan
from serve.connectors.opening import check_servers
from serve.connectors.presets import expand

_SECRET_KEY = re.compile(r"authorization|api[-_]?key|token|secret|passw|credential", re.IGNORECASE)
"""Names of headers and parameters that carry secrets."""


def check_agent_file(path: Path, agent: Agent, voices: str) -> Iterator[Finding]:
    """Errors first found by a call otherwise. `voices`: the weights that speak, as its stack file names them.

    Nothing is connected to, and no secret is read.
    """
    yield from check_voice(agent.voice, voices)
    yield from _languages(path, agent)
    yield from _systems(path, agent)


def check_voice(voice: str, weights: str) -> Iterator[Finding]:
    """An error if these weights have no such voice; a warning if they are not prepared, so that nobody can tell."""
    try:
        downloads = entry(weights).downloads
    except WeightsError as error:
        yield Finding("warning", "voice", f"not looked for: {error}")
        return
    files = (PurePosixPath(file.name) for download in downloads for file in download.files)
    known = [file.stem for file in files if file.parent.name == "voices"]
    named = voice.removeprefix(SPANISH)
    if known and named not in known:
        near = get_close_matches(named, known, n=1)
        what = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        yield Finding("error", "voice", f"{weights} has no voice {named!r}; {what}")


def _languages(path: Path, agent: Agent) -> Iterator[Finding]:
    for language, name in agent.also_in.items():
        where, file = f"also_in.{language}", path.parent / name
        if not file.is_file():
            yield Finding("error", where, f"no file {file}; expected an agent file with `language: {language}`")
            continue
        try:
            other = load_agent_file(file)
        except SettingsError as error:
            yield Finding("error", where, f"cannot be read: {str(error).splitlines()[0]}")
            continue
        if other.language != language:
            what = f"{name} speaks {other.language!r}; expected an agent file with `language: {language}`"
            yield Finding("error", where, what)


def _systems(path: Path, agent: Agent) -> Iterator[Finding]:
    tools: dict[str, JsonValue] = {
        name: tool.model_dump(mode="json", exclude_unset=True) for name, tool in agent.tools.items()
    }
    try:
        expanded = expand(agent.connections, tools, source=str(path))
        check_servers(expanded)
    except SettingsError as error:
        for line in str(error).splitlines():
            where, _, what = line.removeprefix(f"{path}: ").partition(": ")
            yield Finding("error", where, what)
        return
    for name, connection in expanded.connections.items():
        if connection.base_url.startswith("http://") and not connection.allow_private:
            yield Finding("error", f"connections.{name}.base_url", _not_https(connection.base_url))
        yield from _written_out(f"connections.{name}.headers", connection.headers)
    for name, tool in expanded.tools.items():
        if tool.http is not None:
            yield from _called(f"tools.{name}", tool, tool.http, expanded.connections)


def _called(where: str, tool: Tool, http: HttpCall, connections: Mapping[str, HttpConnection]) -> Iterator[Finding]:
    try:
        plan = Plan.of(where.partition(".")[2], tool, http, connections)
    except SettingsError as error:
        path, _, what = str(error).partition(": http.")
        key, _, why = what.partition(": ")
        yield Finding("error", f"{path}.http.{key}", why) if what else Finding("error", where, str(error))
        return
    if http.auth is None and plan.url.startswith("http://"):
        yield Finding("error", f"{where}.http.url", _not_https(plan.url))
    yield from _written_out(f"{where}.http.headers", http.headers)
    yield from _written_out(f"{where}.http.query", http.query)


def _written_out(where: str, values: Mapping[str, str]) -> Iterator[Finding]:
    for key, value in values.items():
        if _SECRET_KEY.search(key) and value and "{" not in value:
            what = "looks like a secret written into this file; expected it in the connection's `auth`, as {env: NAME}"
            yield Finding("error", f"{where}.{key}", f"{what} or {{file: path}}")


def _not_https(url: str) -> str:
    return (
        f"{url!r}: expected https; a system of your own on a private network is called by a connection with "
        "`allow_private: true`"
    )
