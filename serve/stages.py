"""Requests of many callers in batches, each of which goes through two stages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

Item = TypeVar("Item")
Middle = TypeVar("Middle")
Result = TypeVar("Result")

_NEWEST_COUNTS = 0.3
"""Weight of the last batch in what the next one is expected to take."""


@dataclass(frozen=True, slots=True)
class Again(Generic[Item]):
    """In place of a result: this is to go through both stages, in its old place among those that wait."""

    item: Item


@dataclass(order=True, slots=True)
class _Job(Generic[Item, Result]):
    priority: int
    order: int
    item: Item = field(compare=False)
    answer: asyncio.Future[Result] = field(compare=False)


class TwoStageQueue(Generic[Item, Middle, Result]):
    """Each stage computes one batch at a time; with `at_once` 2, one is in the first while another is in the second.

    Lower priority numbers go first; within one number, the oldest. A request whose caller has gone is dropped. A
    failure reaches the batch it happened to, and no other.
    """

    def __init__(
        self,
        first: Callable[[Sequence[Item]], Awaitable[Middle]],
        second: Callable[[Middle, Sequence[bool]], Awaitable[Sequence[Result | Again[Item]]]],
        *,
        kind: Callable[[Item], Hashable],
        max_size: int,
        wait_s: float,
        at_once: Literal[1, 2],
    ) -> None:
        """`first` gets 1 to `max_size` items of one `kind`; a batch waits `wait_s` for company.

        `second` gets what came of them, and of each whether somebody still waits for it; it gives a result for each, of
        which the others are of no interest.
        """
        self._first = first
        self._second = second
        self._kind = kind
        self._max_size = max_size
        self._wait_s = wait_s
        self._at_once = at_once
        self._jobs: list[_Job[Item, Result]] = []
        self._order = itertools.count()
        self._worker: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._finishing_since_s = 0.0
        self._first_takes_s = self._second_takes_s = 0.0

    async def submit(self, item: Item, *, priority: int) -> Result:
        """The item's result. Raises what a stage raised for its batch."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._add(_Job(priority, next(self._order), item, answer))
        return await answer

    def _add(self, job: _Job[Item, Result]) -> None:
        self._jobs.append(job)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._jobs:
                if self._wait_s and len(self._jobs) < self._max_size:
                    await asyncio.sleep(self._wait_s)
                await self._until_it_pays()
                if batch := self._take():
                    await self._pass_on(batch)
        finally:
            self._worker = None

    async def _until_it_pays(self) -> None:
        """A batch that has begun takes no more company: it begins as late as it can without the second stage waiting.

        Both stages take about as long as they did of late.
        """
        if self._finishing is None or len(self._jobs) >= self._max_size:
            return
        over_s = self._finishing_since_s + self._second_takes_s
        left_s = over_s - self._first_takes_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.wait({self._finishing}, timeout=left_s)

    def _take(self) -> list[_Job[Item, Result]]:
        batch: list[_Job[Item, Result]] = []
        left: list[_Job[Item, Result]] = []
        for job in sorted(self._jobs):
            if job.answer.done():
                continue
            fits = not batch or (len(batch) < self._max_size and self._kind(job.item) == self._kind(batch[0].item))
            (batch if fits else left).append(job)
        self._jobs = left
        return batch

    async def _pass_on(self, batch: Sequence[_Job[Item, Result]]) -> None:
        """The first stage, and the beginning of the second once it is free."""
        clock = asyncio.get_running_loop()
        began_s = clock.time()
        try:
            middle = await self._first([job.item for job in batch])
        except Exception as error:
            _fail(batch, error)
            return
        self._first_takes_s = _expected(self._first_takes_s, clock.time() - began_s)
        if self._finishing is not None:
            await asyncio.wait({self._finishing})
        self._finishing_since_s = clock.time()
        self._finishing = asyncio.create_task(self._finish(batch, middle))
        if self._at_once == 1:
            await asyncio.wait({self._finishing})

    async def _finish(self, batch: Sequence[_Job[Item, Result]], middle: Middle) -> None:
        wanted = [not job.answer.done() for job in batch]
        try:
            if any(wanted):
                self._answer(batch, await self._second(middle, wanted))
                took_s = asyncio.get_running_loop().time() - self._finishing_since_s
                self._second_takes_s = _expected(self._second_takes_s, took_s)
        except Exception as error:
            _fail(batch, error)
        finally:
            self._finishing = None

    def _answer(self, batch: Sequence[_Job[Item, Result]], results: Sequence[Result | Again[Item]]) -> None:
        for job, result in zip(batch, results, strict=True):
            if job.answer.done():
                continue
            if isinstance(result, Again):
                self._add(_Job(job.priority, job.order, result.item, job.answer))
            else:
                job.answer.set_result(result)


def _fail(batch: Sequence[_Job[Item, Result]], error: Exception) -> None:
    for job in batch:
        if not job.answer.done():
            job.answer.set_exception(error)


def _expected(before_s: float, took_s: float) -> float:
    return before_s + _NEWEST_COUNTS * (took_s - before_s) if before_s else took_s
