"""The smallest folders that are sound weights of each kind."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save

from models.kokoro_graph import DURATIONS, FEATURES, HARMONICS, STYLE
from models.registry import Kind

KINDS: tuple[Kind, ...] = ("llm", "whisper", "voice", "encoder", "vad", "turn")
TOKENIZER = json.dumps({"model": {"type": "WordLevel", "vocab": {}}}).encode()


def folder_of(kind: Kind, folder: Path) -> Path:
    """Makes the folder and fills it."""
    for name, data in files_of(kind).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def files_of(kind: Kind) -> dict[str, bytes]:
    match kind:
        case "llm":
            return {
                "config.json": b'{"model_type": "llama"}',
                "tokenizer.json": TOKENIZER,
                "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
                "model.safetensors": tensors({"a": 2}),
            }
        case "whisper":
            small = {"config.json": b"{}", "tokenizer.json": TOKENIZER, "vocabulary.json": b'["a"]'}
            return small | {"model.bin": ctranslate2()}
        case "voice":
            made = {FEATURES: "tokens", HARMONICS: "style", STYLE: "style", DURATIONS: "speed", "audio": FEATURES}
            return {"kokoro.onnx": graph(("tokens", "style", "speed"), made), "voices/af_mine.bin": bytes(3 * 1024)}
        case "encoder":
            return {
                "tokenizer.json": TOKENIZER,
                "model.onnx": graph(("input_ids", "attention_mask"), {"embedding": "input_ids"}),
            }
        case "vad":
            return {"silero_vad.onnx": graph(("input", "state", "sr"), {"output": "input", "stateN": "state"})}
        case "turn":
            return {"smart-turn.onnx": graph(("input_features",), {"logits": "input_features"})}


def sentence_transformer() -> dict[str, bytes]:
    """An encoder as sentence-transformers publishes it: a BERT without layers, four numbers wide."""
    width = {f"embeddings.{name}_embeddings.weight": (5, 4) for name in ("word", "position", "token_type")}
    norm = {f"embeddings.LayerNorm.{name}": (4,) for name in ("weight", "bias")}
    weights = {name: np.ones(shape, np.float32) for name, shape in (width | norm).items()}
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "num_hidden_layers": 0,
        "num_attention_heads": 1,
        "layer_norm_eps": 1e-12,
        "hidden_size": 4,
    }
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": TOKENIZER,
        "model.safetensors": save(weights),
        "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    }


def tensors(sizes: Mapping[str, int]) -> bytes:
    """A safetensors file."""
    return save({name: np.zeros(size, np.float32) for name, size in sizes.items()})


def ctranslate2(kind: bytes = b"WhisperSpec\0") -> bytes:
    """A CTranslate2 file with one variable and one alias."""

    def named(name: bytes) -> bytes:
        return struct.pack("<H", len(name)) + name

    variable = named(b"w\0") + struct.pack("<BIBI", 1, 2, 0, 8) + bytes(8)
    return (
        struct.pack("<I", 6)
        + named(kind)
        + struct.pack("<II", 3, 1)
        + variable
        + struct.pack("<I", 1)
        + named(b"v\0")
        + named(b"w\0")
    )


def graph(inputs: Sequence[str], made: Mapping[str, str]) -> bytes:
    """An ONNX graph that gives each output an input's or another output's values; what nothing takes is an output."""
    taken = set(made.values())
    outputs = [name for name in made if name not in taken]
    nodes = [helper.make_node("Identity", [source], [name]) for name, source in made.items()]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in (*inputs, *made)}
    inside = [values[name] for name in made if name in taken]
    first, last = [values[name] for name in inputs], [values[name] for name in outputs]
    model = helper.make_model(
        helper.make_graph(nodes, "small", first, last, value_info=inside),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
