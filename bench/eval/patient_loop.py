"""An event loop that jumps over waits once nothing real is going on: back-offs and time-outs cost no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")

_GRACE_S = 0.003
"""Answers from sockets of this process are there within this time; then nothing real is waited for."""


class _PatientSelector(selectors.BaseSelector):
    """Looks for input for a moment, then tells the loop that it slept."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self._inner.select(None)
        ready = self._inner.select(min(timeout, _GRACE_S) if timeout > 0 else 0)
        if not ready and timeout > 0:
            self.skipped_s += timeout
        return ready

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class PatientLoop(asyncio.SelectorEventLoop):
    """time() starts at 0 and moves only by waits that were jumped over. For work without threads."""

    def __init__(self) -> None:
        self._patient = _PatientSelector()
        super().__init__(self._patient)

    def time(self) -> float:
        return self._patient.skipped_s


def run_patiently(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end, without real waits."""
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(main)
