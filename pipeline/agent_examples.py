"""Utterances that lie in files beside an agent file, and become part of it when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from models.settings import SettingsError, load_mapping
from pipeline.hours_said import HOURS_FACT

FACT = "q:"
"""Begins the label of a fact that is asked for; its id follows."""
_EXAMPLES: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


def with_examples(data: Mapping[str, JsonValue], path: Path) -> dict[str, JsonValue]:
    """An agent file's content with what its `examples_from` and `utterances_from` name. `path`: of the agent file.

    Raises SettingsError for a file that is none, or that has labels which the agent does not know.
    """
    merged = dict(data)
    for beside in _files(data, "examples_from", path):
        labelled = _read(beside)
        routes = merged.get("routes")
        merged["routes"] = [_with_more(entry, labelled) for entry in routes] if isinstance(routes, list) else routes
        if labelled:
            raise SettingsError(f"{beside}: the agent has no route {', '.join(labelled)}; correct the labels")
    known = {*_names(data, "routes", "name", ""), *_names(data, "facts", "id", FACT)}
    known |= {f"{FACT}{HOURS_FACT}"} if data.get("hours") else set()
    for beside in _files(data, "utterances_from", path):
        labelled = _read(beside)
        if strange := [label for label in labelled if label not in known]:
            raise SettingsError(
                f"{beside}: the agent has no route or fact {', '.join(strange)}; correct the labels "
                f"(a fact's is {FACT} and its id)"
            )
        had = merged.get("utterances")
        utterances = dict(had) if isinstance(had, dict) else {}
        for label, texts in labelled.items():
            before = utterances.get(label)
            utterances[label] = [*(before if isinstance(before, list) else ()), *texts]
        merged["utterances"] = utterances
    return merged


def plain(text: str) -> str:
    """The text without what two spellings of it may differ in: case, punctuation, spaces."""
    return " ".join("".join(c if c.isalnum() or c in "'%$" else " " for c in text.lower()).split())


def _files(data: Mapping[str, JsonValue], key: str, path: Path) -> list[Path]:
    names = data.get(key)
    return [path.parent / str(name) for name in names] if isinstance(names, list) else []


def _read(path: Path) -> dict[str, list[str]]:
    try:
        return _EXAMPLES.validate_python(load_mapping(path))
    except (SettingsError, ValidationError) as error:
        raise SettingsError(f"{path}: expected utterances by route, as YAML; {error}") from error


def _with_more(route: JsonValue, labelled: dict[str, list[str]]) -> JsonValue:
    """The route with what is labelled as its own, which is taken out of `labelled`."""
    if not isinstance(route, dict) or route.get("name") not in labelled:
        return route
    own = route.get("examples", [])
    if not isinstance(own, list):
        return route
    return route | {"examples": [*own, *labelled.pop(str(route.get("name")), ())]}


def _names(data: Mapping[str, JsonValue], entries: str, key: str, prefix: str) -> list[str]:
    found = data.get(entries)
    return (
        [f"{prefix}{entry.get(key)}" for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    )
