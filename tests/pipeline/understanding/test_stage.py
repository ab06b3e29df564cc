"""Who decides what an utterance means: the router where it is sure, else a model, else rules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest

from models.types import Judgement, Meant, ModelFailure, Passage, RouteDecision, Situation
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.clock import LoopClock
from pipeline.understanding.acts import Answers, AsksFact, Understood, Unknown, Waits, Wishes
from pipeline.understanding.settings import UnderstandingPolicy
from pipeline.understanding.stage import Interpreter, backed, together
from tests.pipeline.agents import AGENT
from tests.virtual_time import run_virtual

FACT = AGENT.fact("cleaning")
SURE = RouteDecision("booking", 0.9, meant=Meant((("booking", 0.99), ("other", 0.01)), 0.9))
CLEANING_LIKELY = Judgement((("q:cleaning", 0.95), ("booking", 0.05)))
UNSURE = RouteDecision("booking", 0.5, meant=Meant((("booking", 0.6), ("q:cleaning", 0.4)), 0.6))


@dataclass
class FakeUnderstanding:
    """Judges as it is told; slow or broken on demand."""

    judgement: Judgement = CLEANING_LIKELY
    takes_s: float = 0.3
    broken: bool = False
    asked: list[Situation] = field(default_factory=list)

    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        self.asked.append(situation)
        await asyncio.sleep(self.takes_s)
        if self.broken:
            raise ModelFailure("the engine died")
        return self.judgement


@dataclass
class FakeReaders:
    """Reads what it is told is an answer, and of flows what it is told is said of them."""

    answers: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def surely_answered(self, utterance: str) -> bool:
        return utterance in self.answers

    def told_flows(self, utterance: str) -> Mapping[str, int]:
        return dict.fromkeys(self.told, 1)

    def only_tells(self, part: str) -> bool:
        return "number" in part


@dataclass
class FakeRouter:
    decision: RouteDecision
    parts: Mapping[str, RouteDecision | ModelFailure] = field(default_factory=dict)

    async def route(self, text: str) -> RouteDecision:
        decision = self.parts.get(text, self.decision)
        if isinstance(decision, ModelFailure):
            raise decision
        return decision


def understand(
    decision: RouteDecision,
    model: FakeUnderstanding | None,
    *situations: Situation,
    agent: Agent = AGENT,
    parts: Mapping[str, RouteDecision | ModelFailure] = MappingProxyType({}),
    readers: FakeReaders | None = None,
) -> tuple[list[Understood], list[ev.Event]]:
    async def main() -> tuple[list[Understood], list[ev.Event]]:
        log = ev.EventLog(LoopClock())
        router = FakeRouter(decision, parts)
        one = Interpreter(agent, router, model, UnderstandingPolicy(timeout_s=1.0), log, LoopClock())
        return [await one.understand(situation, 1, "r1", readers) for situation in situations], list(log)

    return run_virtual(main())


def test_where_the_nearest_examples_agree_the_model_is_not_asked() -> None:
    model = FakeUnderstanding()
    (understood,), log = understand(SURE, model, Situation("I need a slot"))
    assert (understood.way, understood.label, model.asked) == ("fast", "booking", [])
    assert isinstance(understood.act, Wishes)
    assert [event.way for event in log if isinstance(event, ev.Understood)] == ["fast"]


def test_what_the_agent_file_has_word_for_word_needs_no_model_and_no_votes() -> None:
    written = RouteDecision("booking", 1.0, meant=Meant((("q:cleaning", 0.8), ("booking", 0.2)), 0.9))
    (understood,), _ = understand(written, FakeUnderstanding(), Situation("book"))
    assert (understood.way, understood.label) == ("fast", "booking")


def test_examples_that_agree_from_far_away_are_not_enough() -> None:
    far = RouteDecision("booking", 0.9, meant=Meant((("booking", 0.99), ("other", 0.01)), 0.5))
    (understood,), _ = understand(far, FakeUnderstanding(), Situation("do you fix drains"))
    assert understood.way == "model"


def test_in_a_flow_the_model_is_asked_however_sure_the_examples_are() -> None:
    model = FakeUnderstanding(Judgement((("answer", 0.9), ("booking", 0.1))))
    (understood,), _ = understand(SURE, model, Situation("book", "What is your name?"))
    assert understood.act == Answers()
    assert understood.answers == pytest.approx(0.9)
    assert understood.otherwise is not None
    other, share = understood.otherwise
    assert isinstance(other, Wishes)
    assert share == pytest.approx(1)


@pytest.mark.parametrize(
    ("decision", "way"),
    [(UNSURE, "fast"), (RouteDecision("person", 0.9), "model")],
    ids=["an answer", "perhaps a person"],
)
def test_what_a_reader_is_sure_of_needs_no_model_unless_it_may_be_a_wish_meant_anywhere(
    decision: RouteDecision, way: str
) -> None:
    async def main() -> Understood:
        log, model = ev.EventLog(LoopClock()), FakeUnderstanding()
        one = Interpreter(AGENT, FakeRouter(decision), model, UnderstandingPolicy(), log, LoopClock())
        return await one.understand(
            Situation("no, a person", "Is that right?"), 1, "r1", FakeReaders(answers=("no, a person",))
        )

    assert run_virtual(main()).way == way


def test_the_model_and_the_examples_decide_together_and_say_on_what() -> None:
    (understood,), log = understand(UNSURE, FakeUnderstanding(), Situation("what would cleaning run me"))
    assert understood.act == AsksFact(FACT)
    assert 0.4 < understood.confidence < 0.95
    (event,) = [event for event in log if isinstance(event, ev.Understood)]
    assert list(event.evidence) == ["q:cleaning", "booking"]
    assert event.took_ms == pytest.approx(300)


@pytest.mark.parametrize("model", [FakeUnderstanding(broken=True), FakeUnderstanding(takes_s=5)], ids=["dead", "slow"])
def test_a_model_that_fails_leaves_the_decision_to_the_rules(model: FakeUnderstanding) -> None:
    (understood,), log = understand(UNSURE, model, Situation("a slot please"))
    assert understood.way == "rules"
    assert [event.stage for event in log if isinstance(event, ev.StageFailed)] == ["understand"]


def test_without_a_model_the_rules_decide() -> None:
    asked = RouteDecision("knowledge", 0.95, (Passage("cleaning", "", 0.9),))
    (understood,), _ = understand(asked, None, Situation("how much is it"))
    assert (understood.way, understood.act) == ("rules", AsksFact(FACT))


def test_the_same_words_are_never_judged_twice() -> None:
    model = FakeUnderstanding()
    said = Situation("what would cleaning run me")
    first, again, other = understand(UNSURE, model, said, said, Situation("and whitening"))[0]
    assert first is again
    assert other is not first
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("label", "needed"),
    [("farewell", 0.5), ("person", 0.4), ("never_mind", 0.4)],
    ids=["hang up", "hand over", "call off"],
)
def test_what_would_do_harm_must_be_likelier(label: str, needed: float) -> None:
    for share, done in ((needed - 0.02, False), (needed + 0.02, True)):
        rest = (1 - share) / 4
        others = tuple((f"q:{fact}", rest) for fact in ("hours", "cleaning"))
        judgement = Judgement(((label, share), ("other", rest), ("wait", rest), *others))
        (understood,), log = understand(RouteDecision("x", 0.1), FakeUnderstanding(judgement), Situation("right then"))
        assert (understood.label == label) is done
        assert isinstance(understood.act, Wishes) is done
        assert (understood.doubted is None) is done
        (event,) = [event for event in log if isinstance(event, ev.Understood)]
        assert event.doubted == ("" if done else label)


def test_what_is_far_from_certain_enough_is_not_even_in_doubt() -> None:
    judgement = Judgement((("farewell", 0.22), ("other", 0.2), ("wait", 0.2), ("q:hours", 0.19), ("q:cleaning", 0.19)))
    (understood,), _ = understand(RouteDecision("x", 0.1), FakeUnderstanding(judgement), Situation("right then"))
    assert (understood.act, understood.doubted) == (Unknown(), None)


def test_any_route_that_says_how_it_is_asked_back_needs_certainty() -> None:
    booking = AGENT.route("booking")
    assert booking is not None
    asks = booking.model_copy(update={"asks_back": "Would you like to come in?"})
    agent = AGENT.model_copy(update={"routes": tuple(asks if one is booking else one for one in AGENT.routes)})
    judgement = Judgement((("booking", 0.38), ("q:cleaning", 0.32), ("other", 0.3)))
    for one, doubted in ((AGENT, None), (agent, Wishes(asks))):
        (understood,), _ = understand(
            RouteDecision("x", 0.1), FakeUnderstanding(judgement), Situation("cleaning"), agent=one
        )
        assert understood.doubted == doubted


def test_the_labels_that_every_agent_has() -> None:
    for label, act in (("wait", Waits()), ("other", Unknown())):
        (understood,), _ = understand(
            RouteDecision("x", 0.1), FakeUnderstanding(Judgement(((label, 1.0),))), Situation("x")
        )
        assert understood.act == act


def test_neither_model_nor_examples_can_rule_a_meaning_out_alone() -> None:
    shares = dict(together(Judgement((("a", 1.0), ("b", 0.0))), Meant((("b", 1.0), ("a", 0.0)), 0.9)))
    assert min(shares.values()) > 0.01


def test_the_model_decides_between_what_the_examples_leave_open() -> None:
    open_ = Meant((("a", 0.5), ("b", 0.5)), 0.9)
    assert together(Judgement((("b", 0.9), ("a", 0.1))), open_)[0][0] == "b"


def test_an_answer_keeps_what_the_model_gave_it_since_it_has_no_examples() -> None:
    judged = Judgement((("answer", 0.6), ("a", 0.3), ("b", 0.1)))
    shares = dict(together(judged, Meant((("b", 0.9), ("a", 0.1)), 0.9)))
    assert shares["answer"] == pytest.approx(0.6)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["b"] > shares["a"]


def meant(label: str, share: float = 0.97) -> RouteDecision:
    return RouteDecision("knowledge", 0.5, meant=Meant(((label, share), ("other", 1 - share)), 0.9))


TWO = "How much is a cleaning? And when do you open?"
TWO_PARTS = {"How much is a cleaning?": meant("q:cleaning"), "And when do you open?": meant("q:hours")}


@pytest.mark.parametrize(("model", "way"), [(FakeUnderstanding(), "fast"), (None, "rules")], ids=["model", "no model"])
def test_two_questions_in_one_breath_are_told_apart_by_the_examples_alone(
    model: FakeUnderstanding | None, way: str
) -> None:
    (understood,), log = understand(UNSURE, model, Situation(TWO), parts=TWO_PARTS)
    assert understood.facts == (FACT, AGENT.fact("hours"))
    assert (understood.way, understood.label, understood.confidence) == (way, "knowledge", pytest.approx(0.97))
    assert model is None or not model.asked
    (event,) = [event for event in log if isinstance(event, ev.Understood)]
    assert list(event.evidence) == ["q:cleaning", "q:hours"]


def test_what_the_parts_leave_open_is_judged_as_a_whole() -> None:
    parts = TWO_PARTS | {"And when do you open?": meant("q:hours", 0.5)}
    (understood,), _ = understand(UNSURE, FakeUnderstanding(), Situation(TWO), parts=parts)
    assert (understood.way, understood.facts) == ("model", (FACT,))


def test_a_router_that_fails_on_a_part_leaves_the_whole_to_the_model() -> None:
    gone: dict[str, RouteDecision | ModelFailure] = {"How much is a cleaning?": ModelFailure("the router is gone")}
    (understood,), log = understand(UNSURE, FakeUnderstanding(), Situation(TWO), parts=gone)
    assert (understood.way, understood.acts) == ("model", (AsksFact(FACT),))
    assert [event.stage for event in log if isinstance(event, ev.StageFailed)] == ["route"]


def test_in_a_flow_a_part_that_is_read_is_the_answer_and_the_other_is_asked() -> None:
    said = Situation("Tuesday at ten. How much is a cleaning?", "Which would you like?", ("booking",))
    parts = {"How much is a cleaning?": meant("q:cleaning"), "Tuesday at ten.": meant("booking")}
    readers = FakeReaders(answers=("Tuesday at ten.",))
    (understood,), _ = understand(UNSURE, FakeUnderstanding(), said, parts=parts, readers=readers)
    assert (understood.acts, understood.way) == ((Answers(), AsksFact(FACT)), "fast")


def test_several_acts_that_a_model_names_are_all_taken_the_weightiest_first() -> None:
    both = Judgement((("q:cleaning", 0.475), ("booking", 0.475), ("other", 0.05)), ("q:cleaning", "booking"))
    (understood,), _ = understand(UNSURE, FakeUnderstanding(both), Situation("a price and a slot please"))
    assert isinstance(understood.act, Wishes)
    assert (understood.facts, understood.label, understood.way) == ((FACT,), "booking", "model")
    assert understood.confidence > 0.9


def test_of_acts_that_cannot_be_done_at_once_the_likeliest_is_taken() -> None:
    both = Judgement((("never_mind", 0.475), ("q:cleaning", 0.475), ("other", 0.05)), ("never_mind", "q:cleaning"))
    (understood,), _ = understand(RouteDecision("x", 0.1), FakeUnderstanding(both), Situation("drop it, how much"))
    assert [type(act) for act in understood.acts] == [Wishes]


def test_a_wish_of_which_a_value_is_told_is_likelier() -> None:
    judged = Judgement((("q:cleaning", 0.6), ("booking", 0.4)))
    for told, label in (((), "knowledge"), (("book",), "booking")):
        readers = FakeReaders(told=told)
        (understood,), _ = understand(
            RouteDecision("x", 0.1), FakeUnderstanding(judged), Situation("the third of May"), readers=readers
        )
        assert understood.label == label
    in_flow = Situation("the third of May", "When were you born?")
    (understood,), _ = understand(
        RouteDecision("x", 0.1), FakeUnderstanding(judged), in_flow, readers=FakeReaders(told=("book",))
    )
    assert understood.label == "knowledge", "in a flow a value is rather the answer"


def test_what_is_told_raises_its_wish_and_leaves_the_rest_in_order() -> None:
    shares = (("a", 0.5), ("b", 0.3), ("c", 0.2))
    assert backed(shares, {}) == tuple((label, pytest.approx(share)) for label, share in shares)
    raised = backed(shares, {"c": 1})
    assert [label for label, _ in raised] == ["c", "a", "b"]
    assert sum(share for _, share in raised) == pytest.approx(1)
    assert backed(shares, {"b": 1, "c": 2})[0][0] == "c", "two values tell more than one"


@pytest.mark.parametrize("agent_said", ["", "Which would you like?"], ids=["between flows", "in a flow"])
def test_what_only_tells_a_number_is_left_to_the_flow_and_what_is_wished_is_judged(agent_said: str) -> None:
    model = FakeUnderstanding()
    said = Situation("A price please. The number is 4711 0815.", agent_said)
    understand(UNSURE, model, said, readers=FakeReaders())
    assert [asked.utterance for asked in model.asked] == [said.utterance if agent_said else "A price please."]
    alone = Situation("The number is 4711 0815.")
    understand(UNSURE, model, alone, readers=FakeReaders())
    assert model.asked[-1] == alone
