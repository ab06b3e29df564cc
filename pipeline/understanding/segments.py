"""Where one utterance may turn to something else: at the end of a sentence, and before another clause ("and how much is
it", "y quiero una cita"). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.endpointing import asks
from pipeline.slots.types import Language

_SENTENCE = re.compile(r"(?<=[.!?;])(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|St)\.)(?<!\bMrs\.)\s+|\s+(?=[¿¡])")
"""Between sentences; not after an initial or a title."""
_ANOTHER: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"(?:,\s*|\s+)(?:and|also|plus|but|oh|then)(?:[,\s]+(?:and|also|then|oh|um|uh|maybe|please|while i'm at it"
        r"|by the way|one more thing))*[,\s]+(?=(?:(?:what|when|where|which|who|why|how)(?:'s|'re|'d)?"
        r"|is|are|do|does|did|can|could|would|will|may|tell me|give me"
        r"|i (?:want|need|would|wanted|have to|wish)|i'd|i'll|i'm (?:calling|looking)|let me|let's|put me)\b)"
        r"|,\s*(?=(?:what|when|where|which|who|why|how)(?:'s|'re|'d)?\b)",
        re.IGNORECASE,
    ),
    "es": re.compile(
        r"(?:,\s*|\s+)(?:y|e|además|también|pero|ah|oh|luego)(?:[,\s]+(?:también|además|luego|por favor|ya que estamos"
        r"|otra cosa))*[,\s]+(?=(?:a |de |en |desde |hasta )?(?:qué|que|cuál|cuáles|cuándo|cuando|dónde|donde|cómo|como"
        r"|cuánto|cuanto|cuánta|cuántos|quién)\b"
        r"|(?:hay|tienen|tienes|tiene|puede|puedo|pueden|podría|aceptan|atienden|abren|cierran|quiero|quería|quisiera"
        r"|necesito|me gustaría|me (?:puede|podría|da)|dígame|dime|está|están|es|son|se)\b)"
        r"|,\s*(?=(?:qué|cuál|cuándo|dónde|cómo|cuánto|cuánta|cuántos)\b)",
        re.IGNORECASE,
    ),
}
"""Before a clause of its own: a question or a wish after a word that joins, or a question after a comma."""
_JOINS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"(?:and|also|plus|but|oh|then|um|uh|so|well|okay|ok|please|yes|no)", re.IGNORECASE),
    "es": re.compile(r"(?:y|e|también|además|pero|ah|oh|luego|eh|pues|bueno|vale|por favor|sí|no)", re.IGNORECASE),
}
"""A part that only joins others."""
_WONDERS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:wonder(?:ing)?|(?:want|wanted|like|love|need) to know|curious|ask (?:if|about|what|how|when))\b"
    ),
    "es": re.compile(
        r"^(?:y |e |pero )?(?:a |de |en |desde |hasta )?(?:qué|cuál|cuándo|dónde|cómo|cuánto|cuánta|quién)\b"
        r"|^(?:y |e |pero )?(?:hay|tienen|aceptan|atienden|abren|cierran|trabajan|se puede|puedo)\b"
        r"|\b(?:saber|preguntar|pregunta)\b"
    ),
}
"""A question in other clothes, or without its marks."""
_MOST = 5
"""Whoever says more than that at once is telling a story."""


def segments(utterance: str, language: Language) -> tuple[str, ...]:
    """The parts of an utterance that may each mean something else, in order; one if it cannot be parted."""
    parts = [
        part.strip(" ,")
        for sentence in _SENTENCE.split(utterance)
        for part in _ANOTHER[language].split(sentence)
        if not _JOINS[language].fullmatch(part.strip(" ,.!?;¿¡"))
    ]
    parts = [part for part in parts if any(letter.isalnum() for letter in part)]
    return tuple(parts) if len(parts) <= _MOST else (utterance,)


def asks_or_wonders(part: str, language: Language) -> bool:
    """Whether a part wants to know something."""
    return asks(part, language) or bool(_WONDERS[language].search(part.lower().lstrip(" ¿¡")))
