"""What to believe of Whisper's output: where the speech ended, what is a loop, what was made of noise."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from models.types import Word

SECONDS_PER_TIMESTAMP = 0.02

SOUND_END_SLACK_S = 0.35
"""A segment that ends this close to the end of the sound ends with it: Whisper's times are that coarse."""

LOOP_COMPRESSION_RATIO = 2.4
"""Whisper's own limit (whisper/transcribe.py): text that gzip shrinks more than this repeats itself."""

NO_SPEECH_PROBABILITY = 0.6
"""Whisper's own limit. Here, tiny.en gives noise and music 0.85-0.99 and speech, single letters included, below 0.5."""

LOW_LOG_PROBABILITY = -1.0
"""Whisper's own limit: below it the text is a guess (single short words lie there too)."""

LEAST_SPEECH_S = 0.1
"""Three VAD windows. The shortest words ("eight", "at") have five and more."""

INVENTED = frozenset(
    {
        "you",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thanks",
        "thanks for watching",
        "thank you for watching",
        "thank you for listening",
        "please subscribe",
        "subscribe",
        "like and subscribe",
        "see you next time",
        "see you in the next video",
        "bye",
        "bye bye",
        "goodbye",
        "i'm sorry",
        "so",
        "okay",
        "oh",
        "hmm",
        "the end",
        "music",
        "applause",
        "silence",
        "blank_audio",
        "subtitles by the amaraorg community",
    }
)
"""What Whisper writes over noise and silence, in lower case without punctuation. People say most of it too, so it is
dropped only where there is no sign of speech."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One piece of audio as decoded, and what its decoding looked like."""

    text: str
    text_tokens: tuple[int, ...]
    language: str
    no_speech_probability: float
    average_log_probability: float
    looped: bool
    full_window: bool
    redecoded: bool = False
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """The tokens of text up to where the speech ended."""

    text_tokens: tuple[int, ...]
    finished: bool
    """A segment was closed at the end of the sound (whatever came after it was cut)."""


def token_budget(audio_s: float) -> int:
    """Most tokens, timestamps included, that speech of this length makes: 250 words a minute are 6 tokens a second."""
    return 10 + round(7 * audio_s)


def cut_at_sound_end(tokens: Sequence[int], sound_end_s: float, timestamp_begin: int, eot: int) -> Kept:
    """Keep text up to the segment that ends where the sound ends; drop segments that begin after it.

    `tokens` are as generated: text below `eot`, other special tokens from there, timestamps from `timestamp_begin`.
    """
    text: list[int] = []
    for token in tokens:
        if token >= timestamp_begin:
            at = (token - timestamp_begin) * SECONDS_PER_TIMESTAMP
            if text and at >= sound_end_s - SOUND_END_SLACK_S:
                return Kept(tuple(text), finished=True)
        elif token < eot:
            text.append(token)
    return Kept(tuple(text), finished=False)


def compression_ratio(text: str) -> float:
    """Length over zlib's length, as Whisper counts it; 0 for no text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_loop(text: str, kept: Kept, generated: int, budget: int) -> bool:
    """Whether a decoding ran away: it used its budget up without an end, or its text repeats itself."""
    return (not kept.finished and generated >= budget) or compression_ratio(text) > LOOP_COMPRESSION_RATIO


def without_repeats(tokens: Sequence[int]) -> tuple[int, ...]:
    """Text of a runaway decoding with its loop taken out: the shortest run that repeats up to the end is kept once.

    For what still loops in the full window, where there is nothing left to try.
    """
    count = len(tokens)
    for length in range(1, count // 2 + 1):
        start = count - length
        while start > 0 and tokens[start - 1] == tokens[start - 1 + length]:
            start -= 1
        if count - start >= 2 * length and (length > 1 or count - start > 3):
            return tuple(tokens[: start + length])
    return tuple(tokens)


def _plain(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c in " '_").split())


def needs_speech_evidence(one: Decoded) -> bool:
    """Whether this decoding is doubtful enough to ask the VAD about its audio."""
    return bool(one.text) and (
        one.looped
        or one.no_speech_probability >= NO_SPEECH_PROBABILITY
        or one.average_log_probability < LOW_LOG_PROBABILITY
        or _plain(one.text) in INVENTED
        or not _plain(one.text)
    )


def is_invented(one: Decoded, speech_s: float) -> bool:
    """Whether a doubtful text was made of no speech, given how much speech the VAD found.

    Two witnesses must agree: the VAD heard none, and Whisper itself doubts (no speech, an unsure text, a loop, or one
    of its stock inventions). Text without a letter or digit is never speech.
    """
    if not _plain(one.text):
        return True
    return speech_s < LEAST_SPEECH_S
