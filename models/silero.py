"""Silero VAD (ONNX): speech probability of each 32 ms window. One session for all calls, a small state a call.

The published graph holds two networks behind an `If` on the sample rate, and slices its LSTM's weights anew in every
run. Here the 16 kHz one is built again from the same weights as plain matrix products, and runs on memory bound
beforehand: 43 us of CPU a window instead of 113 (one core of an AMD EPYC), and the same probabilities to 4e-6. Against
the network in float64 it errs by 2e-6, the published graph by 4e-6: only the order of the sums differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from models.types import FloatAudio, ModelFailure

WINDOW_SAMPLES = 512
"""32 ms at 16 kHz: the only window the 16 kHz network takes."""

CONTEXT_SAMPLES = 64
"""The network also sees the end of the window before (upstream's `OnnxWrapper`, silero_vad/utils_vad.py)."""

_HEARD = CONTEXT_SAMPLES + WINDOW_SAMPLES
_HOP = 128
"""Samples from one of the network's four spectra to the next; each is taken of two hops."""
_BINS = 129
_STATE = 128
"""Width of the LSTM: so much hidden state, and as much in its cell."""

_ENCODER: Final = ("encoder.0", "encoder.1", "encoder.2", "encoder.3")
"""Convolutions over time, three spectra wide; the middle two take every other place."""

_Floats = npt.NDArray[np.float32]
_Weights = Mapping[str, _Floats]


class SileroVad:
    """The network, loaded once. It keeps no state, so streams of different calls and threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Load `silero_vad.onnx` from a prepared folder. Raises ModelFailure if it is missing or not Silero VAD."""
        path = folder / "silero_vad.onnx"
        if not path.is_file():
            raise ModelFailure(
                f"{path}: no such file; expected Silero VAD's weights: run `trunkline models prepare silero-vad`"
            )
        options = onnxruntime.SessionOptions()
        # A window is 0.05 ms of work: more threads only add hand-overs, and spinning would steal a core from the
        # others.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            graph = _plain_graph(_weights(onnx.load(path)))
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # neither onnx's nor onnxruntime's own exceptions have a common base of their own
            raise ModelFailure(
                f"{path}: cannot load it as Silero VAD v6 ({type(error).__name__}: {error}); prepare the weights again"
            ) from error

    def stream(self) -> SileroStream:
        """A fresh stream for one call."""
        return SileroStream(self._session)


class SileroStream:
    """One call's voice activity. Not for use by two threads at once."""

    window_samples: int = WINDOW_SAMPLES

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._run = session.run_with_iobinding
        self._heard = np.zeros(_HEARD + CONTEXT_SAMPLES, np.float32)
        """Context, window, and the end of the window mirrored."""
        self._probability = np.zeros((1, 1), np.float32)
        # The state after one window is the state before the next: two of each, read and written in turn.
        self._hidden = (np.zeros((1, _STATE), np.float32), np.zeros((1, _STATE), np.float32))
        self._cell = (np.zeros((1, _STATE), np.float32), np.zeros((1, _STATE), np.float32))
        self._bindings = (self._bound(session, before=0, after=1), self._bound(session, before=1, after=0))
        self._turn = 0

    def _bound(self, session: onnxruntime.InferenceSession, *, before: int, after: int) -> onnxruntime.IOBinding:
        binding = onnxruntime.IOBinding(session)
        hops = self._heard.reshape(-1, _HOP)
        for name, array in (("heard", hops), ("hidden", self._hidden[before]), ("cell", self._cell[before])):
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in (
            ("probability", self._probability),
            ("hidden_after", self._hidden[after]),
            ("cell_after", self._cell[after]),
        ):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def probability(self, window: FloatAudio) -> float:
        """Probability in [0, 1] that `window`, shape (512,), 16 kHz, the one right after the last, holds speech.

        Raises ModelFailure on any other shape.
        """
        if window.shape != (WINDOW_SAMPLES,):
            raise ModelFailure(f"Silero VAD takes windows of shape ({WINDOW_SAMPLES},) at 16 kHz, got {window.shape}")
        heard = self._heard
        heard[:CONTEXT_SAMPLES] = heard[WINDOW_SAMPLES:_HEARD]
        heard[CONTEXT_SAMPLES:_HEARD] = window
        heard[_HEARD:] = heard[_HEARD - 2 : WINDOW_SAMPLES - 2 : -1]
        self._run(self._bindings[self._turn])
        self._turn ^= 1
        return float(self._probability[0, 0])

    def reset(self) -> None:
        """Forget what was heard: the next window is the first of a new stream."""
        for array in (self._heard, *self._hidden, *self._cell):
            array.fill(0.0)


def _weights(model: onnx.ModelProto) -> dict[str, _Floats]:
    """The 16 kHz network's weights, by the names they had in PyTorch. Raises ValueError for another graph."""
    choice = [node for node in model.graph.node if node.op_type == "If"]
    branches = {attribute.name: attribute.g for node in choice for attribute in node.attribute}
    if "then_branch" not in branches:
        raise ValueError("expected a graph that chooses by sample rate, found none")
    found: dict[str, _Floats] = {}
    for node in branches["then_branch"].node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0].rpartition("__")[2]] = numpy_helper.to_array(node.attribute[0].t)
    wanted = {
        "stft.forward_basis_buffer": (2 * _BINS, 1, 2 * _HOP),
        "encoder.0.reparam_conv.weight": (128, _BINS, 3),
        "encoder.1.reparam_conv.weight": (64, 128, 3),
        "encoder.2.reparam_conv.weight": (64, 64, 3),
        "encoder.3.reparam_conv.weight": (_STATE, 64, 3),
        "decoder.rnn.weight_ih": (4 * _STATE, _STATE),
        "decoder.rnn.weight_hh": (4 * _STATE, _STATE),
        "decoder.decoder.2.weight": (1, _STATE, 1),
    }
    for name, shape in wanted.items():
        got = found[name].shape if name in found else None
        if got != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {got}")
    return found


class _Graph:
    """An ONNX graph in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def floats(self, name: str, value: _Floats) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name)
        return name

    def integers(self, *values: int) -> str:
        name = "i" + "_".join(str(value) for value in values)
        self._constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def node(self, kind: str, *inputs: str, to: str, axis: int | None = None) -> str:
        attributes = {} if axis is None else {"axis": axis}
        self._nodes.append(helper.make_node(kind, list(inputs), [to], **attributes))
        return to

    def rows(self, source: str, first: int, last: int) -> str:
        """Rows `first` to `last`, the last one not among them."""
        return self.node(
            "Slice",
            source,
            self.integers(first),
            self.integers(last),
            self.integers(0),
            to=f"{source}_{first}_{last}",
        )

    def split(self, source: str, sizes: tuple[int, ...]) -> list[str]:
        """Columns, in groups of these sizes."""
        outputs = [f"{source}_{place}" for place in range(len(sizes))]
        self._nodes.append(helper.make_node("Split", [source, self.integers(*sizes)], outputs, axis=1))
        return outputs

    def dense(self, source: str, weight: _Floats, bias: _Floats, *, to: str) -> str:
        """`source` @ `weight` + `bias`, shapes (n, in), (in, out), (out,)."""
        return self.node("Gemm", source, self.floats(f"{to}_w", weight), self.floats(f"{to}_b", bias), to=to)

    def finish(self, inputs: Mapping[str, tuple[int, int]], outputs: Mapping[str, tuple[int, int]]) -> bytes:
        def described(tensors: Mapping[str, tuple[int, int]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in tensors.items()
            ]

        graph = helper.make_graph(
            self._nodes, "silero_vad_16k", described(inputs), described(outputs), list(self._constants.values())
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        serialised: bytes = model.SerializeToString()
        return serialised


def _plain_graph(weights: _Weights) -> bytes:
    """The network for one window, places in time as rows, everything a matrix product.

    Inputs: heard (5, 128) (context, window, mirrored end), hidden and cell (1, 128). Outputs: probability (1, 1),
    hidden_after and cell_after (1, 128).
    """
    graph = _Graph()
    magnitudes = _spectra(graph, weights["stft.forward_basis_buffer"])
    encoded = _encode(graph, magnitudes, weights)
    hidden = _recur(graph, encoded, weights)
    graph.node("Relu", hidden, to="hidden_positive")
    decoder = weights["decoder.decoder.2.weight"][0]
    graph.dense("hidden_positive", decoder, weights["decoder.decoder.2.bias"], to="logit")
    graph.node("Sigmoid", "logit", to="probability")
    state = (1, _STATE)
    return graph.finish(
        {"heard": (5, _HOP), "hidden": state, "cell": state},
        {"probability": (1, 1), "hidden_after": state, "cell_after": state},
    )


def _spectra(graph: _Graph, basis: _Floats) -> str:
    """Four magnitude spectra, shape (4, 129)."""
    frames = graph.node("Concat", graph.rows("heard", 0, 4), graph.rows("heard", 1, 5), to="frames", axis=1)
    transform = graph.node("MatMul", frames, graph.floats("basis", basis[:, 0, :].T), to="transform")
    real, imaginary = graph.split(graph.node("Mul", transform, transform, to="squares"), (_BINS, _BINS))
    return graph.node("Sqrt", graph.node("Add", real, imaginary, to="powers"), to="magnitudes")


def _encode(graph: _Graph, magnitudes: str, weights: _Weights) -> str:
    """Four places become four, two, one and one; shape (1, 128). What lies outside the window is zero."""
    # A tap's weights are rows: the row vector of three places side by side times these is the convolution at one place.
    kernels = [weights[f"{name}.reparam_conv.weight"].transpose(2, 1, 0) for name in _ENCODER]
    biases = [weights[f"{name}.reparam_conv.bias"] for name in _ENCODER]

    silence = graph.floats("no_spectrum", np.zeros((1, _BINS), np.float32))
    padded = graph.node("Concat", silence, magnitudes, silence, to="padded", axis=0)
    taps = [graph.rows(padded, tap, tap + 4) for tap in range(3)]
    graph.node("Concat", *taps, to="taps", axis=1)
    first = graph.dense("taps", kernels[0].reshape(3 * _BINS, -1), biases[0], to="encoded_0")
    graph.node("Relu", first, to="positive_0")

    nothing = graph.floats("no_place", np.zeros((1, 128), np.float32))
    graph.node("Concat", nothing, "positive_0", to="padded_0", axis=0)
    graph.node("Concat", graph.rows("padded_0", 0, 3), graph.rows("padded_0", 2, 5), to="taps_0", axis=0)
    graph.node("Reshape", "taps_0", graph.integers(2, 3 * 128), to="pairs_0")
    graph.dense("pairs_0", kernels[1].reshape(3 * 128, -1), biases[1], to="encoded_1")
    graph.node("Relu", "encoded_1", to="positive_1")

    # The last two look at one place only: there the first tap (and then the third) meets nothing but zeros.
    graph.node("Reshape", "positive_1", graph.integers(1, 2 * 64), to="pair_1")
    graph.dense("pair_1", kernels[2][1:].reshape(2 * 64, -1), biases[2], to="encoded_2")
    graph.node("Relu", "encoded_2", to="positive_2")
    graph.dense("positive_2", kernels[3][1], biases[3], to="encoded_3")
    return graph.node("Relu", "encoded_3", to="positive_3")


def _recur(graph: _Graph, encoded: str, weights: _Weights) -> str:
    """One step of the LSTM; makes hidden_after and cell_after."""
    both = np.concatenate([weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]], axis=1).T
    bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
    # PyTorch's order is input, forget, cell, output: the three that take a sigmoid are put side by side.
    order = np.r_[0 : 2 * _STATE, 3 * _STATE : 4 * _STATE, 2 * _STATE : 3 * _STATE]
    graph.node("Concat", encoded, "hidden", to="seen", axis=1)
    graph.dense("seen", both[:, order], bias[order], to="gates")
    gates, candidate = graph.split("gates", (3 * _STATE, _STATE))
    let_in, keep, let_out = graph.split(graph.node("Sigmoid", gates, to="opened"), (_STATE, _STATE, _STATE))
    graph.node("Mul", let_in, graph.node("Tanh", candidate, to="new"), to="taken_in")
    graph.node("Mul", keep, "cell", to="kept")
    graph.node("Add", "taken_in", "kept", to="cell_after")
    return graph.node("Mul", let_out, graph.node("Tanh", "cell_after", to="shown"), to="hidden_after")
