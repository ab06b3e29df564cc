"""Writing a safetensors file one tensor at a time, so that weights of some gigabytes pass through little memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TensorShape", "TensorType", "write_tensors"]

TensorType = Literal["float32", "bfloat16", "float16", "int8"]
_ORDER: dict[TensorType, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "int8": "I8"}
"""Our names and the format's, in the order in which the format's own library lays tensors out: wide ones first, so that
all are aligned."""


@dataclass(frozen=True, slots=True)
class TensorShape:
    """What a tensor will be, before it is made."""

    dtype: TensorType
    shape: tuple[int, ...]


def write_tensors(
    path: Path, shapes: Mapping[str, TensorShape], make: Callable[[str], npt.NDArray[np.generic]]
) -> None:
    """Write the tensors that `make` gives by name, asked for one after another, float32 before all narrower ones.

    The bytes are those of safetensors' own `save_file`. Raises ValueError if a tensor is not of its shape; OSError.
    """
    import ml_dtypes  # Teaches numpy the word bfloat16.
    import numpy as np

    del ml_dtypes
    kinds = list(_ORDER)
    names = sorted(shapes, key=lambda name: (kinds.index(shapes[name].dtype), name))
    # "pt" is what transformers wants to read; the file is the same for every framework.
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        wanted = shapes[name]
        start, end = end, end + int(np.prod(wanted.shape, dtype=np.int64)) * np.dtype(wanted.dtype).itemsize
        header[name] = {"dtype": _ORDER[wanted.dtype], "shape": wanted.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            values = make(name)
            if (values.dtype.name, values.shape) != (shapes[name].dtype, shapes[name].shape):
                raise ValueError(f"{name}: expected {shapes[name]}, got {values.dtype.name} {values.shape}")
            file.write(np.ascontiguousarray(values).view(np.uint8).data)
