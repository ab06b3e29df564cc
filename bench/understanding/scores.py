"""How right the ways are, and what is chosen on the validation split: when to refuse, and how many intents to name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.results import Json, Percentiles
from bench.understanding.ways import BOTH, Measured, Taken
from pipeline.understanding.acts import UNKNOWN, WAIT

_SHARES = tuple(float(share) for share in np.geomspace(0.001, 1, 31))
"""Of the likeliest label's share: from which on a label counts too."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """From when on an utterance is taken for out of scope, whatever is likeliest."""

    measure: str = ""
    """Of sureness; empty: never."""
    below: float = 0.0

    def label(self, taken: Taken) -> str:
        """What it is taken for then."""
        return UNKNOWN if self.measure and taken.sureness[self.measure] < self.below else taken.label


NEVER = Refusal()
"""As shipped: refused is what is likeliest to be out of scope."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a single-intent data set was right."""

    in_scope: int
    right: int
    out_of_scope: int
    refused: int

    @property
    def accuracy(self) -> float:
        """In scope."""
        return self.right / max(1, self.in_scope)

    @property
    def recall(self) -> float:
        """Out of scope."""
        return self.refused / max(1, self.out_of_scope)

    def as_json(self) -> dict[str, Json]:
        return {
            "in_scope": self.in_scope,
            "right": self.right,
            "accuracy": round(self.accuracy, 4),
            "out_of_scope": self.out_of_scope,
            "refused": self.refused,
            "recall": round(self.recall, 4),
        }


@dataclass(frozen=True, slots=True)
class Sets:
    """What of a data set with several intents an utterance was right."""

    utterances: int
    exact: float
    """Share of the utterances whose intents are all named, and no others."""
    micro_f1: float
    """Over all intents named and meant, as published."""

    def as_json(self) -> dict[str, Json]:
        return {
            "utterances": self.utterances,
            "exact_set": round(self.exact, 4),
            "micro_f1": round(self.micro_f1, 4),
        }


def is_right(label: str, taken: Taken) -> bool:
    """Whether a label is one of those meant, or none was and none is named."""
    return label in taken.utterance.meant if taken.utterance.meant else label == UNKNOWN


def scope(taken: Iterable[Taken], refusal: Refusal = NEVER) -> Scope:
    known: list[bool] = []
    strange: list[bool] = []
    for one in taken:
        (known if one.utterance.meant else strange).append(is_right(refusal.label(one), one))
    return Scope(len(known), sum(known), len(strange), sum(strange))


def choose_refusal(validation: Sequence[Taken]) -> Refusal:
    """The one with which most is right, in scope and out of it; never, if none is better."""
    tried = [
        Refusal(measure, below)
        for measure in validation[0].sureness
        for below in sorted({one.sureness[measure] for one in validation})
    ]

    def right(refusal: Refusal) -> int:
        found = scope(validation, refusal)
        return found.right + found.refused

    return max((NEVER, *tried), key=right)


def named(taken: Taken, least: float) -> frozenset[str]:
    """All intents at least so likely, beside the likeliest; none, if that is none of them."""
    likeliest = taken.shares[0]
    if likeliest[0] == UNKNOWN:
        return frozenset()
    enough = least * likeliest[1]
    return frozenset(label for label, share in taken.shares if share >= enough and label not in (UNKNOWN, WAIT))


def sets(taken: Sequence[Taken], least: float) -> Sets:
    pairs = [(named(one, least), one.utterance.meant) for one in taken]
    hits = sum(len(got & meant) for got, meant in pairs)
    all_named, all_meant = sum(len(got) for got, _ in pairs), sum(len(meant) for _, meant in pairs)
    f1 = 2 * hits / (all_named + all_meant) if all_named + all_meant else 1.0
    return Sets(len(pairs), sum(got == meant for got, meant in pairs) / max(1, len(pairs)), f1)


def choose_least(validation: Sequence[Taken]) -> float:
    """The share beside the likeliest from which on an intent is named: with the best micro-F1."""
    return max(_SHARES, key=lambda least: sets(validation, least).micro_f1)


def scored(measured: Measured, *, several: bool, timeout_s: float) -> dict[str, Json]:
    """All figures of one way on the test split. `timeout_s`: later than this, a call would not have waited."""
    test = measured.test
    found: dict[str, Json] = {
        "latency_ms": Percentiles.of(one.took_ms for one in test).as_json(),
        "later_than_timeout": sum(one.took_ms > timeout_s * 1e3 for one in test),
    }
    if measured.way == BOTH:
        found["fast_path"] = _fast(test)
    if several:
        least = choose_least(measured.validation)
        right = sum(is_right(one.label, one) for one in test)
        found |= {
            "one_of_those_meant": {"utterances": len(test), "right": right, "share": round(right / len(test), 4)},
            "named_from_share": round(least, 4),
            "sets": sets(test, least).as_json(),
        }
        return found
    refusal = choose_refusal(measured.validation)
    return found | {
        "as_shipped": scope(test).as_json(),
        "refusal": {"measure": refusal.measure or None, "below": round(refusal.below, 4)},
        "with_refusal": scope(test, refusal).as_json(),
    }


def _fast(test: Sequence[Taken]) -> dict[str, Json]:
    """How many were decided without the model, and how many of those rightly."""
    fast = [one for one in test if one.decided == "fast"]
    return {
        "taken": len(fast),
        "share": round(len(fast) / max(1, len(test)), 4),
        "right": sum(is_right(one.label, one) for one in fast),
    }
