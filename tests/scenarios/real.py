"""A scenario as a script for the simulated caller, and the verdict on a call with the real models.

Real models take their own time and choose their own words, so a real call is held to less than a virtual one: each
whole reply must carry the facts of the one that is written, and waits are allowed some slack.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.script import Greeting, HangUp, Interruption, Script, Turn
from bench.v2v import CallRecord
from pipeline import events as ev
from pipeline.grounding import answers
from tests.scenarios.form import Scenario, Step
from tests.scenarios.virtual import matches

SLACK_MS = 300
"""What the stack and its caller may take longer on one small machine."""

_AFTER_KEY_MS = 1_500


def script_of(scenario: Scenario, name: str) -> Script:
    """What the simulated caller does. Raises ValueError for a scenario that only fakes can play."""
    if scenario.agent or scenario.faults or scenario.bystander or "carrier" in scenario.model_fields_set:
        raise ValueError("a real scenario changes nothing of agent, models or carrier, and has one caller")
    turns: list[Turn] = []
    over_greeting = False
    for index, step in enumerate(scenario.caller):
        over = step.after is not None and step.after.get("kind") == "first_audio"
        if over and index == 0:
            over_greeting = True
            turns.append(Turn(wait_ms=round(step.plus_s * 1000)))
            turns += _deed(step, over_reply=False)
        else:
            turns += _deed(step, over_reply=over)
    return Script(
        name=name,
        greeting=Greeting(wait=not over_greeting),
        turns=tuple(turns),
        ended_by="caller" if scenario.expect.end == "caller_hung_up" else "agent",
    )


def _deed(step: Step, *, over_reply: bool) -> list[Turn]:
    after_ms = round(step.plus_s * 1000)
    if step.say:
        return [Turn(interrupt=Interruption(after_ms=after_ms, say=step.say)) if over_reply else Turn(say=step.say)]
    if step.press:
        return [Turn(dtmf=step.press), Turn(wait_ms=_AFTER_KEY_MS)]
    if step.hang_up and over_reply:
        return [Turn(hang_up=HangUp(moment="mid_reply", after_ms=after_ms))]
    raise ValueError(f"the simulated caller cannot do this: {step.model_dump(exclude_defaults=True)}")


def faults(scenario: Scenario, log: Sequence[ev.Event], record: CallRecord) -> list[str]:
    """Everything about a real call that is not as the scenario says; empty if all is well."""
    expect = scenario.expect
    found = []
    replies = [event for event in log if isinstance(event, ev.ReplyEnded) and event.heard]
    rest = iter(replies)
    for line in expect.heard or ():
        if not any(_carries(reply, line) for reply in rest):
            found.append(f"heard: nothing like {line!r}, or not in this order, in {[reply.heard for reply in replies]}")
            break
    left = iter(log)
    for pattern in expect.events:
        if not any(matches(event, pattern) for event in left):
            found.append(f"events: {pattern} did not come, or not in this order")
            break
    for absent in expect.absent:
        if isinstance(absent, str):
            found += [f"absent: {absent!r} in {reply.heard!r}" for reply in replies if absent in reply.heard]
        else:
            found += [f"absent: {ev.to_json(event)}" for event in log if matches(event, absent)][:1]
    limits = [step.silent_within_ms for step in scenario.caller if step.say and step.silent_within_ms is not None]
    for took_ms in (turn.barge_in_ms for turn in record.turns if turn.barge_in_ms is not None):
        if limits and took_ms > min(limits) + SLACK_MS:
            found.append(f"the agent went on for {took_ms:.0f} ms; expected {min(limits)} and {SLACK_MS} ms of slack")
    last = log[-1]
    if not isinstance(last, ev.CallEnded) or last.reason != expect.end:
        found.append(f"end: expected {expect.end}, got {ev.to_json(last)}")
    return found


def _carries(reply: ev.ReplyEnded, line: str) -> bool:
    if line.endswith(" ..."):
        return not reply.complete
    return reply.complete and answers(reply.heard, line)
