"""Is the caller's turn over? What the silence, Smart Turn and the words say, weighed in one place. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.agent import TurnTaking

Words = Literal["complete", "may_go_on", "open", "broken_off"]
"""What the words so far tell of the turn's end. 'complete': they ask or answer something that we can deal with;
'may_go_on': the same, but people often add to it (a request to book, the time or name asked for, a mere courtesy, a
question we cannot answer as it stands); 'open': a statement that asks nothing; 'broken_off': they end in the middle."""

_BROKEN_OFF = re.compile(
    r"(?:\b(?:and|or|but|so|because|to|the|a|an|my|your|of|for|with|at|on|in|from|if|is|are|um|uh|like|about|between)"
    r"|[,\-–—]|\.\.\.|…)[.…]*$",
    re.IGNORECASE,
)
_BROKEN_QUESTION = re.compile(
    r"\b(?:and|or|to|the|a|an|my|your|is|are|do you (?:take|accept|have|do|offer))\?$", re.IGNORECASE
)
"""What a transcriber makes of a question that breaks off."""
_DIGIT = r"(?:\d|zero|oh|one|two|three|four|five|six|seven|eight|nine)"
_HALF_A_NUMBER = re.compile(
    rf"\b(?:number|phone|code|account)\b.*?{_DIGIT}(?:[\s,.-]*{_DIGIT})*[\s,.-]*$", re.IGNORECASE
)
_WHOLE_NUMBER_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a turn's end is considered."""

    silence_ms: int
    """By the VAD, which hears the end of speech some 85 ms late."""
    probability: float | None
    """Smart Turn's, in [0, 1]; None if it was not asked or failed."""
    words: Words


def sounds_unfinished(text: str) -> bool:
    """Whether an utterance breaks off: ends in a conjunction, preposition, article, filler, comma or half a number."""
    stripped = text.strip()
    if _BROKEN_OFF.search(stripped) or _BROKEN_QUESTION.search(stripped):
        return True
    number = _HALF_A_NUMBER.search(stripped)
    return bool(number) and 0 < len(re.findall(_DIGIT, stripped, re.IGNORECASE)) < _WHOLE_NUMBER_DIGITS


def is_over(evidence: Evidence, settings: TurnTaking) -> bool:
    """Whether the turn is over."""
    limit_ms = {
        "complete": settings.timeout_ms,
        "may_go_on": settings.timeout_ms,
        "open": settings.open_timeout_ms,
        "broken_off": settings.unfinished_timeout_ms,
    }[evidence.words]
    if evidence.silence_ms >= limit_ms:
        return True
    if evidence.words != "complete" or evidence.probability is None:
        return False
    reached = [point for point in settings.pause_points if point.silence_ms <= evidence.silence_ms]
    return bool(reached) and evidence.probability >= reached[-1].probability
