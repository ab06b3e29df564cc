"""CUDA graphs by shape: what is launched kernel by kernel once is replayed by one call ever after."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Capture", "Captured", "GraphCache", "capture_on_cuda"]

Function = Callable[..., tuple[Tensor, ...]]
_WARM_UPS = 3


class Captured(NamedTuple):
    """One shape's graph, with the tensors that it reads and writes at every replay."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    replay: Callable[[], None]


Capture = Callable[[Function, tuple[Tensor, ...]], Captured]


class GraphCache:
    """A function of tensors whose every shape is captured at its first call. Not safe to use from several threads.

    On the CPU there is nothing to capture, and the function runs as it is.
    """

    def __init__(self, function: Function, capture: Capture | None) -> None:
        """`function` must neither wait for the device nor copy to it, and must give tensors of its own."""
        self._function = function
        self._capture = capture
        self._graphs: dict[tuple[tuple[int, ...], ...], Captured] = {}

    def __call__(self, *inputs: Tensor, fixed: bool = True) -> tuple[Tensor, ...]:
        """`fixed`: the shape is one of few; others are not worth a graph."""
        if self._capture is None or not fixed:
            return self._function(*inputs)
        shapes = tuple(tuple(each.shape) for each in inputs)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._capture(self._function, tuple(each.clone() for each in inputs))
        graph = self._graphs[shapes]
        for kept, given in zip(graph.inputs, inputs, strict=True):
            kept.copy_(given)
        graph.replay()
        # The next replay, of this graph or of one that shares its memory, writes over them.
        return tuple(output.clone() for output in graph.outputs)


def capture_on_cuda(pool: object) -> Capture:
    """Captures into one memory pool (torch.cuda.graph_pool_handle): graphs that never run at once share its memory."""

    def capture(function: Function, inputs: tuple[Tensor, ...]) -> Captured:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            # Libraries choose and allocate at their first calls, which a graph cannot hold.
            for _ in range(_WARM_UPS):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            outputs = function(*inputs)
        return Captured(inputs, outputs, graph.replay)

    return capture
