"""What callers notice when parts of a cluster die or are upgraded: `python -m bench.cluster`.

Eight calls to a stack on three nodes, some seconds into which one thing happens: a process of each kind is killed, a
whole node, or a pool of replicas is upgraded. Every caller asks a question every twenty seconds. Results go to
bench/results; what they mean is in docs/faults.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import results
from bench.cluster.callers import QUESTIONS, CallRecord, hold_call
from bench.cluster.nodes import Nodes, cluster
from bench.load import spoken_lines
from bench.postgres import postgres_server

STACK: Final = Path(__file__).with_name("stack.yaml")
PUBLIC_URL: Final = "https://calls.example.com"
CALLS: Final = 8
RAMP_S = 4.0
"""Calls come in one after another over this time."""
HAPPENS_AFTER_S = 16.0
CALL_S = 70.0
UPGRADE_CALL_S = 150.0
SETTLE_S = 15.0
"""A pool that lost a replica has it back after so long, if it is a small one."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens to a cluster with calls on it."""

    name: str
    does: Callable[[Nodes], Awaitable[None]]
    call_s: float = CALL_S
    rebuild: bool = False
    """Whether the cluster is started anew afterwards."""


def killed(deployment: str) -> Happening:
    async def kill(nodes: Nodes) -> None:
        replicas = nodes.replicas(deployment)
        os.kill(replicas[0].pid, signal.SIGKILL)

    return Happening(f"kill one {deployment}", kill)


def process(name: str, part: str, *, rebuild: bool = False) -> Happening:
    async def kill(nodes: Nodes) -> None:
        for one in nodes.named(part):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    return Happening(name, kill, rebuild=rebuild)


def node(name: str) -> Happening:
    async def kill(nodes: Nodes) -> None:
        nodes.kill_node(name)

    return Happening(f"kill node {name}", kill, rebuild=True)


def upgrade(pool: str, section: str, change: str) -> Happening:
    async def deploy(nodes: Nodes) -> None:
        text = nodes.stack.read_text(encoding="utf-8")
        # Whatever changes its settings makes another version of the pool, and of that pool alone.
        changed = text.replace(f"\n{section}:\n", f"\n{section}:\n  {change}\n", 1)
        nodes.stack.write_text(changed, encoding="utf-8")
        await nodes.deploy()
        await nodes.settled()

    return Happening(f"upgrade {pool}", deploy, call_s=UPGRADE_CALL_S)


HAPPENINGS: Final[Sequence[Happening]] = (
    Happening("nothing", lambda nodes: asyncio.sleep(0)),
    killed("SpeechToText"),
    killed("TextToSpeech"),
    killed("SmallLanguageModel"),
    killed("Router"),
    killed("Gateway"),
    process("kill an engine process", "VLLM::EngineCore"),
    process("kill Serve's controller", "ServeController"),
    process("kill Serve's proxy", "ProxyActor"),
    upgrade("Router", "router", "max_ongoing_requests: 31"),
    upgrade("SpeechToText", "speech_to_text", "max_ongoing_requests: 31"),
    upgrade("TextToSpeech", "text_to_speech", "max_ongoing_requests: 31"),
    upgrade("SmallLanguageModel", "small_language_model", "max_ongoing_requests: 31"),
    upgrade("Gateway", "gateway", "loop_lag_sample_ms: 60"),
    node("second"),
    node("first"),
    node("head"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the callers noticed of one happening."""

    happening: str
    calls: Sequence[CallRecord]

    @property
    def delays_ms(self) -> list[float]:
        return [one.answered_after_ms for call in self.calls for one in call.asked if one.answered_after_ms is not None]

    def as_json(self) -> dict[str, results.Json]:
        calls = self.calls
        return {
            "happening": self.happening,
            "calls": len(calls),
            "calls_lost": sum(bool(call.lost) for call in calls),
            "streams_lost": sum(max(0, call.streams - 1) for call in calls),
            "reconnected_after_ms": [round(each) for call in calls for each in call.reconnected_after_ms],
            "questions": sum(len(call.asked) for call in calls),
            "unanswered": sum(call.unanswered for call in calls),
            "answered_after_ms": results.Percentiles.of(self.delays_ms).as_json() if self.delays_ms else None,
            "gaps_ms": [round(each) for call in calls for each in call.gaps_ms],
            "why_lost": [call.lost for call in calls if call.lost],
        }


async def put_through(nodes: Nodes, happening: Happening, token: str, lines: Sequence[Sequence[str]]) -> Found:
    """The calls, and what happens to them."""
    gateways = await nodes.gateways()

    async def one(number: int) -> CallRecord:
        await asyncio.sleep(RAMP_S * number / CALLS)
        return await hold_call(
            gateways, lines, public_url=PUBLIC_URL, token=token, seconds=happening.call_s, first=number
        )

    async def follow() -> None:
        """A load balancer asks for health, too."""
        while True:
            await asyncio.sleep(1.0)
            if up := await nodes.gateways():
                gateways[:] = up

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow())
        calls = [tasks.create_task(one(number)) for number in range(CALLS)]
        await asyncio.sleep(HAPPENS_AFTER_S)
        await happening.does(nodes)
        await asyncio.wait(calls)
        following.cancel()
    return Found(happening.name, [call.result() for call in calls])


async def measure(happenings: Sequence[Happening], store: str, console: Console) -> list[Found]:
    """One after another, on as few clusters as they leave usable. Raises ClusterError."""
    lines = await asyncio.to_thread(spoken_lines, QUESTIONS)
    found: list[Found] = []
    left = list(happenings)
    while left:
        token = secrets.token_hex(16)
        with tempfile.TemporaryDirectory(prefix="trunkline-stack-") as folder:
            stack = Path(folder, STACK.name)
            shutil.copy(STACK, stack)
            async with cluster(stack, store=store, token=token, public_url=PUBLIC_URL) as nodes:
                while left:
                    happening = left.pop(0)
                    found.append(await put_through(nodes, happening, token, lines))
                    console.print_json(json.dumps(found[-1].as_json()))
                    if happening.rebuild:
                        break
                    await asyncio.sleep(SETTLE_S)
                    await nodes.settled()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of happenings; none: all")
    parser.add_argument("--no-write", action="store_true", help="leave no result behind")
    options = parser.parse_args()
    chosen = [one for one in HAPPENINGS if not options.only or one.name in options.only]
    if not chosen:
        parser.error(f"expected names among: {', '.join(one.name for one in HAPPENINGS)}")
    # Ended from outside, it ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    with postgres_server() as store:
        if store is None:
            console.print("PostgreSQL is not installed: gateways on several nodes share one")
            return 2
        found = asyncio.run(measure(chosen, store, console))
    if not options.no_write:
        report, picture = results.write(
            "cluster",
            {"calls": CALLS, "happenings": [one.as_json() for one in found]},
            packages=("ray", "vllm", "ctranslate2", "onnxruntime"),
            plot=[results.Series(one.happening, one.delays_ms) for one in found],
            axis="milliseconds from the end of a question to the first audible sample",
        )
        console.print(f"{report}\n{picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
