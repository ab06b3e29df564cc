"""A GPU's errors are for the process's life: after one, the device answers no call of it ever again."""

from __future__ import annotations

import logging
import os

__all__ = ["exit_on_cuda_error"]

_SIGN = "CUDA error"
"""In what torch, CTranslate2 and vLLM raise of the driver. Memory that runs out reads otherwise, and passes."""
_log = logging.getLogger(__name__)


def exit_on_cuda_error(error: BaseException) -> None:
    """End the process at once if `error`, or what it came from, is one of the GPU: a supervisor starts another."""
    cause: BaseException | None = error
    while cause is not None:
        if _SIGN in str(cause):
            _log.critical("the GPU cannot be used by this process any more, it ends: %s", cause)
            logging.shutdown()
            os._exit(1)
        cause = cause.__cause__
