"""What is done about what was understood, between flows and in the middle of one."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.agent import Agent, Route
from pipeline.plan import EndsCall, Plan, Says
from pipeline.policy import DialoguePolicy
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState, HangUp, Transfer
from pipeline.understanding.acts import Answers, AsksFact, DialogueAct, Understood, Unknown, Waits, Way, Wishes
from pipeline.workflow.definition import AskNode, Flow
from pipeline.workflow.engine import WorkflowEngine
from tests.pipeline.agents import AGENT
from tests.pipeline.rig import NOW, looked_up

HOURS, CLEANING = AGENT.fact("hours"), AGENT.fact("cleaning")
ENGINE = WorkflowEngine(AGENT.flows, AGENT.variables, call_id="CA1", now=lambda: NOW)

CALLS_BACK = {
    "start": "same",
    "cancelled": "No call then.",
    "nodes": {
        "same": {"do": "ask", "variable": "same", "say": ("The same number?",), "go": "end", "exhausted": "end"},
    },
}
TRACKS = {
    "start": "which",
    "nodes": {
        "which": {"do": "ask", "variable": "ticket", "say": ("Which ticket?",), "go": "told", "exhausted": "none"},
        "told": {"do": "say", "say": "Ticket {ticket}.", "go": "end"},
        "none": {"do": "say", "say": "Without it I cannot look.", "go": "end"},
    },
}
CALLS_HELP = {"start": "stay", "nodes": {"stay": {"do": "say", "say": "Stay where you are.", "go": "end"}}}


def route(name: str) -> Route:
    found = AGENT.route(name)
    assert found is not None
    return found


def understood(*acts: DialogueAct, confidence: float = 0.9, answers: float | None = None) -> Understood:
    return Understood(acts, confidence, "model", answers)


def booking(*answers: str) -> CallState:
    state = ENGINE.start(looked_up(), "book", "", 1).state
    for answer in answers:
        state = ENGINE.answer(state, answer, 1).state
    return state


def decide(said: str, what: Understood, state: CallState, agent: Agent = AGENT) -> Plan:
    return DialoguePolicy(agent, ENGINE).decide(said, what, state, 2, "What was last said.")


def ending(plan: Plan) -> type | None:
    return type(plan.how) if isinstance(plan, EndsCall) else None


def texts(plan: Plan) -> list[str]:
    return [clause.text for clause in plan.fixed]


@pytest.mark.parametrize(("said", "heard"), [("never mind", "All right."), ("can I cancel anything?", "I don't have")])
def test_where_nothing_is_under_way_calling_off_is_taken_note_of(said: str, heard: str) -> None:
    plan = decide(said, understood(Wishes(route("never_mind"))), CallState())
    assert texts(plan)[0].startswith(heard)


@pytest.mark.parametrize(
    ("said", "found"),
    [("Sorry, wrong glasses, it's four zero nine three.", True), ("4093", True), ("I am ninety three", False)],
)
def test_a_number_that_one_flow_asks_for_begins_it(said: str, found: bool) -> None:
    flows = {**AGENT.flows, "track": Flow.model_validate(TRACKS)}
    variables = {**AGENT.variables, "ticket": Variable(type="digits", fewest_digits=4, most_digits=4)}
    tracking = Route(name="track", kind="flow", flow="track", examples=("my parcel", "where is it", "track it"))
    engine = WorkflowEngine(flows, variables, call_id="CA1", now=lambda: NOW)
    agent = AGENT.model_copy(update={"routes": (*AGENT.routes, tracking), "flows": flows, "variables": variables})
    for act in (Unknown(), Wishes(Route(name="oops", kind="say", line="Wrong number?", examples=("a", "b", "c")))):
        plan = DialoguePolicy(agent, engine).decide(said, Understood((act,), 0.5, "model"), looked_up(), 2, "")
        assert (texts(plan) == ["Ticket four zero nine three."]) is found


@pytest.mark.parametrize(("confidence", "other"), [(0.7, False), (0.95, True)])
def test_who_does_not_have_what_is_asked_for_is_not_asked_again_unless_he_surely_wants_something_else(
    confidence: float, other: bool
) -> None:
    flows = {**AGENT.flows, "track": Flow.model_validate(TRACKS)}
    variables = {**AGENT.variables, "ticket": Variable(type="digits", fewest_digits=4, most_digits=4)}
    engine = WorkflowEngine(flows, variables, call_id="CA1", now=lambda: NOW)
    state = engine.start(looked_up(), "track", "", 1).state
    meant = Understood((Wishes(route("booking")),), confidence, "model", 0.1)
    plan = DialoguePolicy(AGENT, engine).decide("I don't have the ticket any more", meant, state, 2, "")
    assert texts(plan)[0] == ("I have Tuesday at ten in the morning," if other else "Without it I cannot look.")


def test_words_that_are_no_question_answer_one_that_anything_answers() -> None:
    flow = {
        "start": "where",
        "nodes": {"where": {"do": "ask", "variable": "street", "say": ("Where to?",), "go": "end", "exhausted": "end"}},
    }
    engine = WorkflowEngine(
        {"send": Flow.model_validate(flow)}, {"street": Variable(type="text")}, call_id="CA1", now=lambda: NOW
    )
    state = engine.start(CallState(), "send", "", 1).state
    for said, told in (("nineteen Quarry Road", True), ("where are you?", False)):
        plan = DialoguePolicy(AGENT, engine).decide(said, understood(AsksFact(HOURS), answers=0.05), state, 2, "")
        assert plan.state is not None
        assert ("street" in plan.state.values) is told


def test_what_sounds_like_a_goodbye_to_a_flow_gives_it_up_where_it_is_said_in_so_many_words() -> None:
    calling_off = understood(Wishes(route("never_mind")), confidence=0.55, answers=0.2)
    for said, over in (("none of those, forget it, another time", True), ("Tuesday at ten, never you mind her", False)):
        plan = decide(said, calling_off, booking())
        assert plan.state is not None
        assert (plan.state.stack == ()) is over


def test_what_is_surely_said_to_everybody_is_answered_in_a_flow_before_its_question() -> None:
    oops = Route(name="oops", kind="say", line="This is a test desk. What can I do?", examples=("a", "b", "c"))
    plan = decide("oh dear, I have dialled wrong", understood(Wishes(oops), confidence=0.95), booking("Tuesday at ten"))
    assert texts(plan) == ["This is a test desk.", "What is your name?"]


@pytest.mark.parametrize(("confidence", "begins"), [(0.2, False), (0.3, True)])
def test_a_wish_that_the_model_hardly_believes_in_begins_nothing(confidence: float, begins: bool) -> None:
    plan = decide("so no use in coming by", understood(Wishes(route("booking")), confidence=confidence), looked_up())
    assert plan.state is not None
    assert bool(plan.state.stack) is begins


def both_wishes(*answers: str) -> tuple[list[str], CallState]:
    """What is said last to who has asked where a ticket is and for a booking, and has then answered."""
    flows = {**AGENT.flows, "track": Flow.model_validate(TRACKS)}
    variables = {**AGENT.variables, "ticket": Variable(type="digits", fewest_digits=4, most_digits=4)}
    tracking = Route(name="track", kind="flow", flow="track", examples=("my parcel", "where is it", "track it"))
    engine = WorkflowEngine(flows, variables, call_id="CA1", now=lambda: NOW)
    agent = AGENT.model_copy(update={"routes": (*AGENT.routes, tracking), "flows": flows, "variables": variables})
    policy = DialoguePolicy(agent, engine)
    both = understood(Wishes(tracking), Wishes(route("booking")))
    plan = policy.decide("where is my parcel, and I want to book for Tuesday at ten", both, looked_up(), 2, "")
    for answer in answers:
        assert plan.state is not None
        plan = policy.decide(answer, understood(Answers()), plan.state, 3, "")
    assert plan.state is not None
    return texts(plan), plan.state


def test_of_two_wishes_the_second_is_granted_after_the_first_with_what_was_told_of_it() -> None:
    assert both_wishes()[0] == ["Which ticket?"]
    said, state = both_wishes("4093")
    assert said == ["Ticket four zero nine three.", "Now for the other thing.", "What is your name?"]
    assert (state.values["opening"].words, state.postponed) == ("Tuesday at ten", None)


def test_two_questions_get_two_answers() -> None:
    plan = decide("when and how much", understood(AsksFact(HOURS), AsksFact(CLEANING)), looked_up())
    assert plan.facts == (HOURS, CLEANING)


def test_a_question_beside_a_wish_is_answered_and_the_wish_is_granted() -> None:
    plan = decide("how much, and book me in", understood(Wishes(route("booking")), AsksFact(CLEANING)), looked_up())
    assert plan.facts == (CLEANING,)
    assert texts(plan)[0].startswith("I have ")


def test_who_asks_for_a_moment_gets_one_and_is_asked_nothing_anew() -> None:
    for state in (looked_up(), booking(), booking("Tuesday at ten")):
        plan = decide("hang on, my pen is dry", understood(Waits()), state)
        assert texts(plan) == ["Sure,", "take your time."] or texts(plan) == ["Sure, take your time."]
        assert plan.state is not None
        assert plan.state.place == state.place


def test_who_did_not_catch_it_in_a_flow_hears_the_question_again_and_what_was_answered_before_it() -> None:
    again = Route(name="again", kind="repeat", examples=("a", "b", "c"))
    policy, state = DialoguePolicy(AGENT, ENGINE), booking("Tuesday at ten")
    for last_said, repeated in (
        ("A cleaning costs ninety dollars. What is your name?", "A cleaning costs ninety dollars. What is your name?"),
        ("Sorry, could you say that again?", "What is your name?"),
        ("What is", "What is your name?"),
    ):
        plan = policy.decide("huh?", understood(Wishes(again)), state, 2, last_said)
        assert " ".join(texts(plan)) == repeated
        assert plan.state is not None
        assert plan.state.place == state.place


def test_a_question_in_a_flow_is_answered_and_the_flow_comes_back_with_its_own() -> None:
    plan = decide("what's a cleaning", understood(AsksFact(CLEANING), answers=0.02), booking("Tuesday at ten"))
    assert plan.facts == (CLEANING,)
    assert texts(plan) == ["What is your name?"]


@pytest.mark.parametrize(
    ("said", "share", "told"),
    [("I clean boats", 0.3, False), ("I clean boats", 0.5, True), ("is it ninety?", 0.3, True)],
)
def test_what_is_no_question_in_a_flow_asks_for_a_fact_only_if_the_model_believes_it(
    said: str, share: float, told: bool
) -> None:
    plan = decide(said, understood(AsksFact(CLEANING), confidence=share, answers=0.1), booking())
    assert bool(plan.facts) is told


def test_a_value_and_a_question_are_both_taken() -> None:
    asked = understood(AsksFact(CLEANING), answers=0.3)
    plan = decide("my name is John Miller, what's a cleaning", asked, booking("Tuesday at ten"))
    assert plan.facts == (CLEANING,)
    assert "John Miller" in " ".join(texts(plan))


@pytest.mark.parametrize("way", ["fast", "model", "rules"])
def test_an_answer_and_a_question_told_apart_are_both_taken_whoever_did(way: Way) -> None:
    both = Understood((Answers(), AsksFact(CLEANING)), 0.7, way)
    plan = decide("Tuesday at ten. And how much is a cleaning?", both, booking())
    assert plan.facts == (CLEANING,)
    assert texts(plan) == ["What is your name?"]
    unread = decide("Let me see. And how much is a cleaning?", both, booking("Tuesday at ten"))
    assert unread.facts == (CLEANING,)
    assert texts(unread) == ["What is your name?"]


def test_a_question_beside_the_wish_for_a_person_is_answered_first() -> None:
    both = understood(Wishes(route("person")), AsksFact(HOURS))
    for state in (looked_up(), booking("Tuesday at ten")):
        plan = decide("when are you open, and a person please", both, state)
        assert plan.facts == (HOURS,)
        assert isinstance(plan, EndsCall)
        assert isinstance(plan.how, Transfer)


@pytest.mark.parametrize(("confidence", "begins"), [(0.55, False), (0.9, True)])
def test_an_emergency_told_beside_a_value_is_no_answer(confidence: float, begins: bool) -> None:
    flows = {**AGENT.flows, "help": Flow.model_validate(CALLS_HELP)}
    help_route = Route(
        name="help",
        kind="flow",
        flow="help",
        asks_back="Do you need help right away?",
        examples=("help", "fire", "sos"),
    )
    engine = WorkflowEngine(flows, AGENT.variables, call_id="CA1", now=lambda: NOW)
    policy = DialoguePolicy(AGENT, engine)
    said = "My name is Rosa Diaz, listen, there is smoke coming out of the back room and nobody answers"
    for answers, way in ((0.05, "model"), (None, "rules")):
        meant = Understood((Wishes(help_route),), confidence, way, answers)
        plan = policy.decide(said, meant, booking("Tuesday at ten"), 2, "")
        assert texts(plan)[0] == ("Stay where you are." if begins else "Do you need help right away?")
    name_only = policy.decide(
        "Rosa Diaz", Understood((Wishes(help_route),), confidence, "model", 0.05), booking("Tuesday at ten"), 2, ""
    )
    assert name_only.state is not None
    assert "name" in name_only.state.values


def test_a_no_and_another_wish_give_up_what_only_asked_for_a_yes_or_no() -> None:
    flows = {**AGENT.flows, "call": Flow.model_validate(CALLS_BACK)}
    engine = WorkflowEngine(flows, {**AGENT.variables, "same": Variable(type="yes_no")}, call_id="CA1", now=lambda: NOW)
    policy, state = DialoguePolicy(AGENT, engine), engine.start(looked_up(), "call", "", 1).state
    wish = Understood((Wishes(route("booking")),), 0.9, "model", 0.05)
    for said, left in (("no dear, I only want to make an appointment", 1), ("I only want to make an appointment", 2)):
        plan = policy.decide(said, wish, state, 2, "")
        assert plan.state is not None
        assert len(plan.state.stack) == left
        assert plan.state.stack[-1].flow == "book"


def test_what_is_no_answer_after_all_keeps_the_questions_beside_it() -> None:
    acts = (Answers(), AsksFact(HOURS), AsksFact(CLEANING))
    taken = Understood(acts, 0.9, "model", 0.3, (AsksFact(HOURS), 0.6))
    assert decide("hm, hours, prices", taken, booking()).facts == (HOURS, CLEANING)


def test_what_a_reader_reads_counts_for_nothing_where_the_model_is_sure_of_something_else() -> None:
    state = booking("Tuesday at ten")
    assert "John Miller" in " ".join(texts(decide("John Miller", understood(Answers(), answers=0.9), state)))
    doubted = decide("John Miller", understood(AsksFact(HOURS), answers=0.01), state)
    assert doubted.facts == (HOURS,)
    assert texts(doubted) == ["What is your name?"]


def test_what_nobody_knows_is_declined_in_a_flow_and_the_question_comes_again() -> None:
    plan = decide("do you validate parking", understood(Unknown()), booking("Tuesday at ten"))
    assert plan.fixed[0].source == "fallback"
    assert texts(plan)[-1] == "What is your name?"


def test_declining_for_ever_is_no_way_out_of_a_question() -> None:
    state = booking("Tuesday at ten")
    places = []
    for _ in range(4):
        plan = decide("do you validate parking", understood(Unknown()), state)
        assert plan.state is not None
        state = plan.state
        places.append(state.stack)
    assert () in places, "the flow gave up on it"


def test_the_flow_under_way_is_not_begun_again() -> None:
    state = booking()
    plan = decide("Tuesday at ten", understood(Wishes(route("booking")), answers=0.01), state)
    assert texts(plan) == ["What is your name?"]


def test_a_question_about_the_flow_under_way_is_answered_and_the_flows_question_comes_again() -> None:
    asked = Understood((Wishes(route("booking")),), 0.96, otherwise=(AsksFact(AGENT.fact("hours")), 0.7))
    plan = decide("what if I come on a Sunday?", asked, booking())
    assert isinstance(plan, Says)
    assert (plan.facts, plan.state) == ((AGENT.fact("hours"),), booking())


@pytest.mark.parametrize(("name", "how"), [("person", Transfer), ("farewell", HangUp)], ids=["a person", "goodbye"])
def test_a_person_and_a_goodbye_are_granted_anywhere(name: str, how: type) -> None:
    for state in (looked_up(), booking(), booking("Tuesday at ten")):
        assert ending(decide("right, that's me", understood(Wishes(route(name))), state)) is how


def test_patience_is_kept_in_the_state_and_so_outlives_a_resumed_call() -> None:
    first = decide("this is ridiculous", understood(Unknown()), looked_up())
    assert first.state is not None
    assert first.state.impatience == 3 or ending(first) is Transfer
    calm = dataclasses.replace(looked_up(), impatience=2)
    assert ending(decide("nonsense", understood(Unknown()), calm)) is Transfer


@pytest.mark.parametrize(("share", "ends"), [(0.9, True), (0.4, False)])
def test_what_no_reader_reads_is_likely_no_answer_but_what_it_means_otherwise(share: float, ends: bool) -> None:
    taken = Understood((Answers(),), 0.55, "model", 0.55, (Wishes(route("farewell")), share))
    plan = decide("right, that's the lot, cheerio", taken, booking())
    assert (ending(plan) is HangUp) is ends
    read = decide("Tuesday at ten", taken, booking())
    assert texts(read) == ["What is your name?"]


def test_abuse_that_is_taken_for_a_courtesy_is_not_answered_by_one() -> None:
    saying = Route.model_validate({"name": "hello", "kind": "say", "line": "Hello!", "examples": ("a", "b", "c")})
    plan = decide("hello you ridiculous thing", understood(Wishes(saying)), looked_up())
    assert ending(plan) is Transfer
    asked = decide("when are you open, this is ridiculous", understood(AsksFact(HOURS)), looked_up())
    assert asked.facts == (HOURS,)


def doubting(name: str) -> Understood:
    return Understood((Unknown(),), 0.3, "model", doubted=Wishes(route(name)))


NOTHING = understood(Unknown(), confidence=0.4)


def asked_back(name: str, state: CallState, said: str = "right then") -> CallState:
    plan = decide(said, doubting(name), state)
    assert ending(plan) is None
    assert [clause.source for clause in plan.fixed] == ["asks_back"]
    assert plan.state is not None
    return plan.state


@pytest.mark.parametrize(("name", "how"), [("farewell", HangUp), ("person", Transfer)])
@pytest.mark.parametrize("state", [looked_up(), booking()], ids=["between flows", "in a flow"])
def test_what_would_do_harm_is_asked_back_and_a_yes_has_it_done(name: str, how: type, state: CallState) -> None:
    asked = asked_back(name, state)
    for said in ("Yes", "yes please", "that's right"):
        assert ending(decide(said, NOTHING, asked)) is how


def test_a_no_to_what_was_asked_back_leaves_the_call_where_it_stood() -> None:
    plan = decide("No", understood(Wishes(route("farewell"))), asked_back("farewell", looked_up()))
    assert ending(plan) is None
    assert texts(plan)[-1] == "What can I do for you?"
    state = booking()
    plan = decide("no no", NOTHING, asked_back("never_mind", state))
    assert " ".join(texts(plan)) == ENGINE.prompt(state)
    assert plan.state is not None
    assert (plan.state.place, plan.state.values, plan.state.asked_back) == (state.place, state.values, None)


def test_a_no_that_also_answers_what_the_flow_has_asked_is_an_answer() -> None:
    state = asked_back("never_mind", booking())
    plan = decide("no, Tuesday at ten", understood(Answers()), state)
    assert plan.state is not None
    assert "opening" in plan.state.values


def test_who_says_something_else_to_what_was_asked_back_is_understood_anew() -> None:
    plan = decide("no, what does a cleaning cost", understood(AsksFact(CLEANING)), asked_back("farewell", looked_up()))
    assert plan.facts == (CLEANING,)
    assert plan.state is not None
    assert plan.state.asked_back is None


def test_nobody_is_asked_back_twice_about_the_same() -> None:
    asked = asked_back("farewell", looked_up())
    assert ending(decide("I guess that's everything", doubting("farewell"), asked)) is HangUp


def test_what_the_reader_takes_for_the_answer_is_not_asked_back() -> None:
    plan = decide("Tuesday at ten", doubting("never_mind"), booking())
    assert plan.state is not None
    assert "opening" in plan.state.values


def test_there_is_nothing_to_ask_back_where_nothing_can_be_called_off() -> None:
    plan = decide("leave it maybe", doubting("never_mind"), looked_up())
    assert [clause.source for clause in plan.fixed] == ["fallback"]


def test_what_was_told_with_a_wish_that_was_asked_back_is_not_lost() -> None:
    asks = route("booking").model_copy(update={"asks_back": "Would you like to come in?"})
    agent = AGENT.model_copy(update={"routes": tuple(asks if one.name == "booking" else one for one in AGENT.routes)})
    doubt = Understood((Unknown(),), 0.3, "model", doubted=Wishes(asks))
    state = decide("something for Tuesday at ten", doubt, looked_up(), agent).state
    assert state is not None
    granted = decide("yes", NOTHING, state, agent)
    assert granted.state is not None
    assert "opening" in granted.state.values


def test_without_a_model_a_question_is_answered_and_its_numbers_fill_nothing() -> None:
    ask = AskNode(do="ask", variable="party", say=("For how many people?",), go="end", exhausted="end")
    flows = {**AGENT.flows, "party": Flow(start="ask", nodes={"ask": ask})}
    variables = {**AGENT.variables, "party": Variable(type="number", description="number of people")}
    engine = WorkflowEngine(flows, variables, call_id="CA1", now=lambda: NOW)
    state = engine.start(looked_up(), "party", "", 1).state
    asked = Understood((AsksFact(CLEANING),), 0.9, "rules")
    policy = DialoguePolicy(AGENT.model_copy(update={"flows": flows, "variables": variables}), engine)
    plan = policy.decide("How much is a cleaning of all four wisdom teeth?", asked, state, 2, "")
    assert plan.facts == (CLEANING,)
    assert texts(plan) == ["For how many people?"]
    plan = policy.decide("Could we be four?", asked, state, 2, "")
    assert plan.state is not None
    assert plan.state.values["party"].value == "4"


WALKER = Variable(type="choice", choices={"tess": ("Tess",), "anybody": ("don't mind", "me da igual")})


def walking(said: str, what: Understood, language: Language = "en") -> Plan:
    """What is made of an answer to the question who is to walk the dog."""
    ask = AskNode(do="ask", variable="walker", say=("Who?",), go="end", exhausted="end")
    flow = Flow(start="ask", cancelled="All right, nobody walks it.", nodes={"ask": ask})
    flows, variables = {**AGENT.flows, "walk": flow}, {**AGENT.variables, "walker": WALKER}
    engine = WorkflowEngine(flows, variables, call_id="CA1", now=lambda: NOW, language=language)
    update = {"flows": flows, "variables": variables, "language": language}
    state = engine.start(looked_up(), "walk", "", 1).state
    return DialoguePolicy(AGENT.model_copy(update=update), engine).decide(said, what, state, 2, "")


@pytest.mark.parametrize("way", ["rules", "model"])
@pytest.mark.parametrize(
    ("language", "said", "calls_off"),
    [
        ("en", "I don't mind who", False),
        ("en", "never mind", True),
        ("en", "Tess, no, never mind", True),
        ("en", "let us not do it", True),
        ("es", "me da igual quién", False),
    ],
)
def test_an_answer_that_sounds_like_calling_off_is_the_answer(
    way: Way, language: Language, said: str, calls_off: bool
) -> None:
    meant = Understood((Wishes(route("never_mind")),), 0.9, way, 0.05 if way == "model" else None)
    plan = walking(said, meant, language)
    assert plan.state is not None
    assert ("walker" not in plan.state.values) is calls_off
    assert ("All right, nobody walks it." in texts(plan)) is calls_off


@pytest.mark.parametrize(
    ("language", "said", "answered"),
    [
        ("en", "Tess, please", True),
        ("en", "Could I have Tess, please?", True),
        ("en", "How long has Tess been working with dogs?", False),
        ("es", "Tess, por favor", True),
        ("es", "¿Cuánto tiempo lleva Tess trabajando con ustedes?", False),
    ],
)
def test_a_value_of_which_a_fact_tells_is_the_answer_unless_more_is_asked(
    language: Language, said: str, answered: bool
) -> None:
    plan = walking(said, Understood((AsksFact(HOURS),), 0.6, "rules"), language)
    assert (plan.facts == ()) is answered
    assert (plan.state is not None and "walker" in plan.state.values) is answered


def test_a_polite_name_of_which_a_fact_tells_is_the_name() -> None:
    plan = decide("June Hall, please", Understood((AsksFact(HOURS),), 0.6, "rules"), booking("Tuesday at ten"))
    assert plan.state is not None
    assert plan.state.values["name"].value == "June Hall"


ABUSE = Route(name="abuse", kind="abuse", examples=("a", "b", "c"))
ROBOT = Route(name="robot", kind="say", line="I am a computer. What can I do for you?", examples=("a", "b", "c"))


@pytest.mark.parametrize("answers", [(), ("Tuesday at ten",)], ids=["between flows", "in a booking"])
def test_abuse_is_warned_of_and_then_ends_the_call_and_no_person_has_to_listen(answers: tuple[str, ...]) -> None:
    state = dataclasses.replace(booking(*answers) if answers else looked_up(), impatience=2)
    first = decide("you ridiculous idiot", understood(Wishes(ABUSE)), state)
    assert ending(first) is None
    assert texts(first)[0] == "Please stay polite."
    assert (texts(first)[-1] == "What is your name?") is bool(answers)
    assert first.state is not None
    between = decide("when", understood(AsksFact(HOURS)), first.state)
    assert between.state is not None
    second = decide("you ridiculous idiot", understood(Wishes(ABUSE)), between.state)
    assert isinstance(second, EndsCall)
    assert second.how == HangUp("abuse")


def test_who_asks_for_a_robot_in_a_booking_gets_the_answer_and_then_its_question() -> None:
    plan = decide("Hm, are you a robot?", understood(Wishes(ROBOT)), booking("Tuesday at ten"))
    assert texts(plan) == ["I am a computer.", "What is your name?"]


def test_a_bare_no_in_the_middle_of_a_flow_is_asked_back_and_no_goodbye() -> None:
    no = understood(Wishes(route("farewell")), confidence=1.0)
    for said in ("No", "no thanks"):
        plan = decide(said, no, booking())
        assert [clause.source for clause in plan.fixed] == ["asks_back"]
    assert ending(decide("no, I have to go, bye", no, booking())) is HangUp
    assert ending(decide("No", no, looked_up())) is HangUp
