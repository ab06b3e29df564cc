from __future__ import annotations

import pytest

from models.cuda_faults import leave_on_cuda_fault
from models.types import ModelFailure


@pytest.mark.parametrize(
    "told",
    ["CUDA error: an illegal memory access was encountered", "Whisper failed: CUDA failed with error out of memory"],
)
def test_a_fault_of_the_gpu_ends_the_process_and_says_why(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    left: list[int] = []
    leave_on_cuda_fault(ModelFailure(told), left.append)
    assert left == [70]
    assert capsys.readouterr().err == f"leaving: ModelFailure: {told}\n"


def test_any_other_error_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    left: list[int] = []
    leave_on_cuda_fault(ModelFailure("no answer within 5 s"), left.append)
    assert left == []
    assert capsys.readouterr().err == ""
