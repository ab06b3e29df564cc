"""A GGUF file turned into what transformers and vLLM load: safetensors, configuration, tokenizer.

transformers can read GGUF too, but it goes through a quantised model of its own, takes several times as long and no
longer saves the result without being tricked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.sources import WeightsError
from models.tensor_file import TensorShape, write_tensors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGUFReader
    from tokenizers.normalizers import Normalizer
    from tokenizers.pre_tokenizers import PreTokenizer

    FloatArray = npt.NDArray[np.float32]

__all__ = ["convert_gguf"]

_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK = {
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
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTROL_TOKEN, _USER_TOKEN, _UNUSED_TOKEN = 3, 4, 5


@dataclass(frozen=True, slots=True)
class _Family:
    architecture: str
    """As transformers calls it."""
    splitter: str
    """GGUF's name for how its tokenizer splits text into words."""
    interleaved: bool
    """Whether GGUF holds the rotary halves of each head's queries and keys interleaved."""


_FAMILIES = {
    "llama": _Family("LlamaForCausalLM", "smollm", interleaved=True),
    "qwen2": _Family("Qwen2ForCausalLM", "qwen2", interleaved=False),
}


def convert_gguf(path: Path, folder: Path, dtype: Literal["bfloat16", "float16", "float32"]) -> None:
    """Write a transformers folder with the weights of the GGUF file at `path`, dequantised and stored as `dtype`.

    Raises WeightsError if it is not a Llama or Qwen2 with a tokenizer of the kind known here; OSError.
    """
    import gguf

    reader = gguf.GGUFReader(path)
    kind = str(_value(reader, "general.architecture"))
    family = _FAMILIES.get(kind)
    if family is None:
        raise WeightsError(f"{path.name}: expected a GGUF of architecture {' or '.join(_FAMILIES)}, got {kind}")
    splitter = str(_value(reader, "tokenizer.ggml.pre"))
    if splitter != family.splitter:
        raise WeightsError(f"{path.name}: expected a tokenizer of the kind {family.splitter}, got {splitter}")
    heads = int(str(_value(reader, f"{kind}.attention.head_count")))
    kv_heads = int(str(_value(reader, f"{kind}.attention.head_count_kv")))
    _write_weights(reader, folder, dtype, (heads, kv_heads) if family.interleaved else None)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = {
        "architectures": [family.architecture],
        "model_type": kind,
        "dtype": dtype,
        "hidden_act": "silu",
        "hidden_size": _value(reader, f"{kind}.embedding_length"),
        "intermediate_size": _value(reader, f"{kind}.feed_forward_length"),
        "num_hidden_layers": _value(reader, f"{kind}.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": _value(reader, f"{kind}.context_length"),
        "rms_norm_eps": _value(reader, f"{kind}.attention.layer_norm_rms_epsilon"),
        "rope_theta": _value(reader, f"{kind}.rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "bos_token_id": _value(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _value(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _value(reader, "tokenizer.ggml.padding_token_id"),
    }
    if kind != "llama":
        # Without it, transformers takes any local tokenizer as large as Qwen's for a faulty one of Mistral's.
        config["transformers_version"] = "5.0.0"
    _write_json(folder / "config.json", config)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "generation_config.json", ids)
    _write_tokenizer(reader, kind, folder)


def _write_weights(
    reader: GGUFReader,
    folder: Path,
    dtype: Literal["bfloat16", "float16", "float32"],
    interleaved_heads: tuple[int, int] | None,
) -> None:
    import gguf
    import ml_dtypes
    import numpy as np

    stored = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}[dtype]
    tensors = {_name(tensor.name): tensor for tensor in reader.tensors}

    def make(name: str) -> npt.NDArray[np.generic]:
        tensor = tensors[name]
        values: FloatArray = gguf.dequantize(tensor.data, tensor.tensor_type)
        if interleaved_heads is not None:
            heads, kv_heads = interleaved_heads
            if name.endswith("q_proj.weight"):
                values = _halves_together(values, heads)
            elif name.endswith("k_proj.weight"):
                values = _halves_together(values, kv_heads)
        return values.astype(stored)

    # GGUF counts dimensions from the innermost.
    shapes = {
        name: TensorShape(dtype, tuple(int(size) for size in reversed(tensor.shape)))
        for name, tensor in tensors.items()
    }
    write_tensors(folder / "model.safetensors", shapes, make)


def _value(reader: GGUFReader, key: str) -> object:
    field = reader.get_field(key)
    if field is None:
        raise WeightsError(f"GGUF file lacks the key {key}, which the conversion needs")
    return field.contents()


def _name(name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _BLOCK and parts[3] in ("weight", "bias"):
        return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.{parts[3]}"
    raise WeightsError(f"GGUF file holds the tensor {name}, which is not one of a Llama or Qwen2")


def _halves_together(values: FloatArray, heads: int) -> FloatArray:
    """Undo GGUF's interleaving of each head's rotary halves: (heads x size, n) rows even/odd to first/second half."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _write_tokenizer(reader: GGUFReader, kind: str, folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models

    tokens = _value(reader, "tokenizer.ggml.tokens")
    merges = _value(reader, "tokenizer.ggml.merges")
    kinds = _value(reader, "tokenizer.ggml.token_type")
    assert isinstance(tokens, list)
    assert isinstance(merges, list)
    assert isinstance(kinds, list)
    pairs = [tuple(merge.split(" ")) for merge in merges]
    named = list(zip(tokens, kinds, strict=True))
    vocabulary = {token: number for number, (token, kind) in enumerate(named) if kind != _UNUSED_TOKEN}
    tokenizer: Tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    normalizer, tokenizer.pre_tokenizer = _splitting(kind)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in named if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in named if kind == _USER_TOKEN])
    tokenizer.save(str(folder / "tokenizer.json"))

    def token(role: str) -> object:
        number = _value(reader, f"tokenizer.ggml.{role}_token_id")
        assert isinstance(number, int)
        return tokens[number]

    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _value(reader, f"{kind}.context_length"),
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "unk_token": None if reader.get_field("tokenizer.ggml.unknown_token_id") is None else token("unknown"),
        "pad_token": token("padding"),
        "additional_special_tokens": special,
        "clean_up_tokenization_spaces": False,
        "chat_template": _value(reader, "tokenizer.chat_template"),
    }
    _write_json(folder / "tokenizer_config.json", settings)


def _splitting(kind: str) -> tuple[Normalizer | None, PreTokenizer]:
    """How text is made ready for the pieces: what GGUF only names."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    if kind == "llama":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return None, pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    words = pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated")
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return normalizers.NFC(), pre_tokenizers.Sequence([words, pieces])


def _write_json(path: Path, data: dict[str, object]) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
