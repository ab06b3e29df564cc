"""The one loader for YAML files: registry, stacks, agents, scripts, scenarios."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["SettingsError", "StrictModel", "load_settings", "parse_settings"]


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
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected a YAML file") from error
    return parse_settings(text, model, str(path))


def parse_settings(text: str, model: type[ModelT], source: str) -> ModelT:
    """Read YAML text into `model`; `source` names it in errors. Raises SettingsError."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{source}: expected a mapping at the top level, got {type(data).__name__}")
    try:
        # By JSON's rules: strict about types, yet lists may fill tuples and strings may fill enums and paths.
        return model.model_validate_json(_as_json(data, source))
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(source, error, data))) from error


def _as_json(data: dict[object, object], source: str) -> str:
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


def _explain(source: str, error: ValidationError, data: object) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        where = _path(item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{source}: {where}: unknown key; remove it or correct its spelling")
        elif item["type"] == "missing":
            lines.append(f"{source}: {where}: missing; this key is required")
        else:
            got = item.get("input")
            shown = repr(got) if not isinstance(got, dict | list) else type(got).__name__
            lines.append(f"{source}: {where}: {item['msg']}; got {shown[:80]} ({type(got).__name__})")
    return lines


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "(top level)"
