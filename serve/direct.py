"""Models in this process, without Ray: for trials, evaluations and checks from the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from models.llm import VllmLanguageModel
from models.router import IntentRouter, KnowledgePassage
from models.structured_understanding import StructuredUnderstanding
from models.types import GenerateRequest, RouteDecision
from models.understanding import OneStepUnderstanding
from pipeline.agent import Agent
from pipeline.clauses import clauses_of
from pipeline.ports import LanguageModel, UnderstandingModel
from pipeline.text_call import FactsAsWritten
from pipeline.understanding.catalogue import catalogue
from pipeline.understanding.settings import UnderstandingPolicy
from serve.build import lesson
from serve.config import Stack
from serve.deployment_settings import EngineDeployment, UnderstandingSettings
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


async def prompted(
    engine: VllmLanguageModel, agent: Agent, settings: UnderstandingSettings
) -> OneStepUnderstanding | StructuredUnderstanding:
    """What understands an agent's callers, on a running engine, its prompt read. Raises ModelFailure."""
    understanding = understanding_of(engine, catalogue(agent), settings)
    await understanding.warm_up(f"warm-up-{agent.name}")
    return understanding


class DirectEngines:
    """The language models of a stack that run here; each engine once, whatever asks for it."""

    def __init__(
        self, stack: Stack, running: Mapping[str, VllmLanguageModel], *, words: bool, understands: bool
    ) -> None:
        """`running`: by the deployment that they are in Serve."""
        self._settings = stack.understanding if understands else None
        self._running = running
        self.language_model: LanguageModel = FactsAsWritten()
        if words:
            self.language_model = DirectLanguageModel(running[stack.language_model("small").deployment])
        self.policy = self._settings.policy() if self._settings else UnderstandingPolicy()

    async def understanding(self, agent: Agent) -> UnderstandingModel | None:
        """For one agent, its prompt read; None: nothing understands. Raises ModelFailure."""
        if self._settings is None:
            return None
        return await prompted(self._running["Understanding"], agent, self._settings)


@asynccontextmanager
async def direct_engines(stack: Stack, *, words: bool, understands: bool) -> AsyncGenerator[DirectEngines, None]:
    """A stack's language models. `words`: its small one words what agents leave to it, else facts are said as they are
    written. `understands`: its model that understands is asked, if it has one. Raises ModelFailure."""
    wanted: dict[str, EngineDeployment] = {}
    if words:
        small = stack.language_model("small")
        wanted[small.deployment] = small.settings
    if understands and stack.understanding is not None:
        wanted["Understanding"] = stack.understanding
    async with AsyncExitStack() as up:
        running: dict[str, VllmLanguageModel] = {}
        for name, settings in wanted.items():
            running[name] = model = VllmLanguageModel(settings.engine, settings.device)
            up.push_async_callback(model.stop)
            await model.start(prepared_folder(settings.weights))
        yield DirectEngines(stack, running, words=words, understands=understands)
