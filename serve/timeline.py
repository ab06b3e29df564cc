"""From a call's events to what people look at: per turn, who said what and where every millisecond went.

Pure functions over `pipeline.events` records; the live view, the report and the benchmarks all read from here.
Two clocks meet: events are stamped with seconds since the media began, speech is placed in seconds of audio
received. They are the same axis as long as the carrier delivers what it should; lost audio shifts the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from pipeline.events import (
    BargeIn,
    CallEnded,
    CallStarted,
    ClauseDecided,
    ClausePlayed,
    Event,
    FinalTranscript,
    FirstAudio,
    Keypress,
    PartialTranscript,
    ReplyEnded,
    ReplyResumed,
    ReplySource,
    Routed,
    SpeechReady,
    SpeechStarted,
    SpeechStopped,
    StageFailed,
    ToolFinished,
    TurnDecided,
    TurnDropped,
    TurnResumed,
    Understood,
)

StageName = Literal[
    "end_of_speech",
    "turn_decided",
    "final_transcript",
    "route",
    "understood",
    "first_clause",
    "first_speech",
    "first_audio",
]

EventT = TypeVar("EventT", bound=Event)

STAGE_LABELS: dict[StageName, str] = {
    "end_of_speech": "end of speech",
    "turn_decided": "turn decided",
    "final_transcript": "final transcript",
    "route": "route",
    "understood": "understood",
    "first_clause": "first clause",
    "first_speech": "first speech",
    "first_audio": "first audible sample",
}
"""What people read, in the order in which the stages of a turn follow one another."""

_VOID_ON_RESUME = (SpeechStopped, TurnDecided, FinalTranscript, Routed, Understood, ClauseDecided, SpeechReady)

_OF_THE_WORDS: frozenset[StageName] = frozenset({"final_transcript", "route", "understood"})
"""After these a reply's words can be decided."""

NOT_A_REPLY: frozenset[ReplySource] = frozenset({"apology", "reprompt", "filler"})
"""Stock lines that answer nothing: reaching one of them fast says nothing about voice to voice."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step from the caller's last sample to the agent's first."""

    name: StageName
    at_s: float
    """When it was done, in seconds since the media began."""
    since_end_ms: float | None
    """The same, counted from the end of the caller's speech. None if nobody had spoken (a greeting)."""
    own_ms: float
    """What the step itself took. Steps may overlap: a guess at the reply starts before the turn is decided."""


@dataclass(frozen=True, slots=True)
class ClauseTimeline:
    """One clause of the agent's reply."""

    clause_id: str
    text: str
    source: ReplySource
    decided_s: float
    first_audio_s: float | None
    end_s: float | None
    """When it had been played, or was cut off. None while it plays, or if it never sounded."""
    heard: str
    """The words of it that reached the caller's ear; what follows them did not."""
    rejected: str
    """What the language model had said instead."""


@dataclass(frozen=True, slots=True)
class Partial:
    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    at_s: float
    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class Booking:
    """Something that was done for the caller on a business system."""

    at_s: float
    form: str
    """The tool."""
    values: dict[str, str]
    """Its arguments, as the agent would say them."""


@dataclass(frozen=True, slots=True)
class TurnTimeline:
    """One exchange: the caller's words and the agent's answer. A greeting or reprompt has no caller's side."""

    turn: int
    speech_start_s: float | None
    speech_end_s: float | None
    """Last sample of the caller's speech: every `since_end_ms` counts from here."""
    decided_by: str | None
    partials: tuple[Partial, ...]
    caller_words: str
    """The final transcript; until there is one, the latest partial."""
    is_final: bool
    average_log_probability: float | None
    route: str | None
    route_confidence: float | None
    clauses: tuple[ClauseTimeline, ...]
    stages: tuple[Stage, ...]
    """Those that happened, in the order of `STAGE_LABELS`."""
    v2v_ms: float | None
    """Voice to voice as the gateway sees it: last sample heard to first audible frame of the reply sent."""
    dropped: bool
    """No words were found in it: the agent carried on as if it had not been."""
    interrupted: bool
    barge_in_s: float | None
    failures: tuple[Failure, ...]
    bookings: tuple[Booking, ...]

    @property
    def agent_words(self) -> str:
        """What the agent set out to say."""
        return " ".join(clause.text for clause in self.clauses)

    @property
    def heard_words(self) -> str:
        """What of it reached the caller."""
        return " ".join(clause.heard for clause in self.clauses if clause.heard)

    @property
    def sources(self) -> tuple[ReplySource, ...]:
        """Who decided the words, each once, in order."""
        return tuple(dict.fromkeys(clause.source for clause in self.clauses))

    def stage(self, name: StageName) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Voice to voice over several turns; None where nothing was measured."""

    count: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class CallerFigures:
    """The same call as the caller measured it on the wire: what counts, where it is known."""

    v2v: LatencySummary
    cut_offs: int
    """Lines over which the agent began to speak before the caller had finished."""
    spoken_turns: int
    """Lines that could have been cut off."""


@dataclass(frozen=True, slots=True)
class CallTimeline:
    started: CallStarted | None
    ended: CallEnded | None
    duration_s: float
    turns: tuple[TurnTimeline, ...]
    keypresses: tuple[Keypress, ...]
    v2v: LatencySummary

    @property
    def barge_ins(self) -> int:
        return sum(turn.barge_in_s is not None for turn in self.turns)

    @property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(failure for turn in self.turns for failure in turn.failures)


def summarise(values_ms: Iterable[float | None]) -> LatencySummary:
    """p50 and p95, linear between ranks (numpy's default); turns without a figure are left out."""
    known = [value for value in values_ms if value is not None]
    if not known:
        return LatencySummary(count=0, p50_ms=None, p95_ms=None)
    p50_ms, p95_ms = np.percentile(known, [50, 95])
    return LatencySummary(count=len(known), p50_ms=float(p50_ms), p95_ms=float(p95_ms))


def call_timeline(events: Sequence[Event]) -> CallTimeline:
    """The whole call. Works on a call that is under way or broke off, too."""
    by_turn: dict[int, list[Event]] = defaultdict(list)
    sounding = 0
    for event in events:
        turn = turn_of(event)
        if isinstance(event, FirstAudio):
            sounding = event.turn
        if isinstance(event, BargeIn):
            # It is logged with the turn that begins; for a reader it belongs to the reply that it ended.
            turn = sounding
        if turn is not None:
            by_turn[turn].append(event)
    turns = tuple(turn_timeline(turn, records) for turn, records in sorted(by_turn.items()))
    return CallTimeline(
        started=next((event for event in events if isinstance(event, CallStarted)), None),
        ended=next((event for event in events if isinstance(event, CallEnded)), None),
        duration_s=max((event.at_s for event in events), default=0.0),
        turns=turns,
        keypresses=tuple(event for event in events if isinstance(event, Keypress)),
        v2v=summarise(turn.v2v_ms for turn in turns),
    )


def turn_timeline(turn: int, events: Sequence[Event]) -> TurnTimeline:
    """One turn, from its own records in the order of the log. Any of them may be missing."""
    events = _without_void(events)
    starts = [event for event in events if isinstance(event, SpeechStarted)]
    stops = [event for event in events if isinstance(event, SpeechStopped)]
    decided = _last(events, TurnDecided)
    final = _last(events, FinalTranscript)
    routed, understood = _last(events, Routed), _last(events, Understood)
    taken = understood or routed
    barge_in = _last(events, BargeIn)
    resumed = _last(events, ReplyResumed)
    if barge_in is not None and resumed is not None and resumed.seq > barge_in.seq:
        barge_in = None
    dropped = any(isinstance(event, TurnDropped) for event in events)
    partials = tuple(Partial(event.at_s, event.text) for event in events if isinstance(event, PartialTranscript))
    speech_end_s = decided.speech_end_s if decided else stops[-1].audio_s if stops else None
    replies = _replies(events)
    clauses = [_clauses(reply) for reply in replies]
    answer = next((reply for reply in clauses if reply), ())
    reply_s = next(
        (c.first_audio_s for c in answer if c.first_audio_s is not None and c.source not in NOT_A_REPLY), None
    )
    v2v_ms = None if reply_s is None or speech_end_s is None or dropped else (reply_s - speech_end_s) * 1000
    ends = [event for event in events if isinstance(event, ReplyEnded)]
    return TurnTimeline(
        turn=turn,
        speech_start_s=starts[0].audio_s if starts else None,
        speech_end_s=speech_end_s,
        decided_by=decided.reason if decided else None,
        partials=partials,
        caller_words=final.text if final else partials[-1].text if partials else "",
        is_final=final is not None,
        average_log_probability=final.average_log_probability if final else None,
        route=taken.label if taken else None,
        route_confidence=taken.confidence if taken else None,
        clauses=tuple(clause for reply in clauses for clause in reply),
        stages=_stages(events, speech_end_s, decided, final, routed, understood, answer),
        v2v_ms=v2v_ms,
        dropped=dropped,
        interrupted=barge_in is not None or any(not event.complete for event in ends),
        barge_in_s=barge_in.at_s if barge_in else None,
        failures=tuple(Failure(e.at_s, e.stage, e.error) for e in events if isinstance(e, StageFailed)),
        bookings=tuple(
            Booking(e.at_s, e.tool, dict(e.arguments))
            for e in events
            if isinstance(e, ToolFinished) and e.effect == "write" and e.status == "ok"
        ),
    )


def _stages(
    events: Sequence[Event],
    speech_end_s: float | None,
    decided: TurnDecided | None,
    final: FinalTranscript | None,
    routed: Routed | None,
    understood: Understood | None,
    clauses: tuple[ClauseTimeline, ...],
) -> tuple[Stage, ...]:
    stages: list[Stage] = []

    def add(name: StageName, at_s: float, own_ms: float | None = None) -> None:
        """Without a time of its own, a stage took from the end of what was done before it until now."""
        if own_ms is None:
            before_s = max((stage.at_s for stage in stages if stage.at_s <= at_s), default=at_s)
            own_ms = (at_s - before_s) * 1000
        since_ms = None if speech_end_s is None else (at_s - speech_end_s) * 1000
        stages.append(Stage(name, at_s, since_ms, own_ms))

    if speech_end_s is not None:
        add("end_of_speech", speech_end_s, 0.0)
    if decided:
        add("turn_decided", decided.at_s)
    if final:
        add("final_transcript", final.at_s, final.took_ms)
    if routed:
        add("route", routed.at_s, routed.took_ms)
    if understood is not None and understood.way == "model":
        add("understood", understood.at_s, understood.took_ms)
    if clauses:
        lead = clauses[0]
        # A reply may be made ready behind the gate before the turn is decided: its steps follow the transcript then.
        text_s = max((stage.at_s for stage in stages if stage.name in _OF_THE_WORDS), default=None)
        add("first_clause", lead.decided_s, None if text_s is None else max(0.0, (lead.decided_s - text_s) * 1000))
        ready = next((e for e in events if isinstance(e, SpeechReady) and e.clause_id == lead.clause_id), None)
        if ready:
            add("first_speech", ready.at_s, ready.took_ms)
        if lead.first_audio_s is not None:
            add("first_audio", lead.first_audio_s)
    return tuple(stages)


def _without_void(events: Sequence[Event]) -> list[Event]:
    """A turn's records without what was worked out after a pause that turned out not to be its end."""
    valid: list[Event] = []
    for event in events:
        if isinstance(event, TurnResumed):
            valid = [kept for kept in valid if not isinstance(kept, _VOID_ON_RESUME)]
        else:
            valid.append(event)
    return valid


def _replies(events: Sequence[Event]) -> list[list[Event]]:
    """A turn's records cut after each reply's end: a reprompt or a farewell may follow the answer in the same turn."""
    replies: list[list[Event]] = [[]]
    for event in events:
        replies[-1].append(event)
        if isinstance(event, ReplyEnded):
            replies.append([])
    return replies


def _clauses(events: Sequence[Event]) -> tuple[ClauseTimeline, ...]:
    """One reply's clauses, with the words of each that were heard."""
    sounded = {e.clause_id: e.at_s for e in events if isinstance(e, FirstAudio)}
    played = {e.clause_id: e.at_s for e in events if isinstance(e, ClausePlayed)}
    barge_in, ended = _last(events, BargeIn), _last(events, ReplyEnded)
    cut_s = barge_in.at_s if barge_in else ended.at_s if ended else None
    heard = ended.heard if ended else barge_in.heard if barge_in else None
    left = heard.split() if heard is not None else []
    clauses = []
    for event in (event for event in events if isinstance(event, ClauseDecided)):
        words = event.text.split()
        # While a reply sounds, nobody knows how much of a clause was heard: what has begun counts as a whole.
        whole = event.clause_id in played or (heard is None and event.clause_id in sounded)
        reached = len(words) if whole else min(len(words), len(left))
        left = left[reached:]
        first_audio_s = sounded.get(event.clause_id)
        clauses.append(
            ClauseTimeline(
                clause_id=event.clause_id,
                text=event.text,
                source=event.source,
                decided_s=event.at_s,
                first_audio_s=first_audio_s,
                end_s=played.get(event.clause_id, cut_s if first_audio_s is not None else None),
                heard=" ".join(words[:reached]),
                rejected=event.rejected,
            )
        )
    return tuple(clauses)


def turn_of(event: Event) -> int | None:
    """The turn that an event names, if its kind has one."""
    turn = getattr(event, "turn", None)
    return turn if isinstance(turn, int) else None


def _last(events: Sequence[Event], kind: type[EventT]) -> EventT | None:
    return next((event for event in reversed(events) if isinstance(event, kind)), None)
