from dataclasses import replace

import pytest

from pipeline import events as ev
from serve.timeline import call_timeline, summarise
from tests.serve.example_run import CALL, ExampleCall, Exchange


def example(*exchanges: Exchange) -> list[ev.Event]:
    return sorted(ExampleCall().build(exchanges or CALL).events, key=lambda event: event.at_s)


def test_stages_count_from_the_end_of_speech_and_know_their_own_time():
    (turn,) = call_timeline(example(CALL[0])).turns[1:]
    shown = {stage.name: (round(stage.since_end_ms), round(stage.own_ms)) for stage in turn.stages}
    assert shown == {
        "end_of_speech": (0, 0),
        "turn_decided": (320, 320),
        "final_transcript": (310, 110),
        "route": (322, 12),
        "first_clause": (462, 140),
        "first_speech": (582, 120),
        "first_audio": (604, 22),
    }
    assert turn.v2v_ms == pytest.approx(604, abs=0.01)
    assert turn.caller_words == "What are your opening hours?"
    assert [partial.text for partial in turn.partials] == ["What are", "What are your opening"]
    assert turn.sources == ("knowledge",)


def test_what_a_model_took_to_understand_is_its_own_and_not_the_reply_s():
    events = example(CALL[0])
    routed = next(event for event in events if isinstance(event, ev.Routed))
    taken = ev.Understood(
        turn=routed.turn, way="model", label="hours", confidence=0.8, evidence={"q:hours": 0.8}, took_ms=100.0
    )
    taken = replace(taken, seq=routed.seq, at_s=routed.at_s + 0.1)
    (turn,) = call_timeline(sorted([*events, taken], key=lambda event: event.at_s)).turns[1:]
    shown = {stage.name: (round(stage.since_end_ms), round(stage.own_ms)) for stage in turn.stages}
    assert shown["understood"] == (422, 100)
    assert shown["first_clause"] == (462, 40)
    assert (turn.route, turn.route_confidence) == ("hours", 0.8)


def test_a_reply_held_behind_the_gate_is_charged_to_the_wait_not_to_speech():
    (turn,) = call_timeline(example(replace(CALL[0], wait_ms=900))).turns[1:]
    audio = turn.stage("first_audio")
    assert turn.v2v_ms == pytest.approx(922, abs=0.01)
    assert audio.own_ms == pytest.approx(22, abs=0.01)


def test_what_was_guessed_before_the_caller_went_on_is_void():
    (turn,) = call_timeline(example(CALL[1])).turns[1:]
    assert turn.agent_words == CALL[1].reply[0]
    assert turn.caller_words == CALL[1].said
    assert min(stage.since_end_ms for stage in turn.stages) == 0


def test_a_barge_in_marks_the_reply_it_ended_and_splits_said_from_heard():
    greeting, booking, answer = call_timeline(example(CALL[2], CALL[3])).turns
    assert booking.interrupted
    assert booking.barge_in_s is not None
    assert booking.heard_words == "Certainly. On Tuesday I have two o'clock, half"
    assert booking.agent_words.endswith("and a quarter to five in the afternoon.")
    assert [clause.heard for clause in booking.clauses][-1] == ""
    assert not answer.interrupted
    assert not greeting.interrupted


def test_a_greeting_has_no_voice_to_voice_and_an_apology_does_not_count_as_a_reply():
    call = call_timeline(example(CALL[0], CALL[4]))
    greeting, answered, failed = call.turns
    assert greeting.v2v_ms is None
    assert greeting.stages
    assert all(stage.since_end_ms is None for stage in greeting.stages)
    assert failed.v2v_ms is None
    assert failed.stage("first_audio") is not None
    assert failed.stage("final_transcript") is None
    assert failed.caller_words == "Do you have free"
    assert not failed.is_final
    assert [failure.stage for failure in call.failures] == ["transcribe"]
    assert call.v2v.count == 1
    assert call.v2v.p50_ms == answered.v2v_ms


def test_a_reprompt_in_the_same_turn_changes_neither_its_figures_nor_its_words():
    events = example(CALL[0])
    extra = [
        ev.ClauseDecided(turn=1, clause_id="t1.2.c0", text="Are you still there?", source="reprompt", at_s=90.0),
        ev.FirstAudio(turn=1, clause_id="t1.2.c0", at_s=90.1),
        ev.ReplyEnded(turn=1, heard="Are you", complete=False, at_s=90.9),
    ]
    before, after = call_timeline(events).turns[1], call_timeline(events + extra).turns[1]
    assert after.v2v_ms == before.v2v_ms
    assert after.stages == before.stages
    assert after.heard_words == f"{CALL[0].reply[0]} Are you"


@pytest.mark.parametrize("keep", [0, 1, 3, 8, 20, 60])
def test_a_call_that_broke_off_anywhere_still_has_a_timeline(keep: int):
    call = call_timeline(example()[:keep])
    assert call.ended is None
    assert all(turn.stages == tuple(turn.stages) for turn in call.turns)
    assert call.v2v.count == sum(turn.v2v_ms is not None for turn in call.turns)


def test_a_turn_without_words_is_no_turn():
    events = [
        ev.SpeechStarted(turn=1, audio_s=1.0, at_s=1.1),
        ev.SpeechStopped(turn=1, audio_s=1.3, at_s=1.5),
        ev.TurnDecided(turn=1, reason="timeout", speech_end_s=1.3, silence_ms=800, at_s=2.1),
        ev.TurnDropped(turn=1, at_s=2.2),
        ev.ClauseDecided(turn=1, clause_id="t1.2.c0", text="As I said,", source="knowledge", at_s=2.3),
        ev.FirstAudio(turn=1, clause_id="t1.2.c0", at_s=2.4),
    ]
    (turn,) = call_timeline(events).turns
    assert turn.dropped
    assert turn.v2v_ms is None
    assert turn.heard_words == "As I said,"


def test_percentiles_leave_out_turns_without_a_figure():
    summary = summarise([100.0, None, 300.0, 200.0])
    assert (summary.count, summary.p50_ms, summary.p95_ms) == (3, 200.0, 290.0)
    assert summarise([None]).p95_ms is None
