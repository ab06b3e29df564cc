"""The one builder: a stack file becomes Serve applications, one for each pool of replicas."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.settings import SettingsError
from models.types import Catalogue
from pipeline.agent import Agent
from pipeline.understanding.catalogue import catalogue
from serve.config import GatewaySettings, Stack
from serve.deployment_settings import Deployment, EngineDeployment, LanguageModelSettings
from serve.deployments import Router, RouterLesson, SpeechToText, TextToSpeech, Understanding
from serve.pools import PlacementSettings, ScalingSettings, cuda_environment
from serve.secrets import Secrets
from serve.traffic_split import TrafficSplit

if TYPE_CHECKING:
    from ray.serve import Application

GATEWAY = "Gateway"
"""Its application and deployment; those of the models are called as in `Stack.deployments`."""
SHUTDOWN_S = 10.0
"""A model's replica that is stopped finishes what it has begun within this time."""
STICKY_ROUTER = "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"
METRICS_INTERVAL_S = 1.0
"""How often a replica tells how much it has to do, where their number follows the load."""
ALL = 100
"""Percent."""
LOOK_BACK_S = 5.0
"""Over which the load is averaged."""


def build(
    stack: Stack, traffic: TrafficSplit, secrets: Secrets, *, runs_dir: Path, cache_dir: Path
) -> dict[str, Application]:
    """A stack's Serve applications, by name: each pool of replicas is one of its own, so that one can be upgraded and
    the others stay (Serve gives all deployments of an application one version).

    `runs_dir`: where calls are saved, absolute. `cache_dir`: where the agents' fixed lines are kept, absolute.
    """
    return {
        name: pool(name, stack, traffic, secrets, runs_dir=runs_dir, cache_dir=cache_dir)
        for name in (*stack.deployments(), GATEWAY)
    }


def pool(
    name: str, stack: Stack, traffic: TrafficSplit, secrets: Secrets, *, runs_dir: Path, cache_dir: Path
) -> Application:
    """One of them. Raises SettingsError for an implementation that is not there."""
    from ray import serve

    agents = traffic.agents()
    match name:
        case "Gateway":
            from serve.gateway_app import Gateway

            gateway = serve.deployment(Gateway, name=name, **gateway_options(stack.gateway))
            return gateway.bind(stack, traffic, secrets, runs_dir, cache_dir)
        case "Understanding":
            catalogues = {version: catalogue(agent) for version, agent in agents.items()}
            return _deployment(Understanding, name, stack).bind(stack.understanding, catalogues)
        case "TextToSpeech":
            voices = tuple(dict.fromkeys(agent.voice for agent in agents.values()))
            return _deployment(TextToSpeech, name, stack).bind(stack.text_to_speech, voices)
        case "SpeechToText":
            return _deployment(SpeechToText, name, stack).bind(stack.speech_to_text, traffic.languages())
        case "Router":
            lessons = {version: lesson(agent, catalogue(agent)) for version, agent in agents.items()}
            return _deployment(Router, name, stack).bind(stack.router, lessons)
    model = stack.deployments().get(name)
    if not isinstance(model, LanguageModelSettings):
        raise SettingsError(f"the stack '{stack.name}' has no pool {name!r}; it has {', '.join(stack.deployments())}")
    return _deployment(_implementation(model), name, stack).bind(model)


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


def _deployment(kind: type, name: str, stack: Stack):  # type: ignore[no-untyped-def]  # Serve ships no types
    from ray import serve

    return serve.deployment(kind, name=name, **model_options(stack, stack.deployments()[name]))


def model_options(stack: Stack, settings: Deployment) -> dict[str, object]:
    """What Serve is told of a model's deployment, but for its class and name."""
    # As the root of its application it would listen on a port of its own, next to the gateway's, were it not told.
    env = {"RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}
    if settings.device == "cuda" and stack.gpus is not None:
        env |= cuda_environment(stack.gpus)
    actor: dict[str, object] = {
        "num_cpus": settings.num_cpus,
        "num_gpus": stack.gpu_share(settings),
        "runtime_env": {"env_vars": env},
    }
    options: dict[str, object] = {
        "max_ongoing_requests": settings.max_ongoing_requests,
        "health_check_period_s": settings.health_check_period_s,
        "health_check_timeout_s": settings.health_check_timeout_s,
        "graceful_shutdown_timeout_s": SHUTDOWN_S,
        "max_surge_percent": ALL if settings.surge else 0,
    }
    if isinstance(settings, EngineDeployment):
        # A call's prompts share their beginning: they go where it is cached, and to the next replica when that is gone.
        options["request_router_config"] = {"request_router_class": STICKY_ROUTER}
    return options | _pool_options(settings.replicas, settings.scaling, settings.placement, actor)


def gateway_options(gateway: GatewaySettings) -> dict[str, object]:
    """Likewise of the gateway's."""
    return {
        "max_ongoing_requests": gateway.max_calls * 4 + 64,
        # A replica that is replaced, or one too many, keeps its calls this long.
        "graceful_shutdown_timeout_s": gateway.drain_s,
        "health_check_period_s": 5,
        "max_surge_percent": ALL,
        **_pool_options(gateway.replicas, gateway.scaling, gateway.placement, {"num_cpus": 0}),
    }


def _pool_options(
    replicas: int, scaling: ScalingSettings | None, placement: PlacementSettings, actor: Mapping[str, object]
) -> dict[str, object]:
    placed = dict(actor)
    if placement.accelerator is not None:
        placed["accelerator_type"] = placement.accelerator
    if placement.resources:
        placed["resources"] = placement.resources
    options: dict[str, object] = {"ray_actor_options": placed}
    if placement.replicas_per_node is not None:
        options["max_replicas_per_node"] = placement.replicas_per_node
    if scaling is None:
        return options | {"num_replicas": replicas}
    return options | {
        "autoscaling_config": {
            "min_replicas": scaling.least,
            "max_replicas": scaling.most,
            "target_ongoing_requests": scaling.target_ongoing,
            "upscale_delay_s": scaling.up_after_s,
            "downscale_delay_s": scaling.down_after_s,
            "metrics_interval_s": METRICS_INTERVAL_S,
            "look_back_period_s": LOOK_BACK_S,
        }
    }
