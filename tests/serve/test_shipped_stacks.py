from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.settings import SettingsError, parse_settings
from pipeline.agent import load_agent
from serve.build import gateway_options, model_options
from serve.config import STACKS, Stack, load_stack
from serve.traffic_split import agent_path

FILES = sorted(STACKS.glob("*.yaml"))
GPU = (STACKS / "gpu-1x.yaml").read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shipped_stack_is_read_and_its_agent_is_there(file: Path) -> None:
    stack = load_stack(file)
    assert stack.name == file.stem
    assert load_agent(agent_path(stack)).name


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("compute_type: float16", "compute_type: int8", "speech_to_text: compute_type: int8 on a GPU"),
        ("device: cuda\n  compute_type: float16", "num_gpus: 0.1", "num_gpus: a replica on the CPU takes"),
        ("device: cuda\n  compute_type: float16", "compute_type: float16", "gpu_memory_mb: a replica on the CPU takes"),
        ("  gpu_memory_mb: 6000\n", "", "speech_to_text: gpu_memory_mb: missing"),
        ("gpu_memory_mb: 44000", "gpu_memory_mb: 60000", "no longer fits on 1 card of 79000 MB"),
        ("gpu_memory_mb: 44000", "gpu_memory_mb: 80000", "80000 MB do not fit a card of 79000 MB"),
        ("gpu_memory_mb: 44000", "gpu_memory_mb: 7000", "engine.kv_cache_mb: expected less than gpu_memory_mb (7000)"),
        (
            "kv_cache_mb: 8000\n    cuda:",
            "kv_cache_mb: 8000\n    cuda:\n      tensor_parallel_size: 2",
            "LargeLanguageModel no longer fits",
        ),
        ("kv_cache_mb: 8000", "kv_cache_mb: 8000\n    cpu: {threads: 8}", "engine.cpu: is heeded with"),
        ("kv_cache_mb: 8000", "kv_cache_mb: 8000\n    prompt_lookup_tokens: 4", "vLLM cannot plan a step ahead"),
        ("kv_cache_mb: 8000", "kv_cache_mb: 8000\n    vllm: {max_model_len: 9}", "engine.context_tokens instead"),
        ("kv_cache_mb: 8000", "kv_cache_mb: 8000\n    vllm: {scheduling_policy: fcfs}", "which relies on it"),
        ("implementation: torch", "implementation: onnx", "text_to_speech: implementation: onnx computes on CPUs only"),
        ("gpus:\n  count: 1\n  memory_mb: 79000\n", "", "gpus: missing; LargeLanguageModel, Understanding"),
        ("weights: minilm-l6-v2", "weights: minilm-l6-v2\n  device: cuda\n  gpu_memory_mb: 500", "the router takes"),
        ("router:\n", "router:\n  scaling: {most: 4, target_ongoing: 8}\n", "replicas: scaling says how many"),
        ("router:\n", "router:\n  scaling: {least: 5, most: 4, target_ongoing: 8}\n", "at most most (4), got 5"),
    ],
)
def test_what_a_gpu_cannot_do_is_refused_in_words(old: str, new: str, told: str) -> None:
    assert old in GPU
    with pytest.raises(SettingsError) as error:
        parse_settings(GPU.replace(old, new, 1), Stack, "my-stack.yaml")
    assert "my-stack.yaml: " in str(error.value)
    assert told in str(error.value)


def test_gpus_without_a_model_on_them_are_refused() -> None:
    text = (STACKS / "embedded.yaml").read_text() + "gpus:\n  memory_mb: 24000\n"
    with pytest.raises(SettingsError, match="gpus: no model of this stack computes on one"):
        parse_settings(text, Stack, "my-stack.yaml")


def test_an_engine_on_several_cards_takes_them_whole() -> None:
    large = "gpu_memory_mb: 44000"
    text = GPU.replace("count: 1", "count: 3").replace("kv_cache_dtype: fp8", "tensor_parallel_size: 2", 2)
    text = text.replace("tensor_parallel_size: 2", "kv_cache_dtype: fp8", 1)
    stack = parse_settings(text, Stack, "my-stack.yaml")
    assert stack.gpu_share(stack.deployments()["LargeLanguageModel"]) == 2.0
    with pytest.raises(SettingsError, match=r"takes as many whole cards; expected 2 or nothing, got 0\.5"):
        parse_settings(text.replace(large, f"{large}\n  num_gpus: 0.5"), Stack, "my-stack.yaml")


def test_ray_is_told_the_share_of_a_card_and_where_kernels_are_kept() -> None:
    stack = load_stack(STACKS / "gpu-1x.yaml")
    options = model_options(stack, stack.speech_to_text)
    actor = options["ray_actor_options"]
    assert isinstance(actor, dict)
    assert actor["num_gpus"] == 0.08  # 6000 of 79000, rounded up
    assert set(actor["runtime_env"]["env_vars"]) >= {"CUDA_CACHE_PATH", "VLLM_CACHE_ROOT"}
    assert options["num_replicas"] == 1
    assert "request_router_config" not in options


def test_a_deployment_on_cpus_takes_nothing_of_a_gpu() -> None:
    stack = load_stack(STACKS / "embedded.yaml")
    actor = model_options(stack, stack.text_to_speech)["ray_actor_options"]
    assert isinstance(actor, dict)
    assert actor["num_gpus"] == 0.0
    assert actor["runtime_env"] == {"env_vars": {"RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}}


def test_calls_stick_to_an_engine() -> None:
    stack = load_stack(STACKS / "embedded.yaml")
    assert stack.understanding is not None
    router = model_options(stack, stack.understanding)["request_router_config"]
    assert isinstance(router, dict)
    assert router["request_router_class"].endswith(":ConsistentHashRouter")


def test_where_and_how_many_is_handed_to_ray() -> None:
    text = (STACKS / "embedded.yaml").read_text()
    pool = "\n  scaling: {least: 2, most: 6, target_ongoing: 3, down_after_s: 60}"
    placed = "\n  placement: {replicas_per_node: 1, resources: {models: 0.5}, accelerator: L4}"
    text = re.sub(r"(\nrouter:)", rf"\1{pool}{placed}", text)
    text = text.replace(
        "gateway:", "gateway:\n  scaling: {most: 8, target_ongoing: 3}\n  placement: {resources: {edge: 0.01}}"
    )
    stack = parse_settings(text, Stack, "my-stack.yaml")

    options = model_options(stack, stack.router)
    assert "num_replicas" not in options
    assert options["max_replicas_per_node"] == 1
    assert options["ray_actor_options"] == {
        "num_cpus": 0.0,
        "num_gpus": 0.0,
        "accelerator_type": "L4",
        "resources": {"models": 0.5},
        "runtime_env": {"env_vars": {"RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}},
    }
    scaling = options["autoscaling_config"]
    assert isinstance(scaling, dict)
    assert {
        "min_replicas": 2,
        "max_replicas": 6,
        "target_ongoing_requests": 3,
        "downscale_delay_s": 60,
    }.items() <= scaling.items()

    gateway = gateway_options(stack.gateway)
    assert gateway["ray_actor_options"] == {"num_cpus": 0, "resources": {"edge": 0.01}}
    assert gateway["graceful_shutdown_timeout_s"] == stack.gateway.drain_s
