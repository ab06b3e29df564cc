"""Following speech: confirmed starts, pauses of interest, resumption; blips and dips don't count."""

import numpy as np
import pytest

from pipeline.agent import PausePoint, TurnTaking
from pipeline.turns import PREROLL_S, Paused, SpeechBegan, SpeechHeld, SpeechResumed, TurnSignal, TurnTracker
from tests.pipeline.fakes import FakeVad

SETTINGS = TurnTaking(
    candidate_silence_ms=128,
    pause_points=(PausePoint(silence_ms=192, probability=0.85), PausePoint(silence_ms=384, probability=0.5)),
    timeout_ms=704,
    either_or_more_ms=0,
    open_timeout_ms=800,
    unfinished_timeout_ms=1600,
)


def follow(pattern: str) -> tuple[TurnTracker, list[TurnSignal]]:
    """One character a 32 ms window: '#' speech, '.' silence."""
    tracker = TurnTracker(FakeVad(), SETTINGS)
    audio = np.concatenate([np.full(512, 0.1 if mark == "#" else 0.0, np.float32) for mark in pattern])
    return tracker, [
        signal for start in range(0, audio.size, 320) for signal in tracker.feed(audio[start : start + 320])
    ]


def test_a_blip_is_no_speech() -> None:
    tracker, signals = follow("....##....#...##....")
    assert signals == []
    assert not tracker.in_turn


def test_speech_is_dated_back_to_its_first_window() -> None:
    _, signals = follow("." * 10 + "###")
    assert signals == [SpeechBegan(audio_s=pytest.approx(0.32))]


def test_pauses_are_reported_once_each_with_the_end_of_speech() -> None:
    tracker, signals = follow("#####" + "." * 60)
    pauses = [signal for signal in signals if isinstance(signal, Paused)]
    assert [pause.silence_ms for pause in pauses] == [128, 192, 384, 704, 800, 1600]
    assert {round(pause.speech_end_s, 3) for pause in pauses} == {0.16}
    assert tracker.in_turn
    assert not tracker.speaking


def test_a_dip_between_words_is_not_reported() -> None:
    _, signals = follow("#######...#####")
    assert [type(signal) for signal in signals] == [SpeechBegan, SpeechHeld]


def test_going_on_after_a_reported_pause_is_reported() -> None:
    _, signals = follow("#######" + "." * 8 + "####")
    assert [type(signal) for signal in signals] == [SpeechBegan, SpeechHeld, Paused, Paused, SpeechResumed]


def test_a_blip_in_a_pause_does_not_stop_the_clock() -> None:
    _, signals = follow("#######" + "....." + "#" + "......")
    assert [signal.silence_ms for signal in signals if isinstance(signal, Paused)] == [128, 192, 384]


def test_the_turn_s_audio_starts_before_the_speech_and_keeps_all_of_it() -> None:
    tracker, _ = follow("." * 100 + "#" * 20 + "." * 5)
    audio = tracker.turn_audio()
    assert (audio > 0).sum() == 20 * 512
    lead_s = np.argmax(audio > 0) / 16_000
    assert PREROLL_S - 0.13 <= lead_s <= PREROLL_S
    assert tracker.turn_s == audio.size / 16_000


def test_after_the_turn_only_the_preroll_is_kept() -> None:
    tracker, _ = follow("#" * 100 + "." * 30)
    tracker.end_turn()
    assert not tracker.in_turn
    assert tracker.turn_s <= PREROLL_S + 0.032


def test_a_turn_may_be_split_and_goes_on_with_all_that_came_since() -> None:
    tracker, _ = follow("." * 20 + "#" * 60)
    whole = tracker.turn_audio()
    cut_s = tracker.received_s - 0.5
    before = tracker.turn_audio(cut_s)
    tracker.split_turn(cut_s)
    after = tracker.turn_audio()
    assert np.array_equal(np.concatenate([before, after]), whole)
    assert tracker.turn_s == pytest.approx(0.5)
    assert tracker.speaking
    assert tracker.speech_s == pytest.approx(0.5, abs=0.04)


def test_a_split_turn_s_speech_silences_the_agent_again_and_its_pauses_are_reported() -> None:
    tracker, _ = follow("#" * 60)
    tracker.split_turn(tracker.received_s)
    more = [tracker.feed(np.full(512, 0.1 if mark == "#" else 0.0, np.float32)) for mark in "#" * 20 + "." * 13]
    assert [type(signal) for signals in more for signal in signals] == [SpeechHeld, Paused, Paused, Paused]


def test_the_quietest_place_lies_in_a_dip_between_words() -> None:
    tracker, _ = follow("#" * 40 + ".." + "#" * 10)
    assert tracker.quietest_s(0.7) == pytest.approx(tracker.received_s - 11 * 0.032, abs=0.033)
    assert tracker.quietest_s(0.2) >= tracker.received_s - 0.2


class FakeLateVad:
    """Calls what follows speech speech for three windows more, ever less surely."""

    window_samples = 512

    def __init__(self) -> None:
        self._since = 100

    def probability(self, window: np.ndarray) -> float:
        self._since = 0 if float(np.abs(window).mean()) > 0.05 else self._since + 1
        return {0: 1.0, 1: 0.97, 2: 0.9, 3: 0.6}.get(self._since, 0.0)

    def reset(self) -> None:
        pass


def pauses_after_speech(floor: float) -> list[Paused]:
    tracker = TurnTracker(FakeLateVad(), SETTINGS)
    audio = np.concatenate([np.full(10 * 512, 0.1, np.float32), np.full(40 * 512, floor, np.float32)])
    return [signal for signal in tracker.feed(audio) if isinstance(signal, Paused)]


def test_a_silence_is_counted_from_where_it_became_quiet_though_the_vad_is_late() -> None:
    pauses = pauses_after_speech(floor=0.0)
    assert {round(pause.speech_end_s, 3) for pause in pauses} == {0.32}
    assert [pause.silence_ms for pause in pauses][:2] == [128, 192]


def test_on_a_noisy_line_the_vad_alone_decides() -> None:
    assert {round(pause.speech_end_s, 3) for pause in pauses_after_speech(floor=0.02)} == {0.416}


def test_a_sound_after_quiet_stirs_before_the_vad_is_sure() -> None:
    tracker = TurnTracker(FakeVad(), SETTINGS)
    tracker.feed(np.full(10 * 512, 0.1, np.float32))
    tracker.feed(np.zeros(10 * 512, np.float32))
    assert not tracker.stirs
    click = np.zeros(512, np.float32)
    click[:16] = 0.1
    tracker.feed(click)
    assert tracker.stirs
    assert not tracker.voiced
