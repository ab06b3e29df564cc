"""An agent's prompts: what its file says, in the form that the builder wants."""

from __future__ import annotations

from pipeline.agent import Agent
from pipeline.context.builder import ContextBuilder
from pipeline.context.call import CallContext
from pipeline.context.parts import Ask, ContextParts, Example, History, TokenCounter
from pipeline.context.summary import ExtractiveSummariser

LIMIT_TOKENS = 1792
"""Longest prompt that the embedded stack's engine takes."""


class AgentContext:
    """One agent's prompts for one model; shared by all its calls."""

    def __init__(self, agent: Agent, counter: TokenCounter, *, limit_tokens: int = LIMIT_TOKENS) -> None:
        """`limit_tokens`: the longest prompt that the model takes. Raises ContextError if a part is over its budget."""
        parts = ContextParts(
            persona=agent.persona,
            examples=tuple(
                Example(Ask(question=question, fact=fact), answer)
                for fact, question, answer in agent.generation.examples
            ),
            quotes_data=agent.context.turns and bool(agent.tools),
        )
        self._builder = ContextBuilder(parts, counter, agent.context, limit_tokens=limit_tokens)
        for fact in agent.facts:
            self._builder.check("fact", fact.text)
        self._summariser = ExtractiveSummariser(counter)

    def of_call(self, history: History | None = None) -> CallContext:
        """For one call; `history`: of a call that is resumed."""
        return CallContext(self._builder, self._summariser, history)
