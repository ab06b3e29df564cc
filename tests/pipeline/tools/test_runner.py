"""Carrying out tool calls on systems that fail: what is sent, how often, and what is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from itertools import pairwise

import pytest

from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Argument, BreakerSettings, Tool
from pipeline.tools.runner import ToolRunner
from tests.pipeline.tools.fakes import (
    Answer,
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


def after(coroutine: Coroutine[None, None, ToolResult]) -> tuple[ToolResult, float]:
    """A result, and the virtual seconds it took."""

    async def main() -> tuple[ToolResult, float]:
        result = await coroutine
        return result, asyncio.get_running_loop().time()

    return run_virtual(main())


# -- before anything is sent ------------------------------------------------------------------------------------------


def test_an_unverified_caller_is_refused_before_anything_is_sent_or_recorded() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(needs_level=2)}, {"book": [done()]})
        result = await desk.ask("book", level=1)
        assert (result.status, result.code) == ("rejected", "verification_needed")
        assert not desk.backend.attempts
        assert (await desk.ask("book", level=2)).status == "ok"

    run_virtual(main())


def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool()}, {"find": [found()]})
        result = await desk.ask("find", hour=9)
        assert (result.status, result.code) == ("rejected", "invalid_arguments")
        assert "hour" in result.detail
        assert not desk.backend.attempts

    run_virtual(main())


def test_arguments_arrive_in_their_declared_types() -> None:
    async def main() -> None:
        tool = read_tool(arguments={"day": Argument(), "people": Argument(type="integer")}, redact=())
        desk = rig({"find": tool}, {"find": [found()]})
        await desk.ask("find", people="4")
        assert desk.backend.attempts[0].arguments == {"day": "2026-11-26", "people": 4}

    run_virtual(main())


def test_an_unknown_tool_is_named() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool()}, {})
        with pytest.raises(KeyError, match="no tool is called 'fnd'; known: find"):
            await desk.ask("fnd")

    run_virtual(main())


# -- answers ----------------------------------------------------------------------------------------------------------


def test_only_what_the_tool_returns_is_kept_of_an_answer() -> None:
    result, _ = after(
        rig({"find": read_tool()}, {"find": [Answer(ToolResult("ok", {"reference": "R1", "x": 1}))]}).ask("find")
    )
    assert result == ToolResult("ok", {"reference": "R1"})
    nothing, _ = after(rig({"find": read_tool()}, {"find": [Answer(ToolResult("ok", {}))]}).ask("find"))
    assert nothing == ToolResult("ok", {"reference": None})


@pytest.mark.parametrize("tool", [read_tool(), write_tool(), keyed_tool()])
def test_a_no_is_an_answer_and_is_not_tried_again(tool: Tool) -> None:
    async def main() -> None:
        desk = rig({"do": tool}, {"do": [rejected("conflict"), done()]})
        result = await desk.ask("do")
        assert (result.status, result.code) == ("rejected", "conflict")
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


# -- repeats ----------------------------------------------------------------------------------------------------------


def test_a_read_is_repeated_until_it_answers() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool(attempts=3)}, {"find": [fails(sent=True), silent(), found()]})
        assert (await desk.ask("find")).values == {"reference": "R1"}

    run_virtual(main())


def test_a_read_that_never_answers_is_failed() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool(attempts=3)}, {"find": [fails(sent=True)]})
        result = await desk.ask("find")
        assert (result.status, result.detail) == ("failed", "it failed")
        assert len(desk.backend.attempts) == 3

    run_virtual(main())


def test_what_cannot_fare_better_is_not_tried_again() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool(attempts=3)}, {"find": [fails(sent=False, retryable=False)]})
        assert (await desk.ask("find")).status == "failed"
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


def test_each_attempt_has_its_own_time_out() -> None:
    result, took_s = after(
        rig({"find": read_tool(timeout_s=2, attempts=2, backoff_ms=0)}, {"find": [silent()]}).ask("find")
    )
    assert (result.status, result.detail) == ("failed", "no answer within 2 s")
    assert took_s == pytest.approx(4)


def test_pauses_are_random_below_a_limit_that_doubles() -> None:
    async def main() -> list[float]:
        desk = rig(
            {"find": read_tool(attempts=5, backoff_ms=1000, breaker=BreakerSettings(failures=999))},
            {"find": [fails(sent=True)]},
        )
        pauses = []
        for _ in range(40):
            begun = len(desk.backend.at_s)
            await desk.ask("find")
            pauses.append([later - earlier - 0.1 for earlier, later in pairwise(desk.backend.at_s[begun:])])
        for number, of_one in enumerate(zip(*pauses, strict=True)):
            assert max(of_one) <= 2**number
            assert max(of_one) > 0.75 * 2**number
            assert min(of_one) < 0.25 * 2**number
        return [min(of_one) for of_one in zip(*pauses, strict=True)]

    assert all(pause >= -1e-6 for pause in run_virtual(main()))


def test_a_system_that_asks_for_time_gets_it() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool(retry_within_s=3)}, {"find": [fails(sent=False, retry_after_s=3), found()]})
        assert (await desk.ask("find")).status == "ok"
        first_s, second_s = desk.backend.at_s
        assert 3.1 <= second_s - first_s <= 3.3 + 1e-6

    run_virtual(main())


def test_a_system_that_asks_for_more_time_than_a_caller_has_is_not_tried_again() -> None:
    result, took_s = after(
        rig({"find": read_tool(retry_within_s=3)}, {"find": [fails(sent=False, retry_after_s=60), found()]}).ask("find")
    )
    assert result.status == "failed"
    assert took_s == pytest.approx(0.1)


def test_a_back_end_that_breaks_fails_a_read_and_leaves_a_write_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broken = [Answer(ValueError("cannot charge 4111222"))]
        desk = rig({"find": read_tool(), "pay": write_tool()}, {"find": broken, "pay": broken})
        assert (await desk.ask("find", card="4111222")).status == "failed"
        assert (await desk.ask("pay", card="4111222")).status == "unknown"

    with caplog.at_level(logging.INFO):
        run_virtual(main())
    assert "ValueError: cannot charge ..." in caplog.text
    assert "4111222" not in caplog.text


# -- many at once, and systems that are down --------------------------------------------------------------------------


def test_no_more_than_so_many_are_under_way_at_once() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool(at_once=2)}, {"find": [found()]})
        async with asyncio.TaskGroup() as group:
            asks = [group.create_task(desk.ask("find")) for _ in range(6)]
        assert {ask.result().status for ask in asks} == {"ok"}
        assert desk.backend.most_under_way == 2
        assert asyncio.get_running_loop().time() == pytest.approx(0.3)

    run_virtual(main())


def test_who_waits_too_long_for_a_turn_fails_and_has_sent_nothing() -> None:
    async def main() -> None:
        desk = rig({"book": write_tool(at_once=1, timeout_s=2)}, {"book": [silent()]})
        async with asyncio.TaskGroup() as group:
            first = group.create_task(desk.ask("book", key="1"))
            await asyncio.sleep(0.5)
            # The first holds its place until 2.0 s; this one's turn comes.
            second = group.create_task(desk.ask("book", key="2"))
            # This one waits from 0.5 s to 2.5 s, while the second has the place.
            third = group.create_task(desk.ask("book", key="3"))
        assert (first.result().status, second.result().status) == ("unknown", "unknown")
        assert third.result().status == "failed"
        assert "under way already" in third.result().detail
        assert [call.key for call in desk.backend.attempts] == ["1", "2"]

    run_virtual(main())


def test_a_system_that_is_down_is_left_alone_and_tried_again_later() -> None:
    async def main() -> None:
        tool = read_tool(attempts=1, breaker=BreakerSettings(failures=3, open_s=30))
        desk = rig({"find": tool}, {"find": [fails(sent=True)] * 3 + [found()]})
        for _ in range(3):
            await desk.ask("find")
        left_alone = await desk.ask("find")
        assert left_alone.status == "failed"
        assert "3 failures in a row" in left_alone.detail
        assert len(desk.backend.attempts) == 3
        await asyncio.sleep(30)
        assert (await desk.ask("find")).status == "ok"

    run_virtual(main())


def test_a_no_does_not_count_as_a_failure() -> None:
    async def main() -> None:
        desk = rig({"find": read_tool(breaker=BreakerSettings(failures=1))}, {"find": [rejected("not_found")]})
        assert [(await desk.ask("find")).status for _ in range(3)] == ["rejected"] * 3

    run_virtual(main())


def test_one_tool_being_down_leaves_the_others_alone() -> None:
    async def main() -> None:
        tools = {name: read_tool(attempts=1, breaker=BreakerSettings(failures=1)) for name in ("a", "b")}
        desk = rig(tools, {"a": [fails(sent=True)], "b": [found()]})
        await desk.ask("a")
        assert (await desk.ask("b")).status == "ok"

    run_virtual(main())


def test_a_write_to_a_system_that_is_down_is_certainly_not_done() -> None:
    async def main() -> None:
        tool = write_tool(breaker=BreakerSettings(failures=1))
        desk = rig({"book": tool}, {"book": [fails(sent=False, retryable=False)]})
        await desk.ask("book", key="1")
        assert (await desk.ask("book", key="2")).status == "failed"
        assert len(desk.backend.attempts) == 1

    run_virtual(main())


# -- what may be told of calls ----------------------------------------------------------------------------------------


def test_the_loggable_arguments_are_those_that_are_not_redacted() -> None:
    async def main() -> ToolRunner:
        return rig({"book": write_tool()}, {}).runner

    runner = run_virtual(main())
    assert runner.loggable(ToolCall("book", {"day": "Monday", "card": "4111", "else": "x"}, "k")) == {"day": "Monday"}
    assert runner.effect("book") == "write"


def test_details_never_hold_what_is_redacted(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> ToolResult:
        refused = Answer(ToolResult("rejected", {}, "invalid", "card 4111222 was refused"))
        return await rig({"pay": write_tool()}, {"pay": [refused]}).ask("pay", card="4111222")

    with caplog.at_level(logging.INFO):
        assert run_virtual(main()).detail == "card ... was refused"
    assert "4111222" not in caplog.text
