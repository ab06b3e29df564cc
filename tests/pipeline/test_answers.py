"""Facts in a language model's words: each clause is borne out, and nothing that was asked for is left out."""

from __future__ import annotations

import pytest

from models.types import ModelFailure
from pipeline.agent import Agent, Fact, Generation
from pipeline.answers import AnswerWriter
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.context.parts import Known
from tests.pipeline.agents import AGENT, SPANISH
from tests.pipeline.fakes import FakeModels
from tests.virtual_time import run_virtual

HOURS = Fact(id="hours", text="We are open Monday to Friday, from eight to five.")
SATURDAY = Fact(id="saturday", text="On Saturday we are open from nine to one.")
PARKING = Fact(id="parking", text="Parking behind the house is free.")
HORARIO = Fact(id="horario", text="Abrimos de lunes a viernes, de ocho a cinco.")
APARCAR = Fact(id="aparcar", text="Aparcar detrás del edificio es gratis.")
BOOKED = Known("appointment", "Tuesday at ten", confirmed=True)


def answer(
    facts: tuple[Fact, ...], generated: list[str], *known: Known, agent: Agent = AGENT, question: str = "when"
) -> list[tuple[str, str]]:
    models = FakeModels(utterances=[], generated={question: generated})
    writer = AnswerWriter(agent, models, AgentContext(agent, RoughCounter()).of_call())

    async def collect() -> list[tuple[str, str]]:
        return [(one.source, one.text) async for one in writer.clauses(facts, question, known, "r1", "large")]

    said = run_virtual(collect())
    assert len(models.requests) <= 1
    return said


def test_facts_are_joined_in_one_answer_from_one_prompt() -> None:
    generated = ["We are open Monday to Friday from eight to five,", "and on Saturday from nine to one."]
    assert answer((HOURS, SATURDAY), generated) == [("llm", text) for text in generated]


def test_a_fact_that_the_answer_leaves_out_is_added_as_it_is_written() -> None:
    said = answer((HOURS, PARKING), ["We are open Monday to Friday from eight to five."])
    assert [source for source, _ in said] == ["llm", *["knowledge"] * (len(said) - 1)]
    assert " ".join(text for _, text in said[1:]) == PARKING.text


def test_a_fact_that_was_begun_word_for_word_goes_on_where_the_answer_broke_off() -> None:
    said = answer((PARKING,), ["Parking behind the house", "costs five dollars."])
    assert [text for _, text in said] == ["Parking behind the house", "is free."]


@pytest.mark.parametrize(
    "clause",
    [
        "On Saturday we are open from eight to five.",
        "Monday to Friday from nine to one.",
        "On Saturday parking is free.",
    ],
)
def test_a_clause_that_mixes_two_facts_into_a_third_is_not_said(clause: str) -> None:
    said = answer((HOURS, SATURDAY, PARKING), [clause])
    assert {source for source, _ in said} == {"knowledge"}
    assert " ".join(text for _, text in said) == f"{HOURS.text} {SATURDAY.text} {PARKING.text}"


def test_what_is_known_of_the_caller_may_stand_in_an_answer_and_nothing_else_of_them() -> None:
    generated = ["Your appointment is Tuesday at ten,", "parking behind the house is free."]
    assert answer((PARKING,), generated, BOOKED) == [("llm", text) for text in generated]
    other = ["Your appointment is Tuesday at nine,", "parking behind the house is free."]
    assert answer((PARKING,), other, BOOKED) == [("knowledge", PARKING.text)]


def test_a_secret_is_never_borne_out() -> None:
    secret = Known("code", "four two", sensitive=True)
    assert answer((PARKING,), ["Your code is four two."], secret) == [("knowledge", PARKING.text)]


def test_in_spanish_too() -> None:
    spanish = SPANISH.model_copy(update={"generation": Generation()})
    generated = ["Abrimos de lunes a viernes de ocho a cinco,", "y aparcar detrás del edificio es gratis."]
    assert answer((HORARIO, APARCAR), generated, agent=spanish) == [("llm", text) for text in generated]
    mixed = answer((HORARIO, APARCAR), ["Aparcar de lunes a viernes es gratis."], agent=spanish)
    assert {source for source, _ in mixed} == {"knowledge"}


def test_where_answers_are_the_facts_no_model_is_asked() -> None:
    agent = AGENT.model_copy(update={"generation": Generation(words="facts")})
    said = answer((HOURS, SATURDAY), ["Never asked."], agent=agent)
    assert " ".join(text for _, text in said) == f"{HOURS.text} {SATURDAY.text}"


def test_a_model_that_fails_is_apologised_for_once_and_then_stood_in_for() -> None:
    models = FakeModels(utterances=[], generated={"park": ["It is free."]}, broken={"reply"})
    writer = AnswerWriter(AGENT, models, AgentContext(AGENT, RoughCounter()).of_call())

    async def collect() -> list[tuple[str, str]]:
        return [(one.text, one.failure) async for one in writer.clauses((PARKING,), "park", (), "r1", "small")]

    with pytest.raises(ModelFailure):
        run_virtual(collect())
    assert run_virtual(collect()) == [(PARKING.text, "reply is broken")]
