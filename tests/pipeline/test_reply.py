"""What may become of a reply, and what may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.language_switcher import ActiveAgent
from pipeline.plan import Clause, Says
from pipeline.ports import HeardClause
from pipeline.preemptive_generation import PreemptiveBudget
from pipeline.reply import TRANSITIONS, IllegalTransition, Made, Reply, State, Transition
from tests.virtual_time import run_virtual

EVERY: tuple[Transition, ...] = get_args(Transition)
SEQUENCES = st.lists(st.sampled_from((*EVERY, "speculate")), max_size=12)
LIVES: dict[State, tuple[Transition, ...]] = {
    State.CANDIDATE: (),
    State.DECIDED: ("decide",),
    State.AUDIBLE: ("decide", "sound"),
    State.HELD: ("decide", "sound", "hold"),
    State.WITHDRAWN: ("withdraw",),
    State.HEARD: ("decide", "sound", "end"),
}
"""A way to each state."""


def new_reply() -> Reply:
    return Reply(turn=3, number=7, active=cast("ActiveAgent", None))


def make(reply: Reply, transition: Transition) -> None:
    does: Callable[[], None] = getattr(reply, transition)
    does()


def lived(state: State) -> Reply:
    reply = new_reply()
    for transition in LIVES[state]:
        make(reply, transition)
    assert reply.state is state
    return reply


def test_the_table_speaks_of_every_state_and_of_every_transition() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {transition for row in TRANSITIONS.values() for transition in row} == set(EVERY)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("transition", EVERY)
def test_a_transition_is_made_or_refused_as_the_table_says(state: State, transition: Transition) -> None:
    reply = lived(state)
    after = TRANSITIONS[state].get(transition)
    if after is None:
        with pytest.raises(IllegalTransition, match=f"t3.7 is {state.value}.*got {transition}"):
            make(reply, transition)
        assert reply.state is state
    else:
        make(reply, transition)
        assert reply.state is after


def test_a_refusal_says_what_would_have_been_allowed() -> None:
    with pytest.raises(IllegalTransition, match="is held: expected resume, end, got sound"):
        lived(State.HELD).sound()
    with pytest.raises(IllegalTransition, match="is heard: expected nothing, got resume"):
        lived(State.HEARD).resume()


@given(SEQUENCES)
def test_whatever_is_asked_of_it_a_reply_is_heard_only_once_decided_and_its_guess_is_given_back(
    asked: list[str],
) -> None:
    budget = PreemptiveBudget(at_once=1, waste_share=1.0)
    reply = new_reply()
    made: list[str] = []
    for one in asked:
        before = reply.state
        if one == "speculate":
            reply.generate_preemptively(budget)
            continue
        try:
            make(reply, cast("Transition", one))
        except IllegalTransition:
            assert one not in TRANSITIONS[before]
            assert reply.state is before
        else:
            made.append(one)
    if reply.has_sounded:
        assert made[:2] == ["decide", "sound"]
    assert not ({"withdraw"} <= set(made) and {"sound", "end"} & set(made))
    assert made.count("hold") - made.count("resume") in ((1,) if reply.state is State.HELD else (0, 1))
    assert reply.pending == (reply.state is State.CANDIDATE)
    if not reply.pending:
        assert budget.take()


@given(SEQUENCES)
def test_a_reply_that_is_over_stays_as_it_is(asked: list[str]) -> None:
    for state in (State.WITHDRAWN, State.HEARD):
        reply = lived(state)
        assert reply.over
        for one in asked:
            if one != "speculate":
                with pytest.raises(IllegalTransition):
                    make(reply, cast("Transition", one))
        assert reply.state is state


@given(st.lists(st.sampled_from(Made), max_size=8))
def test_the_making_of_a_reply_never_goes_back(asked: list[Made]) -> None:
    reply = new_reply()
    for made in asked:
        before = reply.made
        assert reply.reach(made) == (made > before)
        assert reply.made == max(made, before)


def test_a_guess_is_wasted_if_its_reply_is_withdrawn_and_used_if_it_is_decided() -> None:
    def wasted(transition: Transition) -> bool:
        budget = PreemptiveBudget(at_once=1, waste_share=0.0)
        for _ in range(10):
            reply = new_reply()
            assert reply.generate_preemptively(budget)
            make(reply, transition)
        return not budget.take()

    assert wasted("withdraw")
    assert not wasted("decide")


def test_a_reply_beyond_the_budget_waits_for_its_decision() -> None:
    budget = PreemptiveBudget(at_once=1, waste_share=1.0)
    first, second = new_reply(), new_reply()
    assert first.generate_preemptively(budget)
    assert not second.generate_preemptively(budget)
    second.decide()
    assert second.generate_preemptively(budget)


def test_who_waits_for_the_plan_goes_on_when_the_reply_is_withdrawn_and_who_waits_for_the_decision_does_not() -> None:
    async def main() -> None:
        reply, other = new_reply(), new_reply()
        reply.withdraw()
        await reply.until_planned()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await reply.until_decided()
        other.answer_with(Says("when do you open"))
        await other.until_planned()
        other.decide()
        await other.until_decided()

    run_virtual(main())


def test_its_clauses_are_told_from_those_of_other_replies() -> None:
    reply = new_reply()
    assert reply.owns(reply.clause_id())
    assert not reply.owns("t3.71.c0")
    assert not reply.owns("t3.6.c0")


def test_it_tells_which_of_its_clauses_that_must_be_remembered_were_heard_whole() -> None:
    reply = new_reply()
    ids = []
    for number, text in enumerate(["One moment.", "You are booked,", "and we will", "write to you."]):
        ids.append(reply.clause_id())
        reply.clauses.append(Clause(text, "form", id=f"1.0.{number}" if number else ""))
    heard = [
        HeardClause(ids[0], "One moment.", complete=True),
        HeardClause(ids[1], "You are booked,", complete=True),
        HeardClause(ids[2], "and we will", complete=False),
        HeardClause(ids[3], "write to", complete=False),
        HeardClause("t2.1.c1", "You are booked,", complete=True),
    ]
    assert reply.told(heard) == {"1.0.1", "1.0.2"}
