"""What a conversation needs of the world: an agent's back ends over its back office, a router, a language model."""

from __future__ import annotations

import importlib

from bench.backoffice.office import Opener
from pipeline.agent import Agent
from pipeline.clock import LoopClock

BACK_OFFICE = "back_office"
"""The connection of the demo agents that reaches their back office."""


class EvalClock(LoopClock):
    """Wall time that begins at a given moment and moves with the loop."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s

    def wall_time_s(self) -> float:
        return self._began_s + self.now_s()


def office_of(name: str) -> Opener:
    """The back office that goes with an agent."""
    # An agent that speaks another language ("dental_es") has the same office.
    practice = name.partition("_")[0]
    opener: Opener = importlib.import_module(f"bench.backoffice.{practice}").open_office
    return opener


def with_office_at(agent: Agent, base_url: str) -> Agent:
    """The agent with its back office at another address; one that has none stays as it is."""
    office = agent.connections.get(BACK_OFFICE)
    if not isinstance(office, dict):
        return agent
    connections = {**agent.connections, BACK_OFFICE: {**office, "base_url": base_url}}
    return agent.model_copy(update={"connections": connections})
