"""Kokoro's weights for torch: recovered from the int8 ONNX graph, or read from the checkpoint as published.

The exporter kept the names of biases, norms and embeddings only; the other weights are known by the nodes that use
them, whose names are paths of modules. What is recovered is what the graph computes with (rounded to int8), in float16
(exact to a two-thousandth of each number), biases and the like in float32.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.kokoro_layout import weight_shapes
from models.sources import WeightsError
from models.tensor_file import TensorShape, TensorType, write_tensors

if TYPE_CHECKING:
    import onnx

__all__ = ["recover_kokoro"]

_Array = npt.NDArray[np.generic]
_Floats = npt.NDArray[np.float32]

_TAKING = {"ConvInteger", "Conv", "ConvTranspose", "MatMulInteger", "MatMul"}
_QUANTIZED = "_quantized"
_LENGTHS, _DIRECTIONS = "_g", "_v"
"""What torch's weight normalisation appends to `weight`."""
_PARTS = ("bert", "bert_encoder", "predictor", "text_encoder", "decoder")


def recover_kokoro(graph: Path, into: Path) -> None:
    """Write the weights of an ONNX graph, or of a checkpoint (.pth), as a safetensors file.

    Raises WeightsError if not all are found; OSError.
    """
    found = _published(graph) if graph.suffix == ".pth" else _Recovery(graph).tensors()
    shapes: dict[str, TensorShape] = {}
    for name, shape in weight_shapes().items():
        if name not in found or found[name].shape != shape:
            got = f"of shape {found[name].shape}" if name in found else "absent"
            raise WeightsError(
                f"{graph.name}: expected the weight {name} of shape {shape}, found it {got}; another export of Kokoro?"
            )
        kind: TensorType = "float32" if len(shape) < 2 or name.split(".")[-2].startswith("alpha") else "float16"
        shapes[name] = TensorShape(kind, shape)
    write_tensors(into, shapes, lambda name: found[name].astype(shapes[name].dtype))


def _published(checkpoint: Path) -> dict[str, _Floats]:
    """Tensors of the published checkpoint: a state dict for each part, its weights in directions and lengths."""
    import torch

    try:
        parts = torch.load(checkpoint, map_location="cpu", weights_only=True)
        flat = {
            f"{part}.{name.removeprefix('module.')}": np.asarray(tensor.float())
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }
    except Exception as error:
        raise WeightsError(f"{checkpoint.name}: expected Kokoro's checkpoint ({error}); fetch it again") from error
    found = {name: value for name, value in flat.items() if not name.endswith((_LENGTHS, _DIRECTIONS))}
    for name, directions in flat.items():
        if name.endswith(_DIRECTIONS):
            plain = name.removesuffix(_DIRECTIONS)
            norms = np.sqrt(np.sum(directions**2, axis=tuple(range(1, directions.ndim)), keepdims=True))
            found[plain] = flat[f"{plain}{_LENGTHS}"] * directions / norms
    return found


class _Recovery:
    """The weights of one graph."""

    def __init__(self, path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        try:
            graph = onnx.load(path).graph
        except Exception as error:
            raise WeightsError(f"{path.name}: expected Kokoro's ONNX graph ({error}); fetch it again") from error
        self._nodes: list[onnx.NodeProto] = list(graph.node)
        self._constants: dict[str, _Array] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self._maker = {output: node for node in self._nodes for output in node.output}
        self._zeros = dict(self._zero_points())
        self._wanted = weight_shapes()
        self._found: dict[str, _Floats] = {}

    def tensors(self) -> dict[str, _Floats]:
        for name, value in self._constants.items():
            self._keep_named(name, value)
        for node in self._nodes:
            if node.op_type == "DynamicQuantizeLSTM":
                self._keep_lstm(node)
            elif node.op_type in _TAKING:
                self._keep_taken(node)
        return self._found

    def _zero_points(self) -> Iterator[tuple[str, _Array]]:
        for node in self._nodes:
            if node.op_type in ("ConvInteger", "MatMulInteger") and node.input[1] in self._constants:
                yield node.input[1], self._constants[node.input[3]]
            if node.op_type == "DequantizeLinear":
                source = node.input[0]
                if source not in self._constants and self._maker[source].op_type == "Gather":
                    source = self._maker[source].input[0]
                if source in self._constants:
                    yield source, self._constants[node.input[2]]

    def _keep(self, name: str, value: _Array) -> None:
        if name in self._wanted and name not in self._found:
            self._found[name] = value.astype(np.float32)

    def _keep_named(self, name: str, value: _Array) -> None:
        _, _, plain = name.partition(".")
        if not plain.startswith(_PARTS):
            return
        if plain.endswith(_QUANTIZED):
            plain, value = plain.removesuffix(_QUANTIZED), self._dequantized(name)
            # Embeddings lie as torch has them, matrices of linear layers the other way round.
            value = value.T if value.ndim == 2 and "embedding" not in plain else value
        self._keep(plain, value)

    def _keep_taken(self, node: onnx.NodeProto) -> None:
        name = node.input[1]
        if name not in self._constants:
            maker = self._maker.get(name)
            if maker is None or maker.op_type != "DequantizeLinear":
                return
            name = maker.input[0]
        value = self._dequantized(name) if name.endswith(_QUANTIZED) else self._constants[name]
        self._keep(f"{self._module(node)}.weight", value.T if node.op_type.startswith("MatMul") else value)

    def _keep_lstm(self, node: onnx.NodeProto) -> None:
        module = self._module(node)
        inner, recurrent, biases = (self._constants[name] for name in node.input[1:4])
        scales = [self._constants[name] for name in node.input[8:12]]
        inner, recurrent = _scaled(inner, *scales[:2]), _scaled(recurrent, *scales[2:])
        for way, suffix in enumerate(("", "_reverse")):
            self._keep(f"{module}.weight_ih_l0{suffix}", _gates(inner[way]).T)
            self._keep(f"{module}.weight_hh_l0{suffix}", _gates(recurrent[way]).T)
            for kind, bias in zip(("ih", "hh"), np.split(biases[way], 2), strict=True):
                self._keep(f"{module}.bias_{kind}_l0{suffix}", _gates(bias))

    def _dequantized(self, name: str) -> _Floats:
        scale = self._constants[f"{name.removesuffix(_QUANTIZED)}_scale"]
        zero, value = self._zeros[name], self._constants[name]
        return (value.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)

    def _module(self, node: onnx.NodeProto) -> str:
        """The module's path, of a node such as /decoder/decoder/encode/conv1/Conv_quant."""
        path = node.name.strip("/").split("/")[:-1]
        path = path[1:] if path and path[0] in ("encoder", "decoder") else path
        # A layer that is used again is numbered: query, query_1, query_2.
        plain = re.sub(r"_\d+(?=\.|$)", "", ".".join(path))
        # A member of a sequence has its list's name twice: text_encoder/cnn.0/cnn.0.0.
        plain = re.sub(r"\b(cnn\.\d)\.\1", r"\1", plain).replace("asr_res.asr_res", "asr_res")
        known = (candidate for candidate in (plain, f"predictor.{plain}") if self._known(candidate))
        return next(known, plain)

    def _known(self, module: str) -> bool:
        return any(f"{module}.{kind}" in self._wanted for kind in ("weight", "weight_ih_l0"))


def _scaled(value: _Array, scale: _Array, zero: _Array) -> _Floats:
    """Quantised by direction."""
    shape = (-1, 1, 1) if scale.ndim else ()
    floats = value.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    scaled: _Floats = floats * scale.astype(np.float32).reshape(shape)
    return scaled


def _gates(value: _Array) -> _Array:
    """ONNX's order of an LSTM's gates (input, output, forget, cell) to torch's (input, forget, cell, output)."""
    entry, out, forget, cell = np.split(value, 4, axis=-1)
    return np.concatenate([entry, forget, cell, out], axis=-1)
