"""Voice to voice, measured on the wire: what was said, what was played, and the milliseconds between.

Everything here is a pure function of a call's two sides as 8 kHz samples on one timeline (sample 0 is the first sample
of the caller's first media frame). A number measured by the gateway about itself never enters.

*V2V* of a turn is the time from the last audible sample of the caller's line to the first audible sample of the
agent's reply, as it is played. *Cut-off*: the agent started to speak before the caller had finished the line.
*Barge-in*: from the first audible sample of the caller's interruption to the last audible one of the reply it breaks.

Audible means: a 10 ms frame whose level is above -45 dBFS. Speech on telephone lines is nominally at -26 dBov (ITU-T
G.191) and ITU-T P.56 counts as active what lies within 15.9 dB of it, which is -42; three more keep soft onsets.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PrivateAttr

from bench.results import Percentiles
from models.types import FloatAudio
from telephony.audio import WIRE_RATE_HZ, WavWriter, interleave, ulaw_to_pcm16

AUDIBLE_DBFS = -45.0
"""Level above which a frame counts as heard; full scale is an RMS of 1."""

REPLY_GAP_MS = 200
"""Silence that parts two stretches of the agent's speech; shorter ones are pauses between its words."""

TurnKind = Literal["greeting", "say", "interrupt", "wait", "silence", "dtmf", "hang_up"]
EndedBy = Literal["agent", "caller", "failure"]

_FRAME = WIRE_RATE_HZ // 100


@dataclass(frozen=True, slots=True)
class Span:
    """Samples [start, end) in which something is audible."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """What the caller did in one turn of the script, where it lies on the timeline (in samples)."""

    turn: int
    """Index in the script, from 0; -1 is the wait for the greeting."""
    kind: TurnKind
    text: str
    start: int
    """First audible sample of the line; for a turn without speech, where it began."""
    end: int
    """One past the last audible sample of the line, as rendered (before noise); `start` for a turn without speech."""

    @property
    def spoken(self) -> bool:
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class WireAudio:
    """A call's two sides as u-law, one byte a sample, from sample 0 of the timeline."""

    caller: bytes
    agent: bytes
    """As played: silence where nothing was, without what was flushed."""


class TurnRecord(BaseModel):
    """One turn, measured. Times are seconds on the wire's timeline."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    turn: int
    kind: TurnKind
    text: str
    speech_start_s: float
    speech_end_s: float
    agent_first_audible_s: float | None = None
    """First audible sample of the reply; None if no reply began before the next turn."""
    agent_last_audible_s: float | None = None
    """Last audible sample before the next turn began."""
    v2v_ms: float | None = None
    """None for turns without speech, without a reply, or cut off."""
    cut_off: bool = False
    """The agent began to speak before the line was over (never set for an interruption)."""
    barge_in_ms: float | None = None
    """Only for an interruption that broke an audible reply: how long the agent went on."""


class CallRecord(BaseModel):
    """One call as the caller saw it. Saved as caller.json, its sound as wire.wav."""

    model_config = ConfigDict(extra="forbid")

    script: str
    call_sid: str
    stream_sid: str
    voice: str
    seed: int
    noise: str
    """Kind and signal-to-noise ratio, or 'none'."""
    started_wall_time_s: float
    duration_s: float
    ended_by: EndedBy
    end_reason: str
    action_verbs: tuple[str, ...] = ()
    """Verbs of the TwiML which the action URL answered after the stream; empty if it was not asked."""
    turns: tuple[TurnRecord, ...] = ()
    marks_received: int = 0
    marks_played: int = 0
    """Marks echoed because their audio was played; the others were flushed or left when the call ended."""
    clears: int = 0
    underruns: int = 0
    """Holes inside a stretch of the agent's audio because the next frames came late."""
    underrun_ms: float = 0.0
    latest_frame_ms: float = 0.0
    """The most that a frame of ours left after its time: a busy machine makes this, and V2V, larger."""
    _wire: WireAudio | None = PrivateAttr(default=None)

    @property
    def wire(self) -> WireAudio | None:
        """Both sides' samples; None for a record read back from caller.json."""
        return self._wire

    def attach(self, wire: WireAudio) -> CallRecord:
        self._wire = wire
        return self

    def save(self, folder: Path) -> None:
        """Write caller.json and, if the sound is there, wire.wav (8 kHz stereo: left caller, right agent as played)."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "caller.json").write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if self._wire is not None:
            stereo = interleave(ulaw_to_pcm16(self._wire.caller), ulaw_to_pcm16(self._wire.agent))
            with WavWriter(folder / "wire.wav", channels=2) as wav:
                wav.write(stereo)


class Summary(BaseModel):
    """V2V and its twin over all turns of some calls. Either number alone can be gamed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: int
    spoken_turns: int
    """Lines said in full that were no interruptions: those that can be cut off."""
    v2v_ms: Percentiles | None
    """None if nothing was measured."""
    cut_offs: int
    cut_off_rate: float | None
    """Cut-offs among the spoken turns."""
    unanswered: int
    """Spoken turns and interruptions that got no reply before the next turn or the end."""
    barge_in_ms: Percentiles | None
    greeting_ms: Percentiles | None
    """From the first media frame to the first audible sample of the greeting."""


def _percentiles(values: Sequence[float]) -> Percentiles | None:
    return Percentiles.of(values) if values else None


def audible_spans(pcm: FloatAudio, *, min_gap_ms: int = REPLY_GAP_MS) -> list[Span]:
    """Where 8 kHz audio is audible. Spans less than `min_gap_ms` apart are joined.

    Frames of 10 ms decide; the ends are then moved to the first and last sample above the threshold in them.
    """
    frames = len(pcm) // _FRAME + (len(pcm) % _FRAME > 0)
    padded = np.zeros(frames * _FRAME, dtype=np.float64)
    padded[: len(pcm)] = pcm
    power = np.mean(np.square(padded.reshape(frames, _FRAME)), axis=1)
    loud = np.flatnonzero(power >= 10 ** (AUDIBLE_DBFS / 10))
    if not len(loud):
        return []
    least_gap = max(1, min_gap_ms * WIRE_RATE_HZ // 1000 // _FRAME)
    breaks = np.flatnonzero(np.diff(loud) > least_gap)
    firsts = loud[np.concatenate(([0], breaks + 1))]
    lasts = loud[np.concatenate((breaks, [len(loud) - 1]))]
    over = np.abs(padded) >= 10 ** (AUDIBLE_DBFS / 20)
    spans = []
    for first, last in zip(firsts, lasts, strict=True):
        start = int(first) * _FRAME + int(np.argmax(over[first * _FRAME : (first + 1) * _FRAME]))
        end = (int(last) + 1) * _FRAME - int(np.argmax(over[last * _FRAME : (last + 1) * _FRAME][::-1]))
        spans.append(Span(start, end))
    return spans


def measure_turns(lines: Sequence[SpokenLine], agent: FloatAudio, clears: Iterable[int] = ()) -> tuple[TurnRecord, ...]:
    """Measure every line against the agent's side of the wire.

    `agent` is what was played, 8 kHz; `clears` are the samples at which the carrier was told to drop its buffer: an
    utterance ends there even if the next one follows at once.
    """
    cuts = sorted(clears)
    spans = agent_spans(agent, cuts)
    ends = [line.start for line in lines[1:]] + [len(agent)]
    return tuple(_measure(line, until, spans, agent, cuts) for line, until in zip(lines, ends, strict=True))


def agent_spans(agent: FloatAudio, cuts: Sequence[int]) -> list[Span]:
    """Where the agent is audible; a flush at one of `cuts` (samples, ascending) parts what is closer than a pause."""
    edges = [0, *(cut for cut in cuts if 0 < cut < len(agent)), len(agent)]
    spans = []
    for start, end in itertools.pairwise(edges):
        spans += [Span(start + span.start, start + span.end) for span in audible_spans(agent[start:end])]
    return spans


def _measure(line: SpokenLine, until: int, spans: Sequence[Span], agent: FloatAudio, cuts: Sequence[int]) -> TurnRecord:
    replies = [span for span in spans if line.end <= span.start < until]
    cut_off = line.kind == "say" and any(line.start < span.start < line.end for span in spans)
    first = replies[0].start if replies else None
    heard = audible_spans(agent[line.end : until]) if until > line.end else []
    return TurnRecord(
        turn=line.turn,
        kind=line.kind,
        text=line.text,
        speech_start_s=line.start / WIRE_RATE_HZ,
        speech_end_s=line.end / WIRE_RATE_HZ,
        agent_first_audible_s=None if first is None else first / WIRE_RATE_HZ,
        agent_last_audible_s=(line.end + heard[-1].end) / WIRE_RATE_HZ if heard else None,
        v2v_ms=None if first is None or cut_off or not line.spoken else _ms(first - line.end),
        cut_off=cut_off,
        barge_in_ms=_barge_in_ms(line, until, spans, cuts) if line.kind == "interrupt" else None,
    )


def _barge_in_ms(line: SpokenLine, until: int, spans: Sequence[Span], cuts: Sequence[int]) -> float | None:
    if not any(span.start <= line.start < span.end for span in spans):
        return None
    # Up to the flush, all the agent says is the old reply; without one, only the stretch that was interrupted is.
    cut = next((cut for cut in cuts if line.start <= cut < until), None)
    if cut is None:
        old = [span for span in spans if span.start <= line.start < span.end]
    else:
        old = [span for span in spans if span.start < cut and span.end > line.start]
    return _ms(max(span.end for span in old) - line.start)


def _ms(samples: int) -> float:
    return samples * 1000 / WIRE_RATE_HZ


def summarise(records: Sequence[CallRecord]) -> Summary:
    """V2V, cut-offs and barge-in over all turns of all calls (greetings apart)."""
    turns = [turn for record in records for turn in record.turns]
    said = [turn for turn in turns if turn.kind == "say"]
    asked = [turn for turn in turns if turn.kind in ("say", "interrupt")]
    cut_offs = sum(turn.cut_off for turn in said)
    return Summary(
        calls=len(records),
        spoken_turns=len(said),
        v2v_ms=_percentiles([turn.v2v_ms for turn in asked if turn.v2v_ms is not None]),
        cut_offs=cut_offs,
        cut_off_rate=cut_offs / len(said) if said else None,
        unanswered=sum(turn.agent_first_audible_s is None and not turn.cut_off for turn in asked),
        barge_in_ms=_percentiles([turn.barge_in_ms for turn in turns if turn.barge_in_ms is not None]),
        greeting_ms=_percentiles(
            [
                turn.agent_first_audible_s * 1000
                for turn in turns
                if turn.kind == "greeting" and turn.agent_first_audible_s is not None
            ]
        ),
    )
