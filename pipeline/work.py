"""One call's tasks: they end with it, and what fails in one of them ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


class Work:
    """What a call is doing."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._all: set[asyncio.Task[object]] = set()
        self._replies: set[asyncio.Task[None]] = set()

    @property
    def goes_on(self) -> bool:
        """Whether something can be begun: the call lasts."""
        return self._group is not None

    @property
    def replying(self) -> bool:
        """Whether something is being said, or prepared to be."""
        return bool(self._replies)

    @asynccontextmanager
    async def lasting(self) -> AsyncGenerator[None, None]:
        """While the call lasts. What is not done by then is cancelled. Raises an ExceptionGroup of what failed."""
        try:
            async with asyncio.TaskGroup() as self._group:
                yield
                for task in self._all:
                    task.cancel()
        finally:
            self._group = None

    def spawn(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Begin something."""
        assert self._group is not None
        task = self._group.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        return task

    def spawn_reply(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin something that ends in words of the agent."""
        task = self.spawn(work)
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)
        return task

    async def replied(self) -> None:
        """Wait until nothing is being said or prepared to be."""
        while self._replies:
            await asyncio.wait(self._replies)
