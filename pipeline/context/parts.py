"""What a prompt is made of, and what its making needs of the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from models.types import Message


class ContextError(ValueError):
    """A part does not fit its budget, or the budgets do not fit the model: says by how much and what to change."""


class TokenCounter(Protocol):
    """Counts as the model does."""

    def text_tokens(self, text: str) -> int:
        """Tokens of a text by itself."""
        ...

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the whole prompt in the model's chat template, up to where the reply begins."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What one generation is for. Empty: there is none."""

    question: str = ""
    """The caller's words."""
    fact: str = ""
    """What the answer is to be taken from."""
    instruction: str = ""
    """What the node of the flow wants said."""


@dataclass(frozen=True, slots=True)
class Example:
    """An answer as it should be."""

    ask: Ask
    answer: str


@dataclass(frozen=True, slots=True)
class ContextParts:
    """What stays the same, byte for byte, over every call of an agent."""

    persona: str
    policies: tuple[str, ...] = ()
    """One sentence each."""
    examples: tuple[Example, ...] = ()
    quotes_data: bool = False
    """Whether values from business systems may be known in a call; the persona is then told how they are quoted."""


@dataclass(frozen=True, slots=True)
class Known:
    """A variable that has a value."""

    label: str
    """What it is called in the prompt; no two have the same."""
    value: str
    confirmed: bool = False
    from_system: bool = False
    """It is some business system's text: quoted as data, never stated."""
    sensitive: bool = False
    """Never in a prompt: neither the value nor `words`."""
    words: str = ""
    """What the caller said that the value came from. Of a sensitive variable they are replaced by its label."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the caller said and what the caller then heard."""

    caller: str
    """Empty: the agent spoke into silence."""
    agent: str
    """As far as it was heard. Empty: nothing was, and the caller's words belong to the next exchange."""
    topic: str = ""
    """What was asked for, if it was found: the label of the fact."""
    decided: str = ""
    """What the exchange settled ("booked Tuesday at ten")."""


@dataclass(frozen=True, slots=True)
class History:
    """One call so far. Plain data: it may be stored as JSON and gone on with elsewhere, with the same prompts."""

    exchanges: tuple[Exchange, ...] = ()
    """All of the call, oldest first, as they may be shown."""
    notes: tuple[str, ...] = ()
    """What became known with each, as it is shown before the caller's words; empty for none."""
    tokens: tuple[int, ...] = ()
    """What each takes in a prompt, its note included."""
    unanswered: str = ""
    """Words of the caller that nothing was heard in answer to."""
    first: int = 0
    """The first exchange that is shown; moves only at trims, as do the next two."""
    summary: str = ""
    """Of exchanges before `first`."""
    known: tuple[Known, ...] = ()
    """Variables as they stood at the last trim."""
    said: tuple[Known, ...] = ()
    """Variables as `known` and the notes together say."""
    cut: int = 0
    """Where the next trim will be, once it is near; until then not after `first`."""
    ready_summary: str = ""
    """The newest summary, used from the next trim on ..."""
    summarised: int = 0
    """... of so many exchanges from the first."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One generation's messages."""

    messages: tuple[Message, ...]
    tokens: int
    """What they take in the model's chat template."""
    first: int
    """The first exchange that is shown."""

    @property
    def stable(self) -> tuple[Message, ...]:
        """What the next prompt begins with too, unless there is a trim between them."""
        return self.messages[:-1]
