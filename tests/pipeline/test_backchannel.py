"""Listening noises are told from words that want the floor."""

import pytest

from pipeline.backchannel import is_backchannel


@pytest.mark.parametrize(
    "text",
    [
        *("Mm-hmm.", "Mhm", "Okay.", "Yeah, okay.", "I see.", "Uh-huh.", "Got it", "Oh, great."),
        *("Thanks.", "Great, thanks", "Okay, thank you.", "Gracias", "¡Muchas gracias!", "Vale, gracias."),
    ],
)
def test_listening_noises(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Wait.", "Stop", "No", "Okay, but how much is it?", "Right, right, right, right.", "What?", "One"),
        *("Thanks, and the price?", "No, thanks.", "No, gracias."),
    ],
)
def test_words_that_want_the_floor(text: str) -> None:
    assert not is_backchannel(text)
