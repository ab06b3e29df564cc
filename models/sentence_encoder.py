"""Writes a BERT sentence encoder (such as all-MiniLM-L6-v2) as one ONNX graph, straight from its safetensors.

The usual exporter needs torch, transformers and a quarter of a minute, and its files differ from version to version;
BERT is 15 nodes a layer. Architecture: Devlin et al. 2018, https://arxiv.org/abs/1810.04805; mean pooling over the
attention mask and unit length as in https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from models.sources import WeightsError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["build_sentence_encoder"]

_OPSET = 23
_SHAPE = ["batch", "sequence"]


def build_sentence_encoder(config_file: Path, weights_file: Path, into: Path) -> None:
    """Write the encoder to `into`.

    Inputs `input_ids` and `attention_mask`, int64 (batch, sequence), sequence at most the model's position table;
    output `embedding`, float32 (batch, hidden), each row of length 1. Every row needs at least one token that the
    mask keeps. Raises WeightsError if the files are not those of a BERT with absolute positions and GELU.
    """
    import onnx
    from onnx import TensorProto, helper
    from safetensors.numpy import load_file

    config = json.loads(config_file.read_text(encoding="utf-8"))
    for key, expected in (("model_type", "bert"), ("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if config.get(key) != expected:
            raise WeightsError(f"{config_file.name}: expected {key} {expected}, got {config.get(key)}")
    try:
        graph = _Graph(load_file(weights_file))
        embedding = _encoder(
            graph, config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"]
        )
    except KeyError as error:
        raise WeightsError(f"{weights_file.name}: {error} is missing; expected the weights of a BertModel") from error
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, _SHAPE)
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, _SHAPE)
    out = helper.make_tensor_value_info(embedding, TensorProto.FLOAT, ["batch", config["hidden_size"]])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "sentence-encoder", [ids, mask], [out], graph.initializers),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="trunkline",
        ir_version=10,
    )
    onnx.checker.check_model(model)
    onnx.save(model, into)


class _Graph:
    """Collects nodes; every node's one output is named after what it is."""

    def __init__(self, weights: dict[str, npt.NDArray[np.float32]]) -> None:
        self.weights = weights
        self.nodes: list[object] = []
        self.initializers: list[object] = []
        self._given: set[str] = set()

    def constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        if name not in self._given:
            self._given.add(name)
            self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def weight(self, name: str, transpose: bool = False) -> str:
        values = self.weights[name]
        return self.constant(name, values.T.copy() if transpose else values)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: float | int) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x: str, layer: str, output: str) -> str:
        product = self.node("MatMul", [x, self.weight(f"{layer}.weight", transpose=True)], f"{output}.product")
        return self.node("Add", [product, self.weight(f"{layer}.bias")], output)

    def layer_norm(self, x: str, layer: str, epsilon: float, output: str) -> str:
        inputs = [x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        return self.node("LayerNormalization", inputs, output, axis=-1, epsilon=epsilon)


def _encoder(graph: _Graph, layers: int, heads: int, epsilon: float) -> str:
    import numpy as np

    zero, one = graph.constant("zero", np.array([0], np.int64)), graph.constant("one", np.array([1], np.int64))
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    positions = graph.node(
        "Slice", [graph.weight("embeddings.position_embeddings.weight"), zero, length, zero], "positions"
    )
    words = graph.node("Gather", [graph.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
    # Single sentences only: every token is of type 0, so its embedding is one constant row.
    kind = graph.constant("token_type_0", graph.weights["embeddings.token_type_embeddings.weight"][0].copy())
    x = graph.node("Add", [words, positions], "embedded.positions")
    x = graph.node("Add", [x, kind], "embedded.sum")
    x = graph.layer_norm(x, "embeddings.LayerNorm", epsilon, "embedded")
    keep = graph.node("Cast", ["attention_mask"], "keep", to=9)
    keep = graph.node("Unsqueeze", [keep, graph.constant("head_axes", np.array([1, 2], np.int64))], "keep.keys")
    # onnxruntime's Attention wants a row of the mask for every query, though all are the same.
    queries = graph.node("Concat", [one, one, length, one], "keep.shape", axis=0)
    keep = graph.node("Expand", [keep, queries], "keep.pairs")

    for number in range(layers):
        at = f"encoder.layer.{number}"
        q, k, v = (graph.linear(x, f"{at}.attention.self.{part}", f"{at}.{part}") for part in ("query", "key", "value"))
        mixed = graph.node("Attention", [q, k, v, keep], f"{at}.mixed", q_num_heads=heads, kv_num_heads=heads)
        mixed = graph.linear(mixed, f"{at}.attention.output.dense", f"{at}.attended")
        x = graph.node("Add", [x, mixed], f"{at}.attended.sum")
        x = graph.layer_norm(x, f"{at}.attention.output.LayerNorm", epsilon, f"{at}.attended.normed")
        wide = graph.linear(x, f"{at}.intermediate.dense", f"{at}.wide")
        wide = graph.node("Gelu", [wide], f"{at}.wide.gelu")
        narrow = graph.linear(wide, f"{at}.output.dense", f"{at}.narrow")
        x = graph.node("Add", [x, narrow], f"{at}.sum")
        x = graph.layer_norm(x, f"{at}.output.LayerNorm", epsilon, f"{at}.out")

    weights = graph.node("Cast", ["attention_mask"], "weights.flat", to=1)
    weights = graph.node("Unsqueeze", [weights, graph.constant("last_axis", np.array([2], np.int64))], "weights")
    kept = graph.node("Mul", [x, weights], "kept")
    total = graph.node("ReduceSum", [kept, one], "total", keepdims=0)
    count = graph.node("ReduceSum", [weights, one], "count", keepdims=0)
    mean = graph.node("Div", [total, count], "mean")
    return graph.node("LpNormalization", [mean], "embedding", axis=1, p=2)
