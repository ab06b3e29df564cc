"""What is said to what: planning changes nothing, committing does."""

import asyncio
from dataclasses import replace

import pytest

from models.types import RouteDecision
from pipeline.agent import Agent
from pipeline.dialogue_manager import DialogueManager
from pipeline.endpointing import sounds_unfinished
from pipeline.escalation import Away, TransferTarget
from pipeline.hours import Hours
from pipeline.plan import Clause, EndsCall, Plan, Says
from pipeline.state import CallState, HangUp, Memory, News, Transfer
from pipeline.understanding.acts import AsksFact, Understood, Unknown, Wishes
from pipeline.workflow.definition import Flow
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import decision, plan_of
from tests.pipeline.rig import looked_up, manager


def say(agent: DialogueManager, plan: Plan) -> list[tuple[str, str]]:
    async def collect() -> list[tuple[str, str]]:
        return [(clause.source, clause.text) async for clause in agent.clauses(plan, 1, "r1", _at_once)]

    return asyncio.run(collect())


async def _at_once() -> None:
    pass


def texts(plan: Plan) -> list[str]:
    return [clause.text for clause in plan.fixed]


def test_planning_a_booking_step_twice_gives_the_same_plan() -> None:
    agent, _ = manager()
    agent.commit(plan_of(agent, "book please", decision("booking")))
    first = plan_of(agent, "Tuesday at ten", RouteDecision("knowledge", 0.1))
    second = plan_of(agent, "Tuesday at ten", RouteDecision("knowledge", 0.1))
    assert texts(first) == texts(second) == ["What is your name?"]


def test_a_question_in_the_middle_of_a_booking_is_answered_and_the_booking_goes_on() -> None:
    agent, _ = manager({"cost": ["A cleaning costs ninety dollars."]})
    agent.commit(plan_of(agent, "book please", decision("booking")))
    plan = plan_of(agent, "what does a cleaning cost", decision("knowledge", "cleaning"))
    assert next(text for _, text in say(agent, plan)) == "A cleaning costs ninety dollars."
    assert plan.state is not None
    assert plan.state.stack
    assert texts(plan)[0].startswith("I have Tuesday")


def test_goodbye_in_the_middle_of_a_booking_ends_the_call() -> None:
    agent, _ = manager()
    agent.commit(plan_of(agent, "book please", decision("booking")))
    plan = plan_of(agent, "bananas, bye", decision("farewell"))
    assert isinstance(plan, EndsCall)
    assert plan.how == HangUp()


def test_repeat_says_what_the_caller_last_heard() -> None:
    route = AGENT.routes[0].model_copy(update={"name": "again", "kind": "repeat"})
    asked_again = AGENT.model_copy(update={"routes": (*AGENT.routes, route)})
    repeating, _ = manager(agent=asked_again)
    repeating.heard("A cleaning costs")
    assert texts(plan_of(repeating, "what", decision("again"), agent=asked_again)) == ["A cleaning costs"]


def test_an_unsure_route_leaves_the_word_to_the_facts() -> None:
    agent, _ = manager()
    plan = plan_of(agent, "hm cost", RouteDecision("farewell", 0.2, decision("x", "cleaning").passages))
    assert plan.fact is not None
    assert isinstance(plan, Says)


def test_chatter_that_leaves_the_answer_out_is_followed_by_the_fact() -> None:
    agent, _ = manager({"cost": ["Sure, I can help you with that!"]})
    plan = plan_of(agent, "cost", decision("knowledge", "cleaning"))
    assert say(agent, plan) == [
        ("llm", "Sure, I can help you with that!"),
        ("knowledge", "A cleaning costs ninety dollars."),
    ]


def test_generation_stops_once_the_answer_is_out() -> None:
    agent, models = manager({"cost": ["A cleaning costs ninety dollars.", "We are great.", "Buy two."]})
    assert len(say(agent, plan_of(agent, "cost", decision("knowledge", "cleaning")))) == 1
    assert models.aborted == 1


def test_the_prompt_begins_the_same_for_every_question_so_that_the_prefix_cache_hits() -> None:
    agent, models = manager()
    for question, fact in (("cost", "cleaning"), ("hours", "hours")):
        say(agent, plan_of(agent, question, decision("knowledge", fact)))
    one, two = models.requests
    assert one.messages[:-1] == two.messages[:-1]
    assert one.messages[-1] != two.messages[-1]


@pytest.mark.parametrize(
    "text",
    ["I'd like to book and", "my number is,", "Can I come on the", "Um...", "It's for", "How much is?", "Do you take?"],
)
def test_words_that_break_off_sound_unfinished(text: str) -> None:
    assert sounds_unfinished(text)


@pytest.mark.parametrize("text", ["What are your hours?", "Tuesday at ten.", "yes", "", "That's all."])
def test_whole_sentences_do_not(text: str) -> None:
    assert not sounds_unfinished(text)


def test_an_answer_that_is_cut_early_is_never_stopped_in_the_middle_of_a_sentence() -> None:
    agent, _ = manager({"cost": ["A cleaning costs ninety", "dollars.", "A cleaning costs ninety dollars."]})
    plan = plan_of(agent, "what does a cleaning cost", decision("knowledge", "cleaning"))
    assert [text for _, text in say(agent, plan)] == ["A cleaning costs ninety", "dollars."]


@pytest.mark.parametrize(("said", "words"), [("Book an appointment please", "may_go_on"), ("I'd like to book", "open")])
def test_a_statement_gets_more_patience_than_a_request(said: str, words: str) -> None:
    agent, _ = manager()
    assert plan_of(agent, said, decision("booking")).words == words


def test_a_bare_yes_is_often_followed_by_more() -> None:
    agent, _ = manager()
    for said in ("book please", "Tuesday at ten", "My name is Ann Lee"):
        agent.commit(plan_of(agent, said, decision("booking")))
    assert plan_of(agent, "Yes.", RouteDecision("knowledge", 0.1)).words == "may_go_on"
    assert plan_of(agent, "Yes, that's right.", RouteDecision("knowledge", 0.1)).words == "complete"


def test_angry_words_and_answers_that_come_to_nothing_wear_patience_out() -> None:
    agent, _ = manager()
    for said in ("what about the moon", "this is ridiculous, what about the moon"):
        plan = plan_of(agent, said, RouteDecision("knowledge", 0.1))
        agent.commit(plan)
    assert isinstance(plan, EndsCall)
    assert isinstance(plan.how, Transfer)
    assert plan.how.reason == "frustration"


def test_an_answer_that_helps_restores_patience() -> None:
    agent, _ = manager()
    moon, cost = RouteDecision("knowledge", 0.1), decision("knowledge", "cleaning")
    for said, where in (("moon", moon), ("cost", cost), ("moon", moon), ("cost", cost), ("moon", moon)):
        plan = plan_of(agent, said, where)
        agent.commit(plan)
    assert isinstance(plan, Says)


def test_what_is_under_way_can_be_called_off() -> None:
    agent, _ = manager()
    agent.commit(plan_of(agent, "book please", decision("booking")))
    plan = plan_of(agent, "never mind", decision("never_mind"))
    assert texts(plan) == ["All right,", "no booking."] or texts(plan) == ["All right, no booking."]
    agent.commit(plan)
    assert not agent.in_flow


def test_a_plan_that_was_taken_back_leaves_nothing_behind() -> None:
    agent, _ = manager()
    before = agent.state
    plan = plan_of(agent, "book please", decision("booking"))
    agent.commit(plan)
    assert agent.take_back(plan) == "book please"
    assert agent.state == before
    assert agent.history == ()


def away_agent(when: str = "known") -> Agent:
    """Nobody is there while the openings are known; booking stands in for leaving a message."""
    assert AGENT.escalation is not None
    away = Away.model_validate({"when": {when: "openings"}, "flow": "book"})
    return AGENT.model_copy(update={"escalation": AGENT.escalation.model_copy(update={"away": away})})


@pytest.mark.parametrize("utterance", ["a person please", "this is ridiculous"])
def test_out_of_hours_a_message_is_taken_instead_of_handing_over(utterance: str) -> None:
    answering, _ = manager(agent=away_agent())
    route = decision("person") if "person" in utterance else decision("knowledge", "hours", score=0.1)
    for turn in range(1, 3):
        plan = plan_of(answering, utterance, route, turn)
        answering.commit(plan, turn)
        if answering.state.stack:
            break
    assert isinstance(plan, Says)
    assert [place.flow for place in answering.state.stack] == ["book"]
    assert texts(plan)[0].startswith("I have Tuesday")


def test_out_of_hours_who_asks_for_a_person_again_is_asked_again_and_who_cannot_be_understood_is_let_go() -> None:
    answering, _ = manager(agent=away_agent())
    for turn in (1, 2):
        plan = plan_of(answering, "a person please", decision("person"), turn)
        answering.commit(plan, turn)
        assert texts(plan)[0].startswith("I have Tuesday")
    for turn in range(3, 6):
        plan = answering.not_understood(turn=turn)
        answering.commit(plan, turn)
    assert isinstance(plan, EndsCall)
    assert isinstance(plan.how, HangUp)
    assert texts(plan) == ["Goodbye."]


def test_out_of_hours_another_target_than_the_default_one_is_put_through() -> None:
    agent = away_agent()
    person = agent.route("person")
    assert agent.escalation is not None
    assert person is not None
    both = {**agent.escalation.targets, "on_duty": TransferTarget(number="+15550196")}
    escalation = agent.escalation.model_copy(update={"targets": both})
    answering, _ = manager(agent=agent.model_copy(update={"escalation": escalation}))
    plan = answering.plan("a person", Understood((Wishes(person.model_copy(update={"target": "on_duty"})),), 1.0))
    assert isinstance(plan, EndsCall)
    assert plan.how == Transfer("request", "on_duty", "")


def test_within_hours_the_call_is_handed_over() -> None:
    answering, _ = manager(agent=away_agent("unknown"))
    plan = plan_of(answering, "a person please", decision("person"), 1)
    assert isinstance(plan, EndsCall)
    assert isinstance(plan.how, Transfer)


GARAGE = Hours.model_validate({"monday-friday": "8:30-17:00", "exceptions": {"christmas": "closed"}})


def asked(utterance: str, own: bool, heard: Understood | None = None) -> str:
    """What a question about the hours is answered from; `own`: the agent has a fact of its own."""
    fields = {name: getattr(AGENT, name) for name in Agent.model_fields}
    facts = AGENT.facts if own else tuple(fact for fact in AGENT.facts if fact.id != "hours")
    garage = Agent.model_validate(fields | {"hours": GARAGE, "facts": facts})
    answering, _ = manager(agent=garage)
    plan = answering.plan(utterance, heard or Understood((AsksFact(garage.fact("hours")),), 1.0))
    assert plan.fact is not None
    return plan.fact.text


def test_a_question_about_hours_is_answered_for_the_day_that_is_asked_about() -> None:
    assert asked("when are you open", own=False) == "We are open Monday to Friday from eight thirty to five."
    assert asked("are you open at Christmas", own=False) == "On Christmas Day we are closed."
    assert asked("are you there tomorrow", own=False) == "Tomorrow we are open from eight thirty to five."


def test_a_bare_day_between_flows_asks_for_the_hours_of_it() -> None:
    unclear = Understood((Unknown(),), 0.4, "model")
    assert asked("And tomorrow?", own=False, heard=unclear) == "Tomorrow we are open from eight thirty to five."


def test_a_fact_of_its_own_is_said_as_it_stands() -> None:
    assert asked("are you open at Christmas", own=True) == AGENT.fact("hours").text


@pytest.mark.parametrize(("wednesday", "handed_over"), [("8:00-17:00", True), ("10:30-17:00", False)])
def test_who_can_be_handed_over_to_may_follow_the_hours(wednesday: str, handed_over: bool) -> None:
    assert AGENT.escalation is not None
    away = Away.model_validate({"when": {"none_of": ({"open": "now"},)}, "flow": "book"})
    there = AGENT.model_copy(
        update={
            "hours": Hours.model_validate({"wednesday": wednesday}),
            "escalation": AGENT.escalation.model_copy(update={"away": away}),
        }
    )
    answering, _ = manager(agent=there)
    assert isinstance(plan_of(answering, "a person please", decision("person"), 1), EndsCall) is handed_over


@pytest.mark.parametrize(
    ("said", "sure"), [("Tuesday at ten, please.", True), ("Is it Tuesday at ten?", False), ("a bicycle", False)]
)
def test_an_answer_is_sure_however_polite_and_a_question_never(said: str, sure: bool) -> None:
    agent, _ = manager()
    agent.commit(plan_of(agent, "book please", decision("booking")))
    assert agent.surely_answered(said) is sure


def test_a_fact_that_takes_over_in_the_middle_of_an_answer_says_nothing_twice() -> None:
    text = "We sell no tickets on Mondays, and the hall is closed then."
    fact = AGENT.facts[0].model_copy(update={"text": text})
    generated = ["We sell no tickets on Mondays,", "but you can buy them online."]
    agent, _ = manager({"tickets": generated}, AGENT.model_copy(update={"facts": (fact, *AGENT.facts[1:])}))
    said = [clause for _, clause in say(agent, Says("tickets", facts=(fact,)))]
    assert said == ["We sell no tickets on Mondays,", "and the hall is closed then."]


def done_twice() -> Agent:
    """One wish has two tools called; what is said of the first can be found in what is said of the second."""
    flow = Flow.model_validate(
        {
            "start": "one",
            "nodes": {
                "one": {"do": "call", "tool": "book", "go": "first", "failed": "end"},
                "first": {"do": "say", "say": "All done.", "go": "two"},
                "two": {"do": "call", "tool": "book", "go": "second", "failed": "end"},
                "second": {
                    "do": "say",
                    "say": "All done. Your table by the window is kept until nine, and the kitchen knows of it.",
                    "go": "end",
                },
            },
        }
    )
    return AGENT.model_copy(update={"flows": {**AGENT.flows, "book": flow}, "on_call": None})


def told_of(agent: Agent, *, hears: int) -> tuple[list[Clause], list[str]]:
    """All that is told of both tools, and what is still to be told when so many clauses of it have been heard."""

    async def main() -> tuple[list[Clause], list[str]]:
        one, _ = manager(agent=agent)
        plan = plan_of(one, "book please", decision("booking"), 1, agent=agent)

        async def begin() -> None:
            one.commit(plan, 1)

        told = [clause async for clause in one.clauses(plan, 1, "r1", begin)]
        heard = told[:hears]
        one.heard(" ".join(clause.text for clause in heard), {clause.id for clause in heard})
        return told, [news.text for news in one.memory.untold]

    return asyncio.run(main())


def test_results_in_the_same_words_are_told_apart() -> None:
    told, left = told_of(done_twice(), hears=1)
    assert [clause.text for clause in told[:2]] == ["All done."] * 2
    assert len({clause.id for clause in told}) == len(told)
    assert left[0] == "All done."
    assert len(left) == len(told) - 1


def test_a_sentence_that_was_broken_into_is_told_again_whole() -> None:
    told, left = told_of(done_twice(), hears=3)
    assert told[2].text == "Your table by the window is kept until nine,"
    assert left == ["Your table by the window is kept until nine,", "and the kitchen knows of it."]
    assert told_of(done_twice(), hears=4)[1] == []


def test_words_of_a_result_in_another_reply_are_not_taken_for_it() -> None:
    one, _ = manager(memory=Memory(looked_up(), untold=(News("2.0.0", "All done."),)))
    one.heard("The painting is all done. All done.")
    assert one.has_news


def test_what_is_told_before_a_tool_is_called_is_not_told_after_it_again() -> None:
    agent = done_twice()

    async def main() -> list[str]:
        one, _ = manager(agent=agent, memory=Memory(CallState(visits=7), untold=(News("7.0.0", "Parked."),)))
        plan = plan_of(one, "book please", decision("booking"), 1, agent=agent)

        async def begin() -> None:
            one.commit(plan, 1)

        return [clause.text async for clause in one.clauses(plan, 1, "r1", begin)]

    assert asyncio.run(main()).count("Parked.") == 1


def test_a_goodbye_that_was_cut_off_is_forgotten_as_soon_as_the_caller_speaks_and_a_hand_over_is_not() -> None:
    for closing, stays in ((HangUp(), False), (Transfer("request", "desk", ""), True)):
        one, _ = manager(memory=Memory(replace(looked_up(), closing=closing)))
        assert one.state.closing == closing
        plan = plan_of(one, "what does a cleaning cost", decision("knowledge", "cleaning"))
        one.commit(plan)
        assert one.state.closing == (closing if stays else None)
        one.take_back(plan)
        assert one.state.closing == (closing if stays else None)


def test_a_goodbye_that_came_too_soon_is_taken_back() -> None:
    one, _ = manager()
    plan = plan_of(one, "goodbye", decision("farewell"))
    one.commit(plan)
    assert one.memory.state.closing == HangUp()
    one.take_back(plan)
    assert one.memory.state.closing is None
