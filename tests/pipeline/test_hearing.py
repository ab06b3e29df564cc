"""How often a turn asks the transcriber."""

from __future__ import annotations

import math

import pytest

from pipeline import events as ev
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import FakeModels
from tests.pipeline.rig import Step, play

EVERY_S = AGENT.turn_taking.partial_every_ms / 1000
SPARE = 2
"""Requests for silences that may be the turn's last, beyond those that come every `EVERY_S`."""


def requests(steps: list[Step], *, for_s: float = 9.0, transcribe_s: float = 0.02) -> int:
    played = play(steps, for_s=for_s, prepare=lambda models: setattr(models, "transcribe_s", transcribe_s))
    assert len(played.of(ev.SpeechStarted)) == 1
    return len(played.models.asked_for)


def chopped(words: int, gap_s: float) -> list[Step]:
    """A word a step, with a dip after each that is too short to be a pause."""
    return [(3.0 + index * (0.25 + gap_s), f"w{index}") for index in range(words)]


def test_a_short_question_asks_three_times_the_last_of_them_for_its_end() -> None:
    assert requests([(3.0, "what are your hours")]) == 3


@pytest.mark.parametrize("gap_s", [0.04, 0.05, 0.06])
@pytest.mark.parametrize("transcribe_s", [0.02, 0.1])
def test_a_turn_full_of_dips_asks_no_more_often_than_one_without_but_for_the_spare(
    gap_s: float, transcribe_s: float
) -> None:
    steps = chopped(30, gap_s)
    speech_s = 30 * (0.25 + gap_s)
    assert requests(steps, for_s=18, transcribe_s=transcribe_s) <= math.ceil(speech_s / EVERY_S) + SPARE + 1


def test_the_end_of_a_turn_without_dips_is_heard_by_the_partial_that_its_silence_began() -> None:
    played = play([(3.0, "what are your hours today")], for_s=9)
    (final,) = played.of(ev.FinalTranscript)
    assert isinstance(final, ev.FinalTranscript)
    assert final.took_ms < FakeModels(utterances=[]).transcribe_s * 1000
