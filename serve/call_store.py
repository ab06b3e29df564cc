"""What outlives a process: the states of calls under way and their places, the outbox of writes, and what came of
finished calls.

SQLite by default, in a file; PostgreSQL by URL, for gateways on several machines. See serve/store_database.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from pipeline.tools.calls import (
    ToolCall,
    ToolResult,
    arguments_from_json,
    arguments_to_json,
    result_from_json,
    result_to_json,
)
from pipeline.tools.outbox import AlreadyDone, Begun, InFlight, OutboxError, PendingWrite, check_same_tool
from serve.places import StoredPlaces
from serve.store_database import Database, Row, StoreError, Transaction, Value, open_database

__all__ = ["CallOutcome", "CallStore", "SavedState", "StoreError", "StoredOutbox"]

T = TypeVar("T")

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE call_states (
            call_sid TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_version TEXT NOT NULL, state TEXT NOT NULL,
            updated_s DOUBLE PRECISION NOT NULL)""",
        """CREATE TABLE outbox (
            agent TEXT NOT NULL, key TEXT NOT NULL, tool TEXT NOT NULL, arguments TEXT NOT NULL,
            begun_s DOUBLE PRECISION NOT NULL, lease_until_s DOUBLE PRECISION NOT NULL,
            status TEXT NOT NULL, result TEXT, PRIMARY KEY (agent, key))""",
        "CREATE INDEX outbox_by_status ON outbox (agent, status)",
        """CREATE TABLE outcomes (
            call_sid TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_version TEXT NOT NULL,
            started_s DOUBLE PRECISION NOT NULL, turns INTEGER NOT NULL, contained INTEGER NOT NULL,
            escalated TEXT NOT NULL, tools_ok INTEGER NOT NULL, tools_failed INTEGER NOT NULL,
            latency_p50_ms DOUBLE PRECISION, latency_p95_ms DOUBLE PRECISION)""",
        "CREATE INDEX outcomes_by_agent ON outcomes (agent, agent_version, started_s)",
    ),
    (
        """CREATE TABLE gateways (
            public_url TEXT NOT NULL, gateway TEXT NOT NULL, max_calls INTEGER NOT NULL, draining INTEGER NOT NULL,
            alive_until_s DOUBLE PRECISION NOT NULL, PRIMARY KEY (public_url, gateway))""",
        """CREATE TABLE places (
            public_url TEXT NOT NULL, call_sid TEXT NOT NULL, state TEXT NOT NULL, gateway TEXT NOT NULL,
            stream TEXT NOT NULL, answer TEXT NOT NULL, since_s DOUBLE PRECISION NOT NULL,
            until_s DOUBLE PRECISION NOT NULL, PRIMARY KEY (public_url, call_sid))""",
    ),
)
"""Each brings the schema one version further. What has been released is never changed, only added to."""

PENDING = "pending"
"""Status of a write without a result; else it is the result's own."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """Where a call stands, for another gateway to go on with."""

    call_sid: str
    agent: str
    agent_version: str
    state: str
    """JSON, see pipeline/state.py."""
    updated_s: float
    """Wall time, seconds since the epoch; so are all times here."""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of one call."""

    call_sid: str
    agent: str
    agent_version: str
    started_s: float
    turns: int
    contained: bool
    """It ended without a person."""
    escalated: str
    """Why it was handed over; empty if it was not."""
    tools_ok: int
    """Tool calls that ended 'ok' or 'rejected': their system answered."""
    tools_failed: int
    """Tool calls that ended 'failed' or 'unknown'."""
    latency_p50_ms: float | None
    """Voice to voice, over its turns; None without any."""
    latency_p95_ms: float | None


class CallStore:
    """The store, open. All methods raise StoreError, and none blocks the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the database and bring its schema up to date; for URLs see `open_database`. Raises StoreError."""
        database = open_database(url)
        try:
            await database.migrate(MIGRATIONS)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what was begun, then close the database."""
        await self._database.close()

    def outbox(self, agent: str) -> StoredOutbox:
        """The outbox of one agent's tools."""
        return StoredOutbox(self._database, agent)

    def places(self, public_url: str, gateway: str, max_calls: int) -> StoredPlaces:
        """The places of the gateways behind `public_url`, seen from one of them, which holds `max_calls`."""
        return StoredPlaces(self._database, public_url, gateway, max_calls)

    # -- calls under way -------------------------------------------------------------------------------------------

    async def save_state(self, saved: SavedState) -> None:
        """Save where a call stands; replaces what was saved for it, unless that is newer."""
        await self._database.run(
            lambda transaction: transaction.execute(
                """INSERT INTO call_states (call_sid, agent, agent_version, state, updated_s) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (call_sid) DO UPDATE SET agent = excluded.agent, agent_version = excluded.agent_version,
                state = excluded.state, updated_s = excluded.updated_s
                WHERE excluded.updated_s >= call_states.updated_s""",
                saved.call_sid,
                saved.agent,
                saved.agent_version,
                saved.state,
                saved.updated_s,
            )
        )

    async def load_state(self, call_sid: str) -> SavedState | None:
        """Where a call stood when it was last saved."""
        rows = await self._database.run(
            lambda transaction: transaction.rows(
                "SELECT call_sid, agent, agent_version, state, updated_s FROM call_states WHERE call_sid = ?", call_sid
            )
        )
        if not rows:
            return None
        sid, agent, version, state, updated_s = rows[0]
        return SavedState(_text(sid), _text(agent), _text(version), _text(state), _number(updated_s))

    async def delete(self, call_sid: str) -> None:
        """Forget a call's state. Its writes stay in the outbox, its outcome among the outcomes."""
        await self._database.run(
            lambda transaction: transaction.execute("DELETE FROM call_states WHERE call_sid = ?", call_sid)
        )

    # -- finished calls --------------------------------------------------------------------------------------------

    async def add_outcome(self, outcome: CallOutcome) -> None:
        """Add what came of a call; adding it again replaces it."""
        await self._database.run(
            lambda transaction: transaction.execute(
                """INSERT INTO outcomes (call_sid, agent, agent_version, started_s, turns, contained, escalated,
                tools_ok, tools_failed, latency_p50_ms, latency_p95_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (call_sid) DO UPDATE SET agent = excluded.agent, agent_version = excluded.agent_version,
                started_s = excluded.started_s, turns = excluded.turns, contained = excluded.contained,
                escalated = excluded.escalated, tools_ok = excluded.tools_ok, tools_failed = excluded.tools_failed,
                latency_p50_ms = excluded.latency_p50_ms, latency_p95_ms = excluded.latency_p95_ms""",
                outcome.call_sid,
                outcome.agent,
                outcome.agent_version,
                outcome.started_s,
                outcome.turns,
                int(outcome.contained),
                outcome.escalated,
                outcome.tools_ok,
                outcome.tools_failed,
                outcome.latency_p50_ms,
                outcome.latency_p95_ms,
            )
        )

    async def outcomes(self, *, agent: str | None = None, version: str | None = None) -> list[CallOutcome]:
        """What came of calls, of one agent or version or of all, oldest first."""
        rows = await self._database.run(
            lambda transaction: transaction.rows(
                """SELECT call_sid, agent, agent_version, started_s, turns, contained, escalated, tools_ok,
                tools_failed, latency_p50_ms, latency_p95_ms FROM outcomes
                WHERE agent = COALESCE(?, agent) AND agent_version = COALESCE(?, agent_version)
                ORDER BY started_s, call_sid""",
                agent,
                version,
            )
        )
        return [_outcome(row) for row in rows]

    async def prune(self, before_s: float) -> None:
        """Forget what is older: states not saved since, outcomes of calls that started before, and finished writes that
        were begun before. Pending writes stay."""

        def forget(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM call_states WHERE updated_s < ?", before_s)
            transaction.execute("DELETE FROM outcomes WHERE started_s < ?", before_s)
            transaction.execute("DELETE FROM outbox WHERE begun_s < ? AND status <> ?", before_s, PENDING)

        await self._database.run(forget)


class StoredOutbox:
    """The outbox of one agent, in the store. Implements pipeline.tools.outbox.Outbox."""

    def __init__(self, database: Database, agent: str) -> None:
        self._database = database
        self._agent = agent

    async def begin(self, call: ToolCall, *, now_s: float, until_s: float) -> Begun | AlreadyDone | InFlight:
        """See Outbox."""

        def begin(transaction: Transaction) -> Row | None:
            new = transaction.execute(
                """INSERT INTO outbox (agent, key, tool, arguments, begun_s, lease_until_s, status)
                VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent, key) DO NOTHING""",
                self._agent,
                call.key,
                call.tool,
                arguments_to_json(call.arguments),
                now_s,
                until_s,
                PENDING,
            )
            return None if new else self._row(transaction, call.key)

        row = await self._run(begin)
        if row is None:
            return Begun()
        write, result = _write(row)
        check_same_tool(write.call.tool, call)
        return InFlight(write.lease_until_s) if result is None else AlreadyDone(result)

    async def claim(self, key: str, *, over_by_s: float, until_s: float) -> PendingWrite | None:
        """See Outbox."""

        def claim(transaction: Transaction) -> Row | None:
            row = self._row(transaction, key)
            if row is None:
                return None
            # Another may have claimed it between the two statements.
            claimed = transaction.execute(
                """UPDATE outbox SET lease_until_s = ?
                WHERE agent = ? AND key = ? AND status = ? AND lease_until_s <= ? AND lease_until_s = ?""",
                until_s,
                self._agent,
                key,
                PENDING,
                over_by_s,
                _write(row)[0].lease_until_s,
            )
            return row if claimed else None

        row = await self._run(claim)
        return None if row is None else _write(row)[0]

    async def finish(self, key: str, result: ToolResult) -> ToolResult:
        """See Outbox."""

        def finish(transaction: Transaction) -> Row | None:
            changed = transaction.execute(
                """UPDATE outbox SET status = ?, result = ?, arguments = '{}'
                WHERE agent = ? AND key = ? AND status IN (?, 'unknown')""",
                result.status,
                result_to_json(result),
                self._agent,
                key,
                PENDING,
            )
            row = self._row(transaction, key)
            if row is None:
                raise OutboxError(f"no write {key!r} was begun; begin it before it is finished")
            return None if changed else row

        row = await self._run(finish)
        return result if row is None else _write(row)[1] or result

    async def pending(self) -> Sequence[PendingWrite]:
        """See Outbox."""
        rows = await self._run(
            lambda transaction: transaction.rows(
                """SELECT key, tool, arguments, begun_s, lease_until_s, status, result FROM outbox
                WHERE agent = ? AND status = ? ORDER BY begun_s, key""",
                self._agent,
                PENDING,
            )
        )
        return [_write(row)[0] for row in rows]

    def _row(self, transaction: Transaction, key: str) -> Row | None:
        rows = transaction.rows(
            """SELECT key, tool, arguments, begun_s, lease_until_s, status, result FROM outbox
            WHERE agent = ? AND key = ?""",
            self._agent,
            key,
        )
        return rows[0] if rows else None

    async def _run(self, work: Callable[[Transaction], T]) -> T:
        try:
            return await self._database.run(work)
        except StoreError as error:
            raise OutboxError(str(error), maybe_written=error.maybe_written) from error


def _write(row: Row) -> tuple[PendingWrite, ToolResult | None]:
    key, tool, arguments, begun_s, lease_until_s, _, result = row
    call = ToolCall(_text(tool), arguments_from_json(_text(arguments)), _text(key))
    write = PendingWrite(call, _number(begun_s), _number(lease_until_s))
    return write, None if result is None else result_from_json(_text(result))


def _outcome(row: Row) -> CallOutcome:
    sid, agent, version, started_s, turns, contained, escalated, ok, failed, p50_ms, p95_ms = row
    return CallOutcome(
        call_sid=_text(sid),
        agent=_text(agent),
        agent_version=_text(version),
        started_s=_number(started_s),
        turns=int(_number(turns)),
        contained=bool(contained),
        escalated=_text(escalated),
        tools_ok=int(_number(ok)),
        tools_failed=int(_number(failed)),
        latency_p50_ms=None if p50_ms is None else _number(p50_ms),
        latency_p95_ms=None if p95_ms is None else _number(p95_ms),
    )


def _text(value: Value) -> str:
    assert isinstance(value, str)
    return value


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return value
