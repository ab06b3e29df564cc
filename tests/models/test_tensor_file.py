"""Tensors written one at a time make the file that the format's own library makes."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from models.tensor_file import TensorShape, write_tensors


def test_tensors_written_one_by_one_make_the_file_that_safetensors_makes(tmp_path: Path) -> None:
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "wide.é": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.arange(5, dtype=np.int8),
        "a": np.arange(4).astype(ml_dtypes.bfloat16).reshape(4, 1),
        "c": np.arange(3).astype(np.float16),
        "a.first": np.ones((2, 2), np.float32),
    }
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    shapes = {
        "wide.é": TensorShape("float32", (2, 3)), "b": TensorShape("int8", (5,)), "a": TensorShape("bfloat16", (4, 1)),
        "c": TensorShape("float16", (3,)), "a.first": TensorShape("float32", (2, 2)),
    }  # fmt: skip

    write_tensors(tmp_path / "ours", shapes, tensors.__getitem__)

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    with pytest.raises(ValueError, match="b: expected"):
        write_tensors(tmp_path / "ours", shapes | {"b": TensorShape("int8", (4,))}, tensors.__getitem__)
