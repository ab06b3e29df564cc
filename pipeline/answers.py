"""Facts become clauses: in a language model's words as long as the fact bears them out, else as they are written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from models.types import GenerateRequest, ModelFailure, Tier
from pipeline.agent import Agent, Fact
from pipeline.clauses import split_clauses
from pipeline.context.call import CallContext
from pipeline.context.parts import Ask, Known
from pipeline.grounding import answers, is_borne_out
from pipeline.plan import Clause, clauses_of_text
from pipeline.ports import LanguageModel

_SENTENCE_ENDS = (".", "!", "?")
"""An answer is never stopped in the middle of a sentence."""


class AnswerWriter:
    """One call's. `known`, in all methods: what the prompt may say of the call's variables."""

    def __init__(self, agent: Agent, language_model: LanguageModel, context: CallContext) -> None:
        self._generation = agent.generation
        self._language_model = language_model
        self._context = context
        self._failed = False

    async def clauses(
        self, fact: Fact, question: str, known: Sequence[Known], request_id: str, tier: Tier
    ) -> AsyncGenerator[Clause, None]:
        """The answer to a question. Raises ModelFailure, though not for a failure that goes on."""
        said: list[str] = []
        rejected = failure = ""
        if self._generation.words == "facts":
            for clause in clauses_of_text(fact.text, "knowledge"):
                yield clause
            return
        request = self._request(Ask(question=question, fact=fact.text), known, request_id, tier)
        try:
            async with aclosing(self._language_model.clauses(request)) as generated:
                async for text in generated:
                    self._failed = False
                    if not is_borne_out(text, fact.text):
                        rejected = text
                        break
                    said.append(text)
                    yield Clause(text, "llm")
                    if text.endswith(_SENTENCE_ENDS) and answers(" ".join(said), fact.text):
                        return
        except ModelFailure as error:
            # The first failure is apologised for; while it lasts, the facts themselves are answer enough.
            if said or not self._failed:
                self._failed = True
                raise
            failure = str(error)
        for text in split_clauses(fact.text):
            if text not in said:  # Nothing is said twice.
                yield Clause(text, "knowledge", rejected=rejected, failure=failure)
                rejected = failure = ""

    async def read(self, ask: Ask, known: Sequence[Known], request_id: str) -> bool:
        """Have the engine read the prompt of what may be asked for, if one is used. Raises ModelFailure."""
        if self._generation.words == "facts":
            return False
        await self._language_model.prefill(self._request(ask, known, request_id))
        return True

    def _request(self, ask: Ask, known: Sequence[Known], request_id: str, tier: Tier = "small") -> GenerateRequest:
        return GenerateRequest(
            request_id=request_id,
            messages=self._context.prompt(ask, known).messages,
            max_tokens=self._generation.max_tokens,
            temperature=self._generation.temperature,
            tier=tier,
        )
