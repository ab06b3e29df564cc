"""How an utterance will be answered, as data: made before it is certain that it will be."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.agent import Fact
from pipeline.clauses import split_clauses
from pipeline.endpointing import Words, sounds_unfinished
from pipeline.events import ReplySource
from pipeline.slots.types import Language
from pipeline.state import CallState
from pipeline.tiering import Choice, Override
from pipeline.tools.calls import ToolCall
from pipeline.understanding.acts import Understood
from pipeline.workflow.engine import Act


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause to be spoken."""

    text: str
    source: ReplySource
    rejected: str = ""
    """What the language model said instead, if the knowledge did not bear it out."""
    failure: str = ""
    """Why the language model could not be asked, if the fact is said as written for want of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an utterance will be answered."""

    utterance: str
    state: CallState | None = None
    """The call's state once this counts; None: as it is."""
    fixed: tuple[Clause, ...] = ()
    """Clauses known at once; said after those of `facts`, if there are any."""
    facts: tuple[Fact, ...] = ()
    """The language model is asked to answer from these, one after another."""
    act: Act | None = None
    """What is done once the turn is decided: a tool is called, the call handed over or ended."""
    waits: bool = False
    """What was begun before must finish first; then its news are said, and the utterance is looked at again."""
    understood: Understood | None = None
    """What the utterance means, for that second look."""
    filler: str = ""
    """Said if the act takes long; else the agent's own filler line is."""
    model: Override = "auto"
    """What route or node say of the language model."""
    choice: Choice | None = None
    """The language model that words the answer from `facts`; None: the small one."""
    unfit: bool = False
    """The utterance did not give what was asked for, as far as the reader sees; `fill` may find it."""
    language: Language = "en"
    ending: Words = "complete"
    """What the answer found tells of the turn's end; see `words`."""

    @property
    def fact(self) -> Fact | None:
        """The first that is asked for."""
        return self.facts[0] if self.facts else None

    @property
    def words(self) -> Words:
        """What the utterance tells of the turn's end."""
        return "broken_off" if sounds_unfinished(self.utterance, self.language) else self.ending

    @property
    def acts(self) -> bool:
        """Whether tools have a part in it: nothing of that may happen before the turn is decided."""
        return self.waits or isinstance(self.act, ToolCall)


def clauses_of_text(text: str, source: ReplySource) -> tuple[Clause, ...]:
    """A text as clauses, each spoken by itself."""
    return tuple(Clause(clause, source) for clause in split_clauses(text))
