"""Kokoro's ONNX graphs, rewritten when they are loaded: the same numbers in half the time, and a vocoder that streams.

The files stay as they were published and pinned; what is done here depends on the machine and takes about a second.
Measured on two AVX-512 VNNI cores: vocoder 0.52 -> 0.27 CPU seconds a second of speech.

- **Convolutions.** The published graph convolves uint8 by uint8 (`ConvInteger`), a path that ONNX Runtime runs without
  the CPU's int8 dot products. Each becomes shifted slices side by side and one uint8 x int8 matrix product
  (`MatMulIntegerToFloat`): weights minus 128 are the same numbers, so the integer sums are equal. The bias is added in
  float, where the published graph rounds it down to the integer grid.
- **STFT.** ONNX Runtime's `STFT` is a plain double loop and takes more than half of the front; a convolution with the
  windowed Fourier basis gives the same in a millisecond.
- **Carried statistics.** The vocoder's AdaIN layers normalise over the whole clause, so a window of it comes out
  different from the whole. Here mean and deviation of each layer are an input instead, measured once for a voice. That
  makes the vocoder local: its windows need a few frames of context, join without seams, and pauses stay silent.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from models.types import ModelFailure

FEATURES = "/decoder/decoder/decode.3/Div_4_output_0"
"""Output of the front, input of the vocoder: 1 x 512 x T float32, a frame every 12.5 ms."""
HARMONICS = "/decoder/decoder/generator/Concat_3_output_0"
"""Likewise: harmonic source, 1 x 22 x (60 T + 1) float32."""
STYLE = "/decoder/Slice_output_0"
"""Likewise: the vocoder's half of the style, 1 x 128 float32."""
DURATIONS = "/encoder/Round_output_0"
"""Output of the front: 1 x tokens float32, frames of 25 ms a token."""
STATISTICS = "statistics"
"""Means, then deviations, of every normalised channel: 1 x n x 1 float32. Input of the carrying vocoder, output of the
measuring one."""

_ORT_DOMAIN = "com.microsoft"
_FAR = 2**40


@dataclass(frozen=True, slots=True)
class VocoderGraphs:
    """The vocoder twice, as serialised ONNX models."""

    measuring: bytes
    """Normalises over what it is given, as published; outputs the audio and STATISTICS."""
    carrying: bytes
    """Takes STATISTICS as an input and is local in time."""


def front_graph(path: Path) -> bytes:
    """The graph before the vocoder, made faster. Raises ModelFailure if the file is not Kokoro's front."""
    graph = _Graph(_load(path))
    _replace_stft(graph)
    if has_int8_dot_products():
        _replace_integer_convolutions(graph)
    return graph.finish()


def vocoder_graphs(path: Path) -> VocoderGraphs:
    """The vocoder, made faster, measuring and carrying. Raises ModelFailure if the file is not Kokoro's vocoder."""
    model = _load(path)
    if has_int8_dot_products():
        faster = _Graph(model)
        _replace_integer_convolutions(faster)
        model = onnx.load_from_string(faster.finish())
    measuring, carrying = _Graph(onnx.ModelProto.FromString(model.SerializeToString())), _Graph(model)
    _output_statistics(measuring)
    _input_statistics(carrying)
    return VocoderGraphs(measuring.finish(), carrying.finish())


def has_int8_dot_products() -> bool:
    """True where uint8 x int8 products cannot saturate: x86 with VNNI, and everything that is not x86.

    Without VNNI, ONNX Runtime's x86 kernels add pairs of products in 16 bits, which 8-bit weights overflow.
    """
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except OSError as error:
        raise ModelFailure(f"{path}: cannot be read ({error.strerror}); prepare the weights of Kokoro first") from error
    except Exception as error:
        raise ModelFailure(f"{path}: expected an ONNX graph cut from Kokoro ({error}); verify the weights") from error


class _Graph:
    """An ONNX graph under change: who makes and who takes each tensor, and nodes to drop or to put elsewhere."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.maker: dict[str, onnx.NodeProto] = {name: node for node in self.nodes for name in node.output}
        self.takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in set(node.input):
                self.takers[name].append(node)
        self.constants: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self._instead: dict[str, list[onnx.NodeProto]] = {}

    def value(self, name: str) -> npt.NDArray[np.generic]:
        array: npt.NDArray[np.generic] = numpy_helper.to_array(self.constants[name])
        return array

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """Add a constant once; returns its name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
        return name

    def only_taker(self, name: str, kind: str) -> onnx.NodeProto:
        found = [node for node in self.takers[name] if node.op_type == kind]
        if len(found) != 1:
            raise ModelFailure(f"Kokoro graph: expected one {kind} after {name}, found {len(found)}; another export?")
        return found[0]

    def other_input(self, node: onnx.NodeProto, name: str) -> str:
        other: str = next(other for other in node.input if other != name)
        return other

    def make(self, output: str, nodes: list[onnx.NodeProto]) -> None:
        """`nodes`, the last of which makes `output`, replace the node that made it before."""
        self._instead[output] = nodes

    def finish(self) -> bytes:
        """Apply the changes, drop what no output needs, order the rest, serialise."""
        nodes = [node for node in self.nodes if not any(name in self._instead for name in node.output)]
        nodes += [node for group in self._instead.values() for node in group]
        maker = {name: node for node in nodes for name in node.output}
        ordered: list[onnx.NodeProto] = []
        seen: set[int] = set()
        needed: set[str] = set()
        todo = [(maker[value.name], False) for value in self.model.graph.output]
        while todo:
            node, inputs_done = todo.pop()
            if inputs_done:
                ordered.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                needed.update(node.input)
                todo.append((node, True))
                todo.extend((maker[name], False) for name in node.input if name in maker)
        del self.model.graph.node[:]
        self.model.graph.node.extend(ordered)
        kept = [tensor for name, tensor in self.constants.items() if name in needed]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)
        del self.model.graph.value_info[:]
        data: bytes = self.model.SerializeToString()
        return data


def _attribute(node: onnx.NodeProto, name: str, default: list[int]) -> list[int]:
    for attribute in node.attribute:
        if attribute.name == name:
            return list(helper.get_attribute_value(attribute))
    return default


def _replace_integer_convolutions(graph: _Graph) -> None:
    """Every dense 1-D ConvInteger with its bias, cast and scale becomes a uint8 x int8 matrix product."""
    for node in [node for node in graph.nodes if node.op_type == "ConvInteger"]:
        weights, zero = graph.value(node.input[1]), graph.value(node.input[3])
        grouped = any(item.name == "group" and item.i != 1 for item in node.attribute)
        if grouped or weights.dtype != np.uint8 or weights.ndim != 3 or zero.ndim:
            continue
        bias = None
        biased = [taker for taker in graph.takers[node.output[0]] if taker.op_type == "Add"]
        cast_input = node.output[0]
        if biased:
            # Published: integer bias = floor(bias / scale), reshaped; the float bias is the Div's constant.
            quotient = graph.maker[graph.other_input(biased[0], cast_input)]
            while quotient.op_type != "Div":
                quotient = graph.maker[quotient.input[0]]
            bias = graph.value(quotient.input[0])
            cast_input = biased[0].output[0]
        cast = graph.only_taker(cast_input, "Cast")
        scaled = graph.only_taker(cast.output[0], "Mul")
        scales = graph.maker[graph.other_input(scaled, cast.output[0])]
        weight_scale = next(name for name in scales.input if name in graph.constants)
        input_scale = graph.other_input(scales, weight_scale)
        columns, nodes = _columns(graph, node, taps=weights.shape[2])
        inputs = [
            columns,
            graph.constant(
                f"{node.name}/int8",
                (weights.astype(np.int16) - 128).astype(np.int8).transpose(2, 1, 0).reshape(-1, weights.shape[0]),
            ),
            input_scale,
            weight_scale,
            node.input[2],
            graph.constant(f"{node.name}/int8_zero", np.int8(int(zero) - 128)),
        ]
        if bias is not None:
            inputs.append(graph.constant(f"{node.name}/bias", bias.astype(np.float32)))
        product = f"{node.name}/product"
        nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, [product], node.name, domain=_ORT_DOMAIN))
        nodes.append(helper.make_node("Transpose", [product], [scaled.output[0]], perm=[0, 2, 1]))
        graph.make(scaled.output[0], nodes)


def _columns(graph: _Graph, node: onnx.NodeProto, *, taps: int) -> tuple[str, list[onnx.NodeProto]]:
    """1 x channels x T -> 1 x T' x (taps * channels): what each output sample sees, in one row."""
    step, stride = _attribute(node, "dilations", [1])[0], _attribute(node, "strides", [1])[0]
    before, after = _attribute(node, "pads", [0, 0])
    current = f"{node.name}/rows"
    nodes = [helper.make_node("Transpose", [node.input[0]], [current], perm=[0, 2, 1])]
    if before or after:
        pads = graph.constant(f"pads/{before}_{after}", np.array([0, before, 0, 0, after, 0], np.int64))
        nodes.append(helper.make_node("Pad", [current, pads, node.input[2]], [f"{current}/padded"]))
        current = f"{current}/padded"
    if taps == 1 and stride == 1:
        return current, nodes
    axis = graph.constant("axis/1", np.array([1], np.int64))
    by = graph.constant(f"stride/{stride}", np.array([stride], np.int64))
    slices = []
    for tap in range(taps):
        left_out = (taps - 1 - tap) * step
        start = graph.constant(f"start/{tap * step}", np.array([tap * step], np.int64))
        end = graph.constant(f"end/{left_out}", np.array([-left_out if left_out else _FAR], np.int64))
        slices.append(f"{node.name}/tap{tap}")
        nodes.append(helper.make_node("Slice", [current, start, end, axis, by], [slices[-1]]))
    nodes.append(helper.make_node("Concat", slices, [f"{node.name}/columns"], axis=2))
    return f"{node.name}/columns", nodes


def _replace_stft(graph: _Graph) -> None:
    """STFT, transposed and split into real and imaginary part, becomes one convolution and two slices."""
    for node in [node for node in graph.nodes if node.op_type == "STFT"]:
        hop = int(graph.value(node.input[1]))
        window = graph.value(node.input[2]).astype(np.float64)
        size = len(window)
        bins = size // 2 + 1
        angle = 2 * np.pi * np.outer(np.arange(bins), np.arange(size)) / size
        basis = np.concatenate([np.cos(angle), -np.sin(angle)]) * window
        # The imaginary part of the first and last bin is zero by definition. Rounding must not give it a sign: a least
        # positive value makes the phase of negative bins pi, as it was where the model was trained (torch.stft, angle).
        basis[[bins, 2 * bins - 1]] = 0.0
        least = np.zeros(2 * bins, np.float32)
        least[[bins, 2 * bins - 1]] = 1e-20
        turned = graph.only_taker(node.output[0], "Transpose")
        gathered = [taker for taker in graph.takers[turned.output[0]] if taker.op_type == "Gather"]
        if len(gathered) != 2:
            raise ModelFailure(f"Kokoro graph: expected 2 Gather after {node.name}, found {len(gathered)}")
        real, imaginary = sorted(gathered, key=lambda taker: int(graph.value(taker.input[1])))
        signal, both = f"{node.name}/signal", f"{node.name}/both"
        convolution = [
            helper.make_node("Unsqueeze", [node.input[0], graph.constant("axis/1", np.array([1], np.int64))], [signal]),
            helper.make_node(
                "Conv",
                [
                    signal,
                    graph.constant(f"{node.name}/basis", basis[:, None, :].astype(np.float32)),
                    graph.constant(f"{node.name}/least", least),
                ],
                [both],
                kernel_shape=[size],
                strides=[hop],
            ),
        ]
        split = graph.constant(f"{node.name}/split", np.array([bins, bins], np.int64))
        outputs = [real.output[0], imaginary.output[0]]
        graph.make(imaginary.output[0], [*convolution, helper.make_node("Split", [both, split], outputs, axis=1)])
        graph.make(real.output[0], [])


@dataclass(frozen=True, slots=True)
class _Normalisation:
    """One place where the vocoder normalises over time: (x - mean) / deviation, used by one or more AdaIN layers."""

    source: str
    mean: str
    deviation: str
    channels: int
    normalised: str


def _normalisations(graph: _Graph) -> list[_Normalisation]:
    found = []
    for node in graph.nodes:
        if node.op_type != "ReduceMean":
            continue
        centred = [taker for taker in graph.takers[node.output[0]] if taker.op_type == "Sub"]
        if not centred:
            continue
        square = graph.only_taker(centred[0].output[0], "Mul")
        variance = graph.only_taker(square.output[0], "ReduceMean")
        root = graph.only_taker(graph.only_taker(variance.output[0], "Add").output[0], "Sqrt")
        divided = graph.only_taker(root.output[0], "Div")
        scaled = graph.takers[divided.output[0]][0]
        found.append(
            _Normalisation(
                source=node.input[0],
                mean=node.output[0],
                deviation=root.output[0],
                channels=_style_channels(graph, graph.other_input(scaled, divided.output[0])),
                normalised=divided.output[0],
            )
        )
    if not found:
        raise ModelFailure("Kokoro graph: the vocoder has no AdaIN layer that normalises over time; another export?")
    return found


def _style_channels(graph: _Graph, gain: str) -> int:
    """Channels of an AdaIN layer, from the bias of the linear layer that makes its gain and offset."""
    name = gain
    while True:
        node = graph.maker[name]
        biases = [graph.value(item) for item in node.input if item in graph.constants]
        wide = [bias for bias in biases if bias.ndim == 1 and bias.size > 2]
        if wide:
            return int(wide[0].size) // 2
        name = next(item for item in node.input if item in graph.maker)


def _output_statistics(graph: _Graph) -> None:
    places = _normalisations(graph)
    names = [place.mean for place in places] + [place.deviation for place in places]
    graph.make(STATISTICS, [helper.make_node("Concat", names, [STATISTICS], axis=1)])
    total = 2 * sum(place.channels for place in places)
    graph.model.graph.output.append(helper.make_tensor_value_info(STATISTICS, onnx.TensorProto.FLOAT, [1, total, 1]))


def _input_statistics(graph: _Graph) -> None:
    """Gain * (x - mean) / deviation + offset becomes x * a + b, a and b from the style and the given statistics."""
    places = _normalisations(graph)
    sizes = [place.channels for place in places] * 2
    graph.model.graph.input.append(
        helper.make_tensor_value_info(STATISTICS, onnx.TensorProto.FLOAT, [1, sum(sizes), 1])
    )
    means, deviations = ([f"{kind}/{i}" for i in range(len(places))] for kind in ("mean", "deviation"))
    split = graph.constant("statistics/sizes", np.array(sizes, np.int64))
    graph.make(means[0], [helper.make_node("Split", [STATISTICS, split], [*means, *deviations], axis=1)])
    for place, mean, deviation in zip(places, means, deviations, strict=True):
        for scaled in graph.takers[place.normalised]:
            gain = graph.other_input(scaled, place.normalised)
            added = graph.only_taker(scaled.output[0], "Add")
            offset = graph.other_input(added, scaled.output[0])
            name = f"carried/{added.output[0]}"
            graph.make(
                added.output[0],
                [
                    helper.make_node("Div", [gain, deviation], [f"{name}/a"]),
                    helper.make_node("Mul", [mean, f"{name}/a"], [f"{name}/shift"]),
                    helper.make_node("Sub", [offset, f"{name}/shift"], [f"{name}/b"]),
                    helper.make_node("Mul", [place.source, f"{name}/a"], [f"{name}/scaled"]),
                    helper.make_node("Add", [f"{name}/scaled", f"{name}/b"], [added.output[0]]),
                ],
            )
