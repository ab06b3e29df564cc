"""Agent files with their connections and presets written out, and their tools ready to be called."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from models.settings import SettingsError
from pipeline.agent import Agent, agent_of, load_agent
from pipeline.agent_check import check_agent
from pipeline.agent_include import load_with_included
from pipeline.clock import Clock
from pipeline.tools.definition import JsonValue
from pipeline.tools.outbox import Outbox
from pipeline.tools.runner import ToolRunner
from serve.connectors.opening import open_connectors
from serve.connectors.presets import expand
from serve.connectors.secret_values import SecretReader


def load_agent_file(path: Path) -> Agent:
    """Read an agent file whose tools may come from presets (`use: crm.find_caller`) or OpenAPI files beside it.

    Raises SettingsError.
    """
    data = load_with_included(path)
    connections, tools = data.get("connections") or {}, data.get("tools")
    if not isinstance(connections, dict) or not isinstance(tools, dict) or not _come_from_elsewhere(tools):
        return load_agent(path)
    expanded = expand(connections, tools, source=str(path))
    data["tools"] = {name: tool.model_dump(mode="json", exclude_unset=True) for name, tool in expanded.tools.items()}
    return agent_of(data, path)


def load_sound_agent_file(path: Path) -> Agent:
    """Read an agent file that is to take calls. Raises SettingsError if it has errors that `agent validate` finds."""
    agent = load_agent_file(path)
    errors = [finding for finding in check_agent(agent) if finding.severity == "error"]
    if errors:
        shown = "; ".join(f"{finding.where}: {finding.what}" for finding in errors[:3])
        more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
        raise SettingsError(f"{path}: {shown}{more}; see: trunkline agent validate {path}")
    return agent


@asynccontextmanager
async def agent_tools(
    agent: Agent, outbox: Outbox, clock: Clock, rng: random.Random | None = None
) -> AsyncGenerator[ToolRunner, None]:
    """The agent's tools, ready to be called. `rng` spreads retries. Raises SettingsError."""
    tools: dict[str, JsonValue] = {
        name: tool.model_dump(mode="json", exclude_unset=True) for name, tool in agent.tools.items()
    }
    expanded = expand(agent.connections, tools, source=f"agent {agent.name}")
    async with open_connectors(expanded, secrets=SecretReader(), clock=clock) as connectors:
        try:
            runner = ToolRunner(agent.tools, connectors, outbox, clock, rng or random.Random())  # noqa: S311
        except ValueError as error:
            raise SettingsError(f"agent {agent.name}: {error}") from error
        async with runner:
            yield runner


def _come_from_elsewhere(tools: Mapping[str, JsonValue]) -> bool:
    return any(isinstance(tool, dict) and ("use" in tool or "openapi" in tool) for tool in tools.values())
