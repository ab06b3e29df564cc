"""Small or large: which language model words an answer, and why."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from models.settings import StrictModel
from models.types import GenerateRequest, ModelFailure, Tier
from pipeline.clock import Clock, since_ms
from pipeline.ports import LanguageModel

ModelOverride = Literal["auto", "small", "large"]
Why = Literal["set", "easy", "unsure", "long", "close_facts", "no_time"]

log = logging.getLogger(__name__)

_SAMPLES = 50
_FEWEST_SAMPLES = 5


class ModelSelection(StrictModel):
    """When the large language model is worth its wait. A route or a node of a flow may set `model` itself."""

    unsure_below: float = Field(0.6, ge=0, le=1)
    """An utterance that was routed with less confidence goes to the large model."""
    long_words: int = Field(24, ge=1)
    """So does one of this many words or more."""
    close_facts: float = Field(0.03, ge=0, le=1)
    """So does one whose two nearest facts are no further apart than this (cosine)."""
    budget_ms: float = Field(450.0, gt=0)
    """The first clause must be expected within this time; if the large model is slower now, the small one answers."""
    small_ms: float = Field(180.0, gt=0)
    """Expected time to the small model's first clause, until it has been measured."""
    large_ms: float = Field(350.0, gt=0)
    """The same of the large model."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The model for one answer."""

    tier: Tier
    why: Why
    expected_ms: float
    """When its first clause is expected."""
    saved_ms: float = 0.0
    """What the large model would have taken longer, if the small one was chosen."""


class Pace:
    """How fast each model has been lately, over all calls of a process: the 95th percentile of the last fifty."""

    def __init__(self) -> None:
        self._took_ms: dict[Tier, deque[float]] = {"small": deque(maxlen=_SAMPLES), "large": deque(maxlen=_SAMPLES)}

    def took(self, tier: Tier, first_clause_ms: float) -> None:
        self._took_ms[tier].append(first_clause_ms)

    def expected_ms(self, tier: Tier, settings: ModelSelection) -> float:
        """From what was measured, once there is enough of it; else from the settings."""
        samples = sorted(self._took_ms[tier])
        if len(samples) < _FEWEST_SAMPLES:
            return settings.small_ms if tier == "small" else settings.large_ms
        return samples[min(len(samples) - 1, int(0.95 * len(samples)))]


def choose(
    settings: ModelSelection, pace: Pace, *, override: ModelOverride, confidence: float, words: int, lead: float | None
) -> Choice:
    """The model for an answer. `lead`: by how much the best fact is nearer than the next; None if there is no other.

    What is set counts. What is easy goes to the small model; what is hard to the large one if that can be in time. An
    unsure route is a hard one: that is the safe side, as long as the caller does not wait for it.
    """
    small_ms, large_ms = pace.expected_ms("small", settings), pace.expected_ms("large", settings)
    saved_ms = max(0.0, large_ms - small_ms)
    if override != "auto":
        tier: Tier = override
        return Choice(tier, "set", small_ms if tier == "small" else large_ms, saved_ms if tier == "small" else 0.0)
    hard: Why | None = None
    if confidence < settings.unsure_below:
        hard = "unsure"
    elif words >= settings.long_words:
        hard = "long"
    elif lead is not None and lead <= settings.close_facts:
        hard = "close_facts"
    if hard is None:
        return Choice("small", "easy", small_ms, saved_ms)
    if large_ms > settings.budget_ms:
        return Choice("small", "no_time", small_ms, saved_ms)
    return Choice("large", hard, large_ms)


class SelectedModel:
    """Both language models as one: a request says which. pipeline.ports.LanguageModel.

    If the large one fails before its first clause, the small one answers instead.
    """

    def __init__(self, small: LanguageModel, large: LanguageModel, pace: Pace, clock: Clock) -> None:
        self._models: dict[Tier, LanguageModel] = {"small": small, "large": large}
        self._pace = pace
        self._clock = clock

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        said = False
        try:
            async with aclosing(self._asked(request.tier, request)) as clauses:
                async for clause in clauses:
                    said = True
                    yield clause
        except ModelFailure as error:
            if said or request.tier == "small":
                raise
            log.warning(
                "request %s: the large language model failed (%s); the small one answers", request.request_id, error
            )
            async with aclosing(self._asked("small", request)) as clauses:
                async for clause in clauses:
                    yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        """Of the model asked for alone: the small one does not stand in where the large one decides something."""
        return await self._models[request.tier].structured(request, schema)

    async def prefill(self, request: GenerateRequest) -> None:
        await self._models[request.tier].prefill(request)

    async def _asked(self, tier: Tier, request: GenerateRequest) -> AsyncGenerator[str, None]:
        began_s = self._clock.now_s()
        first = True
        async with aclosing(self._models[tier].clauses(request)) as clauses:
            async for clause in clauses:
                if first:
                    first = False
                    self._pace.took(tier, since_ms(self._clock, began_s))
                yield clause
