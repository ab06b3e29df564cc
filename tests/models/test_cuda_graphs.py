from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.cuda_graphs import Captured, GraphCache, capture_on_cuda


class Recorder:
    """Captures on the CPU: replaying computes into the same outputs again, as a graph does."""

    def __init__(self) -> None:
        self.captured: list[tuple[int, ...]] = []

    def __call__(self, function: object, inputs: tuple[Tensor, ...]) -> Captured:
        self.captured.append(tuple(inputs[0].shape))
        outputs = tuple(torch.zeros_like(output) for output in function(*inputs))

        def replay() -> None:
            for kept, made in zip(outputs, function(*inputs), strict=True):
                kept.copy_(made)

        return Captured(inputs, outputs, replay)


def doubled(x: Tensor) -> tuple[Tensor, ...]:
    return (x * 2,)


def test_each_shape_is_captured_once_and_replayed_with_what_is_given() -> None:
    recorder = Recorder()
    cache = GraphCache(doubled, recorder)
    first, second = cache(torch.ones(3))[0], cache(torch.full((3,), 5.0))[0]
    assert cache(torch.ones(2, 2))[0].tolist() == [[2, 2], [2, 2]]
    assert recorder.captured == [(3,), (2, 2)]
    # The first answer is the caller's own: a later replay does not change it.
    assert (first.tolist(), second.tolist()) == ([2, 2, 2], [10, 10, 10])


def test_what_is_given_is_left_alone() -> None:
    cache, given = GraphCache(doubled, Recorder()), torch.ones(2)
    cache(given)
    cache(torch.zeros(2))
    assert given.tolist() == [1, 1]


def test_a_shape_that_is_not_one_of_few_is_not_captured() -> None:
    recorder = Recorder()
    assert GraphCache(doubled, recorder)(torch.ones(7), fixed=False)[0].sum() == 14
    assert recorder.captured == []


def test_without_a_device_the_function_runs_as_it_is() -> None:
    assert GraphCache(doubled, None)(torch.ones(2))[0].tolist() == [2, 2]


def test_a_gpu_replays_what_it_captured() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    cache = GraphCache(doubled, capture_on_cuda(torch.cuda.graph_pool_handle()))
    answers = [cache(torch.full((4,), value, device="cuda"))[0] for value in (1.0, 3.0)]
    assert [answer.tolist() for answer in answers] == [[2.0] * 4, [6.0] * 4]
