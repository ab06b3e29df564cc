"""Writes that a process left behind when it died, and writes of two processes at once."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.tools.calls import ToolCall
from pipeline.tools.definition import HttpCall
from pipeline.tools.runner import GIVE_UP_S, LEASE_MARGIN_S
from tests.pipeline.tools.fakes import (
    EPOCH_S,
    FailingOutbox,
    dies_while,
    done,
    fails,
    found,
    keyed_tool,
    read_tool,
    rejected,
    rig,
    write_tool,
)
from tests.virtual_time import run_virtual

KEY = "CA1/book/confirm/1"
LEASE_S = 20.0
"""Of `dies_while`."""


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_a_system_that_honours_the_key_gets_the_write_again() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [done()]})
        call = await dies_while(desk.outbox, "book")
        assert (await desk.runner.recover())[KEY].values == {"reference": "R1"}
        assert desk.backend.attempts == [call]
        assert not await desk.outbox.pending()
        assert (await desk.ask("book")).status == "ok"
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_nothing_is_touched_while_its_process_may_be_alive() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [done()]})
        await dies_while(desk.outbox, "book")
        await desk.runner.recover()
        assert desk.backend.at_s == [pytest.approx(LEASE_S + LEASE_MARGIN_S)]

    run_virtual(main())


def test_without_a_key_the_system_is_asked_and_nothing_is_sent_again() -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find"), "find": read_tool()}
        desk = rig(tools, {"book": [done()], "find": [found("R7")]})
        await dies_while(desk.outbox, "book")
        assert (await desk.runner.recover())[KEY].values == {"reference": "R7"}
        assert not desk.backend.effects

    run_virtual(main())


def test_that_it_was_not_done_is_believed_only_once_the_system_has_settled() -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find", settles_s=60), "find": read_tool()}
        desk = rig(tools, {"find": [rejected("not_found")]})
        await dies_while(desk.outbox, "book")
        assert (await desk.runner.recover())[KEY].status == "failed"
        assert desk.backend.at_s[-1] >= LEASE_S + 60

    run_virtual(main())


def test_a_write_that_shows_late_is_found() -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find", settles_s=60), "find": read_tool()}
        desk = rig(tools, {"find": [rejected("not_found"), found("R7")]})
        await dies_while(desk.outbox, "book")
        assert (await desk.runner.recover())[KEY].status == "ok"

    run_virtual(main())


def test_with_neither_key_nor_lookup_it_is_unknown() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]})
        await dies_while(desk.outbox, "book")
        assert (await desk.runner.recover())[KEY].status == "unknown"
        assert not desk.backend.attempts
        assert (await desk.ask("book")).status == "unknown"
        assert not desk.backend.attempts

    run_virtual(main())


def test_what_cannot_be_learnt_now_stays_pending_for_the_next_time() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [fails(sent=False), fails(sent=True), done()]})
        await dies_while(desk.outbox, "book")
        assert await desk.runner.recover() == {}
        assert [write.call.key for write in await desk.outbox.pending()] == [KEY]
        assert (await desk.runner.recover())[KEY].status == "ok"

    run_virtual(main())


def test_after_a_day_nobody_goes_on_trying() -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find"), "find": read_tool()}
        desk = rig(tools, {"find": [fails(sent=True)]})
        await dies_while(desk.outbox, "book")
        await asyncio.sleep(GIVE_UP_S)
        assert (await desk.runner.recover())[KEY].status == "unknown"
        assert not await desk.outbox.pending()

    run_virtual(main())


def test_a_write_older_than_the_system_keeps_keys_is_not_sent_again() -> None:
    async def main() -> None:
        http = HttpCall(method="POST", url="book", idempotency_header="Idempotency-Key", key_kept_s=3600)
        tools = {"book": write_tool(http=http, lookup="find"), "find": read_tool()}
        desk = rig(tools, {"book": [done()], "find": [found("R7")]})
        await dies_while(desk.outbox, "book")
        await asyncio.sleep(3600)
        assert (await desk.runner.recover())[KEY].values == {"reference": "R7"}
        assert not desk.backend.effects

    run_virtual(main())


def test_a_tool_that_the_agent_no_longer_has_leaves_it_unknown() -> None:
    async def main() -> None:
        desk = rig({"other": read_tool()}, {})
        await dies_while(desk.outbox, "book")
        result = (await desk.runner.recover())[KEY]
        assert (result.status, result.detail) == ("unknown", "the agent has no tool 'book' any more")

    run_virtual(main())


def test_one_that_cannot_be_claimed_does_not_keep_the_others_from_being_settled() -> None:
    async def main() -> None:
        outbox = FailingOutbox(claims=1)
        desk = rig({"book": keyed_tool()}, {"book": [done()]}, outbox)
        for key in ("1", "2"):
            await outbox.begin(ToolCall("book", {"day": "2026-11-26"}, key), now_s=EPOCH_S, until_s=EPOCH_S)
        assert len(await desk.runner.recover()) == 1
        assert len(await outbox.pending()) == 1

    run_virtual(main())


def test_who_asks_while_it_is_recovered_gets_the_result() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [done()]})
        await dies_while(desk.outbox, "book")
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.runner.recover())
            await asyncio.sleep(0)
            ask = group.create_task(desk.ask("book"))
        assert ask.result().status == "ok"
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_who_asks_for_a_write_of_a_dead_process_settles_it() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(lookup="find"), "find": read_tool()}, {"find": [found("R7")]})
        await dies_while(desk.outbox, "book")
        assert (await desk.ask("book")).status == "ok"
        assert LEASE_S <= now_s() <= LEASE_S + LEASE_MARGIN_S + 1
        assert not desk.backend.effects

    run_virtual(main())


def test_who_asks_a_system_that_honours_the_key_need_not_wait_for_the_lease() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [done()]})
        call = await dies_while(desk.outbox, "book")
        assert (await desk.ask("book")).status == "ok"
        assert now_s() < LEASE_S
        assert desk.backend.attempts == [call]
        assert not await desk.outbox.pending()

    run_virtual(main())


def test_two_processes_do_one_write_once_and_tell_the_same() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done("R1"), done("R2")]})
        other = desk.another()
        async with asyncio.TaskGroup() as group:
            asks = [group.create_task(one.ask("book")) for one in (desk, other)]
            recovered = group.create_task(other.runner.recover())
        assert {ask.result().values["reference"] for ask in asks} == {"R1"}
        assert recovered.result() == {}
        assert desk.backend.effects == [KEY]

    run_virtual(main())


def test_two_recoveries_at_once_send_it_once() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [done()]})
        await dies_while(desk.outbox, "book")
        async with asyncio.TaskGroup() as group:
            for one in (desk, desk, desk.another()):
                group.create_task(one.runner.recover())
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_one_who_waits_for_another_process_does_not_wait_for_ever() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(timeout_s=2, attempts=1)}, {"book": [done()]})
        call = await dies_while(desk.outbox, "book")
        await desk.outbox.claim(call.key, over_by_s=1e12, until_s=1e12)
        assert (await desk.ask("book")).status == "unknown"
        assert now_s() < 10
        assert not desk.backend.attempts

    run_virtual(main())
