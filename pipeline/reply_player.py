"""A plan becomes a reply on the line: clauses are spoken while later ones are still being decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Literal

from models.types import ModelFailure, SpeechChunk
from pipeline import events as ev
from pipeline.clauses import split_clauses
from pipeline.clock import Clock, since_ms
from pipeline.floor import Floor
from pipeline.hearing import explain
from pipeline.plan import ByTools, CallsTool, Clause, Plan
from pipeline.ports import AudioOutput
from pipeline.reply import Made, Reply

Stage = Literal["transcribe", "route", "reply"]
"""What can fail on a turn's way to its reply."""


class ReplyPlayer:
    """One call's replies on their way to the line."""

    def __init__(
        self,
        line: AudioOutput,
        floor: Floor,
        log: ev.EventLog,
        clock: Clock,
        *,
        begin: Callable[[Reply], Awaitable[None]],
        speech_came: Callable[[Reply], None],
    ) -> None:
        """`begin` returns once what cannot be undone may be done for a reply; `speech_came` is told of a reply whose
        first audio is there.
        """
        self._line = line
        self._floor = floor
        self._log = log
        self._clock = clock
        self._begin = begin
        self._speech_came = speech_came

    async def play(self, reply: Reply, plan: Plan, request_id: str) -> None:
        """Have everything of the plan queued on the line. Raises ModelFailure or TimeoutError if a stage fails."""
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
        if failure is not None:
            raise failure

    async def apologise(self, reply: Reply, stage: Stage, error: Exception) -> None:
        """A stage failed: say so from memory; the call goes on."""
        self._log.append(ev.StageFailed(turn=reply.turn, stage=stage, error=explain(error)))
        await reply.until_decided()
        reply.whole = True
        for text in split_clauses(reply.active.agent.lines.apology):
            apology = Clause(text, "apology")
            reply.will_say(apology)
            clause_id = self._next(reply, apology)
            for chunk in reply.active.spec.fixed_lines.get(text, ()):
                await self._queue(reply, clause_id, chunk)

    async def _decide_clauses(
        self, reply: Reply, plan: Plan, request_id: str, queue: asyncio.Queue[Clause | None]
    ) -> None:
        # Tools have time-outs of their own, and what they did must be told however long it took.
        limit_s = None if isinstance(plan, ByTools) else reply.active.agent.stage_timeout_s
        decided = reply.active.manager.clauses(plan, reply.turn, request_id, lambda: self._begin(reply))
        async with aclosing(decided) as clauses:
            while True:
                async with asyncio.timeout(limit_s):
                    clause = await anext(clauses, None)
                queue.put_nowait(clause)
                if clause is None:
                    reply.whole = True
                    return
                reply.will_say(clause)

    async def _speak_clauses(self, reply: Reply, queue: asyncio.Queue[Clause | None]) -> None:
        while (clause := await queue.get()) is not None:
            await self._speak(reply, clause)

    async def _speak(self, reply: Reply, clause: Clause) -> None:
        """The whole clause. Raises ModelFailure, or TimeoutError if the speaker hangs."""
        clause_id = self._next(reply, clause)
        if clause.failure:
            self._log.append(ev.StageFailed(turn=reply.turn, stage="reply", error=clause.failure))
        began_s = self._clock.now_s()
        first = True
        async with aclosing(self._chunks(reply, clause.text)) as chunks:
            while True:
                async with asyncio.timeout(reply.active.agent.stage_timeout_s):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                if first:
                    first = False
                    took_ms = since_ms(self._clock, began_s)
                    self._log.append(ev.SpeechReady(turn=reply.turn, clause_id=clause_id, took_ms=took_ms))
                await self._queue(reply, clause_id, chunk)

    async def _chunks(self, reply: Reply, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """A clause's audio: out of memory if it is a fixed line, else by the speaker."""
        spec = reply.active.spec
        fixed = spec.fixed_lines.get(text)
        if fixed is not None:
            for chunk in fixed:
                yield chunk
            return
        async with aclosing(spec.models.speaker.speak(text, voice=spec.agent.voice)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _queue(self, reply: Reply, clause_id: str, chunk: SpeechChunk) -> None:
        """Queue audio of the reply, once it may be heard."""
        if reply.reach(Made.SPOKEN):
            self._speech_came(reply)
        await reply.until_decided()
        await self._floor.take(reply)
        reply.reach(Made.QUEUED)
        self._line.play(clause_id, chunk)

    async def _fill(self, reply: Reply) -> None:
        """An answer that takes long is announced."""
        agent = reply.active.agent
        text = (reply.plan.filler if isinstance(reply.plan, CallsTool) else "") or agent.lines.filler
        await reply.until_decided()
        await self._clock.sleep(agent.turn_taking.filler_after_ms / 1000)
        if text is None or reply.made >= Made.QUEUED:
            return
        await self._floor.take(reply)
        for part in () if reply.made >= Made.QUEUED else split_clauses(text):
            filler = Clause(part, "filler")
            reply.will_say(filler)
            clause_id = self._next(reply, filler)
            for chunk in reply.active.spec.fixed_lines.get(part, ()):
                self._line.play(clause_id, chunk)

    def _next(self, reply: Reply, clause: Clause) -> str:
        """The id of the reply's next clause."""
        clause_id = reply.clause_id()
        reply.clauses.append(clause)
        self._log.append(
            ev.ClauseDecided(
                turn=reply.turn, clause_id=clause_id, text=clause.text, source=clause.source, rejected=clause.rejected
            )
        )
        return clause_id
