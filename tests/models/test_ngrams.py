"""Sentence vectors by letters, for languages that the encoder does not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.ngrams import Embeddings, JoinedEncoder


class FakeEncoder:
    """Knows nothing: every text is the same to it."""

    def encode(self, texts: Sequence[str]) -> Embeddings:
        return np.tile(np.array([1.0, 0.0], np.float32), (len(texts), 1))


def test_texts_with_shared_words_are_nearer_than_others_and_accents_do_not_count() -> None:
    rows = JoinedEncoder(FakeEncoder()).encode(
        ["quería pedir una cita", "quisiera una cita", "queria pedir una cita", "¿qué horario tienen?"]
    )
    near = rows @ rows[0]
    assert near[2] > 0.999
    assert near[2] > near[1] > near[3]
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
