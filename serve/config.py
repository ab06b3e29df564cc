"""Stack files: what runs where. `configs/stacks/*.yaml` is read into these models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, JsonValue, model_validator

from models.llm import LlmSettings
from models.references import placed
from models.registry import Kind
from models.settings import SettingsError, StrictModel, load_mapping, settings_from
from models.sources import WeightsError
from models.types import Tier
from pipeline.understanding.settings import UnderstandingPolicy

STACKS = Path(__file__).resolve().parent.parent / "configs" / "stacks"
EMBEDDED_STACK = STACKS / "embedded.yaml"
WORDS_STACK = STACKS / "embedded-words.yaml"

MemoryMb = Annotated[int, Field(gt=0, le=4_000_000)]


class Deployment(StrictModel):
    """What every Serve deployment of a model has."""

    weights: str
    """A name of `trunkline models list`, or one's own: a folder (./FOLDER, seen from the stack file),
    hf:OWNER/NAME@REVISION, or FILE.yaml#NAME."""
    replicas: int = Field(1, ge=1, le=256)
    """Copies of the deployment; each loads the weights once."""
    memory_mb: MemoryMb
    """What one replica takes once warm; the sum over the stack is compared with the memory available before a start."""
    num_cpus: float = Field(0.0, ge=0)
    """What Ray reserves for one replica; 0 shares the cores."""
    num_gpus: float = Field(0.0, ge=0)
    """Share of a GPU that Ray reserves for one replica."""
    max_ongoing_requests: int = Field(32, ge=1)
    """Requests in one replica at a time; more wait at the caller."""
    health_check_period_s: float = Field(5.0, gt=0)
    """How often Serve asks a replica whether it is well."""
    health_check_timeout_s: float = Field(20.0, gt=0)
    """An answer later than this counts as a failed check; three in a row restart the replica."""
    timeout_s: float = Field(gt=0)
    """The gateway waits this long for a whole unary answer, or for each next piece of a stream."""


class SpeechToTextSettings(Deployment):
    """Whisper by CTranslate2."""

    threads: int = Field(2, ge=1, le=256)
    """Compute threads of one batch."""
    compute_type: Literal["int8", "int8_float32", "int8_float16", "float16", "float32"] = "int8"
    """Arithmetic of CTranslate2."""
    window: Literal["entry", "full"] = "entry"
    """'entry': the decoding window follows the weights' own policy in the registry; 'full': always 30 s."""
    max_batch_size: int = Field(4, ge=1, le=64)
    """Turns of different calls decoded together."""
    batch_wait_ms: float = Field(2.0, ge=0, le=100)
    """How long the first turn of a batch waits for company."""


class LanguageModelSettings(Deployment):
    """One vLLM engine a replica."""

    implementation: str = Field("serve.deployments:LanguageModel", pattern=r"^\w+(\.\w+)*:\w+$")
    """Class of the deployment, as module:class; another one must take these settings and have the same methods."""
    engine: LlmSettings = LlmSettings()
    """The engine's own settings."""


class AliasSettings(StrictModel):
    """The engine of another deployment answers in its place."""

    alias_of: Literal["small_language_model", "understanding"]
    """Whose engine."""
    timeout_s: float | None = Field(None, gt=0)
    """Wait this long for each next piece; None: as long as for the deployment's own answers."""


class RouterSettings(Deployment):
    """Sentence embedding and a linear head."""

    threads: int = Field(1, ge=1, le=64)
    """Compute threads of one utterance."""


class UnderstandingSettings(Deployment):
    """A language model that judges what callers mean, wherever the router is not sure; one vLLM engine a replica."""

    profile: Literal["one_step", "structured"] = "one_step"
    """'one_step': a meaning is chosen by its first token, after examples as turns of a chat; for small models.
    'structured': all that is meant is written down within a grammar; for models of some 4 billion parameters on."""
    examples: int = Field(3, ge=0, le=20)
    """Of each meaning, shown to the model at most; each costs some twenty tokens of its cached prompt."""
    fast_path: float = Field(0.9, ge=0, le=1.01)
    """From this share of the nearest examples' votes on, the model is not asked; above 1: it is always asked."""
    engine: LlmSettings = LlmSettings()
    """The engine's own settings."""

    def policy(self) -> UnderstandingPolicy:
        """What a call must know of it."""
        return UnderstandingPolicy(fast_path=self.fast_path, timeout_s=self.timeout_s)


class TextToSpeechSettings(Deployment):
    """Kokoro by ONNX Runtime."""

    threads: int = Field(2, ge=1, le=256)
    """Compute threads of one clause."""
    mode: Literal["windowed", "whole"] = "windowed"
    """'windowed': the vocoder runs in growing windows, the first audio leaves early; 'whole': once, as published."""


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


class GatewaySettings(StrictModel):
    """The process that holds the calls."""

    host: str = "127.0.0.1"
    """Address to listen on; a tunnel or TLS proxy on the same machine reaches 127.0.0.1."""
    port: int = Field(8080, ge=1024, le=65000)
    """The first replica listens here, the next ones on the ports that follow."""
    replicas: int = Field(1, ge=1, le=64)
    """Processes that take calls."""
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


@dataclass(frozen=True, slots=True)
class EngineAt:
    """A language model of a stack, wherever it runs."""

    deployment: str
    """Its name in Serve."""
    settings: LanguageModelSettings | UnderstandingSettings
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
        kinds: dict[str, Kind] = {}
        for weights, kind, place in self._places():
            if kinds.setdefault(weights, kind) != kind:
                raise ValueError(f"weights {weights!r}: {place} takes {kind} weights, another place {kinds[weights]}")
        return self

    def language_model(self, tier: Tier) -> EngineAt:
        """What answers for the small or the large language model."""
        model = self.small_language_model if tier == "small" else self.large_language_model
        if isinstance(model, LanguageModelSettings):
            return EngineAt(f"{tier.capitalize()}LanguageModel", model, model.timeout_s)
        if model.alias_of == "small_language_model":
            found = self.language_model("small")
        else:
            assert self.understanding is not None
            found = EngineAt("Understanding", self.understanding, self.understanding.timeout_s)
        return replace(found, timeout_s=model.timeout_s or found.timeout_s)

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
        yield self.voice_activity.weights, "vad", "voice_activity"
        yield self.turn_scorer.weights, "turn", "turn_scorer"

    def max_prompt_tokens(self) -> int:
        """The longest prompt that every language model of the stack takes."""
        return min(self.language_model(tier).settings.engine.max_prompt_tokens for tier in get_args(Tier))

    def memory_mb(self) -> int:
        """What the whole stack takes."""
        models = sum(deployment.memory_mb * deployment.replicas for deployment in self.deployments().values())
        return models + self.gateway.memory_mb * self.gateway.replicas + self.ray.overhead_mb + self.ray.object_store_mb


def load_stack(path: Path) -> Stack:
    """Read a stack file; the paths of its weights are seen from where it lies.

    Raises models.settings.SettingsError naming file, key and what was expected.
    """
    data = load_mapping(path)
    return settings_from({key: _placed(value, key, path) for key, value in data.items()}, Stack, str(path))


def _placed(part: JsonValue, key: str, file: Path) -> JsonValue:
    if not isinstance(part, dict) or not isinstance(weights := part.get("weights"), str):
        return part
    try:
        return part | {"weights": placed(weights, file.parent.resolve())}
    except WeightsError as error:
        raise SettingsError(f"{file}: {key}.weights: {error}") from error
