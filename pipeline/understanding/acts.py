"""What an utterance means for the call, as data. Whoever understood it says how sure he is and how he came to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.agent import Fact, Route

ANSWER, CHANGE, WAIT, UNKNOWN = "answer", "change", "wait", "other"
"""Labels of what every agent understands."""

Way = Literal["fast", "model", "rules"]
"""Who decided. 'fast': the router, being sure; 'model': a language model; 'rules': the router, for want of a model."""


@dataclass(frozen=True, slots=True)
class AsksFact:
    """Wants to know what a fact tells."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Wishes:
    """Wants what a route of the agent does: begin a flow, a person, call it off, say it again, goodbye, ..."""

    route: Route


@dataclass(frozen=True, slots=True)
class Answers:
    """Gives, or may give, what was asked for; the readers of values know."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Wants something of what was said before otherwise; the readers of values find out what."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Asks for a moment, or talks to somebody else."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing that this agent knows or does."""


DialogueAct = AsksFact | Wishes | Answers | Changes | Waits | Unknown


@dataclass(frozen=True, slots=True)
class Understood:
    """An utterance's acts, the weightiest first; at least one."""

    acts: tuple[DialogueAct, ...]
    confidence: float
    """Of the first act, in [0, 1]."""
    way: Way = "rules"
    answers: float | None = None
    """Probability that the words answer what was asked; None: nobody looked."""
    otherwise: tuple[DialogueAct, float] | None = None
    """What it means if it is no answer to what was asked, and how probably then; None: nobody looked."""
    closeness: float | None = None
    """By how much the nearest fact is nearer than the next (cosine); None: there are no two."""
    doubted: Wishes | None = None
    """A wish that is likelier than the first act, and too uncertain to be granted unasked."""
    label: str = ""
    """How the first act is called in logs."""

    @property
    def act(self) -> DialogueAct:
        """The weightiest."""
        return self.acts[0]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All that are asked for, in the order in which they were."""
        return tuple(act.fact for act in self.acts if isinstance(act, AsksFact))
