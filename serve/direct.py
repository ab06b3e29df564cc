"""Models in this process, without Ray: for trials, evaluations and checks from the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager

from models.llm import VllmLanguageModel
from models.router import IntentRouter, KnowledgePassage
from models.types import GenerateRequest, RouteDecision
from pipeline.agent import Agent
from pipeline.clauses import clauses_of
from pipeline.ports import UnderstandingModel
from pipeline.understanding.catalogue import catalogue
from serve.build import lesson
from serve.config import Stack, UnderstandingSettings
from serve.deployments import prepared_folder, understanding_of


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

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        return await self._model.structured(request, schema)

    async def prefill(self, request: GenerateRequest) -> None:
        await self._model.prefill(request)


def direct_router(agent: Agent, weights: str) -> DirectRouter:
    """Trained from the agent file. Raises ModelFailure if its weights are not prepared."""
    learnt = lesson(agent, catalogue(agent))
    return DirectRouter(
        IntentRouter(
            prepared_folder(weights),
            examples=learnt.examples,
            passages=[KnowledgePassage(*passage) for passage in learnt.passages],
            language=learnt.language,
            meanings=learnt.meanings,
        )
    )


@asynccontextmanager
async def direct_language_model(stack: Stack) -> AsyncGenerator[DirectLanguageModel, None]:
    """The stack's small language model. Raises ModelFailure."""
    settings = stack.language_model("small").settings
    model = VllmLanguageModel(settings.engine)
    await model.start(prepared_folder(settings.weights))
    try:
        yield DirectLanguageModel(model)
    finally:
        await model.stop()


class UnderstandingEngine:
    """A running engine that understands for any agent."""

    def __init__(self, model: VllmLanguageModel, settings: UnderstandingSettings) -> None:
        self._model = model
        self._settings = settings

    async def of(self, agent: Agent) -> UnderstandingModel:
        """For one agent, its prompt read. Raises ModelFailure."""
        understanding = understanding_of(self._model, catalogue(agent), self._settings)
        await understanding.warm_up(f"warm-up-{agent.name}")
        return understanding


@asynccontextmanager
async def understanding_engine(settings: UnderstandingSettings) -> AsyncGenerator[UnderstandingEngine, None]:
    """The stack's model that understands. Raises ModelFailure."""
    model = VllmLanguageModel(settings.engine)
    await model.start(prepared_folder(settings.weights))
    try:
        yield UnderstandingEngine(model, settings)
    finally:
        await model.stop()
