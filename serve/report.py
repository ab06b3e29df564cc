"""One call as one HTML file that needs nothing else: sound, words, stages and figures, for people.

Everything a caller said is untrusted text. The page is rendered with autoescaping, its data is embedded as JSON
escaped for a script element, and its content security policy lets nothing run but the page's own script.
"""

from __future__ import annotations

import base64
import gzip
import math
import secrets
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.events import Event, read_events
from serve.recording import AUDIO_FILE, EVENTS_FILE
from serve.timeline import (
    STAGE_LABELS,
    CallerFigures,
    CallTimeline,
    ClauseTimeline,
    TurnTimeline,
    call_timeline,
    summarise,
)
from telephony.audio import WIRE_RATE_HZ, Pcm16, pcm16_to_ulaw

REPORT_FILE = "report.html"
WIRE_AUDIO_FILE = "wire.wav"
"""Both sides as the simulated caller had them on the wire: preferred to the gateway's own recording."""
CALLER_FILE = "caller.json"

PEAKS_PER_S = 100
"""Resolution of the drawn waveform."""
EMBEDDED_AUDIO_LIMIT_S = 1_200.0
"""Longer calls are drawn but not embedded: about 0.9 MB a minute would make the page slow to open."""
MATCH_WITHIN_S = 1.5
"""How far apart the two sides may place the end of the same line of the caller's."""


class ReportError(ValueError):
    """A run's folder does not hold what a report is made of: names the file, what was expected and what came."""


class CallerTurn(BaseModel):
    """What the report shows of one turn as the simulated caller measured it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: str = "say"
    """'say' and 'interrupt' are lines that want an answer; only 'say' can be cut off."""
    speech_end_s: float = 0.0
    v2v_ms: float | None = None
    cut_off: bool = False
    barge_in_ms: float | None = None
    """From the caller's first interrupting sample to the agent's last."""


class CallerSide(BaseModel):
    """caller.json, as far as the report needs it; other keys are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    turns: tuple[CallerTurn, ...] = ()

    def figures(self) -> CallerFigures:
        """V2V and false cut-offs, counted as the benchmarks count them."""
        return CallerFigures(
            v2v=summarise(turn.v2v_ms for turn in self.turns if turn.kind in ("say", "interrupt")),
            cut_offs=sum(turn.cut_off for turn in self.turns if turn.kind == "say"),
            spoken_turns=sum(turn.kind == "say" for turn in self.turns),
        )


@dataclass(frozen=True, slots=True)
class Words:
    """Words placed on the timeline, and those that were meant to follow but never sounded."""

    start_s: float
    end_s: float
    text: str
    unheard: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One stage of a waterfall, in milliseconds since the end of speech and in percent of the common scale."""

    name: str
    label: str
    own_ms: float
    done_ms: float
    left: float
    width: float
    beyond: bool
    """It ends outside of the scale."""


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn as the page shows it."""

    timeline: TurnTimeline
    at_s: float
    v2v_ms: float | None
    """The caller's figure if there is one, else the gateway's."""
    on_the_wire: bool
    cut_off: bool
    barge_in_ms: float | None
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class StageSpan:
    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class DrawnTurn:
    """What the script draws of a turn."""

    turn: int
    caller: Words | None
    agent: tuple[Words, ...]
    stages: tuple[StageSpan, ...]
    speech_end_s: float | None
    reply_s: float | None
    v2v_ms: float | None
    barge_in_s: float | None
    failures_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The page's data. Peaks: base64, a byte each. Audio: base64 of gzip of u-law, first all of left, then right."""

    duration_s: float
    peaks_per_s: int
    left_peaks: str
    right_peaks: str
    rate_hz: int
    audio: str
    turns: tuple[DrawnTurn, ...]


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder and give its path.

    Reads events.jsonl and, where they exist, wire.wav (else call.wav) and caller.json. Raises ReportError if one of
    them is missing that must be there, or is not what it should be.
    """
    timeline = call_timeline(_events(run_dir / EVENTS_FILE))
    caller = _caller(run_dir / CALLER_FILE)
    audio_file = next((run_dir / name for name in (WIRE_AUDIO_FILE, AUDIO_FILE) if (run_dir / name).exists()), None)
    sides = _audio(audio_file) if audio_file else np.zeros((0, 2), np.int16)
    duration_s = max(timeline.duration_s, sides.shape[0] / WIRE_RATE_HZ, 1.0)
    scale_ms = _scale_ms(timeline)
    views = tuple(_view(turn, caller, scale_ms) for turn in timeline.turns)
    embedded = 0 < sides.shape[0] <= EMBEDDED_AUDIO_LIMIT_S * WIRE_RATE_HZ
    drawing = Drawing(
        duration_s=round(duration_s, 3),
        peaks_per_s=PEAKS_PER_S,
        left_peaks=_peaks(sides[:, 0]),
        right_peaks=_peaks(sides[:, 1]),
        rate_hz=WIRE_RATE_HZ,
        audio=_packed(sides) if embedded else "",
        turns=tuple(_drawn(view, duration_s) for view in views),
    )
    html = _template().render(
        call=timeline,
        answered=sum(turn.speech_end_s is not None and not turn.dropped for turn in timeline.turns),
        views=views,
        caller=caller.figures() if caller else None,
        v2v=caller.figures().v2v if caller else timeline.v2v,
        dots=[view for view in views if view.v2v_ms is not None and (view.on_the_wire or caller is None)],
        scale_ms=scale_ms,
        ticks_ms=[scale_ms * part / 4 for part in range(5)],
        stage_labels=[(name, label) for name, label in STAGE_LABELS.items() if name != "end_of_speech"],
        drawing=asdict(drawing),
        audio_file=audio_file.name if audio_file else None,
        embedded=embedded,
        started=_utc(timeline),
        nonce=secrets.token_urlsafe(16),
    )
    path = run_dir / REPORT_FILE
    path.write_text(html, encoding="utf-8")
    return path


def _events(path: Path) -> list[Event]:
    try:
        return read_events(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError as error:
        raise ReportError(f"{path}: not found; expected a run's folder with the call's events in it") from error
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from error


def _caller(path: Path) -> CallerSide | None:
    if not path.exists():
        return None
    try:
        return CallerSide.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise ReportError(f"{path}: {where}: {first['msg']}; expected the record of a simulated caller") from error


def _audio(path: Path) -> Pcm16:
    """Both sides, shape (n, 2)."""
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ReportError(f"{path}: not a WAV file ({error or 'it ends too early'})") from error
    if form != (WIRE_RATE_HZ, 2, 2):
        raise ReportError(f"{path}: expected {WIRE_RATE_HZ} Hz, 2 channels, 2 bytes a sample, got {form}")
    return np.frombuffer(data[: len(data) // 4 * 4], "<i2").astype(np.int16).reshape(-1, 2)


def _peaks(side: Pcm16) -> str:
    """Loudest sample of every 10 ms on a scale of 0-255, as base64."""
    size = WIRE_RATE_HZ // PEAKS_PER_S
    padded = np.zeros(math.ceil(side.size / size) * size, np.int32)
    padded[: side.size] = side
    loudest = np.abs(padded.reshape(-1, size)).max(axis=1, initial=0)
    return base64.b64encode((loudest >> 7).clip(0, 255).astype(np.uint8).tobytes()).decode()


def _packed(sides: Pcm16) -> str:
    """What came over a telephone fits u-law at half the size; each side is silent half of the time and packs well."""
    ulaw = pcm16_to_ulaw(sides[:, 0]) + pcm16_to_ulaw(sides[:, 1])
    return base64.b64encode(gzip.compress(ulaw, mtime=0)).decode()


def _view(turn: TurnTimeline, caller: CallerSide | None, scale_ms: float) -> TurnView:
    measured = _same_turn(turn, caller)
    first_s = next((c.first_audio_s for c in turn.clauses if c.first_audio_s is not None), None)
    begins = [at_s for at_s in (turn.speech_start_s, first_s) if at_s is not None]
    wire_ms = measured.v2v_ms if measured else None
    return TurnView(
        timeline=turn,
        at_s=min(begins, default=turn.stages[0].at_s if turn.stages else 0.0),
        v2v_ms=turn.v2v_ms if wire_ms is None else wire_ms,
        on_the_wire=wire_ms is not None,
        cut_off=measured.cut_off if measured else False,
        barge_in_ms=measured.barge_in_ms if measured else None,
        bars=tuple(_bars(turn, scale_ms)),
    )


def _same_turn(turn: TurnTimeline, caller: CallerSide | None) -> CallerTurn | None:
    """The caller's record of a turn: the line that ended nearest to it."""
    end_s = turn.speech_end_s
    if end_s is None or caller is None:
        return None
    spoken = [line for line in caller.turns if line.kind in ("say", "interrupt")]
    nearest = min(spoken, key=lambda line: abs(line.speech_end_s - end_s), default=None)
    return nearest if nearest and abs(nearest.speech_end_s - end_s) <= MATCH_WITHIN_S else None


def _bars(turn: TurnTimeline, scale_ms: float) -> list[Bar]:
    bars = []
    for stage in turn.stages:
        if stage.name == "end_of_speech" or stage.since_end_ms is None:
            continue
        done_ms = max(0.0, stage.since_end_ms)
        start = min(100.0, max(0.0, done_ms - stage.own_ms) / scale_ms * 100)
        end = min(100.0, done_ms / scale_ms * 100)
        bars.append(
            Bar(
                name=stage.name,
                label=STAGE_LABELS[stage.name],
                own_ms=stage.own_ms,
                done_ms=done_ms,
                left=round(min(start, 99.4), 2),
                width=round(max(end - start, 0.6), 2),
                beyond=done_ms > scale_ms,
            )
        )
    return bars


def _drawn(view: TurnView, duration_s: float) -> DrawnTurn:
    turn = view.timeline
    start_s, end_s = turn.speech_start_s, turn.speech_end_s
    if start_s is not None and end_s is None:
        end_s = turn.partials[-1].at_s if turn.partials else start_s + 0.5
    words = None if start_s is None or end_s is None else Words(start_s, max(start_s, end_s), turn.caller_words)
    reply = turn.stage("first_audio")
    return DrawnTurn(
        turn=turn.turn,
        caller=words,
        agent=_agent_words(turn.clauses, duration_s),
        stages=tuple(
            StageSpan(stage.name, max(stage.at_s - stage.own_ms / 1000, turn.speech_end_s), stage.at_s)
            for stage in turn.stages
            if turn.speech_end_s is not None and stage.name != "end_of_speech" and stage.at_s >= turn.speech_end_s
        ),
        speech_end_s=turn.speech_end_s,
        reply_s=reply.at_s if reply else None,
        v2v_ms=view.v2v_ms,
        barge_in_s=turn.barge_in_s,
        failures_s=tuple(failure.at_s for failure in turn.failures),
    )


def _agent_words(clauses: Sequence[ClauseTimeline], duration_s: float) -> tuple[Words, ...]:
    """Clauses where they sounded; what was cut off, and those behind it, hang on to the last that did."""
    placed: list[Words] = []
    for clause in clauses:
        unheard = " ".join(clause.text.split()[len(clause.heard.split()) :])
        if clause.first_audio_s is not None:
            end_s = duration_s if clause.end_s is None else clause.end_s
            placed.append(Words(clause.first_audio_s, end_s, clause.heard, unheard))
        elif placed and unheard:
            last = placed[-1]
            placed[-1] = Words(last.start_s, last.end_s, last.text, f"{last.unheard} {unheard}".strip())
    return tuple(placed)


def _scale_ms(call: CallTimeline) -> float:
    """One scale for all waterfalls, so that turns compare: the slowest answered turn, rounded up."""
    slowest = max((turn.v2v_ms for turn in call.turns if turn.v2v_ms is not None), default=1_000.0)
    step = 200.0 if slowest <= 1_600 else 1_000.0
    return max(400.0, math.ceil(slowest / step) * step)


def _utc(call: CallTimeline) -> str:
    if call.started is None:
        return "time unknown"
    return datetime.fromtimestamp(call.started.wall_time_s, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")


def _clock(at_s: float) -> str:
    minutes, seconds = divmod(max(0.0, at_s), 60)
    return f"{int(minutes)}:{seconds:04.1f}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = _clock
    environment.filters["ms"] = _milliseconds
    return environment.get_template("report_template.html")
