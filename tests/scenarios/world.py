"""The fake models of scenarios, a back office, and a carrier whose marks misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.types import (
    HEARING_RATE_HZ,
    SPEAKING_RATE_HZ,
    FloatAudio,
    GenerateRequest,
    Languages,
    ModelFailure,
    RouteDecision,
    SpeechChunk,
    Transcript,
    Word,
)
from pipeline.agent import Agent
from pipeline.clauses import split_clauses
from pipeline.fixed_lines import fixed_texts
from pipeline.tools.calls import ToolCall, ToolResult
from tests.pipeline.fakes import WORD_S, FakeModels, decision
from tests.scenarios.form import Carrier, Fault
from tests.scenarios.sound import Codebook
from tests.telephony.fakes import FakeCarrier, now_s

ROUTES = {
    "saturday": decision("question", "hours_saturday"),
    "hours": decision("question", "hours"),
    "cleaning": decision("question", "price_cleaning"),
    "check-up": decision("question", "price_checkup"),
    "located": decision("question", "address"),
    "book": decision("book"),
    "repeat": decision("repeat"),
    "goodbye": decision("goodbye"),
    "my number": decision("call_back"),
}
"""Where an utterance goes that has this word in it; one that has none is outside the knowledge."""

PHRASED = {
    "hours": ("Sure, we are open Monday to Friday,", "eight to five."),
    "price_cleaning": ("Sure, a cleaning is one hundred and twenty dollars.",),
    "price_checkup": ("Sure, a check-up is ninety-five dollars.",),
}
"""How the fake language model puts a fact: not as it is written, since facts as written are kept as speech already."""

NOW = datetime(2026, 11, 23, 10)
"""A Monday."""
OPENINGS = {
    "2026-11-24T10:00": "Tuesday at ten in the morning",
    "2026-11-24T14:30": "Tuesday at two thirty in the afternoon",
    "2026-11-26T09:00": "Thursday at nine in the morning",
    "2026-11-27T15:30": "Friday at three thirty in the afternoon",
}

CHUNK_S = 0.5
"""The fake speaker streams this much at a time."""


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """A line of the caller's, as the models may know it."""

    words: tuple[str, ...]
    log_probability: float
    end_score: float
    pause_score: float


async def work(faults: Sequence[Fault], stage: str, takes_s: float) -> None:
    """What a stage goes through. Raises ModelFailure if a fault breaks it."""
    active = [fault for fault in faults if fault.stage == stage and fault.from_s <= now_s() < fault.to_s]
    if any(fault.stuck for fault in active):
        await asyncio.Event().wait()
    await asyncio.sleep(takes_s + sum((fault.slow_ms or 0) / 1000 for fault in active))
    if any(fault.broken for fault in active):
        raise ModelFailure(f"{stage} is broken")


class ScenarioModels(FakeModels):
    """All five models, hearing and speaking in a codebook's words; faults befall them by the clock."""

    def __init__(self, codebook: Codebook, agent: Agent, faults: tuple[Fault, ...]) -> None:
        super().__init__(utterances=[], routes=ROUTES)
        self._phrased = {agent.fact(fact_id).text: clauses for fact_id, clauses in PHRASED.items()}
        self._codebook = codebook
        self._faults = faults
        self._lines: list[SpokenLine] = []

    def said(self, line: SpokenLine) -> None:
        """The caller begins to say this."""
        self._lines.append(line)

    async def _stage(self, name: str, delay_s: float) -> None:
        await work(self._faults, name, delay_s)

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        await self._stage("transcribe", self.transcribe_s)
        heard = self._codebook.read(audio, HEARING_RATE_HZ)
        sure = [line.log_probability for word in heard if (line := self._line_of(word.word))]
        return Transcript(
            text=" ".join(word.word for word in heard),
            words=tuple(Word(word.word, word.start_s, word.end_s) for word in heard),
            no_speech_probability=0.0 if heard else 0.95,
            average_log_probability=float(np.mean(sure)) if sure else -0.1,
            audio_s=audio.size / HEARING_RATE_HZ,
        )

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        """The fact, in slightly other words."""
        self.requests.append(request)
        fact = request.messages[-1].content.partition("\nFact: ")[2]
        finished = False
        try:
            for clause in self._phrased.get(fact) or split_clauses(fact):
                await self._stage("reply", self.first_clause_s)
                yield clause
            finished = True
        finally:
            self.aborted += not finished

    async def route(self, text: str) -> RouteDecision:
        return await super().route(text.lower())

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        self.spoken.append(text)
        whole = spoken(self._codebook, text)
        size = round(CHUNK_S * SPEAKING_RATE_HZ)
        for at in range(0, whole.pcm.size, size):
            await self._stage("speak", self.speak_s)
            yield SpeechChunk(whole.pcm[at : at + size], () if at else whole.words, at + size >= whole.pcm.size)

    async def end_of_turn_probability(self, audio: FloatAudio) -> float:
        """Sure of a line's last word, unsure of any other."""
        await self._stage("turn_score", 0.03)
        heard = tuple(word.word for word in self._codebook.read(audio, HEARING_RATE_HZ))
        for line in reversed(self._lines):
            for count in range(len(line.words), 0, -1):
                if heard[-count:] == line.words[:count]:
                    return line.end_score if count == len(line.words) else line.pause_score
        return 0.95

    def _line_of(self, word: str) -> SpokenLine | None:
        return next((line for line in reversed(self._lines) if word in line.words), None)


class FakeBackOffice:
    """The dental practice's business system, as its tools see it; does everything at once, unless faults befall it."""

    def __init__(self, agent: Agent, faults: Sequence[Fault] = ()) -> None:
        self._agent = agent
        self._faults = faults
        self._openings = dict(OPENINGS)

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        if call.tool == "find_caller":
            phone = call.arguments.get("phone")
            withheld = ToolResult("rejected", {}, "invalid_arguments")
            return ToolResult("ok", {"name": None, "phone": phone}) if phone else withheld
        if call.tool == "desk_state":
            return ToolResult("ok", {"open": True})
        if call.tool == "list_openings":
            offered = [{"value": start, "spoken": said} for start, said in self._openings.items()]
            return ToolResult("ok", {"openings": [*offered]})
        if call.tool == "book_appointment":
            try:
                await work(self._faults, "tool", 0.0)
            except ModelFailure:
                return ToolResult("failed", {})
            booked = self._openings.pop(str(call.arguments["opening"]), None)
            return ToolResult("ok", {}) if booked else ToolResult("rejected", {}, "conflict")
        return ToolResult("failed", {}, detail=f"the fake back office knows no {call.tool}")

    def effect(self, tool: str) -> str:
        return self._agent.tools[tool].effect

    def loggable(self, call: ToolCall) -> tuple[str, ...]:
        return tuple(call.arguments)


def spoken(codebook: Codebook, text: str) -> SpeechChunk:
    """A clause's whole audio."""
    words = text.split()
    times = tuple(Word(word, index * WORD_S, (index + 1) * WORD_S) for index, word in enumerate(words))
    return SpeechChunk(codebook.pcm(words, SPEAKING_RATE_HZ), times)


class FixedOnDemand(Mapping[str, tuple[SpeechChunk, ...]]):
    """The agent's fixed lines, spoken when first asked for: a call has only so many sample values."""

    def __init__(self, codebook: Codebook, agent: Agent) -> None:
        self._codebook = codebook
        self._texts = {clause for text in fixed_texts(agent) for clause in split_clauses(text)}

    def __getitem__(self, text: str) -> tuple[SpeechChunk, ...]:
        if text not in self._texts:
            raise KeyError(text)
        return (spoken(self._codebook, text),)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class ScenarioCarrier(FakeCarrier):
    """A carrier that may keep marks, or give those that a clear overtook back late."""

    def __init__(self, form: Carrier) -> None:
        delay_s = form.delay_ms / 1000
        super().__init__(out_delay_s=delay_s, back_delay_s=delay_s, drops_mark=self._drops)
        self._form = form
        self._flushing = False
        self._late: set[str] = set()

    def listen(self, on_echo: Callable[[str], None]) -> None:
        """Tell of echoes."""

        def echoed(name: str) -> None:
            if name in self._late:
                asyncio.get_running_loop().call_later(1.0, on_echo, name)
            else:
                on_echo(name)

        self.on_echo = echoed

    def ear(self, from_s: float, to_s: float) -> bytes:
        """What the caller heard in this time, as wire audio."""
        begin = round(from_s * 8_000)
        sound = bytearray(b"\xff" * (round(to_s * 8_000) - begin))
        for piece in reversed(self.played):
            if piece.end_s < from_s - 1.0:
                break
            start, end = round(piece.start_s * 8_000) - begin, round(piece.end_s * 8_000) - begin
            first, last = max(start, 0), min(end, len(sound))
            if first < last:
                sound[first:last] = piece.ulaw[first - start : last - start]
        return bytes(sound)

    def _arrive(self) -> None:
        self._flushing = self._on_the_way[0][0] == "clear"
        super()._arrive()
        self._flushing = False

    def _drops(self, name: str) -> bool:
        if self._flushing and self._form.flushed_marks == "late":
            self._late.add(name)
        return self._form.marks == "dropped" or (self._flushing and self._form.flushed_marks == "dropped")
