"""The one loader for YAML files: registry, stacks, agents, scripts, scenarios."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from models.yaml_text import YamlError, parse_yaml

__all__ = [
    "WITHHELD",
    "SettingsError",
    "StrictModel",
    "load_mapping",
    "load_settings",
    "parse_mapping",
    "parse_settings",
    "settings_from",
]

WITHHELD = "withheld"
"""Type of an error about something that must not be shown: a secret that is written out."""
_UNQUOTED = "YAML reads an unquoted yes, no, on, off or number as something else than text: put it in quotes"


class SettingsError(ValueError):
    """A YAML file does not say what is expected: names the file, the path to the key, what was expected, what came."""


class StrictModel(BaseModel):
    """Base of everything read from YAML: unknown keys and wrong types are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


def load_settings(path: Path, model: type[ModelT]) -> ModelT:
    """Read one YAML file into `model`.

    Raises SettingsError if the file is missing, is no YAML, or does not fit the model.
    """
    return settings_from(load_mapping(path), model, str(path))


def parse_settings(text: str, model: type[ModelT], source: str) -> ModelT:
    """Read YAML text into `model`; `source` names it in errors. Raises SettingsError."""
    return settings_from(parse_mapping(text, source), model, source)


def load_mapping(path: Path) -> dict[str, JsonValue]:
    """A YAML file's mapping, before it is fitted into a model. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected a YAML file") from error
    return parse_mapping(text, str(path))


def parse_mapping(text: str, source: str) -> dict[str, JsonValue]:
    """YAML text's mapping, before it is fitted into a model; `source` names it in errors. Raises SettingsError."""
    try:
        data = parse_yaml(text)
    except YamlError as error:
        raise SettingsError("\n".join(f"{source}: {line}" for line in str(error).splitlines())) from error
    if not isinstance(data, dict):
        raise SettingsError(f"{source}: expected a mapping at the top level, got {type(data).__name__}")
    return data


def settings_from(data: Mapping[str, JsonValue], model: type[ModelT], source: str) -> ModelT:
    """A mapping as `model`; `source` names it in errors. Raises SettingsError."""
    try:
        # By JSON's rules: strict about types, yet lists may fill tuples and strings may fill enums and paths.
        return model.model_validate_json(_as_json(data, source))
    except ValidationError as error:
        lines = (_explained(item, model, data) for item in error.errors(include_url=False))
        raise SettingsError("\n".join(f"{source}: {line}" for line in lines)) from error


def _as_json(data: Mapping[str, JsonValue], source: str) -> str:
    try:
        return json.dumps(_with_dates_as_text(data), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"{source}: a value is neither text, number, list nor mapping ({error}); put quotes around dates and times"
        ) from error


def _with_dates_as_text(data: object) -> object:
    """The same with dates as they were written: YAML reads an unquoted 2026-12-24 as one, in keys too."""
    if isinstance(data, dict):
        return {_with_dates_as_text(key): _with_dates_as_text(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_with_dates_as_text(each) for each in data]
    return data.isoformat() if isinstance(data, date) and not isinstance(data, datetime) else data


def _explained(item: ErrorDetails, model: type[BaseModel], data: JsonValue | Mapping[str, JsonValue]) -> str:
    where, got = _path(item["loc"], data), item.get("input")
    match item["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {_correction(str(item['loc'][-1]), _keys_at(model, item['loc'][:-1]))}"
        case "missing":
            return f"{where}: missing; this key is required"
        case "union_tag_invalid":
            context = item.get("ctx", {})
            tags = [tag.strip(" '") for tag in str(context.get("expected_tags")).split(",")]
            key = str(context.get("discriminator")).strip("'")
            return f"{where}.{key}: no such kind: {context.get('tag')!r}; {_correction(str(context.get('tag')), tags)}"
        case kind if kind == WITHHELD:
            return f"{where}: {item['msg']}"
    shown = repr(got) if not isinstance(got, dict | list) else type(got).__name__
    unquoted = isinstance(got, bool | int | float) and item["type"] in ("string_type", "literal_error", "enum")
    why = f"; {_UNQUOTED}" if unquoted else ""
    return f"{where}: {item['msg'].removeprefix('Value error, ')}; got {shown[:80]} ({type(got).__name__}){why}"


def _correction(word: str, known: Sequence[str]) -> str:
    """What a name that is not known may have been meant for."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"expected one of {', '.join(known)}" if known else "remove it or correct its spelling"


def _keys_at(annotation: object, location: Sequence[int | str]) -> list[str]:
    """The keys that may stand in the mapping at `location`, below something of the type `annotation`."""
    return list(dict.fromkeys(key for model in _models_at(annotation, location) for key in model.model_fields))


def _models_at(annotation: object, location: Sequence[int | str]) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            yield annotation
        elif (field := annotation.model_fields.get(str(location[0]))) is not None:
            yield from _models_at(field.annotation, location[1:])
        elif any(location[0] in _literals(field.annotation) for field in annotation.model_fields.values()):
            # Which one of several it is stands in the location, and in none of its keys.
            yield from _models_at(annotation, location[1:])
    elif get_origin(annotation) in (dict, tuple, list):
        for inner in get_args(annotation):
            yield from _models_at(inner, location[1:]) if location else ()
    else:
        for inner in get_args(annotation):
            yield from _models_at(inner, location)


def _literals(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _path(location: Sequence[int | str], data: object) -> str:
    """The way through the file."""
    path = ""
    for depth, part in enumerate(location):
        if isinstance(data, dict):
            if part not in data and depth + 1 < len(location):
                continue  # Which one of several kinds the mapping was taken for: no key of the file.
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            data = None
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "(top level)"
