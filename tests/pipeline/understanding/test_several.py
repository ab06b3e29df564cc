"""When an utterance means more than one thing: only if that is plain of every part that asks or wishes."""

from __future__ import annotations

import pytest

from models.types import Meant
from pipeline.agent import Route
from pipeline.understanding.several import Part, compatible, several
from pipeline.workflow.definition import Flow
from tests.pipeline.agents import AGENT

FAIR = 0.8


def part(text: str, label: str, share: float = 0.95, nearest: float = 0.9, *, answered: bool = False) -> Part:
    return Part(text, Meant(((label, share), ("other", 1 - share)), nearest), answered)


def labels(*parts: Part, in_flow: bool = False, excluded: tuple[str, ...] = ()) -> tuple[str, ...]:
    return tuple(label for label, _ in several(AGENT, parts, in_flow=in_flow, excluded=excluded))


HOURS = part("when do you open?", "q:hours")
PRICE = part("how much is a cleaning?", "q:cleaning")
BOOK = part("I want to book", "booking")
STORY = part("my neighbour told me about you", "other", 0.4, 0.4)
RIDDLE = part("do you fix boats?", "other", 0.4, 0.4)


def test_two_facts_that_are_asked_for_are_both_meant_in_the_order_said() -> None:
    assert labels(HOURS, PRICE) == ("q:hours", "q:cleaning")
    assert labels(PRICE, HOURS) == ("q:cleaning", "q:hours")


def test_a_wish_comes_before_a_fact_wherever_it_was_said() -> None:
    assert labels(HOURS, BOOK) == ("booking", "q:hours")
    assert labels(BOOK, HOURS) == ("booking", "q:hours")


def test_the_same_twice_is_one() -> None:
    assert labels(HOURS, part("are you open at nine?", "q:hours")) == ()


def test_one_question_that_is_not_plain_leaves_it_all_to_whoever_judges_the_whole() -> None:
    assert labels(HOURS, PRICE, RIDDLE) == ()
    assert labels(HOURS, Part("what is it?", Meant())) == ()


def test_what_is_told_beside_is_passed_over() -> None:
    assert labels(STORY, HOURS, PRICE) == ("q:hours", "q:cleaning")
    assert labels(STORY, HOURS) == ()


def test_a_fact_that_is_told_and_not_asked_for_is_not_meant() -> None:
    assert labels(part("I read that you open at eight", "q:hours"), PRICE) == ()


@pytest.mark.parametrize(
    ("text", "share", "nearest", "meant"),
    [
        ("when do you open then", FAIR, 0.7, True),
        ("open when?", FAIR, 0.7, False),
        ("open when?", 0.95, 0.7, True),
        ("when do you open then", FAIR, 0.5, False),
        ("when do you open then", 0.5, 0.9, False),
    ],
)
def test_a_few_words_must_be_surer_than_some(text: str, share: float, nearest: float, meant: bool) -> None:
    assert (labels(part(text, "q:hours", share, nearest), PRICE) != ()) is meant


def test_an_answer_goes_with_a_question_in_a_flow_only() -> None:
    ten = part("Tuesday at ten", "other", 0.3, 0.3, answered=True)
    assert labels(ten, PRICE, in_flow=True) == ("answer", "q:cleaning")
    assert labels(STORY, PRICE, in_flow=True) == ("answer", "q:cleaning"), "the readers find out whether it is one"
    assert labels(part("yes, book it for me please", "booking"), PRICE, in_flow=True, excluded=("booking",)) == (
        "answer",
        "q:cleaning",
    )


def test_what_would_do_harm_must_be_sure_and_a_goodbye_the_last_word() -> None:
    assert labels(HOURS, part("get me somebody real please", "person")) == ("person", "q:hours")
    assert labels(HOURS, part("get me somebody real please", "person", FAIR)) == ()
    goodbye = part("goodbye", "farewell")
    assert labels(HOURS, goodbye) == ("farewell", "q:hours")
    assert labels(goodbye, HOURS) == ()


@pytest.mark.parametrize(("instead_of", "meant"), [((), ("move", "booking")), (("book",), ())])
def test_two_wishes_are_meant_one_after_the_other_unless_one_takes_the_other_s_place(
    instead_of: tuple[str, ...], meant: tuple[str, ...]
) -> None:
    nodes = {"told": {"do": "say", "say": "Moved.", "go": "end"}}
    moving = Flow.model_validate({"start": "told", "instead_of": instead_of, "nodes": nodes})
    move = Route(name="move", kind="flow", flow="move", examples=("a", "b", "c"))
    agent = AGENT.model_copy(update={"routes": (*AGENT.routes, move), "flows": {**AGENT.flows, "move": moving}})
    parts = [part("I need to move my visit on Monday", "move"), BOOK]
    assert tuple(label for label, _ in several(agent, parts, in_flow=False)) == meant
    assert several(agent, parts, in_flow=True) == ()


@pytest.mark.parametrize("name", ["never_mind"])
def test_calling_off_goes_with_nothing(name: str) -> None:
    assert labels(part("forget about that please", name), HOURS) == ()


def test_a_courtesy_is_no_act_beside_others() -> None:
    hello = Route.model_validate({"name": "hello", "kind": "say", "line": "Hello!", "examples": ("a", "b", "c")})
    agent = AGENT.model_copy(update={"routes": (*AGENT.routes, hello)})
    greeted = [part("hello there", "hello"), HOURS, PRICE]
    assert [label for label, _ in several(agent, greeted, in_flow=False)] == ["q:hours", "q:cleaning"]
    assert several(agent, greeted[:2], in_flow=False) == ()


def test_of_what_a_model_names_only_what_can_be_done_at_once_is_kept() -> None:
    assert compatible(AGENT, ("q:hours", "booking"), in_flow=False) == ("booking", "q:hours")
    assert compatible(AGENT, ("q:hours", "answer"), in_flow=True) == ("answer", "q:hours")
    for alone in (("q:hours",), ("booking", "person"), ("q:hours", "other"), ("wait", "q:hours"), ()):
        assert compatible(AGENT, alone, in_flow=False) == ()
