"""How routers are judged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.router_evaluation import Evaluation, Examples, Routed, cross_validated, held_out
from models.types import RouteDecision

FOUND = Evaluation(
    (
        Routed("one", "a", "a", 0.9),
        Routed("two", "a", "b", 0.6),
        Routed("three", "b", "b", 0.9),
        Routed("four", "b", "b", 0.2),
    )
)


def test_figures_are_those_of_the_confusion_matrix() -> None:
    assert FOUND.accuracy == 0.75
    assert FOUND.confusion() == {"a": {"a": 1, "b": 1}, "b": {"b": 2}}
    assert FOUND.precision_recall("a") == (1.0, 0.5)
    assert FOUND.precision_recall("b") == (pytest.approx(2 / 3), 1.0)
    assert FOUND.precision_recall("c") == (None, None)
    assert FOUND.at_confidence(0.5) == (0.75, pytest.approx(2 / 3))
    assert FOUND.at_confidence(0.95) == (0.0, None)


def test_the_calibration_error_is_what_confidence_and_truth_differ_by() -> None:
    # 0.9 twice right: 0.1 apart, half of all; 0.6 wrong: 0.6 apart; 0.2 right: 0.8 apart.
    assert FOUND.calibration_error() == pytest.approx(0.5 * 0.1 + 0.25 * 0.6 + 0.25 * 0.8)


def test_every_example_is_judged_once_by_a_router_that_never_saw_it() -> None:
    examples = {"a": [f"a{n}" for n in range(7)], "b": [f"b{n}" for n in range(5)]}
    trainings: list[set[str]] = []

    def train(seen: Examples) -> Callable[[str], RouteDecision]:
        known = {text for texts in seen.values() for text in texts}
        trainings.append(known)
        return lambda text: RouteDecision("seen" if text in known else text[0], 1.0)

    found = cross_validated(train, examples)
    assert sorted(one.utterance for one in found.routed) == sorted([*examples["a"], *examples["b"]])
    assert found.accuracy == 1.0
    assert len(trainings) == 5


def test_a_label_with_too_few_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="'b': expected at least 3"):
        cross_validated(lambda seen: lambda text: RouteDecision("a", 1.0), {"a": ["x", "y", "z"], "b": ["u", "v"]})


def test_held_out_examples_are_judged_under_their_label() -> None:
    found = held_out(lambda text: RouteDecision(text[0], 0.5), {"a": ["a1", "b1"]})
    assert [(one.wanted, one.got) for one in found.routed] == [("a", "a"), ("a", "b")]
