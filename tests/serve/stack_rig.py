"""For tests of the started stack: its deployments, what may happen to their replicas, and calls placed to it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.actor import OnEvent
from bench.caller import CallTarget, place_call
from bench.script import Script
from bench.v2v import CallRecord
from bench.voices import PiperVoice
from models.weights import home_folder, prepare
from pipeline.events import Event, read_events
from serve.handles import Remote, connect, ready
from serve.media import SUMMARY_FILE
from serve.recording import EVENTS_FILE
from tests.conftest import StackUp

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

SEED = 7
BACK_TIMEOUT_S = 180.0
HANDLE_TIMEOUT_S = 60.0


def remote(up: StackUp, name: str) -> Remote:
    return connect(name, up.stack.deployments()[name])


def signal_replica(name: str, number: signal.Signals) -> None:
    replicas = _replicas(name)
    assert replicas, f"no replica process of {name}"
    for process in replicas:
        os.kill(process.pid, number)


def _replicas(name: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if f"ServeReplica:{name}:{name}" in " ".join(process.cmdline())
    ]


async def until_back(target: Remote) -> None:
    """Until a replica answers. Fails with what Serve and the replicas themselves tell of it if none does.

    A handle that does not find it for long is compared with a new one, so that a failure tells which side it is on.
    """
    until_s = time.monotonic() + BACK_TIMEOUT_S
    anew_s = time.monotonic() + HANDLE_TIMEOUT_S
    await asyncio.sleep(1)
    while fault := await ready(target, 2.0):
        if time.monotonic() > until_s:
            pytest.fail(f"{fault}\n{await asyncio.to_thread(_state_of, target.name)}")
        if time.monotonic() > anew_s:
            anew_s += HANDLE_TIMEOUT_S
            if not await ready(Remote(target.name, _new_handle(target.name), 2.0), 10.0):
                warnings.warn(f"{target.name}: a new handle finds the replica that the old one does not", stacklevel=2)
                return
        await asyncio.sleep(0.5)


def _new_handle(name: str) -> DeploymentHandle:
    from ray import serve

    return serve.get_deployment_handle(name, name, _check_exists=False)


def _state_of(name: str) -> str:
    from ray import serve

    told = [str(serve.status().applications.get(name))]
    for process in _replicas(name):
        told.append(f"{process.pid} {process.status()} {process.cpu_times()}")
        spy = [str(Path(sys.executable).with_name("py-spy")), "dump", "--pid", str(process.pid)]
        told.append(subprocess.run(spy, capture_output=True, text=True, check=False, timeout=30).stdout)
    return "\n".join(told)


async def call(up: StackUp, script: Script, on_event: OnEvent) -> tuple[CallRecord, list[Event], Path]:
    """Place the call; its record, its event log and its folder."""
    state = up.state
    target = CallTarget(public_url=state.public_url, base_url=state.url, auth_token=state.twilio_auth_token)
    voice = PiperVoice(prepare("piper-joe"), home_folder() / "caller")
    record = await place_call(target, script, seed=SEED, voice=voice, on_event=on_event)
    (folder,) = state.runs_dir.glob(f"*-{target.call_sid}")
    async with asyncio.timeout(30):
        while not (folder / SUMMARY_FILE).exists():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.1)
    return record, read_events((folder / EVENTS_FILE).read_text().splitlines()), folder
