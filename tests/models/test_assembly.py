"""What assembly makes computes what its source computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.assembly import run_step
from models.registry import BuildSentenceEncoder
from models.weights import prepare


@pytest.mark.slow
def test_the_sentence_encoder_agrees_with_transformers_whatever_the_padding(tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(7)
    config = BertConfig(vocab_size=97, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    bert = BertModel(config).eval()
    # Fresh layers have zero biases and unit scales, which would hide a bias left out.
    with torch.no_grad():
        for weights in bert.parameters():
            weights.add_(torch.randn_like(weights) * 0.3)
    bert.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(saved | {"position_embedding_type": "absolute"}))
    ids = np.array([[5, 9, 11, 2, 60, 31], [8, 3, 96, 0, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])

    run_step(BuildSentenceEncoder(step="build-sentence-encoder"), tmp_path)

    encoder = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = encoder.run(None, {"input_ids": ids, "attention_mask": mask})
    (alone,) = encoder.run(None, {"input_ids": ids[1:, :3], "attention_mask": mask[1:, :3]})
    with torch.no_grad():
        hidden = bert(torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state.numpy()
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(alone[0], found[1], atol=1e-6)


@pytest.mark.slow
def test_kokoros_two_halves_give_the_audio_of_the_whole_graph() -> None:
    import onnxruntime

    folder = prepare("kokoro-82m-int8")
    whole, front, back = (
        onnxruntime.InferenceSession(folder / name) for name in ("kokoro.onnx", "front.onnx", "back.onnx")
    )
    tokens = np.array([[0, 50, 157, 43, 135, 16, 53, 135, 46, 16, 43, 102, 16, 56, 156, 57, 135, 0]])
    voice = np.fromfile(folder / "voices" / "af_heart.bin", np.float32).reshape(-1, 1, 256)
    given = {"tokens": tokens, "style": voice[tokens.shape[1] - 2], "speed": np.ones(1, np.float32)}

    (expected,) = whole.run(None, given)
    crossing = dict(zip([value.name for value in front.get_outputs()], front.run(None, given), strict=True))
    (audio,) = back.run(None, {value.name: crossing[value.name] for value in back.get_inputs()})

    assert np.abs(expected).max() > 0.05
    np.testing.assert_array_equal(audio, expected)
    frames = crossing["/encoder/Round_output_0"]
    assert frames.shape == tokens.shape
    assert frames.sum() * 600 == audio.size


@pytest.mark.slow
def test_the_converted_language_model_answers_sensibly() -> None:
    """Wrongly ordered rotary halves or a wrong tokenizer would give babble."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = prepare("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    answer = tokenizer.encode("The capital of France is Paris.<|im_end|>")

    # Greedy decoding gives the answer exactly if each of its tokens is the likeliest after those before it.
    with torch.no_grad():
        scores = model(torch.tensor([tokenizer.encode(prompt) + answer])).logits[0]

    assert scores[-len(answer) - 1 : -1].argmax(-1).tolist() == answer
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("at 1230<|im_end|>")) == [
        "at", "Ġ", "1", "2", "3", "0", "<|im_end|>"
    ]  # fmt: skip
