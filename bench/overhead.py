"""What the gateway itself costs, without its models: from decision to first frame, and how many calls keep their pace.

    make bench-overhead
    python -m bench.overhead [--calls 1 8 16 32] [--seconds 35] [--no-profile]

The gateway is the real one (`serve.gateway.create_app` under bare uvicorn, recording, in a process of its own). Silero
VAD is real too, since it runs frame by frame in that process. Everything that thinks is replaced by an instant fake:
transcriber, router, language model, speaker (noise as long as the speech would be, in Kokoro's chunks) and turn scorer
(`instant_models`). So nothing is measured here that a caller would wait for in production but what is ours.

The callers share one lean process of their own (bench/load.py); how late they were stands beside every figure.

A decided reply waits for `settle_ms` of the caller's audio, since he may just be going on. That wait is meant, so
overhead (`decision_to_frame_ms`) begins at its end: when the caller's frame that completes it was due by his own
schedule (the earliest that his frames ever kept). It ends with the first frame handed to the server, on a clock without
ticks: the way in, the loop's lag, decoding, Silero, the call and the send are in it. The log's own figure, wait
included, stands beside it (`overhead_ms`), on the gateway's clock (uvloop's), which ticks in whole milliseconds. Pacing
has a finer twin too: as the frames arrived at the callers (`arrival_late_ms`). Last, a run under py-spy says where the
CPU time goes. Ends 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
import uvloop
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

import pipeline.call
from bench.instant_models import instant_models
from bench.load import PUBLIC_URL, SETTLE_S, TOKEN, CpuUse, Load, put_load, spoken_lines
from bench.results import Json, Percentiles, Series, write
from models.silero import SileroVad
from models.weights import prepare
from pipeline.agent import load_agent
from pipeline.clock import LoopClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.events import Event, FirstAudio, TurnDecided, read_events
from pipeline.fixed_lines import synthesise_fixed_lines
from pipeline.onset_guard import OnsetGuard
from serve.agent_pool import of_one
from serve.call_store import CallStore
from serve.config import GatewaySettings
from serve.gateway import create_app
from serve.gateway_state import GatewayServices
from serve.media import SUMMARY_FILE
from serve.recording import EVENTS_FILE
from serve.secrets import Secrets
from telephony.audio import FRAME_S

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pipeline.turns import TurnTracker

AGENT = Path(__file__).parent.parent / "configs" / "agents" / "dental.yaml"

READY_TIMEOUT_S = 60.0
SAVED_TIMEOUT_S = 15.0
PROFILE_S = 12
PROFILE_HZ = 200

MOST_OVERHEAD_P99_MS = 10.0
MOST_PACING_P99_MS = 10.0
LEAST_TURNS = 30
"""Overhead is judged at the most calls, and at the fewest that had so many turns: a p99 of fewer says nothing."""


# -- what is stamped in a call -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class CallProbe:
    """One call's finer stamps, in seconds of `time.perf_counter`."""

    frames: int = 0
    """The caller's, so far."""
    began_s: float = math.inf
    """When his frames began, by the earliest schedule that any of them kept."""
    decided: bool = False
    """A reply waits to be let out."""
    due_s: float | None = None
    """When the frame that lets it out was due, until a frame of the reply has followed."""
    waits_s: list[float] = field(default_factory=list)
    """From each of those moments to the first frame handed to the server."""

    def frame_came(self) -> None:
        self.frames += 1
        self.began_s = min(self.began_s, time.perf_counter() - self.frames * FRAME_S)

    def let_out(self) -> None:
        """What was decided may be heard from the last frame on."""
        self.decided, self.due_s = False, self.began_s + self.frames * FRAME_S

    def frame_sent(self) -> None:
        if self.due_s is not None:
            self.waits_s.append(time.perf_counter() - self.due_s)
            self.due_s = None


_probe: ContextVar[CallProbe] = ContextVar("probe")
"""The probe of the call that a task belongs to."""


class ProbedOnsetGuard(OnsetGuard):
    """A call's wait before a reply is let out, with its two ends noted in the call's probe."""

    def __init__(self, *, settle_ms: int) -> None:
        super().__init__(settle_ms=settle_ms)
        self._probe = _probe.get()

    def decided(self, tracker: TurnTracker) -> None:
        super().decided(tracker)
        self._probe.decided, self._probe.due_s = True, None

    def update(self, tracker: TurnTracker) -> None:
        super().update(tracker)
        if tracker.speaking:
            self._probe.decided, self._probe.due_s = False, None
        elif self._probe.decided and self._calm.is_set():
            self._probe.let_out()


# -- the gateway's process ---------------------------------------------------------------------------------------------


def _stamped(app: ASGIApp, probes: list[CallProbe]) -> ASGIApp:
    """The app, with a probe for each of its WebSockets."""

    async def stamped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        probe = CallProbe()
        probes.append(probe)
        _probe.set(probe)

        async def receiving() -> Message:
            message = await receive()
            if '"media"' in (message.get("text") or ""):
                probe.frame_came()
            return message

        async def sending(message: Message) -> None:
            await send(message)
            if probe.due_s is not None and '"media"' in (message.get("text") or ""):
                probe.frame_sent()

        await app(scope, receiving, sending)

    return stamped


async def _services(runs_dir: Path, max_calls: int) -> GatewayServices:
    agent, models = load_agent(AGENT), instant_models()

    async def not_ready() -> list[str]:
        return []

    return GatewayServices(
        pool=of_one(
            agent, models, await synthesise_fixed_lines(models.speaker, agent), AgentContext(agent, RoughCounter())
        ),
        new_vad=SileroVad(prepare("silero-vad")).stream,
        settings=GatewaySettings(max_calls=max_calls),
        secrets=Secrets(twilio_auth_token=SecretStr(TOKEN), public_url=PUBLIC_URL),
        clock=LoopClock(),
        runs_dir=runs_dir,
        store=await CallStore.open(f"sqlite:///{runs_dir / 'calls.db'}"),
        not_ready=not_ready,
    )


def serve_gateway(pipe: Connection, runs_dir: Path, max_calls: int) -> None:
    """A process's whole life: sends its port, serves until anything comes, then sends each call's waits in seconds."""

    async def serve() -> None:
        probes: list[CallProbe] = []
        # The gateway has no need to be given another `OnsetGuard`; this process, which is only measured, has.
        pipeline.call.OnsetGuard = ProbedOnsetGuard  # type: ignore[attr-defined]
        app = _stamped(create_app(await _services(runs_dir, max_calls)), probes)
        # As in production (serve/gateway_app.py): what is loaded by now is left out of garbage collections.
        gc.collect()
        gc.freeze()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
            asyncio.get_running_loop().add_reader(pipe.fileno(), setattr, server, "should_exit", True)
            pipe.send(listener.getsockname()[1])
            await server.serve(sockets=[listener])
        pipe.send([probe.waits_s for probe in probes])

    uvloop.run(serve())


@dataclass(slots=True)
class GatewayProcess:
    """A gateway that is up."""

    pid: int
    port: int
    waits_s: list[list[float]] = field(default_factory=list)
    """Of every call, once it is down."""


@contextmanager
def gateway_process(runs_dir: Path, max_calls: int) -> Iterator[GatewayProcess]:
    """Start a gateway, and stop it at the end. Raises RuntimeError if it does not come up."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_gateway, args=(theirs, runs_dir, max_calls))
    process.start()
    theirs.close()
    try:
        if not ours.poll(READY_TIMEOUT_S):
            raise RuntimeError(f"the gateway sent no port within {READY_TIMEOUT_S:g} s; see its output above")
        gateway = GatewayProcess(pid=process.pid or 0, port=ours.recv())
        yield gateway
        ours.send("stop")
        if ours.poll(SAVED_TIMEOUT_S):
            gateway.waits_s = ours.recv()
    except EOFError as error:
        raise RuntimeError("the gateway died before it was up; see its output above") from error
    finally:
        # Closing our end stops a gateway that was not told to.
        ours.close()
        process.join(SAVED_TIMEOUT_S)
        if process.is_alive():
            process.kill()


# -- what it shows -----------------------------------------------------------------------------------------------------


def overheads_ms(events: Iterable[Event]) -> list[float]:
    """Of one call's log: from each turn's decision to its first audible frame, wait included."""
    decided_s: dict[int, float] = {}
    waits: list[float] = []
    for event in events:
        match event:
            case TurnDecided(turn=turn, at_s=at_s):
                decided_s[turn] = at_s
            case FirstAudio(turn=turn, at_s=at_s) if turn in decided_s:
                waits.append((at_s - decided_s.pop(turn)) * 1000)
    return waits


@dataclass(frozen=True, slots=True)
class Saved:
    """What the gateway left in the runs' folders."""

    overheads_ms: list[float]
    pacing: list[tuple[float, float, float]]
    """p50, p99 and maximum of each call, in ms."""
    lag: list[tuple[float, float, float, float]]
    """p50, p99 and maximum of the loop's lag during each call, and its longest garbage collection, in ms."""


def read_saved(runs_dir: Path) -> Saved:
    """All calls below `runs_dir`. Raises RuntimeError for one that did not end as a call of ours should."""
    saved = Saved([], [], [])
    for path in sorted(runs_dir.glob(f"*/{SUMMARY_FILE}")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary["end"] != "caller_hung_up" or not summary.get("pacing"):
            raise RuntimeError(f"{path.parent.name}: expected the caller to hang up after some replies, got {summary}")
        pacing, lag = summary["pacing"], summary["event_loop_lag"]
        saved.pacing.append((pacing["p50_ms"], pacing["p99_ms"], pacing["max_ms"]))
        saved.lag.append((lag["p50_ms"], lag["p99_ms"], lag["max_ms"], lag["collection_max_ms"]))
        with (path.parent / EVENTS_FILE).open(encoding="utf-8") as events:
            saved.overheads_ms.extend(overheads_ms(read_events(events)))
    return saved


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of calls, from all sides."""

    load: Load
    saved: Saved
    decision_to_frame_ms: list[float]

    @property
    def worst_pacing_p99_ms(self) -> float:
        """Of the call that fared worst."""
        return max(p99 for _, p99, _ in self.saved.pacing)

    @property
    def median_pacing_p99_ms(self) -> float:
        return float(np.median([p99 for _, p99, _ in self.saved.pacing]))

    @property
    def cpu_us_a_frame(self) -> float:
        """Gateway's CPU time for 20 ms of one call, both directions."""
        return self.load.cpu.gateway / (self.load.calls / FRAME_S) * 1e6

    def as_json(self) -> dict[str, Json]:
        pacing, lag = np.array(self.saved.pacing), np.array(self.saved.lag)
        return {
            "calls": self.load.calls,
            "turns": len(self.saved.overheads_ms),
            "overhead_ms": Percentiles.of(self.saved.overheads_ms).as_json(2),
            "decision_to_frame_ms": Percentiles.of(self.decision_to_frame_ms).as_json(2),
            "pacing_ms": {
                "p50_median_call": round(float(np.median(pacing[:, 0])), 2),
                "p99_median_call": round(self.median_pacing_p99_ms, 2),
                "p99_worst_call": round(self.worst_pacing_p99_ms, 2),
                "max": round(float(pacing[:, 2].max()), 2),
            },
            "arrival_late_ms": Percentiles.of(self.load.arrival_late_ms).as_json(2),
            "underruns": self.load.underruns,
            "event_loop_lag_ms": {
                "p50_median_call": round(float(np.median(lag[:, 0])), 2),
                "p99_worst_call": round(float(lag[:, 1].max()), 2),
                "max": round(float(lag[:, 2].max()), 2),
                "longest_collection": round(float(lag[:, 3].max()), 2),
            },
            "cores": {who: round(cores, 3) for who, cores in asdict(self.load.cpu).items()},
            "gateway_cpu_us_a_frame": round(self.cpu_us_a_frame, 1),
            "callers_late_ms": Percentiles.of(self.load.late_ms).as_json(2),
        }


def measure(lines: Sequence[Sequence[str]], calls: int, seconds: float) -> Measured:
    """A fresh gateway under so many calls."""
    with tempfile.TemporaryDirectory(prefix="trunkline-overhead-") as folder:
        runs_dir = Path(folder)
        with gateway_process(runs_dir, calls) as gateway:
            load = uvloop.run(put_load(gateway.pid, gateway.port, lines, calls, seconds))
        waits_ms = [wait_s * 1000 for waits in gateway.waits_s for wait_s in waits]
        return Measured(load, read_saved(runs_dir), waits_ms)


# -- where the time goes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """One function's share of the gateway's CPU time."""

    function: str
    alone: float
    """Share of the samples in which it was at work itself."""
    inclusive: float
    """Share of the samples in which it, or something it called, was."""

    def as_json(self, us_a_frame: float) -> dict[str, Json]:
        shares = {"alone_us_a_frame": self.alone, "inclusive_us_a_frame": self.inclusive}
        return {"function": self.function, **{name: round(share * us_a_frame, 1) for name, share in shares.items()}}


def top_costs(stacks: Iterable[str], count: int) -> list[Cost]:
    """Of py-spy's raw stacks ("outer (file:line);inner (file:line) samples"): the functions that cost most.

    Half of them by what they and theirs cost, if they are ours; half by what they cost alone.
    """
    alone: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    total = 0
    for line in stacks:
        stack, _, samples = line.strip().rpartition(" ")
        frames = [frame for frame in stack.split(";") if "(" in frame]
        # py-spy, which does not stop the process here, takes some of the recorders' waiting for work.
        if frames and not frames[-1].startswith("Condition.wait (threading"):
            total += int(samples)
            alone[frames[-1]] += int(samples)
            inclusive.update(dict.fromkeys(frames, int(samples)))
    if not total:
        raise RuntimeError("py-spy gave no samples: expected a busy gateway")
    floors = ("(serve/", "(telephony/", "(pipeline/", "(models/")
    wanted = [name for name, _ in inclusive.most_common() if any(floor in name for floor in floors)][: count // 2]
    wanted += [name for name, _ in alone.most_common(count - len(wanted)) if name not in wanted]
    costs = [Cost(name, alone[name] / total, inclusive[name] / total) for name in wanted]
    return sorted(costs, key=lambda cost: -cost.inclusive)


def profile(lines: Sequence[Sequence[str]], calls: int) -> list[Cost]:
    """A gateway under so many calls, looked at by py-spy. Raises RuntimeError if py-spy is missing or not let."""
    spy = Path(sys.executable).with_name("py-spy")
    with tempfile.TemporaryDirectory(prefix="trunkline-overhead-") as folder:
        stacks, runs_dir = Path(folder, "stacks.txt"), Path(folder, "runs")
        runs_dir.mkdir()
        with gateway_process(runs_dir, calls) as gateway:
            command = [str(spy), "record", "--pid", str(gateway.pid), "--duration", str(PROFILE_S)]
            command += ["--rate", str(PROFILE_HZ), "--format", "raw", "--function", "--nonblocking"]

            async def spying() -> None:
                done = await asyncio.create_subprocess_exec(
                    *command, "--output", str(stacks), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
                _, errors = await done.communicate()
                if done.returncode:
                    raise RuntimeError(f"{spy}: {errors.decode(errors='replace').strip()[-300:]}")

            uvloop.run(put_load(gateway.pid, gateway.port, lines, calls, PROFILE_S + 2 * SETTLE_S, spying))
        return top_costs(stacks.read_text(encoding="utf-8").splitlines(), 24)


# -- the report --------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if both targets are met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 8, 16, 32], help="calls at once, one run each")
    parser.add_argument("--seconds", type=float, default=35.0, help="how long each run lasts once all calls are up")
    parser.add_argument("--no-profile", action="store_true", help="leave out the run under py-spy")
    parser.add_argument("--no-write", action="store_true", help="leave no files in bench/results")
    options = parser.parse_args(arguments)
    console = Console()
    lines = spoken_lines()
    measured: list[Measured] = []
    for calls in options.calls:
        console.print(f"{calls} calls for {options.seconds:g} s ...")
        measured.append(measure(lines, calls, options.seconds))
    console.print(_table(measured))
    result: dict[str, Json] = {
        "real": ["gateway", "Silero VAD", "recording", "sockets"],
        "fake": ["transcriber", "router", "language model", "speaker", "turn scorer"],
        "seconds": options.seconds,
        "niceness": os.nice(0),
        "runs": [one.as_json() for one in measured],
    }
    if not options.no_profile:
        busiest = max(measured, key=lambda one: one.load.calls)
        try:
            costs = profile(lines, busiest.load.calls)
        except (RuntimeError, OSError) as error:
            console.print(f"no profile: {error}", style="yellow", markup=False)
        else:
            console.print(_cost_table(costs, busiest))
            result["profile"] = [cost.as_json(busiest.cpu_us_a_frame) for cost in costs]
    met = _judge(measured, result, console)
    if not options.no_write:
        report, picture = write(
            "overhead",
            result,
            packages=("uvicorn", "uvloop", "websockets", "onnxruntime", "numpy"),
            plot=[Series(f"{one.load.calls} calls", one.decision_to_frame_ms) for one in measured],
            axis="ms from the end of the wait after a decision to the first frame",
        )
        console.print(f"{report}\n{picture}", highlight=False, soft_wrap=True)
    return 0 if met else 1


def _judge(measured: Sequence[Measured], result: dict[str, Json], console: Console) -> bool:
    """Overhead at the most calls and at the fewest with turns enough, pacing at the most; written into the result."""
    most = max(measured, key=lambda one: one.load.calls)
    enough = [one for one in measured if len(one.decision_to_frame_ms) >= LEAST_TURNS]
    fewest = min(enough, key=lambda one: one.load.calls, default=most)
    found = {
        f"frame pacing, p99 of the worst of {most.load.calls} calls": (most.worst_pacing_p99_ms, MOST_PACING_P99_MS)
    }
    for one in (fewest, most):
        what = f"decision to first frame, p99, {one.load.calls} call(s), {len(one.decision_to_frame_ms)} turns"
        found[what] = (Percentiles.of(one.decision_to_frame_ms).p99, MOST_OVERHEAD_P99_MS)
    targets: dict[str, Json] = {}
    for what, (value, limit) in found.items():
        mark = "[green]met   [/green]" if value <= limit else "[red]missed[/red]"
        console.print(f"{mark} {what}: {value:.1f} ms; wanted at most {limit:.0f}")
        targets[what] = {"found_ms": round(value, 2), "wanted_ms": limit, "met": value <= limit}
    result["targets"] = targets
    return all(value <= limit for value, limit in found.values())


def _table(measured: Sequence[Measured]) -> Table:
    table = Table("ms", *(f"{one.load.calls} call(s)" for one in measured))

    def add(what: str, shown: Callable[[Measured], str]) -> None:
        table.add_row(what, *(shown(one) for one in measured))

    add("turns", lambda one: str(len(one.saved.overheads_ms)))
    add("decision to frame: p50/95/99", lambda one: _shown(one.decision_to_frame_ms))
    add("the same in the log, with the wait", lambda one: _shown(one.saved.overheads_ms))
    add("pacing p99: median/worst call", lambda one: f"{one.median_pacing_p99_ms:.1f}/{one.worst_pacing_p99_ms:.1f}")
    add("pacing max", lambda one: f"{max(worst for _, _, worst in one.saved.pacing):.1f}")
    add("frames arrive late: p50/95/99", lambda one: _shown(one.load.arrival_late_ms))
    add("loop lag p99/max", lambda one: "/".join(f"{max(lag[place] for lag in one.saved.lag):.1f}" for place in (1, 2)))
    add("gateway, cores (loop's thread)", lambda one: f"{one.load.cpu.gateway:.2f} ({one.load.cpu.gateway_loop:.2f})")
    add("gateway, CPU us a frame", lambda one: f"{one.cpu_us_a_frame:.0f}")
    add("callers' own frames late: p50/95/99", lambda one: _shown(one.load.late_ms))
    add("callers, others, stolen, cores", lambda one: _cores(one.load.cpu))
    return table


def _shown(samples: Sequence[float]) -> str:
    found = Percentiles.of(samples)
    return f"{found.p50:.1f}/{found.p95:.1f}/{found.p99:.1f}"


def _cores(cpu: CpuUse) -> str:
    return f"{cpu.callers:.2f}, {cpu.others:.2f}, {cpu.stolen:.2f}"


def _cost_table(costs: Sequence[Cost], busiest: Measured) -> Table:
    title = f"CPU us a frame (of {busiest.cpu_us_a_frame:.0f}), {busiest.load.calls} calls"
    table = Table("function", "with what it calls", "alone", title=title)
    for cost in costs:
        inclusive, alone = (share * busiest.cpu_us_a_frame for share in (cost.inclusive, cost.alone))
        table.add_row(cost.function, f"{inclusive:.0f}", f"{alone:.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
