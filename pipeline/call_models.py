"""The models that a call uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.model_selection import Pace
from pipeline.ports import LanguageModel, Router, Speaker, Transcriber, TurnScorer, UnderstandingModel
from pipeline.understanding.settings import UnderstandingPolicy


@dataclass(frozen=True, slots=True)
class CallModels:
    """Of one agent."""

    transcriber: Transcriber
    router: Router
    language_model: LanguageModel
    speaker: Speaker
    turn_scorer: TurnScorer
    pace: Pace = field(default_factory=Pace)
    """How fast the language models have been."""
    understanding: UnderstandingModel | None = None
    """Judges what callers mean; None: the router decides by rules."""
    understanding_policy: UnderstandingPolicy = field(default_factory=UnderstandingPolicy)
