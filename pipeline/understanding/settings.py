"""When a model is asked what callers mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnderstandingPolicy:
    """Of the stack, since it is the stack that has a model for it."""

    fast_path: float = 0.9
    """From this share of the nearest examples' votes on, the model is not asked; above 1: it is always asked."""
    timeout_s: float = 2.0
    """Later than this the router decides by itself."""
