"""Which language model answers: easy questions the small one, hard ones the large one if it can be in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import GenerateRequest, Message, ModelFailure
from pipeline import events as ev
from pipeline.call_models import CallModels
from pipeline.clock import LoopClock
from pipeline.model_selection import Choice, ModelOverride, ModelSelection, Pace, SelectedModel, choose
from pipeline.planner import Planner
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import FakeModels, decision
from tests.pipeline.rig import manager
from tests.virtual_time import run_virtual

SETTINGS = ModelSelection()


def chosen(
    *,
    override: ModelOverride = "auto",
    confidence: float = 0.9,
    words: int = 6,
    lead: float | None = 0.2,
    settings: ModelSelection = SETTINGS,
    pace: Pace | None = None,
) -> Choice:
    return choose(settings, pace or Pace(), override=override, confidence=confidence, words=words, lead=lead)


@pytest.mark.parametrize(
    ("circumstances", "tier", "why"),
    [
        ({}, "small", "easy"),
        ({"lead": None}, "small", "easy"),
        ({"confidence": 0.3}, "large", "unsure"),
        ({"words": 30}, "large", "long"),
        ({"lead": 0.01}, "large", "close_facts"),
        ({"override": "large"}, "large", "set"),
        ({"override": "small", "confidence": 0.1, "words": 99}, "small", "set"),
        ({"confidence": 0.3, "settings": ModelSelection(large_ms=600)}, "small", "no_time"),
    ],
)
def test_the_choice_and_its_reason(circumstances: dict[str, object], tier: str, why: str) -> None:
    found = chosen(**circumstances)  # type: ignore[arg-type]
    assert (found.tier, found.why) == (tier, why)


@given(
    confidence=st.floats(0, 1),
    words=st.integers(0, 60),
    lead=st.none() | st.floats(0, 1),
    more_ms=st.floats(0, 2000),
)
def test_less_time_never_leads_to_the_large_model(
    confidence: float, words: int, lead: float | None, more_ms: float
) -> None:
    slow = ModelSelection(large_ms=SETTINGS.large_ms + more_ms)
    before = chosen(confidence=confidence, words=words, lead=lead)
    after = chosen(confidence=confidence, words=words, lead=lead, settings=slow)
    assert not (before.tier == "small" and after.tier == "large")


def test_what_was_measured_counts_once_there_is_enough_of_it() -> None:
    pace = Pace()
    for _ in range(4):
        pace.took("large", 2000)
    assert chosen(confidence=0.3, pace=pace).tier == "large"
    pace.took("large", 2000)
    assert (chosen(confidence=0.3, pace=pace).tier, chosen(confidence=0.3, pace=pace).why) == ("small", "no_time")
    for _ in range(50):
        pace.took("large", 200)
    assert chosen(confidence=0.3, pace=pace).tier == "large"


def test_what_the_small_model_saves_is_said() -> None:
    assert chosen().saved_ms == SETTINGS.large_ms - SETTINGS.small_ms
    assert chosen(override="large").saved_ms == 0


@dataclass
class FakeModel:
    name: str
    first_clause_s: float = 0.1
    fails_after: int | None = None
    prefilled: list[str] = field(default_factory=list)

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        for number in range(2):
            if self.fails_after == number:
                raise ModelFailure("gone")
            await asyncio.sleep(self.first_clause_s)
            yield f"{self.name} {number}"

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        if self.fails_after == 0:
            raise ModelFailure("gone")
        return f'"{self.name}"'

    async def prefill(self, request: GenerateRequest) -> None:
        self.prefilled.append(request.request_id)


def answer(small: FakeModel, large: FakeModel, tier: str, pace: Pace | None = None) -> list[str]:
    async def main() -> list[str]:
        tiers = SelectedModel(small, large, pace or Pace(), LoopClock())
        request = GenerateRequest("r", (Message("user", "why"),), tier=tier)  # type: ignore[arg-type]
        return [clause async for clause in tiers.clauses(request)]

    return run_virtual(main())


def test_the_request_says_which_model_answers_and_its_pace_is_kept() -> None:
    pace = Pace()
    for _ in range(5):
        assert answer(FakeModel("small", 0.2), FakeModel("large", 0.7), "large", pace) == ["large 0", "large 1"]
    assert pace.expected_ms("large", SETTINGS) == pytest.approx(700)
    assert pace.expected_ms("small", SETTINGS) == SETTINGS.small_ms


def test_the_small_model_answers_for_a_large_one_that_failed_before_its_first_clause() -> None:
    assert answer(FakeModel("small"), FakeModel("large", fails_after=0), "large") == ["small 0", "small 1"]
    with pytest.raises(ModelFailure):
        answer(FakeModel("small"), FakeModel("large", fails_after=1), "large")
    with pytest.raises(ModelFailure):
        answer(FakeModel("small", fails_after=0), FakeModel("large"), "small")


def test_what_is_bound_to_a_schema_is_asked_of_the_model_that_the_request_names_and_of_no_other() -> None:
    async def main() -> None:
        request = GenerateRequest("r", (Message("user", "why"),), tier="large")
        tiers = SelectedModel(FakeModel("small"), FakeModel("large"), Pace(), LoopClock())
        assert await tiers.structured(request, {}) == '"large"'
        with pytest.raises(ModelFailure):
            await SelectedModel(FakeModel("small"), FakeModel("large", fails_after=0), Pace(), LoopClock()).structured(
                request, {}
            )

    run_virtual(main())


def test_the_choice_is_logged_and_reaches_the_request() -> None:
    async def main() -> None:
        one, models = manager({"hours": ["Sure."]})
        log = ev.EventLog(LoopClock())
        router = FakeModels(utterances=[], routes={"hours": decision("knowledge", "hours", confidence=0.5)})
        planner = Planner(AGENT, CallModels(router, router, router, router, router), one, log, LoopClock())
        plan = await planner.plan(1, "what are your hours", "r1")
        assert not [event for event in log if isinstance(event, ev.ModelChosen)], "a guess may be thrown away"
        planner.counts(plan, 1)
        planner.counts(plan, 1)
        (event,) = [event for event in log if isinstance(event, ev.ModelChosen)]
        assert (event.tier, event.why) == ("large", "unsure")

        async def at_once() -> None:
            pass

        async for _ in one.clauses(plan, 1, "r1", at_once):
            break
        assert models.requests[-1].tier == "large"

    run_virtual(main())
