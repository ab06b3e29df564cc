"""Plays a conversation and holds it against what it expects."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
from pydantic import JsonValue, TypeAdapter

from bench.backoffice.office import Opener, serving
from bench.eval.conversation import Conversation, Line, OfficeRequest, Outcome, ToolUse
from bench.eval.models import AgentModels
from bench.eval.world import EvalClock, with_office_at
from bench.script import Expectation, unmet
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call_services import CallServices
from pipeline.escalation import HandOver
from pipeline.text_call import Said, TextCall
from pipeline.tools.outbox import MemoryOutbox
from serve.agent_file import agent_tools

State = dict[str, list[dict[str, JsonValue]]]
"""A back office's tables."""

_STATE: TypeAdapter[State] = TypeAdapter(State)
_WALL_S = 1_795_428_000.0
"""Where wall time begins; nothing hangs on it."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A line of the caller's and what came back."""

    caller: str
    agent: Said
    failures: tuple[str, ...] = ()


@dataclass(slots=True)
class Talk:
    """A conversation as it went."""

    exchanges: list[Exchange] = field(default_factory=list)
    events: list[ev.Event] = field(default_factory=list)
    before: State = field(default_factory=dict)
    after: State = field(default_factory=dict)
    end: str = ""
    hand_over: HandOver | None = None
    known: dict[str, str] = field(default_factory=dict)
    """Variables at the end, for people to read."""

    def told(self) -> str:
        """For people to read."""
        lines = [
            text
            for one in self.exchanges
            for text in (
                f"  caller: {one.caller}" + (f"   [{one.agent.route}]" if one.agent.route else ""),
                f"  agent:  {one.agent.text}",
                *(f"    !! {failure}" for failure in one.failures),
            )
        ]
        lines += [
            f"  tool:   {event.tool} {event.arguments} -> {event.status} {event.code}"
            for event in self.events
            if isinstance(event, ev.ToolFinished)
        ]
        target = f" to {self.hand_over.target}: {self.hand_over.summary}" if self.hand_over else ""
        return "\n".join([*lines, f"  end:    {self.end}{target}", f"  known:  {self.known}"])


async def play(conversation: Conversation, agent: Agent, models: AgentModels, office: Opener) -> Talk:
    """Have the conversation, over a new back office."""
    began = datetime.fromisoformat(conversation.now)
    clock = EvalClock(_WALL_S)
    began_s = clock.now_s()

    def now() -> datetime:
        return began + timedelta(seconds=clock.now_s() - began_s)

    talk = Talk()
    async with (
        serving(office(None, now)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as desk,
        agent_tools(with_office_at(agent, url), MemoryOutbox(), clock, random.Random(1)) as tools,
    ):
        for request in conversation.office:
            await _ask(desk, request)
        talk.before = _STATE.validate_python((await desk.get("/state")).json())
        services = CallServices(call_id="CA1", caller=conversation.caller, tools=tools, now=now)
        call = TextCall(
            agent,
            models.router,
            models.language_model,
            services,
            clock,
            understanding=models.understanding,
            policy=models.policy,
        )
        await _have(conversation, call, desk, talk)
        await call.close()
        await tools.aclose()
        await desk.delete("/faults")
        talk.after = _STATE.validate_python((await desk.get("/state")).json())
    talk.events = list(call.log)
    talk.end = call.end or ""
    talk.hand_over = call.hand_over
    talk.known = {name: value.value for name, value in call.state.values.items()}
    return talk


async def _have(conversation: Conversation, call: TextCall, desk: httpx.AsyncClient, talk: Talk) -> None:
    said = await call.open()
    talk.exchanges.append(Exchange("(calls)", said, _unmet(conversation.greeting, said.text)))
    for line in conversation.lines:
        if call.end is not None:
            shown = line.say or "a line"
            talk.exchanges.append(Exchange(shown, Said(""), ("expected the call to last until this line",)))
            return
        for request in line.office:
            await _ask(desk, request)
        if not _is_said(line, talk.exchanges[-1].agent.text):
            continue
        if line.hang_up:
            return
        said = await _do(line, call)
        shown = line.say or ("(silence)" if line.silence else f"(presses {line.press})" if line.press else "(mumbles)")
        talk.exchanges.append(Exchange(shown, said, _unmet(line.expect, said.text)))


async def _do(line: Line, call: TextCall) -> Said:
    if line.silence:
        return await call.silence()
    if line.press:
        return await call.press(line.press)
    return await call.say(line.say, unclear=line.unclear)


def _is_said(line: Line, before: str) -> bool:
    if line.if_asked and _unmet(Expectation(any_of=line.if_asked), before):
        return False
    return not _unmet(Expectation(none_of=line.unless_asked), before)


async def _ask(desk: httpx.AsyncClient, request: OfficeRequest) -> None:
    answer = await desk.request(request.method, request.path, json=request.body)
    answer.raise_for_status()


def faults(conversation: Conversation, talk: Talk) -> list[str]:
    """Everything that is not as expected; empty if the caller got what he called for."""
    expect = conversation.expect
    found = [f"{one.caller!r}: {failure}" for one in talk.exchanges for failure in one.failures]
    if talk.end != expect.end:
        found.append(f"end: expected {expect.end}, got {talk.end}")
    if expect.transferred_to or talk.hand_over:
        found += _of_hand_over(expect, talk.hand_over)
    for phrase in expect.never:
        found += [
            f"never: {phrase!r} in {one.agent.text!r}"
            for one in talk.exchanges
            if not _unmet(Expectation(any_of=(phrase,)), one.agent.text)
        ]
    done = [event for event in talk.events if isinstance(event, ev.ToolFinished)]
    found += _of_tools(expect.tools, done)
    found += [f"no_tools: {event.tool} was called" for event in done if event.tool in expect.no_tools]
    for what, now, then in (("added", talk.after, talk.before), ("removed", talk.before, talk.after)):
        changed = {table: _without(rows, then.get(table, [])) for table, rows in now.items()}
        found += _of_rows(what, getattr(expect.office, what), changed)
    return found


def _of_hand_over(expect: Outcome, package: HandOver | None) -> list[str]:
    if package is None:
        return [f"transferred_to: expected {expect.transferred_to}, got no transfer"]
    found = []
    if expect.transferred_to and package.target != expect.transferred_to:
        found.append(f"transferred_to: expected {expect.transferred_to}, got {package.target}")
    if expect.reason and package.reason != expect.reason:
        found.append(f"reason: expected {expect.reason}, got {package.reason}")
    return found + list(_unmet(expect.summary, package.summary))


def _of_tools(expected: Sequence[ToolUse], done: Sequence[ev.ToolFinished]) -> list[str]:
    rest = iter(done)
    for use in expected:
        if not any(_is_use(use, event) for event in rest):
            got = [f"{event.tool} {event.status} {event.code}".strip() for event in done]
            return [f"tools: {use.tool} {use.status} {use.code} did not come, or not in this order; got {got}"]
    return []


def _is_use(use: ToolUse, event: ev.ToolFinished) -> bool:
    same = (use.tool, use.status) == (event.tool, event.status) and use.code in ("", event.code)
    return same and all(
        not _unmet(Expectation(all_of=(value,)), event.arguments.get(name, "")) for name, value in use.arguments.items()
    )


def _without(rows: list[dict[str, JsonValue]], others: list[dict[str, JsonValue]]) -> list[dict[str, JsonValue]]:
    left = list(others)
    kept = []
    for row in rows:
        if row in left:
            left.remove(row)
        else:
            kept.append(row)
    return kept


def _of_rows(
    what: str, expected: Mapping[str, Sequence[dict[str, JsonValue]]], got: Mapping[str, list[dict[str, JsonValue]]]
) -> list[str]:
    found = []
    for table in dict.fromkeys((*expected, *got)):
        rows, wanted = list(got.get(table, [])), expected.get(table, ())
        for want in wanted:
            match = next((row for row in rows if row | want == row), None)
            if match is None:
                found.append(f"office.{what}.{table}: expected {want}, got {got.get(table, [])}")
            else:
                rows.remove(match)
        found += [f"office.{what}.{table}: unexpected {row}" for row in rows]
    return found


def _unmet(expect: Expectation, heard: str) -> tuple[str, ...]:
    if expect == Expectation():
        return ()
    return tuple(f"expected {failure.expected}; got {failure.heard}" for failure in unmet("", expect, heard))
