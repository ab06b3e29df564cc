"""Fakes of models and line, for logic under virtual time. Speech is a constant amplitude that names its utterance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from models.types import (
    SPEAKING_RATE_HZ,
    FloatAudio,
    GenerateRequest,
    Languages,
    ModelFailure,
    Passage,
    RouteDecision,
    SpeechChunk,
    Transcript,
    Word,
)
from pipeline.agent import Agent
from pipeline.dialogue_manager import DialogueManager
from pipeline.plan import Plan
from pipeline.ports import HeardClause, PlayoutListener
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.understanding.rules import by_rules
from tests.pipeline.agents import AGENT

AMPLITUDE_STEP = 0.01
WORD_S = 0.25


def speech_audio(number: int, text: str) -> FloatAudio:
    """16 kHz 'speech' of utterance `number` (1-based): a quarter second a word."""
    samples = int(max(1, len(text.split())) * WORD_S * 16_000)
    return np.full(samples, number * AMPLITUDE_STEP, np.float32)


class FakeVad:
    window_samples = 512

    def probability(self, window: FloatAudio) -> float:
        return 1.0 if float(np.abs(window).mean()) > AMPLITUDE_STEP / 2 else 0.0

    def reset(self) -> None:
        pass


@dataclass
class FakeModels:
    """All five models. Delays in virtual seconds; a stage in `broken` raises, one in `stuck` never answers."""

    utterances: list[str]
    routes: Mapping[str, RouteDecision] = field(default_factory=dict)
    generated: Mapping[str, list[str]] = field(default_factory=dict)
    """Clauses by a word of the question."""
    scripted: list[str] = field(default_factory=list)
    """What is answered in free conversations, one after another."""
    otherwise: str = ""
    """What is answered there from then on."""
    transcribe_s: float = 0.1
    route_s: float = 0.01
    first_clause_s: float = 0.2
    speak_s: float = 0.15
    talk_s: float = 0.2
    language_of: Callable[[str], str] = lambda text: ""
    """Which language a text is in; empty: the expected one."""
    asked_for: list[Languages] = field(default_factory=list)
    """What might have been spoken, for each transcript."""
    voices: list[str] = field(default_factory=list)
    """In which clauses were spoken, one each."""
    log_probability: float = 0.0
    """Of every transcript."""
    score: Callable[[FloatAudio], float] = lambda audio: 0.95
    broken: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    spoken: list[str] = field(default_factory=list)
    aborted: int = 0
    requests: list[GenerateRequest] = field(default_factory=list)
    schemas: list[Mapping[str, object]] = field(default_factory=list)
    """What the answers in free conversations were bound to."""
    read_ahead: list[str] = field(default_factory=list)
    """Questions of the prompts that were prefilled."""

    async def _stage(self, name: str, delay_s: float) -> None:
        await asyncio.sleep(1e6 if name in self.stuck else delay_s)
        if name in self.broken:
            raise ModelFailure(f"{name} is broken")

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        await self._stage("transcribe", self.transcribe_s)
        text = []
        levels = np.round(audio / AMPLITUDE_STEP).astype(int)
        for number, utterance in enumerate(self.utterances, start=1):
            heard_s = float((levels == number).sum()) / 16_000
            words = utterance.split()
            text += words[: round(heard_s / WORD_S)]
        told = self.language_of(" ".join(text))
        self.asked_for.append(languages)
        return Transcript(
            text=" ".join(text),
            language=told if told in languages.others else languages.expected,
            audio_s=audio.size / 16_000,
            average_log_probability=self.log_probability,
        )

    async def route(self, text: str) -> RouteDecision:
        await self._stage("route", self.route_s)
        for key, decision in self.routes.items():
            if key in text:
                return decision
        return RouteDecision(label="knowledge", confidence=0.1)

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        self.requests.append(request)
        question = request.messages[-1].content.removeprefix("Caller: ").partition("\n")[0]
        finished = False
        try:
            for key, clauses in self.generated.items():
                if key in question:
                    for clause in clauses:
                        await self._stage("reply", self.first_clause_s)
                        yield clause
            finished = True
        finally:
            self.aborted += not finished

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        self.requests.append(request)
        self.schemas.append(schema)
        await self._stage("talk", self.talk_s)
        return self.scripted.pop(0) if self.scripted else self.otherwise

    async def prefill(self, request: GenerateRequest) -> None:
        self.read_ahead.append(request.messages[-1].content)

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        await self._stage("speak", self.speak_s)
        self.spoken.append(text)
        self.voices.append(voice)
        yield speech_chunk(text)

    async def end_of_turn_probability(self, audio: FloatAudio) -> float:
        await self._stage("turn_score", 0.03)
        return self.score(audio)


def proposed(say: str = "", *, call: str | None = None, leave: str | None = None, **words: str) -> str:
    """What a model answers in a free conversation; `words` by the variable's name."""
    return json.dumps({"set": words, "call": call, "leave": leave, "say": say})


def speech_chunk(text: str) -> SpeechChunk:
    """A clause's audio: a quarter second a word."""
    words = text.split()
    times = tuple(Word(word, index * WORD_S, (index + 1) * WORD_S) for index, word in enumerate(words))
    return SpeechChunk(pcm=np.full(int(len(words) * WORD_S * SPEAKING_RATE_HZ), 0.1, np.float32), words=times)


def decision(label: str, fact: str | None = None, *, confidence: float = 0.9, score: float = 0.9) -> RouteDecision:
    passages = (Passage(id=fact, text="", score=score),) if fact else ()
    return RouteDecision(label=label, confidence=confidence, passages=passages)


def plan_of(
    manager: DialogueManager, utterance: str, decision: RouteDecision, turn: int = 0, *, agent: Agent = AGENT
) -> Plan:
    """What the agent's dialogue manager plans for an utterance that the router alone has understood."""
    in_flow = manager.state.waiting == "answer"
    return manager.plan(utterance, by_rules(agent, utterance, decision, in_flow=in_flow), turn)


class FakeLine:
    """Plays clauses in virtual real time; knows exactly what was heard."""

    def __init__(self) -> None:
        self.listener: PlayoutListener | None = None
        self.timeline: list[tuple[float, str]] = []
        self.hung_up = False
        self._queue: list[tuple[str, SpeechChunk]] = []
        self._ledger: dict[str, tuple[tuple[Word, ...], float]] = {}
        self._current: tuple[str, float] | None = None
        self._task: asyncio.Task[None] | None = None
        self._audio: dict[str, SpeechChunk] = {}
        self._held = False

    def play(self, clause_id: str, chunk: SpeechChunk) -> None:
        self._queue.append((clause_id, chunk))
        self._ledger[clause_id] = (chunk.words, 0.0)
        self._audio[clause_id] = chunk
        if not self._held and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._play())

    async def _play(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            clause_id, chunk = self._queue.pop(0)
            done_s = self._ledger[clause_id][1]
            self._current = (clause_id, loop.time() - done_s)
            rest = [word.text for word in chunk.words if word.end_s > done_s + 1e-9]
            self.timeline.append((loop.time(), " ".join(rest)))
            if self.listener and not done_s:
                self.listener.first_audio_sent(clause_id)
            length_s = chunk.pcm.size / SPEAKING_RATE_HZ
            await asyncio.sleep(length_s - done_s)
            self._ledger[clause_id] = (chunk.words, length_s)
            self._current = None
            if self.listener:
                self.listener.clause_played(clause_id)

    def _stop(self) -> None:
        """What is said from now on is not left to a task that is about to end."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def clear(self) -> tuple[HeardClause, ...]:
        self._stop()
        heard = self.heard()
        self._queue.clear()
        self._current = None
        self._held = False
        self._ledger.clear()
        return heard

    def pause(self) -> tuple[HeardClause, ...]:
        heard = self.heard()
        self._stop()
        if self._current is not None:
            clause_id, since_s = self._current
            words, _ = self._ledger[clause_id]
            place_s = asyncio.get_running_loop().time() - since_s
            self._ledger[clause_id] = (words, sum(WORD_S for word in words if word.end_s <= place_s + 1e-9))
            self._queue.insert(0, (clause_id, SpeechChunk(self._audio[clause_id].pcm, words)))
            self._current = None
        self._held = True
        return heard

    def resume(self) -> None:
        self._held = False
        self._task = asyncio.get_running_loop().create_task(self._play())

    def heard(self) -> tuple[HeardClause, ...]:
        result = []
        for clause_id, (words, length_s) in self._ledger.items():
            if self._current is not None and self._current[0] == clause_id:
                length_s = asyncio.get_running_loop().time() - self._current[1]
            heard = [word.text for word in words if word.end_s <= length_s + 1e-9]
            result.append(HeardClause(clause_id, " ".join(heard), len(heard) == len(words)))
        return tuple(result)

    def start_reply(self) -> None:
        self._ledger.clear()

    async def wait_for_playout(self) -> None:
        while self._held or (self._task is not None and not self._task.done()):
            if self._held:
                await asyncio.sleep(0.01)
            elif self._task is not None:
                await asyncio.wait({self._task})

    async def hang_up(self) -> None:
        self.hung_up = True


OPENINGS = ToolResult(
    "ok",
    {
        "openings": [
            {"value": "2026-12-01T10:00", "spoken": "Tuesday at ten in the morning"},
            {"value": "2026-12-01T14:30", "spoken": "Tuesday at two thirty in the afternoon"},
        ]
    },
)


@dataclass
class FakeTools:
    """A business system that does at once, or in `takes_s`, what `answers` says; reads find the openings."""

    answers: dict[str, ToolResult] = field(default_factory=dict)
    takes_s: float = 0.0
    calls: list[ToolCall] = field(default_factory=list)
    done: list[ToolCall] = field(default_factory=list)
    reads: set[str] = field(default_factory=lambda: {"find_openings"})

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        self.calls.append(call)
        if call.tool != "find_openings":
            await asyncio.sleep(self.takes_s)
        self.done.append(call)
        return self.answers.get(call.tool, OPENINGS if call.tool == "find_openings" else ToolResult("ok", {}))

    def effect(self, tool: str) -> str:
        return "read" if tool in self.reads else "write"

    def loggable(self, call: ToolCall) -> tuple[str, ...]:
        return tuple(call.arguments)
