"""A reply, from candidate to heard: an explicit state machine that refuses what cannot be.

Two things are known of a reply, and each is written here alone: its `state`, which is where it stands with the caller,
and `made`, which is how far its making has come. Everything else about it is data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Literal

from pipeline.endpointing import ENDED_BY_MODEL
from pipeline.language_switcher import ActiveAgent
from pipeline.plan import Clause, Plan
from pipeline.ports import HeardClause
from pipeline.preemptive_generation import PreemptiveBudget


class State(Enum):
    """Where a reply stands with the caller."""

    CANDIDATE = "candidate"
    """It is made while the turn may still go on: nothing of it may be heard, and nothing be done for it."""
    DECIDED = "decided"
    """The turn is over: it may be heard as soon as there is something to hear."""
    AUDIBLE = "audible"
    """It is being heard."""
    HELD = "held"
    """Speech over it has silenced it; whether it goes on is not known yet."""
    WITHDRAWN = "withdrawn"
    """It is over, and nothing of it was heard."""
    HEARD = "heard"
    """It is over: heard to its end, or as far as the caller let it come."""


Transition = Literal["decide", "sound", "hold", "resume", "withdraw", "end"]

TRANSITIONS: Mapping[State, Mapping[Transition, State]] = MappingProxyType(
    {
        State.CANDIDATE: {"decide": State.DECIDED, "withdraw": State.WITHDRAWN},
        State.DECIDED: {"sound": State.AUDIBLE, "withdraw": State.WITHDRAWN, "end": State.HEARD},
        State.AUDIBLE: {"hold": State.HELD, "end": State.HEARD},
        State.HELD: {"resume": State.AUDIBLE, "end": State.HEARD},
        State.WITHDRAWN: {},
        State.HEARD: {},
    }
)
"""What may become of a reply in each state."""


class Made(IntEnum):
    """How far a reply's making has come; it never goes back."""

    NOTHING = 0
    PLANNED = 1
    """The words and what to answer are known, or cannot be."""
    SPOKEN = 2
    """Its first audio is there."""
    QUEUED = 3
    """Some of it has gone to the line."""


class IllegalTransition(RuntimeError):
    """A reply was to become what it cannot become in the state that it is in: a fault of the program."""


@dataclass(slots=True, eq=False)
class Reply:
    """One reply."""

    turn: int
    number: int
    """Among all replies of the call."""
    active: ActiveAgent
    """Who answers."""
    task: asyncio.Task[None] | None = None
    """Makes it, and hears it out."""
    plan: Plan | None = None
    clauses: list[Clause] = field(default_factory=list)
    """As far as they are spoken, or being so."""
    words: int = 0
    """Of all its clauses that are decided."""
    asks: bool = False
    """The last of them asks something."""
    whole: bool = False
    """No more of them come."""
    probability: float | None = None
    """Smart Turn's last word on the turn it answers."""
    cut_s: float | None = None
    """Where the turn it answers was cut for its length, in seconds of audio received; None: it ended by itself."""
    decide_at_once: bool = False
    """What it would answer is noise or a backchannel over a reply that waits to go on."""
    _state: State = State.CANDIDATE
    _made: Made = Made.NOTHING
    _guess: PreemptiveBudget | None = None
    """It is made ahead of the decision, on this budget."""
    _decided: asyncio.Event = field(default_factory=asyncio.Event)
    _planned: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> State:
        return self._state

    @property
    def made(self) -> Made:
        return self._made

    @property
    def pending(self) -> bool:
        """Whether the turn it answers is not decided yet."""
        return self._state is State.CANDIDATE

    @property
    def has_sounded(self) -> bool:
        """Whether it is being heard, or waits to go on."""
        return self._state in (State.AUDIBLE, State.HELD)

    @property
    def over(self) -> bool:
        return not TRANSITIONS[self._state]

    @property
    def can_be_soon(self) -> bool:
        """Whether it could be heard about now if the turn were over: its words are there, and end the turn."""
        if self.plan is None or self.plan.words not in ENDED_BY_MODEL:
            return False
        return self._made >= Made.SPOKEN or self.plan.fact is None

    # -- transitions -----------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """The turn is over."""
        self._go("decide")
        self._settle(wasted=False)
        self._decided.set()

    def sound(self) -> None:
        """Its first audio has gone out."""
        self._go("sound")

    def hold(self) -> None:
        """Speech over it: silence."""
        self._go("hold")

    def resume(self) -> None:
        """The speech over it was none, or meant to leave it the floor."""
        self._go("resume")

    def withdraw(self) -> None:
        """It is not to be heard any more: the caller went on, or there was nothing to answer."""
        self._go("withdraw")
        self._settle(wasted=True)
        self._planned.set()

    def end(self) -> None:
        """Nothing more of it will be heard."""
        self._go("end")

    # -- its making ------------------------------------------------------------------------------------------------

    def reach(self, made: Made) -> bool:
        """Its making has come this far. Whether that is new."""
        if made <= self._made:
            return False
        self._made = made
        self._planned.set()
        return True

    def answer_with(self, plan: Plan) -> None:
        """What to answer is known."""
        self.plan = plan
        self.reach(Made.PLANNED)

    def answer_nothing(self, *, over_another: bool) -> None:
        """There was no turn. If it was no turn over another reply, that one waits to go on: nothing is waited for."""
        self.decide_at_once = over_another
        self.reach(Made.PLANNED)

    def generate_preemptively(self, budget: PreemptiveBudget) -> bool:
        """Whether it may be made before its turn is decided, and heard; takes that from the budget."""
        if self.pending and self._guess is None and budget.take():
            self._guess = budget
        return self._guess is not None or not self.pending

    def will_say(self, clause: Clause) -> None:
        """A clause is decided."""
        self.words += len(clause.text.split())
        if clause.source != "filler":
            self.asks = clause.text.endswith("?")

    async def until_planned(self) -> None:
        """Wait until its words and what to answer are known, or cannot be, or it is withdrawn."""
        await self._planned.wait()

    async def until_decided(self) -> None:
        """Wait until it may be heard. A reply that is withdrawn never may."""
        await self._decided.wait()

    def clause_id(self) -> str:
        """Of the clause that comes next."""
        return self._clause_id(len(self.clauses))

    def owns(self, clause_id: str) -> bool:
        return clause_id.startswith(f"t{self.turn}.{self.number}.")

    def told(self, heard: Iterable[HeardClause]) -> frozenset[str]:
        """The ids, as the call remembers them, of its clauses that were heard whole."""
        clauses = {self._clause_id(number): clause for number, clause in enumerate(self.clauses)}
        pairs = ((clauses[one.clause_id], one) for one in heard if one.clause_id in clauses)
        # Who hears every word, but not the silence after the last, misses nothing.
        whole = (clause.id for clause, one in pairs if one.complete or one.text.split() == clause.text.split())
        return frozenset(filter(None, whole))

    def _clause_id(self, number: int) -> str:
        return f"t{self.turn}.{self.number}.c{number}"

    def _go(self, transition: Transition) -> None:
        after = TRANSITIONS[self._state].get(transition)
        if after is None:
            allowed = ", ".join(TRANSITIONS[self._state]) or "nothing"
            raise IllegalTransition(
                f"reply t{self.turn}.{self.number} is {self._state.value}: expected {allowed}, got {transition}"
            )
        self._state = after

    def _settle(self, *, wasted: bool) -> None:
        guess, self._guess = self._guess, None
        if guess is not None:
            guess.give_back(wasted=wasted)
