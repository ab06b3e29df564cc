"""Whole calls against the embedded stack: a simulated Twilio caller, real models, and replicas that die mid-reply."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.actor import CallerEvent, OnEvent
from bench.caller import CallTarget, place_call
from bench.script import SCRIPTS, Script, check, load_script
from bench.v2v import CallRecord
from bench.voices import PiperVoice
from models.settings import parse_settings
from models.weights import home_folder, prepare
from pipeline.events import CallEnded, Event, ReplyEnded, StageFailed, read_events
from serve.media import SUMMARY_FILE
from serve.recording import EVENTS_FILE
from tests.conftest import StackUp
from tests.serve.test_stack import remote, signal_replica, until_back

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(500)]

SEED = 7
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


async def call(up: StackUp, script: Script, on_event: OnEvent) -> tuple[CallRecord, list[Event], Path]:
    """Place the call; its record, its event log and its folder."""
    state = up.state
    target = CallTarget(public_url=state.public_url, base_url=state.url, auth_token=state.twilio_auth_token)
    voice = PiperVoice(prepare("piper-joe"), home_folder() / "caller")
    record = await place_call(target, script, seed=SEED, voice=voice, on_event=on_event)
    (folder,) = state.runs_dir.glob(f"*-{target.call_sid}")
    async with asyncio.timeout(30):
        while not (folder / SUMMARY_FILE).exists():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.1)
    return record, read_events((folder / EVENTS_FILE).read_text().splitlines()), folder


async def test_the_demo_call_is_answered_right(stack_up: StackUp) -> None:
    script = load_script(SCRIPTS / "dental_demo.yaml")
    record, events, folder = await call(stack_up, script, lambda event: None)
    assert check(script, events, record) == []
    assert isinstance(events[-1], CallEnded)
    assert events[-1].reason == "farewell"
    assert (folder / "call.wav").stat().st_size > 16_000 * 2 * 10


def halted_then_killed(event: CallerEvent, name: str) -> bool:
    """An answer's words come from the model: it is asked while it stands still, and dies before it answers."""
    if event.kind == "line_began":
        signal_replica(name, signal.SIGSTOP)
    if event.kind == "line_ended":
        asyncio.get_running_loop().call_later(1.0, signal_replica, name, signal.SIGKILL)
    return event.kind == "line_ended"


def killed_after_the_first_clause(event: CallerEvent, name: str) -> bool:
    """The list of openings is spoken in several clauses."""
    if event.kind == "reply_began":
        signal_replica(name, signal.SIGKILL)
    return event.kind == "reply_began"


@pytest.mark.parametrize(
    ("name", "first", "fate"),
    [
        ("SmallLanguageModel", "Hi. What are your opening hours?", halted_then_killed),
        ("TextToSpeech", "I'd like to book an appointment, please.", killed_after_the_first_clause),
    ],
)
async def test_a_replica_killed_mid_reply_is_apologised_for_and_the_call_goes_on(
    stack_up: StackUp, name: str, first: str, fate: Callable[[CallerEvent, str], bool]
) -> None:
    killed = False

    def kill(event: CallerEvent) -> None:
        nonlocal killed
        if event.turn == 0 and not killed:
            killed = fate(event, name)

    script = parse_settings(KILLED_MID_REPLY.format(first=first), Script, "test_whole_call.py")
    try:
        record, events, _ = await call(stack_up, script, kill)
    finally:
        await until_back(remote(stack_up, name))
    assert killed
    assert any(isinstance(event, StageFailed) and name in event.error for event in events)
    heard = [event.heard for event in events if isinstance(event, ReplyEnded)]
    assert any("something went wrong" in words for words in heard), heard
    assert "Goodbye" in heard[-1]
    assert record.ended_by == "agent"
