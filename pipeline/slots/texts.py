"""Free text: what was said, without the hesitation around it, and without words that only say what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from pipeline.slots.types import SURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import COURTESY, Heard, plain_words

_HESITATION: Mapping[Language, str] = {"en": r"(?:um+|uh+|erm?|hmm+)", "es": r"(?:eh+|em+|mm+)"}
_NAMED: Mapping[Language, str] = {
    "en": r"(?:it's|it is|that's|that is|they're|they are) (?:called|named)(?! (?:off|back|in|out|for|me|us)\b)"
    r"|(?:the|its|his|her|their|(?:my|our|the) \w+'s) name(?:'s| is)|name's",
    "es": r"se llaman?|(?:el|su) nombre (?:es|seria)",
}
"""Before what something is called."""
_OWN: Mapping[Language, str] = {"en": "my|our|the", "es": "mi|mis|nuestr[oa]s?|el|la|los|las"}
_IS: Mapping[Language, str] = {"en": r"(?:'s| is| are| would be)", "es": r"(?: es| son| seria)"}
_NO_VALUE: Mapping[Language, str] = {
    "en": r"(?:not|no|too|very|so|really|still|always|all|also|just|at|in|on|off|out|that|being|there|here|gone|broken"
    r"|wrong|\w+ing|\w+ed)\b",
    "es": r"(?:no|muy|demasiado|tan|siempre|todavia|que|de|en|para|\w+[ai]d[oa]s?|\w+ndo)\b",
}
"""What follows in sentences that say how it is, and not what it is ("the bill is too high")."""
_ASIDE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:of|for|in|about|from|to|with|and|or|on|at)\b.*"),
    "es": re.compile(r"\b(?:de|del|para|en|sobre|con|y|o|por|a)\b.*"),
}
"""Where a description says more than what it is."""
_CLAUSE = re.compile(r"(?:what|how|why|where|who|when|which|que|como|por que|donde|quien|cuando|cual)\b")
_SMALL = frozenset("the a an their his her its caller's callers el la los las un una su sus".split())
_PLEASE: Mapping[Language, str] = {"en": r"please", "es": r"por favor"}
_ABBREVIATED = re.compile(r"(?:^|\s)(?:\w\.)+\w\.$")


def read_text(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """All words of an answer; nothing unasked, and nothing of mere hesitation."""
    if not context.asked:
        return None
    start, end = 0, len(heard.flat)
    while True:
        within = _within(variable, heard, start, end)
        if within == (start, end):
            break
        start, end = within
    text = heard.text[start:end]
    if not any(character.isalnum() for character in text):
        return None
    return Found(text, start, end, SURE)


def _within(variable: Variable, heard: Heard, start: int, end: int) -> tuple[int, int]:
    """A stretch without what stands at its edges and is no part of it."""
    hesitation = _HESITATION[heard.language]
    before = re.compile(rf"(?:[\s,.]*{hesitation}(?!\w)[\s,.]*)*[\s,]*").match(heard.flat, start, end)
    start = before.end() if before else start
    lead_in = _lead_in(variable.description, heard.language).match(heard.flat, start, end)
    start = lead_in.end() if lead_in and re.search(r"\w", heard.flat[lead_in.end() : end]) else start
    flat = heard.flat[start:end]
    flat = re.sub(rf"(?:[\s,.]+{hesitation}(?!\w))*[\s,]*$", "", flat)
    flat = re.sub(rf"(?<=\w)[.!]?[\s,]+{_PLEASE[heard.language]}[.!]*$", "", flat)
    return start, start + len(flat if _ABBREVIATED.search(flat) else flat.rstrip(". "))


@lru_cache(maxsize=64)
def _lead_in(description: str, language: Language) -> re.Pattern[str]:
    """What a value is called before it is told: "it's called", "the name is", "my complaint is"."""
    ways = [_NAMED[language]]
    what = _ASIDE[language].sub("", " ".join(plain_words(description)))
    words = [word for word in what.split() if word not in _SMALL]
    if words and _CLAUSE.match(what) is None:
        # "The delivery note", and "the note".
        called = " ".join(rf"(?:{re.escape(word)} )?" for word in words[:-1]).replace(" (", "(").strip(" ")
        ways.append(rf"(?:{_OWN[language]}) {called}{re.escape(words[-1])}{_IS[language]}(?!,? {_NO_VALUE[language]})")
    courtesy = rf"(?:{COURTESY[language]}(?!\w)[\s,.]+)*"
    return re.compile(rf"{courtesy}(?:{'|'.join(ways)})(?!\w)[\s,:]*")
