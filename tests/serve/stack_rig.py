"""For tests of the started stack: its deployments, and what may happen to their replicas."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil

from serve.handles import Remote, connect, ready
from tests.conftest import StackUp

BACK_TIMEOUT_S = 180.0


def remote(up: StackUp, name: str) -> Remote:
    return connect(name, up.stack.deployments()[name])


def signal_replica(name: str, number: signal.Signals) -> None:
    replicas = [
        process
        for process in psutil.Process().children(recursive=True)
        if f"ServeReplica:models:{name}" in " ".join(process.cmdline())
    ]
    assert replicas, f"no replica process of {name}"
    for process in replicas:
        os.kill(process.pid, number)


async def until_back(target: Remote) -> None:
    async with asyncio.timeout(BACK_TIMEOUT_S):
        await asyncio.sleep(1)
        while await ready(target, 2.0):  # noqa: ASYNC110  # another process comes up
            await asyncio.sleep(0.5)
