"""A Kokoro of a few thousand random weights, whole in every other respect."""

from __future__ import annotations

import numpy as np
import torch

from models.kokoro_engine import Row
from models.kokoro_layout import KokoroSizes, weight_shapes

SMALL = KokoroSizes(
    symbols=60,
    positions=64,
    embedding=8,
    reader=16,
    reader_heads=2,
    reader_layers=2,
    reader_inner=32,
    hidden=32,
    style=8,
    most_frames=12,
    decoder=24,
    residual=4,
)


def random_weights(seed: int = 7, sizes: KokoroSizes = SMALL) -> dict[str, torch.Tensor]:
    """Each layer gives about as much as it takes."""
    draw = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(sizes).items():
        values = draw.standard_normal(shape).astype(np.float32)
        if len(shape) > 1 and "alpha" not in name:
            values /= np.sqrt(np.prod(shape[1:]))
        weights[name] = torch.from_numpy(np.abs(values) + 0.5 if "alpha" in name else values * 0.5)
    # Pitch: about as high as a voice.
    weights["predictor.F0_proj.bias"] = torch.tensor([120.0])
    return weights


def random_row(tokens: int, seed: int = 3, sizes: KokoroSizes = SMALL) -> Row:
    draw = np.random.default_rng(seed)
    inner = draw.integers(1, sizes.symbols, tokens - 2)
    return Row((0, *(int(token) for token in inner), 0), draw.standard_normal(2 * sizes.style).astype(np.float32) * 0.3)
