"""The places in the call store, on SQLite and PostgreSQL: asked at once from everywhere, each is given once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.call_store import MIGRATIONS, CallStore
from serve.places import Place, StoredPlaces
from serve.store_database import open_database
from tests.serve.store_rig import database

URL = "https://calls.example.com"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as found:
        yield found


def promised(call_sid: str, *, now_s: float = 100.0) -> Place:
    return Place(call_sid, "promised", now_s, now_s + 60, f"connect {call_sid}")


async def announced(store: CallStore, name: str, *, until_s: float = 106.0, draining: bool = False) -> StoredPlaces:
    places = store.places(URL, name, 2)
    await places.announce([], [], alive_until_s=until_s, draining=draining, forget_before_s=0)
    return places


async def test_many_webhooks_at_once_get_no_more_than_there_is(url: str) -> None:
    async with await CallStore.open(url) as one, await CallStore.open(url) as other:
        gateways = [await announced(one, "a"), await announced(other, "b")]
        told = await asyncio.gather(*(gateways[number % 2].promise(promised(f"CA{number}")) for number in range(40)))
        assert sum(answer is not None for answer in told) == 4


async def test_repeated_at_both_gateways_at_once_a_webhook_holds_one_place(url: str) -> None:
    async with await CallStore.open(url) as one, await CallStore.open(url) as other:
        gateways = [await announced(one, "a"), await announced(other, "b")]
        told = await asyncio.gather(*(gateways[number % 2].promise(promised("CA1")) for number in range(20)))
        assert set(told) == {"connect CA1"}
        more = [await gateways[0].promise(promised(f"CB{number}")) for number in range(4)]
        assert [answer is not None for answer in more] == [True, True, True, False]


async def test_one_of_two_streams_at_once_gets_the_call(url: str) -> None:
    async with await CallStore.open(url) as one, await CallStore.open(url) as other:
        gateways = [await announced(one, "a"), await announced(other, "b")]
        await gateways[0].promise(promised("CA1"))
        held = await asyncio.gather(
            *(gateway.hold(Place("CA1", "held", 101, 101, stream=f"{at}")) for at, gateway in enumerate(gateways))
        )
        assert sorted(held) == [False, True]
        found = await gateways[0].find("CA1")
        assert found == Place("CA1", "held", 101, 101, "connect CA1", f"{held.index(True)}")


async def test_places_come_and_go_with_their_gateways(url: str) -> None:
    async with await CallStore.open(url) as store:
        a, b = await announced(store, "a"), await announced(store, "b")
        await a.promise(promised("CA1"))
        assert await a.hold(Place("CA1", "held", 101, 101, stream="1"))
        await b.announce([], [], alive_until_s=120, draining=False, forget_before_s=0)
        # a is gone, and its call with it.
        told = [await b.promise(promised(f"CB{number}", now_s=110)) for number in range(3)]
        assert [answer is not None for answer in told] == [True, True, False]
        await announced(store, "c", until_s=120, draining=True)
        assert await b.promise(promised("CC", now_s=110)) is None
        await announced(store, "d", until_s=120)
        assert await b.promise(promised("CC", now_s=110)) is not None


async def test_what_ended_is_told_later_too_but_not_of_a_call_that_another_has_taken(url: str) -> None:
    async with await CallStore.open(url) as store:
        a, b = await announced(store, "a"), await announced(store, "b")
        for sid in ("CA1", "CA2"):
            await a.promise(promised(sid))
            assert await a.hold(Place(sid, "held", 101, 101, stream=f"{sid} at a"))
        await b.put(promised("CA2", now_s=102))
        assert await b.hold(Place("CA2", "held", 103, 103, stream="CA2 at b"))
        ended = [Place(sid, "lost", 104, 109, stream=f"{sid} at a") for sid in ("CA1", "CA2")]
        unknown = Place("CA3", "held", 104, 104, stream="3")
        await a.announce([unknown], ended, alive_until_s=120, draining=False, forget_before_s=0)
        states = [(found.state, found.stream) for sid in ("CA1", "CA2", "CA3") if (found := await b.find(sid))]
        assert states == [("lost", "CA1 at a"), ("held", "CA2 at b"), ("held", "3")]


async def test_what_is_long_over_is_forgotten_and_what_is_held_is_not(url: str) -> None:
    async with await CallStore.open(url) as store:
        a, b = await announced(store, "a"), await announced(store, "b")
        for sid, gateway in (("CA1", a), ("CB1", b)):
            await gateway.promise(promised(sid))
            assert await gateway.hold(Place(sid, "held", 101, 101, stream=sid))
        await a.promise(promised("CA2"))
        await a.announce([], [], alive_until_s=2006, draining=False, forget_before_s=1400)
        assert await a.find("CA1") is not None
        assert await a.find("CA2") is None
        assert await a.find("CB1") is None, "its gateway is gone"


async def test_a_store_of_the_first_version_gets_its_places(url: str) -> None:
    first = open_database(url)
    await first.migrate(MIGRATIONS[:1])
    await first.close()
    async with await CallStore.open(url) as store:
        assert await (await announced(store, "a")).promise(promised("CA1")) == "connect CA1"
