"""The call store on PostgreSQL, shared by the gateways of several machines. Needs psycopg 3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict

from serve.store_database import Row, StoreError, Transaction, Value

_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_MS = 10_000


class PostgresDialect:
    """One connection, opened when it is first needed and again after it broke."""

    faults: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            # Its text quotes the URL, password and all.
            raise StoreError("call store: expected postgresql://USER:PASSWORD@HOST/NAME; correct the URL") from error
        self.name = f"call store on PostgreSQL, {parts.get('host', 'this machine')}, {parts.get('dbname', '')}"
        self._url = url
        # What is given beside the URL would take the place of its own options.
        self._options = f"{parts.get('options') or ''} -c statement_timeout={_STATEMENT_TIMEOUT_MS}".strip()
        self._connection: psycopg.Connection[tuple[Value, ...]] | None = None

    @contextlib.contextmanager
    def transaction(self, lock: int | None = None) -> Iterator[Transaction]:
        connection = self._alive()
        try:
            if lock is not None:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
            yield _PostgresTransaction(connection)
        except BaseException:
            with contextlib.suppress(psycopg.Error):  # The connection is gone, and the transaction with it.
                connection.rollback()
            raise
        try:
            connection.commit()
        except psycopg.Error as error:
            # Refused, it is certainly undone; but if the connection broke, nobody told us.
            raise StoreError(
                f"{self.name}: a commit failed ({' '.join(str(error).split())})",
                maybe_written=connection.closed or connection.broken,
            ) from error

    def _alive(self) -> psycopg.Connection[tuple[Value, ...]]:
        """The connection, or a new one if the server has closed it meanwhile."""
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.execute("SELECT 1")
                return self._connection
            except psycopg.OperationalError:
                self.close()
        self._connection = psycopg.connect(
            self._url,
            connect_timeout=_CONNECT_TIMEOUT_S,
            options=self._options,
        )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _PostgresTransaction:
    def __init__(self, connection: psycopg.Connection[tuple[Value, ...]]) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: Value) -> int:
        return self._connection.execute(_placed(sql), values).rowcount

    def rows(self, sql: str, *values: Value) -> list[Row]:
        return list(self._connection.execute(_placed(sql), values).fetchall())


def _placed(sql: str) -> LiteralString:
    """With psycopg's placeholders. The statements are all written in this package; none holds a `?` or `%` itself."""
    return sql.replace("?", "%s")
