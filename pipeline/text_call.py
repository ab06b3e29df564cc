"""A call in text: what pipeline/call.py does, without ears and mouth. For trials and conversations' tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from models.types import GenerateRequest, ModelFailure
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.agent_side import AgentSide
from pipeline.clauses import split_clauses
from pipeline.clock import Clock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.escalation import HandOver
from pipeline.matter import Matter
from pipeline.plan import Plan
from pipeline.ports import LanguageModel, Router
from pipeline.state import CallState
from pipeline.understanding.rules import by_rules
from pipeline.workflow.engine import HangUp, Transfer

End = Literal["farewell", "escalated", "transferred", "silence", "caller_hung_up"]


class FactsAsWritten:
    """A language model that is none: it says the fact it is handed."""

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        fact = request.messages[-1].content.rpartition("\nFact: ")[2]
        for clause in split_clauses(fact):
            yield clause

    async def prefill(self, request: GenerateRequest) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Said:
    """The agent's side of a turn."""

    text: str
    route: str = ""
    """Label and confidence, for people to read."""


class TextCall:
    """One call; `open` it inside a running event loop, `close` it at the end."""

    def __init__(
        self,
        agent: Agent,
        router: Router,
        language_model: LanguageModel,
        matter: Matter,
        clock: Clock,
    ) -> None:
        self._agent = agent
        self._router = router
        self._clock = clock
        self._matter = matter
        self.log = ev.EventLog(clock)
        context = AgentContext(agent, RoughCounter())
        self._side = AgentSide(agent, language_model, context, matter, spawn=asyncio.create_task, log=self.log)
        self._responder = self._side.responder
        self._turn = 0
        self._reprompts = 0
        self.end: End | None = None
        self.hand_over: HandOver | None = None

    @property
    def state(self) -> CallState:
        return self._responder.state

    def open(self) -> Said:
        """Greet, and look up what is to be known before the caller speaks."""
        greeting = self._agent.lines.greeting
        self._responder.heard(greeting)
        self._side.look_up(self._turn)
        return Said(greeting)

    async def close(self) -> None:
        """The line is gone: what was begun is finished."""
        self.end = self.end or "caller_hung_up"
        await self._side.errands.finished()

    async def say(self, utterance: str, *, unclear: bool = False) -> Said:
        """The caller says something; the whole reply."""
        self._turn += 1
        self._reprompts = 0
        if not utterance:
            return await self._reply(self._responder.not_understood(turn=self._turn), "")
        self.log.append(ev.FinalTranscript(turn=self._turn, text=utterance, average_log_probability=0.0, took_ms=0.0))
        decision = await self._router.route(utterance)
        in_flow = self._responder.state.waiting == "answer"
        plan = self._responder.plan(utterance, by_rules(self._agent, utterance, decision, in_flow=in_flow), self._turn)
        plan = await self._responder.fill(plan, self._turn, f"{self._matter.call_id}-t{self._turn}-fill")
        if unclear and not self._responder.answers(plan):
            plan = self._responder.not_understood(utterance, self._turn)
        best = decision.passages[0] if decision.passages else None
        near = f", {best.id} {best.score:.2f}" if best else ""
        return await self._reply(plan, f"{decision.label} {decision.confidence:.2f}{near}")

    async def press(self, key: str) -> Said:
        meaning = self._agent.keys.get(key)
        self.log.append(ev.Keypress(digit=key))
        if meaning is None or self._responder.in_flow:
            return Said("")
        return await self.say(meaning)

    async def silence(self) -> Said:
        """The caller stays silent until the agent speaks up."""
        lines = self._agent.lines
        await self._clock.sleep(self._agent.turn_taking.reprompt_after_s)
        if self._responder.has_news:
            return await self._reply(self._responder.news(), "")
        if self._reprompts >= self._agent.turn_taking.reprompts:
            self.end = "silence"
            return Said(lines.silence_farewell)
        self._reprompts += 1
        self._responder.heard(lines.reprompt)
        return Said(lines.reprompt)

    async def _reply(self, plan: Plan, route: str) -> Said:
        heard: list[str] = []

        async def begin() -> None:
            self._responder.commit(plan, self._turn)

        filler = asyncio.create_task(self._fill(plan, heard))
        try:
            replies = self._responder.clauses(plan, self._turn, f"{self._matter.call_id}-t{self._turn}", begin)
            async with aclosing(replies) as clauses:
                async for clause in clauses:
                    if not plan.acts:
                        self._responder.commit(plan, self._turn)
                    heard.append(clause.text)
        except ModelFailure as error:
            self.log.append(ev.StageFailed(turn=self._turn, stage="reply", error=str(error)))
            heard.append(self._agent.lines.apology)
        finally:
            filler.cancel()
        if not plan.acts:
            self._responder.commit(plan, self._turn)
        text = " ".join(heard)
        self._responder.heard(text)
        self._close_if_over()
        return Said(text, route)

    async def _fill(self, plan: Plan, heard: list[str]) -> None:
        text = plan.filler or self._agent.lines.filler
        await self._clock.sleep(self._agent.turn_taking.filler_after_ms / 1000)
        if text and not heard:
            heard.append(text)

    def _close_if_over(self) -> None:
        match self._responder.closing:
            case Transfer() as transfer:
                self.end = "transferred"
                self.hand_over = self._side.package()
                self.log.append(
                    ev.TransferRequested(
                        turn=self._turn,
                        reason=transfer.reason,
                        target=transfer.target,
                        next_step=transfer.next_step,
                    )
                )
            case HangUp(reason=reason):
                self.end = reason
