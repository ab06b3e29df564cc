"""Who may call: a bounded number of calls, each webhook answered once however often the carrier repeats it.

The places are shared with the other gateways (serve/places.py). While the call store does not answer, this gateway goes
by what it knows itself, and nobody is refused for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar
from uuid import uuid4

from pipeline.clock import Clock
from serve.call_store import StoreError
from serve.metrics import Metrics
from serve.places import Place, PlaceState, StoredPlaces
from telephony.session import TurnedAway
from telephony.tokens import TokenError

T = TypeVar("T")

REMEMBERED_CALLS = 4096
"""How many calls are remembered here, for repeated webhooks and for `action` while the call store does not answer."""
REMEMBERED_S = 600.0
"""For so long the call store knows of a call that is over, and of what a gateway held that is gone."""
STORE_TIMEOUT_S = 0.5
"""A caller waits this long for the call store, once; the next ones not at all until it answers again."""
ANNOUNCED_EVERY_S = 2.0
LEASE_S = 6.0
"""A gateway that has not announced itself for so long is gone: its places are none, and its calls take none."""
RETURN_S = 5.0
"""A call whose stream broke keeps its place this long. Without the call store, a call that was told to connect does:
its stream has come to another gateway if it has not come here by then."""
SETTLE_S = 0.5
"""The carrier may ask what now before the gateway that held the stream has said how it ended: waited for this long."""
_SETTLE_POLL_S = 0.05

Ending = Literal["turned_away", "lost", "over"]
"""How a call's last stream ended. 'turned_away': no gateway took it."""

log = logging.getLogger(__name__)


class _Unshared(Exception):
    """The call store does not answer."""


class Admissions:
    """The calls of one gateway replica. Used on the event loop only."""

    def __init__(
        self, places: StoredPlaces, clock: Clock, metrics: Metrics, *, max_calls: int, expected_for_s: float
    ) -> None:
        """A call that was told to connect holds its place for `expected_for_s`. Nothing is shared before the first
        `announce`."""
        self._places = places
        self._clock = clock
        self._metrics = metrics
        self._max_calls = max_calls
        self._expected_for_s = expected_for_s
        self._calls: OrderedDict[str, Place] = OrderedDict()
        """What this gateway knows, by call sid."""
        self._held: dict[str, Place] = {}
        """By stream."""
        self._unsaid: dict[str, Place] = {}
        """How streams ended of which the call store has not been told, by stream."""
        self._shared = False
        self._draining = False

    @property
    def live(self) -> int:
        """Calls that are talking."""
        return len(self._held)

    @property
    def draining(self) -> bool:
        return self._draining

    async def admit(self, call_sid: str, answer: str) -> str | None:
        """What a new call is to be told: `answer`, or what it was told before; None if there is no place for it."""
        place = self._promised(call_sid, answer)
        try:
            told = await self._ask(partial(self._places.promise, place))
        except _Unshared:
            told = self._admit_alone(place)
        if told == answer:
            self._remember(place)
        return told

    async def admit_again(self, call_sid: str, answer: str) -> None:
        """A call that is under way, or was turned away, was told to connect again: it keeps its place."""
        await self._put(self._promised(call_sid, answer))

    async def give_up(self, call_sid: str) -> None:
        """The call will not be connected again."""
        now_s = self._clock.wall_time_s()
        await self._put(Place(call_sid, "over", now_s, now_s))

    async def begin(self, call_sid: str) -> str:
        """A stream of the call has started and takes its place here: what `end` is to be told of it.

        Raises TurnedAway if this gateway is full, TokenError if another stream has used up the call's token.
        """
        before = self._calls.get(call_sid)
        if sum(place.call_sid != call_sid for place in self._held.values()) >= self._max_calls:
            if before is None:
                self._remember(self._promised(call_sid, ""))
            raise TurnedAway(f"this gateway holds {self._max_calls} calls and no more")
        now_s = self._clock.wall_time_s()
        place = Place(call_sid, "held", now_s, now_s, before.answer if before is not None else "", uuid4().hex)
        # Before anything is awaited: the same place is given to no other call meanwhile.
        self._held[place.stream] = place
        try:
            fresh = await self._ask(partial(self._places.hold, place))
        except _Unshared:
            fresh = before is None or before.state != "held"
        except BaseException:
            self._unsaid[place.stream] = replace(place, state="lost")
            del self._held[place.stream]
            raise
        if not fresh:
            del self._held[place.stream]
            raise TokenError("reused", "stream token was used before, at this gateway or another")
        self._remember(place)
        return place.stream

    async def end(self, stream: str, *, lost: bool) -> None:
        """The stream has ended; `lost` if nobody meant it to."""
        now_s = self._clock.wall_time_s()
        state: PlaceState = "lost" if lost else "over"
        held = self._held.pop(stream)
        place = Place(held.call_sid, state, now_s, now_s + (RETURN_S if lost else 0.0), stream=stream)
        if (known := self._calls.get(held.call_sid)) is not None and known.stream == stream:
            self._remember(place)
        self._unsaid[stream] = place
        try:
            await self._ask(partial(self._places.end, place))
        except _Unshared:
            return
        self._unsaid.pop(stream, None)

    async def ending(self, call_sid: str) -> Ending | None:
        """How the stream ended of which the carrier says that it has; None of a call that is not known."""
        until_s = self._clock.now_s() + SETTLE_S
        while (place := await self._latest(call_sid)) is not None:
            if place.state == "promised":
                return "turned_away"
            if place.state != "held":
                return place.state
            if self._clock.now_s() >= until_s:
                # It broke, and the gateway that holds it has not noticed, or is gone.
                return "lost"
            await self._clock.sleep(_SETTLE_POLL_S)
        return None

    # -- the other gateways ----------------------------------------------------------------------------------------

    async def announce(self, *, lease_s: float = LEASE_S) -> None:
        """Tell the other gateways that this one is alive, and what they may not know of its calls."""
        now_s = self._clock.wall_time_s()
        unsaid = dict(self._unsaid)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self._places.announce(
                    list(self._held.values()),
                    list(unsaid.values()),
                    alive_until_s=now_s + lease_s,
                    draining=self._draining,
                    forget_before_s=now_s - max(REMEMBERED_S, self._expected_for_s),
                )
        except (StoreError, TimeoutError) as error:
            self._lose_store(error)
            return
        for stream in unsaid:
            self._unsaid.pop(stream, None)
        if not self._shared:
            log.info("places are shared with the gateways of the same call store and public URL")
        self._shared = True

    async def keep_announced(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._clock.sleep(ANNOUNCED_EVERY_S)
            await self.announce()

    async def drain(self) -> None:
        """No call is promised a place here any more; those under way go on."""
        self._draining = True
        await self.announce()

    async def leave(self) -> None:
        """This gateway is about to end, and so are its calls, if it has any."""
        self._draining = True
        await self.announce(lease_s=0.0)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Raises _Unshared."""
        if self._shared:
            try:
                async with asyncio.timeout(STORE_TIMEOUT_S):
                    return await question()
            except (StoreError, TimeoutError) as error:
                self._lose_store(error)
        self._metrics.unshared_total.inc()
        raise _Unshared

    def _lose_store(self, error: Exception) -> None:
        if self._shared:
            why = str(error) or f"no answer within {STORE_TIMEOUT_S:g} s"
            log.error("places: this gateway goes by its own calls until the call store is back: %s", why)
        self._shared = False

    async def _latest(self, call_sid: str) -> Place | None:
        """What is known of a call here or in the call store, whichever is newer."""
        here = self._calls.get(call_sid)
        try:
            there = await self._ask(partial(self._places.find, call_sid))
        except _Unshared:
            return here
        return max((place for place in (there, here) if place is not None), key=lambda one: one.since_s, default=None)

    async def _put(self, place: Place) -> None:
        self._remember(place)
        with suppress(_Unshared):
            await self._ask(partial(self._places.put, place))

    # -- this gateway alone ----------------------------------------------------------------------------------------

    def _admit_alone(self, wanted: Place) -> str | None:
        now_s = wanted.since_s
        known = self._calls.get(wanted.call_sid)
        if known is not None and (known.state == "held" or (known.state == "promised" and now_s < known.until_s)):
            return known.answer
        expected = sum(
            place.state in ("promised", "lost") and now_s < min(place.until_s, place.since_s + RETURN_S)
            for place in self._calls.values()
            if place.call_sid != wanted.call_sid
        )
        room = 0 if self._draining else self._max_calls - len(self._held) - expected
        return wanted.answer if room > 0 else None

    def _promised(self, call_sid: str, answer: str) -> Place:
        now_s = self._clock.wall_time_s()
        return Place(call_sid, "promised", now_s, now_s + self._expected_for_s, answer)

    def _remember(self, place: Place) -> None:
        self._calls.pop(place.call_sid, None)
        self._calls[place.call_sid] = place
        if len(self._calls) > REMEMBERED_CALLS:
            finished = next((sid for sid, known in self._calls.items() if known.state in ("lost", "over")), None)
            self._calls.pop(finished or next(iter(self._calls)))
