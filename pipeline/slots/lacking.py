"""Callers who do not have what they are asked for: "I don't have the ticket any more", "no lo tengo a mano". Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.slots.types import Language
from pipeline.slots.wording import hear, phrase

HAD = frozenset({"digits", "code", "phone", "email"})
"""Types of what a caller has or has not, and would not find by being asked again."""
_LACKS: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:i|we) (?:don't|do not|didn't|haven't|never) (?:actually |really |even )?"
        r"(?:have|had|got|get|keep|know|remember|find)"
        r"(?: (?:it|one|that|any|the|a|my|your|this|such)| (?:an? |any |the |my |that |this )?[\w ]{0,24}?"
        r"(?:number|code|ticket|receipt|slip|plate|reference|e-?mail|paper|card))(?: \w+){0,4}"
        r"|(?:i|we) (?:can't|cannot|couldn't) (?:find|remember|read|see|recall)(?: \w+){1,5}"
        r"|(?:i|we)(?:'ve| have)? (?:lost|forgot|forgotten|misplaced|threw away)(?: \w+){1,5}"
        r"|(?:i have )?no (?:idea|clue)(?: \w+){0,5}|don't (?:have|know) (?:it|one)(?: \w+){0,4}"
        r"|i don't know(?: (?:it|that|the number))?"
    ),
    "es": phrase(
        r"no (?:lo|la) (?:tengo|se|encuentro|recuerdo|llevo|conozco|veo)(?: \w+){0,4}"
        r"|no (?:tengo|encuentro|recuerdo|llevo|me acuerdo(?: de)?|me se)(?: \w+){1,5}"
        r"|(?:lo|la) (?:he )?(?:perdi|perdido|olvide|olvidado|tire)(?: \w+){0,4}"
        r"|(?:he perdido|perdi|he olvidado|olvide|se me olvido)(?: \w+){1,5}|ni idea(?: \w+){0,4}|no (?:lo |la )?se"
    ),
}
_AROUND: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\W*(?:(?:oh|um|uh|well|hm+|sorry|no(?=\W*[,.])|actually|i'm afraid|the thing is|ah|honestly|but|yeah|okay)"
        r"\b\W*)*"
    ),
    "es": re.compile(
        r"\W*(?:(?:ay|uy|eh|pues|bueno|perdone|perdon|no(?=\W*[,.])|es que|ah|la verdad|pero|vale)\b\W*)*"
    ),
}
_WHOLE: Mapping[Language, re.Pattern[str]] = {
    language: re.compile(rf"(?:{lacks.pattern})(?:\s*[,.;!][^?]*)?") for language, lacks in _LACKS.items()
}


def lacks_it(utterance: str, language: Language) -> bool:
    """Whether an answer begins by saying that who is asked does not have or know it, and asks nothing."""
    heard = hear(utterance, language)
    before = _AROUND[language].match(heard.flat)
    return _WHOLE[language].fullmatch(heard.flat, before.end() if before else 0) is not None
