"""Models in this process, without Ray: for trials, evaluations and checks from the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from models.llm import VllmLanguageModel
from models.router import IntentRouter, KnowledgePassage
from models.types import GenerateRequest, RouteDecision
from pipeline.agent import Agent
from pipeline.clauses import clauses_of
from serve.config import Stack
from serve.deployments import prepared_folder


class DirectRouter:
    """pipeline.ports.Router."""

    def __init__(self, router: IntentRouter) -> None:
        self._router = router

    async def route(self, text: str) -> RouteDecision:
        return self._router.route(text)


class DirectLanguageModel:
    """pipeline.ports.LanguageModel over a vLLM engine."""

    def __init__(self, model: VllmLanguageModel) -> None:
        self._model = model

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        async with aclosing(self._model.generate(request)) as deltas:
            async for clause in clauses_of(deltas):
                yield clause

    async def prefill(self, request: GenerateRequest) -> None:
        await self._model.prefill(request)


def direct_router(agent: Agent, weights: str) -> DirectRouter:
    """Trained from the agent file. Raises ModelFailure if its weights are not prepared."""
    return DirectRouter(
        IntentRouter(
            prepared_folder(weights),
            examples={route.name: route.examples for route in agent.routes},
            passages=tuple(KnowledgePassage(fact.id, fact.text, fact.questions) for fact in agent.facts),
            language=agent.language,
        )
    )


@asynccontextmanager
async def direct_language_model(stack: Stack) -> AsyncGenerator[DirectLanguageModel, None]:
    """The stack's small language model. Raises ModelFailure."""
    settings = stack.small_language_model
    model = VllmLanguageModel(settings.engine)
    await model.start(prepared_folder(settings.weights))
    try:
        yield DirectLanguageModel(model)
    finally:
        await model.stop()
