from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.phonemes import VOCABULARY, Phonemes, Phonemizer
from models.speech_text import spoken_words


@pytest.fixture(scope="module")
def american() -> Phonemizer:
    return Phonemizer("en-us")


def _by_word(phonemizer: Phonemizer, text: str) -> list[str]:
    words = spoken_words(text)
    heard = phonemizer(words)
    sounds = [""] * len(words)
    for symbol, owner in zip(heard.symbols, heard.owners, strict=True):
        sounds[owner] += symbol
    return [sound.strip(" .,?!") for sound in sounds]


def test_sounds_are_written_in_the_symbols_kokoro_was_trained_with(american: Phonemizer) -> None:
    assert american(spoken_words("Sure, I can go.")).symbols == "ʃˈʊɹ, ˌI kæn ɡˈO."
    assert Phonemizer("en-gb")(spoken_words("no, thanks")).symbols == "nˈQ, θˈaŋks"


def test_words_that_espeak_runs_together_are_told_apart(american: Phonemizer) -> None:
    assert _by_word(american, "It is for the third of March in the morning.") == [
        "ɪT", "ɪz", "fəɹ", "ðə", "θˈɜɹd", "ʌv", "mˈɑɹʧ", "ɪn", "ðə", "mˈɔɹnɪŋ",
    ]  # fmt: skip


def test_a_letter_of_an_initialism_is_named_and_an_article_is_not(american: Phonemizer) -> None:
    assert _by_word(american, "A dog at 8 a.m.") == ["ɐ", "dˈɑɡ", "æT", "ˈAt", "ˌAˈɛm"]


def test_tokens_are_ids_of_the_vocabulary(american: Phonemizer) -> None:
    assert len(VOCABULARY) == 114
    assert Phonemes("ʃˈʊɹ.", (0,) * 5).tokens() == [131, 156, 135, 123, 4]


@given(
    st.lists(
        st.sampled_from("in the for a to of I you it is at and open Tuesday dollars wouldn't DDS naïve hm".split()),
        min_size=1,
        max_size=12,
    )
)
def test_every_word_gets_a_sound_in_order(american: Phonemizer, words: list[str]) -> None:
    heard = american(spoken_words(" ".join(words)))
    assert set(heard.symbols) <= set(VOCABULARY)
    assert list(heard.owners) == sorted(heard.owners)
    assert set(heard.owners) == set(range(len(words)))
