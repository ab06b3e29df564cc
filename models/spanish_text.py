"""Written Spanish to the words that are said for it, as models/speech_text.py does for English.

Agents' templates and facts are written as they are said; numbers in digits are worded by num2words.
"""

from __future__ import annotations

import re

from num2words import num2words

from models.speech_text import PAUSES, SpokenWord

_WORD = re.compile(r"[a-záéíóúüñ]+", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_LONG_DIGITS = 5
"""Digits from this many on are said one by one: telephone and order numbers."""


def spanish_words(text: str) -> tuple[SpokenWord, ...]:
    """The words that are said for `text`, in order. Empty if nothing in it can be said."""
    said: list[SpokenWord] = []
    for index, word in enumerate(text.split()):
        core = word.strip("¿¡\"'()«»")
        pause = core[-1] if core and core[-1] in PAUSES else ""
        parts = [part for piece in re.findall(r"\d+|[^\W\d_]+", core) for part in _parts(piece)]
        if not parts:
            if said and pause and not said[-1].pause:
                said[-1] = SpokenWord(said[-1].text, said[-1].written, pause)
            continue
        said += [SpokenWord(part, index, pause if at == len(parts) - 1 else "") for at, part in enumerate(parts)]
    return tuple(said)


def _parts(piece: str) -> list[str]:
    if not _NUMBER.fullmatch(piece):
        return _WORD.findall(piece)
    digits = list(piece) if len(piece) >= _LONG_DIGITS or piece.startswith("0") else [piece]
    return [word for digit in digits for word in num2words(int(digit), lang="es").split()]
