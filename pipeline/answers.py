"""Facts become clauses: in a language model's words as long as they are borne out, else as they are written.

The model is given all that was asked for at once, and what is known of the caller's wish, and may join them in its
answer. Each clause must be borne out by one fact or by one known value; a fact that the answer leaves out is added.
"""

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
        self._language = agent.language
        self._language_model = language_model
        self._context = context
        self._failed = False

    async def clauses(
        self, facts: Sequence[Fact], question: str, known: Sequence[Known], request_id: str, tier: Tier
    ) -> AsyncGenerator[Clause, None]:
        """The answer to a question from all that it asks for. Raises ModelFailure, though not for one that goes on."""
        texts, said = [fact.text for fact in facts], list[str]()
        rejected = failure = ""
        if self._generation.words == "facts":
            for clause in clauses_of_text(" ".join(texts), "knowledge"):
                yield clause
            return
        given = (*texts, *(f"{one.label}: {one.value}" for one in known if not one.sensitive))
        request = self._request(Ask(question=question, fact=" ".join(texts)), known, request_id, tier)
        try:
            async with aclosing(self._language_model.clauses(request)) as generated:
                async for text in generated:
                    self._failed = False
                    if not any(is_borne_out(text, one, self._language) for one in given):
                        rejected = text
                        break
                    said.append(text)
                    yield Clause(text, "llm")
                    if text.endswith(_SENTENCE_ENDS) and not self._left_out(said, texts):
                        return
        except ModelFailure as error:
            # The first failure is apologised for; while it lasts, the facts themselves are answer enough.
            if said or not self._failed:
                self._failed = True
                raise
            failure = str(error)
        broken_off = said[-1:] if rejected or failure or not " ".join(said).endswith(_SENTENCE_ENDS) else []
        left_out = [_after(broken_off, fact) for fact in self._left_out(said, texts, broken_off)]
        for text in split_clauses(" ".join(left_out)):
            if text not in said:  # Nothing is said twice.
                yield Clause(text, "knowledge", rejected=rejected, failure=failure)
                rejected = failure = ""

    def _left_out(self, said: Sequence[str], facts: Sequence[str], broken_off: Sequence[str] = ()) -> list[str]:
        """The facts that have not been told, or that the telling broke off in: after these clauses."""
        told = " ".join(said)
        return [
            fact
            for fact in facts
            if not answers(told, fact, self._language)
            or any(is_borne_out(text, fact, self._language) for text in broken_off)
        ]

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


def _after(said: Sequence[str], fact: str) -> str:
    """What is left of a fact that was begun word for word before the answer broke off."""
    begun = " ".join(said).strip(" .,!?;:")
    rest = fact[len(begun) :]
    return (
        rest.lstrip(" ,.!?;:") if begun and fact.lower().startswith(begun.lower()) and not rest[:1].isalnum() else fact
    )
