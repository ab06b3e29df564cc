"""Script files are read strictly, and a call is held against its script by what was heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.script import SCRIPTS, Script, check, load_script, pause_pieces
from bench.v2v import CallRecord, EndedBy, TurnRecord
from models.settings import SettingsError, parse_settings
from pipeline.events import Event, FirstAudio, ReplyEnded, ToolFinished


def parse(turns: str, more: str = "") -> Script:
    return parse_settings(f"name: x\nturns: {turns}\n{more}", Script, "x.yaml")


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scripts_of_the_repository_load(path: Path) -> None:
    assert load_script(path).turns


def test_the_bench_script_has_enough_turns_to_measure() -> None:
    turns = load_script(SCRIPTS / "dental_bench.yaml").turns
    assert len(turns) >= 20
    assert sum("<pause" in turn.line for turn in turns) >= 5


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ("[{say: hi, wait_ms: 3}]", r"turns\[0\].*exactly one of.*say, wait_ms"),
        ("[{}]", r"turns\[0\].*exactly one of.*got none"),
        ("[{say: hi}, {shout: hey}]", r"x.yaml: turns\[1\]\.shout: unknown key"),
        ("[{wait_ms: soon}]", r"turns\[0\]\.wait_ms.*integer.*'soon'"),
        ("[{wait_ms: 10}, {interrupt: {after_ms: 5, say: hey}}]", r"turns\[1\] breaks into a reply"),
        ("[{hang_up: {}}, {say: hi}]", r"turns\[0\] hangs up, so it must be the last"),
        ("[{hang_up: {moment: mid_word}}]", r"give `say` with moment 'mid_word'"),
        ("[{say: hi <breath> there}]", r"unknown markup '<breath>'.*<pause 500ms>"),
        ("[{dtmf: 12a}]", r"turns\[0\]\.dtmf"),
        ("[]", r"turns"),
    ],
)
def test_a_bad_script_names_file_key_and_what_was_expected(turns: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse(turns)


def test_a_line_is_cut_at_its_pauses() -> None:
    assert pause_pieces("I'd like <pause 500ms> a cleaning<pause 80ms>.") == ["I'd like", 500, "a cleaning", 80, "."]
    assert pause_pieces("") == []


def record(*starts_s: float, ended_by: EndedBy = "caller") -> CallRecord:
    turns = tuple(
        TurnRecord(turn=index - 1, kind="say", text="", speech_start_s=start, speech_end_s=start + 1)
        for index, start in enumerate((0.0, *starts_s))
    )
    return CallRecord(
        script="x",
        call_sid="CA1",
        stream_sid="MZ1",
        voice="v",
        seed=0,
        noise="none",
        started_wall_time_s=0.0,
        duration_s=60.0,
        ended_by=ended_by,
        end_reason="because",
        turns=turns,
    )


def heard(*replies: tuple[float, float, str]) -> list[Event]:
    """Replies as (audible from, over at, words heard)."""
    events: list[Event] = []
    for number, (from_s, until_s, words) in enumerate(replies):
        events.append(FirstAudio(turn=number, clause_id=f"c{number}", at_s=from_s))
        events.append(ReplyEnded(turn=number, heard=words, complete=True, at_s=until_s))
    return events


GREETED = (0.5, 2.0, "Hello, this is Bright Dental.")


@pytest.mark.parametrize(
    ("expect", "reply"),
    [
        ('{any_of: ["$95"]}', "A check-up is ninety-five dollars."),
        ('{any_of: ["$120"]}', "A cleaning is one hundred and twenty dollars."),
        ('{all_of: ["8", "5"]}', "From eight to five."),
        ('{all_of: ["10:30"]}', "That's Tuesday at ten thirty."),
        ('{all_of: ["nine"]}', "We open at 9:00, or at nine o'clock."),
        ('{any_of: ["don\'t have"]}', "I'm sorry, I do not have that."),
        (
            '{all_of: ["two oh six", "one four seven"]}',
            "I call you on two oh six, five five five, zero one four seven.",
        ),
        ("{no_numbers: true}", "I'm afraid that one is not for me."),
    ],
)
def test_phrases_are_compared_as_they_are_spoken(expect: str, reply: str) -> None:
    script = parse(f"[{{say: hi, expect: {expect}}}]")
    assert check(script, heard(GREETED, (4.0, 6.0, reply)), record(3.0)) == []


@pytest.mark.parametrize(
    ("expect", "reply", "said"),
    [
        ('{any_of: ["8"]}', "From 18 to 88.", "any of"),
        ('{all_of: ["eight", "five"]}', "From eight to six.", r"missing \['five'\]"),
        ('{none_of: ["Paris"]}', "The capital is Paris.", r"found \['Paris'\]"),
        ('{all_of: ["one four six"]}', "On five five five, zero one four seven.", "all of"),
        ("{no_numbers: true}", "Tickets are five hundred dollars.", r"no numbers \(found \['\$500'\]\)"),
    ],
)
def test_a_wrong_answer_is_reported_with_its_turn_and_what_was_heard(expect: str, reply: str, said: str) -> None:
    script = parse(f'[{{say: "hours <pause 100ms> please?", expect: {expect}}}]')
    (failure,) = check(script, heard(GREETED, (4.0, 6.0, reply)), record(3.0))
    assert failure.where == 'turn 1 ("hours please?")'
    assert failure.heard == f'"{reply}"'
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(str(failure))


def test_replies_belong_to_the_last_turn_that_had_begun_when_they_became_audible() -> None:
    script = parse(
        "[{say: a, expect: {any_of: [apples]}}, {interrupt: {after_ms: 100, say: b}, expect: {any_of: [pears]}}]"
    )
    # The interrupted reply is over only after the interruption has begun, yet it answered the turn before.
    events = heard(GREETED, (4.0, 5.6, "apples and"), (7.0, 9.0, "pears"))
    assert check(script, events, record(3.0, 5.0)) == []


def test_a_turn_without_a_reply_fails_even_if_nothing_is_expected() -> None:
    script = parse("[{say: a}, {say: b}]")
    (failure,) = check(script, heard(GREETED, (7.0, 8.0, "yes")), record(3.0, 6.0))
    assert failure.where.startswith("turn 1 ")
    assert "a reply within" in failure.expected


def test_turns_that_never_came_and_the_wrong_end_are_reported() -> None:
    script = parse("[{say: a}, {say: b}]", "ended_by: agent")
    failures = check(script, heard(GREETED, (4.0, 5.0, "yes")), record(3.0, ended_by="failure"))
    assert [failure.where for failure in failures] == ['turn 2 ("b")', "call"]
    assert "because" in failures[1].heard


@pytest.mark.parametrize(
    ("values", "met"),
    [
        ({"opening": "Tuesday at ten in the morning", "name": "John Miller"}, True),
        ({"opening": "Tuesday at two thirty in the afternoon", "name": "John Miller"}, False),
        ({"opening": "Tuesday at ten in the morning"}, False),
    ],
)
def test_what_was_done_must_hold_the_arguments_named(values: dict[str, str], met: bool) -> None:
    wanted = parse("[{say: a}]", "done: {tool: book, arguments: {opening: Tuesday at ten, name: john miller}}")
    done = ToolFinished(turn=1, tool="book", effect="write", status="ok", code="", arguments=values)
    events = [*heard(GREETED, (4.0, 5.0, "yes")), done]
    assert (check(wanted, events, record(3.0)) == []) is met
