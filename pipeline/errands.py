"""Tools at work for one call: begun when a turn is decided, carried through whatever the caller does meanwhile.

A reply that is broken into is gone, but what was begun in the caller's name is not: its result reaches the state, and
what is to be said of it is kept until the caller has heard it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Protocol

from pipeline.events import Event, ToolFinished, ToolStarted
from pipeline.state import CallState, NotSaved
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.workflow.engine import Act, Step, WorkflowEngine


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


class Errands:
    """One call's tool calls, one after another."""

    def __init__(
        self,
        engine: WorkflowEngine,
        tools: Tools,
        *,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        log: Callable[[Event], object],
        changed: Callable[[CallState], None],
        saved: Callable[[], Awaitable[None]],
        untold: Iterable[str] = (),
    ) -> None:
        """`spawn` starts work that lives as long as the call; `changed` is told every new state; `saved` returns once
        the last one is kept for good, or raises NotSaved; `untold`: news of a call that is resumed."""
        self._engine = engine
        self._tools = tools
        self._spawn = spawn
        self._log = log
        self._changed = changed
        self._saved = saved
        self._task: asyncio.Task[None] | None = None
        self._news: list[str] = list(untold)
        self._after: Act | None = None

    @property
    def under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def news(self) -> tuple[str, ...]:
        """What came of it and has not been heard."""
        return tuple(self._news)

    @property
    def after(self) -> Act | None:
        """What is to be done once the news have been heard: a transfer, or hanging up."""
        return self._after

    def begin(self, state: CallState, call: ToolCall, turn: int) -> None:
        """Start a call and all that follow from it; does nothing if one is under way."""
        if not self.under_way:
            self._task = self._spawn(self._carry_out(state, call, turn))

    async def finished(self) -> None:
        """Wait until everything begun is done. Cancelling the wait cancels nothing else."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def stay(self) -> None:
        """What was to be done after the news is not to be done any more."""
        self._after = None

    def heard(self, text: str) -> None:
        """These words reached the caller: news in them are no news any more."""
        self._news = [one for one in self._news if one not in text]

    async def _carry_out(self, state: CallState, call: ToolCall | None, turn: int) -> None:
        while call is not None:
            arguments = {name: self._engine.said(state, name) for name in self._tools.loggable(call)}
            self._log(ToolStarted(turn=turn, tool=call.tool, arguments=arguments))
            result = await self._done(call, state)
            step: Step = self._engine.tool_done(state, result)
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
            state = step.state
            self._news += step.says
            self._changed(state)
            call = step.act if isinstance(step.act, ToolCall) else None
            self._after = None if isinstance(step.act, ToolCall) else step.act

    async def _done(self, call: ToolCall, state: CallState) -> ToolResult:
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
