"""Where the utterances of every business lead with an agent, as its router alone decides: before the first caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.ngrams import Embeddings, Encoder
from models.router import IntentRouter, KnowledgePassage, SentenceEncoder
from models.types import RouteDecision
from pipeline.agent import Agent, Route
from pipeline.agent_courtesies import COURTESIES
from pipeline.understanding.acts import Answers, AsksFact, Changes, DialogueAct, Understood, Unknown, Waits, Wishes
from pipeline.understanding.catalogue import catalogue
from pipeline.understanding.rules import by_rules
from pipeline.understanding.segments import asks_or_wonders
from pipeline.workflow.check import Finding
from serve.deployments import prepared_folder

_FEWEST_LEFT = 3
"""So many examples a route, or questions a fact, needs beside the one that is left out to be played."""


@dataclass(frozen=True, slots=True)
class Played:
    """One utterance, and where it leads."""

    what: str
    utterance: str
    free: str
    """With nothing under way."""
    asked: str = ""
    """While the agent waits for an answer; empty: not played there."""
    astray: bool = False
    """Whether it belongs to a route and leads elsewhere."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All that were played, and what is to be said of them."""

    played: tuple[Played, ...]
    findings: tuple[Finding, ...]


Routing = Callable[[str], RouteDecision]


def rules_router(weights: str) -> Callable[[Agent], Routing]:
    """What teaches an agent's routes to a router, which decides without a model. Raises ModelFailure if its `weights`
    are not prepared."""
    encoder = _Remembering(SentenceEncoder(prepared_folder(weights)))

    def learnt(agent: Agent) -> Routing:
        return IntentRouter(
            encoder,
            examples={route.name: route.examples for route in agent.routes},
            passages=[KnowledgePassage(fact.id, fact.text, fact.questions) for fact in agent.facts],
            meanings={meaning.label: meaning.examples for meaning in catalogue(agent).meanings},
            language=agent.language,
        ).route

    return learnt


class _Remembering:
    """An encoder that is asked for the same texts by several routers."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._rows: dict[str, Embeddings] = {}

    def encode(self, texts: Sequence[str]) -> Embeddings:
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if new:
            self._rows |= dict(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._rows[text] for text in texts])


def rehearse(agent: Agent, learnt: Callable[[Agent], Routing]) -> Rehearsal:
    """Play what callers of every business say, and of each route an example, of each fact a question that its router
    has not learnt.

    `learnt`: what `rules_router` gives. Raises ModelFailure.
    """
    played: list[Played] = []
    findings: list[Finding] = []
    route_of = learnt(agent)
    for courtesy in COURTESIES[agent.language]:
        text = courtesy.said[0]
        decision = route_of(text)
        free, asked = [by_rules(agent, text, decision, in_flow=in_flow) for in_flow in (False, True)]
        played.append(Played(courtesy.name, text, _told(agent, free), _told(agent, asked)))
        if not courtesy.ends_call:
            findings += _hung_up(agent, text, free, asked)
    # A file's own examples come before those that every business has.
    known = {courtesy.said[0] for courtesy in COURTESIES[agent.language]}
    held_out = {
        route.name: next(text for text in route.examples if text not in known)
        for route in agent.routes
        if len(set(route.examples) - known) > _FEWEST_LEFT
    }
    unasked = {fact.id: fact.questions[0] for fact in agent.facts if len(fact.questions) > _FEWEST_LEFT}
    findings += _led_away(agent, {text: fact.id for fact in agent.facts for text in fact.questions}, route_of)
    route_of = learnt(_without(agent, held_out, unasked))
    findings += _led_away(agent, {text: name for name, text in unasked.items()}, route_of, new=True)
    for route in (route for route in agent.routes if route.name in held_out):
        text = held_out[route.name]
        led = by_rules(agent, text, route_of(text), in_flow=False)
        astray = not _belongs(led.act, route)
        played.append(Played(f"route {route.name}", text, _told(agent, led), astray=astray))
        if route.kind != "farewell":
            findings += _hung_up(agent, text, led)
    return Rehearsal(tuple(played), tuple(findings))


def _hung_up(agent: Agent, text: str, *led: Understood) -> Iterator[Finding]:
    for understood in led:
        if (route := _ends(understood.act)) is not None:
            what = f"{text!r} ends the call ({_told(agent, understood)}); give it an example in a route of its own"
            yield Finding("warning", f"routes.{route.name}", what)
            return


def _led_away(agent: Agent, questions: dict[str, str], route_of: Routing, *, new: bool = False) -> Iterator[Finding]:
    """Questions of facts, by text, that begin a flow. `new`: to a router that has not learnt them."""
    for text, fact in questions.items():
        led = by_rules(agent, text, route_of(text), in_flow=False)
        begins = isinstance(led.act, Wishes) and led.act.route.kind == "flow"
        if begins and asks_or_wonders(text, agent.language):
            without = ", were it not written there" if new else ""
            what = (
                f"{text!r} begins a flow ({_told(agent, led)}){without}; give that route more examples, and the fact "
                "more questions"
            )
            yield Finding("warning", f"facts.{fact}.questions", what)


def _ends(act: DialogueAct) -> Route | None:
    return act.route if isinstance(act, Wishes) and act.route.kind == "farewell" else None


def _told(agent: Agent, understood: Understood) -> str:
    """For people to read."""
    sure = f"{understood.label} {understood.confidence:.2f}"
    match understood.act:
        case Wishes(route=route):
            return f"{route.kind}: {sure}"
        case AsksFact(fact=fact):
            return f"fact {fact.id}"
        case Waits():
            return "waits"
        case Answers() | Changes():
            return "taken as the answer"
        case Unknown():
            return f"flow {agent.otherwise}" if agent.otherwise else f"fallback line ({sure})"


def _belongs(act: DialogueAct, route: Route) -> bool:
    """Whether it is what the route is for."""
    if route.kind == "knowledge":
        return isinstance(act, AsksFact)
    if route.kind == "fallback":
        return isinstance(act, Unknown)
    return isinstance(act, Wishes) and act.route.name == route.name


def _without(agent: Agent, held_out: dict[str, str], unasked: dict[str, str]) -> Agent:
    """The agent as it was before these examples of routes and these questions of facts were written."""
    routes = tuple(
        route.model_copy(
            update={"examples": tuple(text for text in route.examples if text != held_out.get(route.name))}
        )
        for route in agent.routes
    )
    facts = tuple(
        fact.model_copy(update={"questions": tuple(text for text in fact.questions if text != unasked.get(fact.id))})
        for fact in agent.facts
    )
    return agent.model_copy(update={"routes": routes, "facts": facts})
