"""How often a turn asks the transcriber."""

from __future__ import annotations

import dataclasses
import math

import pytest

from models.types import FloatAudio, Languages, Transcript
from pipeline import events as ev
from pipeline.partials import When
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import FakeModels
from tests.pipeline.rig import Step, play

EVERY_S = AGENT.turn_taking.partial_every_ms / 1000
SPARE = 2
"""Requests for silences that may be the turn's last, beyond those that come every `EVERY_S`."""


def requests(steps: list[Step], *, for_s: float = 9.0, transcribe_s: float = 0.02, partials: When = "always") -> int:
    played = play(
        steps, for_s=for_s, prepare=lambda models: setattr(models, "transcribe_s", transcribe_s), partials=partials
    )
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


LONG = "i moved here in march and would like to know what a cleaning costs and when you are open"


def test_a_call_alone_is_heard_no_less_where_partials_keep_to_a_budget() -> None:
    assert requests([(3.0, LONG)]) == requests([(3.0, LONG)], partials="idle") > 5


def test_without_partials_the_silences_that_may_end_a_turn_are_heard_all_the_same() -> None:
    played = play([(3.0, LONG)], for_s=14, partials="never")
    (final,) = played.of(ev.FinalTranscript)
    assert isinstance(final, ev.FinalTranscript)
    assert final.text == LONG
    assert final.took_ms < FakeModels(utterances=[]).transcribe_s * 1000
    assert requests([(3.0, LONG)], partials="never") <= 2


@pytest.mark.parametrize("gap_s", [0.04, 0.06])
def test_dips_between_words_do_not_stand_in_for_the_partials_that_are_refused(gap_s: float) -> None:
    steps = chopped(30, gap_s)
    assert requests(steps, for_s=18, partials="never") <= requests(steps, for_s=18)


def test_what_a_smaller_model_made_of_a_turn_under_way_is_not_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = [(3.0, "what are your hours today")]
    before = requests(steps)
    whole = FakeModels.transcribe

    async def transcribe(models: FakeModels, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        return dataclasses.replace(await whole(models, audio, languages, final=final), draft=True)

    monkeypatch.setattr(FakeModels, "transcribe", transcribe)
    # The partial that its silence began has all of it; it is heard once more.
    assert requests(steps) == before + 1
