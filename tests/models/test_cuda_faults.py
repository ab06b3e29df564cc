from __future__ import annotations

import subprocess
import sys

import pytest

from models.cuda_faults import exit_on_cuda_error
from models.types import ModelFailure

TELLING = """
from models.cuda_faults import exit_on_cuda_error
from models.types import ModelFailure
try:
    try:
        raise RuntimeError({text!r})
    except RuntimeError as error:
        raise ModelFailure("text to speech failed") from error
except ModelFailure as error:
    exit_on_cuda_error(error)
print("lives on")
"""


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", False),
    ],
)
def test_a_process_ends_at_once_when_its_gpu_has_failed_and_only_then(text: str, ends: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TELLING.format(text=text)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == ((1, "") if ends else (0, "lives on"))
    assert ("the GPU cannot be used by this process any more" in done.stderr) == ends


def test_other_failures_are_the_callers() -> None:
    exit_on_cuda_error(ModelFailure("unknown voice"))
