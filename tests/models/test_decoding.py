"""What is believed of Whisper's output, on token sequences as it makes them."""

from __future__ import annotations

import pytest

from models.decoding import (
    Decoded,
    cut_at_sound_end,
    is_invented,
    is_loop,
    needs_speech_evidence,
    token_budget,
    without_repeats,
)

EOT = 50256
TIMES = 50363


def at(seconds: float) -> int:
    return TIMES + round(seconds / 0.02)


def decoded(text: str, *, no_speech: float = 0.05, log_probability: float = -0.4, looped: bool = False) -> Decoded:
    return Decoded(
        text=text,
        text_tokens=(1,),
        language="en",
        no_speech_probability=no_speech,
        average_log_probability=log_probability,
        looped=looped,
        full_window=False,
    )


def test_what_follows_the_segment_that_ends_with_the_sound_is_cut() -> None:
    tokens = [at(0), 11, 12, 13, at(2.0), at(2.0), 11, 12, 13]
    kept = cut_at_sound_end(tokens, 2.1, TIMES, EOT)
    assert kept.text_tokens == (11, 12, 13)
    assert kept.finished


def test_a_segment_in_the_middle_of_the_sound_ends_nothing() -> None:
    tokens = [at(0), 11, 12, at(1.2), at(1.8), 21, 22, at(4.5)]
    kept = cut_at_sound_end(tokens, 4.6, TIMES, EOT)
    assert kept.text_tokens == (11, 12, 21, 22)
    assert kept.finished


def test_a_first_timestamp_near_the_end_of_a_short_sound_does_not_cut_the_word_after_it() -> None:
    kept = cut_at_sound_end([at(0), 11, at(0.4)], 0.3, TIMES, EOT)
    assert kept.text_tokens == (11,)


@pytest.mark.parametrize(("generated", "finished", "loop"), [(17, False, True), (16, False, False), (17, True, False)])
def test_tokens_used_up_without_an_end_are_a_loop(generated: int, finished: bool, loop: bool) -> None:
    tokens = [at(0), 11, 12, at(0.9)] if finished else [at(0), 11, 12]
    kept = cut_at_sound_end(tokens, 1.0, TIMES, EOT)
    assert is_loop("sixteen", kept, generated, token_budget(1.0)) is loop


def test_text_that_repeats_itself_is_a_loop_even_if_it_ended() -> None:
    kept = cut_at_sound_end([at(0), 11, at(5)], 5.0, TIMES, EOT)
    assert is_loop("I think that's the only way. " * 6, kept, 5, 100)
    assert not is_loop("No, no, no, I said Tuesday at four, not Thursday.", kept, 5, 100)


def test_fast_speech_stays_within_its_budget() -> None:
    words_a_second = 250 / 60
    for seconds in (1, 3, 10, 25):
        assert token_budget(seconds) >= words_a_second * 1.4 * seconds


@pytest.mark.parametrize(
    ("tokens", "rest"),
    [
        ((1, 2, 3, 1, 2, 3, 1, 2), (1, 2, 3)),
        ((9, 8, 1, 2, 3, 4, 1, 2, 3, 4, 1), (9, 8, 1, 2, 3, 4)),
        ((5, 7, 7, 7, 7, 7), (5, 7)),
        ((5, 7, 7), (5, 7, 7)),
        ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5)),
        ((), ()),
    ],
)
def test_a_loop_is_kept_once(tokens: tuple[int, ...], rest: tuple[int, ...]) -> None:
    found = without_repeats(tokens)
    assert found == rest


def test_a_clear_sentence_needs_no_second_witness() -> None:
    assert not needs_speech_evidence(decoded("I'd like an appointment on Tuesday."))


@pytest.mark.parametrize(
    "doubtful",
    [
        decoded("Thank you."),
        decoded("I'm so happy to be here.", no_speech=0.9),
        decoded("I will be", log_probability=-2.3),
        decoded("I'm so I'm so I'm so", looped=True),
    ],
    ids=["stock phrase", "no speech", "unsure", "loop"],
)
def test_doubtful_text_stands_only_if_there_was_speech(doubtful: Decoded) -> None:
    assert needs_speech_evidence(doubtful)
    assert is_invented(doubtful, speech_s=0.03)
    assert not is_invented(doubtful, speech_s=0.6)


def test_text_without_a_letter_is_never_speech() -> None:
    dots = decoded(". . . .")
    assert needs_speech_evidence(dots)
    assert is_invented(dots, speech_s=2.0)
