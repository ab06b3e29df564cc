"""The call's event log: monotonic, typed, the one source for transcript, metrics, waterfall, report and replay.

Every record has `at_s`, seconds since the call's media began, on the call's clock. A log is written as one JSON
object a line; `read_events` gives the same records back.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pipeline.clock import Clock

ReplySource = Literal[
    "greeting",
    "llm",
    "knowledge",
    "line",
    "asks_back",
    "waiting",
    "warning",
    "form",
    "fallback",
    "repeat",
    "apology",
    "reprompt",
    "keypad",
    "escalation",
    "filler",
    "farewell",
]
"""Who decided a clause's words. 'llm': generated, and borne out by the knowledge; 'knowledge': the fact as written;
'line': a line of the agent file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all records. `seq` and `at_s` are stamped by the log."""

    kind: ClassVar[str] = ""
    seq: int = -1
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    kind: ClassVar[str] = "call_started"
    call_sid: str
    stream_sid: str
    caller: str
    """The caller's number as the carrier gave it: a look-up key, never proof of identity."""
    agent: str
    wall_time_s: float
    agent_version: str = ""
    """Of the agent file's content, see pipeline/agent_version.py."""
    weights: dict[str, str] = field(default_factory=dict)
    """Digest of all that decides what the models' weights hold, by what the stack file calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Event):
    """The VAD confirmed that the caller speaks; or words came on a line without audio."""

    kind: ClassVar[str] = "speech_started"
    turn: int
    audio_s: float
    """Where speech began, in seconds of audio received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStopped(Event):
    """The VAD heard enough silence to prepare a reply, behind a gate; the turn may or may not be over."""

    kind: ClassVar[str] = "speech_stopped"
    turn: int
    audio_s: float
    """Where the last speech ended, in seconds of audio received. V2V is counted from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialTranscript(Event):
    kind: ClassVar[str] = "partial"
    turn: int
    text: str
    audio_s: float
    """How much of the turn's audio it covers."""
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRead(Event):
    """The language model has read ahead the prompt that a partial transcript leads to."""

    kind: ClassVar[str] = "prompt_read"
    turn: int
    text: str
    """The partial."""
    took_ms: float
    """Routing included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointScored(Event):
    kind: ClassVar[str] = "endpoint_scored"
    turn: int
    silence_ms: float
    probability: float
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDecided(Event):
    """The caller's turn is over."""

    kind: ClassVar[str] = "turn_decided"
    turn: int
    reason: Literal["model", "timeout", "too_long"]
    """'model': Smart Turn was sure; 'timeout': silence outlasted the fallback; 'too_long': the turn hit its limit."""
    speech_end_s: float
    """Seconds of audio received at the last speech sample."""
    silence_ms: float
    probability: float | None = None
    """Smart Turn's last word on it."""
    words: str = ""
    """What the words told (pipeline.endpointing.Words)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHeld(Event):
    """The turn's end was considered, and the caller is waited for."""

    kind: ClassVar[str] = "endpoint_held"
    turn: int
    silence_ms: float
    probability: float | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResumed(Event):
    """The caller went on: what was logged for this turn after the pause (final, route, clauses) is void."""

    kind: ClassVar[str] = "turn_resumed"
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDropped(Event):
    """What the VAD took for a turn was none."""

    kind: ClassVar[str] = "turn_dropped"
    turn: int
    why: Literal["no_words", "backchannel"] = "no_words"
    """'no_words': a cough, noise; 'backchannel': "mm-hm" while the agent spoke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalTranscript(Event):
    kind: ClassVar[str] = "final"
    turn: int
    text: str
    average_log_probability: float
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed(Event):
    kind: ClassVar[str] = "routed"
    turn: int
    label: str
    confidence: float
    passage_ids: tuple[str, ...]
    passage_scores: tuple[float, ...]
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood(Event):
    """What the words were taken to mean."""

    kind: ClassVar[str] = "understood"
    turn: int
    way: Literal["fast", "model", "rules"]
    """Who decided: the router, being sure; a language model; or the router for want of one."""
    label: str
    confidence: float
    doubted: str = ""
    """A route that is likelier, and too uncertain to be taken unasked."""
    evidence: dict[str, float]
    """The likeliest meanings, as model and router together see them; empty if no model was asked."""
    took_ms: float
    """Without the router's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseDecided(Event):
    """The words of a clause are fixed; it now goes to speech."""

    kind: ClassVar[str] = "clause_decided"
    turn: int
    clause_id: str
    text: str
    source: ReplySource
    rejected: str = ""
    """What the LLM said instead, if its words were not borne out by the knowledge and were replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechReady(Event):
    """The first samples of a clause came back from the speaker."""

    kind: ClassVar[str] = "speech_ready"
    turn: int
    clause_id: str
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAudio(Event):
    """A clause's first audible frame went out on the wire."""

    kind: ClassVar[str] = "first_audio"
    turn: int
    clause_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClausePlayed(Event):
    kind: ClassVar[str] = "clause_played"
    turn: int
    clause_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeIn(Event):
    """The caller spoke over the agent and the agent fell silent."""

    kind: ClassVar[str] = "barge_in"
    turn: int
    heard: str
    """The words of the interrupted reply that reached the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyResumed(Event):
    """What had silenced the agent was no turn: the reply goes on with the first word that was not heard whole."""

    kind: ClassVar[str] = "reply_resumed"
    turn: int
    """Of the reply."""
    heard: str
    """What of it had been heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEnded(Event):
    kind: ClassVar[str] = "reply_ended"
    turn: int
    heard: str
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """A tool was called, on the caller's decided word."""

    kind: ClassVar[str] = "tool_started"
    turn: int
    tool: str
    arguments: dict[str, str]
    """Those that may be logged, as the agent would say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    kind: ClassVar[str] = "tool_finished"
    turn: int
    tool: str
    effect: str
    """'read', or 'write': something was changed if the status is 'ok'."""
    status: Literal["ok", "rejected", "failed", "unknown"]
    code: str
    """Which no, if it was rejected."""
    arguments: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChosen(Event):
    """Which language model is to word the answer."""

    kind: ClassVar[str] = "model_chosen"
    turn: int
    tier: Literal["small", "large"]
    why: str
    """'easy', 'unsure', 'long', 'close_facts', 'no_time', or 'set' in the agent file."""
    expected_ms: float
    """When its first clause is expected."""
    saved_ms: float
    """What the large model would have taken longer, if the small one was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageChanged(Event):
    """The caller speaks another language than was thought: the agent that speaks it answers from here on."""

    kind: ClassVar[str] = "language_changed"
    turn: int
    language: str
    """ISO 639-1."""
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequested(Event):
    """The call is to be handed over to a person."""

    kind: ClassVar[str] = "transfer_requested"
    turn: int
    reason: str
    target: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSet(Event):
    """Something became known of the caller's matter."""

    kind: ClassVar[str] = "variable_set"
    turn: int
    name: str
    value: str
    """Empty for a sensitive one."""
    words: str
    """The caller's words it was read from; empty for a sensitive one."""
    confidence: float
    confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypress(Event):
    kind: ClassVar[str] = "keypress"
    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Talked(Event):
    """A language model has said how a free conversation goes on."""

    kind: ClassVar[str] = "talked"
    turn: int
    variables: tuple[str, ...]
    """Those that it found in the caller's words, by its word."""
    call: str
    """The tool that it wants called; empty: none."""
    leave: str
    """The way out that it takes; empty: none."""
    dropped: tuple[str, ...]
    """Sentences of it that were not said, since nothing bears them out."""
    took_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed(Event):
    """A stage failed. An apology follows, or an answer that does without the stage."""

    kind: ClassVar[str] = "stage_failed"
    turn: int
    stage: Literal["transcribe", "route", "understand", "reply", "speak", "turn_score"]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Event):
    kind: ClassVar[str] = "call_ended"
    reason: Literal[
        "caller_hung_up", "farewell", "escalated", "abuse", "transferred", "silence", "too_long", "line_lost", "failure"
    ]


class EventLog:
    """Append-only. Listeners run on append, in order, on the event loop; they must return at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._epoch_s = clock.now_s()
        self._events: list[Event] = []
        self._listeners: list[Callable[[Event], None]] = []

    def append(self, event: Event) -> Event:
        """Stamp and keep an event; gives the stamped record back."""
        stamped = dataclasses.replace(event, seq=len(self._events), at_s=round(self.now_s(), 6))
        self._events.append(stamped)
        for listener in self._listeners:
            listener(stamped)
        return stamped

    def now_s(self) -> float:
        """Seconds since the log began, on the call's clock."""
        return self._clock.now_s() - self._epoch_s

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)


def to_json(event: Event) -> str:
    """One line of events.jsonl."""
    return json.dumps({"kind": event.kind, **dataclasses.asdict(event)}, ensure_ascii=False)


def from_json(line: str) -> Event:
    """The record of one line. Raises ValueError for a kind or field this version does not know."""
    data = json.loads(line)
    kind = data.pop("kind", None)
    types = {cls.kind: cls for cls in Event.__subclasses__()}
    if kind not in types:
        raise ValueError(f"events.jsonl: unknown event kind {kind!r}; expected one of {', '.join(sorted(types))}")
    values: dict[str, object] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    try:
        return types[kind](**values)  # type: ignore[arg-type]  # the record's own fields, as to_json wrote them
    except TypeError as error:
        raise ValueError(f"events.jsonl: {kind}: {error}") from error


def read_events(lines: Iterable[str]) -> list[Event]:
    """All records of an events.jsonl; blank lines are passed over. Raises ValueError."""
    return [from_json(line) for line in lines if line.strip()]
