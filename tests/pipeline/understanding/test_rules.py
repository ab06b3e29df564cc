"""What the router's word means by thresholds, and what readers know without it."""

from __future__ import annotations

import pytest

from models.types import Meant, Passage, RouteDecision
from pipeline.agent import Agent, Route
from pipeline.understanding.acts import Answers, AsksFact, DialogueAct, Unknown, Waits, Wishes
from pipeline.understanding.rules import by_rules
from tests.pipeline.agents import AGENT, SPANISH

NEAR = (Passage("hours", "", 0.9),)


@pytest.mark.parametrize("in_flow", [False, True])
@pytest.mark.parametrize(
    ("agent", "said"),
    [(AGENT, "hang on, let me get my diary"), (AGENT, "one sec"), (SPANISH, "espere un segundito"), (SPANISH, "a ver")],
)
def test_who_asks_for_a_moment_is_understood_whatever_the_router_makes_of_it(
    agent: Agent, said: str, in_flow: bool
) -> None:
    understood = by_rules(agent, said, RouteDecision("person", 0.9, NEAR), in_flow=in_flow)
    assert (understood.act, understood.confidence) == (Waits(), 1.0)


@pytest.mark.parametrize("in_flow", [False, True])
@pytest.mark.parametrize(("agent", "said"), [(AGENT, "Pardon me?"), (AGENT, "what"), (SPANISH, "¿cómo dice?")])
def test_who_did_not_catch_the_answer_wants_it_again_whatever_the_router_makes_of_it(
    agent: Agent, said: str, in_flow: bool
) -> None:
    again = Route(name="again", kind="repeat", examples=("a", "b", "c"))
    decision = RouteDecision("person", 0.9, NEAR)
    understood = by_rules(agent.model_copy(update={"routes": (*agent.routes, again)}), said, decision, in_flow=in_flow)
    assert (understood.act, understood.confidence) == (Wishes(again), 1.0)
    assert by_rules(agent, said, decision, in_flow=in_flow).act != Wishes(again)


def test_a_wish_counts_from_its_confidence_on_and_in_a_flow_from_a_higher_one() -> None:
    for confidence, free, in_flow in ((0.3, Unknown, Answers), (0.5, Wishes, Answers), (0.7, Wishes, Wishes)):
        decision = RouteDecision("booking", confidence)
        assert isinstance(by_rules(AGENT, "put me down", decision, in_flow=False).act, free)
        assert isinstance(by_rules(AGENT, "put me down", decision, in_flow=True).act, in_flow)


def test_a_question_that_a_fact_is_written_for_asks_for_it_whatever_the_route() -> None:
    written = (Passage("hours", "", 0.99),)
    assert by_rules(AGENT, "When are you open?", RouteDecision("booking", 0.9, written), in_flow=False).act == AsksFact(
        AGENT.fact("hours")
    )


@pytest.mark.parametrize(("share", "nearest", "asked"), [(0.99, 0.97, True), (0.6, 0.97, False), (0.99, 0.6, False)])
def test_a_way_to_ask_for_a_fact_counts_like_its_own_questions(share: float, nearest: float, asked: bool) -> None:
    meant = Meant((("q:hours", share),), nearest=nearest)
    decision = RouteDecision("booking", 0.7, (Passage("hours", "", 0.87),), meant=meant)
    act = by_rules(AGENT, "How late can I drop in?", decision, in_flow=False).act
    assert isinstance(act, AsksFact if asked else Wishes)


@pytest.mark.parametrize("in_flow", [False, True])
@pytest.mark.parametrize(
    ("agent", "said", "route", "shares", "nearest", "asked"),
    [
        (AGENT, "how long is the desk staffed", "booking", {"q:hours": 0.9, "booking": 0.1}, 0.85, True),
        (AGENT, "How long is the desk staffed?", "booking", {"q:hours": 0.6, "q:cleaning": 0.3}, 0.7, True),
        (SPANISH, "¿hasta qué hora atienden?", "cita", {"q:hours": 0.85, "cita": 0.15}, 0.7, True),
        (SPANISH, "¿me puede dar hora para el jueves?", "cita", {"q:hours": 0.3, "cita": 0.7}, 0.9, False),
        (AGENT, "Could you do me on Thursday?", "booking", {"q:hours": 0.55, "booking": 0.45}, 0.9, False),
        (AGENT, "put me down when you are there", "booking", {"q:hours": 0.9}, 0.85, False),
        (AGENT, "how long is the desk staffed", "booking", {"q:hours": 0.9}, 0.5, False),
    ],
)
def test_a_question_whose_neighbours_ask_for_a_fact_begins_no_flow(
    agent: Agent, said: str, route: str, shares: dict[str, float], nearest: float, asked: bool, in_flow: bool
) -> None:
    meant = Meant(tuple(shares.items()), nearest=nearest)
    act = by_rules(agent, said, RouteDecision(route, 0.62, NEAR, meant=meant), in_flow=in_flow).act
    assert isinstance(act, AsksFact if asked else Wishes)


@pytest.mark.parametrize(
    ("share", "said", "asked"),
    [
        (0.85, "how late is somebody there", True),
        (0.7, "how late is somebody there", False),
        (0.85, "so far", False),
    ],
)
def test_a_question_that_would_be_declined_asks_for_the_fact_that_nearly_all_near_ask_for(
    share: float, said: str, asked: bool
) -> None:
    far = (Passage("hours", "", 0.3),)
    decision = RouteDecision(
        "knowledge", 0.2, far, meant=Meant((("q:hours", share), ("q:cleaning", 0.12)), nearest=0.7)
    )
    assert isinstance(by_rules(AGENT, said, decision, in_flow=False).act, AsksFact if asked else Unknown)
    assert isinstance(by_rules(AGENT, said, decision, in_flow=True).act, Answers)


def test_an_example_of_a_wish_word_for_word_is_that_wish_whatever_is_near() -> None:
    meant = Meant((("q:hours", 0.9), ("booking", 0.1)), nearest=1.0)
    act = by_rules(AGENT, "Can I come when you open?", RouteDecision("booking", 1.0, meant=meant), in_flow=False).act
    assert isinstance(act, Wishes)


def test_a_question_that_leads_to_a_wish_asks_for_the_nearest_fact_if_that_wish_is_under_way() -> None:
    for said, scored, otherwise in (
        ("What if I come on a Sunday?", 0.7, (AsksFact(AGENT.fact("hours")), 0.7)),
        ("What if I come on a Sunday?", 0.2, None),
        ("put me down for Sunday", 0.7, None),
    ):
        decision = RouteDecision("booking", 0.9, (Passage("hours", "", scored),))
        assert isinstance(by_rules(AGENT, said, decision, in_flow=True).act, Wishes)
        assert by_rules(AGENT, said, decision, in_flow=True).otherwise == otherwise
        assert by_rules(AGENT, said, decision, in_flow=False).otherwise is None


ROBOT = Route(name="robot", kind="say", line="A computer.", examples=("a", "b", "c"))
ABUSE = Route(name="abuse", kind="abuse", examples=("a", "b", "c"))
WITH_BOTH = AGENT.model_copy(update={"routes": (*AGENT.routes, ROBOT, ABUSE)})


@pytest.mark.parametrize(
    ("said", "decision", "free", "in_flow"),
    [
        ("are you a robot", RouteDecision("robot", 0.7), Wishes(ROBOT), Wishes(ROBOT)),
        ("yes", RouteDecision("robot", 0.7), Wishes(ROBOT), Answers()),
        ("are you sure", RouteDecision("robot", 0.5), Wishes(ROBOT), Answers()),
        ("are you far", RouteDecision("robot", 0.7, meant=Meant((("hours", 0.9),))), Unknown(), Answers()),
        ("you fool", RouteDecision("abuse", 0.7), Wishes(ABUSE), Wishes(ABUSE)),
        ("you fool", RouteDecision("abuse", 0.5), Unknown(), Answers()),
        ("you are no help", RouteDecision("abuse", 0.9, meant=Meant((("other", 0.9),))), Unknown(), Answers()),
    ],
)
def test_a_fixed_line_and_a_warning_need_the_nearest_examples_too_and_in_a_flow_a_question(
    said: str, decision: RouteDecision, free: DialogueAct, in_flow: DialogueAct
) -> None:
    assert by_rules(WITH_BOTH, said, decision, in_flow=False).act == free
    assert by_rules(WITH_BOTH, said, decision, in_flow=True).act == in_flow
