"""Conversations played one after another, and what came of them by edge."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.eval.conversation import load_conversation
from bench.eval.models import AgentModels
from bench.eval.play import Talk, faults, play
from bench.eval.world import office_of
from bench.results import Json
from pipeline.agent import Agent
from pipeline.agent_version import agent_version


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one conversation."""

    agent: str
    version: str
    name: str
    edge: str
    failures: tuple[str, ...]
    talk: Talk
    took_ms: float


async def play_all(
    name: str,
    agent: Agent,
    models: AgentModels,
    paths: Sequence[Path],
    only: Sequence[str],
    told: Console,
    *,
    office: str | None = None,
) -> list[Verdict]:
    """Play these conversation files with an agent; those that fail are told turn by turn.

    `name`: of the agent, in what is told. `office`: whose back office they have; None: the one of that name. `only`: no
    others than of these names, and all of them told. Raises SettingsError and ModelFailure.
    """
    verdicts: list[Verdict] = []
    opener, version = office_of(office or name), agent_version(agent)
    for path in paths:
        if only and path.stem not in only:
            continue
        conversation = load_conversation(path)
        began_s = time.perf_counter()
        talk = await play(conversation, agent, models, opener)
        failures = tuple(faults(conversation, talk))
        took_ms = (time.perf_counter() - began_s) * 1000
        verdicts.append(Verdict(name, version, path.stem, conversation.edge, failures, talk, took_ms))
        if failures or only:
            told.print(f"\n{name}/{path.stem}: {conversation.description}", highlight=False, markup=False)
            told.print(talk.told(), highlight=False, markup=False)
            for failure in failures:
                told.print(f"  FAILED {failure}", highlight=False, markup=False)
    return verdicts


def shares_of(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    """Task success: of all, by agent, by agent and edge."""
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in verdicts:
        for edge in ("all", verdict.edge):
            groups[verdict.agent, edge].append(not verdict.failures)
    by_agent: dict[str, dict[str, Json]] = {}
    for (agent, edge), passed in groups.items():
        by_agent.setdefault(agent, {})[edge] = {
            "conversations": len(passed),
            "passed": sum(passed),
            "share": round(sum(passed) / len(passed), 3),
        }
    return dict(by_agent)


def success_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("agent", "edge", "passed", "share", title="Task success")
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.agent, verdict.edge].append(not verdict.failures)
        groups[verdict.agent, "(all)"].append(not verdict.failures)
    for (agent, edge), passed in sorted(groups.items()):
        table.add_row(agent, edge, f"{sum(passed)}/{len(passed)}", f"{sum(passed) / len(passed):.0%}")
    return table
