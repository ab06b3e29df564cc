"""How much of a prompt each of its parts may take: the key `context` of the agent file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from models.settings import StrictModel


class ContextSettings(StrictModel):
    """Budgets in tokens of the language model. docs/context.md says what happens to a part that is over its budget."""

    turns: bool = True
    """Whether prompts show the turns so far and what is known. Off for models of a few hundred million parameters: they
    answer from what they read there instead of from the fact (docs/context.md)."""
    persona_tokens: int = Field(192, ge=16)
    """Persona, policies and the note on quoted data. More is an error when the agent is checked."""
    examples_tokens: int = Field(320, ge=0)
    """Questions and answers shown before the call's own. More is an error when the agent is checked."""
    summary_tokens: int = Field(96, ge=16)
    """Summary of the turns that were dropped. Its end is cut."""
    known_tokens: int = Field(64, ge=16)
    """Variables that are known. The oldest are left out. Counts twice: before the turns stands what was known at the
    last trim, at the end what one turn adds."""
    data_tokens: int = Field(96, ge=16)
    """Text quoted from business systems. It is cut, the oldest first. Counts twice, as `known_tokens` does."""
    turns_tokens: int = Field(480, ge=64)
    """Turns shown as they were heard, with what became known in them. One token more, and the oldest are dropped,
    `trim_tokens` at once."""
    trim_tokens: int = Field(288, ge=16)
    """How much is dropped at once. More: trims are rarer, and fewer turns are left after one."""
    instruction_tokens: int = Field(64, ge=16)
    """What the node of the flow asks for. More is an error when the agent is checked; filled in, its end is cut."""
    fact_tokens: int = Field(96, ge=16)
    """What the answer is to be taken from. More is an error when the agent is checked; filled in, its end is cut."""
    question_tokens: int = Field(96, ge=16)
    """The caller's words. Their beginning is cut."""
    summary: bool = True
    """Whether dropped turns are summarised; else they are gone."""
    summary_ahead_tokens: int = Field(64, ge=1)
    """A summary is asked for when fewer tokens than this are left until the next trim."""
    last: Literal["question", "fact"] = "question"
    """What the prompt ends with. Models of a few hundred million parameters repeat what they read last: for them it
    should be the fact."""

    @model_validator(mode="after")
    def _trims_leave_turns(self) -> Self:
        if self.trim_tokens >= self.turns_tokens:
            raise ValueError(
                f"expected trim_tokens < turns_tokens, got {self.trim_tokens} and {self.turns_tokens}: "
                "a trim would leave nothing; lower trim_tokens"
            )
        if self.summary_ahead_tokens >= self.kept_tokens:
            raise ValueError(
                f"expected summary_ahead_tokens < turns_tokens - trim_tokens ({self.kept_tokens}), got "
                f"{self.summary_ahead_tokens}: every turn would be near a trim; lower summary_ahead_tokens"
            )
        return self

    @property
    def kept_tokens(self) -> int:
        """What of the turns is left, at most, by a trim."""
        return self.turns_tokens - self.trim_tokens
