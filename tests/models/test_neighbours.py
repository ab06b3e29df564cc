"""What an utterance means by its nearest examples' votes."""

import numpy as np
import pytest

from models.neighbours import Neighbours
from models.ngrams import Embeddings
from models.types import Meant


def unit(*values: float) -> Embeddings:
    row = np.array(values, np.float32)
    return row / np.float32(np.linalg.norm(row))


ROWS = np.stack([unit(1, 0, 0), unit(0, 1, 0), unit(0, 0.95, 0.1)])


def test_the_shares_sum_to_one_and_the_nearest_meaning_comes_first() -> None:
    meant = Neighbours(ROWS, ["price", "hours", "hours"]).vote(unit(0.1, 1, 0))
    assert meant.shares[0][0] == "hours"
    assert sum(share for _, share in meant.shares) == pytest.approx(1)
    assert meant.nearest == pytest.approx(float(ROWS[1] @ unit(0.1, 1, 0)))


def test_two_near_examples_of_one_meaning_outvote_one_of_another_that_is_as_near() -> None:
    rows = np.stack([unit(1, 0.1, 0), unit(1, 0, 0.1), unit(1, -0.1, 0)])
    meant = dict(Neighbours(rows, ["a", "b", "b"]).vote(unit(1, 0, 0)).shares)
    assert meant["b"] == pytest.approx(2 * meant["a"], rel=0.01)


def test_without_examples_nothing_is_meant() -> None:
    assert Neighbours(np.empty((0, 3), np.float32), []).vote(unit(1, 0, 0)) == Meant()
