"""A Ray cluster of three nodes on this machine: three raylets, a stack deployed on them as an operator would.

Node `head` has Serve's controller and takes gateways; `first` takes gateways and models, `second` models. All three
have this machine's address: what is shown is that processes, stores and deployments find each other over Ray alone, not
that a network between them is fast. Two gateways take the same port on it, as each would on a machine of its own; the
kernel deals connections out between them, so a call's webhook and its stream meet different ones, as behind a load
balancer.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import psutil

from serve.cluster import RUNS_VARIABLE
from serve.config import load_stack
from serve.ray_switches import ray_switches
from serve.secrets import PUBLIC_URL_VARIABLE, TOKEN_VARIABLE
from serve.stack import free_port
from serve.upkeep import STORE_VARIABLE

RESOURCES: Final[Mapping[str, Mapping[str, int]]] = {
    "head": {"gateways": 1},
    "first": {"gateways": 1, "models": 1},
    "second": {"models": 1},
}
UP_TIMEOUT_S = 240.0
STORE_MB = 100
GRACE_S = 10.0
HOST: Final = "127.0.0.1"


class ClusterError(RuntimeError):
    """A node or the stack did not come up: which, and what it said."""


class Nodes:
    """The cluster, up."""

    def __init__(self, stack: Path, folder: Path, environment: Mapping[str, str], dashboard_port: int) -> None:
        self.stack = stack
        self.runs_dir = Path(environment[RUNS_VARIABLE])
        self._folder = folder
        self._environment = dict(environment)
        self._dashboard_port = dashboard_port
        self._gcs_port = free_port(HOST)
        self.processes: dict[str, list[psutil.Process]] = {}
        """What each node was started with."""

    async def add(self, name: str) -> None:
        """Start a node. Raises ClusterError."""
        options = [
            *("--num-cpus", "1", "--object-store-memory", str(STORE_MB << 20), "--disable-usage-stats"),
            *("--resources", json.dumps(RESOURCES[name])),
        ]
        if name == "head":
            options += ["--head", "--port", str(self._gcs_port), "--temp-dir", str(self._folder / "ray")]
            options += ["--include-dashboard", "true", "--dashboard-port", str(self._dashboard_port)]
        else:
            options += ["--address", f"{HOST}:{self._gcs_port}"]
        before = set(self._processes())
        await self._run("ray", "start", *options)
        self.processes[name] = [process for process in self._processes() if process not in before]

    async def deploy(self) -> None:
        """Hand the stack, as its file is now, to Serve: the first time, and for an upgrade. Raises ClusterError."""
        config = await self._run("trunkline", "cluster", "config", str(self.stack))
        file = self._folder / "serve.yaml"
        file.write_text(config, encoding="utf-8")
        await self._run("serve", "deploy", "-a", f"http://{HOST}:{self._dashboard_port}", str(file))

    async def status(self) -> dict[str, object]:
        """Serve's own view of what runs."""
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            headers = {"Authorization": f"Bearer {self._environment['RAY_AUTH_TOKEN']}"}
            answer = await client.get(f"http://{HOST}:{self._dashboard_port}/api/serve/applications/", headers=headers)
            answer.raise_for_status()
            found: dict[str, object] = answer.json()
            return found

    async def settled(self) -> None:
        """Until every application runs as it was deployed last. Raises ClusterError after some minutes."""
        until_s = time.monotonic() + UP_TIMEOUT_S
        told: object = None
        while time.monotonic() < until_s:
            try:
                applications = (await self.status()).get("applications")
            except httpx.HTTPError as error:
                told = error
            else:
                told = (
                    {name: app["status"] for name, app in applications.items()}
                    if isinstance(applications, dict)
                    else {}
                )
                if told and set(told.values()) == {"RUNNING"}:
                    return
            await asyncio.sleep(1.0)
        raise ClusterError(f"the stack did not settle within {UP_TIMEOUT_S:.0f} s: {told}; Ray's logs: {self._folder}")

    async def gateways(self) -> list[str]:
        """Base URLs of the gateways that answer with ready models."""
        settings = load_stack(self.stack).gateway
        most = 2 * (settings.scaling.most if settings.scaling else settings.replicas)
        urls = [f"http://{HOST}:{settings.port + number}" for number in range(most + 1)]
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answers = await asyncio.gather(*(client.get(f"{url}/readyz") for url in urls), return_exceptions=True)
        return [
            url
            for url, answer in zip(urls, answers, strict=True)
            if isinstance(answer, httpx.Response) and answer.is_success
        ]

    def listening(self) -> int:
        """How many gateways have a port."""
        return sum(
            any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections("tcp"))
            for process in self.replicas("Gateway")
        )

    def replicas(self, name: str) -> list[psutil.Process]:
        """Processes of a deployment's replicas, on whichever node."""
        return [process for process in _matching(f"ServeReplica:{name}") if self._is_ours(process)]

    def named(self, part: str) -> list[psutil.Process]:
        """Processes of the cluster whose command line holds the text."""
        return [process for process in _matching(part) if self._is_ours(process)]

    def kill_node(self, name: str) -> None:
        """All of its processes at once, workers included."""
        processes = [each for root in self.processes[name] for each in (root, *_children(root))]
        for process in processes:
            _signal(process, signal.SIGKILL)

    async def stop(self) -> None:
        """End every process of the cluster."""
        processes = self._processes()
        for process in processes:
            _signal(process, signal.SIGTERM)
        _, alive = await asyncio.to_thread(psutil.wait_procs, processes, GRACE_S)
        for process in {*alive, *self._processes()}:
            _signal(process, signal.SIGKILL)

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("RAY_AUTH_TOKEN") == self._environment["RAY_AUTH_TOKEN"]
        except (psutil.Error, OSError):
            return False

    async def _run(self, program: str, *arguments: str) -> str:
        """One of this environment's programs. Raises ClusterError with what it said if it fails."""
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / program),
            *arguments,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise ClusterError(f"{program} {' '.join(arguments)}: exit {process.returncode}: {err.decode()[-2000:]}")
        return out.decode()


@asynccontextmanager
async def cluster(stack: Path, *, store: str, token: str, public_url: str) -> AsyncGenerator[Nodes, None]:
    """Three nodes with the stack on them, its gateways ready; all ended afterwards. Raises ClusterError."""
    folder = Path(tempfile.mkdtemp(prefix="trunkline-cluster-"))
    environment = {
        **os.environ,
        **ray_switches(load_stack(stack).gateway),
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        TOKEN_VARIABLE: token,
        PUBLIC_URL_VARIABLE: public_url,
        STORE_VARIABLE: store,
        RUNS_VARIABLE: str(folder / "runs"),
    }
    nodes = Nodes(stack, folder, environment, free_port(HOST))
    try:
        for name in RESOURCES:
            await nodes.add(name)
        await nodes.deploy()
        await nodes.settled()
        until_s = time.monotonic() + UP_TIMEOUT_S
        while nodes.listening() < load_stack(stack).gateway.replicas or not await nodes.gateways():
            if time.monotonic() > until_s:
                raise ClusterError(f"the gateways are not ready after {UP_TIMEOUT_S:.0f} s; Ray's logs: {folder}")
            await asyncio.sleep(0.5)
        yield nodes
    finally:
        await nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _matching(part: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if part in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
