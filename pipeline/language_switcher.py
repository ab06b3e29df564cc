"""Who answers a call: one agent a language. Another takes over when the caller is heard to speak its language."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from models.types import Languages
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call_models import CallModels
from pipeline.call_services import CallServices
from pipeline.context.of_agent import AgentContext
from pipeline.dialogue_manager import DialogueManager
from pipeline.fixed_lines import FixedLines
from pipeline.plan import Plan
from pipeline.planner import Planner
from pipeline.state import CallState, Memory, Transfer

LOOK_UP_S = 1.0
"""What was looked up while the greeting was said may take this much longer before another agent takes over."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent in a call: who it is, with which models, and what it may do."""

    agent: Agent
    models: CallModels
    fixed_lines: FixedLines
    context: AgentContext
    services: CallServices = field(default_factory=CallServices)
    """Without them the agent can do nothing but talk."""


@dataclass(frozen=True, slots=True)
class ActiveAgent:
    """A spec at work: all of a call that differs from agent to agent."""

    spec: AgentSpec
    manager: DialogueManager
    planner: Planner

    @property
    def agent(self) -> Agent:
        return self.spec.agent


class LanguageSwitcher:
    """One call's agents, and which of them has the word."""

    def __init__(
        self,
        spec: AgentSpec,
        others: Sequence[AgentSpec],
        *,
        activate: Callable[[AgentSpec], ActiveAgent],
        log: Callable[[ev.Event], object],
    ) -> None:
        """`spec` begins; `others`: one for each further language. `activate` makes one that answers."""
        self._specs = {one.agent.language: one for one in (*others, spec)}
        self._activate = activate
        self._log = log
        self._understood = False
        self.active = activate(spec)
        """Of the agent that has the word."""

    @property
    def languages(self) -> Languages:
        """What the caller may be speaking now."""
        expected = self.active.agent.language
        others = tuple(code for code in self._specs if code != expected)
        return Languages(expected, others, settled=self._understood)

    async def for_language(self, language: str) -> ActiveAgent:
        """Who is to answer words in this language: the one who has the word, or who would get it.

        Who is doing something for the caller, or has done it and not said so, keeps the word.
        """
        if language == self.active.agent.language or language not in self._specs:
            return self.active
        manager = self.active.manager
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_UP_S):
                await manager.tools_done()
        if manager.has_news:
            return self.active
        spec = self._specs[language]
        memory = taken_over(manager.memory, self.active.agent, spec.agent)
        return self._activate(replace(spec, services=replace(spec.services, memory=memory)))

    def counts(self, active: ActiveAgent, plan: Plan, turn: int) -> bool:
        """The role's plan takes effect: the word is its now. Whether it was another's."""
        changes = active is not self.active
        if changes:
            self.active = active
            agent = active.agent
            self._log(ev.LanguageChanged(turn=turn, language=agent.language, agent=agent.name))
        active.planner.counts(plan, turn)
        if plan.utterance and _understood(plan):
            self._understood = True
        if changes and not active.manager.in_flow:
            active.manager.look_up(turn)
        return changes


def _understood(plan: Plan) -> bool:
    return plan.state is not None and not (plan.unfit or plan.state.misses or plan.state.unclear)


def taken_over(memory: Memory, before: Agent, after: Agent) -> Memory:
    """What an agent in another language goes on with: what the caller said of themselves, how much patience is left,
    and whether they are being put through.

    It begins with no flow under way, and looks up anew what is on offer: that was put in the other language's words.
    """
    kept = {
        name: value
        for name, value in memory.state.values.items()
        if name not in before.variables
        or (name in after.variables and before.variables[name].type == after.variables[name].type != "choice")
    }
    state, closing = memory.state, memory.state.closing
    targets = after.escalation.targets if after.escalation else ()
    state = CallState(
        values=kept,
        visits=state.visits,
        level=state.level,
        impatience=state.impatience,
        warned=state.warned,
        closing=closing if isinstance(closing, Transfer) and closing.target in targets else None,
    )
    return Memory(state, memory.history, memory.context)
