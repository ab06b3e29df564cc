"""Transcripts of turns under way: how many of them the transcriber is asked for, over all calls."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from pipeline.clock import Clock, since_ms

When = Literal["always", "idle", "never"]

_BURST_S = 0.1
"""What is not asked for is saved up for this long."""
_ASKS_EVERY_S = 0.06
"""Who has not asked again after this long is not speaking any more: frames come three times as often."""
_LESS = 0.5
"""With a slow answer the rate falls to this share of itself."""
_RECOVERS_S = 10.0
"""In which the rate comes back from nothing to the whole."""
_LEAST_SHARE = 0.02
"""Of the whole rate is left, however slow the answers."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that wants a partial and was refused."""

    waits_since_s: float
    at_s: float
    """When it last asked."""


class PartialBudget:
    """Shared by all calls of a gateway: says who may have the words of a turn under way.

    What cannot wait needs no leave, but is told of: its answers are measured too.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        when: When = "always",
        most_a_second: float = 20.0,
        at_once: int = 16,
        slow_ms: float = 500.0,
    ) -> None:
        """'always': as often as calls ask; 'never': not at all; 'idle': `most_a_second` over all calls and `at_once`
        under way; and fewer from an answer on that takes longer than `slow_ms`, until answers have been quick for a
        while."""
        self._clock = clock
        self._when = when
        self._most = most_a_second
        self._at_once = at_once
        self._slow_ms = slow_ms
        self._rate = most_a_second
        self._saved = 1.0
        self._at_s = self._slowed_s = float("-inf")
        self._under_way = 0
        self._waiting: dict[Hashable, _Asked] = {}

    def take(self, who: Hashable, *, waited_s: float) -> bool:
        """Whether this call may have a partial now; if so, `give_back` must follow. It asks again with each frame.

        `waited_s`: for how long it has had none in this turn; whoever has waited longest comes first.
        """
        if self._when != "idle":
            return self._when == "always"
        now_s = self._clock.now_s()
        self._save_up(now_s)
        asked = self._waiting[who] = _Asked(now_s - waited_s, now_s)
        self._waiting = {other: one for other, one in self._waiting.items() if now_s - one.at_s <= _ASKS_EVERY_S}
        ahead = sum(one.waits_since_s < asked.waits_since_s for one in self._waiting.values())
        if ahead >= min(int(self._saved), self._at_once - self._under_way):
            return False
        del self._waiting[who]
        self._saved -= 1.0
        self._under_way += 1
        return True

    def give_back(self) -> None:
        """The partial has come, or never will."""
        if self._when == "idle":
            self._under_way -= 1

    def answered(self, began_s: float) -> None:
        """A transcription, of a turn under way or of a whole one, that began then has taken until now."""
        if self._when != "idle" or since_ms(self._clock, began_s) <= self._slow_ms or began_s < self._slowed_s:
            # What began before the rate fell last says nothing of the rate that it fell to.
            return
        self._slowed_s = self._clock.now_s()
        self._save_up(self._slowed_s)
        self._rate = max(_LESS * self._rate, _LEAST_SHARE * self._most)

    def _save_up(self, now_s: float) -> None:
        passed_s = now_s - self._at_s
        self._at_s = now_s
        self._rate = min(self._most, self._rate + self._most * passed_s / _RECOVERS_S)
        self._saved = min(max(1.0, _BURST_S * self._rate), self._saved + self._rate * passed_s)
