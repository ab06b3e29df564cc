"""Databases for a call store: SQLite files, and PostgreSQL where it is installed or $TRUNKLINE_TEST_POSTGRES is set."""

from __future__ import annotations

import atexit
import functools
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench.postgres import postgres_server

POSTGRES = "TRUNKLINE_TEST_POSTGRES"
"""postgresql://... of a database in which every test makes a schema of its own."""


@functools.cache
def shared_server() -> str | None:
    """A PostgreSQL of our own for this run, if it is installed. It is stopped when the run ends."""
    up = ExitStack()
    atexit.register(up.close)
    return up.enter_context(postgres_server())


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'calls.db'}"
        return
    server = os.environ.get(POSTGRES) or shared_server()
    if not server:
        pytest.skip(f"no PostgreSQL: install it, or set {POSTGRES} to a postgresql:// URL")
    import psycopg

    schema = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
