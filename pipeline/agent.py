"""The agent file: who answers and how. `configs/agents/*.yaml` is read into these models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator

from models.settings import StrictModel, settings_from
from pipeline.agent_common import CommonUse, with_common
from pipeline.agent_examples import FACT
from pipeline.agent_include import load_with_included
from pipeline.agent_trouble import Trouble
from pipeline.context.settings import ContextSettings
from pipeline.escalation import Escalation
from pipeline.hours import Hours
from pipeline.hours_said import HOURS_FACT, HOURS_QUESTIONS, SpokenHours
from pipeline.model_selection import ModelOverride, ModelSelection
from pipeline.slots.types import Language
from pipeline.slots.variables import HOURS, Variable
from pipeline.tools.definition import Tool
from pipeline.understanding.phrases import phrases
from pipeline.workflow.definition import Flow
from pipeline.workflow.form import without_forms

Line = Annotated[str, Field(min_length=1, max_length=400)]
"""Something the agent says."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class PausePoint(StrictModel):
    """A moment in the caller's silence at which the turn may be declared over."""

    silence_ms: int = Field(ge=96, le=3000)
    """How long the caller has been silent."""
    probability: float = Field(ge=0, le=1)
    """The end-of-turn probability that is enough at this point."""


_PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "brisk": {
            "pause_points": ({"silence_ms": 224, "probability": 0.7}, {"silence_ms": 352, "probability": 0.4}),
            "timeout_ms": 480,
            "either_or_more_ms": 64,
            "open_timeout_ms": 576,
            "unfinished_timeout_ms": 1056,
        },
        "balanced": {},
        "patient": {
            "pause_points": ({"silence_ms": 416, "probability": 0.8}, {"silence_ms": 608, "probability": 0.6}),
            "timeout_ms": 992,
            "either_or_more_ms": 128,
            "open_timeout_ms": 1376,
            "unfinished_timeout_ms": 2016,
        },
    }
)


class TurnTaking(StrictModel):
    """When the caller has finished, and when the agent yields. Silences are counted from the caller's last sound; on a
    noisy line from where Silero hears the end, some 90 ms later."""

    preset: Literal["brisk", "balanced", "patient"] = "balanced"
    """For callers who are quick, mixed or slow: what the keys below are if they are not given."""
    speech_probability: float = Field(0.6, gt=0, lt=1)
    """VAD probability at which a window counts as speech."""
    silence_probability: float = Field(0.35, gt=0, lt=1)
    """VAD probability below which a window counts as silence once speech runs."""
    confirm_speech_ms: int = Field(96, ge=32, le=1000)
    """Speech this long starts a turn."""
    barge_in_ms: int = Field(192, ge=32, le=2000)
    """Speech this long silences the agent."""
    candidate_silence_ms: int = Field(64, ge=32, le=1000)
    """After this much silence the turn is transcribed and its reply prepared, behind a gate."""
    pause_points: tuple[PausePoint, ...] = (
        PausePoint(silence_ms=224, probability=0.85),
        PausePoint(silence_ms=416, probability=0.5),
    )
    """Where Smart Turn may end a turn whose words are complete; checked in order, see docs/turn-taking.md."""
    timeout_ms: int = Field(600, ge=96, le=10000)
    """Silence that ends a turn whatever Smart Turn says."""
    either_or_more_ms: int = Field(104, ge=0, le=5000)
    """So much more after a question for yes or no: an "or" may follow ("Is there a screen, or do we bring one?")."""
    open_timeout_ms: int = Field(704, ge=96, le=10000)
    """The same, if the words so far are a statement ("I just moved here")."""
    unfinished_timeout_ms: int = Field(1536, ge=96, le=10000)
    """The same, if the words so far break off (a trailing 'and', 'to', 'my', half a phone number)."""
    settle_ms: int = Field(32, ge=0, le=500)
    """A reply that is ready waits this long after the decision: a sound in this time may be the caller going on."""
    longest_turn_s: float = Field(28.0, gt=1, le=30)
    """A turn is cut here: the transcriber hears at most 30 s."""
    partial_every_ms: int = Field(400, ge=100, le=5000)
    """How often the words so far are transcribed while the caller speaks."""
    reprompt_after_s: float = Field(8.0, gt=0)
    """Silence after a reply until the agent asks whether someone is there."""
    moment_more_s: float = Field(22.0, ge=0)
    """So much more of it, once, after a caller has asked for a moment ("Hang on, let me find my card")."""
    reprompts: int = Field(2, ge=0, le=10)
    """How often it asks before it says goodbye."""

    poor_log_probability: float = Field(-1.0, le=0)
    """Mean log probability a token below which words that lead to no answer were probably misheard."""
    filler_after_ms: int = Field(1500, ge=200, le=10000)
    """From the turn's end: with nothing to be heard by then, the filler line is said."""

    def timeouts_ms(self) -> tuple[int, ...]:
        """The silences that end turns by themselves, rising."""
        either_or_ms = self.timeout_ms + self.either_or_more_ms
        return (self.timeout_ms, either_or_ms, self.open_timeout_ms, self.unfinished_timeout_ms)

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("preset") not in _PRESETS:
            return given
        return {**_PRESETS[given["preset"]], **given}

    @model_validator(mode="after")
    def _points_rise(self) -> TurnTaking:
        silences = [point.silence_ms for point in self.pause_points]
        if silences != sorted(set(silences)) or (silences and silences[-1] > self.timeout_ms):
            raise ValueError("pause_points must rise in silence_ms and end before timeout_ms")
        limits = self.timeouts_ms()
        if list(limits) != sorted(limits):
            raise ValueError(
                "expected timeout_ms + either_or_more_ms <= open_timeout_ms <= unfinished_timeout_ms; "
                f"got {limits[1]}, {limits[2]}, {limits[3]}"
            )
        return self


def _only_required(*keys: str) -> ConfigDict:
    """For editors: what a file must have of its own; the rest comes with the product (pipeline/agent_common.py)."""

    def require(schema: dict[str, JsonValue]) -> None:
        schema["required"] = [*keys]

    return ConfigDict(json_schema_extra=require)


def _with_common_ones(schema: dict[str, JsonValue]) -> None:
    """For editors: a file may have fewer, since there are common ones."""
    schema.pop("minItems")


class Lines(StrictModel):
    """What is said when nothing else is. Synthesised before the first call and kept in memory. {name} is the agent's
    name; a file need say only what it wants to word itself."""

    model_config = _only_required()

    greeting: Line
    """Said first."""
    fallback: tuple[Line, ...] = Field(min_length=1)
    """For questions outside the knowledge; used in turn."""
    not_understood: tuple[Line, ...] = Field(min_length=1)
    """The caller spoke, but no words could be made out, or poor ones; used in turn."""
    keypad: Line | None = None
    """Said after two tries that came to nothing: which keys do what. Needs `keys`."""
    escalation: Line | None = None
    """Said after three tries without words: what happens now. Then the agent hangs up."""
    filler: Line | None = None
    """Said while an answer takes long."""
    resumed: Line = "Sorry, we were cut off. Let's go on."
    """Said instead of the greeting when a call that was cut off is connected again."""
    declined: Line | None = None
    """Said in the middle of a flow to what the agent knows nothing of, before it comes back with its question; None: as
    the language has it (pipeline/understanding/en.yaml)."""
    waiting: Line | None = None
    """The caller asks for a moment; None: as the language has it."""
    unanswered: Line | None = None
    """The caller was put through, and the line was busy or nobody answered: said in the carrier's own voice, and the
    call ends. None: as the language has it."""
    warning: Line
    """Said to who insults the agent or threatens."""
    abuse_farewell: Line
    """Said the second time; then the agent hangs up."""
    apology: Line
    """A model failed in the middle of a turn; the call goes on."""
    reprompt: Line
    """The caller has been silent."""
    farewell: Line
    """Said to a goodbye; then the agent hangs up."""
    silence_farewell: Line
    """The caller stayed silent; the agent hangs up."""
    too_long: Line
    """The call has reached its limit; the agent hangs up."""


class Fact(StrictModel):
    """One atomic piece of knowledge: a sentence that answers a question and is true said as it stands."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    """What it is called in files, logs and reports."""
    text: Line
    """Said as it stands, or worded by the language model."""
    questions: tuple[str, ...] = ()
    """Ways a caller may ask for it; they help to find it."""


class Route(StrictModel):
    """Where an utterance may go. One of those that every business has need only say what is otherwise."""

    model_config = _only_required("name")

    name: str = Field(pattern=r"^[a-z_]+$")
    """What it is called in files, logs and reports."""
    kind: Literal["knowledge", "flow", "say", "repeat", "cancel", "person", "farewell", "abuse", "fallback"]
    """'knowledge' answers from facts; 'flow' begins one; 'say' speaks `line`; 'repeat' says the last again; 'cancel'
    calls off what is under way; 'person' hands over; 'abuse' gets a warning, and the second time the end of the call;
    'fallback' is for what is none of our business."""
    description: str = Field("", max_length=120)
    """What a caller who belongs here does, for a model that understands: "wants a new appointment"."""
    line: Line | None = None
    """For kind 'say'."""
    flow: str | None = None
    """For kind 'flow'."""
    target: str | None = None
    """For kind 'person': among the transfer targets; else the default one."""
    asks_back: Line | None = None
    """Asked where it is likely, and not certain, that this is meant ("Is this an emergency?"); a yes takes the route.
    None: as the language has it for 'cancel', 'person' and 'farewell'; any other route is then taken unasked."""
    model: ModelOverride = "auto"
    """Which language model words answers here; 'auto': see `model_selection`."""
    examples: tuple[str, ...] = Field(min_length=3, json_schema_extra=_with_common_ones)
    """Utterances that belong here; the router's classifier is trained on them at start."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Route:
        if (self.kind == "say") != (self.line is not None):
            raise ValueError("line is required for kind 'say' and for no other")
        if (self.kind == "flow") != (self.flow is not None):
            raise ValueError("flow is required for kind 'flow' and for no other")
        return self


class Generation(StrictModel):
    """How the language model is asked."""

    words: Literal["model", "facts"] = "model"
    """'facts': answers are the facts as they are written. For languages that the model does not know well."""
    max_tokens: int = Field(48, ge=1, le=1024)
    """Longest answer of the language model, in tokens."""
    temperature: float = Field(0.0, ge=0, le=2)
    """Of the language model's sampling; 0: always the likeliest."""
    examples: tuple[tuple[str, str, str], ...] = ()
    """(fact, question, answer) shown to the model before the real one."""


class Agent(StrictModel):
    """One agent."""

    model_config = _only_required("name", "voice", "facts")

    name: str
    """The business's; lines and whispers may say {name}."""
    include: tuple[str, ...] = ()
    """Files, relative to this one, whose entries become part of it: variables, flows, tools, facts, routes, ..."""
    persona: str = Field(max_length=1000)
    """The system prompt's first part; kept short, it is read at every turn."""
    language: Language = "en"
    """What is spoken: the readers of values, lists, and the words that end a turn follow it, and so does
    what Whisper expects."""
    also_in: dict[Language, str] = Field(default_factory=dict)
    """Agent files for other languages, relative to this one: the one whose language the caller is heard to speak takes
    over."""
    voice: str
    """A Kokoro voice, e.g. af_heart. 'es/' before an English voice's name has it speak Spanish."""
    lines: Lines
    routes: tuple[Route, ...] = Field(min_length=1)
    common: CommonUse = CommonUse()
    """What of the routes that every business has the agent does without."""
    examples_from: tuple[str, ...] = ()
    """Files of more examples for the routes, YAML of utterances by route, relative to this file: what `trunkline router
    train` writes. They become part of the agent when it is read."""
    utterances: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """How callers say it, by route or by `q:` and a fact's id: for the model that understands and the votes beside it
    (docs/understanding.md). The rules that decide without a model do not know them."""
    utterances_from: tuple[str, ...] = ()
    """Files of such, relative to this file."""
    hours: Hours = Hours()
    """When the business is open, and where it is."""
    facts: tuple[Fact, ...] = ()
    """What it knows. `hours` become one of them, and questions about them are answered for the day that is asked about
    (pipeline/hours_asked.py), unless there is one with the id `hours`."""
    variables: dict[Name, Variable] = Field(default_factory=dict)
    """What may become known in a call."""
    flows: dict[Name, Flow] = Field(default_factory=dict)
    """What the agent can do in talk, as graphs (pipeline/workflow/definition.py)."""
    on_call: str | None = None
    """A flow that is run while the greeting is said: it looks things up, and neither speaks nor asks."""
    otherwise: str | None = None
    """A flow that is begun by what no route and no fact answers; None: the fallback line is said."""
    trouble: Trouble = Trouble()
    """What is said and done where a node says no `failed` or `exhausted`."""
    tools: dict[Name, Tool] = Field(default_factory=dict)
    """What it can do on business systems."""
    connections: dict[Name, JsonValue] = Field(default_factory=dict)
    """Where those systems are and how we prove who we are, as serve/connectors/connection.py reads it."""
    escalation: Escalation | None = None
    """When a person takes over; None: never."""
    keys: dict[Annotated[str, Field(pattern=r"^[0-9*#]$")], str] = Field(default_factory=dict)
    """What a key pressed outside a form stands for, as an utterance ("1": "What are your opening hours?")."""
    generation: Generation = Generation()
    model_selection: ModelSelection = ModelSelection()
    """When the large language model is asked instead of the small one."""
    context: ContextSettings = ContextSettings()
    """How much of a prompt its parts may take."""
    turn_taking: TurnTaking = TurnTaking()
    fact_score: float = Field(0.5, ge=-1, le=1)
    """A fact nearer than this (cosine) to the utterance answers it; below, the fallback line is said."""
    route_confidence: float = Field(0.4, ge=0, le=1)
    """Below this the route does not count, and the facts alone decide."""
    longest_call_s: float = Field(900.0, gt=10)
    """A call that lasts longer is ended, with the line `too_long`."""
    stage_timeout_s: float = Field(6.0, gt=0)
    """A stage that has not answered by then has failed: the caller hears the apology."""

    @field_validator("flows")
    @classmethod
    def _forms_as_nodes(cls, flows: dict[str, Flow], given: ValidationInfo) -> dict[str, Flow]:
        language: Language = given.data.get("language", "en")
        made = {}
        for name, flow in flows.items():
            try:
                made[name] = without_forms(flow, language)
            except ValueError as error:
                raise ValueError(f"{name}.{error}") from None
        return made

    @model_validator(mode="after")
    def _knows_its_hours(self) -> Agent:
        """The fact that stands for `hours`, unless there is one of that name."""
        known = self.hours.known and all(fact.id != HOURS_FACT for fact in self.facts)
        if not known and not self.facts:
            raise ValueError("facts: missing; give at least one, or `hours`")
        if not known:
            return self
        week = SpokenHours(self.hours, self.language).week()
        fact = Fact(id=HOURS_FACT, text=week, questions=HOURS_QUESTIONS[self.language])
        return self.model_copy(update={"facts": (fact, *self.facts)})

    @model_validator(mode="after")
    def _consistent(self) -> Agent:
        names = [route.name for route in self.routes]
        if len(set(names)) != len(names):
            raise ValueError(f"routes: names must differ: {', '.join(names)}")
        if self.language in self.also_in:
            raise ValueError(f"also_in: {self.language!r} is this file's own language; expected others")
        ids = [fact.id for fact in self.facts]
        if len(set(ids)) != len(ids):
            raise ValueError(f"facts: ids must differ: {', '.join(ids)}")
        for key, named in (("on_call", self.on_call), ("otherwise", self.otherwise)):
            if named is not None and named not in self.flows:
                raise ValueError(f"{key}: no flow {named!r}; expected one of {', '.join(self.flows)}")
        for name, flow in self.flows.items():
            if unknown := [other for other in flow.instead_of if other not in self.flows]:
                raise ValueError(f"flows.{name}.instead_of: no such flow: {', '.join(unknown)}")
        for route in self.routes:
            if route.flow is not None and route.flow not in self.flows:
                raise ValueError(
                    f"routes: {route.name}: no flow {route.flow!r}; expected one of {', '.join(self.flows)}"
                )
            if route.kind == "person" and self.escalation is None:
                raise ValueError(f"routes: {route.name}: kind 'person' needs `escalation`")
        labels = {*(route.name for route in self.routes), *(f"{FACT}{fact.id}" for fact in self.facts)}
        if strange := [label for label in self.utterances if label not in labels]:
            raise ValueError(f"utterances: no route or fact {', '.join(strange)}; a fact's label is {FACT} and its id")
        if not self.hours.known and (
            lacking := [name for name, variable in self.variables.items() if variable.between == HOURS]
        ):
            raise ValueError(f"variables.{lacking[0]}.between: `hours` says no days; give them, or from-to here")
        if (self.lines.keypad is None) != (not self.keys):
            raise ValueError("lines.keypad and keys belong together: give both or neither")
        return self

    @property
    def declined(self) -> str:
        """See `Lines.declined`."""
        return self.lines.declined or phrases(self.language).declined

    @property
    def waiting(self) -> str:
        """See `Lines.waiting`."""
        return self.lines.waiting or phrases(self.language).waiting

    @property
    def unanswered(self) -> str:
        """See `Lines.unanswered`."""
        return self.lines.unanswered or phrases(self.language).unanswered

    def asks_back(self, route: Route) -> str | None:
        """See `Route.asks_back`; None: the route is taken unasked."""
        if route.kind in ("cancel", "person", "farewell"):
            return route.asks_back or phrases(self.language).asks_back[route.kind]
        return route.asks_back

    @property
    def not_meant(self) -> str:
        """What is said to a no to what was asked back."""
        return phrases(self.language).not_meant

    def route(self, name: str) -> Route | None:
        """The route of that name."""
        return next((route for route in self.routes if route.name == name), None)

    def fact(self, fact_id: str) -> Fact:
        """The fact of that id. Raises KeyError."""
        for fact in self.facts:
            if fact.id == fact_id:
                return fact
        raise KeyError(fact_id)


def load_agent(path: Path) -> Agent:
    """Read an agent file. Raises models.settings.SettingsError naming file, key and what was expected."""
    return agent_of(load_with_included(path), path)


def agent_of(data: Mapping[str, JsonValue], path: Path) -> Agent:
    """An agent from the content of its file, with what every business has. Raises SettingsError."""
    return settings_from(with_common(data, path), Agent, str(path))
