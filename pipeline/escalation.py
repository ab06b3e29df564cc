"""Handing a call over to a person: when, to whom, and with what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from models.settings import StrictModel
from models.types import Message
from pipeline.context.parts import Known
from pipeline.context.wording import without_secrets
from pipeline.slots.variables import Variable
from pipeline.state import CallState, Transfer
from pipeline.workflow.definition import Guard
from pipeline.workflow.engine import WorkflowEngine

Reason = Literal["request", "frustration", "exhausted", "tool_failure", "policy", "emergency"]

_LATEST_UTTERANCES = 4
"""So many of the caller's last utterances go into the summary."""


class TransferTarget(StrictModel):
    """A person, or a group of them, who can take a call."""

    number: str = Field(pattern=r"^(\+[1-9]\d{6,14}|sips?:\S+)$")
    """E.164 number or SIP address."""
    whisper: str = Field("", max_length=400)
    """Said to whoever answers, before the caller is put through; {reason} and {summary} may stand in it."""


class Away(StrictModel):
    """When nobody can take a call over, and what is done instead."""

    when: Guard
    """Such as {equals: {desk_open: "no"}}, of what `on_call` has looked up."""
    flow: str
    """Takes a message, or arranges a call back."""


class Escalation(StrictModel):
    """When a person takes over, and who."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(required=["targets", "default"]))

    targets: dict[str, TransferTarget] = Field(min_length=1)
    default: str
    """Target for everything that names none."""
    line: Annotated[str, Field(min_length=1, max_length=400)]
    """Said before the call is handed over; comes with the language, if a file says nothing of its own."""
    frustration_words: tuple[str, ...] = ()
    """Words and phrases that show that the caller has had enough; come with the language too."""
    frustration_points: int = Field(3, ge=1, le=20)
    """Handed over at this many: an utterance with such words counts two, one that came to nothing one; an answer that
    fits takes one away."""
    away: Away | None = None
    """Out of hours, of the default target; None: never."""
    webhook: str | None = None
    """Name among the agent's tools: called with the hand-over package before the transfer."""

    @model_validator(mode="after")
    def _default_exists(self) -> Escalation:
        if self.default not in self.targets:
            raise ValueError(f"default: no such target {self.default!r}; expected one of {', '.join(self.targets)}")
        return self


class Patience:
    """How much of a caller's patience is lost, in points that the call's state keeps. Pure counting."""

    def __init__(self, settings: Escalation) -> None:
        self._settings = settings
        words = "|".join(re.escape(word.lower()) for word in settings.frustration_words)
        self._words = re.compile(rf"\b(?:{words})\b") if words else None

    def after(self, points: int, utterance: str, *, answered: bool) -> int:
        """The points after this utterance, which came on top of so many."""
        angry = self.is_angry(utterance)
        points += (2 if angry else 0) + (0 if answered else 1)
        return max(0, points - 1) if answered and not angry else points

    def is_angry(self, utterance: str) -> bool:
        """Whether it holds words of one who has had enough."""
        return self._words is not None and self._words.search(utterance.lower()) is not None

    def is_gone(self, points: int) -> bool:
        return points >= self._settings.frustration_points


@dataclass(frozen=True, slots=True)
class HandOver:
    """What a person who takes over gets to know."""

    reason: str
    target: str
    summary: str
    """A few sentences, made of what is known; no model writes it."""
    variables: dict[str, str]
    """By name, as the agent would say them; sensitive ones are left out."""
    transcript: tuple[str, ...]
    """'caller: ...' and 'agent: ...', as heard; the words of sensitive variables are replaced by their names."""
    next_step: str


def hand_over(
    transfer: Transfer,
    state: CallState,
    history: Sequence[Message],
    variables: dict[str, Variable],
    engine: WorkflowEngine,
) -> HandOver:
    """The package for a transfer."""
    shown = {
        name: engine.spoken(state, name)
        for name in state.values
        if name not in variables or not variables[name].sensitive
    }
    hidden = [
        Known(name.replace("_", " "), value.value, sensitive=True, words=value.words)
        for name, value in state.values.items()
        if name not in shown
    ]
    history = [Message(message.role, without_secrets(message.content, hidden)) for message in history]
    said = [message.content for message in history if message.role == "user"][-_LATEST_UTTERANCES:]
    matter = state.stack[0].flow.replace("_", " ") if state.stack else ""
    known = "; ".join(
        f"{name.replace('_', ' ')}: {value}{'' if state.values[name].confirmed else ' (not confirmed)'}"
        for name, value in shown.items()
    )
    parts = (
        f"Handed over: {transfer.reason.replace('_', ' ')}.",
        f"It was about: {matter}." if matter else "",
        f"Known: {known}." if known else "",
        f"The caller last said: {' / '.join(said)}" if said else "",
    )
    names = {"user": "caller", "assistant": "agent"}
    return HandOver(
        reason=transfer.reason,
        target=transfer.target,
        summary=" ".join(part for part in parts if part),
        variables=shown,
        transcript=tuple(f"{names[m.role]}: {m.content}" for m in history if m.role in names),
        next_step=transfer.next_step,
    )
