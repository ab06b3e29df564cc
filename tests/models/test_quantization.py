"""Rounding to int8 loses half a step at most, and touches nothing but linear layers."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from models.assembly import run_step
from models.registry import QuantizeInt8
from models.weights import WeightsError


def language_model(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Random weights of two blocks as transformers names them, written to `folder`, some layers with a row of zeros."""
    generator = np.random.default_rng(11)
    shapes = {"model.embed_tokens.weight": (40, 16), "lm_head.weight": (40, 16), "model.norm.weight": (16,)}
    for block in range(2):
        here = f"model.layers.{block}"
        shapes |= {f"{here}.input_layernorm.weight": (16,), f"{here}.self_attn.q_proj.bias": (16,)}
        shapes |= {f"{here}.self_attn.{name}_proj.weight": (16, 16) for name in "qkvo"}
        shapes |= {f"{here}.mlp.up_proj.weight": (48, 16), f"{here}.mlp.down_proj.weight": (16, 48)}
    tensors: dict[str, npt.NDArray[np.generic]] = {
        name: (generator.standard_normal(shape) * generator.uniform(0.01, 2, (shape[0], *[1] * (len(shape) - 1))))
        .astype(ml_dtypes.bfloat16)
        for name, shape in shapes.items()
    }  # fmt: skip
    tensors["model.layers.1.mlp.up_proj.weight"][3] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "qwen2", "tie_word_embeddings": False, "hidden_size": 16}
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


def test_int8_weights_are_within_half_a_step_and_all_else_stays(tmp_path: Path) -> None:
    before = language_model(tmp_path)

    run_step(QuantizeInt8(step="quantize-int8"), tmp_path)

    after = load_file(tmp_path / "model.safetensors")
    linear = {name for name in before if name.endswith("_proj.weight")}
    assert len(linear) == 12
    assert after.keys() == before.keys() | {f"{name}_scale" for name in linear}
    for name in linear:
        weights, scale = after[name], after[f"{name}_scale"]
        assert (weights.dtype, scale.dtype, scale.shape) == (np.int8, np.float32, (len(weights), 1))
        wanted = before[name].astype(np.float32)
        assert (np.abs(weights * scale - wanted) <= scale * 0.5001).all(), name
        assert (np.abs(weights).max(1) == np.where(wanted.any(1), 127, 0)).all(), name
    for name in before.keys() - linear:
        assert after[name].dtype == before[name].dtype
        np.testing.assert_array_equal(after[name], before[name])
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["hidden_size"] == 16
    assert config["tie_word_embeddings"] is False
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    group = config["quantization_config"]["config_groups"]["group_0"]
    assert (group["weights"]["strategy"], group["weights"]["dynamic"]) == ("channel", False)
    assert (group["input_activations"]["strategy"], group["input_activations"]["dynamic"]) == ("token", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_tied_embeddings_are_the_outputs(tmp_path: Path) -> None:
    before = language_model(tmp_path)

    run_step(QuantizeInt8(step="quantize-int8", tie_embeddings=True), tmp_path)

    after = load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in after
    np.testing.assert_array_equal(after["model.embed_tokens.weight"], before["lm_head.weight"])
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True
    with pytest.raises(WeightsError, match=r"expected model\.embed_tokens\.weight and lm_head\.weight"):
        run_step(QuantizeInt8(step="quantize-int8", tie_embeddings=True), tmp_path)


def test_weights_without_linear_layers_are_not_quantised(tmp_path: Path) -> None:
    save_file({"encoder.weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")

    with pytest.raises(WeightsError, match="no linear layers of attention or feed-forward"):
        run_step(QuantizeInt8(step="quantize-int8"), tmp_path)
