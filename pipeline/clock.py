"""Time, injected: the pipeline never asks the machine."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


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


def since_ms(clock: Clock, began_s: float) -> float:
    """What has passed since, to the microsecond."""
    return round((clock.now_s() - began_s) * 1000, 3)
