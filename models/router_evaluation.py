"""How well a router tells utterances apart: on examples kept out of its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.types import RouteDecision

Examples = Mapping[str, Sequence[str]]
"""Utterances by label."""
_BINS = 10


@dataclass(frozen=True, slots=True)
class Routed:
    """One utterance, where it belongs and where it went."""

    utterance: str
    wanted: str
    got: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of all of them."""

    routed: tuple[Routed, ...]

    @property
    def accuracy(self) -> float:
        return sum(one.got == one.wanted for one in self.routed) / len(self.routed)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(one.wanted for one in self.routed), *(one.got for one in self.routed)]))

    def confusion(self) -> dict[str, dict[str, int]]:
        """Wanted label -> label it got -> how often; zeros are left out."""
        counts: dict[str, dict[str, int]] = {label: {} for label in self.labels}
        for one in self.routed:
            counts[one.wanted][one.got] = counts[one.wanted].get(one.got, 0) + 1
        return counts

    def precision_recall(self, label: str) -> tuple[float | None, float | None]:
        """None where there is nothing to divide by."""
        right = sum(one.wanted == one.got == label for one in self.routed)
        got = sum(one.got == label for one in self.routed)
        wanted = sum(one.wanted == label for one in self.routed)
        return (right / got if got else None, right / wanted if wanted else None)

    def at_confidence(self, least: float) -> tuple[float, float | None]:
        """Share of utterances at or above this confidence, and how many of those are right."""
        sure = [one for one in self.routed if one.confidence >= least]
        return len(sure) / len(self.routed), sum(o.got == o.wanted for o in sure) / len(sure) if sure else None

    def calibration_error(self) -> float:
        """Expected calibration error over ten bins (Guo et al. 2017): by how much confidence and truth differ."""
        confidences = np.array([one.confidence for one in self.routed])
        right = np.array([one.got == one.wanted for one in self.routed], np.float64)
        bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
        gaps = [
            (bins == number).mean() * abs(right[bins == number].mean() - confidences[bins == number].mean())
            for number in range(_BINS)
            if (bins == number).any()
        ]
        return float(sum(gaps))


def held_out(route: Callable[[str], RouteDecision], examples: Examples) -> Evaluation:
    """On examples that the router was not trained on."""
    return Evaluation(
        tuple(
            Routed(utterance, label, decision.label, decision.confidence)
            for label, utterances in examples.items()
            for utterance in utterances
            for decision in (route(utterance),)
        )
    )


def cross_validated(
    train: Callable[[Examples], Callable[[str], RouteDecision]], examples: Examples, *, folds: int = 5
) -> Evaluation:
    """On each fold by a router that was trained on the others. Every label is dealt out over the folds in turn.

    Raises ValueError if a label has fewer than three examples: without one of them it could not be trained.
    """
    for label, utterances in examples.items():
        if len(utterances) < 3:
            raise ValueError(f"label {label!r}: expected at least 3 examples to keep some out, got {len(utterances)}")
    found: list[Routed] = []
    for fold in range(folds):
        inside = {label: [u for at, u in enumerate(texts) if at % folds != fold] for label, texts in examples.items()}
        outside = {label: [u for at, u in enumerate(texts) if at % folds == fold] for label, texts in examples.items()}
        found += held_out(train(inside), outside).routed
    return Evaluation(tuple(found))
