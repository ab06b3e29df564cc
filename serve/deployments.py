"""The models as Ray Serve deployments: each wraps one class of `models/`.

Engines are imported inside the replica that needs them, so that no other process pays for them. Serve runs a
replica's code on its main loop here; whatever computes runs in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from models.llm import VllmLanguageModel
from models.structured_understanding import StructuredUnderstanding
from models.types import (
    HEARING_RATE_HZ,
    Catalogue,
    Device,
    FloatAudio,
    GenerateRequest,
    Judgement,
    Languages,
    ModelFailure,
    RouteDecision,
    Situation,
    SpeechChunk,
    Transcript,
)
from models.understanding import OneStepUnderstanding
from pipeline.clauses import clauses_of
from serve.cards import alone_on_cards
from serve.deployment_settings import (
    LanguageModelSettings,
    RouterSettings,
    SpeechToTextSettings,
    TextToSpeechSettings,
    UnderstandingSettings,
    WhisperSettings,
)
from serve.transcribing import WhisperQueue

LONGEST_TURN_S = 30
"""More audio than this is refused: Whisper hears 30 s at most."""
LONGEST_TEXT = 2000
"""More characters than this are no clause."""

MODEL_NICENESS = 5
"""Where both want a core, the gateway's 20 ms frames go before a model's computation."""
LLM_NICENESS = 10
"""And a clause is spoken before the next one is written."""
LAST_ANSWERS_S = 0.2
"""A replica that is broken lets its last answers out for so long."""
ENGINE_DIED = 70
"""Exit status of a replica whose engine died."""
BRIEF_SPIN = 5000
"""libgomp's steps that an idle thread spins at a barrier before it sleeps."""

STAGES_AT_ONCE: Mapping[Device, Literal[1, 2]] = {"cpu": 1, "cuda": 2}
"""Batches of Whisper under way: on a CPU the encoder of one would take the cores of the other's decoder."""


def step_back(device: Device, niceness: int = MODEL_NICENESS) -> None:
    """Let others go first: lowers the priority of this replica and of every thread and process it starts.

    Not with a GPU: there the CPU's part, the feeding of the card, is what each token waits for.
    """
    if device == "cpu":
        os.nice(max(0, niceness - os.nice(0)))


def prepared_folder(weights: str) -> Path:
    """Folder of a prepared entry of the registry. Raises ModelFailure if it is not on this machine."""
    from models.weights import prepared_path

    folder = prepared_path(weights)
    if folder is None:
        raise ModelFailure(f"weights {weights!r} are not prepared on this machine; run `trunkline models prepare`")
    return folder


def whisper_queue(settings: SpeechToTextSettings, model: WhisperSettings, languages: tuple[str, ...]) -> WhisperQueue:
    """One set of Whisper weights, loaded. Raises ModelFailure."""
    from models.weights import WhisperWindow, entry
    from models.whisper import WhisperTranscriber

    window = entry(model.weights).whisper_window
    if window is None:
        raise ModelFailure(f"speech_to_text: expected the weights of a Whisper model, got {model.weights!r}")
    at_once = STAGES_AT_ONCE[settings.device]
    transcriber = WhisperTranscriber(
        prepared_folder(model.weights),
        window=window if model.window == "entry" else WhisperWindow(full_window=True),
        threads=settings.threads,
        compute_type=settings.arithmetic,
        languages=languages,
        device=settings.device,
        at_once=at_once,
    )
    return WhisperQueue(
        transcriber,
        language=languages[0],
        max_size=settings.max_batch_size,
        wait_s=settings.batch_wait_ms / 1000,
        at_once=at_once,
        check_s=settings.health_check_timeout_s,
    )


class SpeechToText:
    """Whisper; turns of different calls are decoded together, finals first."""

    def __init__(self, settings: SpeechToTextSettings, languages: tuple[str, ...]) -> None:
        step_back(settings.device)
        # Read when CTranslate2 is loaded: spinning for longer takes the other models' cores.
        os.environ.setdefault("GOMP_SPINCOUNT", str(BRIEF_SPIN))
        with alone_on_cards():
            self._whole = whisper_queue(settings, settings.whole, languages)
            self._under_way = whisper_queue(settings, settings.partials, languages) if settings.partials else None

    async def transcribe(self, audio: FloatAudio, languages: Languages, final: bool) -> Transcript:
        """One turn's audio, 16 kHz, at most 30 s. Raises ModelFailure."""
        if audio.ndim != 1 or audio.dtype != np.float32 or len(audio) > LONGEST_TURN_S * HEARING_RATE_HZ:
            raise ModelFailure(
                f"speech to text: expected mono float32 of at most {LONGEST_TURN_S} s at {HEARING_RATE_HZ} Hz, "
                f"got {audio.dtype} of shape {audio.shape}"
            )
        if final or self._under_way is None:
            return await self._whole.transcribe(audio, languages, final=final)
        return replace(await self._under_way.transcribe(audio, languages, final=False), draft=True)

    async def check_health(self) -> None:
        """A timed transcription of next to nothing, unless one has just succeeded. Raises ModelFailure."""
        await self._whole.check()
        if self._under_way is not None:
            await self._under_way.check()

    async def ready(self) -> bool:
        """Answers when the weights are loaded."""
        return True


class LanguageModel:
    """vLLM; clauses, not tokens, leave the replica."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: LanguageModelSettings | UnderstandingSettings, niceness: int = LLM_NICENESS
    ) -> None:
        step_back(settings.device, niceness)
        self._model = VllmLanguageModel(settings.engine, settings.device)
        with ExitStack() as loading:
            await asyncio.to_thread(loading.enter_context, alone_on_cards())
            await self._model.start(prepared_folder(settings.weights))

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        """The reply's clauses as they are decided; closing aborts the generation. Raises ModelFailure."""
        async with aclosing(self._model.generate(request)) as deltas:
            async for clause in clauses_of(deltas):
                yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        """One reply as JSON that fits the schema; cancelling aborts the generation. Raises ModelFailure."""
        return await self._model.structured(request, schema)

    async def prefill(self, request: GenerateRequest) -> None:
        """Warm the prefix cache."""
        await self._model.prefill(request)

    async def check_health(self) -> None:
        """A timed one-token generation; Serve restarts the replica after three failures. Raises ModelFailure.

        A replica whose engine died leaves at once: nothing brings it back, and another is started in its place.
        """
        try:
            await self._model.check()
        except ModelFailure:
            if self._model.dead:
                # Soon, not now: the requests that failed with it get their answers.
                asyncio.get_running_loop().call_later(LAST_ANSWERS_S, os._exit, ENGINE_DIED)
            raise

    async def ready(self) -> bool:
        """Answers when the engine is up."""
        return True


def understanding_of(
    model: VllmLanguageModel, catalogue: Catalogue, settings: UnderstandingSettings
) -> OneStepUnderstanding | StructuredUnderstanding:
    """One agent's catalogue on a running engine, by the stack's profile. Raises ModelFailure if its meanings cannot be
    told apart."""
    if settings.profile == "structured":
        return StructuredUnderstanding(model, catalogue, examples=settings.examples)
    return OneStepUnderstanding(model, catalogue, examples=settings.examples)


class Understanding(LanguageModel):
    """A language model that has read what may be meant to each version of an agent, and chooses. It may word too."""

    async def __init__(self, settings: UnderstandingSettings, catalogues: dict[str, Catalogue]) -> None:  # type: ignore[misc]  # Serve awaits it
        """`catalogues`: by version."""
        await super().__init__(settings, MODEL_NICENESS)
        self._agents = {
            version: understanding_of(self._model, catalogue, settings) for version, catalogue in catalogues.items()
        }
        for version, agent in self._agents.items():
            await agent.warm_up(f"warm-up-{version}")

    async def judge(self, situation: Situation, version: str, request_id: str) -> Judgement:
        """What an utterance means to that version of an agent. Raises ModelFailure."""
        agent = self._agents.get(version)
        if agent is None:
            known = ", ".join(self._agents)
            raise ModelFailure(f"understanding: no catalogue of agent version {version!r}; there are: {known}")
        if len(situation.utterance) > LONGEST_TEXT:
            situation = replace(situation, utterance=situation.utterance[-LONGEST_TEXT:])
        return await agent.judge(situation, request_id)


class TextToSpeech:
    """Kokoro; whoever still waits for a first sample goes first."""

    def __init__(self, settings: TextToSpeechSettings, voices: tuple[str, ...]) -> None:
        step_back(settings.device)
        from models.kokoro import SpeechStreaming
        from models.kokoro_engine import KokoroEngine
        from serve.speaking import Replica, kokoro_engine

        folder = prepared_folder(settings.weights)

        def engine() -> KokoroEngine:
            return kokoro_engine(
                folder,
                implementation=settings.implementation,
                device=settings.device,
                dtype=settings.dtype,
                threads=settings.threads,
                max_batch_size=settings.max_batch_size,
            )

        with alone_on_cards():
            self._replica = Replica(folder, engine, SpeechStreaming(mode=settings.mode), voices)

    async def speak(self, text: str, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """One clause as audio; closing stops after the chunk that is being computed. Raises ModelFailure."""
        if len(text) > LONGEST_TEXT:
            raise ModelFailure(
                f"text to speech: expected a clause of at most {LONGEST_TEXT} characters, got {len(text)}"
            )
        async with aclosing(self._replica.speak(text, voice)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def check_health(self) -> None:
        """A few frames, timed; Serve restarts the replica after three failures. Raises ModelFailure."""
        await self._replica.check()

    async def ready(self) -> bool:
        """Answers when the weights are loaded and warm."""
        return True


@dataclass(frozen=True, slots=True)
class RouterLesson:
    """What a head is trained on: one version of an agent."""

    examples: dict[str, tuple[str, ...]]
    passages: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Id, text, questions of each."""
    language: str
    meanings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Examples by label of the agent's catalogue."""


class Router:
    """MiniLM, and for each version of an agent a linear head trained on its examples."""

    def __init__(self, settings: RouterSettings, lessons: dict[str, RouterLesson]) -> None:
        """`lessons`: by version."""
        from models.router import IntentRouter, KnowledgePassage, SentenceEncoder

        step_back(settings.device)
        encoder = SentenceEncoder(prepared_folder(settings.weights), threads=settings.threads)
        self._heads = {
            version: IntentRouter(
                encoder,
                examples=lesson.examples,
                passages=[KnowledgePassage(*passage) for passage in lesson.passages],
                language=lesson.language,
                meanings=lesson.meanings,
            )
            for version, lesson in lessons.items()
        }

    async def route(self, text: str, version: str) -> RouteDecision:
        """Label, confidence, nearest passages, as that version of an agent sees it. Raises ModelFailure."""
        head = self._heads.get(version)
        if head is None:
            raise ModelFailure(f"router: no head for agent version {version!r}; trained: {', '.join(self._heads)}")
        if len(text) > LONGEST_TEXT:
            text = text[-LONGEST_TEXT:]
        return await asyncio.to_thread(head.route, text)

    async def ready(self) -> bool:
        """Answers when the heads are trained."""
        return True
