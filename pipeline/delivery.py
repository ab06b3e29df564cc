"""A plan becomes a reply on the line: clauses are spoken while later ones are still being decided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Literal

from models.types import ModelFailure, SpeechChunk
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.clause_speech import ClauseSpeech
from pipeline.clauses import split_clauses
from pipeline.clock import Clock
from pipeline.fixed_lines import FixedLines
from pipeline.hearing import explain
from pipeline.plan import Clause, Plan
from pipeline.ports import Line, Speaker
from pipeline.reply import Reply
from pipeline.responder import Responder

Stage = Literal["transcribe", "route", "reply"]
"""What can fail on a turn's way to its reply."""


class Delivery:
    """One call's replies on their way."""

    def __init__(
        self,
        agent: Agent,
        responder: Responder,
        speaker: Speaker,
        fixed_lines: FixedLines,
        line: Line,
        log: ev.EventLog,
        clock: Clock,
        *,
        audible: Callable[[Reply, str, SpeechChunk], Awaitable[None]],
        begin: Callable[[Reply], Awaitable[None]],
        take_floor: Callable[[Reply], Awaitable[None]],
    ) -> None:
        """`audible` queues a chunk of a clause once it may be heard; `begin` returns once what cannot be undone may be
        done for a reply; `take_floor` once the reply may speak.
        """
        self._agent = agent
        self._responder = responder
        self._clause_speech = ClauseSpeech(agent, speaker, fixed_lines, log, clock, audible=audible)
        self._audible = audible
        self._fixed_lines = fixed_lines
        self._line = line
        self._log = log
        self._clock = clock
        self._begin = begin
        self._take_floor = take_floor

    async def deliver(self, reply: Reply, plan: Plan, request_id: str) -> Exception | None:
        """Have everything of the plan queued on the line; what failed, if something did."""
        queue: asyncio.Queue[Clause | None] = asyncio.Queue()
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._decide_clauses(reply, plan, request_id, queue))
                filler = stages.create_task(self._fill(reply))
                await stages.create_task(self._speak_clauses(reply, queue))
                filler.cancel()
        except* (ModelFailure, TimeoutError) as group:
            failure = group.exceptions[0]
        return failure

    async def apologise(self, reply: Reply, stage: Stage, error: Exception) -> None:
        """A stage failed: say so from memory; the call goes on."""
        self._log.append(ev.StageFailed(turn=reply.turn, stage=stage, error=explain(error)))
        await reply.gate.wait()
        for text in split_clauses(self._agent.lines.apology):
            clause_id = reply.clause_id()
            reply.clauses.append(Clause(text, "apology"))
            self._log.append(ev.ClauseDecided(turn=reply.turn, clause_id=clause_id, text=text, source="apology"))
            for chunk in self._fixed_lines.get(text, ()):
                await self._audible(reply, clause_id, chunk)

    async def _decide_clauses(
        self, reply: Reply, plan: Plan, request_id: str, queue: asyncio.Queue[Clause | None]
    ) -> None:
        # Tools have time-outs of their own, and what they did must be told however long it took.
        limit_s = None if plan.acts else self._agent.stage_timeout_s
        async with aclosing(
            self._responder.clauses(plan, reply.turn, request_id, lambda: self._begin(reply))
        ) as clauses:
            while True:
                async with asyncio.timeout(limit_s):
                    clause = await anext(clauses, None)
                queue.put_nowait(clause)
                if clause is None:
                    return

    async def _speak_clauses(self, reply: Reply, queue: asyncio.Queue[Clause | None]) -> None:
        while (clause := await queue.get()) is not None:
            await self._clause_speech.speak(reply, clause)

    async def _fill(self, reply: Reply) -> None:
        """An answer that takes long is announced."""
        text = (reply.plan.filler if reply.plan else "") or self._agent.lines.filler
        await reply.gate.wait()
        await self._clock.sleep(self._agent.turn_taking.filler_after_ms / 1000)
        if text is None or reply.said:
            return
        await self._take_floor(reply)
        for part in () if reply.said else split_clauses(text):
            clause_id = reply.clause_id()
            reply.clauses.append(Clause(part, "filler"))
            self._log.append(ev.ClauseDecided(turn=reply.turn, clause_id=clause_id, text=part, source="filler"))
            for chunk in self._fixed_lines.get(part, ()):
                self._line.say(clause_id, chunk)
