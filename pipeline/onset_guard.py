"""The moment in which a reply may begin: decided, and nothing stirs on the line."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pipeline.turns import TurnTracker

_WITHIN_S = 0.15
"""How long a sound may keep a gate shut: speech is confirmed sooner."""


class OnsetGuard:
    """Whether the caller may just be going on."""

    def __init__(self, *, settle_ms: int) -> None:
        self._settle_s = settle_ms / 1000
        self._calm = asyncio.Event()
        self._calm.set()
        self._heard_s = self._settled_s = 0.0

    def update(self, tracker: TurnTracker) -> None:
        """After each frame."""
        if tracker.stirs:
            self._calm.clear()
        elif tracker.received_s > self._heard_s and tracker.received_s >= self._settled_s:
            self._calm.set()
        self._heard_s = tracker.received_s

    def decided(self, tracker: TurnTracker) -> None:
        """A turn is over: what is heard in the next `settle_ms` may still be its caller going on."""
        self._calm.clear()
        self._settled_s = tracker.received_s + self._settle_s

    async def wait(self) -> None:
        """Until nothing stirs; not for long, since a real turn is confirmed by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WITHIN_S):
                await self._calm.wait()
