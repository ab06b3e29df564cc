"""The models that an evaluation plays with: the router always, a language model and one that understands if wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from pipeline.agent import Agent
from pipeline.ports import LanguageModel, Router, UnderstandingModel
from pipeline.text_call import FactsAsWritten
from pipeline.understanding.settings import UnderstandingPolicy
from serve.config import Stack
from serve.direct import UnderstandingEngine, direct_language_model, direct_router, understanding_engine


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

    def __init__(self, stack: Stack, language_model: LanguageModel, engine: UnderstandingEngine | None) -> None:
        self._stack = stack
        self._language_model = language_model
        self._engine = engine

    async def of(self, agent: Agent) -> AgentModels:
        """Trained and prompted for one agent. Raises ModelFailure."""
        router = direct_router(agent, self._stack.router.weights)
        if self._engine is None or self._stack.understanding is None:
            return AgentModels(router, self._language_model)
        understanding = await self._engine.of(agent)
        return AgentModels(router, self._language_model, understanding, self._stack.understanding.policy())


@asynccontextmanager
async def started(stack: Stack, *, words: bool, understands: bool) -> AsyncGenerator[Models, None]:
    """A stack's models in this process. `words`: its small language model words answers, else facts are said as they
    are written. `understands`: its model that understands is asked, if it has one. Raises ModelFailure."""
    async with AsyncExitStack() as up:
        language_model: LanguageModel = FactsAsWritten()
        if words:
            language_model = await up.enter_async_context(direct_language_model(stack))
        engine = None
        if understands and stack.understanding is not None:
            engine = await up.enter_async_context(understanding_engine(stack.understanding))
        yield Models(stack, language_model, engine)
