from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models import kokoro_recover
from models.assembly import run_step
from models.kokoro_layout import weight_shapes
from models.kokoro_recover import _gates, recover_kokoro
from models.registry import RecoverKokoro
from models.sources import WeightsError
from tests.models.kokoro_rig import SMALL, random_weights


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kokoro_recover, "weight_shapes", lambda: weight_shapes(SMALL))


def published(weights: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """As hexgrad's checkpoint lies: by part, below `module`, convolutions as lengths and directions."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        tensors = parts.setdefault(part, {})
        if value.ndim == 3 and "alpha" not in name and "_proj" not in name and "noise_convs" not in name:
            lengths = value.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            tensors |= {f"module.{rest}_g": lengths, f"module.{rest}_v": value * 3}
        else:
            tensors[f"module.{rest}"] = value
    return parts


@pytest.mark.usefixtures("small")
def test_the_published_checkpoint_is_read_by_its_own_names(tmp_path: Path) -> None:
    weights = random_weights()
    torch.save(published(weights), tmp_path / "kokoro.pth")
    recover_kokoro(tmp_path / "kokoro.pth", tmp_path / "made.safetensors")
    made = load_file(tmp_path / "made.safetensors")
    assert set(made) == set(weights)
    for name, value in made.items():
        assert value.dtype == (np.float32 if value.ndim < 2 or "alpha" in name else np.float16), name
        np.testing.assert_allclose(value, weights[name].numpy(), rtol=2e-3, atol=1e-6, err_msg=name)


@pytest.mark.usefixtures("small")
def test_it_is_a_step_of_preparing_weights(tmp_path: Path) -> None:
    torch.save(published(random_weights()), tmp_path / "voice.pth")
    run_step(RecoverKokoro(step="recover-kokoro", graph="voice.pth"), tmp_path)
    assert (tmp_path / "kokoro.safetensors").is_file()
    assert (tmp_path / "voice.pth").is_file()


@pytest.mark.usefixtures("small")
def test_a_checkpoint_that_lacks_a_weight_is_told(tmp_path: Path) -> None:
    weights = random_weights()
    del weights["predictor.F0_proj.bias"]
    torch.save(published(weights), tmp_path / "kokoro.pth")
    with pytest.raises(WeightsError, match=r"expected the weight predictor\.F0_proj\.bias of shape \(1,\), .* absent"):
        recover_kokoro(tmp_path / "kokoro.pth", tmp_path / "made.safetensors")


@pytest.mark.parametrize("name", ["kokoro.onnx", "kokoro.pth"])
def test_a_file_that_is_no_kokoro_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"neither a graph nor a checkpoint")
    with pytest.raises(WeightsError, match=f"{name}: expected Kokoro's"):
        recover_kokoro(tmp_path / name, tmp_path / "made.safetensors")


def test_gates_are_put_in_the_order_of_torch() -> None:
    assert _gates(np.array([1, 4, 2, 3])).tolist() == [1, 2, 3, 4]


def test_kokoro_has_as_many_weights_as_it_is_named_for() -> None:
    total = sum(int(np.prod(shape)) for shape in weight_shapes().values())
    assert 80e6 < total < 82e6
