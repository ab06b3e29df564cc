"""Our side of the comparison: the language model's deployment, with the fixed replies' words in place of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from bench.peers.fixed_text import FixedReplies, with_words_of
from models.types import GenerateRequest, ModelFailure
from pipeline.agent import load_agent
from pipeline.clauses import clauses_of
from serve.deployment_settings import LanguageModelSettings
from serve.deployments import LanguageModel

AGENT = Path(__file__).resolve().parents[2] / "configs" / "agents" / "peers.yaml"


class FixedTextLanguageModel(LanguageModel):
    """As `serve.deployments.LanguageModel`, for the agent of configs/agents/peers.yaml."""

    async def __init__(self, settings: LanguageModelSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        self._replies = FixedReplies.load(load_agent(AGENT))
        await super().__init__(settings)

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        """The fixed reply's clauses at the model's pace; closing aborts the generation. Raises ModelFailure."""
        try:
            reply = self._replies.to_prompt(request.messages[-1].content).reply
        except ValueError as error:
            raise ModelFailure(str(error)) from error
        async with aclosing(self._model.generate(request)) as deltas, aclosing(with_words_of(reply, deltas)) as fixed:
            async for clause in clauses_of(fixed):
                yield clause
