"""Examples that lie beside an agent file, put to its routes and facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import JsonValue, TypeAdapter, ValidationError

from models.settings import SettingsError

FACT = "q:"
"""Begins the label of a fact that is asked for; its id follows."""
_EXAMPLES: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


def with_examples(data: Mapping[str, JsonValue], path: Path) -> dict[str, JsonValue]:
    """An agent file's content with the examples of its `examples_from`. `path`: of the agent file.

    Raises SettingsError for a file that is none, or that has labels which the agent does not know.
    """
    merged = dict(data)
    files = data.get("examples_from")
    for name in files if isinstance(files, list) else ():
        beside = path.parent / str(name)
        labelled = _read(beside)
        merged["routes"] = _put(merged.get("routes"), "name", "examples", "", labelled)
        merged["facts"] = _put(merged.get("facts"), "id", "questions", FACT, labelled)
        if labelled:
            raise SettingsError(
                f"{beside}: the agent has no route {', '.join(labelled)}; correct the labels "
                f"(a fact's is {FACT} and its id)"
            )
    return merged


def _read(path: Path) -> dict[str, list[str]]:
    try:
        return _EXAMPLES.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"{path}: expected utterances by route, as YAML; {error}") from error


def _put(entries: JsonValue, key: str, field: str, prefix: str, labelled: dict[str, list[str]]) -> JsonValue:
    """The entries with what is labelled as theirs before their own examples; it is taken out of `labelled`."""
    if not isinstance(entries, list):
        return entries
    filled: list[JsonValue] = []
    for entry in entries:
        if isinstance(entry, dict) and (more := labelled.pop(f"{prefix}{entry.get(key)}", None)):
            own = entry.get(field)
            entry = entry | {field: [*more, *(own if isinstance(own, list) else ())]}
        filled.append(entry)
    return filled
