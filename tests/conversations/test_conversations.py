"""Every conversation of every agent, against the real router, flows and connectors, and a back office over HTTP."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from bench.eval.conversation import AGENTS, CONVERSATIONS, load_conversation
from bench.eval.models import AgentModels
from bench.eval.patient_loop import run_patiently
from bench.eval.play import faults, play
from bench.eval.world import office_of
from pipeline.agent import Agent, load_agent
from serve.config import EMBEDDED_STACK, load_stack
from serve.direct import DirectRouter, direct_router

FILES = sorted(CONVERSATIONS.glob("*/*.yaml"))

pytestmark = pytest.mark.slow


@functools.cache
def agent_and_router(name: str) -> tuple[Agent, DirectRouter]:
    from models.weights import prepare

    weights = load_stack(EMBEDDED_STACK).router.weights
    prepare(weights)
    agent = load_agent(AGENTS / f"{name}.yaml")
    return agent, direct_router(agent, weights)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_conversation(path: Path) -> None:
    name = path.parent.name
    agent, router = agent_and_router(name)
    conversation = load_conversation(path)
    talk = run_patiently(play(conversation, agent, AgentModels(router), office_of(name)))
    found = faults(conversation, talk)
    assert not found, "\n".join([conversation.description, *found, talk.told()])
