"""A stand-in for the business's own systems, started beside a stack: for demos and tests, never for real calls."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import JsonValue

from pipeline.agent import Agent
from serve.config import BackOfficeSettings

START_TIMEOUT_S = 30.0
_POLL_S = 0.1
_STOP_GRACE_S = 5.0


class BackOfficeError(RuntimeError):
    """The back office cannot start: says what was expected, what was found, what to do."""


def at_port(agent: Agent, settings: BackOfficeSettings, port: int) -> Agent:
    """The agent with its connections to the back office led to another port of this machine."""
    before, after = f"http://127.0.0.1:{settings.port}", f"http://127.0.0.1:{port}"

    def led(connection: JsonValue) -> JsonValue:
        url = connection.get("base_url") if isinstance(connection, dict) else None
        if not isinstance(connection, dict) or not isinstance(url, str) or not url.startswith(before):
            return connection
        return {**connection, "base_url": after + url.removeprefix(before)}

    return agent.model_copy(update={"connections": {name: led(one) for name, one in agent.connections.items()}})


@contextmanager
def back_office(settings: BackOfficeSettings, port: int, log: Path) -> Iterator[None]:
    """The back office, up on the loopback; its output goes to `log`. Raises BackOfficeError."""
    command = [sys.executable, "-m", "bench.backoffice", settings.name, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _wait_until_up(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2.0, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(_POLL_S)
    tail = log.read_text(encoding="utf-8", errors="replace")[-500:]
    raise BackOfficeError(f"the back office does not answer on port {port}; see {log}: {tail}")
