"""The two sides of the comparison, started and stopped: our stack, and Pipecat with a server for its language model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import yaml

from bench.caller import CallTarget
from bench.peers.environment import BOT, PeerError, PipecatEnvironment
from pipeline.agent import Agent
from serve.config import Stack
from serve.secrets import LOCAL_PUBLIC_URL, local_secrets
from serve.stack import running_stack, usable_port
from serve.traffic_split import only

VARIANTS = BOT.with_name("variants.yaml")
OURS = "trunkline"
FIXED_TEXT_MODEL = "bench.peers.ours:FixedTextLanguageModel"
START_TIMEOUT_S = 180.0
READY_TIMEOUT_S = 60.0
_STOP_GRACE_S = 10.0
_POLL_S = 0.1
_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""Ends a child should this process be killed."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
"""Removed from the peer's environment: its own defaults, or what its variant says, must hold."""


@dataclass(frozen=True, slots=True)
class Side:
    """One that can be called."""

    name: str
    ready_path: str
    """Answers with success as soon as a call can be placed."""
    base_urls: tuple[str, ...]
    """One for each call that may run at a time."""
    public_url: str
    auth_token: str
    processes: tuple[int, ...] = ()
    """Processes started for it; empty for our own side, whose processes are all the others of this one."""

    def target(self, line: int) -> CallTarget:
        """A new call to the `line`-th of them."""
        return CallTarget(
            public_url=self.public_url,
            base_url=self.base_urls[line % len(self.base_urls)],
            auth_token=self.auth_token,
        )


async def wait_until_ready(side: Side) -> None:
    """Returns once a call can be placed. Raises PeerError if that takes too long."""
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
        for url in side.base_urls:
            until_s = time.monotonic() + READY_TIMEOUT_S
            while time.monotonic() < until_s:
                with suppress(httpx.TransportError):
                    if (await http.get(url + side.ready_path)).is_success:
                        break
                await asyncio.sleep(_POLL_S)
            else:
                raise PeerError(f"{side.name}: {url}{side.ready_path} does not answer within {READY_TIMEOUT_S:g} s")


def variant_names(path: Path = VARIANTS) -> list[str]:
    """Pipecat's configurations, in the file's order."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [str(name) for name in found]


@contextmanager
def our_side(stack: Stack, agent: Agent, *, own_text: bool, home: Path, runs_dir: Path) -> Iterator[Side]:
    """Our stack, up and ready. Raises serve.stack.StackError."""
    gateway = stack.gateway.model_copy(update={"port": usable_port(stack.gateway)})
    model = stack.small_language_model
    if not own_text:
        model = model.model_copy(update={"implementation": FIXED_TEXT_MODEL})
    chosen = stack.model_copy(update={"gateway": gateway, "small_language_model": model})
    secrets = local_secrets()
    with running_stack(chosen, only(agent), secrets, home=home, runs_dir=runs_dir) as state:
        yield Side(OURS, "/readyz", (state.url,), state.public_url, state.twilio_auth_token)


@contextmanager
def pipecat_sides(
    names: Sequence[str],
    *,
    environment: PipecatEnvironment,
    stack_path: Path,
    agent_path: Path,
    agent: Agent,
    own_text: bool,
    lines: int,
    logs: Path,
) -> Iterator[list[Side]]:
    """A side for each variant, over one language model server. Raises PeerError.

    A variant gets a process for each of `lines` calls at a time, which is how Pipecat deploys bots. A bot loads its
    models when a call begins.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        server_port = _free_port()
        command = [sys.executable, "-m", "bench.peers.llm_server", "--port", str(server_port)]
        command += ["--stack", str(stack_path), "--agent", str(agent_path), *(["--own-text"] if own_text else [])]
        server = undo.enter_context(_process(command, server_port, logs / "llm_server.log", {}))
        waiting = [server]
        variants = yaml.safe_load(VARIANTS.read_text(encoding="utf-8"))
        sides = []
        for name in names:
            options = {
                "variant": name,
                "llm_url": f"http://127.0.0.1:{server_port}/v1",
                "whisper": str(environment.whisper),
                "kokoro": str(environment.kokoro),
                "voices": str(environment.voices),
                "voice": agent.voice,
                "system": agent.persona,
                "greeting": agent.lines.greeting,
                "max_tokens": agent.generation.max_tokens,
                "public_url": LOCAL_PUBLIC_URL,
            }
            bots = []
            for number in range(lines):
                port = _free_port()
                bot = [str(environment.python), str(BOT), "--port", str(port), "--options", json.dumps(options)]
                log = logs / f"pipecat-{name}-{number}.log"
                bots.append(undo.enter_context(_process(bot, port, log, variants[name].get("environment", {}))))
            waiting += bots
            urls = tuple(f"http://127.0.0.1:{bot.port}" for bot in bots)
            processes = tuple(started.process.pid for started in (server, *bots))
            sides.append(Side(f"pipecat {name}", "/healthz", urls, LOCAL_PUBLIC_URL, "unchecked", processes))
        for started in waiting:
            started.wait_until_up()
        yield sides


@dataclass(frozen=True, slots=True)
class _Started:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def wait_until_up(self) -> None:
        """Raises PeerError if it ended, or does not answer in time."""
        until_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until_s:
            if self.process.poll() is not None:
                raise PeerError(f"ended with {self.process.returncode} before it answered: {self._tail()}")
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5.0, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(_POLL_S)
        raise PeerError(f"port {self.port} does not answer after {START_TIMEOUT_S:g} s: {self._tail()}")

    def _tail(self) -> str:
        return f"{self.log}: {self.log.read_text(encoding='utf-8', errors='replace')[-1500:]}"


@contextmanager
def _process(command: Sequence[str], port: int, log: Path, variables: Mapping[str, str]) -> Iterator[_Started]:
    """A child in a process group of its own, which is ended with all its children."""
    environment = {name: value for name, value in os.environ.items() if name not in _THREAD_VARIABLES} | dict(variables)
    with log.open("wb") as output:
        child = subprocess.Popen(
            (*_WITH_PARENT, *command), stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        yield _Started(child, port, log)
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    family = _family(child.pid)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in family:
            if process.is_running():
                process.send_signal(sign)
        _, family = psutil.wait_procs(family, timeout=_STOP_GRACE_S)
        if not family:
            break
    child.wait()


def processes_of(side: Side, sides: Sequence[Side]) -> list[psutil.Process]:
    """All processes of a side, children included. Sides may share some (Pipecat's variants share a model server)."""
    if side.processes:
        return [process for root in side.processes for process in _family(root)]
    peers = {process for other in sides if other.processes for process in processes_of(other, sides)}
    return [process for process in psutil.Process().children(recursive=True) if process not in peers]


@contextmanager
def alone(side: Side, sides: Sequence[Side]) -> Iterator[None]:
    """Let only this side's processes run; those of the others stand still until they are wanted."""
    halted = [process for other in sides if other != side for process in processes_of(other, sides)]
    running = set(processes_of(side, sides))
    halted = [process for process in halted if process not in running]
    for process in halted:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in halted:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds that they have used so far."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
