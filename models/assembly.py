"""The steps that turn downloaded files into what the engines load.

Every step makes the same bytes on every machine (element-wise arithmetic and pure graph surgery only), so that the
registry can pin what is made as well as what is fetched. `python -m models.assembly FOLDER STEP` runs one step,
given as JSON, in a process of its own: its libraries and memory are gone when it ends.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from models.registry import BuildSentenceEncoder, ConvertGguf, CutKokoro, Join, Step
from models.sources import WeightsError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGUFReader
    from tokenizers import Tokenizer

    FloatArray = npt.NDArray[np.float32]

__all__ = ["main", "run_step"]


def run_step(step: Step, folder: Path) -> None:
    """Run one step on the files in `folder`, which get what it makes. Raises WeightsError, OSError."""
    match step:
        case Join():
            _join(step, folder)
        case ConvertGguf():
            _convert_gguf(step, folder)
        case CutKokoro():
            _cut_kokoro(step, folder)
        case BuildSentenceEncoder():
            _build_sentence_encoder(step, folder)


def _join(step: Join, folder: Path) -> None:
    with (folder / step.into).open("wb") as whole:
        for part in step.parts:
            with (folder / part).open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)


# --- GGUF to a transformers folder ---------------------------------------------------------------------------------

_GGUF_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_GGUF_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GGUF_CONTROL_TOKEN = 3


def _convert_gguf(step: ConvertGguf, folder: Path) -> None:
    # transformers can read GGUF too, but takes a minute for 135M weights on two cores (it imports torch and goes
    # through a quantised model) and no longer saves the result.
    import gguf
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save_file

    reader = gguf.GGUFReader(folder / step.gguf)
    architecture = str(_value(reader, "general.architecture"))
    if architecture != "llama":
        raise WeightsError(f"{step.gguf}: expected a GGUF of architecture llama, got {architecture}")
    heads = int(str(_value(reader, "llama.attention.head_count")))
    kv_heads = int(str(_value(reader, "llama.attention.head_count_kv")))
    dtype = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}[step.dtype]
    tensors = {}
    for tensor in reader.tensors:
        values: FloatArray = gguf.dequantize(tensor.data, tensor.tensor_type)
        if tensor.name.endswith("attn_q.weight"):
            values = _halves_together(values, heads)
        elif tensor.name.endswith("attn_k.weight"):
            values = _halves_together(values, kv_heads)
        tensors[_llama_name(tensor.name)] = np.ascontiguousarray(values.astype(dtype))
    # "pt" is what transformers wants to read; the file is the same for every framework.
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": step.dtype,
        "hidden_act": "silu",
        "hidden_size": _value(reader, "llama.embedding_length"),
        "intermediate_size": _value(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _value(reader, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": _value(reader, "llama.context_length"),
        "rms_norm_eps": _value(reader, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _value(reader, "llama.rope.freq_base"),
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "vocab_size": tensors["model.embed_tokens.weight"].shape[0],
        "bos_token_id": _value(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _value(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _value(reader, "tokenizer.ggml.padding_token_id"),
    }
    _write_json(folder / "config.json", config)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "generation_config.json", ids)
    _write_tokenizer(reader, step.gguf, folder)


def _value(reader: GGUFReader, key: str) -> object:
    field = reader.get_field(key)
    if field is None:
        raise WeightsError(f"GGUF file lacks the key {key}, which the conversion needs")
    return field.contents()


def _llama_name(name: str) -> str:
    if name in _GGUF_OUTSIDE:
        return _GGUF_OUTSIDE[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _GGUF_BLOCK and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_GGUF_BLOCK[parts[2]]}.weight"
    raise WeightsError(f"GGUF file holds the tensor {name}, which is not one of a llama model")


def _halves_together(values: FloatArray, heads: int) -> FloatArray:
    """Undo GGUF's interleaving of each head's rotary halves: (heads x size, n) rows even/odd to first/second half."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _write_tokenizer(reader: GGUFReader, source: str, folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    splitter = str(_value(reader, "tokenizer.ggml.pre"))
    if splitter != "smollm":
        raise WeightsError(f"{source}: expected a tokenizer of the kind smollm, got {splitter}")
    tokens = _value(reader, "tokenizer.ggml.tokens")
    merges = _value(reader, "tokenizer.ggml.merges")
    kinds = _value(reader, "tokenizer.ggml.token_type")
    assert isinstance(tokens, list)
    assert isinstance(merges, list)
    assert isinstance(kinds, list)
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer: Tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _GGUF_CONTROL_TOKEN]
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))

    def token(role: str) -> object:
        number = _value(reader, f"tokenizer.ggml.{role}_token_id")
        assert isinstance(number, int)
        return tokens[number]

    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _value(reader, "llama.context_length"),
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "unk_token": token("unknown"),
        "pad_token": token("padding"),
        "additional_special_tokens": special,
        "clean_up_tokenization_spaces": False,
        "chat_template": _value(reader, "tokenizer.chat_template"),
    }
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, data: dict[str, object]) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


# --- Kokoro ---------------------------------------------------------------------------------------------------------


def _cut_kokoro(step: CutKokoro, folder: Path) -> None:
    import onnx
    from onnx.utils import Extractor

    whole = onnx.load(folder / step.graph)
    inputs = [value.name for value in whole.graph.input]
    outputs = [value.name for value in whole.graph.output]
    made = {output for node in whole.graph.node for output in node.output}
    missing = [name for name in (*step.cut_at, step.durations) if name not in made]
    if missing:
        raise WeightsError(
            f"{step.graph}: the graph has no tensor {', '.join(missing)}; it is not the one the cut is for"
        )
    extractor = Extractor(whole)
    onnx.save(extractor.extract_model(inputs, [*step.cut_at, step.durations]), folder / step.front)
    onnx.save(extractor.extract_model(list(step.cut_at), outputs), folder / step.back)


# --- Sentence encoder -----------------------------------------------------------------------------------------------


def _build_sentence_encoder(step: BuildSentenceEncoder, folder: Path) -> None:
    from models.sentence_encoder import build_sentence_encoder

    build_sentence_encoder(folder / step.config, folder / step.weights, folder / step.into)


def main(arguments: list[str]) -> None:
    """Run the step given as JSON in the folder given."""
    folder, text = arguments
    adapter: TypeAdapter[Step] = TypeAdapter(Step)
    run_step(adapter.validate_json(text), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
