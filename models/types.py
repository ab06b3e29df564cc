"""What crosses from the models to the floors above: plain frozen records, no engine types.

Audio is always mono float32 in [-1, 1] with its rate in the name or beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatAudio = npt.NDArray[np.float32]
"""Mono samples, shape (n,), in [-1, 1]."""

HEARING_RATE_HZ = 16_000
"""Rate of everything the models hear (Silero, Smart Turn, Whisper)."""

SPEAKING_RATE_HZ = 24_000
"""Rate of everything Kokoro speaks."""

Device = Literal["cpu", "cuda"]
"""What a model computes on."""

ComputeType = Literal["int8", "int8_float32", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"]
"""Arithmetic of CTranslate2. int8 is for CPUs: on recent GPUs it fails with some vocabularies."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its place in the audio it belongs to."""

    text: str
    start_s: float
    end_s: float
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Languages:
    """What may be spoken in a turn; ISO 639-1 codes."""

    expected: str = "en"
    others: tuple[str, ...] = ()
    """If there are any, which of them and the expected one it is is detected."""
    settled: bool = False
    """The caller was understood in the expected one before: another one takes more evidence."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a transcriber made of one turn's audio (empty text: nothing was said)."""

    text: str
    words: tuple[Word, ...] = ()
    language: str = "en"
    no_speech_probability: float = 0.0
    average_log_probability: float = 0.0
    """Mean log probability a token; below about -1 the text is a guess."""
    audio_s: float = 0.0
    full_window: bool = False
    """True if a loop or runaway was detected and the turn was decoded again in the 30 s window."""
    draft: bool = False
    """By a smaller model than hears whole turns: good enough to work ahead on, never what was said."""


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A run of synthesised audio of one clause. Chunks of a clause follow one another without gaps."""

    pcm: FloatAudio
    words: tuple[Word, ...] = ()
    """All words of the clause, times relative to the clause's first sample; on the first chunk only."""
    last: bool = True
    sample_rate_hz: int = SPEAKING_RATE_HZ


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


Tier = Literal["small", "large"]


def session_of(request_id: str) -> str:
    """The call that a request belongs to: the same replica's cache holds what its requests begin with."""
    return request_id.partition("/")[0]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One generation. The chat template is applied by the model, once."""

    request_id: str
    """CALL/WHAT, unique among the requests under way."""
    messages: tuple[Message, ...]
    max_tokens: int = 64
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    priority: int = 0
    """Lower runs first."""
    choices: tuple[str, ...] = ()
    """If given, the output is constrained to exactly one of these strings."""
    seed: int | None = None
    tier: Tier = "small"
    """Which of the stack's language models is asked."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a generation, as the engine produced it."""

    text: str
    token_count: int
    finish_reason: str | None = None
    """None until the last delta; then 'stop', 'length' or 'abort'."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of the agent's knowledge found for an utterance."""

    id: str
    text: str
    score: float
    """Cosine similarity to the utterance, in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Meant:
    """What an utterance means, by labelled examples near to it."""

    shares: tuple[tuple[str, float], ...] = ()
    """Labels as `Catalogue` has them, likeliest first; they sum to 1. Empty: there are no examples."""
    nearest: float = -1.0
    """Cosine similarity of the nearest example."""


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """Where an utterance should go, and what the agent knows about it."""

    label: str
    confidence: float
    """Probability of the label, in [0, 1]."""
    passages: tuple[Passage, ...] = ()
    """Best first."""
    meant: Meant = Meant()
    """The same question asked of the catalogue's examples, facts one by one."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One thing that an utterance can mean to an agent."""

    label: str
    """How it is called where acts are made of it; unique in its catalogue."""
    description: str
    """What it is, in words for a language model: a predicate of the caller ("wants a new appointment")."""
    examples: tuple[str, ...] = ()
    """Utterances that mean it."""
    fact: str = ""
    """What is said to it, if it asks for a fact; empty for a wish."""
    in_flow_only: bool = False
    """It can only be meant while the agent waits for an answer."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The agent's last words and what a caller said to them, as an example of a meaning."""

    agent: str
    caller: str
    label: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that an utterance can mean to one agent."""

    business: str
    """Who the agent answers for."""
    meanings: tuple[Meaning, ...]
    exchanges: tuple[Exchange, ...] = ()
    """Examples from the middle of a flow."""


@dataclass(frozen=True, slots=True)
class Situation:
    """An utterance and where it was said."""

    utterance: str
    agent_said: str = ""
    """The agent's last words as heard, if an answer to them is waited for; empty between flows."""
    excluded: tuple[str, ...] = ()
    """Labels that cannot be meant here: what is under way is not wished for again."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an utterance means, as a model sees it."""

    probabilities: tuple[tuple[str, float], ...]
    """Labels of the catalogue, likeliest first; they sum to 1."""
    acts: tuple[str, ...] = ()
    """All that the model found meant, in the order in which it was said; empty: it was not asked for more than one."""


class ModelFailure(RuntimeError):
    """A model could not do what was asked: the engine died, a weight file is missing, an input is out of range."""
