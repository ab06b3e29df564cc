"""One SQL database behind the event loop: a single thread owns the connection and runs one transaction after another.

The statements are portable (`?` for parameters, no dialect), so SQLite and PostgreSQL differ only in how they are
opened and locked. Two dozen plain statements on five tables need no SQL toolkit, and aiosqlite would be this thread for
SQLite only.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

Value = str | int | float | None
Row = Sequence[Value]
Migrations = Sequence[Sequence[str]]

_BUSY_TIMEOUT_S = 10.0
"""How long a transaction waits for those of other processes."""
_MIGRATION_LOCK = 7_231_943_001
"""The lock under which the schema is changed."""


class StoreError(Exception):
    """The call store cannot be used now: says what happened and what to do."""

    def __init__(self, message: str, *, maybe_written: bool = False) -> None:
        super().__init__(message)
        self.maybe_written = maybe_written
        """The transaction may have been committed, though the confirmation was lost."""


class Transaction(Protocol):
    """Statements of one transaction. `?` stands for a parameter."""

    def execute(self, sql: str, *values: Value) -> int:
        """The number of rows changed."""
        ...

    def rows(self, sql: str, *values: Value) -> list[Row]: ...


class Dialect(Protocol):
    """What differs from database to database. Used on the database's thread only."""

    name: str
    """For errors; without credentials."""
    faults: tuple[type[Exception], ...]
    """What the driver raises when the database fails."""

    def transaction(self, lock: int | None = None) -> contextlib.AbstractContextManager[Transaction]:
        """A transaction that is committed at the end, or rolled back by an exception; connects if need be.

        `lock`: no process runs another transaction with the same number at the same time. Raises one of `faults`;
        StoreError if the commit's outcome is not known.
        """
        ...

    def close(self) -> None: ...


class Database:
    """Runs transactions without blocking the event loop. Close it at the end."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="call-store")

    async def run(self, work: Callable[[Transaction], T], *, lock: int | None = None) -> T:
        """Run `work` in one transaction. Raises StoreError; then nothing was changed, unless it says `maybe_written`.

        `lock`: see Dialect. A cancelled caller does not break off a transaction that has begun.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, lock)

    def _run(self, work: Callable[[Transaction], T], lock: int | None) -> T:
        try:
            with self._dialect.transaction(lock) as transaction:
                return work(transaction)
        except self._dialect.faults as error:
            raise StoreError(f"{self._dialect.name}: {' '.join(str(error).split())}") from error

    async def migrate(self, migrations: Migrations) -> None:
        """Bring the schema up to date; several processes may do so at once. Raises StoreError."""
        await self.run(lambda transaction: _migrate(transaction, migrations, self._dialect.name), lock=_MIGRATION_LOCK)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._dialect.close)
        self._thread.shutdown(wait=False)


def open_database(url: str) -> Database:
    """A database by URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `postgresql://user:password@host/name`.

    Nothing is opened yet. Raises StoreError for another kind of URL, or if PostgreSQL's driver is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return Database(SqliteDialect(Path(parts.path[1:])))
    if parts.scheme in ("postgresql", "postgres"):
        try:
            from serve.store_postgres import PostgresDialect
        except ImportError as error:
            raise StoreError("PostgreSQL needs its driver; pip install psycopg[binary]") from error
        return Database(PostgresDialect(url))
    raise StoreError("call store: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; correct the URL")


def _migrate(transaction: Transaction, migrations: Migrations, name: str) -> None:
    transaction.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    found = transaction.rows("SELECT version FROM schema_version")
    version = int(found[0][0] or 0) if found else 0
    if version > len(migrations):
        raise StoreError(
            f"{name}: its schema has version {version}, this Trunkline knows {len(migrations)}; use a newer Trunkline"
        )
    for statements in migrations[version:]:
        for statement in statements:
            transaction.execute(statement)
    if found:
        transaction.execute("UPDATE schema_version SET version = ?", len(migrations))
    else:
        transaction.execute("INSERT INTO schema_version (version) VALUES (?)", len(migrations))


class SqliteDialect:
    """A file, shared by the processes of one machine."""

    faults: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path) -> None:
        self.name = f"call store {path}"
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def transaction(self, lock: int | None = None) -> Iterator[Transaction]:
        connection = self._connection = self._connection or self._connect()
        # IMMEDIATE takes the file's one lock at once: a transaction that reads first cannot fail for it later.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield _SqliteTransaction(connection)
            # Locked or full, a commit that fails leaves the transaction open: it is rolled back below.
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # It holds what callers said. SQLite gives the files beside it the same rights.
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _use_wal(connection)
            # What is recorded before a write is sent must outlast a power cut, too.
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait by itself while another process does the same."""
    deadline_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: Value) -> int:
        return self._connection.execute(sql, values).rowcount

    def rows(self, sql: str, *values: Value) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()
