"""Keys pressed one after another become one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from pipeline.clock import Clock

_COMPLETE_AFTER_S = 2.5
"""People look for the next key, or at the card that they read from; after this long they have finished."""
_FINISHED = "#"


class Keypad:
    """One call's keys, as far as they are an answer. Keys other than digits add nothing to it."""

    def __init__(
        self,
        clock: Clock,
        *,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        entered: Callable[[str], None],
    ) -> None:
        """`spawn` starts work that ends with the call; `entered` is told the digits once the caller has finished."""
        self._clock = clock
        self._spawn = spawn
        self._entered = entered
        self._digits = ""
        self._waiting: asyncio.Task[None] | None = None

    def press(self, key: str) -> None:
        """A key of the answer."""
        if self._waiting is not None:
            self._waiting.cancel()
        if key.isdigit():
            self._digits += key
        self._waiting = self._spawn(self._finish(0.0 if key == _FINISHED else _COMPLETE_AFTER_S))

    async def _finish(self, after_s: float) -> None:
        await self._clock.sleep(after_s)
        digits, self._digits = self._digits, ""
        self._waiting = None
        if digits:
            self._entered(digits)
