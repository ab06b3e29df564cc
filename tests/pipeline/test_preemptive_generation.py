"""Guessing ahead: who may, and what it brought."""

import pytest

from pipeline import events as ev
from pipeline.preemptive_generation import PreemptiveBudget, tally


def test_no_more_guesses_at_once_than_allowed() -> None:
    budget = PreemptiveBudget(at_once=2, waste_share=1.0)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.give_back(wasted=False)
    assert budget.take()


def test_when_most_guesses_are_wasted_only_every_fourth_is_made_until_they_hit_again() -> None:
    budget = PreemptiveBudget(at_once=1, waste_share=0.5)
    for _ in range(10):
        assert budget.take()
        budget.give_back(wasted=True)
    made = [budget.take() for _ in range(4)]
    assert made == [False, False, False, True]
    budget.give_back(wasted=False)
    for _ in range(60):
        if budget.take():
            budget.give_back(wasted=False)
    assert budget.take()


def test_the_tally_counts_hits_waste_and_what_was_saved() -> None:
    log = [
        ev.SpeechStopped(turn=1, audio_s=1.0, at_s=1.1),
        ev.FinalTranscript(turn=1, text="a", average_log_probability=0, took_ms=100, at_s=1.2),
        ev.TurnResumed(turn=1, at_s=1.3),
        ev.SpeechStopped(turn=1, audio_s=2.0, at_s=2.1),
        ev.FinalTranscript(turn=1, text="a b", average_log_probability=0, took_ms=100, at_s=2.2),
        ev.TurnDecided(turn=1, reason="model", speech_end_s=2.0, silence_ms=320, at_s=2.4),
        ev.FirstAudio(turn=1, clause_id="t1.2.c0", at_s=2.5),
    ]
    result = tally(log)
    assert (result.hits, result.wasted) == (1, 1)
    assert result.wasted_ms == pytest.approx(100)
    assert result.saved_ms == pytest.approx(100)
