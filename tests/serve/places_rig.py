"""Gateways' admissions over one store, under virtual time: no thread, no file, and a store that fails when told to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from serve.admission import Admissions
from serve.call_store import MIGRATIONS, CallStore, StoreError
from serve.metrics import Metrics
from serve.store_database import Database, Row, Transaction, Value
from tests.pipeline.tools.fakes import VirtualClock

T = TypeVar("T")

URL = "https://calls.example.com"
EXPECTED_FOR_S = 60.0


class _Statements:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: Value) -> int:
        return self._connection.execute(sql, values).rowcount

    def rows(self, sql: str, *values: Value) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()


class MemoryDatabase(Database):
    """SQLite in memory, on the event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.fault: str | None = None
        """What each transaction fails for; "silent": it never ends."""
        self.asked = 0

    async def run(self, work: Callable[[Transaction], T], *, lock: int | None = None) -> T:
        self.asked += 1
        if self.fault == "silent":
            await asyncio.Event().wait()
        if self.fault is not None:
            raise StoreError(self.fault)
        await asyncio.sleep(0)
        return work(_Statements(self._connection))


@contextmanager
def memory_database() -> Iterator[MemoryDatabase]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statements in MIGRATIONS:
            for statement in statements:
                connection.execute(statement)
        yield MemoryDatabase(connection)


class Gateway:
    """One gateway's admissions, announced for as long as it lives."""

    def __init__(
        self, database: Database, name: str, *, max_calls: int = 2, url: str = URL, skew_s: float = 0.0
    ) -> None:
        self.metrics = Metrics()
        self.admissions = Admissions(
            CallStore(database).places(url, name, max_calls),
            VirtualClock(skew_s),
            self.metrics,
            max_calls=max_calls,
            expected_for_s=EXPECTED_FOR_S,
        )
        self._announcing: asyncio.Task[None] | None = None

    async def up(self) -> Gateway:
        await self.admissions.announce()
        self._announcing = asyncio.create_task(self.admissions.keep_announced())
        return self

    def kill(self) -> None:
        """It does nothing any more, and says so to nobody."""
        assert self._announcing is not None
        self._announcing.cancel()

    async def called(self, call_sid: str) -> bool:
        """Whether the call was told to connect."""
        return await self.admissions.admit(call_sid, f"connect {call_sid}") is not None

    async def unshared(self) -> float:
        """Decisions taken alone."""
        return self.metrics.unshared_total._value.get()
