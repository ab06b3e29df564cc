"""cuBLAS 12 for CTranslate2, beside the 13 that torch and vLLM bring: loaded by path, where Whisper hears on a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from models.types import ModelFailure

__all__ = ["load_cublas12"]

_LIBRARIES = ("libcublasLt.so.12", "libcublas.so.12")
"""In the order in which they need each other. CTranslate2 asks for the second by name at its first computation, and the
loader gives it what is loaded already under that name."""
_PACKAGE = "nvidia.cublas"
"""Of the distribution nvidia-cublas-cu12; cuBLAS 13 lies elsewhere (nvidia/cu13)."""


def load_cublas12(folders: Iterable[Path] | None = None) -> None:
    """Load it from the folders, left out: from where its wheel puts it. Raises ModelFailure if it is not there."""
    where = list(_installed() if folders is None else folders)
    for name in _LIBRARIES:
        path = next((folder / name for folder in where if (folder / name).is_file()), None)
        if path is None:
            raise ModelFailure(
                f"{name} is not installed: CTranslate2 on a GPU wants cuBLAS 12; make the environment with the extra "
                "'gpu' (make env EXTRA=gpu), which has nvidia-cublas-cu12"
            )
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ModelFailure(f"{path}: cannot be loaded ({error}); install nvidia-cublas-cu12 again") from error


def _installed() -> Iterable[Path]:
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except ModuleNotFoundError:
        return []
    return [Path(folder, "lib") for folder in spec.submodule_search_locations or ()] if spec else []
