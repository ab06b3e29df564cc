"""What a gateway does beside its calls for as long as it runs: settle writes that dead processes left, and tidy up."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.agent import Agent
from pipeline.agent_version import canonical_json
from pipeline.clock import Clock
from pipeline.tools.outbox import OutboxError
from pipeline.tools.runner import ToolRunner
from serve.call_store import CallStore, StoreError
from serve.config import GatewaySettings

STORE_VARIABLE = "TRUNKLINE_STORE"
RECOVER_EVERY_S = 60.0
KEPT_S = 14 * 86_400.0
"""States that nobody went on with, outcomes, and writes that are finished are forgotten after this long."""

log = logging.getLogger(__name__)


def store_url(settings: GatewaySettings, runs_dir: Path) -> str:
    """Where the store is; makes the folder of a SQLite file."""
    given = settings.store or os.environ.get(STORE_VARIABLE)
    if given:
        return given
    runs_dir.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{runs_dir / 'calls.db'}"


def keep_version(version: str, agent: Agent, runs_dir: Path) -> Path:
    """Keep the agent's content under its version, once, so that old calls can be explained."""
    path = runs_dir / "agents" / f"{version}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(canonical_json(agent), encoding="utf-8")
    return path


async def keep_up(runners: Sequence[ToolRunner], store: CallStore, clock: Clock) -> None:
    """Runs until it is cancelled."""
    while True:
        try:
            for tools in runners:
                for key, result in (await tools.recover()).items():
                    log.warning("tool call %s, left by a gateway that died: %s %s", key, result.status, result.detail)
            await store.prune(clock.wall_time_s() - KEPT_S)
        except (OutboxError, StoreError) as error:
            log.error("upkeep: %s; tried again in %g s", error, RECOVER_EVERY_S)
        await clock.sleep(RECOVER_EVERY_S)
