"""A reply's record, from candidate to heard, and the models that make one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.endpointing import ENDED_BY_MODEL
from pipeline.plan import Clause, Plan
from pipeline.ports import LanguageModel, Router, Speaker, Transcriber, TurnScorer, UnderstandingModel
from pipeline.tiering import Pace
from pipeline.understanding.settings import UnderstandingPolicy

if TYPE_CHECKING:
    from pipeline.cast import Role


@dataclass(frozen=True, slots=True)
class CallModels:
    """The models a call uses."""

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


@dataclass(slots=True, eq=False)
class Reply:
    """A reply, from candidate to heard."""

    turn: int
    number: int
    role: Role
    """Who answers."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the turn is decided; nothing is audible before."""
    task: asyncio.Task[None] | None = None
    planned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the words and what to answer are known, or cannot be."""
    not_a_turn: bool = False
    """What it would answer is noise or a backchannel over a reply that it silenced."""
    plan: Plan | None = None
    clauses: list[Clause] = field(default_factory=list)
    probability: float | None = None
    """Smart Turn's last word on the turn it answers."""
    speculates: bool = False
    """It is made ahead of the decision, on the gateway's budget for that."""
    ready: bool = False
    """Its first audio is there."""
    said: bool = False
    """Some of it has gone to the line."""
    audible: bool = False
    held: bool = False
    """Speech over it has silenced it; whether it goes on is not known yet."""

    @property
    def can_be_soon(self) -> bool:
        """Whether it could be heard about now if the turn were over: its words are there, and end the turn."""
        if self.plan is None or self.plan.words not in ENDED_BY_MODEL:
            return False
        return self.ready or self.plan.fact is None

    def clause_id(self) -> str:
        return f"t{self.turn}.{self.number}.c{len(self.clauses)}"
