"""The agent's side of one call, in speech or text: flows, errands, what to say, what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.context.of_agent import AgentContext
from pipeline.errands import Errands
from pipeline.escalation import HandOver, hand_over
from pipeline.matter import Matter
from pipeline.ports import LanguageModel
from pipeline.responder import Responder
from pipeline.state import CallState, Memory, variables_set
from pipeline.tools.calls import ToolCall
from pipeline.workflow.engine import Transfer, WorkflowEngine


class AgentSide:
    """Built once a call; a call that is resumed goes on from the matter's memory."""

    def __init__(
        self,
        agent: Agent,
        language_model: LanguageModel,
        context: AgentContext,
        matter: Matter,
        *,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        log: ev.EventLog,
    ) -> None:
        """`spawn` starts work that lives as long as the call."""
        self._agent = agent
        self._matter = matter
        self._log = log
        self.engine = WorkflowEngine(
            agent.flows,
            agent.variables,
            call_id=matter.call_id,
            caller=matter.caller,
            today=matter.today,
            language=agent.language,
        )
        self.errands = Errands(
            self.engine,
            matter.tools,
            spawn=spawn,
            log=log.append,
            changed=self._result_came,
            saved=matter.saved,
            untold=matter.memory.untold if matter.memory else (),
        )
        self.responder = Responder(
            agent,
            language_model,
            self.engine,
            self.errands,
            context=context,
            memory=matter.memory,
            changed=self._memory_changed,
        )
        self._known = self.responder.state.values

    def open(self, turn: int) -> tuple[str, bool]:
        """The words that the call begins with, and whether news follow them.

        Begins what is looked up while the greeting is said, or goes on where a call that was cut off stood.
        """
        lines, memory = self._agent.lines, self._matter.memory
        if memory is None:
            self.look_up(turn)
            return lines.greeting, False
        pending = self.engine.pending_call(memory.state)
        if pending is not None:
            # Under the key it had: what was done before the cut is not done again.
            self.errands.begin(memory.state, pending, turn)
        has_news = self.responder.has_news
        # News end with what is asked next.
        prompt = "" if has_news else self.engine.prompt(memory.state)
        return f"{lines.resumed} {prompt}".strip(), has_news

    def look_up(self, turn: int) -> None:
        """Begin what the agent looks up while the greeting is said, if it does."""
        if self._agent.on_call is None:
            return
        step = self.engine.start(self.responder.state, self._agent.on_call, "", turn)
        if isinstance(step.act, ToolCall):
            self.errands.begin(step.state, step.act, turn)

    def package(self) -> HandOver | None:
        """What whoever takes the call over gets to know; None if the call is not about to be handed over."""
        closing = self.responder.closing
        if not isinstance(closing, Transfer):
            return None
        responder = self.responder
        return hand_over(closing, responder.state, responder.history, self._agent.variables, self.engine)

    def _result_came(self, state: CallState) -> None:
        self.responder.changed(state)

    def _memory_changed(self, memory: Memory) -> None:
        for event in variables_set(self._known, memory.state, self._agent.variables):
            self._log.append(event)
        self._known = memory.state.values
        self._matter.save(memory)
