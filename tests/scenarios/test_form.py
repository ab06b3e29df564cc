"""The form of scenario files: what is refused, and that every file marked `real` can be played for real."""

from __future__ import annotations

import pytest

from models.settings import SettingsError, parse_settings
from tests.scenarios.form import Scenario, load_scenario, scenario_files
from tests.scenarios.real import script_of
from tests.scenarios.verdict import faults
from tests.scenarios.virtual import play

TALK = """
description: A caller asks, and the agent answers.
caller:
  - at_s: 4
    say: How much is a cleaning?
    replied_within_ms: {within_ms}
expect:
  heard: ["Hello, this is Bright Dental. How can I help you?", "{heard}"]
  events: [{{kind: turn_decided, turn: {turn}}}]
  absent: [{absent}]
  end: {end}
"""
RIGHT: dict[str, object] = {
    "within_ms": 700,
    "heard": "Sure, a cleaning ...",
    "turn": 1,
    "absent": "Monday",
    "end": "caller_hung_up",
}


def scenario(**changes: object) -> Scenario:
    return parse_settings(TALK.format(**{**RIGHT, **changes}), Scenario, "test_form.py")


def test_a_scenario_that_holds_has_no_faults() -> None:
    right = scenario()
    assert faults(right, play(right)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"within_ms": 300}, "expected a reply within 300 ms"),
        ({"heard": "Sure, a check-up ..."}, "heard: expected"),
        ({"heard": "Sure, a cleaning"}, "heard: expected"),
        ({"turn": 2}, "events: {'kind': 'turn_decided', 'turn': 2} did not come"),
        ({"absent": "twenty dollars."}, "absent: 'twenty dollars.' reached the ear"),
        ({"absent": "{kind: final}"}, 'absent: {"kind": "final"'),
        ({"end": "farewell"}, "end: expected farewell, got caller_hung_up"),
    ],
)
def test_each_expectation_can_fail(changes: dict[str, object], fault: str) -> None:
    wrong = scenario(**changes)
    (found,) = faults(wrong, play(wrong))
    assert found.startswith(fault) or fault in found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("caller: [{at_s: 1}]", "expected exactly one of say, noise_ms, press, line, hang_up"),
        ("caller: [{at_s: 1, say: hello, press: '1'}]", "expected exactly one of"),
        ("caller: [{at_s: 1, after: {kind: final}, say: hello}]", "at_s or after, not both"),
        ("caller: [{at_s: 1, say: 'hello <pause>'}]", "unknown markup"),
        ("faults: [{stage: speak}]", "expected exactly one of slow_ms, broken, stuck"),
        ("agent: {turn_taking: {timeout_ms: 1}}", "timeout_ms"),
        ("agent: {patience: 1}", "patience"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        parse_settings(f"description: Something that makes no sense.\n{text}\nexpect: {{end: silence}}", Scenario, "x")


def test_a_step_whose_moment_never_comes_is_a_fault() -> None:
    waiting = parse_settings(
        "description: A caller waits for what never happens.\n"
        "caller: [{after: {kind: keypress}, say: hello}]\n"
        "expect: {end: silence}",
        Scenario,
        "test_form.py",
    )
    assert faults(waiting, play(waiting)) == []
    assert not play(waiting).deeds


def test_every_real_scenario_can_be_played_by_the_simulated_caller() -> None:
    real = {path.stem: load_scenario(path) for path in scenario_files()}
    scripts = [script_of(one, name) for name, one in real.items() if one.real]
    assert len(scripts) >= 6
