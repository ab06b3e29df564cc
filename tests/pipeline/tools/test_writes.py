"""A write is done once: repeats, cancellation, joined askers, and an outbox that fails."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from tests.pipeline.tools.fakes import (
    FailingOutbox,
    Rig,
    done,
    fails,
    found,
    keyed_tool,
    read_tool,
    rejected,
    rig,
    silent,
    write_tool,
)
from tests.virtual_time import run_virtual

KEY = "CA1/book/confirm/1"

# -- repeats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [fails(sent=True, acts=True), fails(sent=True), silent(acts=True), silent()])
def test_a_write_that_may_have_been_done_is_not_sent_again_without_a_key(first: object) -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(attempts=3)}, {"book": [first, done()]})  # type: ignore[list-item]
        assert (await desk.ask("book")).status == "unknown"
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_a_write_that_was_not_sent_is_sent_again() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(attempts=3)}, {"book": [fails(sent=False), fails(sent=False), done()]})
        assert (await desk.ask("book")).status == "ok"
        assert desk.backend.effects == [KEY]

    run_virtual(main())


def test_a_write_that_was_never_sent_is_failed() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(attempts=3)}, {"book": [fails(sent=False)]})
        assert (await desk.ask("book")).status == "failed"

    run_virtual(main())


@pytest.mark.parametrize("first", [fails(sent=True), silent(), fails(sent=False)])
def test_a_write_is_sent_again_with_the_same_key_if_the_system_honours_it(first: object) -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [first, done()]})  # type: ignore[list-item]
        assert (await desk.ask("book")).status == "ok"
        assert [call.key for call in desk.backend.attempts] == [KEY, KEY]

    run_virtual(main())


def test_once_a_write_may_have_been_done_a_later_refusal_to_connect_does_not_make_it_certain() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [fails(sent=True, acts=True), fails(sent=False)]})
        assert (await desk.ask("book")).status == "unknown"

    run_virtual(main())


def test_a_conflict_with_our_own_first_attempt_is_no_answer() -> None:
    async def main() -> None:
        script = [fails(sent=True, acts=True), rejected("conflict"), found("R1")]
        desk = rig({"book": keyed_tool(attempts=3)}, {"book": script})
        assert (await desk.ask("book")).values == {"reference": "R1"}
        desk = rig({"book": keyed_tool(attempts=2)}, {"book": script})
        assert (await desk.ask("book")).status == "unknown"

    run_virtual(main())


def test_any_other_no_to_a_repeated_key_is_the_answer_to_the_first() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [fails(sent=True), rejected("closed")]})
        assert (await desk.ask("book")).code == "closed"

    run_virtual(main())


def test_in_doubt_the_system_is_asked_whether_it_was_done() -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find"), "find": read_tool()}
        desk = rig(tools, {"book": [fails(sent=True, acts=True)], "find": [found("R7")]})
        result = await desk.ask("book", card="4111")
        assert (result.status, result.values) == ("ok", {"reference": "R7"})
        assert desk.backend.attempts[-1] == ToolCall("find", {"day": "2026-11-26", "card": "4111"}, KEY)

    run_virtual(main())


@pytest.mark.parametrize(("settles_s", "told"), [(60, "unknown"), (0, "failed")])
def test_that_nothing_is_found_proves_something_only_once_the_system_has_settled(settles_s: float, told: str) -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find", settles_s=settles_s), "find": read_tool()}
        desk = rig(tools, {"book": [fails(sent=True)], "find": [rejected("not_found")]})
        assert (await desk.ask("book")).status == told

    run_virtual(main())


def test_a_lookup_that_fails_or_says_something_else_leaves_it_unknown() -> None:
    async def main() -> None:
        tools = {"book": write_tool(lookup="find", settles_s=0), "find": read_tool()}
        for answer in (fails(sent=True), rejected("ambiguous")):
            desk = rig(tools, {"book": [fails(sent=True)], "find": [answer]})
            assert (await desk.ask("book")).status == "unknown"

    run_virtual(main())


# -- once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [done(), rejected("conflict"), fails(sent=True), fails(sent=False)])
def test_a_key_has_one_result_for_ever(answer: object) -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(attempts=1)}, {"book": [answer]})  # type: ignore[list-item]
        first = await desk.ask("book")
        assert await desk.ask("book") == first
        assert await desk.another().ask("book") == first
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_another_key_is_another_write() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]})
        await desk.ask("book", key="1")
        await desk.ask("book", key="2")
        assert desk.backend.effects == ["1", "2"]

    run_virtual(main())


def test_all_who_ask_for_a_write_under_way_get_its_result() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]})
        async with asyncio.TaskGroup() as group:
            asks = [group.create_task(desk.ask("book")) for _ in range(3)]
        assert {ask.result().values["reference"] for ask in asks} == {"R1"}
        assert desk.backend.effects == [KEY]

    run_virtual(main())


def test_a_key_in_use_for_another_call_is_refused() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(), "cancel": write_tool()}, {"book": [done()], "cancel": [done()]})
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.ask("book"))
            await asyncio.sleep(0.05)
            with pytest.raises(ValueError, match="in use for another call"):
                await desk.ask("book", card="4111")
        later = await desk.ask("cancel")
        assert later.status == "failed"
        assert "belongs to a call of 'book'" in later.detail
        assert desk.backend.effects == [KEY]

    run_virtual(main())


async def cancelled_after(desk: Rig, delay_s: float) -> None:
    ask = asyncio.create_task(desk.ask("book"))
    await asyncio.sleep(delay_s)
    ask.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ask


@pytest.mark.parametrize("delay_s", [0, 0.05, 0.25])
@pytest.mark.parametrize("tool", [write_tool(), keyed_tool()])
def test_a_hang_up_stops_the_waiting_and_not_the_write(delay_s: float, tool: Tool) -> None:
    async def main() -> None:
        desk = rig({"book": tool}, {"book": [fails(sent=False), fails(sent=False), done()]})
        desk = rig({"book": tool.model_copy(update={"attempts": 3})}, desk.backend.script)
        await cancelled_after(desk, delay_s)
        await desk.runner.aclose()
        assert (await desk.ask("book")).values == {"reference": "R1"}
        assert desk.backend.effects == [KEY]
        assert not await desk.outbox.pending()

    run_virtual(main())


def test_who_asks_again_while_it_is_carried_through_gets_the_result() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]})
        await cancelled_after(desk, 0.05)
        assert (await desk.ask("book")).values == {"reference": "R1"}
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_a_cancelled_read_is_given_up_and_frees_its_place() -> None:
    async def main() -> None:
        desk = rig({"book": read_tool(at_once=1)}, {"book": [silent(), found()]})
        await cancelled_after(desk, 0.05)
        assert desk.backend.under_way == 0
        assert (await desk.ask("book")).status == "ok"

    run_virtual(main())


def test_closing_waits_for_the_writes_under_way() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]})
        async with desk.runner:
            await cancelled_after(desk, 0.05)
        assert not await desk.outbox.pending()

    run_virtual(main())


# -- an outbox that fails ---------------------------------------------------------------------------------------------


def test_what_cannot_be_recorded_is_not_sent() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]}, FailingOutbox(begins=1))
        result = await desk.ask("book")
        assert result.status == "failed"
        assert "the disk is full" in result.detail
        assert not desk.backend.attempts

    run_virtual(main())


def test_what_may_have_been_recorded_is_not_said_to_have_failed() -> None:
    async def main() -> None:
        desk = rig({"book": keyed_tool()}, {"book": [done()]}, FailingOutbox(begins=1, maybe_written=True))
        assert (await desk.ask("book")).status == "unknown"
        assert not desk.backend.attempts
        assert (await desk.another().runner.recover())[KEY].status == "ok"

    run_virtual(main())


def test_a_result_is_recorded_again_until_it_is() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]}, FailingOutbox(finishes=3))
        assert (await desk.ask("book")).status == "ok"
        assert not await desk.outbox.pending()

    run_virtual(main())


@pytest.mark.parametrize(
    ("answer", "told"), [(done(), "ok"), (rejected("closed"), "unknown"), (fails(sent=False), "unknown")]
)
def test_a_no_that_cannot_be_recorded_is_not_told_since_recovery_may_turn_it_into_a_yes(
    answer: object, told: str
) -> None:
    async def main() -> None:
        script = {"book": [answer, done()]}
        desk = rig({"book": keyed_tool(attempts=1)}, script, FailingOutbox(finishes=4))  # type: ignore[dict-item]
        assert (await desk.ask("book")).status == told
        assert (await desk.another().runner.recover())[KEY].status == "ok"

    run_virtual(main())


def test_the_arguments_are_forgotten_once_there_is_a_result() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool()}, {"book": [done()]})
        await desk.ask("book", card="4111")
        assert "4111" not in repr(vars(desk.outbox))

    run_virtual(main())


def test_a_result_replaces_only_an_unknown_one() -> None:
    async def main() -> None:
        outbox = FailingOutbox()
        call = ToolCall("book", {}, KEY)
        await outbox.begin(call, now_s=0, until_s=9)
        for result, stands in [
            (ToolResult("unknown", {}), "unknown"),
            (ToolResult("ok", {}), "ok"),
            (ToolResult("failed", {}), "ok"),
            (ToolResult("unknown", {}), "ok"),
        ]:
            assert (await outbox.finish(KEY, result)).status == stands

    run_virtual(main())
