"""The agents of a gateway, ready to take calls, and which of them takes which call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.agent import Agent
from pipeline.agent_version import agent_version
from pipeline.call_models import CallModels
from pipeline.call_services import CallServices, NoTools
from pipeline.context.of_agent import AgentContext
from pipeline.fixed_lines import FixedLines
from pipeline.language_switcher import AgentSpec
from pipeline.tool_executor import Tools
from serve.traffic_split import TrafficSplit, only

_SLOTS = 10_000
"""Shares are counted in hundredths of a percent."""


@dataclass(frozen=True, slots=True)
class AgentRuntime:
    """One agent with all it needs; shared by its calls."""

    agent: Agent
    version: str
    models: CallModels
    fixed_lines: FixedLines
    context: AgentContext
    tools: Tools

    def spec(self, services: CallServices) -> AgentSpec:
        """For one call."""
        return AgentSpec(self.agent, self.models, self.fixed_lines, self.context, services)


class AgentPool:
    """Who takes which call."""

    def __init__(self, traffic: TrafficSplit, runtimes: Mapping[str, AgentRuntime]) -> None:
        """`runtimes`: one for each agent of the split, by version."""
        self._shares = tuple(
            (one.percent, tuple(runtimes[each.version] for each in one.agents)) for one in traffic.variants
        )

    @property
    def first(self) -> AgentRuntime:
        """Of the agent that the number is known by."""
        return self._shares[0][1][0]

    def pick(self, call_sid: str) -> tuple[AgentRuntime, ...]:
        """Who takes a new call, and then who takes over in other languages. The same for the same call everywhere."""
        digest = hashlib.sha256(f"share {call_sid}".encode()).digest()
        slot = int.from_bytes(digest[:8], "big") % _SLOTS
        until = 0.0
        for percent, runtimes in self._shares:
            until += percent * _SLOTS / 100
            if slot < until:
                return runtimes
        return self._shares[0][1]

    def going_on(self, call_sid: str, agent: str, version: str) -> tuple[AgentRuntime, ...] | None:
        """Who goes on with a call that this version of an agent held: the same, or another version of it, or nobody."""
        # An agent for another language may belong to several shares; the call's own comes first.
        known = [
            (runtime, runtimes)
            for runtimes in (self.pick(call_sid), *(runtimes for _, runtimes in self._shares))
            for runtime in runtimes
        ]
        same = [one for one in known if one[0].version == version]
        for runtime, runtimes in same or [one for one in known if one[0].agent.name == agent]:
            return (runtime, *(other for other in runtimes if other is not runtime))
        return None


def of_one(
    agent: Agent, models: CallModels, fixed_lines: FixedLines, context: AgentContext, tools: Tools | None = None
) -> AgentPool:
    """One agent takes all calls."""
    version = agent_version(agent)
    return AgentPool(
        only(agent), {version: AgentRuntime(agent, version, models, fixed_lines, context, tools or NoTools())}
    )
