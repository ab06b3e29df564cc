"""A call's turns: appended to, dropped many at once, summarised beside the call and never waited for."""

from __future__ import annotations

import asyncio

import pytest

from models.types import ModelFailure
from pipeline.context.builder import ContextBuilder
from pipeline.context.call import CallContext
from pipeline.context.parts import Ask, ContextParts, Exchange, Known
from pipeline.context.settings import ContextSettings
from pipeline.context.summary import ExtractiveSummariser, SummaryRequest
from tests.pipeline.context.fakes import FakeCounter, FakeSummariser
from tests.virtual_time import run_virtual

BUDGETS = ContextSettings(turns_tokens=200, trim_tokens=120, summary_ahead_tokens=40)
EXCHANGE_TOKENS = 20
"""Of `exchange`: ten exchanges fit, four are left by a trim, and the ninth is near one."""


def exchange(number: int) -> Exchange:
    return Exchange(f"x{number:02}?", f"it is x{number:02} a.")


def context(budgets: ContextSettings = BUDGETS, summariser: FakeSummariser | None = None) -> CallContext:
    builder = ContextBuilder(ContextParts("You help."), FakeCounter(), budgets, limit_tokens=1400)
    return CallContext(builder, summariser or FakeSummariser())


def text_of(call: CallContext, *known: Known) -> str:
    return "\n".join(message.content for message in call.prompt(Ask("and?"), known).messages)


def test_turns_are_dropped_many_at_once_and_seldom() -> None:
    call = context()
    trims = [number for number in range(60) if call.add(exchange(number))]
    assert set(call.history.tokens) == {EXCHANGE_TOKENS}
    assert trims == list(range(10, 60, 7)) == [10, 17, 24, 31, 38, 45, 52, 59]
    assert "x59" in text_of(call)
    assert "x55" not in text_of(call)
    assert sum(call.history.tokens[call.history.first :]) == BUDGETS.kept_tokens


def test_asking_for_prompts_changes_nothing() -> None:
    call = context()
    call.add(exchange(1))
    before = call.history
    prompts = {call.prompt(Ask("a"), [Known("Name", "John")]) for _ in range(3)}
    assert len(prompts) == 1
    assert call.history is before


def test_variables_move_before_the_turns_only_at_a_trim() -> None:
    call, name = context(), Known("Name", "John")
    number = 0
    while not call.add(exchange(number), [name]):
        assert "You help.\nKnown now:\nName: John\nCaller: x00?" in text_of(call, name)
        number += 1
    assert call.history.known == (name,)
    assert f"You help.\nKnown:\nName: John\nCaller: x{call.history.first:02}?" in text_of(call, name)
    assert "Known now" not in text_of(call, name)


def test_what_a_trim_moves_before_the_turns_is_not_said_again_in_them() -> None:
    call = context()
    number = 0
    while not call.add(exchange(number), [Known("Name", f"John {number}")]):
        number += 1
    text = text_of(call, Known("Name", f"John {number}"))
    assert text.count("Name:") == 1
    assert f"Known:\nName: John {number}\n" in text


def test_the_summary_is_asked_for_when_a_trim_is_near_and_used_by_that_trim() -> None:
    async def go() -> None:
        summariser = FakeSummariser()
        call = context(summariser=summariser)
        async with asyncio.TaskGroup() as group:
            for number in range(9):
                call.add(exchange(number))
                group.create_task(call.prepare_summary())
                await asyncio.sleep(0)
                assert len(summariser.requests) == (1 if number == 8 else 0)
            assert summariser.requests[0].exchanges == tuple(exchange(number) for number in range(7))
            assert (summariser.requests[0].earlier, summariser.requests[0].fresh) == ("", 7)
            summariser.answer("They asked about x00 to x06.")
        assert "x00 to x06" not in text_of(call)  # Nothing changes before the trim.
        call.add(exchange(9))
        assert call.add(exchange(10))
        assert "Call so far: They asked about x00 to x06.\nCaller: x07?" in text_of(call)

    run_virtual(go())


def test_a_summary_that_is_late_is_not_waited_for_and_comes_with_the_next_trim() -> None:
    async def go() -> None:
        summariser = FakeSummariser()
        call = context(summariser=summariser)
        async with asyncio.TaskGroup() as group:
            for number in range(9):
                call.add(exchange(number))
            group.create_task(call.prepare_summary())
            await asyncio.sleep(0)
            call.add(exchange(9))
            assert call.add(exchange(10))
            assert "Call so far" not in text_of(call)
            number = 11
            while call.history.cut <= call.history.first:
                call.add(exchange(number))
                number += 1
            await call.prepare_summary()  # The next trim is near, but one is still under way.
            assert len(summariser.requests) == 1
            summariser.answer("They asked.")
        assert "Call so far" not in text_of(call)
        while not call.add(exchange(number)):
            number += 1
        assert "Call so far: They asked." in text_of(call)

    run_virtual(go())


def test_the_next_summary_gets_the_one_before_and_says_what_is_fresh() -> None:
    async def go() -> None:
        summariser = FakeSummariser()
        call = context(summariser=summariser)
        for number in range(18):
            call.add(exchange(number))
            asked = asyncio.ensure_future(call.prepare_summary())
            await asyncio.sleep(0)
            if not asked.done():
                summariser.answer(f"Summary {len(summariser.requests)}.")
            await asked
        first, second = summariser.requests
        assert second.earlier == "Summary 1."
        assert second.fresh == len(second.exchanges) - len(first.exchanges) > 0
        assert "Call so far: Summary 2." in text_of(call)

    run_virtual(go())


def test_a_summariser_that_fails_leaves_plain_trimming_and_is_not_asked_again_for_that_trim() -> None:
    async def go() -> None:
        summariser = FakeSummariser()
        call = context(summariser=summariser)
        for number in range(9):
            call.add(exchange(number))
        asked = asyncio.ensure_future(call.prepare_summary())
        await asyncio.sleep(0)
        summariser.fail()
        with pytest.raises(ModelFailure):
            await asked
        await call.prepare_summary()
        call.add(exchange(9))
        assert call.add(exchange(10))
        assert "Call so far" not in text_of(call)
        while call.history.cut <= call.history.first:
            call.add(exchange(11))
        asked = asyncio.ensure_future(call.prepare_summary())
        await asyncio.sleep(0)
        assert len(summariser.requests) == 2
        assert summariser.requests[1].fresh == len(summariser.requests[1].exchanges)
        summariser.answer("")
        await asked

    run_virtual(go())


def test_with_summaries_off_nobody_is_asked() -> None:
    async def go() -> None:
        summariser = FakeSummariser()
        call = context(BUDGETS.model_copy(update={"summary": False}), summariser)
        for number in range(30):
            call.add(exchange(number))
            await call.prepare_summary()
        assert not summariser.requests

    run_virtual(go())


def test_a_summary_is_cut_to_its_budget_and_cannot_open_a_turn() -> None:
    async def go() -> None:
        summariser = FakeSummariser()
        call = context(BUDGETS.model_copy(update={"summary_tokens": 16}), summariser)
        for number in range(9):
            call.add(exchange(number))
        asked = asyncio.ensure_future(call.prepare_summary())
        await asyncio.sleep(0)
        assert summariser.requests[0].most_tokens == 16 - FakeCounter().text_tokens("Call so far:")
        summariser.answer("<|im_end|>" + " word" * 100)
        await asked
        call.add(exchange(9))
        call.add(exchange(10))
        assert "Call so far: (|im_end|) word word" in text_of(call)
        assert FakeCounter().text_tokens(call.history.summary) <= summariser.requests[0].most_tokens

    run_virtual(go())


# -- the summary without a model ---------------------------------------------------------------------------------------

PRICE = Exchange("And a cleaning?", "A cleaning is ninety dollars. Anything else?", topic="price of a cleaning")
BOOKED = Exchange("Yes, that's right.", "You're booked.", decided="booked Tuesday at ten for John Miller")
PARKING = Exchange("Where can I park?", "Behind the building.")
CHAT = Exchange("Okay, thanks.", "You're welcome.")


def extract(*exchanges: Exchange, most_tokens: int = 200) -> str:
    request = SummaryRequest(exchanges, "", len(exchanges), most_tokens)
    return run_virtual(ExtractiveSummariser(FakeCounter()).summarise(request))


def test_an_extract_says_what_was_asked_answered_and_decided_in_order() -> None:
    assert extract(PRICE, CHAT, PARKING, BOOKED) == (
        "Asked about price of a cleaning: A cleaning is ninety dollars. "
        "Asked: Where can I park? Behind the building. "
        "Decided: booked Tuesday at ten for John Miller."
    )


def test_what_was_asked_twice_is_said_once_with_the_later_answer() -> None:
    later = Exchange("A cleaning?", "It is one hundred now.", topic="price of a cleaning")
    assert extract(PRICE, PARKING, later) == (
        "Asked: Where can I park? Behind the building. Asked about price of a cleaning: It is one hundred now."
    )


def test_decisions_outlast_questions_and_new_questions_outlast_old_ones() -> None:
    whole = FakeCounter().text_tokens(extract(PRICE, PARKING, BOOKED))
    assert extract(BOOKED, PRICE, PARKING, most_tokens=whole - 1) == (
        "Decided: booked Tuesday at ten for John Miller. Asked: Where can I park? Behind the building."
    )
    assert extract(PRICE, most_tokens=3) == ""
    assert extract(CHAT) == ""
