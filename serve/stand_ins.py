"""A stack's models, with what stands in for them where its file says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from models.types import Tier
from pipeline.clock import Clock
from pipeline.fallback import Fallback, FallbackLanguageModel, FallbackSpeaker, FallbackTranscriber
from pipeline.ports import LanguageModel, Speaker, Transcriber
from serve.config import EngineAt, Stack
from serve.connectors.transport import ConnectorClient
from serve.hosted.assemblyai import STREAM_URL, SYNC_URL, AssemblyAi
from serve.hosted.cartesia import Cartesia
from serve.hosted.deepgram import Deepgram
from serve.hosted.elevenlabs import ElevenLabs
from serve.hosted.exchange import Endpoint, Spend
from serve.hosted.keys import key_of
from serve.hosted.openai_chat import OpenAiChat
from serve.hosted.openai_speech import OpenAiSpeech
from serve.hosted.settings import (
    AnyHosted,
    AssemblyAiSettings,
    CartesiaSettings,
    DeepgramSettings,
    ElevenLabsSettings,
    HostedHearing,
    HostedSpeech,
    OpenAiChatSettings,
    OpenAiSpeechSettings,
    StandIn,
)
from serve.metrics import FallbackMetrics


class StandIns:
    """Puts stand-ins behind the models of one gateway. Without any in the stack, the models are what they were."""

    def __init__(
        self,
        stack: Stack,
        metrics: FallbackMetrics,
        clock: Clock,
        client: ConnectorClient | None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """`client`: needed if the stack has hosted models."""
        self._stack = stack
        self._metrics = metrics
        self._clock = clock
        self._client = client
        self._environment = environment

    @staticmethod
    async def opened(stack: Stack, metrics: FallbackMetrics, clock: Clock, open_things: AsyncExitStack) -> StandIns:
        """With a client of their own, which `open_things` closes."""
        client = await open_things.enter_async_context(ConnectorClient()) if stack.hosted() else None
        return StandIns(stack, metrics, clock, client)

    def transcriber(self, primary: Transcriber) -> Transcriber:
        """Raises SettingsError if a key is missing; so do the others."""
        settings = self._stack.speech_to_text.fallback
        if settings is None:
            return primary
        fallback = self._fallback("speech_to_text", settings, settings.budget_ms)
        return FallbackTranscriber(primary, self._hearing(settings.hosted), fallback)

    def speaker(self, primary: Speaker) -> Speaker:
        settings = self._stack.text_to_speech.fallback
        if settings is None:
            return primary
        fallback = self._fallback("text_to_speech", settings, settings.budget_ms)
        return FallbackSpeaker(primary, self._speech(settings.hosted), fallback)

    def language_model(self, tier: Tier, at: Callable[[EngineAt], LanguageModel]) -> LanguageModel:
        """The small or the large one; `at`: the model that an engine of the stack is."""
        primary, settings = at(self._stack.language_model(tier)), self._stack.fallback(tier)
        if settings is None:
            return primary
        part = f"{tier}_language_model"
        engine = self._stack.stand_in(tier)
        backup = at(engine) if engine is not None else self._chat(part, settings.hosted)
        fallback = self._fallback(part, settings, settings.budget_ms)
        budget_s = settings.structured_budget_ms / 1000
        return FallbackLanguageModel(primary, backup, fallback, structured_budget_s=budget_s)

    def _fallback(self, part: str, settings: StandIn, budget_ms: float) -> Fallback:
        return Fallback(part, settings.policy(budget_ms), self._clock, self._metrics)

    def _hearing(self, hosted: HostedHearing) -> Transcriber:
        part, spend = "speech_to_text", self._spend("speech_to_text", hosted)
        match hosted:
            case DeepgramSettings():
                return Deepgram(hosted, self._endpoint(part, "Deepgram", hosted, hosted.base_url), spend)
            case AssemblyAiSettings():
                url = hosted.base_url or (STREAM_URL if hosted.way == "stream" else SYNC_URL)
                return AssemblyAi(hosted, self._endpoint(part, "AssemblyAI", hosted, url), spend)

    def _speech(self, hosted: HostedSpeech) -> Speaker:
        part, spend = "text_to_speech", self._spend("text_to_speech", hosted)
        match hosted:
            case ElevenLabsSettings():
                return ElevenLabs(hosted, self._endpoint(part, "ElevenLabs", hosted, hosted.base_url), spend)
            case CartesiaSettings():
                return Cartesia(hosted, self._endpoint(part, "Cartesia", hosted, hosted.base_url), spend)
            case OpenAiSpeechSettings():
                return OpenAiSpeech(hosted, self._endpoint(part, "OpenAI speech", hosted, hosted.base_url), spend)

    def _chat(self, part: str, hosted: OpenAiChatSettings | None) -> LanguageModel:
        assert hosted is not None
        endpoint = self._endpoint(part, hosted.model, hosted, hosted.base_url)
        return OpenAiChat(hosted, endpoint, self._spend(part, hosted))

    def _endpoint(self, part: str, name: str, hosted: AnyHosted, base_url: str) -> Endpoint:
        assert self._client is not None
        key = key_of(part, hosted, self._environment)
        return Endpoint(name, base_url, key, hosted.key_env, hosted.timeout_s, hosted.allow_private, self._client)

    def _spend(self, part: str, hosted: AnyHosted) -> Spend:
        return partial(self._metrics.spent, part, hosted.provider)
