"""Carrying out a call's tool calls on business systems."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.clauses import split_clauses
from pipeline.events import Event, ToolFinished, ToolStarted
from pipeline.state import CallState, Ending, News, NotSaved
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.workflow.engine import Step, WorkflowEngine

_SENTENCE_ENDS = re.compile(r"[.!?…][\"')\]]*$")


class Tools(Protocol):
    """What can be done on business systems: pipeline.tools.runner, or a fake."""

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        """The result, failures included. A write that was begun is finished even if this is cancelled."""
        ...

    def effect(self, tool: str) -> str:
        """'read' or 'write'. Raises KeyError for an unknown tool."""
        ...

    def loggable(self, call: ToolCall) -> Iterable[str]:
        """The names of the call's arguments that may be logged."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one tool call."""

    state: CallState
    news: tuple[News, ...]
    """What is to be said of it."""
    ending: Ending | None
    """How the call is to end when that has been heard; None: it goes on."""


class ToolExecutor:
    """One call's tool calls, one after another."""

    def __init__(
        self,
        engine: WorkflowEngine,
        tools: Tools,
        *,
        log: Callable[[Event], object],
        saved: Callable[[], Awaitable[None]],
        think: Callable[[Step, int], Awaitable[Step]],
    ) -> None:
        """`saved` returns once the call's last state is kept for good, or raises NotSaved. `think`: what a step in a
        free conversation comes to, in a turn."""
        self._engine = engine
        self._tools = tools
        self._log = log
        self._saved = saved
        self._think = think

    async def outcomes(self, state: CallState, call: ToolCall, turn: int) -> AsyncGenerator[Outcome, None]:
        """Carry out a call, and all that follow from it; what comes of each as soon as it is known."""
        following: ToolCall | None = call
        while following is not None:
            step = await self._step(state, following, turn)
            act, news = step.act, news_of(state.visits, step.says, asks=step.state.waiting == "answer")
            following, ending = (act, None) if isinstance(act, ToolCall) else (None, act)
            state = step.state
            yield Outcome(state, news, ending)

    async def _step(self, state: CallState, call: ToolCall, turn: int) -> Step:
        arguments = {name: self._engine.said(state, name) for name in self._tools.loggable(call)}
        self._log(ToolStarted(turn=turn, tool=call.tool, arguments=arguments))
        result = await self._done(state, call)
        self._log(
            ToolFinished(
                turn=turn,
                tool=call.tool,
                effect=self._tools.effect(call.tool),
                status=result.status,
                code=result.code,
                arguments=arguments,
            )
        )
        step = self._engine.tool_done(state, result)
        return await self._think(step, turn) if step.thinks else step

    async def _done(self, state: CallState, call: ToolCall) -> ToolResult:
        """The result; a write is sent only once the state that it was begun in is kept.

        A gateway that went on with an older state would ask the caller again, and might send other words under the key
        of a write that is done.
        """
        if self._tools.effect(call.tool) == "write":
            try:
                await self._saved()
            except NotSaved as error:
                return ToolResult("failed", {}, detail=f"not sent, since the call's state cannot be saved: {error}")
        return await self._tools.run(call, level=state.level)


def news_of(visit: int, says: Sequence[str], *, asks: bool) -> tuple[News, ...]:
    """What is said of a tool call, as clauses that can be told apart; `visit`: which call of the call's it was; `asks`:
    the last of it is a question."""
    news: list[News] = []
    sentence = place = 0
    for number, text in enumerate(says, start=1):
        clauses = split_clauses(text)
        for clause in clauses:
            news.append(News(f"{visit}.{sentence}.{place}", clause, asks=asks and number == len(says)))
            ends = clause is clauses[-1] or _SENTENCE_ENDS.search(clause)
            sentence, place = (sentence + 1, 0) if ends else (sentence, place + 1)
    return tuple(news)
