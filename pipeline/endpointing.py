"""Is the caller's turn over? What the silence, Smart Turn and the words say, weighed in one place. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.agent import TurnTaking
from pipeline.slots.types import Language

Words = Literal["complete", "either_or", "may_go_on", "open", "broken_off"]
"""What the words so far tell of the turn's end. 'complete': they ask or answer something that we can deal with;
'either_or': the same, by a question for yes or no, and an "or" may follow;
'may_go_on': the same, but people often add to it (a request to book, the time or name asked for, a mere courtesy, a
question we cannot answer as it stands); 'open': a statement, more often added to still; 'broken_off': they end in the
middle."""

_BROKEN_OFF = re.compile(
    r"(?:\b(?:and|or|but|so|because|if|unless|until|while|whether|since|than|as|that's|it's|there's|what's|i'm|i'd|i'll"
    r"|i've|we're|we'd|we'll|we've|you're|they're|he's|she's"
    r"|to|of|for|with|at|on|in|from|into|onto|about|between|without|during|like"
    r"|the|a|an|my|your|our|their|his|its|every|whose|is|are|was|were|i|we|they|he|she|very|um|uh)"
    r"|[,\-–—]|\.\.\.|…)[.…]*$",
    re.IGNORECASE,
)
_BROKEN_QUESTION = re.compile(
    r"(?:\b(?:and|or|to|the|a|an|my|your|our|their|is|are)"
    r"|(?:^|[.,] *|\band )do you (?:take|accept|have|do|offer))\?$",
    re.IGNORECASE,
)
"""What a transcriber makes of a question that breaks off."""
_PRONOUN = r"(?:i|you|we|they|he|she|it|there)"
_NO_VERB_YET = re.compile(
    rf"\b(?:can|could|do|does|did|will|would|should|shall|may|might|must|have|has) {_PRONOUN}[.?…]*$", re.IGNORECASE
)
"""A helping verb and its subject, and what it helps is still to come ("how many can I") ..."""
_NO_PREDICATE_YET = re.compile(rf"(?:^|[.;] *|\band |\bbut )(?:am|are|is|was|were) {_PRONOUN}[.?…]*$", re.IGNORECASE)
"""... or what somebody is ("is there"), unless it was asked for before ("where is it")."""
_TAG = re.compile(r"(?:,|n't) *$")
"""What precedes a question that is only a tag ("You are open, are you?")."""
_COMES_WITH_AN_OBJECT = re.compile(
    r"^(?!(?:yes|yeah|yep|no|nope|sure|of course|what|which|how|when|where|who|why|do|does|did)\b)"
    r".*\b(?:want|wants|wanted|need|needs|prefer|can|could|will|would|should|must|might|don't|doesn't|can't|won't)[.…]*$",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"(?:^|[.!,;] *)(?:(?:and|but|so|oh|ok|okay|yes|yeah|no|well|um|uh|hi|hello|please|then|also|actually"
    r"|excuse me|sorry)[,.]? )*"
    r"(?:what|which|how|when|where|who|whose|why|can|could|do|does|did|will|would|should|may|is|are|have|has|tell|give"
    r"|say|repeat|help|show|explain|please)\b|\bplease[.!]*$",
    re.IGNORECASE,
)
_INTERJECTIONS = r"(?:(?:and|but|so|oh|ok|okay|well|um|uh|hi|hello|then|also|actually|sorry)[,.]? )*"
_YES_NO_QUESTION = re.compile(
    rf"^{_INTERJECTIONS}(?:is|are|was|were|am|do|does|did|can|could|will|would|should|may|have|has)\b", re.IGNORECASE
)
_DIGIT = r"(?:\d|zero|oh|one|two|three|four|five|six|seven|eight|nine)"
_HALF_A_NUMBER = re.compile(
    rf"\b(?:number|phone|code|account)\b.*?{_DIGIT}(?:[\s,.-]*{_DIGIT})*[\s,.-]*$", re.IGNORECASE
)
_WHOLE_NUMBER_DIGITS = 10


_BROKEN_OFF_ES = re.compile(
    r"(?:\b(?:y|e|o|u|pero|porque|que|si|cuando|como|donde|aunque|pues"
    r"|a|al|de|del|en|con|por|para|sin|sobre|entre|desde|hasta|el|la|los|las|un|una|unos|unas|mi|mis|tu|su|sus|este|esta"
    r"|es|son|está|están|soy|llamo|quiero|quería|quisiera|necesito|puedo|tengo|me|le|lo|eh|em|este|yo)"
    r"|[,\-–—]|\.\.\.|…)[.…]*$",
    re.IGNORECASE,
)
_ASKS_ES = re.compile(
    r"(?:^|[.!,;¿] *)(?:(?:y|pero|oh|vale|sí|no|bueno|pues|hola|por favor|perdón|perdone|disculpe)[,.]? )*"
    r"(?:qué|que|cuál|cual|cómo|como|cuándo|cuando|dónde|donde|quién|quien|cuánto|cuanto|cuánta|puede|puedo|podría|tienen"
    r"|tiene|hay|me puede|me podría|dígame|diga|repita|aceptan)\b|\bpor favor[.!]*$",
    re.IGNORECASE,
)

_COURTEOUS_END = re.compile(r"[,\s]*\b(?:please|por favor)[.!]*$", re.IGNORECASE)

ENDED_BY_MODEL: tuple[Words, ...] = ("complete", "either_or")
"""Words whose turn Smart Turn may end before the time-out."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a turn's end is considered."""

    silence_ms: int
    """Since the caller's last sound; on a noisy line since Silero heard the end, some 90 ms later."""
    probability: float | None
    """Smart Turn's, in [0, 1]; None if it was not asked or failed."""
    words: Words


def sounds_unfinished(text: str, language: Language = "en") -> bool:
    """Whether an utterance breaks off: its last words want another (a conjunction, preposition, article, a subject
    without its verb), it ends in a filler or comma, or it holds half a number."""
    stripped = text.strip()
    if language == "es":
        return bool(_BROKEN_OFF_ES.search(stripped))
    if any(pattern.search(stripped) for pattern in (_BROKEN_OFF, _BROKEN_QUESTION, _COMES_WITH_AN_OBJECT)):
        return True
    for pattern in (_NO_VERB_YET, _NO_PREDICATE_YET):
        match = pattern.search(stripped)
        if match and (match.start() == 0 or not _TAG.search(stripped[: match.start()])):
            return True
    number = _HALF_A_NUMBER.search(stripped)
    return bool(number) and 0 < len(re.findall(_DIGIT, stripped, re.IGNORECASE)) < _WHOLE_NUMBER_DIGITS


def asks(text: str, language: Language = "en") -> bool:
    """Whether an utterance asks for something; else it is a statement, and people often add to those."""
    stripped = text.strip()
    if language == "es":
        return stripped.endswith("?") or bool(_ASKS_ES.search(stripped))
    return stripped.endswith("?") or bool(_ASKS.search(stripped))


def asks_in_earnest(text: str, language: Language = "en") -> bool:
    """The same, but for answers that are only polite ("Marco, please")."""
    return asks(_COURTEOUS_END.sub("", text), language)


def asks_yes_or_no(text: str) -> bool:
    """Whether the last sentence is a question for yes or no that offers no alternative yet."""
    last = re.split(r"[.!?;]\s+", text.strip())[-1]
    return bool(_YES_NO_QUESTION.search(last)) and not re.search(r"\bor\b", last, re.IGNORECASE)


def is_over(evidence: Evidence, settings: TurnTaking) -> bool:
    """Whether the turn is over."""
    limit_ms = {
        "complete": settings.timeout_ms,
        "either_or": settings.timeout_ms + settings.either_or_more_ms,
        "may_go_on": settings.timeout_ms,
        "open": settings.open_timeout_ms,
        "broken_off": settings.unfinished_timeout_ms,
    }[evidence.words]
    if evidence.silence_ms >= limit_ms:
        return True
    if evidence.words not in ENDED_BY_MODEL or evidence.probability is None:
        return False
    reached = [point for point in settings.pause_points if point.silence_ms <= evidence.silence_ms]
    return bool(reached) and evidence.probability >= reached[-1].probability
