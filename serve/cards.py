"""The GPUs of this machine, whether a stack can run on them, and one replica at a time loading on each."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from models.types import ModelFailure
from models.vllm_engine import check_engine, installed_vllm
from models.weights import entry
from serve.config import EMBEDDED_STACK, STACKS, Stack, load_stack
from serve.deployment_settings import EngineDeployment

GPU_STACKS = (STACKS / "gpu-1x.yaml", STACKS / "gpu-24gb.yaml")
"""What is tried on a machine with a GPU, the largest first."""
_SPEECH_STEPS = {"onnx": "cut-kokoro", "torch": "recover-kokoro"}
"""The step of the registry that makes ready what each implementation loads."""
_ASK_TIMEOUT_S = 20.0
_LOAD_TIMEOUT_S = 3600.0


class CardError(RuntimeError):
    """A stack does not fit this machine's GPUs or the libraries installed: what was expected, what is there."""


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU."""

    index: int
    name: str
    total_mb: int
    free_mb: int


def cards() -> tuple[Card, ...]:
    """This machine's GPUs as `nvidia-smi` tells them; none if there is no such program or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    asked = [program, "--query-gpu=index,name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True).stdout
        return tuple(_card(line) for line in told.splitlines() if line.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def _card(line: str) -> Card:
    index, name, total_mb, free_mb = (part.strip() for part in line.split(","))
    return Card(int(index), name, int(total_mb), int(free_mb))


def default_stack() -> Path:
    """The shipped stack for this machine: on GPUs the largest that fits the first one, if this environment was made for
    GPUs; else the embedded one."""
    build = installed_vllm()
    if build is None or build.device != "cuda":
        return EMBEDDED_STACK
    here = cards()
    for path in GPU_STACKS if here else ():
        gpus = load_stack(path).gpus
        if gpus is not None and here[0].total_mb >= gpus.memory_mb:
            return path
    return EMBEDDED_STACK


def check_gpus(stack: Stack, here: tuple[Card, ...] | None = None) -> None:
    """Raises CardError if the libraries installed do not compute where the stack says, or its GPUs are not there or not
    free."""
    for name, part in stack.deployments().items():
        if isinstance(part, EngineDeployment):
            try:
                check_engine(part.engine, part.device)
            except ModelFailure as error:
                raise CardError(f"{name}: {error}") from error
    speech = stack.text_to_speech
    steps = [step.step for step in entry(speech.weights).steps]
    if (needed := _SPEECH_STEPS[speech.implementation]) not in steps:
        raise CardError(
            f"text_to_speech: implementation {speech.implementation} speaks with weights made ready by {needed}, "
            f"{speech.weights} by {', '.join(steps) or 'nothing'}; kokoro-82m-int8 is for onnx, kokoro-82m for torch"
        )
    if (gpus := stack.gpus) is None:
        return
    found = cards() if here is None else here
    if len(found) < gpus.count:
        raise CardError(
            f"gpus: the stack '{stack.name}' wants {gpus.count} with {gpus.memory_mb} MB, nvidia-smi tells of "
            f"{len(found)}; run it on a machine with so many, or correct gpus.count"
        )
    for card in found[: gpus.count]:
        if card.free_mb < gpus.memory_mb:
            raise CardError(
                f"gpus: {gpus.memory_mb} MB are wanted of card {card.index} ({card.name}), {card.free_mb} of its "
                f"{card.total_mb} MB are free; end other programs on it (nvidia-smi lists them), or lower "
                "gpus.memory_mb and what the deployments take of it"
            )


@contextmanager
def alone_on_cards() -> Iterator[None]:
    """Be the only replica that loads on the cards that this process sees: two that measure a card's free memory at once
    disturb each other. On the CPU: at once.

    A process that dies gives its locks up. Raises ModelFailure if others load for an hour.
    """
    with ExitStack() as held:
        for index in sorted(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))):
            path = Path(tempfile.gettempdir(), f"trunkline-card-{os.getuid()}-{index}.lock")
            try:
                held.enter_context(FileLock(path, timeout=_LOAD_TIMEOUT_S, thread_local=False, mode=0o600))
            except Timeout as error:
                raise ModelFailure(
                    f"card {index}: another replica has been loading on it for {_LOAD_TIMEOUT_S:.0f} s; see its log"
                ) from error
        yield
