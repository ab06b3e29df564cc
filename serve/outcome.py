"""What came of a call, in the few figures that versions of an agent are compared by."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.events import CallEnded, Event, FinalTranscript, ToolFinished, TransferRequested
from serve.call_store import CallOutcome
from serve.timeline import call_timeline

CONTAINED = ("farewell", "caller_hung_up")
"""Ends of a call that needed no person."""


def outcome_of(
    events: Sequence[Event], *, call_sid: str, agent: str, version: str, started_s: float, end: str = ""
) -> CallOutcome:
    """The outcome of a call whose events these are; `end` if no `call_ended` is among them."""
    ended = next((event.reason for event in reversed(events) if isinstance(event, CallEnded)), end)
    transfer = next((event.reason for event in events if isinstance(event, TransferRequested)), "")
    tools = [event for event in events if isinstance(event, ToolFinished)]
    answered = sum(event.status in ("ok", "rejected") for event in tools)
    latency = call_timeline(events).v2v
    return CallOutcome(
        call_sid=call_sid,
        agent=agent,
        agent_version=version,
        started_s=started_s,
        turns=len({event.turn for event in events if isinstance(event, FinalTranscript)}),
        contained=not transfer and ended in CONTAINED,
        escalated=transfer or ("escalated" if ended == "escalated" else ""),
        tools_ok=answered,
        tools_failed=len(tools) - answered,
        latency_p50_ms=latency.p50_ms,
        latency_p95_ms=latency.p95_ms,
    )
