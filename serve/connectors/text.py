"""What other systems say is data: cut to a size, stripped of what could steer a model, a log or a terminal."""

from __future__ import annotations

import unicodedata

from pydantic import Field

from models.settings import StrictModel
from pipeline.tools.definition import JsonValue


class TextLimits(StrictModel):
    """How much of an answer is kept."""

    longest_text: int = Field(500, ge=16, le=20_000)
    """Characters of one text; the rest is cut off."""
    most_items: int = Field(50, ge=1, le=1000)
    """Entries of one list or keys of one object; the rest is cut off."""
    deepest: int = Field(6, ge=1, le=20)
    """Levels of lists and objects in one another; what lies deeper is null."""


_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories: controls, invisible format characters (also those that turn text around or hide text in tags),
lone surrogates, private and unassigned code points."""


def clean_text(text: str, longest: int) -> str:
    """The text on one line, composed (NFC), without invisible characters, at most `longest` characters."""
    # Cut early too, so that a megabyte is not gone through character by character.
    kept = "".join(" " if char in "\t\r\n\x0b\x0c\u2028\u2029" else char for char in text[: longest * 4])
    kept = "".join(char for char in kept if unicodedata.category(char) not in _DROPPED)
    return " ".join(unicodedata.normalize("NFC", kept).split())[:longest].rstrip()


def clean(value: JsonValue, limits: TextLimits, depth: int = 0) -> JsonValue:
    """The value with every text in it cleaned, and everything cut to the limits."""
    if isinstance(value, str):
        return clean_text(value, limits.longest_text)
    if isinstance(value, list | dict) and depth >= limits.deepest:
        return None
    if isinstance(value, list):
        return [clean(item, limits, depth + 1) for item in value[: limits.most_items]]
    if isinstance(value, dict):
        items = list(value.items())[: limits.most_items]
        return {clean_text(key, limits.longest_text): clean(item, limits, depth + 1) for key, item in items}
    return value
