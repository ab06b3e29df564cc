"""The one builder: a stack file becomes two Serve applications, `models` and `gateway`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.settings import SettingsError
from models.types import Catalogue
from pipeline.agent import Agent
from pipeline.understanding.catalogue import catalogue
from serve.config import Deployment, LanguageModelSettings, Stack
from serve.deployments import Router, RouterLesson, SpeechToText, TextToSpeech, Understanding
from serve.secrets import Secrets
from serve.traffic_split import TrafficSplit

if TYPE_CHECKING:
    from ray.serve import Application

GATEWAY_APP = "gateway"
SHUTDOWN_S = 10.0
"""A model's replica that is stopped finishes what it has begun within this time."""


@dataclass(frozen=True, slots=True)
class Applications:
    """What Serve runs."""

    models: Application
    gateway: Application


def build(stack: Stack, traffic: TrafficSplit, secrets: Secrets, *, runs_dir: Path, cache_dir: Path) -> Applications:
    """Both applications of a stack.

    `runs_dir`: where calls are saved, absolute. `cache_dir`: where the agents' fixed lines are kept, absolute.
    """
    from ray import serve

    from serve.gateway_app import Gateway

    # Started in this order; language models take longest.
    companions = [
        _deployment(_implementation(model), name, model).bind(model)
        for name, model in stack.deployments().items()
        if isinstance(model, LanguageModelSettings)
    ]
    agents = traffic.agents()
    catalogues = {version: catalogue(agent) for version, agent in agents.items()}
    if (judging := stack.understanding) is not None:
        companions.append(_deployment(Understanding, "Understanding", judging).bind(judging, catalogues))
    voices = tuple(dict.fromkeys(agent.voice for agent in agents.values()))
    speech, hearing = stack.text_to_speech, stack.speech_to_text
    companions.append(_deployment(TextToSpeech, "TextToSpeech", speech).bind(speech, voices))
    companions.append(_deployment(SpeechToText, "SpeechToText", hearing).bind(hearing, traffic.languages()))
    # The application's root would listen on a port of its own, next to the gateway's, were it not told otherwise.
    router = _deployment(Router, "Router", stack.router, env={"RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"})
    lessons = {version: lesson(agent, catalogues[version]) for version, agent in agents.items()}
    gateway = serve.deployment(
        Gateway,
        name="Gateway",
        num_replicas=stack.gateway.replicas,
        max_ongoing_requests=stack.gateway.max_calls * 4 + 64,
        graceful_shutdown_timeout_s=stack.gateway.drain_s,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": 0},
    )
    return Applications(
        models=router.bind(stack.router, lessons, tuple(companions)),
        gateway=gateway.bind(stack, traffic, secrets, runs_dir, cache_dir),
    )


def lesson(agent: Agent, meant: Catalogue) -> RouterLesson:
    """What a router learns of an agent; `meant`: its catalogue."""
    return RouterLesson(
        {route.name: route.examples for route in agent.routes},
        tuple((fact.id, fact.text, fact.questions) for fact in agent.facts),
        agent.language,
        {meaning.label: meaning.examples for meaning in meant.meanings},
    )


def _implementation(settings: LanguageModelSettings) -> type:
    """The class that the settings name. Raises SettingsError if there is none."""
    module, _, name = settings.implementation.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"implementation: expected module:class, got {settings.implementation!r}; {error}"
        ) from error
    if not isinstance(found, type):
        raise SettingsError(f"implementation: expected a class, {settings.implementation!r} is {found!r}")
    return found


def _deployment(kind: type, name: str, settings: Deployment, env: dict[str, str] | None = None):  # type: ignore[no-untyped-def]  # Serve ships no types
    from ray import serve

    options: dict[str, object] = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus}
    if env:
        options["runtime_env"] = {"env_vars": env}
    return serve.deployment(
        kind,
        name=name,
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.max_ongoing_requests,
        health_check_period_s=settings.health_check_period_s,
        health_check_timeout_s=settings.health_check_timeout_s,
        graceful_shutdown_timeout_s=SHUTDOWN_S,
        ray_actor_options=options,
    )
