"""Agent files that are made of several: what `include` names becomes part of the file that names it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pydantic import JsonValue

from models.settings import SettingsError, load_mapping

INCLUDE = "include"
_NAMED_BY = ("name", "id")
"""Keys by which an entry of a list is known."""
_BESIDE = ("examples_from", "utterances_from")
"""Keys whose files lie beside the file that names them."""


def load_with_included(path: Path) -> dict[str, JsonValue]:
    """An agent file's content with that of the files it includes.

    Of mappings (variables, flows, tools, ...) the entries are joined by name, of lists (facts, routes) one after the
    other; an entry of the including file's stands for one of the same name. Raises SettingsError for a file that cannot
    be read, that includes itself, or that has an entry which another included one has too.
    """
    return _included(path, ())


def _included(path: Path, within: tuple[Path, ...]) -> dict[str, JsonValue]:
    own = load_mapping(path)
    if path.resolve() in within:
        raise SettingsError(f"{path}: includes itself; remove it from `{INCLUDE}`")
    names = own.get(INCLUDE)
    if not isinstance(names, list):
        return own
    found: dict[str, JsonValue] = {}
    for name in names:
        included = _as_seen_from(_included(path.parent / str(name), (*within, path.resolve())), str(name))
        for key, value in included.items():
            if key == INCLUDE:
                continue
            if twice := _same(found.get(key), value):
                raise SettingsError(
                    f"{path}: {INCLUDE}: {name} has {key}.{twice[0]}, which a file named before it has too; "
                    "expected it in one of them"
                )
            found[key] = _joined(value, found[key]) if key in found else value
    return {**found, **{key: _joined(value, found[key]) if key in found else value for key, value in own.items()}}


def _as_seen_from(data: dict[str, JsonValue], name: str) -> dict[str, JsonValue]:
    """The content with the files that it names as the including file would name them."""
    folder = PurePosixPath(name).parent
    for key in _BESIDE:
        files = data.get(key)
        if isinstance(files, list):
            data = {**data, key: [str(folder / str(file)) for file in files]}
    return data


def _joined(own: JsonValue, other: JsonValue) -> JsonValue:
    """Both, where they have entries; else the first."""
    if isinstance(own, dict) and isinstance(other, dict):
        return {**other, **own}
    if isinstance(own, list) and isinstance(other, list):
        had = _entries(own)
        return [*own, *(entry for entry in other if _name(entry) is None or _name(entry) not in had)]
    return own


def _same(one: JsonValue, other: JsonValue) -> list[str]:
    """Names of entries that both have."""
    return [name for name in _entries(other) if name in _entries(one)]


def _entries(value: JsonValue) -> list[str]:
    if isinstance(value, dict):
        return [*value]
    return [name for entry in value if (name := _name(entry))] if isinstance(value, list) else []


def _name(entry: JsonValue) -> str | None:
    if not isinstance(entry, Mapping):
        return None
    return next((str(entry[key]) for key in _NAMED_BY if key in entry), None)
