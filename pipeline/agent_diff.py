"""What changed from one version of an agent file to another."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from pipeline.agent import Agent

_NAMED = ("name", "id")
"""Entries of lists that have one of these are the same if it is."""
_LONGEST = 90


def differences(before: Agent, after: Agent) -> list[str]:
    """One line for each difference, in the file's order: '+' added, '-' removed, '~' changed."""
    return list(_differences("", before.model_dump(mode="json"), after.model_dump(mode="json")))


def _differences(path: str, before: JsonValue, after: JsonValue) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, list) and isinstance(after, list):
        if (old := _by_name(before)) is not None and (new := _by_name(after)) is not None:
            yield from _differences(path, old, new)
            return
        if all(isinstance(one, str) for one in (*before, *after)):
            yield from (f"- {path}: {_short(one)}" for one in before if one not in after)
            yield from (f"+ {path}: {_short(one)}" for one in after if one not in before)
            if sorted(map(str, before)) == sorted(map(str, after)):
                yield f"~ {path}: in another order"
            return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            where = f"{path}.{key}" if path else key
            if key not in after or (after[key] is None and before.get(key) is not None):
                yield f"- {where}: {_short(before[key])}"
            elif key not in before or (before[key] is None and after[key] is not None):
                yield f"+ {where}: {_short(after[key])}"
            else:
                yield from _differences(where, before[key], after[key])
        return
    yield f"~ {path}: {_short(before)} -> {_short(after)}"


def _by_name(entries: list[JsonValue]) -> dict[str, JsonValue] | None:
    named: dict[str, JsonValue] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            return None
        name = next((entry[key] for key in _NAMED if isinstance(entry.get(key), str)), None)
        if not isinstance(name, str):
            return None
        named[name] = entry
    return named or None


def _short(value: JsonValue) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
