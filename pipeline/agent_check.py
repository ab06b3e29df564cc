"""What would go wrong with an agent, found before the first call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from pipeline.agent import Agent
from pipeline.agent_courtesies import missing_courtesies
from pipeline.agent_examples import plain
from pipeline.agent_leftovers import leftovers
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import LIMIT_TOKENS, AgentContext
from pipeline.context.parts import ContextError, TokenCounter
from pipeline.feasts import FEASTS
from pipeline.tools.definition import check_tools
from pipeline.workflow.check import Finding, Surroundings, check_flows, check_guard
from pipeline.workflow.values import check_compared, check_values

_YEARS = range(2026, 2033)
"""In so many a date falls on every day of the week."""


def check_agent(
    agent: Agent, *, counter: TokenCounter | None = None, limit_tokens: int = LIMIT_TOKENS
) -> list[Finding]:
    """Errors first. Without a `counter` prompts are measured by their length."""
    surroundings = Surroundings(
        flows=agent.flows,
        variables=agent.variables,
        tools=agent.tools,
        targets=frozenset(agent.escalation.targets if agent.escalation else ()),
        on_call=agent.on_call,
        begun=frozenset(
            flow for flow in (*(route.flow for route in agent.routes), agent.otherwise, *_away(agent)) if flow
        ),
        has_hours=agent.hours.known,
    )
    found = dict.fromkeys(
        (
            *check_flows(surroundings),
            *check_values(surroundings),
            *_routes(agent),
            *missing_courtesies(agent),
            *_hours(agent),
            *_when_away(agent, surroundings),
            *_tools(agent),
            *_prompt(agent, counter or RoughCounter(), limit_tokens),
            *_said_twice(agent),
            *leftovers(agent),
        )
    )
    return sorted(found, key=lambda finding: finding.severity != "error")


def _away(agent: Agent) -> tuple[str, ...]:
    away = agent.escalation.away if agent.escalation else None
    return (away.flow,) if away is not None else ()


def _routes(agent: Agent) -> Iterator[Finding]:
    targets = agent.escalation.targets if agent.escalation else {}
    for route in agent.routes:
        if route.target is not None and route.target not in targets:
            what = f"no target {route.target!r}; expected one of {', '.join(targets) or 'none'}"
            yield Finding("error", f"routes.{route.name}.target", what)
    if agent.escalation is not None and agent.escalation.webhook not in (None, *agent.tools):
        what = f"no tool {agent.escalation.webhook!r}; expected one of {', '.join(agent.tools) or 'none'}"
        yield Finding("error", "escalation.webhook", what)

    for route in agent.routes:
        for example in route.examples:
            if not plain(example):
                yield Finding("error", f"routes.{route.name}.examples", f"{example!r} has no words; write an utterance")
    if agent.escalation is not None and agent.escalation.away is not None:
        yield from check_compared("escalation.away.when", agent.escalation.away.when, agent.variables)
    for flow in _away(agent):
        if flow not in agent.flows:
            what = f"no flow {flow!r}; expected one of {', '.join(agent.flows) or 'none'}"
            yield Finding("error", "escalation.away.flow", what)


def _hours(agent: Agent) -> Iterator[Finding]:
    """Callers are told that it is open on Christmas Day, if nobody says that it is not."""
    for name, feast in ((name, FEASTS[name]) for name in ("christmas", "new_year")):
        days = [feast.on(year) for year in _YEARS]
        if any(agent.hours.on(day) and agent.hours.is_usual(day) for day in days):
            give = f"give its hours, `{name}: closed`, or `holidays`"
            what = f"says nothing of {name}: callers are told that you are open; {give}"
            yield Finding("warning", "hours.exceptions", what)


def _when_away(agent: Agent, surroundings: Surroundings) -> Iterator[Finding]:
    if agent.escalation is not None and agent.escalation.away is not None:
        yield from check_guard("escalation.away.when", agent.escalation.away.when, surroundings)


def _tools(agent: Agent) -> Iterator[Finding]:
    try:
        check_tools(agent.tools)
    except ValueError as error:
        where, _, what = str(error).partition(": ")
        yield Finding("error", where, what)
    for name, tool in agent.tools.items():
        if tool.effect == "write" and not tool.takes_key and tool.lookup is None and tool.http is not None:
            yield Finding(
                "warning",
                f"tools.{name}",
                "its system takes no idempotency key and no `lookup` tells what was done: after a lost answer a person "
                "has to look",
            )


def _prompt(agent: Agent, counter: TokenCounter, limit_tokens: int) -> Iterator[Finding]:
    try:
        AgentContext(agent, counter, limit_tokens=limit_tokens)
    except ContextError as error:
        yield Finding("error", "context", str(error).removeprefix("context: "))


def _said_twice(agent: Agent) -> Iterator[Finding]:
    """The same instruction, fact or example in two places: one of them will be forgotten when it is changed."""
    places: dict[str, list[str]] = defaultdict(list)
    for sentence in agent.persona.split(". "):
        places[plain(sentence)].append("persona")
    for fact in agent.facts:
        places[plain(fact.text)].append(f"facts.{fact.id}.text")
        for question in fact.questions:
            places[plain(question)].append(f"facts.{fact.id}.questions")
    for text, where in places.items():
        if text and len(where) > 1:
            yield Finding("warning", where[1], f"says the same as {where[0]}: {text!r}")
    routes: dict[str, list[str]] = defaultdict(list)
    for route in agent.routes:
        for example in route.examples:
            routes[plain(example)].append(route.name)
    for text, names in routes.items():
        if len(set(names)) > 1:
            yield Finding("error", f"routes.{names[1]}.examples", f"{text!r} is an example of {names[0]!r} too; choose")
        elif len(names) > 1:
            yield Finding("warning", f"routes.{names[0]}.examples", f"{text!r} stands there twice")
