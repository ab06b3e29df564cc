"""Sentence vectors for languages that the sentence encoder does not know: its own, joined with the words' letters.

Hashed n-grams of two to five letters and whole words, signed (Weinberger et al. 2009), damped by their square root.
They know no meaning, but that "cita" is in "quería una cita" needs none.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Embeddings = npt.NDArray[np.float32]

_WIDTH = 2048
_WEIGHT = 2.0
"""Of the letters beside the encoder's vector: on Spanish examples, 75% right by cross-validation against 71% at 1, and
64% without letters."""
_WORD_WEIGHT = 2.0


class Encoder(Protocol):
    def encode(self, texts: Sequence[str]) -> Embeddings:
        """One row of length 1 for each text."""
        ...


class JoinedEncoder:
    """An encoder's vectors with those of the letters beside them."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> Embeddings:
        letters = np.stack([_letters(text) for text in texts])
        joined = np.hstack([self._encoder.encode(texts), _WEIGHT * letters])
        rows: Embeddings = (joined / np.linalg.norm(joined, axis=1, keepdims=True)).astype(np.float32)
        return rows


def _letters(text: str) -> Embeddings:
    bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    row = np.zeros(_WIDTH, np.float32)
    padded = f" {bare} "
    pieces = [(padded[at : at + size], 1.0) for size in range(2, 6) for at in range(len(padded) - size + 1)]
    pieces += [(f"word {word}", _WORD_WEIGHT) for word in bare.split()]
    for piece, weight in pieces:
        code = zlib.crc32(piece.encode())
        row[code % _WIDTH] += weight if (code >> 20) & 1 else -weight
    damped: Embeddings = (np.sign(row) * np.sqrt(np.abs(row))).astype(np.float32)
    return damped / np.float32(max(float(np.linalg.norm(damped)), 1e-9))
