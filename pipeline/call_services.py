"""What a call may do besides talking, and what is known of it before it begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.escalation import HandOver
from pipeline.state import Memory
from pipeline.tool_executor import Tools
from pipeline.tools.calls import ToolCall, ToolResult


class NoTools:
    """For agents that only talk."""

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        return ToolResult("failed", {}, "no_tools", f"{call.tool}: this call was given no tools")

    def effect(self, tool: str) -> str:
        return "read"

    def loggable(self, call: ToolCall) -> tuple[str, ...]:
        return ()


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _nowhere(memory: Memory) -> None:
    pass


async def _at_once() -> None:
    pass


async def _to_nobody(package: HandOver) -> None:
    pass


@dataclass(frozen=True, slots=True)
class CallServices:
    """One call's ties to the world beyond the line."""

    call_id: str = "call"
    """Begins the idempotency key of everything that is done in the call: the same for a call that is resumed."""
    caller: str = ""
    """The caller's number: a look-up key, never proof."""
    tools: Tools = field(default_factory=NoTools)
    now: Callable[[], datetime] = _now
    """What a clock on the business's wall says; by itself, where the machine is."""
    memory: Memory | None = None
    """Of a call that is resumed; None: it begins."""
    save: Callable[[Memory], None] = _nowhere
    """Told everything that must not be forgotten, at once; must return at once."""
    saved: Callable[[], Awaitable[None]] = _at_once
    """Returns once the last that `save` was told is kept for good; nothing is changed on any system before. Raises
    NotSaved."""
    hand_over: Callable[[HandOver], Coroutine[None, None, None]] = _to_nobody
    """Gives whoever takes the call over what they are to know; must end within a few seconds, and raises nothing."""
