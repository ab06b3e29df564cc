"""Time, injected: the pipeline never asks the machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_NO_TIME_S = 1e-6
"""So little is left of a wait when it is over: times are sums."""


class Clock(Protocol):
    """Monotonic seconds and a way to wait. Under test both are virtual."""

    def now_s(self) -> float: ...

    async def sleep(self, delay_s: float) -> None: ...

    def wall_time_s(self) -> float:
        """Seconds since the epoch, for people; never for measuring."""
        ...


class LoopClock:
    """The running event loop's clock; under a virtual-time loop it is virtual too."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def wall_time_s(self) -> float:
        return time.time()


class StoppableClock:
    """Another clock's time, as far as it passes while this one is going; it stands at first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passed_s = 0.0
        self._began_s = 0.0
        self._users = 0
        self._goes = asyncio.Event()

    @contextmanager
    def going(self) -> Iterator[None]:
        """It goes until the last who had it go is done."""
        if not self._users:
            self._began_s = self._clock.now_s()
            self._goes.set()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._passed_s += self._clock.now_s() - self._began_s
                self._goes.clear()

    def now_s(self) -> float:
        return self._passed_s + (self._clock.now_s() - self._began_s if self._users else 0.0)

    async def sleep(self, delay_s: float) -> None:
        until_s = self.now_s() + delay_s
        while (left_s := until_s - self.now_s()) > _NO_TIME_S:
            await self._goes.wait()
            await self._clock.sleep(left_s)

    def wall_time_s(self) -> float:
        return self._clock.wall_time_s()


def since_ms(clock: Clock, began_s: float) -> float:
    """What has passed since, to the microsecond."""
    return round((clock.now_s() - began_s) * 1000, 3)
