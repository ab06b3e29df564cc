"""What to do when a GPU fails under a model: such an error sticks, and nothing in the process works after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_TELLS = ("cuda error", "cuda failed", "cuda failure")
"""In what torch, CTranslate2 and vLLM raise of the driver."""
_PASSES = "out of memory"
"""In what they raise when memory ran out: the next request may find some."""
_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


def leave_on_cuda_fault(error: BaseException, leave: Callable[[int], object] = os._exit) -> None:
    """End the process at once, with a line on stderr, if the error or what it came from is a fault of the GPU.

    Whoever supervises the process starts another one; it is not asked to clean up what it can no longer reach.
    """
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if any(tell in text for tell in _TELLS) and _PASSES not in text:
            print(f"leaving: {type(cause).__name__}: {cause}", file=sys.stderr, flush=True)
            leave(_EXIT_CODE)
            return
        cause = cause.__cause__
