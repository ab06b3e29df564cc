"""Stack files: what runs where. `configs/stacks/*.yaml` is read into these models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, JsonValue, model_validator

from models.references import placed
from models.registry import Kind
from models.settings import SettingsError, StrictModel, load_mapping, settings_from
from models.sources import WeightsError
from models.types import Tier
from pipeline.partials import When
from serve.deployment_settings import (
    AliasSettings,
    Deployment,
    EngineDeployment,
    LanguageModelSettings,
    MemoryMb,
    RouterSettings,
    SpeechToTextSettings,
    TextToSpeechSettings,
    UnderstandingSettings,
)
from serve.hosted.settings import AnyHosted, LanguageModelFallback
from serve.pools import GpusSettings, OnCards, PlacementSettings, ScalingSettings, check_cards, share

STACKS = Path(__file__).resolve().parent.parent / "configs" / "stacks"
EMBEDDED_STACK = STACKS / "embedded.yaml"
WORDS_STACK = STACKS / "embedded-words.yaml"


class VoiceActivitySettings(StrictModel):
    """Silero VAD; runs inside the gateway, frame by frame."""

    weights: str
    """As of a deployment."""


class TurnScorerSettings(StrictModel):
    """Smart Turn; runs inside the gateway, in a thread."""

    weights: str
    """As of a deployment."""
    threads: int = Field(1, ge=1, le=64)
    """Compute threads of one score."""


class PartialsSettings(StrictModel):
    """Transcripts of turns under way, beside those that a caller's silence begins: these are made in any case."""

    when: When = "always"
    """'always': as often as the agent's `partial_every_ms` says; 'idle': while the transcriber has room for them;
    'never': not at all."""
    most_a_second: float = Field(20.0, gt=0, le=1000)
    """If 'idle': over all calls of a gateway's replica."""
    at_once: int = Field(16, ge=1, le=256)
    """If 'idle': waited for at a time, over all calls of a gateway's replica."""
    slow_ms: float = Field(500.0, gt=0, le=10_000)
    """If 'idle': after an answer of the transcriber that took longer, they are made half as often; within ten seconds
    of quicker ones they come back."""


class GatewaySettings(StrictModel):
    """The process that holds the calls."""

    host: str = "127.0.0.1"
    """Address to listen on; a tunnel or TLS proxy on the same machine reaches 127.0.0.1."""
    port: int = Field(8080, ge=1024, le=65000)
    """The first replica listens here, the next ones on the ports that follow."""
    replicas: int = Field(1, ge=1, le=64)
    """Processes that take calls."""
    scaling: ScalingSettings | None = None
    """None: always `replicas`."""
    placement: PlacementSettings = PlacementSettings()
    memory_mb: MemoryMb = 800
    """What one replica takes with `max_calls` calls."""
    max_calls: int = Field(4, ge=1, le=256)
    """Calls one replica holds. All that answer one public URL over one `store` share their places; one call more than
    they have is told that all lines are busy."""
    guesses_at_once: int = Field(2, ge=0, le=256)
    """Replies that one replica's calls may prepare at once before their turns are decided; 0: none."""
    prefill_on_partials: bool = False
    """While the caller speaks, route each stable partial and have the language model read the prompt that it leads to.
    Pays on a GPU and with long prompts; on two cores it takes the transcriber's (bench/results/LATENCY.md)."""
    partials: PartialsSettings = PartialsSettings()
    """How often the words of turns under way are asked for."""
    wasted_guesses: float = Field(0.75, ge=0, le=1)
    """If more than this share of them is thrown away, only every fourth is still made."""
    max_message_bytes: int = Field(65_536, ge=1024, le=1_000_000)
    """A larger WebSocket message ends the call it came on."""
    token_lifetime_s: float = Field(60.0, gt=0, le=3600)
    """A media stream must begin this soon after its webhook was answered."""
    drain_s: float = Field(960.0, ge=0)
    """A replica that is being replaced keeps its calls this long; at least the longest call."""
    runs_dir: Path = Path("runs")
    """Each call's recording, events and report are saved in a folder below."""
    store: str | None = None
    """Where the states of calls under way, their places and the record of writes are kept: sqlite:///FILE, or for
    gateways on several machines postgresql://USER:PASSWORD@HOST/NAME. None: the environment's TRUNKLINE_STORE, else
    calls.db in `runs_dir`."""
    record: bool = True
    """Save a stereo WAV of each call."""
    loop_lag_sample_ms: float = Field(50.0, ge=5, le=1000)
    """How often the event loop's lag is measured."""


class VariantSettings(StrictModel):
    """Another version of the agent, and its share of the calls."""

    agent: Path
    """Relative to the repository's root, or absolute."""
    percent: float = Field(gt=0, le=100)
    """Of all calls."""


class BackOfficeSettings(StrictModel):
    """A stand-in for the business's own systems, started beside the stack: for demos and tests."""

    name: Literal["dental", "logistics", "salon"]
    """Which one of bench/backoffice."""
    port: int = Field(8090, ge=1024, le=65000)
    """Where the agent's connections expect it on this machine; if the port is taken, both go to another."""


class RaySettings(StrictModel):
    """The Ray node that a single-machine stack starts for itself."""

    num_cpus: int = Field(2, ge=1)
    """Cores Ray believes in."""
    object_store_mb: int = Field(96, ge=80)
    """Shared memory for large objects; a call's hops stay far below it."""
    overhead_mb: MemoryMb = 900
    """What Ray's own processes take (store, scheduler, Serve's controller and proxy)."""


_KINDS: dict[str, Kind] = {
    "SmallLanguageModel": "llm",
    "LargeLanguageModel": "llm",
    "Understanding": "llm",
    "SpeechToText": "whisper",
    "TextToSpeech": "voice",
    "Router": "encoder",
}
"""What each deployment's weights are."""


class StartSettings(StrictModel):
    """How a stack comes up."""

    timeout_s: float = Field(300.0, ge=10, le=7200)
    """A stack that is not ready by then has failed to start; engines on a GPU may need a quarter of an hour the first
    time, while kernels and graphs are compiled."""


@dataclass(frozen=True, slots=True)
class EngineAt:
    """A language model of a stack, wherever it runs."""

    deployment: str
    """Its name in Serve."""
    settings: EngineDeployment
    timeout_s: float


class Stack(StrictModel):
    """One stack file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """What it is called in logs and reports."""
    agent: Path
    """The agent that answers; relative to the repository's root, or absolute."""
    variants: tuple[VariantSettings, ...] = ()
    """Versions of the agent that take a share of the calls each, for a comparison; `agent` takes the rest."""
    gateway: GatewaySettings = GatewaySettings()
    gpus: GpusSettings | None = None
    """None: every model computes on CPUs."""
    start: StartSettings = StartSettings()
    ray: RaySettings = RaySettings()
    back_office: BackOfficeSettings | None = None
    """None: the agent's connections lead to real systems."""
    voice_activity: VoiceActivitySettings
    turn_scorer: TurnScorerSettings
    speech_to_text: SpeechToTextSettings
    router: RouterSettings
    understanding: UnderstandingSettings | None = None
    """None: the router decides what callers mean, by rules."""
    small_language_model: LanguageModelSettings | AliasSettings
    """Words answers."""
    large_language_model: LanguageModelSettings | AliasSettings
    """Words what an agent's `model_selection` or a route gives it, and leads free conversations."""
    text_to_speech: TextToSpeechSettings

    @model_validator(mode="after")
    def _fits_together(self) -> Stack:
        if self.gateway.port + self.gateway.replicas > 65_535:
            raise ValueError("gateway: port + replicas goes past 65535; choose a lower port")
        if (given := sum(variant.percent for variant in self.variants)) > 100:
            raise ValueError(f"variants: expected shares of 100 percent at most in all, got {given:g}")
        for name, model in (("small", self.small_language_model), ("large", self.large_language_model)):
            match model:
                case AliasSettings(alias_of="understanding") if self.understanding is None:
                    raise ValueError(f"{name}_language_model: an alias of understanding, of which the stack has none")
                case AliasSettings(alias_of="small_language_model") if name == "small":
                    raise ValueError("small_language_model: an alias of itself; expected settings, or understanding")
        for tier in get_args(Tier):
            self._check_stand_in(tier)
        kinds: dict[str, Kind] = {}
        for weights, kind, place in self._places():
            if kinds.setdefault(weights, kind) != kind:
                raise ValueError(f"weights {weights!r}: {place} takes {kind} weights, another place {kinds[weights]}")
        self._check_gpus()
        return self

    def _check_gpus(self) -> None:
        on_gpus = {name: part for name, part in self.deployments().items() if part.device == "cuda"}
        if self.gpus is None:
            if on_gpus:
                raise ValueError(
                    f"gpus: missing; {', '.join(on_gpus)} shall compute on a GPU, of which nothing is said"
                )
            return
        if not on_gpus:
            raise ValueError("gpus: no model of this stack computes on one; set device: cuda, or remove it")
        check_cards(
            [
                OnCards(name, part.gpu_memory_mb or 0, self.gpu_share(part))
                for name, part in on_gpus.items()
                for _ in range(part.least_replicas)
            ],
            self.gpus,
        )

    def gpu_share(self, deployment: Deployment) -> float:
        """What Ray reserves of GPUs for one replica."""
        if self.gpus is None or deployment.device == "cpu":
            return 0.0
        if deployment.num_gpus is not None:
            return deployment.num_gpus
        return float(deployment.cards) if deployment.cards > 1 else share(deployment.gpu_memory_mb or 0, self.gpus)

    def language_model(self, tier: Tier) -> EngineAt:
        """What answers for the small or the large language model."""
        model = self.small_language_model if tier == "small" else self.large_language_model
        if isinstance(model, LanguageModelSettings):
            return EngineAt(f"{tier.capitalize()}LanguageModel", model, model.timeout_s)
        found = self._engine(model.alias_of)
        return replace(found, timeout_s=model.timeout_s or found.timeout_s)

    def _engine(self, name: Literal["small_language_model", "understanding"]) -> EngineAt:
        if name == "small_language_model":
            return self.language_model("small")
        assert self.understanding is not None
        return EngineAt("Understanding", self.understanding, self.understanding.timeout_s)

    def fallback(self, tier: Tier) -> LanguageModelFallback | None:
        """What is said of a stand-in for the small or the large language model."""
        return (self.small_language_model if tier == "small" else self.large_language_model).fallback

    def stand_in(self, tier: Tier) -> EngineAt | None:
        """The engine of the stack that stands in for it; None: none does, or a hosted one."""
        found = self.fallback(tier)
        return self._engine(found.deployment) if found is not None and found.deployment is not None else None

    def hosted(self) -> dict[str, AnyHosted]:
        """Models that others run, by the part of the stack for which they stand in."""
        parts = {
            "speech_to_text": self.speech_to_text.fallback,
            "text_to_speech": self.text_to_speech.fallback,
            **{f"{tier}_language_model": self.fallback(tier) for tier in get_args(Tier)},
        }
        return {name: part.hosted for name, part in parts.items() if part is not None and part.hosted is not None}

    def _check_stand_in(self, tier: Tier) -> None:
        found, place = self.fallback(tier), f"{tier}_language_model.fallback.deployment"
        if found is None or found.deployment is None:
            return
        if found.deployment == "understanding" and self.understanding is None:
            raise ValueError(f"{place}: the stack has no understanding")
        if found.deployment == f"{tier}_language_model":
            raise ValueError(f"{place}: it would stand in for itself")
        if self._engine(found.deployment).deployment == self.language_model(tier).deployment:
            raise ValueError(f"{place}: both are one engine, and fail together; expected another one, or `hosted`")

    def deployments(self) -> dict[str, Deployment]:
        """The Serve deployments of the models application, by their name in Serve."""
        parts: dict[str, Deployment | AliasSettings | None] = {
            "SmallLanguageModel": self.small_language_model,
            "LargeLanguageModel": self.large_language_model,
            "Understanding": self.understanding,
            "SpeechToText": self.speech_to_text,
            "TextToSpeech": self.text_to_speech,
            "Router": self.router,
        }
        return {name: part for name, part in parts.items() if isinstance(part, Deployment)}

    def weights(self) -> dict[str, Kind]:
        """All weights the stack needs, by what its file calls them, and what their places take."""
        return {weights: kind for weights, kind, _ in self._places()}

    def _places(self) -> Iterator[tuple[str, Kind, str]]:
        """Weights, kind, place."""
        for name, deployment in self.deployments().items():
            yield deployment.weights, _KINDS[name], name
        if (partials := self.speech_to_text.partials) is not None:
            yield partials.weights, "whisper", "speech_to_text.partials"
        yield self.voice_activity.weights, "vad", "voice_activity"
        yield self.turn_scorer.weights, "turn", "turn_scorer"

    def max_prompt_tokens(self) -> int:
        """The longest prompt that every language model of the stack takes."""
        return min(self.language_model(tier).settings.engine.max_prompt_tokens for tier in get_args(Tier))

    def memory_mb(self) -> int:
        """What the whole stack takes."""
        models = sum(deployment.memory_mb * deployment.least_replicas for deployment in self.deployments().values())
        return models + self.gateway.memory_mb * self.gateway.replicas + self.ray.overhead_mb + self.ray.object_store_mb


def load_stack(path: Path) -> Stack:
    """Read a stack file; the paths of its weights are seen from where it lies.

    Raises models.settings.SettingsError naming file, key and what was expected.
    """
    data = load_mapping(path)
    return settings_from({key: _placed(value, key, path) for key, value in data.items()}, Stack, str(path))


def _placed(part: JsonValue, key: str, file: Path) -> JsonValue:
    if not isinstance(part, dict):
        return part
    part = {name: _placed(inner, f"{key}.{name}", file) for name, inner in part.items()}
    if not isinstance(weights := part.get("weights"), str):
        return part
    try:
        return part | {"weights": placed(weights, file.parent.resolve())}
    except WeightsError as error:
        raise SettingsError(f"{file}: {key}.weights: {error}") from error
