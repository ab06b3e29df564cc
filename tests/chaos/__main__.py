"""Kill gateways, tool servers and language models in the middle of bookings: `python -m tests.chaos --calls 200`.

Four callers at a time book the practice's four openings; at a random moment one process is killed. Afterwards each
caller must have been told the truth: who was told that he is booked has exactly one appointment, and nobody was told
that a time of his own had been taken. Results go to bench/results as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import httpx

from bench import results
from tests.chaos.caller import Caller
from tests.chaos.lines import SLOTS

Victim = Literal["gateway", "office", "model"]
UP_TIMEOUT_S = 60.0
DESK_OPEN = "2026-11-23T10:00"
"""Local time at the practice: a Monday on which somebody is there to whom a caller can be put through."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one caller."""

    victim: Victim
    told: str
    end: str
    streams: int
    speaks_again_after_s: float | None
    appointments: int
    """At the time that this caller wanted, in the back office, afterwards."""
    heard: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What was wrong; empty if nothing was."""
        if self.appointments > 1:
            return "booked more than once"
        if self.told == "booked" and self.appointments != 1:
            return "told of a booking that does not exist"
        if self.told == "taken":
            return "told that a time was taken which nobody else wanted"
        if self.told == "nothing":
            return f"never told what came of it ({self.end})"
        if self.told == "not promised" and self.end != "put through":
            return "left alone without a booking"
        return ""


class Process:
    """A process of this module's, which can be killed and started again."""

    def __init__(self, log: Path, *command: str) -> None:
        self._log = log
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, health: str) -> None:
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL
            )
        until_s = time.monotonic() + UP_TIMEOUT_S
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while time.monotonic() < until_s and self._process.returncode is None:
                with suppress(httpx.TransportError):
                    if (await client.get(health)).is_success:
                        return
                await asyncio.sleep(0.1)
        raise RuntimeError(f"{' '.join(self._command)} does not come up: {self._log.read_text()[-2000:]}")

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """At once, and with nothing put in order. Safe to call twice."""
        if self._process is not None and self.runs:
            os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()


@asynccontextmanager
async def running(process: Process, health: str) -> AsyncGenerator[None, None]:
    try:
        await process.start(health)
        yield
    finally:
        await process.kill()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are taken at once, so that no two are the same."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


async def batch(victim: Victim, rng: random.Random, folder: Path) -> list[Outcome]:
    """Four calls, and one process killed."""
    office_port, model_port, first_port, second_port = free_ports(4)
    runs = folder / "runs"
    log = folder / "processes.log"
    office_url, model_url = f"http://127.0.0.1:{office_port}", f"http://127.0.0.1:{model_port}"
    office = Process(
        log,
        *("-m", "bench.backoffice", "dental", "--port", str(office_port)),
        *("--db", str(folder / "office.db"), "--now", DESK_OPEN),
    )
    model = Process(log, "-m", "tests.chaos.language_model", "--port", str(model_port))
    urls = [f"http://127.0.0.1:{port}" for port in (first_port, second_port)]
    gateways = [
        Process(
            log,
            *("-m", "tests.chaos.gateway", "--port", str(port), "--runs", str(runs)),
            *("--office", str(office_port), "--model", str(model_port)),
        )
        for port in (first_port, second_port)
    ]
    async with AsyncExitStack() as up:
        async with asyncio.TaskGroup() as starting:
            for process, health in (
                (office, f"{office_url}/health"),
                (model, f"{model_url}/health"),
                *((gateway, f"{url}/healthz") for gateway, url in zip(gateways, urls, strict=True)),
            ):
                starting.create_task(up.enter_async_context(running(process, health)))
        slow = {"kind": "slow", "method": "POST", "path": "/appointments", "delay_s": rng.uniform(0, 1.5)}
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.put(f"{office_url}/faults", json=[slow])).raise_for_status()
        callers = [
            Caller(f"CA{number}", hour, f"+1415555{1000 + number}", list(urls), runs, asks=victim == "model")
            for number, hour in enumerate(SLOTS)
        ]
        calls = [asyncio.create_task(_after(rng.uniform(0, 4), caller)) for caller in callers]
        strike = asyncio.create_task(_strike(victim, rng, callers, urls, (office, model, gateways[0]), office_url))
        await asyncio.wait(calls)
        strike.cancel()
        await asyncio.wait([strike])
        if not office.runs:
            await office.start(f"{office_url}/health")
        for call in calls:
            call.result()
        await asyncio.sleep(1.5)
        async with httpx.AsyncClient(trust_env=False) as client:
            appointments = (await client.get(f"{office_url}/state")).json()["appointments"]
    return [
        Outcome(
            victim,
            caller.told,
            caller.end,
            caller.streams,
            caller.speaks_again_after_s,
            sum(one["start"].endswith(caller.hour) for one in appointments),
            tuple(caller.heard),
        )
        for caller in callers
    ]


async def _after(delay_s: float, caller: Caller) -> None:
    await asyncio.sleep(delay_s)
    await caller.call()


async def _strike(
    victim: Victim,
    rng: random.Random,
    callers: Sequence[Caller],
    urls: Sequence[str],
    processes: tuple[Process, Process, Process],
    office_url: str,
) -> None:
    office, model, gateway = processes
    if rng.random() < 0.5:
        await asyncio.sleep(rng.uniform(3, 30))
    else:
        # While a booking is on its way.
        await asyncio.wait([asyncio.create_task(c.booking.wait()) for c in callers], return_when="FIRST_COMPLETED")
        await asyncio.sleep(rng.uniform(0, 1.5))
    match victim:
        case "gateway":
            await gateway.kill()
            for caller in callers:
                caller.gateways.remove(urls[0])
        case "office":
            await office.kill()
            await asyncio.sleep(rng.uniform(0, 1.5))
            await office.start(f"{office_url}/health")
        case "model":
            await model.kill()


async def run(count: int, seed: int, at_once: int, victims: Sequence[Victim]) -> list[Outcome]:
    """So many calls, in batches of four."""
    outcomes: list[Outcome] = []
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with places:
            rng = random.Random(seed * 10_000 + number)
            with tempfile.TemporaryDirectory(prefix="trunkline-chaos-") as folder:
                found = await batch(victims[number % len(victims)], rng, Path(folder))
        outcomes.extend(found)
        for outcome in found:
            if outcome.fault:
                print(f"batch {number}, {outcome.victim} killed: {outcome.fault}\n  " + "\n  ".join(outcome.heard))
        counts = Counter(f"{one.victim}: {one.told}" for one in outcomes)
        print(f"{len(outcomes)} calls: {dict(sorted(counts.items()))}", flush=True)

    async with asyncio.TaskGroup() as group:
        for number in range(-(-count // len(SLOTS))):
            group.create_task(one(number))
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=3, help="batches of four calls")
    parser.add_argument("--victim", choices=get_args(Victim), action="append")
    chosen = parser.parse_args()
    victims: Sequence[Victim] = chosen.victim or ("gateway", "office", "gateway", "model")
    outcomes = asyncio.run(run(chosen.calls, chosen.seed, chosen.at_once, victims))
    faults = Counter(outcome.fault for outcome in outcomes if outcome.fault)
    booked = sum(outcome.told == "booked" for outcome in outcomes)
    over = sum(outcome.streams > 1 for outcome in outcomes)
    print(f"{len(outcomes)} calls, {booked} booked, {over} gone on with by another gateway; faults: {dict(faults)}")
    gaps_ms = [1000 * one.speaks_again_after_s for one in outcomes if one.speaks_again_after_s is not None]
    written = results.write(
        "chaos",
        {"seed": chosen.seed, "faults": dict(faults), "calls": [asdict(one) for one in outcomes]},
        packages=("fastapi", "httpx", "uvicorn", "websockets"),
        plot=[results.Series("the next gateway speaks", gaps_ms)] if gaps_ms else [],
        axis="ms from the death of a call's gateway",
    )
    print(*written, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
