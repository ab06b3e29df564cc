"""Whole calls against the embedded stack: a simulated Twilio caller, real models, and replicas that die mid-reply."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from bench.actor import CallerEvent
from bench.script import SCRIPTS, Script, check, load_script
from models.settings import parse_settings
from models.weights import entry
from pipeline.events import CallEnded, CallStarted, ReplyEnded, StageFailed
from tests.conftest import StackUp
from tests.serve.stack_rig import call, remote, signal_replica, until_back

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(500)]

KILLED_MID_REPLY = """
name: a replica dies
pause_ms: 6000  # a request that no replica has taken up fails by the time-out of 5 s, with the filler line before it
turns:
  - say: {first}
  - say: How much is a cleaning?
    expect: {{any_of: ["$120", "something went wrong"]}}
  - say: Thanks, that's all. Goodbye.
    expect: {{any_of: ["goodbye"]}}
ended_by: agent
"""


async def test_the_demo_call_is_answered_right(stack_up: StackUp) -> None:
    script = load_script(SCRIPTS / "dental_demo.yaml")
    record, events, folder = await call(stack_up, script, lambda event: None)
    assert check(script, events, record) == []
    assert isinstance(events[-1], CallEnded)
    assert events[-1].reason == "farewell"
    assert (folder / "call.wav").stat().st_size > 16_000 * 2 * 10
    (started,) = (event for event in events if isinstance(event, CallStarted))
    assert started.weights == {name: entry(name).digest() for name in stack_up.stack.weights()}


async def test_a_speaker_killed_mid_reply_is_apologised_for_and_the_call_goes_on(stack_up: StackUp) -> None:
    def at_the_first_clause(event: CallerEvent) -> bool:
        """The list of openings is spoken in several clauses."""
        if event.kind == "reply_began":
            signal_replica("TextToSpeech", signal.SIGKILL)
        return event.kind == "reply_began"

    first = "I'd like to book an appointment, please."
    heard, failed = await heard_though_killed(stack_up, "TextToSpeech", first, at_the_first_clause)
    assert any("TextToSpeech" in event.error for event in failed), failed
    assert any("something went wrong" in words for words in heard), heard


async def test_a_model_that_understands_killed_mid_turn_is_done_without(stack_up: StackUp) -> None:
    def halted_then_killed(event: CallerEvent) -> bool:
        """It is asked while it stands still, and dies before it answers."""
        if event.kind == "line_began":
            signal_replica("Understanding", signal.SIGSTOP)
        if event.kind == "line_ended":
            asyncio.get_running_loop().call_later(1.0, signal_replica, "Understanding", signal.SIGKILL)
        return event.kind == "line_ended"

    first = "Could you tell me how late you're open on a weekday?"
    heard, failed = await heard_though_killed(stack_up, "Understanding", first, halted_then_killed)
    assert any(event.stage == "understand" for event in failed), failed
    assert any("eight to five" in words for words in heard), heard
    assert not any("something went wrong" in words for words in heard), heard


async def heard_though_killed(
    up: StackUp, name: str, first: str, fate: Callable[[CallerEvent], bool]
) -> tuple[list[str], list[StageFailed]]:
    """Place a call during whose first turn a replica dies; what its caller heard, and what failed."""
    killed = False

    def kill(event: CallerEvent) -> None:
        nonlocal killed
        if event.turn == 0 and not killed:
            killed = fate(event)

    script = parse_settings(KILLED_MID_REPLY.format(first=first), Script, "test_whole_call.py")
    try:
        record, events, _ = await call(up, script, kill)
    finally:
        await until_back(remote(up, name))
    assert killed
    failed = [event for event in events if isinstance(event, StageFailed)]
    heard = [event.heard for event in events if isinstance(event, ReplyEnded)]
    assert "Goodbye" in heard[-1]
    assert record.ended_by == "agent"
    return heard, failed
