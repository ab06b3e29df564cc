"""What words tell unasked of what flows would ask for: evidence of what is wished. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.slots.reading import ReadingContext, read
from pipeline.slots.types import LIKELY, SURE
from pipeline.slots.variables import Variable

_TELLING = ("choice", "digits", "code", "phone", "email")
"""Types whose values are seldom said but to tell them: no small numbers, yes and no, and no days or times, of which
facts are asked too."""
_NAMED = ("digits", "code", "phone", "email")
"""Types whose values are said with what they are ("the tracking number is ...")."""
_FEW_WORDS = 3
"""So many words may be left beside a value and what it is called ("it is", "and my")."""


def tells(variable: Variable, utterance: str, context: ReadingContext) -> bool:
    """Whether a reader is sure that it tells the variable, of a type that is seldom said otherwise, unasked."""
    if variable.type not in _TELLING or variable.options_from is not None:
        return False
    reading = read(variable, utterance, context)
    return reading is not None and reading.confidence >= SURE


def only_tells(variables: Iterable[Variable], part: str, context: ReadingContext) -> bool:
    """Whether a part of an utterance tells, unasked, a number or address that it names, and nothing else."""
    words = _words(part)
    for variable in variables:
        named = set(words) & set(_words(variable.description))
        reading = read(variable, part, context) if named and variable.type in _NAMED else None
        if reading is not None and reading.confidence >= LIKELY:
            left = [word for word in words if word not in named]
            if len(left) - len(_words(reading.words)) <= _FEW_WORDS:
                return True
    return False


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
