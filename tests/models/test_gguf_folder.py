"""A GGUF file becomes what transformers loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.assembly import run_step
from models.registry import ConvertGguf
from models.weights import WeightsError


def test_a_qwen2_gguf_keeps_weights_biases_and_words(tmp_path: Path) -> None:
    """Unlike Llama's, its rotary halves are not interleaved, and queries, keys and values have biases."""
    import gguf
    from transformers import AutoTokenizer

    generator = np.random.default_rng(5)
    letters = [chr(number) for number in range(33, 127)]
    tokens = [*letters, "Ġ", "th", "Ġth", "<|end|>", "<call>", "[PAD99]"]
    kinds = [1] * (len(letters) + 3) + [3, 4, 5]
    tensors = {
        "token_embd.weight": (len(tokens), 8), "output.weight": (len(tokens), 8), "output_norm.weight": (8,),
        "blk.0.attn_q.weight": (8, 8), "blk.0.attn_q.bias": (8,), "blk.0.ffn_down.weight": (8, 16),
    }  # fmt: skip
    values = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in tensors.items()}
    writer = gguf.GGUFWriter(tmp_path / "small.gguf", "qwen2")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h", "Ġ th"])
    writer.add_bos_token_id(tokens.index("<|end|>"))
    writer.add_eos_token_id(tokens.index("<|end|>"))
    writer.add_pad_token_id(tokens.index("<|end|>"))
    writer.add_chat_template("{{ messages[0].content }}")
    for name, data in values.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    run_step(ConvertGguf(step="convert-gguf", gguf="small.gguf", dtype="float32"), tmp_path)

    made = load_file(tmp_path / "model.safetensors")
    assert len(made) == len(values)
    np.testing.assert_array_equal(made["lm_head.weight"], values["output.weight"])
    query = "model.layers.0.self_attn.q_proj"
    np.testing.assert_array_equal(made[f"{query}.weight"], values["blk.0.attn_q.weight"])
    np.testing.assert_array_equal(made[f"{query}.bias"], values["blk.0.attn_q.bias"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architectures"], config["tie_word_embeddings"]) == (["Qwen2ForCausalLM"], False)
    assert config["vocab_size"] == len(tokens)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer.encode("th th12<call><|end|>")
    assert tokenizer.convert_ids_to_tokens(ids) == ["th", "Ġth", "1", "2", "<call>", "<|end|>"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "th th12<call>"
    assert "[PAD99]" not in tokenizer.get_vocab()


def test_a_gguf_of_another_architecture_is_refused(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "mamba")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(WeightsError, match=r"other\.gguf: expected a GGUF of architecture llama or qwen2, got mamba"):
        run_step(ConvertGguf(step="convert-gguf", gguf="other.gguf"), tmp_path)
