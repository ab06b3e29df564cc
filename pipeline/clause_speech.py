"""A clause becomes audio: out of memory if it is a fixed line, else by the speaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from models.types import SpeechChunk
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.clock import Clock, since_ms
from pipeline.fixed_lines import FixedLines
from pipeline.plan import Clause
from pipeline.ports import Speaker
from pipeline.reply import Reply


class ClauseSpeech:
    """One call's use of the speaker."""

    def __init__(
        self,
        agent: Agent,
        speaker: Speaker,
        fixed_lines: FixedLines,
        log: ev.EventLog,
        clock: Clock,
        *,
        audible: Callable[[Reply, str, SpeechChunk], Awaitable[None]],
    ) -> None:
        """`audible` queues a chunk of a clause of a reply once it may be heard."""
        self._agent = agent
        self._speaker = speaker
        self._fixed_lines = fixed_lines
        self._log = log
        self._clock = clock
        self._audible = audible

    async def speak(self, reply: Reply, clause: Clause) -> None:
        """The whole clause. Raises ModelFailure, or TimeoutError if the speaker hangs."""
        clause_id = reply.clause_id()
        reply.clauses.append(clause)
        self._log.append(
            ev.ClauseDecided(
                turn=reply.turn, clause_id=clause_id, text=clause.text, source=clause.source, rejected=clause.rejected
            )
        )
        if clause.failure:
            self._log.append(ev.StageFailed(turn=reply.turn, stage="reply", error=clause.failure))
        began_s = self._clock.now_s()
        first = True
        async with aclosing(self._chunks(clause.text)) as chunks:
            while True:
                async with asyncio.timeout(self._agent.stage_timeout_s):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                if first:
                    first = False
                    took_ms = since_ms(self._clock, began_s)
                    self._log.append(ev.SpeechReady(turn=reply.turn, clause_id=clause_id, took_ms=took_ms))
                await self._audible(reply, clause_id, chunk)

    async def _chunks(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        fixed = self._fixed_lines.get(text)
        if fixed is not None:
            for chunk in fixed:
                yield chunk
            return
        async with aclosing(self._speaker.speak(text, voice=self._agent.voice)) as chunks:
            async for chunk in chunks:
                yield chunk
