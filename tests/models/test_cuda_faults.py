from __future__ import annotations

import pytest

from models.cuda_faults import leave_on_cuda_fault
from models.types import ModelFailure


@pytest.mark.parametrize(
    "told",
    ["CUDA error: an illegal memory access was encountered", "CUDA failed with error launch failure"],
)
def test_a_fault_of_the_gpu_ends_the_process_and_says_why(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    left: list[int] = []
    leave_on_cuda_fault(RuntimeError(told), left.append)
    assert left == [70]
    assert capsys.readouterr().err == f"leaving: RuntimeError: {told}\n"


def test_a_fault_behind_another_error_is_found() -> None:
    left: list[int] = []
    try:
        try:
            raise RuntimeError("CUDA error: device-side assert triggered")
        except RuntimeError as error:
            raise ModelFailure("text to speech failed") from error
    except ModelFailure as error:
        leave_on_cuda_fault(error, left.append)
    assert left == [70]


@pytest.mark.parametrize(
    "told",
    [
        "no answer within 5 s",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "Whisper failed: CUDA failed with error out of memory",
    ],
)
def test_any_other_error_does_not(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    left: list[int] = []
    leave_on_cuda_fault(ModelFailure(told), left.append)
    assert left == []
    assert capsys.readouterr().err == ""
