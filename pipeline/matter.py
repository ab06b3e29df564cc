"""What a call may do besides talking, and what is known of it before it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from pipeline.errands import Tools
from pipeline.state import CallState
from pipeline.tools.calls import ToolCall, ToolResult


class NoTools:
    """For agents that only talk."""

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        return ToolResult("failed", {}, "no_tools", f"{call.tool}: this call was given no tools")

    def effect(self, tool: str) -> str:
        return "read"

    def loggable(self, call: ToolCall) -> tuple[str, ...]:
        return ()


def _today() -> date:
    return datetime.now(UTC).date()


def _nowhere(state: CallState) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Matter:
    """One call's ties to the world beyond the line."""

    call_id: str = "call"
    """Begins the idempotency key of everything that is done in the call: the same for a call that is resumed."""
    caller: str = ""
    """The caller's number: a look-up key, never proof."""
    tools: Tools = field(default_factory=NoTools)
    today: Callable[[], date] = _today
    """The date where the business is."""
    state: CallState | None = None
    """Of a call that is resumed; None: it begins."""
    save: Callable[[CallState], None] = _nowhere
    """Told every state that counts, at once; must return at once."""
