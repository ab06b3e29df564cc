"""What providers that hear have in common: a turn as they take it, words and confidence as the product has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from models.types import HEARING_RATE_HZ, FloatAudio, Languages, ModelFailure, Transcript, Word
from serve.hosted.exchange import Spend
from serve.hosted.settings import HearingCost

LONGEST_TURN_S = 30
"""As for the stack's own transcriber."""
MOST_BYTES = 1_000_000
"""Of an answer about one turn."""
_LEAST_CONFIDENCE = 1e-3


def pcm16(audio: FloatAudio) -> bytes:
    """16-bit little-endian samples. Raises ModelFailure for what is no turn."""
    if audio.ndim != 1 or audio.dtype != np.float32 or len(audio) > LONGEST_TURN_S * HEARING_RATE_HZ:
        raise ModelFailure(
            f"hosted speech to text: expected mono float32 of at most {LONGEST_TURN_S} s at {HEARING_RATE_HZ} Hz, "
            f"got {audio.dtype} of shape {audio.shape}"
        )
    return (np.clip(audio, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()


def frames(pcm: bytes, length_s: float) -> Iterator[bytes]:
    """The turn in pieces of that length; the last one is longer rather than very short, which some refuse."""
    step = int(length_s * HEARING_RATE_HZ) * 2
    start = 0
    while start < len(pcm):
        end = start + step if len(pcm) - start >= 1.5 * step else len(pcm)
        yield pcm[start:end]
        start = end


def transcript(
    text: str, words: Iterable[Word], confidence: float, audio: FloatAudio, languages: Languages, language: str = ""
) -> Transcript:
    """`confidence`: of the whole, in [0, 1]; its logarithm stands for Whisper's mean log probability, which lies below
    -1 as it does for a guess. `language`: as the provider found it; none: the one that was expected."""
    known = language.partition("-")[0]
    return Transcript(
        text=" ".join(text.split()),
        words=tuple(words),
        language=known if known in languages.others else languages.expected,
        average_log_probability=math.log(max(confidence, _LEAST_CONFIDENCE)) if text.strip() else 0.0,
        audio_s=len(audio) / HEARING_RATE_HZ,
    )


def bill(audio: FloatAudio, cost: HearingCost | None, spend: Spend) -> None:
    """A turn that a provider has taken."""
    if cost is not None:
        spend(len(audio) / HEARING_RATE_HZ / 60.0 * cost.per_minute)
