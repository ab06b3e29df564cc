"""What to do when a GPU fails under a model: such an error sticks, and nothing in the process works after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_TELLS = ("cuda error", "cuda failed", "cuda failure")
_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


def leave_on_cuda_fault(error: BaseException, leave: Callable[[int], object] = os._exit) -> None:
    """End the process at once, with a line on stderr, if the error tells of a CUDA fault; else do nothing.

    Whoever supervises the process starts another one; it is not asked to clean up what it can no longer reach.
    """
    if any(tell in str(error).lower() for tell in _TELLS):
        print(f"leaving: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        leave(_EXIT_CODE)
