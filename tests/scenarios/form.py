"""The form of a scenario file: one call, told as who does what when, and what must come of it.

A file begins with a sentence that says which behaviour it shows. The caller's steps are done one after another; a step
may wait for a moment (`at_s`, `after`) and then a little longer (`plus_s`). Everything is checked that is written under
`expect`; what holds for every call is checked in any case (see verdict.py).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, model_validator

from bench.script import pause_pieces
from models.settings import StrictModel, load_settings
from pipeline.agent import Agent, load_agent

SCENARIOS = Path(__file__).parent
"""Where the scenario files lie."""

_AGENT = SCENARIOS.parent.parent / "configs" / "agents" / "dental.yaml"

EventPattern = dict[str, str | int | float | bool]
"""An event by its `kind` and any of its fields; text fields need only contain what is written."""

Stage = Literal["transcribe", "route", "reply", "speak", "turn_score", "tool"]
"""'tool': the business system changes something."""


class Step(StrictModel):
    """One thing that happens at the caller's end: exactly one of `say`, `noise_ms`, `press`, `line`, `hang_up`."""

    at_s: float | None = Field(None, ge=0)
    """Not before this second of the call."""
    after: EventPattern | None = None
    """Not before this event, counted from when the step before began; `nth` counts from 1."""
    nth: int = Field(1, ge=1)
    plus_s: float = Field(0.0, ge=0)
    """This much after that moment, or after the end of the step before."""
    say: str = ""
    """A quarter of a second a word; `<pause 500ms>` is a pause within the line."""
    log_probability: float = Field(-0.1, le=0)
    """How sure the transcriber is of these words; below about -1 it guesses."""
    end_score: float = Field(0.95, ge=0, le=1)
    """What Smart Turn gives when the line has ended."""
    pause_score: float = Field(0.1, ge=0, le=1)
    """What Smart Turn gives in a pause within the line."""
    noise_ms: int | None = Field(None, ge=20, le=60_000)
    """Sound that the VAD takes for speech and that holds no words: a cough, a door, wind."""
    press: str = Field("", pattern=r"^[0-9*#]*$")
    """Keys, a fifth of a second apart."""
    line: Literal["lost", "stalled", "silent"] | None = None
    """'lost': the socket breaks; 'stalled': the carrier takes no data for `for_ms`; 'silent': as long, none of the
    caller's audio arrives, and is never sent again."""
    for_ms: int = Field(1_000, ge=20, le=60_000)
    hang_up: bool = False
    replied_within_ms: int | None = Field(None, ge=0)
    """From the end of this line to the agent's first audible word after it, at the caller's ear."""
    silent_within_ms: int | None = Field(None, ge=0)
    """From the beginning of this sound or key to the agent's silence, at the caller's ear."""

    @model_validator(mode="after")
    def _one_deed(self) -> Step:
        given = [self.say, self.press, self.hang_up, self.noise_ms is not None, self.line is not None]
        if sum(map(bool, given)) != 1:
            raise ValueError("expected exactly one of say, noise_ms, press, line, hang_up")
        if self.at_s is not None and self.after is not None:
            raise ValueError("expected at_s or after, not both")
        pause_pieces(self.say)
        return self


class Fault(StrictModel):
    """A stage that does not do its work: exactly one of `slow_ms`, `broken`, `stuck`."""

    stage: Stage
    slow_ms: int | None = Field(None, ge=0)
    """It takes this much longer."""
    broken: bool = False
    """It raises ModelFailure; a tool fails."""
    stuck: bool = False
    """It never answers."""
    from_s: float = Field(0.0, ge=0)
    to_s: float = Field(1e9, ge=0)
    """When work begins that the fault befalls."""

    @model_validator(mode="after")
    def _one_fault(self) -> Fault:
        if (self.slow_ms is not None) + self.broken + self.stuck != 1:
            raise ValueError("expected exactly one of slow_ms, broken, stuck")
        return self


class Carrier(StrictModel):
    """How the line and the carrier behave."""

    delay_ms: int = Field(30, ge=0, le=2_000)
    """Each way: audio and marks out, echoes of marks back."""
    marks: Literal["echoed", "dropped"] = "echoed"
    """'dropped': no mark ever comes back."""
    flushed_marks: Literal["echoed", "dropped", "late"] = "echoed"
    """What becomes of marks that a clear overtakes; 'late': they come back a second later."""
    echo_ms: int | None = Field(None, ge=0, le=2_000)
    """The agent's own voice comes back this much later, wherever the caller is silent."""


class Expect(StrictModel):
    """What must come of the call. Texts that end in ' ...' need only begin so."""

    heard: tuple[str, ...] | None = None
    """The agent's replies by its own ledger, in order, those of which nothing was heard left out."""
    history: tuple[str, ...] | None = None
    """The conversation as the agent remembers it: 'caller: ...' and 'agent: ...'."""
    once: tuple[str, ...] = ()
    """Phrases that reach the caller's ear exactly once, whatever interrupted them."""
    events: tuple[EventPattern, ...] = ()
    """Events that occur, in this order, with anything in between."""
    absent: tuple[EventPattern | str, ...] = ()
    """Events that never occur, and phrases that never reach the caller's ear."""
    end: str
    """Reason of the call's end."""


class Scenario(StrictModel):
    """One call."""

    description: str = Field(min_length=20)
    """One sentence: the behaviour that this call shows."""
    real: bool = False
    """Also run against the real models (see real.py)."""
    agent: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the agent that differ from configs/agents/dental.yaml."""
    carrier: Carrier = Carrier()
    faults: tuple[Fault, ...] = ()
    caller: tuple[Step, ...] = ()
    bystander: tuple[Step, ...] = ()
    """Someone else near the telephone; where both speak, only the caller is heard."""
    listens_s: float = Field(5.0, gt=0)
    """How long after the last step the caller hangs up, if the call is not over by then."""
    expect: Expect

    @model_validator(mode="after")
    def _agent_is_one(self) -> Scenario:
        self.agent_under_test()
        return self

    def agent_under_test(self) -> Agent:
        """The demo agent with this scenario's settings."""
        return Agent.model_validate_json(json.dumps(_merged(_demo_agent(), self.agent)))


def scenario_files() -> list[Path]:
    """The files of all scenarios that must hold."""
    return sorted(SCENARIOS.glob("*.yaml"))


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises SettingsError."""
    return load_settings(path, Scenario)


@functools.cache
def _demo_agent() -> dict[str, JsonValue]:
    # Its answers are worded by a model here, as a capable one's would be: there is more that can go wrong.
    worded: dict[str, JsonValue] = {"generation": {"words": "model"}}
    return _merged(load_agent(_AGENT).model_dump(mode="json", exclude_unset=True), worded)


def _merged(base: dict[str, JsonValue], changes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
