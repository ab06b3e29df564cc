"""What all back offices share: the database, idempotency keys, faults on demand, and being served.

A back office is single-threaded: its handlers are coroutines that use SQLite at once, so that one in the process of a
test needs no thread, and runs under virtual time too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeAlias

import uvicorn
from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.results import Json

Answer: TypeAlias = tuple[int, Json]
"""An HTTP status and a JSON body."""
FAULTS_PATH = "/faults"
STATE_PATH = "/state"
"""What tests look at; no fault keeps them from it."""
LONGEST_KEY = 200

Phone = Annotated[str, Field(pattern=r"^\+[1-9]\d{6,14}$")]
"""In E.164."""
Start = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$")]
"""To the minute, on the office's clock."""
Name = Annotated[str, Field(min_length=1, max_length=100)]
Key = Annotated[str | None, Header(alias="Idempotency-Key")]


class Body(BaseModel):
    """Of a request; keys that are not expected are refused."""

    model_config = ConfigDict(extra="forbid")


_KEYS = """
CREATE TABLE IF NOT EXISTS idempotency (
  key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, answer TEXT NOT NULL
) STRICT
"""


class Refused(Exception):
    """The office says no: an HTTP status, a code for programs and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @property
    def answer(self) -> Answer:
        return self.status, {"code": self.code, "message": self.message}


class Database:
    """SQLite, in memory or in a file."""

    def __init__(self, tables: str, file: Path | None = None) -> None:
        """`tables`: CREATE TABLE IF NOT EXISTS statements."""
        self.connection = sqlite3.connect(":memory:" if file is None else file, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.executescript(tables + _KEYS)

    def rows(self, query: str, *values: str | int | None) -> list[sqlite3.Row]:
        return self.connection.execute(query, values).fetchall()

    def row(self, query: str, *values: str | int | None) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.connection.execute(query, values).fetchone()
        return found

    def change(self, query: str, *values: str | int | None) -> int:
        """How many rows were changed. Raises sqlite3.IntegrityError."""
        return self.connection.execute(query, values).rowcount

    def is_empty(self) -> bool:
        """Whether no table has a row."""
        return all(self.row(f"SELECT 1 FROM {name}") is None for name in self._tables())  # noqa: S608 (our own names)

    def clear(self) -> None:
        """Every table is empty again."""
        deletes = "".join(f"DELETE FROM {name};" for name in self._tables())  # noqa: S608 (our own names)
        self.connection.executescript(f"PRAGMA foreign_keys = OFF; BEGIN; {deletes} COMMIT; PRAGMA foreign_keys = ON;")

    def _tables(self) -> list[str]:
        found = self.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return [row["name"] for row in found]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything or nothing; one that is begun inside another is part of it."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def once(self, key: str | None, request: str, work: Callable[[], Answer]) -> Answer:
        """Do the work and keep its answer under the key: the same key gets the same answer, and nothing more is done.

        Without a key it is done each time. A refusal is kept too. Raises Refused for a key that was used for another
        request.
        """
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            raise Refused(422, "bad_key", f"Idempotency-Key: expected at most {LONGEST_KEY} characters")
        with self.transaction():
            kept = None if key is None else self.row("SELECT * FROM idempotency WHERE key = ?", key)
            if kept is not None:
                if kept["request"] != request:
                    raise Refused(422, "key_reused", "Idempotency-Key: was used for another request")
                return kept["status"], json.loads(kept["answer"])
            try:
                # A part of its own: what a refused request had changed is undone, the refusal is kept.
                self.connection.execute("SAVEPOINT work")
                status, answer = work()
                self.connection.execute("RELEASE work")
            except Refused as refused:
                self.connection.execute("ROLLBACK TO work")
                self.connection.execute("RELEASE work")
                status, answer = refused.answer
            if key is not None:
                self.change("INSERT INTO idempotency VALUES (?, ?, ?, ?)", key, request, status, json.dumps(answer))
            return status, answer


class Fault(BaseModel):
    """Something that goes wrong with the next requests."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["slow", "error", "half", "drop"]
    """'slow': the answer takes `delay_s` longer; 'error': 500, nothing is done; 'half': it is done, and half the answer
    sent; 'drop': it is done, and the connection breaks before the answer's first byte of content."""
    method: str = ""
    """Only requests with this method."""
    path: str = ""
    """Only requests whose path begins so."""
    after: int = Field(0, ge=0)
    """So many of these requests are spared first."""
    times: int | None = Field(None, ge=1)
    """How many requests it befalls; none given: until it is taken away."""
    delay_s: float = Field(0.0, ge=0, le=600)


class Faults:
    """The faults of one office, and what they do to its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._faults: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == FAULTS_PATH:
            await (await self._set(Request(scope, receive)))(scope, receive, send)
            return
        fault = None if scope["path"] == STATE_PATH else self._next(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "slow":
            await asyncio.sleep(fault.delay_s)
            await self._app(scope, receive, send)
        elif fault.kind == "error":
            await JSONResponse({"code": "broken", "message": "Something broke."}, 500)(scope, receive, send)
        else:
            await self._cut_short(fault, scope, receive, send)

    async def _set(self, request: Request) -> Response:
        if request.method not in ("PUT", "DELETE"):
            return JSONResponse([fault.model_dump() for fault in self._faults])
        self._faults.clear()
        if request.method == "PUT":
            try:
                self._faults += [Fault.model_validate(one) for one in await request.json()]
            except ValueError as error:
                return JSONResponse({"code": "invalid", "message": str(error)}, 422)
        return Response(status_code=204)

    def _next(self, method: str, path: str) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if fault.method not in ("", method) or not path.startswith(fault.path):
                continue
            if fault.after:
                self._faults[index] = fault.model_copy(update={"after": fault.after - 1})
                return None
            if fault.times == 1:
                del self._faults[index]
            elif fault.times is not None:
                self._faults[index] = fault.model_copy(update={"times": fault.times - 1})
            return fault
        return None

    async def _cut_short(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in answer[1:])
        await send(answer[0])
        # An answer that stays unfinished makes the server close the connection.
        half = body[: len(body) // 2] if fault.kind == "half" else b""
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Business(ABC):
    """What every office knows and does; each fills its own tables."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        """A database that holds nothing yet is filled as on the day that `now` gives."""
        self._database = database
        self._now = now
        if database.is_empty():
            self.reset()

    def reset(self) -> None:
        """As it was when it was started: a demo or test finds what it expects."""
        self._database.clear()
        with self._database.transaction():
            self._fill(self._now().date())

    @abstractmethod
    def _fill(self, today: date) -> None:
        """Put in what an office has on that day."""


def office(title: str) -> FastAPI:
    """An app whose refusals are JSON with `code` and `message`, and which takes faults."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    app.add_middleware(Faults)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        status, answer = error.answer
        return JSONResponse(answer, status)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def fingerprint(request: Request, body: BaseModel | None) -> str:
    """What makes two requests the same."""
    said = body.model_dump_json() if body is not None else ""
    return hashlib.sha256(f"{request.method} {request.url.path} {said}".encode()).hexdigest()


def respond(answer: Answer) -> Response:
    status, body = answer
    return JSONResponse(body, status)


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve on the loopback, in the running event loop; gives the base URL. Port 0: any that is free."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(app, http="h11", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = _Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


class _Quiet(uvicorn.Server):
    """Leaves the process's signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Opener(Protocol):
    """`open_office` of a back office's module: its database in `file`, or in memory; `now` is local time there."""

    def __call__(self, file: Path | None, now: Callable[[], datetime]) -> ASGIApp: ...
