"""Words become a plan: understood, weighed against where the call stands, if need be filled by the language model."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from models.types import ModelFailure, Situation
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call_models import CallModels
from pipeline.clock import Clock, since_ms
from pipeline.dialogue_manager import DialogueManager
from pipeline.filling import pointed_at
from pipeline.hearing import explain
from pipeline.model_selection import choose
from pipeline.plan import Plan
from pipeline.understanding.acts import Understood
from pipeline.understanding.stage import Interpreter

_LONGEST_QUESTION = 240
"""Characters of the agent's last words that a model is shown: what was asked stands at their end."""


class Planner:
    """One call's way from words to a plan."""

    def __init__(
        self, agent: Agent, models: CallModels, manager: DialogueManager, log: ev.EventLog, clock: Clock
    ) -> None:
        self._agent = agent
        self._pace = models.pace
        self._language_model = models.language_model
        self._manager = manager
        self._log = log
        self._clock = clock
        self._interpreter = Interpreter(
            agent, models.router, models.understanding, models.understanding_policy, log, clock
        )

    async def plan(self, turn: int, utterance: str, request_id: str) -> Plan:
        """How the utterance will be answered. Raises ModelFailure or TimeoutError if it cannot be routed."""
        understood = await self._interpreter.understand(self._situation(utterance), turn, request_id, self._manager)
        plan = self._with_model(self._manager.plan(utterance, understood, turn), understood)
        plan = await self._filled(plan, turn, f"{request_id}-fill")
        return await self._manager.thought(plan, turn, request_id)

    def _situation(self, utterance: str) -> Situation:
        """The utterance, and what it answers if an answer is waited for."""
        state = self._manager.state
        if state.waiting != "answer":
            return Situation(utterance)
        under_way = {place.flow for place in state.stack}
        excluded = tuple(route.name for route in self._agent.routes if route.flow in under_way)
        return Situation(utterance, self._manager.last_said[-_LONGEST_QUESTION:], excluded)

    def counts(self, plan: Plan, turn: int) -> None:
        """The plan takes effect. Safe to call twice. Plans that were thrown away leave no choice of a model behind."""
        if not self._manager.commit(plan, turn) or plan.choice is None:
            return
        choice = plan.choice
        self._log.append(
            ev.ModelChosen(
                turn=turn,
                tier=choice.tier,
                why=choice.why,
                expected_ms=round(choice.expected_ms, 1),
                saved_ms=round(choice.saved_ms, 1),
            )
        )

    def _with_model(self, plan: Plan, understood: Understood) -> Plan:
        if not plan.facts:
            return plan
        choice = choose(
            self._agent.model_selection,
            self._pace,
            override=plan.model,
            confidence=understood.confidence,
            words=len(plan.utterance.split()),
            lead=understood.closeness,
        )
        return replace(plan, choice=choice)

    async def _filled(self, plan: Plan, turn: int, request_id: str) -> Plan:
        """The plan, or another if the language model finds in the utterance what was asked for."""
        request = self._manager.to_fill(plan, request_id)
        if request is None:
            return plan
        try:
            async with asyncio.timeout(self._agent.stage_timeout_s):
                words = await pointed_at(self._language_model, request)
        except (ModelFailure, TimeoutError) as error:
            # The caller is asked again, as without a model.
            self._log.append(ev.StageFailed(turn=turn, stage="reply", error=explain(error)))
            return plan
        return self._manager.filled(plan, words, turn) if words else plan

    async def warm_up(self, request_id: str) -> None:
        """Have the engine read the prompt's beginning. Nobody waits for it; the next question will find out by itself
        if it failed."""
        try:
            async with asyncio.timeout(self._agent.stage_timeout_s):
                await self._manager.warm_up(request_id)
        except (ModelFailure, TimeoutError) as error:
            self._log.append(ev.StageFailed(turn=0, stage="reply", error=explain(error)))

    async def after_exchange(self, request_id: str, *, read_anew: bool) -> None:
        """What the prompt of the next question needs, while nobody waits for it."""
        await self._manager.prepare_summary()
        if read_anew:
            await self.warm_up(request_id)

    async def read_ahead(self, turn: int, text: str, request_id: str) -> None:
        """Route what was said so far and have the prompt read that it leads to. Of no consequence if it fails."""
        began_s = self._clock.now_s()
        with suppress(ModelFailure, TimeoutError):
            async with asyncio.timeout(self._agent.stage_timeout_s):
                plan = self._manager.plan(text, await self._interpreter.guess(self._situation(text)))
                if await self._manager.anticipate(plan, request_id):
                    took_ms = since_ms(self._clock, began_s)
                    self._log.append(ev.PromptRead(turn=turn, text=text, took_ms=took_ms))
