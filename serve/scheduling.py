"""Who runs next on a replica: finals before partials, first audio before later audio."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class PrioritySlot:
    """A lock that goes to the waiter of the lowest priority number, oldest first."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @asynccontextmanager
    async def hold(self, priority: int) -> AsyncIterator[None]:
        """Wait for the slot and keep it for the block."""
        if self._held:
            turn = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (priority, next(self._order), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._hand_on()
                raise
        self._held = True
        try:
            yield
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._held = False


@dataclass(order=True, slots=True)
class _Job(Generic[Item, Result]):
    priority: int
    order: int
    item: Item = field(compare=False)
    answer: asyncio.Future[Result] = field(compare=False)


class BatchQueue(Generic[Item, Result]):
    """Requests of many callers answered by one function over a batch, one batch at a time, in a thread.

    Lower priority numbers go first; within one number, the oldest. A request whose caller has gone is dropped.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Result]], *, max_size: int, wait_s: float) -> None:
        """`run` gets 1 to `max_size` items and gives as many results; a batch waits `wait_s` for company."""
        self._run = run
        self._max_size = max_size
        self._wait_s = wait_s
        self._jobs: list[_Job[Item, Result]] = []
        self._order = itertools.count()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item, *, priority: int) -> Result:
        """The item's result. Raises what `run` raised for its batch."""
        job: _Job[Item, Result] = _Job(priority, next(self._order), item, asyncio.get_running_loop().create_future())
        heapq.heappush(self._jobs, job)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await job.answer

    async def _work(self) -> None:
        try:
            while self._jobs:
                if self._wait_s and len(self._jobs) < self._max_size:
                    await asyncio.sleep(self._wait_s)
                await self._run_batch()
        finally:
            self._worker = None

    async def _run_batch(self) -> None:
        batch: list[_Job[Item, Result]] = []
        while self._jobs and len(batch) < self._max_size:
            job = heapq.heappop(self._jobs)
            if not job.answer.done():
                batch.append(job)
        if not batch:
            return
        try:
            results = await asyncio.to_thread(self._run, [job.item for job in batch])
        except Exception as error:
            for job in batch:
                if not job.answer.done():
                    job.answer.set_exception(error)
            return
        for job, result in zip(batch, results, strict=True):
            if not job.answer.done():
                job.answer.set_result(result)
