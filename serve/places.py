"""The places of a stack's gateways, in the call store: which gateways are there, which calls are promised a place, and
which gateway holds which call.

Gateways that answer one public URL share their places, for the carrier's streams may reach any of them. One transaction
decides, and no two at once: the last place is given once, whichever gateways are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, cast

from serve.store_database import Database, Transaction

T = TypeVar("T")

PlaceState = Literal["promised", "held", "lost", "over"]
"""'promised': the call was told to connect its stream; 'held': it talks; 'lost': its stream broke, and the carrier will
ask what now; 'over': it ended on purpose, or was given up."""

_LOCK = 7_231_943_002
"""The lock under which places are given."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one call stands. All times are wall time, seconds since the epoch."""

    call_sid: str
    state: PlaceState
    since_s: float
    until_s: float
    """A promised or lost one takes a place until then."""
    answer: str = ""
    """The TwiML that the call was given last."""
    stream: str = ""
    """Names the hold of one stream; empty before there was any."""


class StoredPlaces:
    """The places, seen from one gateway. All methods raise StoreError, and none blocks the event loop."""

    def __init__(self, database: Database, public_url: str, gateway: str, max_calls: int) -> None:
        """`gateway`: a name that no other process has."""
        self._database = database
        self._url = public_url
        self._gateway = gateway
        self._max_calls = max_calls

    async def announce(
        self,
        held: Sequence[Place],
        ended: Sequence[Place],
        *,
        alive_until_s: float,
        draining: bool,
        forget_before_s: float,
    ) -> None:
        """Say that this gateway is alive, which calls it holds, and which it has held and not been able to say so of.

        Forgets what is over, and gateways that are gone, since before `forget_before_s`.
        """

        def announce(transaction: Transaction) -> None:
            transaction.execute(
                """INSERT INTO gateways (public_url, gateway, max_calls, draining, alive_until_s) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (public_url, gateway) DO UPDATE SET draining = excluded.draining,
                alive_until_s = excluded.alive_until_s""",
                self._url,
                self._gateway,
                self._max_calls,
                int(draining),
                alive_until_s,
            )
            known = transaction.rows(
                "SELECT stream FROM places WHERE public_url = ? AND gateway = ? AND state = 'held'",
                self._url,
                self._gateway,
            )
            streams = {row[0] for row in known}
            for place in held:
                if place.stream not in streams:
                    self._put(transaction, place, unless_newer=True)
            for place in ended:
                self._end(transaction, place)
            transaction.execute("DELETE FROM gateways WHERE alive_until_s < ?", forget_before_s)
            transaction.execute(
                """DELETE FROM places WHERE (state <> 'held' AND until_s < ?)
                OR (state = 'held' AND gateway NOT IN (SELECT gateway FROM gateways))""",
                forget_before_s,
            )

        await self._run(announce)

    async def promise(self, place: Place) -> str | None:
        """Promise a call its place: what it is to be told, or None if there is none. Asked again, the same."""

        def promise(transaction: Transaction) -> str | None:
            before = self._find(transaction, place.call_sid)
            if before is not None and self._takes_place(transaction, before, place.since_s):
                return before.answer
            if self._room(transaction, place.since_s) <= 0:
                return None
            self._put(transaction, place)
            return place.answer

        return await self._run(promise)

    async def put(self, place: Place) -> None:
        """Say where a call stands, whatever was known of it."""
        await self._run(lambda transaction: self._put(transaction, place))

    async def hold(self, place: Place) -> bool:
        """This gateway takes the call, unless another stream has used up what it was promised."""

        def hold(transaction: Transaction) -> bool:
            before = self._find(transaction, place.call_sid)
            # Of a call that was promised its place while the store did not answer, nothing is known.
            if before is not None and before.state != "promised":
                return False
            self._put(transaction, replace(place, answer=before.answer if before is not None else ""))
            return True

        return await self._run(hold)

    async def end(self, place: Place) -> None:
        """The stream that held the place has ended; `place` says how."""
        await self._run(lambda transaction: self._end(transaction, place))

    async def find(self, call_sid: str) -> Place | None:
        """Where a call stands."""
        return await self._database.run(lambda transaction: self._find(transaction, call_sid))

    async def _run(self, work: Callable[[Transaction], T]) -> T:
        return await self._database.run(work, lock=_LOCK)

    def _find(self, transaction: Transaction, call_sid: str) -> Place | None:
        rows = transaction.rows(
            """SELECT state, since_s, until_s, answer, stream FROM places WHERE public_url = ? AND call_sid = ?""",
            self._url,
            call_sid,
        )
        if not rows:
            return None
        state, since_s, until_s, answer, stream = rows[0]
        assert isinstance(since_s, float)
        assert isinstance(until_s, float)
        return Place(call_sid, cast(PlaceState, state), since_s, until_s, str(answer), str(stream))

    def _takes_place(self, transaction: Transaction, place: Place, now_s: float) -> bool:
        if place.state != "held":
            return place.state == "promised" and now_s < place.until_s
        holder_alive = """SELECT 1 FROM places JOIN gateways
            ON gateways.public_url = places.public_url AND gateways.gateway = places.gateway
            WHERE places.public_url = ? AND call_sid = ? AND alive_until_s > ?"""
        return bool(transaction.rows(holder_alive, self._url, place.call_sid, now_s))

    def _room(self, transaction: Transaction, now_s: float) -> int:
        """The places of the gateways that take calls, less those taken: calls of other gateways take none of theirs."""
        # One that asks is alive, however late its announcement is.
        takes_calls = "public_url = ? AND draining = 0 AND (alive_until_s > ? OR gateway = ?)"
        offered = transaction.rows(
            f"SELECT COALESCE(SUM(max_calls), 0) FROM gateways WHERE {takes_calls}",  # noqa: S608  # a constant
            self._url,
            now_s,
            self._gateway,
        )
        taken = transaction.rows(
            f"""SELECT COUNT(*) FROM places WHERE public_url = ?
            AND ((state IN ('promised', 'lost') AND until_s > ?)
            OR (state = 'held' AND gateway IN (SELECT gateway FROM gateways WHERE {takes_calls})))""",  # noqa: S608
            self._url,
            now_s,
            self._url,
            now_s,
            self._gateway,
        )
        return int(offered[0][0] or 0) - int(taken[0][0] or 0)

    def _put(self, transaction: Transaction, place: Place, *, unless_newer: bool = False) -> None:
        only = "WHERE places.since_s < excluded.since_s" if unless_newer else ""
        transaction.execute(
            f"""INSERT INTO places (public_url, call_sid, state, gateway, stream, answer, since_s, until_s)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (public_url, call_sid) DO UPDATE SET state = excluded.state, gateway = excluded.gateway,
            stream = excluded.stream, answer = excluded.answer, since_s = excluded.since_s, until_s = excluded.until_s
            {only}""",  # noqa: S608  # a constant
            self._url,
            place.call_sid,
            place.state,
            self._gateway,
            place.stream,
            place.answer,
            place.since_s,
            place.until_s,
        )

    def _end(self, transaction: Transaction, place: Place) -> None:
        # Another gateway may have gone on with the call meanwhile: its stream is another one.
        transaction.execute(
            """UPDATE places SET state = ?, answer = '', since_s = ?, until_s = ?
            WHERE public_url = ? AND call_sid = ? AND stream = ? AND state = 'held'""",
            place.state,
            place.since_s,
            place.until_s,
            self._url,
            place.call_sid,
            place.stream,
        )
