"""The router's word as acts, by thresholds: for stacks without a model that understands, and while it is down."""

from __future__ import annotations

from models.types import RouteDecision
from pipeline.agent import Agent, Fact
from pipeline.agent_examples import FACT
from pipeline.endpointing import asks
from pipeline.slots.asking_again import asks_again
from pipeline.slots.waiting import asks_to_wait
from pipeline.understanding.acts import WAIT, Answers, AsksFact, DialogueAct, Understood, Unknown, Waits, Wishes

SURE_ROUTE = 0.9
"""From this confidence on, 'it is a question for us' lets a fact count that is a little further away."""
SURE_ROUTE_SLACK = 0.15
"""How much further."""
CLEARLY_NEAREST = 0.05
"""Such a fact must be nearer than the next one by this much."""
OTHER_FLOW = 0.6
"""So sure must be that an utterance said in a flow begins something else."""
UNASKED = 0.75
"""So sure must be a wish that is asked back when it is in doubt."""
ASKED_FOR = 0.95
"""A question this near to one that a fact is written for asks for that fact, whatever the router makes of it."""
_VOTED_FOR, _VOTES_NEAR = 0.8, 0.65
"""A question asks for a fact, whatever flow the router takes it for, if so much of the nearest examples' votes goes to
facts and the nearest example is so near (cosine). Of 2,868 questions of facts and wishes for flows of the shipped
agents, each without its own votes, 388 questions and 962 wishes began a flow; 187 of those and 3 of these are answered
instead."""
_MOST_OF_THEM = 0.5
"""The fact itself has so much of the votes. Where a question would be declined, it needs as much as all facts
together: of 645 questions of facts that were declined, 115 are answered rightly now and 3 by another fact, and 4 of 382
that nothing answers."""


def by_rules(agent: Agent, utterance: str, decision: RouteDecision, *, in_flow: bool) -> Understood:
    """What the router's decision means. `in_flow`: an answer is waited for."""
    if asks_to_wait(utterance, agent.language):
        return Understood((Waits(),), 1.0, label=WAIT)
    repeat = next((route for route in agent.routes if route.kind == "repeat"), None)
    if repeat is not None and asks_again(utterance, agent.language):
        return Understood((Wishes(repeat),), 1.0, label=repeat.name)
    act = _act(agent, utterance, decision, in_flow=in_flow)
    doubted = act if isinstance(act, Wishes) and _in_doubt(act, decision) else None
    if doubted is not None:
        act = Answers() if in_flow else Unknown()
    return Understood(
        (act,),
        decision.confidence,
        otherwise=_asked_about(agent, utterance, act, decision) if in_flow else None,
        closeness=lead(decision),
        doubted=doubted,
        label=decision.label,
    )


def _in_doubt(wish: Wishes, decision: RouteDecision) -> bool:
    """Of a wish that says how it is asked back; the nearest examples must be of its opinion too."""
    if wish.route.asks_back is None or wish.route.kind != "flow" or decision.confidence == 1.0:
        return False
    return decision.confidence < UNASKED or not _agreed(decision)


def _agreed(decision: RouteDecision) -> bool:
    """Whether most votes of the nearest examples go to the same route; so too where nobody votes."""
    return not decision.meant.shares or decision.meant.shares[0][0] == decision.label


def lead(decision: RouteDecision) -> float | None:
    """By how much the nearest passage is nearer than the next; None if there are no two."""
    scores = [passage.score for passage in decision.passages[:2]]
    return scores[0] - scores[1] if len(scores) == 2 else None


def _act(agent: Agent, utterance: str, decision: RouteDecision, *, in_flow: bool) -> DialogueAct:
    route = agent.route(decision.label) if decision.confidence >= agent.route_confidence else None
    kind = route.kind if route else "knowledge"
    fact = _known(agent, decision, sure=kind == "knowledge" and decision.confidence >= SURE_ROUTE)
    asking = asks(utterance, agent.language)
    if kind == "flow" and asking and (voted := _voted_for(agent, decision, _MOST_OF_THEM)) is not None:
        return AsksFact(voted)
    asked_for = fact is not None and asking and _written_for(fact, decision)
    surely_else = decision.confidence >= OTHER_FLOW
    begins = kind == "flow" and not asked_for and not (in_flow and not surely_else)
    if route is not None and (begins or kind in ("person", "cancel", "farewell", "repeat")):
        return Wishes(route)
    # Who is annoyed talks much like who insults; and a line that is said to everybody answers nothing else.
    agreed = _agreed(decision)
    # In a flow only a question is more than an answer: "Are you a robot?", but not "Yes".
    says = kind == "say" and (not in_flow or (surely_else and asking))
    if route is not None and agreed and (says or (kind == "abuse" and surely_else)):
        return Wishes(route)
    if fact is not None and (in_flow or kind != "fallback"):
        return AsksFact(fact)
    if in_flow:
        return Answers()
    voted = _voted_for(agent, decision, _VOTED_FOR) if asking else None
    return Unknown() if voted is None else AsksFact(voted)


def _voted_for(agent: Agent, decision: RouteDecision, needed: float) -> Fact | None:
    """The fact that clearly most of what is near asks for; None: there is none, or it is a route's example itself.
    `needed`: its own share of the votes."""
    shares = decision.meant.shares
    if not shares or decision.confidence == 1.0 or decision.meant.nearest < _VOTES_NEAR:
        return None
    (label, share), all_facts = shares[0], sum(each for other, each in shares if other.startswith(FACT))
    clearly = label.startswith(FACT) and share >= needed and all_facts >= _VOTED_FOR
    return agent.fact(label.removeprefix(FACT)) if clearly else None


def _written_for(fact: Fact, decision: RouteDecision) -> bool:
    """Whether one of the fact's questions, or of the ways to ask for it, is next to what was said."""
    label, share = decision.meant.shares[0] if decision.meant.shares else ("", 0.0)
    example = label == f"{FACT}{fact.id}" and share >= SURE_ROUTE and decision.meant.nearest >= ASKED_FOR
    return example or decision.passages[0].score >= ASKED_FOR


def _asked_about(
    agent: Agent, utterance: str, act: DialogueAct, decision: RouteDecision
) -> tuple[DialogueAct, float] | None:
    """The fact that a question about a wish asks for, should that wish be under way ("What if I'm even later?")."""
    if not isinstance(act, Wishes) or act.route.kind != "flow" or not asks(utterance, agent.language):
        return None
    fact = _known(agent, decision, sure=False)
    return None if fact is None else (AsksFact(fact), decision.passages[0].score)


def _known(agent: Agent, decision: RouteDecision, *, sure: bool) -> Fact | None:
    if not decision.passages:
        return None
    best, *others = decision.passages
    ahead = best.score - max((passage.score for passage in others), default=-1.0)
    near = best.score >= agent.fact_score
    near = near or (sure and best.score >= agent.fact_score - SURE_ROUTE_SLACK and ahead >= CLEARLY_NEAREST)
    return agent.fact(best.id) if near else None
