"""Weights in int8 for vLLM, by rounding alone: nothing is calibrated, so the same bytes come out everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from models.sources import WeightsError
from models.tensor_file import TensorShape, TensorType, write_tensors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["quantize_int8"]

_TYPES: dict[str, TensorType] = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_LARGEST = 127
_SMALLEST_SCALE = 1e-8
"""Of a row of zeros, which would be divided by zero."""
_WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
_INPUTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
_TABLE_IN = "model.embed_tokens.weight"
_TABLE_OUT = "lm_head.weight"


def quantize_int8(folder: Path, *, tie_embeddings: bool) -> None:
    """Replace a transformers folder's weights and configuration by their int8 form (W8A8, compressed-tensors).

    The linear layers of attention and feed-forward get int8 weights with a float32 scale for each output channel, and
    take their inputs in int8, scaled token by token at run time. All other tensors stay as they are; `tie_embeddings`
    keeps the output's token table for the input as well. Raises WeightsError if the folder holds no such layers, or
    not the tables to tie; OSError.
    """
    import ml_dtypes  # Teaches numpy, and so safetensors, the word bfloat16.
    import numpy as np
    from safetensors import safe_open

    del ml_dtypes
    path, made = folder / "model.safetensors", folder / "quantized.safetensors"
    with safe_open(path, "np") as weights:
        source = {name: name for name in weights.keys()}  # noqa: SIM118 -- not a mapping
        if tie_embeddings:
            if not source.keys() >= {_TABLE_IN, _TABLE_OUT}:
                raise WeightsError(f"{path.name}: expected {_TABLE_IN} and {_TABLE_OUT} to make one of")
            source[_TABLE_IN] = source.pop(_TABLE_OUT)
        shapes: dict[str, TensorShape] = {}
        scaled: dict[str, str] = {}
        for name in source:
            stored = weights.get_slice(source[name])
            shape = tuple(stored.get_shape())
            if _is_linear(name, shape):
                scaled[f"{name}_scale"] = name
                shapes[name] = TensorShape("int8", shape)
                shapes[f"{name}_scale"] = TensorShape("float32", (shape[0], 1))
            else:
                shapes[name] = TensorShape(_TYPES[stored.get_dtype()], shape)
        if not scaled:
            raise WeightsError(f"{path.name}: no linear layers of attention or feed-forward to quantise")
        scales: dict[str, npt.NDArray[np.float32]] = {}

        def make(name: str) -> npt.NDArray[np.generic]:
            if name in scaled:  # A scale: asked for before its weights, which are narrower.
                rows = weights.get_tensor(scaled[name]).astype(np.float32)
                scales[scaled[name]] = np.maximum(np.abs(rows).max(1, keepdims=True) / _LARGEST, _SMALLEST_SCALE)
                return scales[scaled[name]]
            values: npt.NDArray[np.generic] = weights.get_tensor(source[name])
            if name not in scales:
                return values
            rounded: npt.NDArray[np.generic] = np.rint(values.astype(np.float32) / scales[name]).astype(np.int8)
            return rounded

        write_tensors(made, shapes, make)
    made.replace(path)
    _write_config(folder / "config.json", tied=tie_embeddings)


def _is_linear(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and name.endswith(".weight") and (".self_attn." in name or ".mlp." in name)


def _write_config(path: Path, *, tied: bool) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    if tied:
        config["tie_word_embeddings"] = True
    group = {"targets": ["Linear"], "weights": _WEIGHTS, "input_activations": _INPUTS, "output_activations": None}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
