"""A language model may point at words that were said, and at nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from models.types import GenerateRequest, RouteDecision
from pipeline.filling import CERTAINTY, MOST_SPAN_WORDS, NOTHING, fill_request, pointed_at, spans
from pipeline.slots.reading import Option, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.state import Memory, News
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import FakeModels, decision, plan_of
from tests.pipeline.rig import looked_up, manager

CONTEXT = ReadingContext(today=date(2026, 11, 25))
NAME = Variable(type="name")


class Pointing(FakeModels):
    """Points at what it is told to."""

    at = NOTHING

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        self.requests.append(request)
        yield self.at


@given(st.lists(st.sampled_from(["it's", "Gloria,", "my", "wife's", "name.", "on", "the", "account"]), max_size=40))
def test_every_span_is_a_run_of_the_caller_s_own_words(words: list[str]) -> None:
    utterance = " ".join(words)
    for span in spans(utterance):
        assert span in utterance
        assert 1 <= len(span.split()) <= MOST_SPAN_WORDS


def test_a_choice_is_made_among_what_is_on_offer() -> None:
    context = ReadingContext(today=date(2026, 11, 25), options=(Option("1", "at ten"), Option("2", "at noon")))
    request = fill_request(Variable(type="choice", options_from="openings"), "When?", "lunchtime", context, "r")
    assert request.choices == ("at ten", "at noon", NOTHING)


FILLED = AGENT.model_copy(update={"variables": {**AGENT.variables, "name": Variable(type="name", fill="model")}})


def asked_for_the_name(points_at: str) -> tuple[str, float, Pointing]:
    """The name known after an answer that the reader cannot read, and how surely."""

    async def main() -> tuple[str, float, Pointing]:
        one, _ = manager(agent=FILLED)
        model = Pointing(utterances=[])
        model.at = points_at
        one.commit(plan_of(one, "book please", decision("booking")))
        one.commit(plan_of(one, "Tuesday at ten", decision("knowledge", confidence=0.1)))
        said = "you had better ask my wife about that, hers is Gloria, same as on the account"
        plan = plan_of(one, said, RouteDecision("knowledge", 0.1), 3)
        assert plan.unfit
        request = one.to_fill(plan, "r")
        assert request is not None
        words = await pointed_at(model, request)
        plan = one.filled(plan, words, 3) if words else plan
        assert plan.state is not None
        value = plan.state.values.get("name")
        return (value.value, value.confidence, model) if value else ("", 0.0, model)

    return asyncio.run(main())


def test_what_it_points_at_is_read_as_if_it_had_been_said_alone_and_believed_less() -> None:
    name, confidence, model = asked_for_the_name("Gloria")
    assert name == "Gloria"
    assert confidence <= CERTAINTY
    assert NOTHING in model.requests[-1].choices


def test_nothing_and_words_that_were_not_said_leave_the_question_open() -> None:
    assert asked_for_the_name(NOTHING)[0] == ""
    assert asked_for_the_name("Hildegard")[0] == ""


def test_a_variable_is_filled_by_the_reader_alone_unless_the_agent_file_says_otherwise() -> None:
    one, _ = manager()
    one.commit(plan_of(one, "book please", decision("booking")))
    plan = plan_of(one, "well that depends on a lot of things", RouteDecision("knowledge", 0.1))
    assert not plan.unfit
    assert one.to_fill(plan, "r") is None


def test_news_are_told_with_an_answer_that_a_model_found() -> None:
    one, _ = manager(agent=FILLED, memory=Memory(looked_up(), untold=(News("7.0.0", "Your car is parked."),)))
    for said in ("book please", "Tuesday at ten"):
        one.commit(plan_of(one, said, decision("booking")))
    plan = plan_of(one, "you had better ask my wife, hers is Gloria", RouteDecision("knowledge", 0.1))
    filled = one.filled(plan, "Gloria", 3)
    assert filled is not plan
    assert filled.fixed[0].text == "Your car is parked."
