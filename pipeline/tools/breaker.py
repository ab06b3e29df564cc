"""Leaving a system alone that fails.

Written here, not taken from a library: purgatory and aiobreaker read the machine's clock themselves, so that nothing
about them can be tested under virtual time, and neither lets exactly one trial through when it is time to try again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.clock import Clock
from pipeline.tools.definition import BreakerSettings


class BreakerOpen(Exception):
    """The system has failed too often lately; nothing was sent."""


class Breaker:
    """Closed, it lets all through; after too many failures in a row it opens; after a while one trial decides."""

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._opened_at_s: float | None = None
        self._trial = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one attempt: an exception is a failure, leaving normally a success, cancellation neither.

        Raises BreakerOpen.
        """
        trial = self._enter()
        try:
            yield
        except Exception:
            self._failed(trial=trial)
            raise
        else:
            self._failures = 0
            self._opened_at_s = None
        finally:
            if trial:
                self._trial = False

    def _enter(self) -> bool:
        if self._opened_at_s is None:
            return False
        left_s = self._opened_at_s + self._settings.open_s - self._clock.now_s()
        if left_s > 0 or self._trial:
            raise BreakerOpen(
                f"{self._failures} failures in a row; nothing is sent for another {max(0.0, left_s):.0f} s"
            )
        self._trial = True
        return True

    def _failed(self, *, trial: bool) -> None:
        self._failures += 1
        # Attempts that began before it opened do not keep it open for longer.
        if trial or (self._opened_at_s is None and self._failures >= self._settings.failures):
            self._opened_at_s = self._clock.now_s()
