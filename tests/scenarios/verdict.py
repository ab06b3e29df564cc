"""Holds what came of a scenario against what it expects, and against what holds for every call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline import events as ev
from tests.scenarios.form import EventPattern, Scenario
from tests.scenarios.sound import Heard
from tests.scenarios.virtual import Conversation, Deed, matches

_BREATH_S = 0.1
"""A gap in the agent's speech shorter than this is no silence."""

_EARLY_S = 0.02
"""The carrier plays whole frames: a word may be whole at the ear this much after the ledger's time."""


def faults(scenario: Scenario, talk: Conversation) -> list[str]:
    """Everything that is not as it must be; empty if all is well."""
    expect = scenario.expect
    replies = [event.heard for event in talk.log if isinstance(event, ev.ReplyEnded) and event.heard]
    found = list(talk.complaints) + _of_every_call(talk)
    if expect.heard is not None:
        found += _compared("heard", expect.heard, replies)
    if expect.history is not None:
        lines = [f"{'caller' if one.role == 'user' else 'agent'}: {one.content}" for one in talk.history]
        found += _compared("history", expect.history, lines)
    ear = [heard.word for heard in talk.ear]
    for phrase in expect.once:
        if (count := _count(phrase, ear)) != 1:
            found.append(f"once: {phrase!r} reached the ear {count} times")
    found += _in_order(expect.events, talk.log)
    for absent in expect.absent:
        if isinstance(absent, str):
            if _count(absent, ear):
                found.append(f"absent: {absent!r} reached the ear")
        elif came := [event for event in talk.log if matches(event, absent)]:
            found.append(f"absent: {ev.to_json(came[0])}")
    for deed in talk.deeds:
        found += _in_time(deed, talk.ear)
    last = talk.log[-1]
    if isinstance(last, ev.CallEnded) and last.reason != expect.end:
        found.append(f"end: expected {expect.end}, got {last.reason}")
    return found


def told(talk: Conversation) -> str:
    """The call for people to read: its log, and what reached the ear."""
    lines = [f"{event.at_s:8.3f} {ev.to_json(event)}" for event in talk.log]
    lines += [
        f"{deed.start_s:8.3f} to {deed.end_s:.3f} caller: {deed.step.model_dump(exclude_defaults=True)}"
        for deed in talk.deeds
    ]
    lines.append("ear: " + " ".join(f"{heard.word}@{heard.start_s:.2f}" for heard in talk.ear))
    lines += [f"{one.role}: {one.content}" for one in talk.history]
    return "\n".join(lines)


def _of_every_call(talk: Conversation) -> list[str]:
    found = []
    ends = [index for index, event in enumerate(talk.log) if isinstance(event, ev.CallEnded)]
    if ends != [len(talk.log) - 1]:
        found.append(f"the log must end with its one call_ended, got them at {ends} of {len(talk.log)}")
    if talk.outcome.end in ("failed", "refused"):
        found.append(f"the session ended as {talk.outcome.end}: {talk.outcome.close_reason}")
    if talk.outcome.warnings:
        found.append(f"the session complained: {talk.outcome.warnings}")
    return found + _heard_was_played(talk)


def _heard_was_played(talk: Conversation) -> list[str]:
    """The ledger claims no word before the carrier has played it, in the order it was played."""
    ear = iter(talk.ear)
    for event in talk.log:
        if isinstance(event, ev.ReplyEnded):
            for word in event.heard.split():
                played = next((heard for heard in ear if heard.word == word), None)
                if played is None:
                    return [f"ledger at {event.at_s}: {word!r} of {event.heard!r} never reached the ear"]
                if played.end_s > event.at_s + _EARLY_S:
                    return [f"ledger at {event.at_s}: {word!r} was played only at {played.end_s:.3f}"]
    return []


def _compared(what: str, expected: Sequence[str], got: Sequence[str]) -> list[str]:
    if len(expected) == len(got) and all(_fits(*pair) for pair in zip(expected, got, strict=True)):
        return []
    return [f"{what}: expected {list(expected)}, got {list(got)}"]


def _fits(expected: str, got: str) -> bool:
    return got.startswith(expected[:-4]) if expected.endswith(" ...") else got == expected


def _count(phrase: str, words: Sequence[str]) -> int:
    wanted = phrase.split()
    return sum(list(words[at : at + len(wanted)]) == wanted for at in range(len(words) - len(wanted) + 1))


def _in_order(expected: Iterable[EventPattern], log: Sequence[ev.Event]) -> list[str]:
    rest = iter(log)
    for pattern in expected:
        if not any(matches(event, pattern) for event in rest):
            return [f"events: {pattern} did not come, or not in this order"]
    return []


def _in_time(deed: Deed, ear: Sequence[Heard]) -> list[str]:
    found = []
    step = deed.step
    what = step.say or step.press or f"noise of {step.noise_ms} ms"
    if (within_ms := step.replied_within_ms) is not None:
        reply = next((heard for heard in ear if heard.start_s >= deed.end_s), None)
        took_ms = None if reply is None else (reply.start_s - deed.end_s) * 1000
        if took_ms is None or took_ms > within_ms:
            took = "none" if took_ms is None else f"one after {took_ms:.0f} ms"
            found.append(f"{what!r}: expected a reply within {within_ms} ms, got {took}")
    if (within_ms := step.silent_within_ms) is not None:
        silent_s = deed.start_s
        for heard in ear:
            if heard.start_s <= silent_s + _BREATH_S and heard.end_s > silent_s:
                silent_s = heard.end_s
        took_ms = (silent_s - deed.start_s) * 1000
        if took_ms == 0:
            found.append(f"{what!r}: the agent was silent already")
        elif took_ms > within_ms:
            found.append(f"{what!r}: expected silence within {within_ms} ms, got it after {took_ms:.0f} ms")
    return found
