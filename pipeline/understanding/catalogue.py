"""All that an utterance can mean to an agent, made from its file: for a model that chooses among it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from models.types import Catalogue, Exchange, Meaning
from pipeline.agent import Agent, Route
from pipeline.agent_examples import FACT
from pipeline.understanding.acts import (
    ANSWER,
    CHANGE,
    UNKNOWN,
    WAIT,
    Answers,
    AsksFact,
    Changes,
    DialogueAct,
    Unknown,
    Waits,
    Wishes,
)
from pipeline.understanding.phrases import phrases

_ALWAYS: Mapping[str, DialogueAct] = MappingProxyType(
    {ANSWER: Answers(), CHANGE: Changes(), WAIT: Waits(), UNKNOWN: Unknown()}
)
_BY_KIND = {
    "repeat": "did not hear or understand the last words",
    "cancel": "calls off what was begun: never mind",
    "person": "wants to talk to a human",
    "farewell": "is done and says goodbye",
    "abuse": "insults or threatens you, and wants nothing",
}
"""What a route is for, where its kind says it."""


def catalogue(agent: Agent) -> Catalogue:
    """The agent's facts, its routes, and what callers of every business do."""

    def said(label: str, own: tuple[str, ...]) -> tuple[str, ...]:
        # How callers say it comes first: a model is shown the first few.
        return tuple(dict.fromkeys((*agent.utterances.get(label, ()), *own)))

    meanings = (
        *(
            Meaning(
                f"{FACT}{fact.id}",
                f'asks something that this answers: "{fact.text}"',
                said(f"{FACT}{fact.id}", fact.questions),
            )
            for fact in agent.facts
        ),
        *(
            Meaning(route.name, route.description or _described(route), said(route.name, route.examples))
            for route in agent.routes
            if route.kind not in ("knowledge", "fallback")
        ),
        Meaning(WAIT, "asks for a moment, thinks aloud, or talks to somebody else", phrases(agent.language).waits),
        Meaning(
            UNKNOWN,
            "wants or asks anything else: small talk, or a question that nothing above answers",
            next((said(route.name, route.examples) for route in agent.routes if route.kind == "fallback"), ()),
        ),
        Meaning(ANSWER, "answers what you asked", in_flow_only=True),
        Meaning(CHANGE, "corrects something that was said before", in_flow_only=True),
    )
    return Catalogue(agent.name, meanings, tuple(_exchanges(agent)))


def act_of(agent: Agent, label: str) -> DialogueAct:
    """What a label of the agent's catalogue stands for. Raises KeyError for one that is not in it."""
    if (act := _ALWAYS.get(label)) is not None:
        return act
    if label.startswith(FACT):
        return AsksFact(agent.fact(label.removeprefix(FACT)))
    route = agent.route(label)
    if route is None:
        raise KeyError(label)
    return Wishes(route)


def _described(route: Route) -> str:
    return _BY_KIND.get(route.kind, f"means {route.name.replace('_', ' ')}")


def _exchanges(agent: Agent) -> Iterator[Exchange]:
    """Those of every business, as far as this agent has what they mean."""
    for one in phrases(agent.language).exchanges:
        if one.means in _ALWAYS:
            yield Exchange(one.agent, one.caller, one.means)
            continue
        names = [route.name for route in agent.routes if one.means in (route.kind, route.name)]
        if names:
            yield Exchange(one.agent, one.caller, names[0])
