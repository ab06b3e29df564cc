"""Yes and no."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pipeline.slots.types import DOUBTFUL, LIKELY, SURE, Found, Language, ReadingContext
from pipeline.slots.wording import Heard, phrase

_YES: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"yes|yeah|yep|yup|yah|aye|ya|uh huh|mm hm+|correct|right|sure|exactly|perfect|fine|great|indeed|affirmative"
        r"|absolutely|definitely|certainly|of course|okay|ok|go ahead|you bet|agreed|alright|you got it"
        r"|that'll work|i (?:guess|think) so|no problem|why not|that is|i do"
        r"|i am|it is|i would|i have|that's it|(?:sounds|all|looks|that's|very) good|good|that works|works for me"
        r"|let's do it|do it|please do|not wrong"
    ),
    "es": phrase(
        r"claro|correcto|exacto|exactamente|eso es|asi es|de acuerdo|vale|perfecto|por supuesto|esta bien|como no|ok"
        r"|okey|okay|bueno|afirmativo|desde luego|adelante|muy bien|me parece bien|bien|por que no"
        r"|no hay problema|sin problema|cierto|efectivamente|justo|aja"
    ),
}
_NO: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"no|nope|nah|not|isn't|don't|doesn't|didn't|can't|cannot|won't|wouldn't|haven't|never|wrong|incorrect|negative"
        r"|change|different|neither|none|rather not|no thanks"
    ),
    "es": phrase(
        r"no|nunca|jamas|incorrecto|equivocado|equivocada|mal|negativo|tampoco|para nada|cambiar|cambiarlo|cambiarla"
        r"|diferente|otra cosa|ninguno|ninguna"
    ),
}
_NEITHER: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:i'm |i am )?not (?:so |really |quite |too )?(?:sure|certain)|(?:don't|do not) (?:know|understand)|no idea"
        r"|maybe|perhaps|never mind"
        r"|wait|hold on|one (?:moment|second|minute)|(?:yes|yeah|okay|ok|right) but|are you sure"
        r"|right now|right away|depends"
    ),
    "es": phrase(
        r"no (?:lo )?se|no estoy segur[oa]|no entiendo|quiza|quizas|tal vez|espere|espera|un momento"
        r"|(?:si|vale|bueno) pero|depende"
        r"|ni idea|bueno pues|si no (?:es|le|hay)"
    ),
}
_TAKES_BACK: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r".*\b(?:yes|yeah|no|nope)\b.*?\b(?:sorry|wait|actually|i mean)\b[\s,.]+(?=(?:yes|yeah|no|nope)\b)"
    ),
    "es": re.compile(r".*\b(?:si|no)\b.*?\b(?:perdon|perdone|espere|espera|digo)\b[\s,.]+(?=(?:si|no)\b)"),
}
"""A yes or no before, and one at once after it: the last counts."""
_SI = re.compile(r"\bsi\b(?=(?P<after>[\s,.;:!]*)(?P<next>\w+)?)")
"""'Sí' often comes without its accent; then it is an 'if' unless something that goes with a yes follows."""
_GOES_WITH_YES = frozenset(
    """por claro senor senora senorita esta es eso asi gracias correcto exacto quiero si perfecto vale confirmo
    acepto""".split()
)
_WHOLE_YES: Mapping[Language, frozenset[str]] = {"en": frozenset({"please"}), "es": frozenset({"por favor"})}
_QUESTION: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"^\W*(?:what|which|how|when|where|who|whose|why(?! not)|can|could|do|does|did|will|would|should|is"
        r"|are|have|has)\b"
    ),
    "es": re.compile(
        r"^\W*(?:que|cual|cuales|como(?! no)|cuando|donde|quien|cuanto|cuanta|cuantos|puedo|puede|tiene)\b"
    ),
}
_NO_WITH_YES: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"no problem|why not|not wrong"),
    "es": phrase(r"no hay problema|como no|por que no"),
}
_NOT_RIGHT: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:of course|absolutely|definitely|certainly|sure|i do|i am|it is|that is|i would|i have) not"
        r"|(?:not|isn't|doesn't|don't|can't|won't|no longer|never)(?: (?:\w+ ){0,2})"
        r"(?:correct|right|it|work|works|good|fine|perfect|great|okay|ok|that|do)"
    ),
    "es": phrase(
        r"(?:claro|por supuesto|desde luego|creo) que no"
        r"|no(?: (?:\w+ ){0,2})(?:correcto|exacto|bien|cierto|perfecto|de acuerdo|asi|eso)"
    ),
}


def read_yes_no(heard: Heard, context: ReadingContext) -> Found[str] | None:
    """'yes' or 'no', if it is plainly one and an answer to a question: unasked there is nothing to say yes to.

    None for a yes with a condition ("yes, but ...") and for both in one breath, unless one takes the other back.
    """
    if not context.asked:
        return None
    took_back = _TAKES_BACK[heard.language].match(heard.flat)
    begin = took_back.end() if took_back else 0
    if _NEITHER[heard.language].search(heard.flat, begin):
        return None
    asking = _QUESTION[heard.language].search(heard.flat) is not None
    if asking and not _NO_WITH_YES[heard.language].search(heard.flat):
        return None
    bare = re.sub(r"[^\w ]", "", heard.flat).strip()
    if bare in _WHOLE_YES[heard.language]:
        return Found("yes", 0, len(heard.flat), LIKELY)
    idioms = [match.span() for match in _NO_WITH_YES[heard.language].finditer(heard.flat)]
    denials = [match.span() for match in _NOT_RIGHT[heard.language].finditer(heard.flat)]
    found = [
        *(_answer("yes", match) for match in _YES[heard.language].finditer(heard.flat) if not _inside(match, denials)),
        *_yeses_es(heard, denials),
        *(_answer("no", match) for match in _NO[heard.language].finditer(heard.flat) if not _inside(match, idioms)),
    ]
    found = sorted((one for one in found if one.start >= begin), key=lambda one: one.start)
    if not found:
        return None
    first = found[0]
    if len({one.value for one in found}) == 1:
        return Found(first.value, first.start, found[-1].end, DOUBTFUL if heard.flat.endswith("?") else SURE)
    return None


def _answer(value: Literal["yes", "no"], match: re.Match[str]) -> Found[str]:
    return Found(value, match.start(), match.end())


def _inside(match: re.Match[str], spans: list[tuple[int, int]]) -> bool:
    return any(start <= match.start() and match.end() <= end for start, end in spans)


def _yeses_es(heard: Heard, denials: list[tuple[int, int]]) -> list[Found[str]]:
    if heard.language != "es":
        return []
    found = []
    for match in _SI.finditer(heard.flat):
        accented = heard.text[match.start() + 1] in "íÍ"
        alone = match["next"] is None or any(mark in match["after"] for mark in ",.;:!")
        if (accented or alone or match["next"] in _GOES_WITH_YES) and not _inside(match, denials):
            found.append(_answer("yes", match))
    return found


def spoken_yes_no(value: str, language: Language) -> str:
    """Raises ValueError for anything but 'yes' and 'no'."""
    if value not in ("yes", "no"):
        raise ValueError(f"expected 'yes' or 'no', got {value!r}; give the canonical value")
    return value if language == "en" or value == "no" else "sí"
