"""Stack files: the pools of replicas, one for each model, and what is set of each."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.llm_settings import CpuEngine, CudaEngine, LlmSettings
from models.settings import StrictModel
from models.types import ComputeType, Device
from pipeline.understanding.settings import UnderstandingPolicy
from serve.hosted.settings import HearingFallback, LanguageModelFallback, SpeechFallback
from serve.pools import PlacementSettings, ScalingSettings

MemoryMb = Annotated[int, Field(gt=0, le=4_000_000)]


class Deployment(StrictModel):
    """What every Serve deployment of a model has."""

    weights: str
    """A name of `trunkline models list`, or one's own: a folder (./FOLDER, seen from the stack file),
    hf:OWNER/NAME@REVISION, or FILE.yaml#NAME."""
    device: Device = "cpu"
    """Where it computes; 'cuda' wants `gpus` in the stack file and an environment made with the extra 'gpu'."""
    replicas: int = Field(1, ge=1, le=256)
    """Copies of the deployment; each loads the weights once."""
    scaling: ScalingSettings | None = None
    """None: always `replicas`."""
    placement: PlacementSettings = PlacementSettings()
    surge: bool = True
    """In an upgrade the new replicas are up before the old ones end; false where there is no room for both, as on a
    card that is full: then rules, lines and texts as written stand in while the new ones load."""
    memory_mb: MemoryMb
    """What one replica takes once warm; the sum over the stack is compared with the memory available before a start."""
    gpu_memory_mb: MemoryMb | None = None
    """On a GPU: what one replica takes of its card once warm, with CUDA's own half gigabyte; the sum is compared with
    `gpus` when the file is read."""
    num_cpus: float = Field(0.0, ge=0)
    """What Ray reserves for one replica; 0 shares the cores."""
    num_gpus: float | None = Field(None, gt=0, le=16)
    """On a GPU: what Ray reserves for one replica; None: the share that `gpu_memory_mb` has of a card, or whole cards
    for an engine on several."""
    max_ongoing_requests: int = Field(32, ge=1)
    """Requests in one replica at a time; more wait at the caller."""
    health_check_period_s: float = Field(5.0, gt=0)
    """How often Serve asks a replica whether it is well."""
    health_check_timeout_s: float = Field(20.0, gt=0)
    """An answer later than this counts as a failed check; three in a row restart the replica."""
    timeout_s: float = Field(gt=0)
    """The gateway waits this long for a whole unary answer, or for each next piece of a stream."""

    @property
    def cards(self) -> int:
        """GPUs that one replica computes on."""
        return 1 if self.device == "cuda" else 0

    @property
    def least_replicas(self) -> int:
        """Replicas that are there from the start."""
        return self.scaling.least if self.scaling else self.replicas

    @model_validator(mode="after")
    def _device_fits(self) -> Self:
        if self.scaling is not None and self.replicas != 1:
            raise ValueError("replicas: scaling says how many there are; remove one of the two")
        if self.device == "cpu":
            for name in ("num_gpus", "gpu_memory_mb"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name}: a replica on the CPU takes nothing of a GPU; set device: cuda, or remove it"
                    )
            return self
        if self.gpu_memory_mb is None:
            raise ValueError("gpu_memory_mb: missing; with device: cuda it says what one replica takes of its card")
        if self.cards > 1 and self.num_gpus not in (None, self.cards):
            raise ValueError(
                f"num_gpus: an engine on {self.cards} GPUs (tensor_parallel_size) takes as many whole cards; "
                f"expected {self.cards} or nothing, got {self.num_gpus:g}"
            )
        if self.cards == 1 and self.num_gpus is not None and self.num_gpus > 1:
            raise ValueError(
                f"num_gpus: a replica on one GPU takes at most 1, got {self.num_gpus:g}; "
                "an engine on several sets engine.cuda.tensor_parallel_size"
            )
        return self


class EngineDeployment(Deployment):
    """One vLLM engine a replica."""

    engine: LlmSettings = LlmSettings()
    """The engine's own settings."""

    @property
    def cards(self) -> int:
        return self.engine.cuda.tensor_parallel_size if self.device == "cuda" else 0

    @model_validator(mode="after")
    def _engine_fits(self) -> Self:
        engine = self.engine
        if self.device == "cpu":
            if engine.cuda != CudaEngine():
                raise ValueError("engine.cuda: is heeded with device: cuda only; set that, or remove it")
            return self
        if engine.cpu != CpuEngine():
            raise ValueError("engine.cpu: is heeded with device: cpu only; remove it")
        if engine.prompt_lookup_tokens and engine.cuda.async_scheduling:
            raise ValueError(
                "engine.prompt_lookup_tokens: vLLM cannot plan a step ahead of guesses made from the prompt; "
                "set it to 0, or engine.cuda.async_scheduling to false"
            )
        if self.gpu_memory_mb is not None and engine.kv_cache_mb >= self.gpu_memory_mb:
            raise ValueError(
                f"engine.kv_cache_mb: expected less than gpu_memory_mb ({self.gpu_memory_mb}), which holds the weights "
                f"too, got {engine.kv_cache_mb}"
            )
        return self


class WhisperSettings(StrictModel):
    """One set of Whisper's weights."""

    weights: str
    """As of a deployment."""
    window: Literal["entry", "full"] = "entry"
    """'entry': the decoding window follows the weights' own policy in the registry; 'full': always 30 s."""


class SpeechToTextSettings(Deployment):
    """Whisper by CTranslate2."""

    threads: int = Field(2, ge=1, le=256)
    """Compute threads of one batch; on a GPU, of the sound's preparation."""
    compute_type: ComputeType | None = None
    """Arithmetic of CTranslate2; None: int8 on CPUs, float16 on GPUs."""
    window: Literal["entry", "full"] = "entry"
    """'entry': the decoding window follows the weights' own policy in the registry; 'full': always 30 s."""
    max_batch_size: int = Field(4, ge=1, le=64)
    """Turns of different calls decoded together."""
    batch_wait_ms: float = Field(2.0, ge=0, le=100)
    """How long the first turn of a batch waits for company."""
    partials: WhisperSettings | None = None
    """Smaller weights beside it, in the same replica, that hear turns under way; None: the same hear all."""
    fallback: HearingFallback | None = None
    """None: nothing stands in for it (docs/fallback.md)."""

    @property
    def whole(self) -> WhisperSettings:
        """What hears whole turns."""
        return WhisperSettings(weights=self.weights, window=self.window)

    @property
    def arithmetic(self) -> ComputeType:
        """The compute type that holds."""
        return self.compute_type or ("int8" if self.device == "cpu" else "float16")

    @model_validator(mode="after")
    def _arithmetic_fits(self) -> Self:
        if self.device == "cuda" and self.arithmetic.startswith("int"):
            raise ValueError(
                f"compute_type: {self.arithmetic} on a GPU gives wrong text or fails with newer cuBLAS "
                "(CTranslate2 #1865, #1937); expected float16, bfloat16 or float32"
            )
        if self.device == "cpu" and self.arithmetic in ("float16", "int8_float16"):
            raise ValueError(
                f"compute_type: CPUs do not compute in float16, got {self.arithmetic}; expected int8 or float32"
            )
        return self


class LanguageModelSettings(EngineDeployment):
    """A language model that words, and leads free conversations."""

    implementation: str = Field("serve.deployments:LanguageModel", pattern=r"^\w+(\.\w+)*:\w+$")
    """Class of the deployment, as module:class; another one must take these settings and have the same methods."""
    fallback: LanguageModelFallback | None = None
    """None: nothing stands in for it (docs/fallback.md)."""


class AliasSettings(StrictModel):
    """The engine of another deployment answers in its place."""

    alias_of: Literal["small_language_model", "understanding"]
    """Whose engine."""
    timeout_s: float | None = Field(None, gt=0)
    """Wait this long for each next piece; None: as long as for the deployment's own answers."""
    fallback: LanguageModelFallback | None = None
    """None: nothing stands in for it (docs/fallback.md)."""


class RouterSettings(Deployment):
    """Sentence embedding and a linear head."""

    threads: int = Field(1, ge=1, le=64)
    """Compute threads of one utterance."""

    @model_validator(mode="after")
    def _stays_on_cpus(self) -> Self:
        if self.device == "cuda":
            raise ValueError(
                "device: the router takes a few milliseconds of a CPU and has no way to a GPU; expected cpu"
            )
        return self


class UnderstandingSettings(EngineDeployment):
    """A language model that judges what callers mean, wherever the router is not sure."""

    profile: Literal["one_step", "structured"] = "one_step"
    """'one_step': a meaning is chosen by its first token, after examples as turns of a chat; for small models.
    'structured': all that is meant is written down within a grammar; for models of some 4 billion parameters on."""
    examples: int = Field(3, ge=0, le=20)
    """Of each meaning, shown to the model at most; each costs some twenty tokens of its cached prompt."""
    fast_path: float = Field(0.9, ge=0, le=1.01)
    """From this share of the nearest examples' votes on, the model is not asked; above 1: it is always asked."""

    def policy(self) -> UnderstandingPolicy:
        """What a call must know of it."""
        return UnderstandingPolicy(fast_path=self.fast_path, timeout_s=self.timeout_s)


class TextToSpeechSettings(Deployment):
    """Kokoro."""

    implementation: Literal["onnx", "torch"] = "onnx"
    """'onnx': ONNX Runtime on CPUs, one clause at a time. 'torch': on GPUs, windows of several calls' clauses together;
    it runs on CPUs too, slower."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Arithmetic of 'torch'; the ONNX graph brings its own."""
    threads: int = Field(2, ge=1, le=256)
    """Compute threads of one clause on CPUs."""
    mode: Literal["windowed", "whole"] = "windowed"
    """'windowed': the vocoder runs in growing windows, the first audio leaves early; 'whole': once, as published."""
    max_batch_size: int = Field(8, ge=1, le=64)
    """Windows of different calls that 'torch' computes together."""
    fallback: SpeechFallback | None = None
    """None: nothing stands in for it (docs/fallback.md)."""

    @model_validator(mode="after")
    def _implementation_fits(self) -> Self:
        if self.implementation == "onnx" and self.device == "cuda":
            raise ValueError("implementation: onnx computes on CPUs only; expected torch with device: cuda")
        if self.implementation == "onnx" and self.dtype != "float32":
            raise ValueError("dtype: the ONNX graph brings its own arithmetic; remove it, or set implementation: torch")
        return self
