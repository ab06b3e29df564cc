"""All that an utterance can mean to an agent, made from its file: for a model that chooses among it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from models.types import Catalogue, Exchange, Meaning
from pipeline.agent import Agent, Route
from pipeline.agent_examples import FACT
from pipeline.understanding.acts import Answers, AsksFact, Changes, DialogueAct, Unknown, Waits, Wishes
from pipeline.understanding.phrases import PHRASES, Phrases
from pipeline.workflow.definition import AskNode, ConfirmNode

ANSWER, CHANGE, WAIT, UNKNOWN = "answer", "change", "wait", "other"
"""Labels of what every agent understands."""

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_EXCHANGES_A_KIND = 2
"""Examples of answers to each kind of question, and of corrections."""
_BY_KIND = {
    "repeat": "did not hear or understand the last words",
    "cancel": "calls off what was begun: never mind",
    "person": "wants to talk to a human",
    "farewell": "is done and says goodbye",
}
"""What a route is for, where its kind says it."""


def catalogue(agent: Agent) -> Catalogue:
    """The agent's facts, its routes, and what callers of every business do."""
    phrases = PHRASES[agent.language]
    strange = next((route.examples for route in agent.routes if route.kind == "fallback"), ())
    meanings = (
        *(
            Meaning(f"{FACT}{fact.id}", f'asks something that this answers: "{fact.text}"', fact.questions)
            for fact in agent.facts
        ),
        *(
            Meaning(route.name, route.description or _described(route), route.examples)
            for route in agent.routes
            if route.kind not in ("knowledge", "fallback")
        ),
        Meaning(WAIT, "asks for a moment, thinks aloud, or talks to somebody else", phrases.waits),
        Meaning(
            UNKNOWN,
            "wants or asks anything else: small talk, or a question that nothing above answers",
            tuple(example for pair in zip(phrases.unknown, reversed(strange), strict=False) for example in pair),
        ),
        Meaning(ANSWER, "answers what you asked", in_flow_only=True),
        Meaning(CHANGE, "corrects something that was said before", in_flow_only=True),
    )
    return Catalogue(agent.name, meanings, tuple(_exchanges(agent, phrases)))


def act_of(agent: Agent, label: str) -> DialogueAct:
    """What a label of the agent's catalogue stands for. Raises KeyError for one that is not in it."""
    match label:
        case "answer":
            return Answers()
        case "change":
            return Changes()
        case "wait":
            return Waits()
        case "other":
            return Unknown()
    if label.startswith(FACT):
        return AsksFact(agent.fact(label.removeprefix(FACT)))
    route = agent.route(label)
    if route is None:
        raise KeyError(label)
    return Wishes(route)


def _described(route: Route) -> str:
    if route.kind in _BY_KIND:
        return _BY_KIND[route.kind]
    return f"means {route.name.replace('_', ' ')}"


def _exchanges(agent: Agent, phrases: Phrases) -> Iterator[Exchange]:
    """Questions that the agent's flows ask, and answers to them: a few of each kind."""
    shown: dict[str, int] = {}
    for flow in agent.flows.values():
        for node in flow.nodes.values():
            match node:
                case AskNode():
                    kind, stands = str(agent.variables[node.variable].type), phrases.on_offer
                    said = phrases.picks if kind == "choice" else phrases.answers[kind]
                case ConfirmNode():
                    kind, said, stands = "confirm", phrases.yes, phrases.known
                case _:
                    continue
            number = shown.get(kind, 0)
            if number >= _EXCHANGES_A_KIND:
                continue
            shown[kind] = number + 1
            asked = _PLACEHOLDER.sub(stands, node.say[0])
            yield Exchange(asked, said[number % len(said)], ANSWER)
            if kind == "confirm":
                yield Exchange(asked, phrases.corrects[number % len(phrases.corrects)], CHANGE)
            elif number == 0:
                fact = agent.facts[3 * len(shown) % len(agent.facts)]
                if fact.questions:
                    yield Exchange(asked, fact.questions[-1], f"{FACT}{fact.id}")
            elif len(shown) % 2:
                yield Exchange(asked, phrases.waits[len(shown) % len(phrases.waits)], WAIT)
