"""What a call in text has for line, voice and ears."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

import numpy as np

from models.types import FloatAudio, Languages, SpeechChunk, Transcript, Word
from pipeline.agent import Agent
from pipeline.clauses import split_clauses
from pipeline.fixed_lines import FixedLines, fixed_texts
from pipeline.ports import HeardClause, PlayoutListener


class TextLine:
    """The way to a caller who reads.

    Reading takes no time: nobody waits for speech, and a clause is heard whole or, if something else came before it
    went out, not at all.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        """All clauses that were heard, in order."""
        self.hung_up = False
        self._listener: PlayoutListener | None = None
        self._queue: deque[HeardClause] = deque()
        self._reply: list[HeardClause] = []
        self._held = False
        self._settled = asyncio.Event()
        self._settled.set()

    def attach(self, listener: PlayoutListener) -> None:
        """Tell `listener` what is heard. Call once, before anything is said."""
        self._listener = listener

    def play(self, clause_id: str, chunk: SpeechChunk) -> None:
        if not chunk.words:
            return
        self._queue.append(HeardClause(clause_id, " ".join(word.text for word in chunk.words), complete=True))
        self._go_on()

    def clear(self) -> tuple[HeardClause, ...]:
        heard = self.heard()
        self._queue.clear()
        self._reply.clear()
        self._held = False
        self._settled.set()
        return heard

    def pause(self) -> tuple[HeardClause, ...]:
        self._held = True
        self._settled.clear()
        return self.heard()

    def resume(self) -> None:
        self._held = False
        self._go_on()

    def heard(self) -> tuple[HeardClause, ...]:
        unheard = (HeardClause(clause.clause_id, "", complete=False) for clause in self._queue)
        return (*self._reply, *unheard)

    def start_reply(self) -> None:
        self._reply.clear()

    async def wait_for_playout(self) -> None:
        await self._settled.wait()

    async def hang_up(self) -> None:
        self.hung_up = True

    def _go_on(self) -> None:
        # Not at once: as on a line with sound, what was queued may still be taken back.
        self._settled.clear()
        asyncio.get_running_loop().call_soon(self._show)

    def _show(self) -> None:
        while self._queue and not self._held:
            clause = self._queue.popleft()
            self._reply.append(clause)
            self.said.append(clause.text)
            if self._listener is not None:
                self._listener.first_audio_sent(clause.clause_id)
                self._listener.clause_played(clause.clause_id)
        if not self._held:
            self._settled.set()


class Writer:
    """A speaker without a voice: a clause is its words, in no time."""

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        yield _written(text)


class NoEars:
    """Stands where a call has its ears: nobody speaks on a line of text."""

    window_samples = 512

    def probability(self, window: FloatAudio) -> float:
        return 0.0

    def reset(self) -> None:
        pass

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        return Transcript("", language=languages.expected)

    async def end_of_turn_probability(self, audio: FloatAudio) -> float:
        return 0.0


def written_lines(agent: Agent) -> FixedLines:
    """The agent's fixed lines."""
    return {clause: (_written(clause),) for text in fixed_texts(agent) for clause in split_clauses(text)}


def _written(text: str) -> SpeechChunk:
    return SpeechChunk(np.zeros(0, np.float32), tuple(Word(word, 0.0, 0.0) for word in text.split()))
