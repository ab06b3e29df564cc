"""What changed from one version of an agent file to another."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher, get_close_matches

from pydantic import JsonValue

from pipeline.agent import Agent

_NAMED = ("name", "id")
"""Entries of lists that have one of these are the same if it is."""
_LONGEST = 90
"""Characters of one side that are shown."""
_AROUND = 3
"""Words around a change that are shown of a long text."""


def differences(before: Agent, after: Agent) -> list[str]:
    """A line for each difference, in the file's order: '+' added, '-' removed, '~' changed."""
    return list(_differences("", before.model_dump(mode="json"), after.model_dump(mode="json")))


def _differences(path: str, before: JsonValue, after: JsonValue) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, list) and isinstance(after, list):
        if (old := _by_name(before)) is not None and (new := _by_name(after)) is not None:
            yield from _differences(path, old, new)
            return
        if all(isinstance(one, str) for one in (*before, *after)):
            yield from _texts(path, [str(one) for one in before], [str(one) for one in after])
            return
        if len(before) == len(after):
            for number, (old_one, new_one) in enumerate(zip(before, after, strict=True)):
                yield from _differences(f"{path}[{number}]", old_one, new_one)
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
    yield from _changed(path, _text(before), _text(after))


def _texts(path: str, before: list[str], after: list[str]) -> Iterator[str]:
    if sorted(before) == sorted(after):
        yield f"~ {path}: in another order"
        return
    added = [one for one in after if one not in before]
    for one in (one for one in before if one not in after):
        near = get_close_matches(one, added, n=1) if len(one) > _LONGEST else []
        if near:
            added.remove(near[0])
            yield from _changed(path, one, near[0])
        else:
            yield f"- {path}: {_short(one)}"
    yield from (f"+ {path}: {_short(one)}" for one in added)


def _changed(path: str, before: str, after: str) -> Iterator[str]:
    """Short texts whole; of long ones a line for each part that is another, with a few words around it."""
    if max(len(before), len(after)) <= _LONGEST:
        yield f"~ {path}: {before} -> {after}"
        return
    old, new = before.split(), after.split()
    groups = [*SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_AROUND)]
    for group in groups:
        (_, old_start, _, new_start, _), (_, _, old_end, _, new_end) = group[0], group[-1]
        shown = (_part(old, old_start, old_end), _part(new, new_start, new_end))
        yield f"~ {path}: {shown[0]} -> {shown[1]}"
    if not groups:
        yield f"~ {path}: the spaces between its words"


def _part(words: list[str], start: int, end: int) -> str:
    return " ".join(
        ([] if start == 0 else ["…"]) + [_short(" ".join(words[start:end]))] + ([] if end == len(words) else ["…"])
    )


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


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else str(value)


def _short(value: JsonValue) -> str:
    text = _text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
