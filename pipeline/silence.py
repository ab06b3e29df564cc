"""Long silences are asked into, and calls that stay silent or go on too long are ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from pipeline.agent import Agent
from pipeline.clock import Clock

_EVERY_S = 0.25
"""How often silence and the call's length are looked at."""


class SilenceWatch:
    """One call's watch."""

    def __init__(
        self,
        agent: Agent,
        clock: Clock,
        *,
        busy: Callable[[], bool],
        say: Callable[[], None],
        close: Callable[[Literal["too_long", "silence"]], Awaitable[None]],
    ) -> None:
        """`busy`: somebody speaks or something is under way; `say` asks whether someone is there; `close` says
        goodbye and ends the call."""
        self._agent = agent
        self._clock = clock
        self._busy = busy
        self._say = say
        self._close = close
        self._quiet_since_s = clock.now_s()
        self._asked = 0
        self._moment_granted = False

    def heard_from(self) -> None:
        """Somebody has just done something."""
        self._quiet_since_s = self._clock.now_s()

    def answered(self) -> None:
        """The caller is there."""
        self._asked = 0
        self._moment_granted = False

    def grant_moment(self) -> None:
        """The caller has asked for a moment: the silence that follows may last longer."""
        self._moment_granted = True

    async def run(self) -> None:
        began_s = self._clock.now_s()
        settings = self._agent.turn_taking
        while True:
            await self._clock.sleep(_EVERY_S)
            now_s = self._clock.now_s()
            if now_s - began_s >= self._agent.longest_call_s:
                await self._close("too_long")
            elif self._busy():
                self._quiet_since_s = now_s
            elif now_s - self._quiet_since_s >= self._patience_s():
                if self._asked >= settings.reprompts:
                    await self._close("silence")
                else:
                    self._asked += 1
                    self._quiet_since_s = now_s
                    self._moment_granted = False
                    self._say()

    def _patience_s(self) -> float:
        settings = self._agent.turn_taking
        return settings.reprompt_after_s + (settings.moment_more_s if self._moment_granted else 0.0)
