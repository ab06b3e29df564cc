"""Utterances as the readers see them: folded to plain letters without moving any, and what callers take back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from pipeline.slots.types import Found, Language

T = TypeVar("T")

_PLAIN: Mapping[str, str] = {"’": "'", "‘": "'", "ʼ": "'", "–": "-", "—": "-", "‑": "-", "−": "-", "…": "."}
_GAP = r"[\s,\-]+"

_TAKES_BACK: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:no|nope|not|sorry|i mean(?:t)?|actually|wait|rather|make (?:it|that)|scratch that|correction|my mistake"
        r"|excuse me|pardon me)\b"
    ),
    "es": re.compile(
        r"\b(?:no|perdon|perdone|perdona|disculpe|disculpa|digo|quiero decir|quise decir|mejor dicho|mejor|espere"
        r"|espera|en realidad|mas bien|me equivoque|corrijo)\b"
    ),
}
_REFUSES: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:(?<!why )not|isn't|except|any(?:thing| ?day| ?time) but|every day but"
        r"|instead of|rather than|(?:can't|cannot)(?: do)?|(?:i'm|i am|we're|we are) (?:busy|away|working|out of town)"
        r"|i work)(?: (?:on|at|the|for|in|to|by))*$"
    ),
    "es": re.compile(
        r"\b(?:no|en vez de|en lugar de|menos|excepto|salvo)(?: (?:el|la|las|los|a|al|para|en|es|puedo))*$"
    ),
}
_SUITS_NOT: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"[\s,]*(?:(?:mornings?|afternoons?|evenings?|nights?)[\s,]+)?(?:(?:just|really|still|actually|probably) )?"
        r"(?:(?:doesn't|does not|don't|do not|won't|will not|wouldn't|isn't|is not|aren't)"
        r"(?! (?:bad|matter|too bad|so bad|a problem|an issue|hurt))"
        r"|(?:is|are|would be) (?:too |really |very |so )*(?:bad|out|tough|tricky|hard|difficult|impossible|no good)"
        r"|(?:i|we) (?:can't|cannot|couldn't|won't|work|sleep|am working|have (?:to|an?|my|work|school)|don't have)"
        r"|(?:i'm|i am|we're|we are) (?:in|at|away|busy|not|working|out|travell?ing|booked|abroad))\b"
    ),
    "es": re.compile(
        r"[\s,]*(?:por la (?:manana|tarde|noche)[\s,]+)?"
        r"(?:no (?:puedo|podemos|puede|estoy|estamos|voy|me (?:va|viene|sirve|es|queda)|nos (?:va|viene)|es posible)"
        r"|trabaj(?:o|amos)|duermo|(?:estoy|estamos) (?:fuera|ocupad\w+|trabajando|de viaje|en)"
        r"|tengo (?:que|trabajo|clase)"
        r"|(?:me )?(?:es|queda|viene) (?:imposible|mal|fatal))\b"
    ),
}
"""Behind what is not wanted ("Tuesday doesn't work", "Tuesday I'm in Fresno")."""
_LEFT_OPEN: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:no|not|wait|never mind)$"),
    "es": re.compile(r"\b(?:espere|espera|olvidelo|olvidalo)$"),
}

COURTESY: Mapping[Language, str] = {
    "en": r"(?:yes|yeah|yep|sure|okay|ok|al{1,2} ?right|fine|um+|uh+|erm?|hmm+|well|so|oh|please|right|hi|hello"
    r"|and|like|let me see|let's see)",
    "es": r"(?:si|claro|vale|ok|okey|eh+|em+|este|pues|bueno|a ver|por favor|hola|y|mire|mira)",
}
"""Words before an answer that are no part of it."""
CLOSING: Mapping[Language, str] = {
    "en": r"(?:please|thanks|thank you(?: very much)?|sir|madam|ma'am|if (?:that's|that is) (?:okay|ok|possible)"
    r"|um+|uh+)",
    "es": r"(?:por favor|gracias|muchas gracias|senor|senora|senorita|si es posible|eh+)",
}
"""Words after an answer that are no part of it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance: as transcribed but for its spacing, and folded."""

    text: str
    flat: str
    """Lower case, without accents, dashes as hyphens; as long as `text`, so that positions are the same in both."""
    language: Language

    def words(self, start: int, end: int) -> str:
        """What was said at [start, end), without the punctuation around it."""
        return self.text[start:end].strip(" \t\r\n,.;:!?¿¡-")


def hear(utterance: str, language: Language) -> Heard:
    text = " ".join(unicodedata.normalize("NFC", utterance).split())
    return Heard(text, "".join(_fold(character) for character in text), language)


@lru_cache(maxsize=1024)
def _fold(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    parts = unicodedata.normalize("NFD", character.lower())
    return parts[0] if all(unicodedata.combining(mark) for mark in parts[1:]) else character


def fold(text: str) -> str:
    """Lower case, without accents."""
    return hear(text, "en").flat


def plain_words(text: str) -> tuple[str, ...]:
    """The words of a text, folded: 'Check-up, ¡sí!' -> ('check', 'up', 'si')."""
    return tuple(re.findall(r"[^\W_]+(?:'[^\W_]+)*", fold(text)))


def phrase(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for folded text in which a space stands for the gap between two words; whole words only."""
    return re.compile(rf"(?<!\w)(?:{pattern.replace(' ', _GAP)})(?!\w)")


def one_of(words: Iterable[str]) -> str:
    """A group for `phrase` that matches one of the words, the longest that fits."""
    return "|".join(re.escape(word).replace(r"\ ", " ") for word in sorted(words, key=lambda word: (-len(word), word)))


def apart(found: Iterable[Found[T]]) -> list[Found[T]]:
    """Those that do not overlap, the longest first to choose; in the order of the utterance."""
    chosen: list[Found[T]] = []
    for one in sorted(found, key=lambda one: (one.start - one.end, one.start)):
        if not overlaps(one, chosen):
            chosen.append(one)
    return sorted(chosen, key=lambda one: one.start)


def overlaps(one: Found[object], others: Iterable[Found[object]]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def standing(found: Sequence[Found[T]], heard: Heard) -> list[Found[T]]:
    """What is left of what was said in one breath: not what was refused ("not Tuesday") or taken back ("Tuesday, no,
    Wednesday"). `found` in the order of the utterance."""
    last = len(found) - 1
    kept = [
        one
        for place, one in enumerate(found)
        if not _suits_not(one, heard)
        and (not _refuses(one, heard) or (heard.language == "es" and place > 0 and place == last))
    ]
    unwanted = [one.value for one in found if one not in kept]
    kept = [one for one in kept if one.value not in unwanted]
    if not kept or _LEFT_OPEN[heard.language].search(heard.flat[kept[-1].end :].strip(" ,.!?")):
        return []
    cut = 0
    for mark in _TAKES_BACK[heard.language].finditer(heard.flat, 0, kept[-1].start):
        if not any(one.start < mark.end() and mark.start() < one.end for one in kept):
            cut = mark.end()
    return [one for one in kept if one.start >= cut]


def refused(found: Sequence[Found[T]], heard: Heard) -> list[Found[T]]:
    """What was expressly not wanted ("not Tuesday")."""
    left = standing(found, heard)
    return [one for one in found if _refused(one, heard) and one not in left]


def _refused(one: Found[T], heard: Heard) -> bool:
    return _refuses(one, heard) or _suits_not(one, heard)


def _suits_not(one: Found[T], heard: Heard) -> bool:
    return _SUITS_NOT[heard.language].match(heard.flat, one.end) is not None


def _refuses(one: Found[T], heard: Heard) -> bool:
    before = re.sub(r"[\s\-]+", " ", heard.flat[: one.start]).rstrip(" ")
    return _REFUSES[heard.language].search(before) is not None


def goes_on_from_another(heard: Heard, start: int) -> bool:
    """Whether what begins there is set against something before it ("ten or eleven", "ten, no, eleven")."""
    before = heard.flat[:start].rstrip(" ,.;:-")
    either = "or" if heard.language == "en" else "o"
    if re.search(rf"\b{either}$", before):
        return True
    return any(mark.end() == len(before) for mark in _TAKES_BACK[heard.language].finditer(before))


def settle(found: Sequence[Found[T]], heard: Heard) -> Found[T] | None:
    """The one thing that was said; None if nothing was, or several that differ."""
    left = standing(found, heard)
    if len({one.value for one in left}) != 1:
        return None
    return max(left, key=lambda one: one.confidence)


@lru_cache(maxsize=8)
def _edges(language: Language) -> tuple[re.Pattern[str], re.Pattern[str]]:
    before = re.compile(rf"^[\s,.;:!?¿¡\-]*(?:{COURTESY[language].replace(' ', _GAP)}(?!\w)[\s,.;:!?\-]+)*")
    after = re.compile(rf"(?:[\s,.;:!?\-]+{CLOSING[language].replace(' ', _GAP)}(?!\w))*[\s,.;:!?\-]*$")
    return before, after


def core(heard: Heard) -> tuple[int, int]:
    """Where the answer proper is: without courtesy and hesitation on either side."""
    before, after = _edges(heard.language)
    opening = before.match(heard.flat)
    start = opening.end() if opening else 0
    closing = after.search(heard.flat, start)
    return start, closing.start() if closing else len(heard.flat)
