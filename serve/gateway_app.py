"""The gateway as a Ray Serve deployment: gathers what it needs, then answers on a port of its own (direct ingress)."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ray import serve
from ray.serve._private import replica

from models.types import FloatAudio, ModelFailure, Tier
from pipeline.call_models import CallModels
from pipeline.clock import LoopClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.context.parts import TokenCounter
from pipeline.fixed_lines import synthesise_fixed_lines
from pipeline.model_selection import Pace, SelectedModel
from pipeline.tools.runner import ToolRunner
from pipeline.understanding.settings import UnderstandingPolicy
from serve.agent_file import agent_tools
from serve.agent_pool import AgentPool, AgentRuntime
from serve.call_store import CallStore
from serve.config import EngineAt, Stack
from serve.deployments import prepared_folder
from serve.gateway import create_app
from serve.gateway_state import GatewayServices
from serve.handles import (
    RayLanguageModel,
    RayRouter,
    RaySpeaker,
    RayTranscriber,
    RayUnderstanding,
    Remote,
    connect,
    ready,
)
from serve.metrics import Metrics
from serve.secrets import Secrets
from serve.spoken_lines import RememberingSpeaker
from serve.stand_ins import StandIns
from serve.traffic_split import TrafficSplit
from serve.upkeep import keep_up, keep_version, store_url

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve.config import HTTPOptions
    from starlette.types import ASGIApp
    from uvicorn import Server

    from models.smart_turn import SmartTurn

FIXED_LINE_TIMEOUT_S = 240.0
"""The speaker may still be loading when the first line is asked for."""
READY_TIMEOUT_S = 2.0
"""How long `/readyz` waits for a model."""


log = logging.getLogger(__name__)


def _counter(stack: Stack) -> TokenCounter:
    """The language model's own count, if its weights are on this machine."""
    from models.prompt_tokens import TemplateCounter

    try:
        return TemplateCounter(prepared_folder(stack.language_model("small").settings.weights))
    except ModelFailure as error:
        log.warning("prompts are measured by their length only: %s", error)
        return RoughCounter()


def _settle_memory() -> None:
    """Take everything loaded so far out of garbage collection, whose full runs stop every thread of the process."""
    began_s = time.monotonic()
    gc.collect()
    took_ms = (time.monotonic() - began_s) * 1000
    gc.freeze()
    log.info(
        "a full garbage collection took %.0f ms; %d objects are left out of later ones", took_ms, gc.get_freeze_count()
    )


class ThreadedTurnScorer:
    """pipeline.ports.TurnScorer: Smart Turn in a thread, off the event loop."""

    def __init__(self, model: SmartTurn) -> None:
        self._model = model

    async def end_of_turn_probability(self, audio: FloatAudio) -> float:
        try:
            return await asyncio.to_thread(self._model.end_of_turn_probability, audio)
        except (RuntimeError, ValueError) as error:
            raise ModelFailure(f"Smart Turn: {error}") from error


def _bind_port_at_once() -> None:
    """Let this process's ingress take a port again right after a stop.

    Ray binds it without SO_REUSEPORT, and for a minute after the last run's calls the kernel would refuse it.
    """
    start = replica.start_asgi_http_server

    async def start_at_once(
        app: ASGIApp, options: HTTPOptions, *, event_loop: asyncio.AbstractEventLoop, enable_so_reuseport: bool
    ) -> tuple[asyncio.Task[None], Server]:
        serving: tuple[asyncio.Task[None], Server] = await start(
            app, options, event_loop=event_loop, enable_so_reuseport=True
        )
        return serving

    replica.start_asgi_http_server = start_at_once


def tell_of_shutdown(begins: Callable[[], object]) -> None:
    """Have `begins` called when Serve begins to take this process's replica down: only then does it wait for calls."""
    shut_down = replica.Replica.perform_graceful_shutdown

    async def shut_down_told(taken_down: replica.Replica) -> None:
        begins()
        await shut_down(taken_down)

    replica.Replica.perform_graceful_shutdown = shut_down_told


@serve.ingress()
class Gateway:
    """Loads what runs frame by frame, connects to the models' deployments, and builds the ASGI app."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, stack: Stack, traffic: TrafficSplit, secrets: Secrets, runs_dir: Path, cache_dir: Path
    ) -> None:
        from models.kokoro import SpeechStreaming
        from models.silero import SileroVad
        from models.smart_turn import SmartTurn
        from models.weights import entry

        _bind_port_at_once()
        draining = asyncio.Event()
        # Serve may shut down on a loop of its own.
        tell_of_shutdown(partial(asyncio.get_running_loop().call_soon_threadsafe, draining.set))
        speech = stack.text_to_speech
        vad = await asyncio.to_thread(SileroVad, prepared_folder(stack.voice_activity.weights))
        scorer = await asyncio.to_thread(
            SmartTurn, prepared_folder(stack.turn_scorer.weights), threads=stack.turn_scorer.threads
        )
        remotes = {name: connect(name, settings) for name, settings in stack.deployments().items()}
        pace = Pace()
        patient = RaySpeaker(Remote("TextToSpeech", remotes["TextToSpeech"].handle, FIXED_LINE_TIMEOUT_S))
        shaped = f"{speech.implementation} {speech.dtype} {SpeechStreaming(mode=speech.mode).model_dump_json()}"
        identity = f"{entry(speech.weights).digest()} {shaped}"
        remembering = RememberingSpeaker(patient, cache_dir, identity)

        async def not_ready() -> list[str]:
            answers = await asyncio.gather(*(ready(remote, READY_TIMEOUT_S) for remote in remotes.values()))
            return [fault for fault in answers if fault]

        self._open = AsyncExitStack()
        counter = await asyncio.to_thread(_counter, stack)
        store = await self._open.enter_async_context(await CallStore.open(store_url(stack.gateway, runs_dir)))
        clock, metrics, turn_scorer = LoopClock(), Metrics(), ThreadedTurnScorer(scorer)
        stand_ins = await StandIns.opened(stack, metrics.fallback, clock, self._open)

        def at(engine: EngineAt) -> RayLanguageModel:
            return RayLanguageModel(Remote(engine.deployment, remotes[engine.deployment].handle, engine.timeout_s))

        transcriber = stand_ins.transcriber(RayTranscriber(remotes["SpeechToText"]))
        speaker = stand_ins.speaker(RaySpeaker(remotes["TextToSpeech"]))
        small, large = (stand_ins.language_model(tier, at) for tier in get_args(Tier))
        language_model = SelectedModel(small, large, pace, clock)
        runtimes: dict[str, AgentRuntime] = {}
        runners: list[ToolRunner] = []
        for version, agent in traffic.agents().items():
            tools = await self._open.enter_async_context(agent_tools(agent, store.outbox(agent.name), clock))
            runners.append(tools)
            await asyncio.to_thread(keep_version, version, agent, runs_dir)
            router = RayRouter(remotes["Router"], version)
            judging = stack.understanding
            judge = RayUnderstanding(remotes["Understanding"], version) if judging else None
            policy = judging.policy() if judging else UnderstandingPolicy()
            runtimes[version] = AgentRuntime(
                agent,
                version,
                CallModels(transcriber, router, language_model, speaker, turn_scorer, pace, judge, policy),
                await synthesise_fixed_lines(remembering, agent),
                AgentContext(agent, counter, limit_tokens=stack.max_prompt_tokens()),
                tools,
            )
        self._upkeep = asyncio.create_task(keep_up(runners, store, clock))
        self._services = GatewayServices(
            pool=AgentPool(traffic, runtimes),
            new_vad=vad.stream,
            settings=stack.gateway,
            secrets=secrets,
            clock=clock,
            runs_dir=runs_dir,
            store=store,
            not_ready=not_ready,
            weights={name: entry(name).digest() for name in stack.weights()},
            metrics=metrics,
            draining=draining,
        )
        _settle_memory()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._services)
