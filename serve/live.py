"""A call in the terminal as it happens: both sides' words, a waterfall after each turn, figures at the end."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.events import (
    BargeIn,
    CallEnded,
    CallStarted,
    ClauseDecided,
    Event,
    FinalTranscript,
    FirstAudio,
    Keypress,
    LanguageChanged,
    PartialTranscript,
    ReplyEnded,
    ReplyResumed,
    SpeechStarted,
    SpeechStopped,
    StageFailed,
    ToolFinished,
    TransferRequested,
    TurnDecided,
    TurnDropped,
    TurnResumed,
    from_json,
)
from serve.timeline import (
    STAGE_LABELS,
    CallerFigures,
    LatencySummary,
    StageName,
    TurnTimeline,
    summarise,
    turn_of,
    turn_timeline,
)

REFRESHES_PER_SECOND = 8
"""How often the line being spoken is redrawn: well within the 400 ms in which a change must be seen."""
BAR_WIDTH = 32
"""Characters of a waterfall's bars."""

_STAGE_STYLES: Final[dict[StageName, str]] = {
    "turn_decided": "bright_black",
    "final_transcript": "cyan",
    "route": "blue",
    "understood": "bright_blue",
    "first_clause": "magenta",
    "first_speech": "yellow",
    "first_audio": "green",
}
_CALLER, _AGENT, _NOTE = "bold cyan", "bold green", "dim"


class LiveView:
    """Feeds on a call's events, in order. A context manager: on a terminal the words being spoken change in place.

    Elsewhere (a pipe, a CI log) every line is final, and a partial is printed only when it differs from the last.
    """

    def __init__(self, console: Console, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now_s = now_s
        self._live: Live | None = None
        self._turns: dict[int, list[Event]] = defaultdict(list)
        self._v2v_ms: dict[int, float] = {}
        self._clause_texts: dict[str, str] = {}
        self._printed_words: set[int] = set()
        self._partial = ""
        self._spoken_turn = -1
        """The turn in which the caller spoke last. One that was never spoken in (-1, the greeting's) has no words."""
        self._speaking_since_s: float | None = None
        self._reply: list[str] = []
        """Clauses that sound, until the reply is over and it is known what was heard of them."""
        self._reply_turn = 0

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self._moving_part,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def handle(self, event: Event) -> None:
        """Show one event. Returns at once."""
        # A barge-in is logged with the turn that begins; it belongs to the reply that it ends.
        turn = self._reply_turn if isinstance(event, BargeIn) else turn_of(event)
        if turn is not None:
            self._turns[turn].append(event)
        match event:
            case CallStarted():
                self._title(event)
            case SpeechStarted() | TurnResumed():
                self._spoken_turn = event.turn
                self._speaking_since_s = self._now_s()
            case SpeechStopped():
                self._speaking_since_s = None
            case PartialTranscript():
                self._show_partial(event)
            case TurnDecided() | FinalTranscript():
                self._show_words(event.turn, event.at_s)
            case ClauseDecided():
                self._clause_texts[event.clause_id] = event.text
            case TurnDropped():
                why = "no words made out" if event.why == "no_words" else "no turn: the agent keeps the floor"
                self._leave_partial(event.turn, event.at_s, f"({why})")
            case FirstAudio():
                self._leave_partial(event.turn, event.at_s, "(never transcribed in full)")
                self._show_clause(event)
            case BargeIn():
                heard = f"heard: “{event.heard}”" if event.heard else "nothing had been heard of the reply"
                self._note(event.at_s, "barge-in", f"agent fell silent; {heard}", "bold yellow")
            case ReplyResumed():
                self._note(event.at_s, "goes on", "the agent goes on where it stopped", "bold yellow")
            case StageFailed():
                self._note(event.at_s, "failed", f"{event.stage}: {event.error}", "bold red")
            case ToolFinished():
                values = ", ".join(f"{key} {value}" for key, value in event.arguments.items())
                outcome = "" if event.status == "ok" else f" {event.status} {event.code}".rstrip()
                style = "bold magenta" if event.effect == "write" else _NOTE
                self._note(event.at_s, "tool", f"{event.tool}{outcome}: {values}".rstrip(": "), style)
            case LanguageChanged():
                self._note(event.at_s, "language", f"{event.language}: {event.agent} goes on", "bold cyan")
            case TransferRequested():
                self._note(event.at_s, "transfer", f"to {event.target}: {event.reason}", "bold magenta")
            case Keypress():
                self._note(event.at_s, "key", event.digit, "bold cyan")
            case ReplyEnded():
                self._end_reply(event.turn, event.at_s)
            case CallEnded():
                if self._speaking_since_s is not None or self._partial:
                    self._leave_partial(self._spoken_turn, event.at_s, "(the call ended here)")
                self._end_reply(self._reply_turn, event.at_s)
                self._note(event.at_s, "ended", event.reason.replace("_", " "), _NOTE)
            case _:
                pass
        if self._live is not None:
            self._live.refresh()

    def final_summary(self, saved_to: Path, *, caller: CallerFigures | None = None) -> None:
        """The call in four lines. `caller`: what the caller measured on the wire, if there is one who did."""
        table = Table.grid(padding=(0, 2))
        gateway = summarise(self._v2v_ms.values())
        if caller is not None:
            table.add_row(Text("voice to voice", "bold"), _latency(caller.v2v), Text("on the wire", _NOTE))
            table.add_row(Text(""), _latency(gateway), Text("as the gateway sees it", _NOTE))
            style = "bold red" if caller.cut_offs else "bold green"
            cut_offs = Text(f"{caller.cut_offs} of {caller.spoken_turns} turns", style)
            table.add_row(Text("false cut-offs", "bold"), cut_offs)
        else:
            table.add_row(Text("voice to voice", "bold"), _latency(gateway), Text("as the gateway sees it", _NOTE))
            table.add_row(Text("false cut-offs", "bold"), Text("not known without the caller's side", _NOTE))
        self._console.print()
        self._console.print(Padding(table, (0, 0, 0, 2)))
        # Not in the table: a path must stay whole to be clicked or copied.
        self._console.print(Text.assemble("  ", ("saved to", "bold"), "        ", str(saved_to)), soft_wrap=True)

    def _title(self, event: CallStarted) -> None:
        self._console.print()
        self._console.rule(
            Text.assemble(
                (_clean(event.agent), "bold"), " · ", _clean(event.caller or "no number"), " · ", _clean(event.call_sid)
            ),
            align="left",
            style=_NOTE,
            characters="-" if self._console.options.ascii_only else "─",
        )

    def _moving_part(self) -> Group:
        lines = []
        if self._reply:
            lines.append(_line(None, "agent", _AGENT, Text(" ".join(self._reply))))
        if self._partial or self._speaking_since_s is not None:
            words = Text(self._partial or "", "italic")
            if self._speaking_since_s is not None:
                words.append(f" … {self._now_s() - self._speaking_since_s:.1f} s", _NOTE)
            lines.append(_line(None, "caller", _CALLER, words))
        return Group(*lines)

    def _show_partial(self, event: PartialTranscript) -> None:
        if event.turn in self._printed_words:
            return
        text = _clean(event.text)
        changed, self._partial = text != self._partial, text
        if self._live is None and changed and text:
            self._console.print(_line(event.at_s, "caller", _CALLER, Text(f"{text} …", "dim italic")))

    def _show_words(self, turn: int, at_s: float) -> None:
        """The caller's words are final once the turn is decided, too: until then more speech may change them."""
        events = self._turns[turn]
        finals = [event for event in events if isinstance(event, FinalTranscript)]
        if turn in self._printed_words or not finals or not any(isinstance(event, TurnDecided) for event in events):
            return
        self._printed_words.add(turn)
        self._partial, self._speaking_since_s = "", None
        text = _clean(finals[-1].text)
        words = Text(text) if text else Text("(nothing understood)", _NOTE)
        self._console.print(_line(at_s, "caller", _CALLER, words))

    def _leave_partial(self, turn: int, at_s: float, why: str) -> None:
        """The turn goes on without a final transcript: what was understood until then stays on the screen."""
        if turn != self._spoken_turn or turn in self._printed_words:
            return
        self._printed_words.add(turn)
        words = Text(f"{self._partial} … " if self._partial else "", "italic").append(why, _NOTE)
        self._partial, self._speaking_since_s = "", None
        self._console.print(_line(at_s, "caller", _CALLER, words))

    def _show_clause(self, event: FirstAudio) -> None:
        text = _clean(self._clause_texts.get(event.clause_id, ""))
        self._reply_turn = event.turn
        if self._live is not None:
            self._reply.append(text)
        else:
            self._console.print(_line(event.at_s, "agent", _AGENT, Text(text)))

    def _end_reply(self, turn: int, at_s: float) -> None:
        timeline = turn_timeline(turn, self._turns[turn])
        if self._reply:
            self._reply.clear()
            first_s = next((c.first_audio_s for c in timeline.clauses if c.first_audio_s is not None), at_s)
            self._console.print(_line(first_s, "agent", _AGENT, _heard_and_not(timeline)))
        elif self._live is None and timeline.interrupted and timeline.heard_words != timeline.agent_words:
            self._console.print(_line(at_s, "", "", _heard_and_not(timeline)))
        if timeline.v2v_ms is not None:
            self._v2v_ms[turn] = timeline.v2v_ms
        if timeline.speech_end_s is not None and timeline.stages:
            self._console.print(waterfall(timeline, ascii_only=self._console.options.ascii_only))
        self._turns[turn] = []

    def _note(self, at_s: float, label: str, text: str, style: str) -> None:
        self._console.print(_line(at_s, label, style, Text(_clean(text), style if "red" in style else "")))


def waterfall(turn: TurnTimeline, *, ascii_only: bool = False) -> Padding:
    """A turn's stages as bars over milliseconds since the end of speech, each with when it was done and its share."""
    full, empty = ("#", ".") if ascii_only else ("█", "·")
    shown = [stage for stage in turn.stages if stage.since_end_ms is not None]
    scale_ms = _round_up(max((stage.since_end_ms or 0.0 for stage in shown), default=1.0))
    table = Table.grid(padding=(0, 1))
    for justify in ("left", "left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    details = [f"turn {turn.turn}", turn.decided_by or "", _clean(turn.route or ""), " + ".join(turn.sources)]
    v2v = "no reply" if turn.v2v_ms is None else f"voice to voice {turn.v2v_ms:.0f} ms"
    title = Text.assemble((v2v, "bold"), (" · " + " · ".join(part for part in details if part), _NOTE))
    heads = (Text("took", _NOTE), Text("done", _NOTE))
    table.add_row(Text("end of speech", _NOTE), Text(f"0{scale_ms:>{BAR_WIDTH - 4}.0f} ms", _NOTE), *heads)
    for stage in shown:
        if stage.name == "end_of_speech":
            continue
        end_ms = max(0.0, stage.since_end_ms or 0.0)
        start_ms = min(end_ms, max(0.0, end_ms - stage.own_ms))
        first = min(BAR_WIDTH - 1, int(start_ms / scale_ms * BAR_WIDTH))
        width = max(1, round(end_ms / scale_ms * BAR_WIDTH) - first)
        bar = Text.assemble(
            (empty * first, "bright_black"),
            (full * width, _STAGE_STYLES[stage.name]),
            (empty * (BAR_WIDTH - first - width), "bright_black"),
        )
        took, done = Text(f"{stage.own_ms:.0f}", _NOTE), Text(f"at {stage.since_end_ms:.0f} ms")
        table.add_row(Text(STAGE_LABELS[stage.name]), bar, took, done)
    return Padding(Group(title, table), (0, 0, 1, 4))


async def follow_events(path: Path, handle: Callable[[Event], None], stop: asyncio.Event, poll_s: float = 0.05) -> None:
    """Hand over every record of an events.jsonl as it is written, until `stop` is set and the rest has been read.

    The file may not exist yet. A line counts only once its newline is there; what a writer leaves behind without
    one is not handed over. Raises ValueError for a whole line that is no record, naming the line.
    """
    offset, rest, number = 0, b"", 0
    while True:
        last_time = stop.is_set()
        data = await asyncio.to_thread(_read_from, path, offset)
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                handle(_parse(path, number, line))
        if last_time:
            return
        if not data:
            try:
                await asyncio.wait_for(stop.wait(), poll_s)
            except TimeoutError:
                continue


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def _parse(path: Path, number: int, line: bytes) -> Event:
    try:
        return from_json(line.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: expected one JSON object, got {line[:80]!r}") from error
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from error


def _line(at_s: float | None, label: str, style: str, words: Text) -> Table:
    """One line of the conversation: time, who, and words that wrap under themselves."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", width=8, no_wrap=True)
    table.add_column(width=8, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("" if at_s is None else _clock(at_s), _NOTE), Text(label, style), words)
    return table


def _heard_and_not(turn: TurnTimeline) -> Text:
    """The reply; words that never reached the caller are struck out."""
    words, unheard = Text(), list[str]()
    for clause in turn.clauses:
        heard = len(clause.heard.split())
        said = _clean(clause.text).split()
        words.append("".join(f"{word} " for word in said[:heard]))
        unheard += said[heard:]
    if unheard:
        words.append(f"[{' '.join(unheard)}]", "dim strike")
    words.rstrip()
    return words


def _latency(summary: LatencySummary) -> Text:
    if summary.p50_ms is None or summary.p95_ms is None:
        return Text("nothing measured", _NOTE)
    return Text.assemble(
        ("p50 ", _NOTE), (f"{summary.p50_ms:.0f} ms", "bold"), ("  p95 ", _NOTE), (f"{summary.p95_ms:.0f} ms", "bold"),
        (f"  {summary.count} turns", _NOTE),
    )  # fmt: skip


def _clock(at_s: float) -> str:
    minutes, seconds = divmod(max(0.0, at_s), 60)
    return f"{int(minutes)}:{seconds:04.1f}"


def _clean(text: str) -> str:
    """Words from outside must not steer the terminal: control characters become spaces."""
    return "".join(char if char.isprintable() else " " for char in text)


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten, at least 100."""
    value = max(value, 100.0)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if step * power >= value)
