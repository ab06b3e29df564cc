"""The form of a conversation file: what a caller says line by line, and what must come of it.

Files lie in tests/conversations/<agent>/. A line is said when the agent has finished; `if_asked` and `unless_asked` let
a conversation go on in more than one way.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from bench.script import Expectation
from models.settings import StrictModel, load_settings

CONVERSATIONS = Path(__file__).resolve().parent.parent.parent / "tests" / "conversations"
AGENTS = Path(__file__).resolve().parent.parent.parent / "configs" / "agents"

Edge = Literal[
    "happy",
    "correction",
    "wrong_slot",
    "change_of_mind",
    "silence",
    "unclear",
    "abuse",
    "off_topic",
    "two_intents",
    "question_in_flow",
    "cancelled",
    "backoffice_down",
    "conflict",
    "verification",
    "person",
    "emergency",
    "out_of_hours",
    "hang_up",
]


class OfficeRequest(StrictModel):
    """Something done at the back office by others: a fault is set, an opening is taken."""

    method: Literal["POST", "PUT", "DELETE", "PATCH"] = "POST"
    path: str = Field(pattern=r"^/")
    body: JsonValue = None


class Line(StrictModel):
    """One thing the caller does: exactly one of `say`, `silence`, `press`, `hang_up`."""

    office: tuple[OfficeRequest, ...] = ()
    """Done at the back office just before."""
    say: str = ""
    unclear: bool = False
    """The transcriber guesses at these words; with no words at all, it makes nothing of the sound."""
    silence: bool = False
    """The caller says nothing until the agent speaks up."""
    press: str = Field("", pattern=r"^[0-9*#]*$")
    """Keys, one right after another."""
    hang_up: bool = False
    if_asked: tuple[str, ...] = ()
    """Only if the agent's last words hold one of these phrases."""
    unless_asked: tuple[str, ...] = ()
    """Not if they hold one of these."""
    expect: Expectation = Expectation()
    """What the agent must answer."""

    @model_validator(mode="after")
    def _one_deed(self) -> Line:
        given = sum((bool(self.say) or self.unclear, self.silence, bool(self.press), self.hang_up))
        if given != 1:
            raise ValueError("expected exactly one of say (or unclear), silence, press, hang_up")
        return self


class ToolUse(StrictModel):
    """A tool call that must have been made."""

    tool: str
    status: Literal["ok", "rejected", "failed", "unknown"] = "ok"
    code: str = ""
    arguments: dict[str, str] = Field(default_factory=dict)
    """By name, as the agent would say them; others may be anything."""


class Changes(StrictModel):
    """What the call changed at the back office: table -> rows, each by the fields that matter. Exactly these."""

    added: dict[str, tuple[dict[str, JsonValue], ...]] = Field(default_factory=dict)
    removed: dict[str, tuple[dict[str, JsonValue], ...]] = Field(default_factory=dict)


class Outcome(StrictModel):
    """What must have come of the call."""

    office: Changes = Changes()
    """Nothing given: nothing was changed."""
    tools: tuple[ToolUse, ...] = ()
    """These calls, in this order, with others in between."""
    no_tools: tuple[str, ...] = ()
    """Never called."""
    end: Literal["farewell", "escalated", "abuse", "transferred", "silence", "caller_hung_up"] = "farewell"
    """How the call ended; a caller whose lines are over hangs up."""
    transferred_to: str = ""
    """Name among the agent's transfer targets."""
    reason: str = ""
    """Why it was handed over."""
    summary: Expectation = Expectation()
    """What the hand-over package's summary must hold."""
    never: tuple[str, ...] = ()
    """Phrases that the agent never says."""


class Conversation(StrictModel):
    """One conversation."""

    description: str = Field(min_length=20)
    """One sentence: what it shows."""
    edge: Edge
    caller: str = Field("+14155550100", pattern=r"^(\+[1-9]\d{6,14})?$")
    """The caller's number; empty: withheld."""
    now: str = "2026-11-23T10:00"
    """Local time where the business is; a Monday morning."""
    greeting: Expectation = Expectation()
    office: tuple[OfficeRequest, ...] = ()
    """Done at the back office before the call."""
    lines: tuple[Line, ...] = Field(min_length=1)
    expect: Outcome = Outcome()

    @field_validator("now")
    @classmethod
    def _is_a_time(cls, now: str) -> str:
        datetime.fromisoformat(now)
        return now


def conversation_files(agent: str) -> list[Path]:
    return sorted((CONVERSATIONS / agent).glob("*.yaml"))


def load_conversation(path: Path) -> Conversation:
    """Read a conversation file. Raises SettingsError."""
    return load_settings(path, Conversation)
