"""A sample of `python -m tests.chaos`: one process of each kind is killed while four callers book."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import run

pytestmark = pytest.mark.slow


async def test_whatever_dies_every_booking_is_made_once_and_the_caller_is_told_the_truth() -> None:
    outcomes = await run(12, seed=7, at_once=2, victims=("gateway", "office", "model"))
    assert len(outcomes) == 12
    assert not [(outcome.fault, outcome.heard) for outcome in outcomes if outcome.fault]
    assert {outcome.streams for outcome in outcomes if outcome.victim == "gateway"} == {2}
