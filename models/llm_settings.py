"""What can be set of a vLLM engine: what holds on every device, what only CPUs heed, what only GPUs do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from models.settings import StrictModel

__all__ = ["CpuEngine", "CudaEngine", "LlmSettings", "LoraSettings"]

OWNED_ARGUMENTS: dict[str, str] = {
    "model": "weights",
    "tokenizer": "weights",
    "dtype": "engine.dtype",
    "max_model_len": "engine.context_tokens",
    "max_num_seqs": "engine.max_sequences",
    "block_size": "engine.block_tokens",
    "kv_cache_memory_bytes": "engine.kv_cache_mb",
    "speculative_config": "engine.prompt_lookup_tokens",
    "seed": "engine.seed",
    "gpu_memory_utilization": "engine.cuda.free_share",
    "tensor_parallel_size": "engine.cuda.tensor_parallel_size",
    "enforce_eager": "engine.cuda.enforce_eager",
    "quantization": "engine.cuda.quantization",
    "kv_cache_dtype": "engine.cuda.kv_cache_dtype",
    "max_num_batched_tokens": "engine.cuda.max_batched_tokens",
    "performance_mode": "engine.cuda.performance_mode",
    "async_scheduling": "engine.cuda.async_scheduling",
    "enable_lora": "engine.lora",
    "max_loras": "engine.lora.most",
    "max_lora_rank": "engine.lora.rank",
}
"""vLLM's arguments that have a setting of their own, and which."""

FIXED_ARGUMENTS = (
    "enable_prefix_caching",
    "scheduling_policy",
    "structured_outputs_config",
    "generation_config",
    "worker_extension_cls",
    "distributed_executor_backend",
    "disable_log_stats",
    "enable_log_requests",
    "use_tqdm_on_load",
    "runner",
    "skip_tokenizer_init",
)
"""vLLM's arguments that a call's promises hang on; no stack file changes them."""


class CpuEngine(StrictModel):
    """What an engine on CPUs heeds."""

    threads: int = Field(2, ge=1, le=256)
    """Compute threads."""
    spin_count: int = Field(5000, ge=0)
    """How long an idle compute thread spins at a barrier before it sleeps, in libgomp's steps (about 15 ns each)."""
    enforce_eager: bool = True
    """Run without compiled graphs: the engine starts sooner and answers as fast."""


class CudaEngine(StrictModel):
    """What an engine on GPUs heeds."""

    tensor_parallel_size: int = Field(1, ge=1, le=16)
    """GPUs of one node that share one engine."""
    enforce_eager: bool = False
    """Run without CUDA graphs: a sooner start, and every token later."""
    quantization: str | None = None
    """Arithmetic of the weights, as vLLM names it, such as fp8; None: as the weights' own config says."""
    kv_cache_dtype: Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    """Type of the key-value cache; fp8 holds twice the tokens in as many megabytes."""
    max_batched_tokens: int = Field(2048, ge=64)
    """Tokens of prompts and replies in one step: a long prompt is read in pieces, between other calls' tokens."""
    performance_mode: Literal["balanced", "interactivity", "throughput"] = "interactivity"
    """'interactivity': graphs for every small batch, so that few calls wait for none."""
    async_scheduling: bool = True
    """Plan the next step while this one computes."""
    free_share: float = Field(0.1, gt=0, le=1)
    """Share of the card's memory that must be free at start; `kv_cache_mb` decides what is used."""


class LoraSettings(StrictModel):
    """Adapters beside the weights."""

    most: int = Field(4, ge=1, le=64)
    """Different adapters in one step; requests with more wait."""
    rank: int = Field(16, ge=1, le=512)
    """The highest rank among them."""


class LlmSettings(StrictModel):
    """One vLLM engine."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the engine; 'auto' takes the weights' own type, and float32 on CPUs that cannot compute in bfloat16
    (they emulate it, three times slower)."""
    context_tokens: int = Field(2048, ge=64)
    """Longest prompt plus reply, in tokens."""
    max_prompt_tokens: int = Field(1792, ge=1)
    """A longer prompt is refused."""
    max_new_tokens: int = Field(256, ge=1)
    """No reply is longer than this, whatever its request asks for."""
    max_sequences: int = Field(4, ge=1)
    """Generations the engine runs at once; more wait, by priority."""
    block_tokens: int = Field(32, ge=8, multiple_of=8)
    """Block of the prefix cache; only full blocks hit. vLLM's CPU kernels want a multiple of 32."""
    kv_cache_mb: int = Field(512, ge=16)
    """Memory of the key-value cache."""
    prompt_lookup_tokens: int = Field(0, ge=0, le=16)
    """Tokens guessed a step by copying from the prompt what followed the last words there, then checked in one pass;
    0: none. Answers that quote the prompt come in a third of the steps (Saxena 2023, prompt lookup decoding)."""
    seed: int = 0
    """Of requests that bring none."""
    request_timeout_s: float = Field(20.0, gt=0)
    """A generation that takes longer is aborted."""
    health_timeout_s: float = Field(5.0, gt=0)
    """The health check's one token must come within this time."""
    lora: LoraSettings | None = None
    """None: the engine takes no adapters."""
    cpu: CpuEngine = CpuEngine()
    cuda: CudaEngine = CudaEngine()
    vllm: dict[str, JsonValue] = Field({}, max_length=40)
    """Further arguments of vLLM's AsyncEngineArgs, by their own names; those that have a setting here, and those that
    the conversation relies on, are refused, and so is a name that the vLLM installed does not know."""

    @model_validator(mode="after")
    def _limits_fit(self) -> LlmSettings:
        if self.max_prompt_tokens + self.max_new_tokens > self.context_tokens:
            raise ValueError(
                f"max_prompt_tokens + max_new_tokens must be at most context_tokens ({self.context_tokens}), "
                f"got {self.max_prompt_tokens} + {self.max_new_tokens}"
            )
        for name in self.vllm:
            if name in OWNED_ARGUMENTS:
                raise ValueError(f"vllm.{name}: has a setting of its own; expected {OWNED_ARGUMENTS[name]} instead")
            if name in FIXED_ARGUMENTS:
                raise ValueError(f"vllm.{name}: is set by Trunkline, which relies on it; remove it")
        return self
