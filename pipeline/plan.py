"""How an utterance will be answered, as data: made before it is certain that it will be.

A plan is one of a few things, and `match` tells them apart: words alone (`Says`), words before a tool is called
(`CallsTool`), the call's last words (`EndsCall`), waiting for a tool at work (`AwaitsTool`), or a question to a
language model, of whose word another plan is made before anything is said (`Thinks`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.agent import Fact
from pipeline.clauses import split_clauses
from pipeline.endpointing import Words, sounds_unfinished
from pipeline.events import ReplySource
from pipeline.model_selection import Choice, ModelOverride
from pipeline.slots.types import Language
from pipeline.state import CallState, Ending
from pipeline.tools.calls import ToolCall
from pipeline.understanding.acts import Understood


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause to be spoken."""

    text: str
    source: ReplySource
    rejected: str = ""
    """What the language model said instead, if the knowledge did not bear it out."""
    failure: str = ""
    """Why the language model could not be asked, if the fact is said as written for want of it."""
    id: str = ""
    """Of news, see state.News: by it the call remembers that they were heard. Empty: it may be forgotten."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What all plans have in common."""

    utterance: str
    state: CallState | None = None
    """The call's state once this counts; None: as it is."""
    fixed: tuple[Clause, ...] = ()
    """Clauses known at once; said after those of `facts`, if there are any."""
    facts: tuple[Fact, ...] = ()
    """The language model is asked to answer from these."""
    model: ModelOverride = "auto"
    """What route or node say of the language model."""
    choice: Choice | None = None
    """The language model that words the answer from `facts`; None: the small one."""
    unfit: bool = False
    """The utterance did not give what was asked for, as far as the reader sees; the language model may find it."""
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


@dataclass(frozen=True, slots=True)
class Says(_Answer):
    """Nothing is done besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsTool(_Answer):
    """A tool is called once the turn is decided, and what comes of it is said."""

    call: ToolCall
    filler: str = ""
    """Said if that takes long; else the agent's own filler line is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndsCall(_Answer):
    """The call is handed over, or hung up, once what is said has been heard."""

    how: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitsTool(_Answer):
    """What was begun before must finish first; then what came of it is said, and the utterance is looked at again."""

    understood: Understood | None = None
    """What the utterance means, for that second look; None: there is nothing to look at."""


@dataclass(frozen=True, slots=True)
class Thinks(_Answer):
    """A free conversation goes on, and a language model has yet to say how."""


Plan = Says | CallsTool | EndsCall | AwaitsTool | Thinks
ByTools = CallsTool | AwaitsTool
"""Tools have a part in these: nothing of that may happen before the turn is decided, and it is not undone."""


def clauses_of_text(text: str, source: ReplySource) -> tuple[Clause, ...]:
    """A text as clauses, each spoken by itself."""
    return tuple(Clause(clause, source) for clause in split_clauses(text))
