"""The agents of a gateway, ready to take calls, and which of them takes which call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.agent import Agent
from pipeline.agent_version import agent_version
from pipeline.call_models import CallModels
from pipeline.call_services import CallServices, NoTools
from pipeline.cast import Part
from pipeline.context.of_agent import AgentContext
from pipeline.fixed_lines import FixedLines
from pipeline.tool_executor import Tools
from serve.line_up import LineUp, only

_SLOTS = 10_000
"""Shares are counted in hundredths of a percent."""


@dataclass(frozen=True, slots=True)
class Kit:
    """One agent with all it needs; shared by its calls."""

    agent: Agent
    version: str
    models: CallModels
    fixed_lines: FixedLines
    context: AgentContext
    tools: Tools

    def part(self, services: CallServices) -> Part:
        """For one call."""
        return Part(self.agent, self.models, self.fixed_lines, self.context, services)


class Roster:
    """Who takes which call."""

    def __init__(self, line_up: LineUp, kits: Mapping[str, Kit]) -> None:
        """`kits`: one for each agent of the line-up, by version."""
        self._shares = tuple(
            (one.percent, tuple(kits[each.version] for each in one.agents)) for one in line_up.variants
        )

    @property
    def first(self) -> Kit:
        """Of the agent that the number is known by."""
        return self._shares[0][1][0]

    def pick(self, call_sid: str) -> tuple[Kit, ...]:
        """Who takes a new call, and then who takes over in other languages. The same for the same call everywhere."""
        digest = hashlib.sha256(f"share {call_sid}".encode()).digest()
        slot = int.from_bytes(digest[:8], "big") % _SLOTS
        until = 0.0
        for percent, kits in self._shares:
            until += percent * _SLOTS / 100
            if slot < until:
                return kits
        return self._shares[0][1]

    def going_on(self, call_sid: str, agent: str, version: str) -> tuple[Kit, ...] | None:
        """Who goes on with a call that this version of an agent held: the same, or another version of it, or nobody."""
        # An agent for another language may belong to several shares; the call's own comes first.
        known = [(kit, kits) for kits in (self.pick(call_sid), *(kits for _, kits in self._shares)) for kit in kits]
        same = [one for one in known if one[0].version == version]
        for kit, kits in same or [one for one in known if one[0].agent.name == agent]:
            return (kit, *(other for other in kits if other is not kit))
        return None


def of_one(
    agent: Agent, models: CallModels, fixed_lines: FixedLines, context: AgentContext, tools: Tools | None = None
) -> Roster:
    """One agent takes all calls."""
    version = agent_version(agent)
    return Roster(only(agent), {version: Kit(agent, version, models, fixed_lines, context, tools or NoTools())})
