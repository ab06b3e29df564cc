"""What a call needs of the world, as small protocols: models on one side, the telephone line on the other.

A call runs the same with Ray handles, in-process models, or fakes under a virtual clock.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Protocol

from models.types import (
    FloatAudio,
    GenerateRequest,
    Judgement,
    Languages,
    RouteDecision,
    Situation,
    SpeechChunk,
    Transcript,
)


class Transcriber(Protocol):
    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        """The whole turn so far, 16 kHz. Stateless. Finals go before partials. Raises ModelFailure."""
        ...


class Router(Protocol):
    async def route(self, text: str) -> RouteDecision:
        """Label, confidence and the passages of knowledge nearest to the text. Raises ModelFailure."""
        ...


class UnderstandingModel(Protocol):
    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        """What an utterance means, among all that it can mean to the agent. Cancelling aborts. Raises ModelFailure."""
        ...


class LanguageModel(Protocol):
    def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        """The reply, clause by clause. Closing the iterator aborts in the engine. Raises ModelFailure."""
        ...

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        """One reply as JSON that fits the JSON schema. Cancelling aborts in the engine. Raises ModelFailure."""
        ...

    async def prefill(self, request: GenerateRequest) -> None:
        """Warm the engine's prefix cache for a request that is likely to come. Never raises for a full engine."""
        ...


class Speaker(Protocol):
    def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """One clause as audio, first samples early. Closing the iterator stops the work. Raises ModelFailure."""
        ...


class VoiceActivity(Protocol):
    """Speech probability, window by window. Stateful: one instance a call."""

    window_samples: int
    """Samples a window holds, at 16 kHz."""

    def probability(self, window: FloatAudio) -> float: ...

    def reset(self) -> None: ...


class TurnScorer(Protocol):
    async def end_of_turn_probability(self, audio: FloatAudio) -> float:
        """How likely the speaker has finished, from the turn's audio (16 kHz, any length; the last 8 s count)."""
        ...


@dataclass(frozen=True, slots=True)
class HeardClause:
    """How much of one clause reached the caller's ear."""

    clause_id: str
    text: str
    """The words heard, joined by spaces; empty if none."""
    complete: bool


class AudioOutput(Protocol):
    """The way to the caller's ear: paced playout with a ledger of what was heard."""

    def play(self, clause_id: str, chunk: SpeechChunk) -> None:
        """Queue audio of a clause behind what is queued. Returns at once. The clause is marked after its last chunk."""
        ...

    def clear(self) -> tuple[HeardClause, ...]:
        """Silence now: drop what has not been played, here and at the carrier; what was heard of the reply until now.

        Starts a new playback generation: later echoes and audio of the old one count for nothing.
        """
        ...

    def pause(self) -> tuple[HeardClause, ...]:
        """Silence now, as `clear` does, but keep what was not heard, and what is still said, for `resume`."""
        ...

    def resume(self) -> None:
        """Go on after a `pause`, with the first word that was not heard whole."""
        ...

    def heard(self) -> tuple[HeardClause, ...]:
        """What was heard so far of the clauses queued since `start_reply`, in order."""
        ...

    def start_reply(self) -> None:
        """Forget the ledger of the reply before; what follows is a new reply."""
        ...

    async def wait_for_playout(self) -> None:
        """Wait until everything queued has been played (or flushed) at the caller's end."""
        ...

    async def hang_up(self) -> None:
        """End the call at the carrier, after what is queued has been sent."""
        ...


class PlayoutListener(Protocol):
    """What the line tells the call. Called on the event loop; must return at once."""

    def first_audio_sent(self, clause_id: str) -> None:
        """The clause's first audible frame has just gone out on the wire."""
        ...

    def clause_played(self, clause_id: str) -> None:
        """The clause's last word has been played to the caller."""
        ...
