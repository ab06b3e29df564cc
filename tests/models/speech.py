"""Real speech for the tests of models that hear: the simulated caller's voice over a telephone line."""

from __future__ import annotations

from pathlib import Path

from bench.nonspeech import heard
from bench.voices import PiperVoice
from models.types import FloatAudio
from models.weights import prepare


def spoken(text: str, folder: Path, seed: int = 1) -> FloatAudio:
    """The text as the models hear it in a call, 16 kHz; kept in `folder` for the rest of the test session."""
    return heard(PiperVoice(prepare("piper-joe"), folder).render(text, seed))
