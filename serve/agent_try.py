"""`trunkline agent try`: a conversation with an agent in the terminal, by text."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Protocol

from rich.console import Console
from rich.markup import escape

from models.types import RouteDecision
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call_services import CallServices
from pipeline.clock import LoopClock
from pipeline.ports import Router
from pipeline.text_call import Said, TextCall
from pipeline.tool_executor import Tools
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.outbox import MemoryOutbox
from serve.agent_file import agent_tools
from serve.config import Stack
from serve.direct import direct_engines, direct_router

PROMPT = "[cyan]you:[/]   "
QUIT = ("/quit", "/q")


_MEANINGS = 4
"""So many of the likeliest are shown."""
_LEAST = 0.05
"""Less likely ones are not."""


class Lines(Protocol):
    """What the caller says, line by line; an empty one is silence."""

    def __aiter__(self) -> AsyncIterator[str]: ...


async def typed(console: Console) -> AsyncGenerator[str, None]:
    """Lines of the terminal, or of a pipe, which are shown as they are read. Ends at the end of input or at /quit."""
    at_terminal = sys.stdin.isatty()
    while True:
        if at_terminal:
            console.print(PROMPT, end="")
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line or line.strip() in QUIT:
            return
        if not at_terminal:
            console.print(f"{PROMPT}{escape(line.strip())}", highlight=False)
        yield line.strip()


async def try_agent(
    agent: Agent,
    stack: Stack,
    lines: Lines,
    console: Console,
    *,
    caller: str = "",
    real_model: bool = False,
    now: datetime | None = None,
) -> None:
    """Hold the conversation, as if it began at `now` on the business's clock; None: at its own time. Raises
    SettingsError and ModelFailure if the agent cannot answer at all."""
    clock = LoopClock()
    began = agent.hours.now(clock.wall_time_s())
    ahead = now - began.replace(tzinfo=None) if now is not None else timedelta()
    async with AsyncExitStack() as up:
        router = direct_router(agent, stack.router.weights)
        if real_model:
            console.print("Starting the language model (about a minute) ...", style="dim")
        engines = await up.enter_async_context(direct_engines(stack, words=real_model, understands=real_model))
        understanding = await engines.understanding(agent)
        tools = await up.enter_async_context(agent_tools(agent, MemoryOutbox(), clock))
        heard = _Heard(router)
        told = _Told(tools, heard, console)
        services = CallServices(
            call_id=f"try-{datetime.now(UTC):%Y%m%dT%H%M%S}",
            caller=caller,
            tools=told,
            now=lambda: agent.hours.now(clock.wall_time_s()) + ahead,
        )
        call = TextCall(
            agent,
            heard,
            engines.language_model,
            services,
            clock,
            understanding=understanding,
            policy=engines.policy,
        )
        call.log.subscribe(told.show)
        _show(await call.open(), console)
        async for line in lines:
            _show(await (call.say(line) if line else call.silence()), console)
            if call.end is not None:
                break
        await call.close()
        _show_end(call, console)


class _Heard:
    """The router (pipeline.ports.Router), and which examples an utterance was near to: that is in no event."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._shares: tuple[tuple[str, float], ...] = ()

    async def route(self, text: str) -> RouteDecision:
        decision = await self._router.route(text)
        self._shares = decision.meant.shares
        return decision

    def near(self) -> str:
        """Whose examples the last utterance was nearest to, for people to read; empty if there are none."""
        return _meanings(self._shares)


class _Told:
    """What is decided and done in a call, with its evidence, as it happens. Also pipeline.tool_executor.Tools: why a
    system said no or failed is in no event."""

    def __init__(self, tools: Tools, heard: _Heard, console: Console) -> None:
        self._tools = tools
        self._heard = heard
        self._console = console
        self._routed = ""
        self._why = ""

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        result = await self._tools.run(call, level=level)
        self._why = result.detail
        return result

    def effect(self, tool: str) -> str:
        return self._tools.effect(tool)

    def loggable(self, call: ToolCall) -> Iterable[str]:
        return self._tools.loggable(call)

    def show(self, event: ev.Event) -> None:
        """A listener of the call's log."""
        match event:
            case ev.Routed(label=label, confidence=confidence, passage_ids=ids, passage_scores=scores):
                near = "".join(f", fact {fact} {score:.2f}" for fact, score in [*zip(ids, scores, strict=True)][:1])
                examples = self._heard.near()
                self._routed = f"{label} {confidence:.2f}{near}{'; near to ' if examples else ''}{examples}"
                return
            case ev.Understood():
                text = f"rules: {self._routed}" if event.way == "rules" else _weighed(event, self._routed)
            case ev.ToolStarted(tool=tool, arguments=arguments):
                self._why = ""
                text = f"calls {tool} {json.dumps(arguments, ensure_ascii=False)}"
            case ev.ToolFinished(tool=tool, status=status, code=code):
                why = f" ({self._why})" if self._why and status != "ok" else ""
                text = f"{f'{tool}: {status} {code}'.rstrip()}{why}"
            case ev.VariableSet(name=name, value=value, confidence=confidence):
                text = f"{name} = {value or '(not shown)'}" + (f" ({confidence:.1f})" if confidence < 1 else "")
            case ev.Talked(call=call, leave=leave, dropped=dropped):
                wants = (f"call {call}" if call else "", f"leave by {leave}" if leave else "")
                said_not = (f"not said, since nothing bears it out: {sentence}" for sentence in dropped)
                text = "; ".join(part for part in ("the model answers", *wants, *said_not) if part)
            case ev.StageFailed(stage=stage, error=error):
                text = f"{stage} failed: {error}"
            case _:
                return
        self._console.print(f"       {text}", style="dim", markup=False, highlight=False)


def _weighed(event: ev.Understood, routed: str) -> str:
    """What was decided, by what, the likeliest meanings, and what the router alone made of it."""
    meanings = _meanings([*event.evidence.items()]) or "none"
    doubted = f", in doubt {event.doubted}" if event.doubted else ""
    return f"{event.way}: {event.label} {event.confidence:.2f} of {meanings}{doubted}; router: {routed}"


def _meanings(shares: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{label} {share:.2f}" for label, share in shares[:_MEANINGS] if share >= _LEAST)


def _show(said: Said, console: Console) -> None:
    console.print(f"[green]agent:[/] {escape(said.text)}" if said.text else "[dim](the agent says nothing)[/]")


def _show_end(call: TextCall, console: Console) -> None:
    console.print(f"The call is over: {(call.end or '').replace('_', ' ')}.", style="dim")
    if call.hand_over is not None:
        console.print(f"Handed over to {call.hand_over.target}: {call.hand_over.summary}", style="dim", markup=False)
