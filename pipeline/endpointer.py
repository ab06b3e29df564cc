"""Asks Smart Turn, weighs the evidence, and writes down what was concluded."""

from __future__ import annotations

import asyncio
from typing import Literal

from models.types import FloatAudio, ModelFailure
from pipeline import events as ev
from pipeline.agent import TurnTaking
from pipeline.clock import Clock, since_ms
from pipeline.endpointing import Evidence, is_over
from pipeline.ports import TurnScorer
from pipeline.reply import Reply

Reason = Literal["model", "timeout", "too_long"]


class Endpointer:
    """One call's judge of when the caller has finished."""

    def __init__(
        self, scorer: TurnScorer, settings: TurnTaking, log: ev.EventLog, clock: Clock, *, timeout_s: float
    ) -> None:
        self._scorer = scorer
        self._settings = settings
        self._log = log
        self._clock = clock
        self._timeout_s = timeout_s

    async def score(self, candidate: Reply, silence_ms: int, audio: FloatAudio) -> None:
        """Ask Smart Turn about the turn so far. If it fails, silence decides."""
        began_s = self._clock.now_s()
        try:
            async with asyncio.timeout(self._timeout_s):
                probability = await self._scorer.end_of_turn_probability(audio)
        except (ModelFailure, TimeoutError) as error:
            text = str(error) or "no answer in time"
            self._log.append(
                ev.StageFailed(turn=candidate.turn, stage="turn_score", error=f"{type(error).__name__}: {text}")
            )
            return
        took_ms = since_ms(self._clock, began_s)
        self._log.append(
            ev.EndpointScored(turn=candidate.turn, silence_ms=silence_ms, probability=probability, took_ms=took_ms)
        )
        candidate.probability = probability

    def conclude(self, candidate: Reply, silence_ms: int, speech_end_s: float) -> bool:
        """Whether the turn is over, by all that is known of it now."""
        words = candidate.plan.words if candidate.plan is not None else "may_go_on"
        evidence = Evidence(silence_ms=silence_ms, probability=candidate.probability, words=words)
        if candidate.decide_at_once or is_over(evidence, self._settings):
            reason: Reason = "timeout" if silence_ms >= self._settings.timeout_ms else "model"
            self.decided(candidate, reason, silence_ms, speech_end_s)
            return True
        self._log.append(
            ev.EndpointHeld(
                turn=candidate.turn, silence_ms=silence_ms, probability=candidate.probability, words=evidence.words
            )
        )
        return False

    def decided(self, candidate: Reply, reason: Reason, silence_ms: int, speech_end_s: float) -> None:
        """Write the decision down, with its evidence."""
        self._log.append(
            ev.TurnDecided(
                turn=candidate.turn,
                reason=reason,
                speech_end_s=speech_end_s,
                silence_ms=silence_ms,
                probability=candidate.probability,
                words=candidate.plan.words if candidate.plan is not None else "",
            )
        )
