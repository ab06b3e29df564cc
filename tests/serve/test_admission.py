"""Who gets a place at one gateway or another, and who is told that lines are busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serve.admission import LEASE_S, REMEMBERED_CALLS, RETURN_S, SETTLE_S, STORE_TIMEOUT_S
from telephony.session import TurnedAway
from telephony.tokens import TokenError
from tests.serve.places_rig import EXPECTED_FOR_S, Gateway, MemoryDatabase, memory_database
from tests.virtual_time import run_virtual

Body = Callable[[MemoryDatabase, Gateway, Gateway], Awaitable[None]]


def two_gateways(body: Body) -> None:
    """Run `body` with a database and two gateways of two places each."""

    async def main() -> None:
        with memory_database() as database:
            a, b = await Gateway(database, "a").up(), await Gateway(database, "b").up()
            await body(database, a, b)
            a.kill()
            b.kill()

    run_virtual(main())


async def full(*gateways: Gateway, calls: int = 4) -> list[str]:
    """So many calls, spread over the gateways; their streams."""
    streams = []
    for number in range(calls):
        gateway = gateways[number % len(gateways)]
        assert await gateway.called(f"full{number}")
        streams.append(await gateway.admissions.begin(f"full{number}"))
    return streams


def test_a_call_that_came_to_the_other_gateway_takes_no_second_place() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        for sid in ("CA1", "CA2"):
            assert await a.called(sid)
            await b.admissions.begin(sid)
        assert await a.called("CA3")
        assert await a.called("CA4")
        assert not await a.called("CA5")
        assert not await b.called("CA6")

    two_gateways(body)


def test_two_webhooks_at_once_do_not_both_get_the_last_place() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        await full(a, b, calls=3)
        told = await asyncio.gather(a.called("CA1"), b.called("CA2"))
        assert sorted(told) == [False, True]

    two_gateways(body)


def test_a_repeated_webhook_gets_the_same_answer_wherever_it_comes_and_holds_one_place() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        first = await a.admissions.admit("CA1", "first")
        assert first == "first"
        assert await b.admissions.admit("CA1", "second") == "first"
        await b.admissions.begin("CA1")
        assert await a.admissions.admit("CA1", "third") == "first"
        assert [await a.called(f"CA{number}") for number in range(2, 6)] == [True, True, True, False]

    two_gateways(body)


def test_a_full_gateway_turns_streams_away_and_the_call_keeps_its_place() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        await full(b, calls=2)
        assert await a.called("CA1")
        with pytest.raises(TurnedAway, match="holds 2 calls"):
            await b.admissions.begin("CA1")
        assert b.admissions.live == 2
        assert await a.admissions.ending("CA1") == await b.admissions.ending("CA1") == "turned_away"
        await b.admissions.admit_again("CA1", "again")
        assert await a.called("CA2")
        assert not await a.called("CA3")
        await a.admissions.begin("CA1")

    two_gateways(body)


def test_two_streams_at_once_do_not_both_get_a_gateway_s_last_place() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        await full(a, calls=1)
        assert await a.called("CA1")
        assert await a.called("CA2")
        begun = await asyncio.gather(a.admissions.begin("CA1"), a.admissions.begin("CA2"), return_exceptions=True)
        assert [type(one) for one in begun] == [str, TurnedAway]
        assert a.admissions.live == 2

    two_gateways(body)


def test_a_call_that_is_given_up_gives_its_place_back() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        for number in range(4):
            assert await a.called(f"CA{number}")
        await b.admissions.give_up("CA0")
        assert await a.admissions.ending("CA0") == "over"
        assert await a.called("CA4")

    two_gateways(body)


def test_a_token_opens_one_stream_at_any_gateway() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.called("CA1")
        stream = await a.admissions.begin("CA1")
        for thief in (a, b):
            with pytest.raises(TokenError, match="used before"):
                await thief.admissions.begin("CA1")
        await a.admissions.end(stream, lost=False)
        with pytest.raises(TokenError, match="used before"):
            await b.admissions.begin("CA1")
        assert a.admissions.live == b.admissions.live == 0

    two_gateways(body)


def test_a_place_that_is_not_taken_up_becomes_free() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        for number in range(4):
            assert await a.called(f"CA{number}")
        await asyncio.sleep(EXPECTED_FOR_S - 0.1)
        assert not await b.called("CB")
        await asyncio.sleep(0.2)
        assert await b.called("CB")

    two_gateways(body)


def test_a_call_that_ended_frees_its_place_at_once_and_one_whose_stream_broke_a_little_later() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        over, lost, *_ = await full(a, b)
        await a.admissions.end(over, lost=False)
        assert await b.called("CA1")
        await b.admissions.end(lost, lost=True)
        assert not await a.called("CA2")
        assert await a.admissions.ending("full1") == "lost"
        await asyncio.sleep(RETURN_S)
        assert await a.called("CA2")

    two_gateways(body)


def test_a_killed_gateway_s_places_are_none_once_its_lease_is_over_and_its_calls_take_none() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        await full(a, calls=1)
        a.kill()
        await asyncio.sleep(LEASE_S + 0.1)
        assert [await b.called(f"CA{number}") for number in range(3)] == [True, True, False]

    two_gateways(body)


def test_a_call_of_a_killed_gateway_goes_on_at_the_next() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.called("CA1")
        await a.admissions.begin("CA1")
        a.kill()
        assert await b.admissions.ending("CA1") == "lost"
        await b.admissions.admit_again("CA1", "again")
        await b.admissions.begin("CA1")
        assert b.admissions.live == 1

    two_gateways(body)


def test_a_gateway_that_drains_keeps_its_calls_and_is_promised_none() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        stream, *_ = await full(a, calls=2)
        await a.admissions.drain()
        assert [await a.called(f"CA{number}") for number in range(3)] == [True, True, False]
        await a.admissions.end(stream, lost=False)
        assert not await b.called("CB")

    two_gateways(body)


def test_a_gateway_that_has_left_is_forgotten_at_once() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        await a.admissions.leave()
        assert [await b.called(f"CA{number}") for number in range(3)] == [True, True, False]

    two_gateways(body)


def test_a_call_of_a_killed_gateway_that_comes_again_is_a_new_one() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.called("CA1")
        await a.admissions.begin("CA1")
        a.kill()
        await asyncio.sleep(LEASE_S + 0.1)
        assert await b.admissions.admit("CA1", "new") == "new"

    two_gateways(body)


def test_gateways_behind_another_url_share_nothing() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        other = await Gateway(database, "c", max_calls=1, url="https://elsewhere.example.com").up()
        await full(a, b)
        assert await other.called("CA1")
        assert not await other.called("CA2")
        assert not await a.called("CA3")
        other.kill()

    two_gateways(body)


def test_clocks_a_little_apart_do_no_harm() -> None:
    async def main() -> None:
        with memory_database() as database:
            a, b = await Gateway(database, "a").up(), await Gateway(database, "b", skew_s=1.5).up()
            streams = await full(a, b)
            assert not await a.called("CA1")
            assert not await b.called("CA1")
            await asyncio.sleep(20)
            await a.admissions.end(streams[0], lost=False)
            assert await b.admissions.ending("full0") == "over"
            assert await b.called("CA1")
            a.kill()
            b.kill()

    run_virtual(main())


# -- what the carrier asks once a stream has ended ---------------------------------------------------------------------


def test_the_carrier_s_question_waits_a_moment_for_the_gateway_that_held_the_stream() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.called("CA1")
        stream = await a.admissions.begin("CA1")
        asked = [asyncio.create_task(one.admissions.ending("CA1")) for one in (a, b)]
        await asyncio.sleep(SETTLE_S / 2)
        await a.admissions.end(stream, lost=False)
        assert await asyncio.gather(*asked) == ["over", "over"]

    two_gateways(body)


def test_a_stream_that_its_gateway_still_believes_in_is_lost_if_the_carrier_says_so() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.called("CA1")
        stale = await a.admissions.begin("CA1")
        assert await b.admissions.ending("CA1") == "lost"
        await b.admissions.admit_again("CA1", "again")
        fresh = await b.admissions.begin("CA1")
        await a.admissions.end(stale, lost=True)
        with pytest.raises(TokenError):
            await a.admissions.begin("CA1")
        await b.admissions.end(fresh, lost=False)
        assert await a.admissions.ending("CA1") == "over"

    two_gateways(body)


def test_a_call_goes_on_at_the_same_full_gateway_while_its_old_stream_hangs() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        stale, _ = await full(a, calls=2)
        assert await a.admissions.ending("full0") == "lost"
        await a.admissions.admit_again("full0", "again")
        fresh = await a.admissions.begin("full0")
        await a.admissions.end(stale, lost=True)
        asked = asyncio.create_task(b.admissions.ending("full0"))
        await asyncio.sleep(SETTLE_S / 2)
        await a.admissions.end(fresh, lost=False)
        assert await asked == "over"

    two_gateways(body)


def test_nobody_knows_a_call_that_never_came() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.admissions.ending("CA1") is None

    two_gateways(body)


# -- a store that does not answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["silent", "no such table"])
def test_without_the_store_a_gateway_goes_by_its_own_calls(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        database.fault = fault
        before_s = asyncio.get_running_loop().time()
        assert await a.called("CA1")
        assert asyncio.get_running_loop().time() - before_s <= STORE_TIMEOUT_S
        assert await a.admissions.admit("CA1", "repeated") == "connect CA1"
        assert await a.called("CA2")
        assert not await a.called("CA3")
        stream = await a.admissions.begin("CA1")
        with pytest.raises(TokenError):
            await a.admissions.begin("CA1")
        await a.admissions.end(stream, lost=True)
        assert await a.admissions.ending("CA1") == "lost"
        # Only the first of them waited.
        assert asyncio.get_running_loop().time() - before_s <= STORE_TIMEOUT_S
        assert await a.unshared() >= 5
        assert sum("goes by its own calls" in record.message for record in caplog.records) == 1

    two_gateways(body)


def test_without_the_store_nobody_is_refused_for_calls_that_went_elsewhere() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        database.fault = "gone"
        for number in range(20):
            assert await a.called(f"CA{number}")
            await asyncio.sleep(RETURN_S / 2 + 0.1)

    two_gateways(body)


def test_a_gateway_that_drains_takes_no_calls_without_the_store_either() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        database.fault = "gone"
        await a.admissions.drain()
        assert not await a.called("CA1")

    two_gateways(body)


def test_what_happened_without_the_store_is_told_it_when_it_is_back() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        first, second = await full(a, calls=2)
        database.fault = "gone"
        await a.admissions.end(first, lost=False)
        await a.admissions.end(second, lost=True)
        assert await a.called("CA1")
        await a.admissions.begin("CA1")
        database.fault = None
        await asyncio.sleep(LEASE_S)
        assert await b.admissions.ending("full0") == "over"
        assert await b.admissions.ending("full1") == "lost"
        with pytest.raises(TokenError):
            await b.admissions.begin("CA1")
        assert [await b.called(f"CB{number}") for number in range(4)] == [True, True, True, False]

    two_gateways(body)


def test_a_stream_that_is_cut_off_while_it_asks_for_its_place_leaves_none_behind() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        assert await a.called("CA1")
        beginning = asyncio.create_task(a.admissions.begin("CA1"))
        await asyncio.sleep(0)
        beginning.cancel()
        await asyncio.gather(beginning, return_exceptions=True)
        assert a.admissions.live == 0
        await asyncio.sleep(EXPECTED_FOR_S)
        assert [await b.called(f"CB{number}") for number in range(5)] == [True, True, True, True, False]

    two_gateways(body)


def test_what_is_long_over_is_forgotten() -> None:
    async def body(database: MemoryDatabase, a: Gateway, b: Gateway) -> None:
        for number in range(REMEMBERED_CALLS + 10):
            assert await a.called(f"CA{number}")
            await a.admissions.end(await a.admissions.begin(f"CA{number}"), lost=False)
        assert await a.admissions.ending("CA0") == "over"
        database.fault = "gone"
        assert await a.admissions.ending("CA0") is None
        assert await a.admissions.ending("CA20") == "over"
        database.fault = None
        await asyncio.sleep(700)
        database_knows = await b.admissions.ending(f"CA{REMEMBERED_CALLS}")
        assert database_knows is None

    two_gateways(body)
