"""What a call knows and where it stands: typed, frozen, and the same after a trip through JSON.

A call's state is saved each turn, so that another gateway can go on with the call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from models.types import Message
from pipeline.context.parts import History
from pipeline.events import VariableSet
from pipeline.slots.reading import Option
from pipeline.slots.variables import Variable

Source = Literal["caller", "carrier", "tool", "agent"]
Waiting = Literal["free", "answer", "tool", "over"]
"""What the call waits for: 'free': any utterance; 'answer': one to the node it stands at; 'tool': a result; 'over': it
is being handed over or ended."""


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's value, and how it came to be known."""

    value: str
    """Canonical, see pipeline/slots."""
    words: str = ""
    """The words it was read from; empty if it did not come from words."""
    confidence: float = 1.0
    turn: int = 0
    source: Source = "caller"
    confirmed: bool = False
    """Read back and said yes to, or known to a business system."""


@dataclass(frozen=True, slots=True)
class Early:
    """Words that were said before there was anything on offer that they could be about."""

    words: str
    turn: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of a tool in a free conversation, as far as it may be told to a model."""

    tool: str
    code: str = ""
    """Of a system that said no; empty: it is done."""
    given: tuple[str, ...] = ()
    """Arguments, each with its label, as they are spoken."""
    found: tuple[str, ...] = ()
    """What it returned, the same way."""


@dataclass(frozen=True, slots=True)
class Talk:
    """How far a free conversation has come."""

    turns: int = 0
    """Utterances of the caller's."""
    tools: int = 0
    """Tool calls."""
    began_s: float | None = None
    """Wall time at which the model was asked first; None: it has not been."""
    calling: str = ""
    """The tool that is being called, or whose read-back waits for a yes."""
    asked: str = ""
    """The last question that was put."""
    learnt: tuple[Learnt, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a flow."""

    flow: str
    node: str
    talk: Talk = Talk()
    """Where it is a free conversation."""
    wish: str = ""
    """What the caller said when the outermost flow began."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Hand the call over to a person."""

    reason: str
    target: str
    next_step: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call once everything has been said."""

    reason: Literal["farewell", "escalated", "abuse"] = "farewell"


Ending = Transfer | HangUp


@dataclass(frozen=True, slots=True)
class AskedBack:
    """The caller was asked whether they mean something that is likely and not certain."""

    route: str
    utterance: str
    """What they had said."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A wish that was said with another one: it is granted after that."""

    flow: str
    utterance: str
    turn: int


@dataclass(frozen=True, slots=True)
class CallState:
    """One call's state. Changes make new ones."""

    values: Mapping[str, Value] = field(default_factory=dict)
    lists: Mapping[str, tuple[Option, ...]] = field(default_factory=dict)
    """What tools have put on offer, by name."""
    stack: tuple[Place, ...] = ()
    """The flows under way, the innermost last; empty between flows."""
    waiting: Waiting = "free"
    tries: int = 0
    """Answers to the node it stands at that did not fit."""
    narrowed: tuple[str, ...] = ()
    """Values that the caller was just asked to choose between, of all that are on offer."""
    early: Mapping[str, tuple[Early, ...]] = field(default_factory=dict)
    """What may tell which of the things is wanted that a tool is still to put on offer, by variable, oldest first."""
    named: int = 0
    """How many of the things on offer were named before those that were named last."""
    changing: bool = False
    """Whether the caller was just asked what to change of what was read back."""
    visits: int = 0
    """Tool calls begun so far: tells one from the next in their keys."""
    level: int = 0
    """How surely the caller is who they say: 0 not at all; raised by tools only."""
    misses: int = 0
    """Utterances in a row that could not be answered."""
    unclear: int = 0
    """Utterances in a row that could not be understood."""
    postponed: Postponed | None = None
    """What the caller wished for besides what is under way."""
    asked_back: AskedBack | None = None
    """What the caller was just asked about what they had said."""
    impatience: int = 0
    """How much of the caller's patience is lost; see Escalation.frustration_points."""
    warned: bool = False
    """The caller has been asked to stay polite."""
    closing: Ending | None = None
    """How the call is to end once what is being said has been heard; None: it goes on."""

    def knows(self, name: str) -> bool:
        """Whether the variable has a value, or the list entries."""
        return name in self.values or bool(self.lists.get(name))

    def with_values(self, **values: Value) -> CallState:
        return dataclasses.replace(self, values={**self.values, **values})

    def without(self, names: tuple[str, ...]) -> CallState:
        """These variables and lists are unknown again, and what was said of them early is forgotten."""
        return dataclasses.replace(
            self,
            values={name: value for name, value in self.values.items() if name not in names},
            lists={name: options for name, options in self.lists.items() if name not in names},
            early={name: early for name, early in self.early.items() if name not in names},
        )

    def with_early(self, name: str, words: str, turn: int) -> CallState:
        """With words that may be about the variable once there is something on offer for it."""
        return dataclasses.replace(self, early={**self.early, name: (*self.early.get(name, ()), Early(words, turn))})

    def without_early(self, name: str) -> CallState:
        return dataclasses.replace(self, early={key: early for key, early in self.early.items() if key != name})

    @property
    def place(self) -> Place | None:
        """The node it stands at."""
        return self.stack[-1] if self.stack else None


def variables_set(
    before: Mapping[str, Value], state: CallState, variables: Mapping[str, Variable]
) -> Iterator[VariableSet]:
    """What has become known, or known otherwise, since; sensitive values stay out of it."""
    for name, value in state.values.items():
        if before.get(name) != value:
            hidden = name in variables and variables[name].sensitive
            yield VariableSet(
                turn=value.turn,
                name=name,
                value="" if hidden else value.value,
                words="" if hidden else value.words,
                confidence=value.confidence,
                confirmed=value.confirmed,
            )


@dataclass(frozen=True, slots=True)
class News:
    """A clause of what came of something that was done."""

    id: str
    """`<visit>.<sentence>.<clause>`: of which tool call of the call, and where in what is said of it. The same in a
    call that is gone on with elsewhere."""
    text: str
    asks: bool = False
    """It asks what is waited for from then on: no news once somebody has answered."""

    @property
    def sentence(self) -> str:
        """The id of the sentence that it is a part of."""
        return self.id.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Memory:
    """What a call must not forget: enough for another gateway to go on with it."""

    state: CallState = field(default_factory=CallState)
    history: tuple[Message, ...] = ()
    """What was heard on both sides, oldest first."""
    context: History = field(default_factory=History)
    """The same as the prompts show it."""
    untold: tuple[News, ...] = ()
    """What came of something that was done, and the caller has not heard."""

    def having_told(self, heard: Container[str]) -> Memory:
        """Without the news that were heard: these clauses, whole. A sentence that was broken into is told again from
        its beginning."""
        missed = {one.sentence for one in self.untold if one.id not in heard}
        return dataclasses.replace(self, untold=tuple(one for one in self.untold if one.sentence in missed))

    def having_answered(self, asked_again: Container[str]) -> Memory:
        """Without the questions that were put before the caller spoke, but for these."""
        untold = tuple(one for one in self.untold if not one.asks or one.id in asked_again)
        return dataclasses.replace(self, untold=untold)


class NotSaved(Exception):
    """A call's memory could not be saved."""
