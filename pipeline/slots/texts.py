"""Free text: what was said, without the hesitation around it, and without words that only say what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from pipeline.slots.types import LIKELY, SURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import COURTESY, Heard, phrase, plain_words

_EMPTY: Mapping[Language, str] = {
    "en": r"(?:yes|yeah|yep|sure|okay|ok|alright|right|hi|hello|good (?:morning|afternoon|evening)|thanks|thank you|bye"
    r"|goodbye)",
    "es": r"(?:si|claro|vale|ok|okey|bueno|hola|buenos dias|buenas (?:tardes|noches)|gracias|adios|hasta luego)",
}
_NOTHING: Mapping[Language, re.Pattern[str]] = {
    language: phrase(f"{words}(?: {words})*") for language, words in _EMPTY.items()
}
"""Words that tell nothing."""
_HESITATION: Mapping[Language, str] = {"en": r"(?:um+|uh+|erm?|hmm+)", "es": r"(?:eh+|em+|mm+)"}
_NAMED: Mapping[Language, str] = {
    "en": r"(?:it's|it is|that's|that is|they're|they are) (?:called|named)(?! (?:off|back|in|out|for|me|us)\b)"
    r"|(?:the|its|his|her|their|(?:my|our|the) \w+'s) name(?:'s| is)|name's|(?:like|as) i said"
    r"|mine(?:'s| is)|(?:i'm|i am|we're|we are|it's|it is|that's|i live|we live) (?:at|on)(?= (?:\d|\w+ \w+))",
    "es": r"se llaman?|(?:el|su) nombre (?:es|seria)|como (?:le )?(?:he dicho|dije)|(?:vivo|vivimos|estoy|estamos) en"
    r"(?= (?:la |el )?(?:calle|avenida|plaza|paseo|carretera|camino|ronda)\b)",
}
"""Before what something is called."""
_OWN: Mapping[Language, str] = {"en": "my|our|the", "es": "mi|mis|nuestr[oa]s?|el|la|los|las"}
_IS: Mapping[Language, str] = {"en": r"(?:'s| is| are| would be)", "es": r"(?: es| son| seria)"}
_OWN_NAMED: Mapping[Language, str] = {language: rf"(?:{own}) " for language, own in _OWN.items()}
_IS_TO_BE: Mapping[Language, str] = {
    "en": r"(?:,? (?:(?:it )?(?:should|must|has to) be|it's|it is|is|to|make it|now is)|'s)"
    r"(?: (?:just|only|actually))?",
    "es": r",? (?:es|seria|tiene que ser|debe ser|debia ser|a|por|ponga)",
}
"""Between what a text is called and what it is to be instead."""
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
    """All words of an answer; nothing unasked, and nothing of mere hesitation or courtesy."""
    if not context.asked:
        return None
    start, end = 0, len(heard.flat)
    while True:
        within = _within(variable, heard, start, end)
        if within == (start, end):
            break
        start, end = within
    text = heard.text[start:end]
    words = " ".join(plain_words(text))
    if not words or _NOTHING[heard.language].fullmatch(words):
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


def text_anew(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """What a text is to be instead, where it is called by its description ("the address, it's 301 Lake Drive")."""
    called = _called(variable.description, heard.language)
    if called is None:
        return None
    is_to_be = (
        rf"{_OWN_NAMED[heard.language]}{called}(?:{_IS_TO_BE[heard.language]})[\s,:]+(?!{_NO_VALUE[heard.language]})"
    )
    match = re.search(rf"\b{is_to_be}", heard.flat)
    if match is None:
        return None
    rest = Heard(heard.text[match.end() :], heard.flat[match.end() :], heard.language)
    found = read_text(variable, rest, context)
    return Found(found.value, match.end() + found.start, match.end() + found.end, LIKELY) if found else None


@lru_cache(maxsize=64)
def _lead_in(description: str, language: Language) -> re.Pattern[str]:
    """What a value is called before it is told: "it's called", "the name is", "my complaint is"."""
    ways = [_NAMED[language]]
    if (called := _called(description, language)) is not None:
        ways.append(rf"(?:{_OWN[language]}) {called}{_IS[language]}(?!,? {_NO_VALUE[language]})")
    courtesy = rf"(?:{COURTESY[language]}(?!\w)[\s,.]+)*"
    return re.compile(rf"{courtesy}(?:{'|'.join(ways)})(?!\w)[\s,:]*")


def _called(description: str, language: Language) -> str | None:
    """What a value so described is called: "the delivery note", and "the note"; None if nothing can be told."""
    what = _ASIDE[language].sub("", " ".join(plain_words(description)))
    words = [word for word in what.split() if word not in _SMALL]
    if not words or _CLAUSE.match(what) is not None:
        return None
    before = "".join(rf"(?:{re.escape(word)} )?" for word in words[:-1])
    return f"{before}{re.escape(words[-1])}"
