"""What a stack file says of a hosted model that stands in for one of its own. Off unless it is written there."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from models.settings import WITHHELD, StrictModel
from pipeline.fallback import FallbackPolicy
from serve.connectors.connection import Url

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,63}")


def _names_a_variable(given: object) -> object:
    """Anything else might be the key itself, and is not shown."""
    if given is not None and not (isinstance(given, str) and _VARIABLE.fullmatch(given)):
        said = (
            "a key is never written into this file; expected the name of an environment variable, such as "
            "DEEPGRAM_API_KEY"
        )
        raise PydanticCustomError(WITHHELD, said)
    return given


VariableName = Annotated[str, BeforeValidator(_names_a_variable)]
"""Of the environment, where a provider's key is."""
Price = Annotated[float, Field(ge=0)]
"""In whatever currency one's prices are; all of a stack in the same."""


class Hosted(StrictModel):
    """What all providers have."""

    timeout_s: float = Field(4.0, gt=0, le=60)
    """The connection, and then each next piece of an answer, must be there within this time."""
    allow_private: bool = False
    """`base_url` may be plain http and lead to a private network: a server of one's own."""


class HearingCost(StrictModel):
    """What hearing costs."""

    per_minute: Price
    """Of audio that is sent; partial transcripts send the turn's audio again."""


class SpeakingCost(StrictModel):
    """What speech costs."""

    per_1000_characters: Price


class TokenCost(StrictModel):
    """What a language model costs."""

    per_million_in: Price
    """Tokens of prompts."""
    per_million_out: Price
    """Tokens of answers."""


class OpenAiChatSettings(Hosted):
    """A chat completions endpoint as OpenAI defined it: OpenAI, Claude's compatible endpoint, any vLLM server."""

    provider: Literal["openai_chat"]
    model: str = Field(min_length=1)
    """As the endpoint calls it."""
    base_url: Url = "https://api.openai.com/v1"
    """Up to where /chat/completions follows."""
    key_env: VariableName | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; None: the endpoint asks for none."""
    limit_key: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What the endpoint calls the most tokens of an answer; older servers know `max_tokens` only."""
    temperature: bool = True
    """Send the request's temperature; models that reason refuse any but their own."""
    schema_by: Literal["response_format", "prompt"] = "response_format"
    """How an answer is bound to a JSON schema. 'prompt': the schema is told in words and the answer checked, for
    endpoints that pass over `response_format`, as Claude's compatible one does."""
    cost: TokenCost | None = None
    """None: not counted."""


class DeepgramSettings(Hosted):
    """Deepgram hears."""

    provider: Literal["deepgram"]
    model: str = "nova-3"
    way: Literal["request", "stream"] = "request"
    """'request': the turn in one HTTP request. 'stream': over a WebSocket, which Deepgram reads at 1.25 times the speed
    of speech, so that a turn that is sent at once is answered late."""
    base_url: Url = "https://api.deepgram.com"
    key_env: VariableName = "DEEPGRAM_API_KEY"
    """The environment variable that holds the key."""
    cost: HearingCost | None = None
    """None: not counted."""


class AssemblyAiSettings(Hosted):
    """AssemblyAI hears."""

    provider: Literal["assemblyai"]
    way: Literal["request", "stream"] = "request"
    """'request': the turn in one HTTP request. 'stream': over a WebSocket, which wants audio no faster than it is
    spoken and may refuse a turn that is sent at once."""
    model: str | None = None
    """None: 'universal-3-5-pro' by request; 'universal-streaming-english', or with other languages than English
    'universal-streaming-multilingual', by stream."""
    base_url: Url | None = None
    """None: https://sync.assemblyai.com by request, https://streaming.assemblyai.com by stream."""
    key_env: VariableName = "ASSEMBLYAI_API_KEY"
    """The environment variable that holds the key."""
    cost: HearingCost | None = None
    """None: not counted."""


class HostedVoice(Hosted):
    """What all speech has."""

    voice: str = Field(min_length=1)
    """The provider's own name or id of the voice."""
    voices: dict[str, str] = Field(default_factory=dict)
    """Another one for agents whose `voice` is the key."""
    cost: SpeakingCost | None = None
    """None: not counted."""


class ElevenLabsSettings(HostedVoice):
    """ElevenLabs speaks."""

    provider: Literal["elevenlabs"]
    model: str = "eleven_flash_v2_5"
    base_url: Url = "https://api.elevenlabs.io"
    key_env: VariableName = "ELEVENLABS_API_KEY"
    """The environment variable that holds the key."""


class CartesiaSettings(HostedVoice):
    """Cartesia speaks."""

    provider: Literal["cartesia"]
    model: str = "sonic-3"
    language: str = Field("en", pattern=r"^[a-z]{2}$")
    """Of what is spoken."""
    languages: dict[str, str] = Field(default_factory=dict)
    """Another one for agents whose `voice` is the key."""
    base_url: Url = "https://api.cartesia.ai"
    key_env: VariableName = "CARTESIA_API_KEY"
    """The environment variable that holds the key."""


class OpenAiSpeechSettings(HostedVoice):
    """OpenAI speaks, or a server that answers as it does. It tells no times of words; they are spread by length."""

    provider: Literal["openai_speech"]
    model: str = "gpt-4o-mini-tts"
    base_url: Url = "https://api.openai.com/v1"
    """Up to where /audio/speech follows."""
    key_env: VariableName | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; None: the endpoint asks for none."""


HostedHearing = Annotated[DeepgramSettings | AssemblyAiSettings, Field(discriminator="provider")]
HostedSpeech = Annotated[ElevenLabsSettings | CartesiaSettings | OpenAiSpeechSettings, Field(discriminator="provider")]
AnyHosted = OpenAiChatSettings | HostedHearing | HostedSpeech


class StandIn(StrictModel):
    """When another model stands in, whichever it is."""

    cooldown_s: float = Field(10.0, gt=0, le=3600)
    """A model that failed is left alone this long; then one request tries it. Doubled each time that it fails again."""
    longest_cooldown_s: float = Field(300.0, gt=0, le=86_400)
    """It is tried at least this often."""

    def policy(self, budget_ms: float) -> FallbackPolicy:
        return FallbackPolicy(budget_ms / 1000, self.cooldown_s, max(self.cooldown_s, self.longest_cooldown_s))


class HearingFallback(StandIn):
    """What hears while the stack's own transcriber fails."""

    hosted: HostedHearing
    """Somebody else's model. Callers' voices are sent there."""
    budget_ms: float = Field(2000.0, gt=0)
    """A transcript that is not there within this time counts as a failure."""


class SpeechFallback(StandIn):
    """What speaks while the stack's own speaker fails."""

    hosted: HostedSpeech
    """Somebody else's model. What the agent says is sent there."""
    budget_ms: float = Field(1500.0, gt=0)
    """A clause whose first sound is not there within this time counts as a failure."""


class LanguageModelFallback(StandIn):
    """What answers while a language model of the stack fails: another one of the stack, or a hosted one."""

    deployment: Literal["small_language_model", "understanding"] | None = None
    """Another language model of the stack."""
    hosted: OpenAiChatSettings | None = None
    """Somebody else's model. The conversation is sent there."""
    budget_ms: float = Field(1500.0, gt=0)
    """An answer whose first clause is not there within this time counts as a failure."""
    structured_budget_ms: float = Field(4000.0, gt=0)
    """The same of a whole answer as JSON."""

    @model_validator(mode="after")
    def _one(self) -> LanguageModelFallback:
        if (self.deployment is None) == (self.hosted is None):
            raise ValueError("expected one stand-in: either `deployment` or `hosted`")
        return self
