"""How utterances are understood: a part of the stack file, since it is the stack that has a model for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.settings import StrictModel


class UnderstandingSettings(StrictModel):
    """A language model decides what callers mean, wherever the router is not sure enough."""

    model: Literal["small_language_model", "large_language_model"] = "small_language_model"
    """Whose engine judges."""
    profile: Literal["one_step"] = "one_step"
    """'one_step': a meaning is chosen by its first token, after examples as turns of a chat; for small models."""
    examples: int = Field(3, ge=0, le=20)
    """Of each meaning, shown to the model at most."""
    fast_path: float = Field(0.98, ge=0, le=1.01)
    """From this share of the nearest examples' votes on, the model is not asked; above 1: it is always asked."""
    timeout_s: float = Field(2.0, gt=0)
    """Later than this the router decides by itself."""
