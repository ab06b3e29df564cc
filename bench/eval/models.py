"""The models that an evaluation plays with: the router always, a language model and one that understands if wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.agent import Agent
from pipeline.ports import LanguageModel, Router, UnderstandingModel
from pipeline.text_call import FactsAsWritten
from pipeline.understanding.settings import UnderstandingPolicy
from serve.config import Stack
from serve.direct import DirectEngines, direct_engines, direct_router


@dataclass(frozen=True, slots=True)
class AgentModels:
    """What one agent is played with."""

    router: Router
    language_model: LanguageModel = field(default_factory=FactsAsWritten)
    understanding: UnderstandingModel | None = None
    """None: the router decides by rules."""
    policy: UnderstandingPolicy = field(default_factory=UnderstandingPolicy)


class Models:
    """Running models of a stack, for any agent."""

    def __init__(self, stack: Stack, engines: DirectEngines) -> None:
        self._stack = stack
        self._engines = engines

    async def of(self, agent: Agent) -> AgentModels:
        """Trained and prompted for one agent. Raises ModelFailure."""
        router = direct_router(agent, self._stack.router.weights)
        understanding = await self._engines.understanding(agent)
        return AgentModels(router, self._engines.language_model, understanding, self._engines.policy)


@asynccontextmanager
async def started(stack: Stack, *, words: bool, understands: bool) -> AsyncGenerator[Models, None]:
    """A stack's models in this process, with those of its language models that are wanted; see `direct_engines`. Raises
    ModelFailure."""
    async with direct_engines(stack, words=words, understands=understands) as engines:
        yield Models(stack, engines)
