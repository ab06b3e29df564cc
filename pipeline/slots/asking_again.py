"""Callers who did not catch what was said: "Sorry?", "What was that?", "¿Cómo dice?"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.slots.types import Language
from pipeline.slots.wording import hear, phrase

_AGAIN: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"what (?:did|do) you (?:just )?(?:say|mean)|what (?:were|are) you saying|you said what"
        r"|what(?: was| is|'s) (?:that|it)(?: again)?|say (?:(?:that|it|what) )?again|say what|come again"
        r"|(?:can|could|would|will) you (?:please )?(?:say|repeat|tell me) (?:that|it)(?: again| once more)?"
        r"|repeat(?: (?:that|it))?|(?:one|once) more(?: time)?"
        r"|(?:i )?(?:did not|didn't|don't|do not|couldn't|could not|can't|cannot)(?: quite| really)?"
        r" (?:(?:hear|catch|understand|make out)"
        r"(?: (?:you|that|it|what you (?:just )?said|a word|the last (?:bit|part)))?"
        r"|get (?:that|what you (?:just )?said|the last (?:bit|part)))"
        r"|i(?:'ve)?(?: just)? missed (?:that|what you (?:just )?said|the last (?:bit|part))"
        r"|(?:i'm |i am )?(?:so )?sorry|(?:i )?beg (?:your )?pardon|pardon(?: me)?|excuse me|wha+t|huh+"
    ),
    "es": phrase(
        r"como (?:dice|dijo|ha dicho|fue)|que (?:dice|dijo|ha dicho|decia|fue eso|era eso)"
        r"|no (?:(?:le|lo|la|te|se) )?(?:he )?(?:oi|oido|oigo|escuche|escuchado|escucho|entendi|entendido|entiendo)"
        r"(?: (?:bien|nada|eso|lo que dijo))?"
        r"|(?:me )?(?:lo )?(?:puede|podria|puedes)"
        r" (?:repetir|decir|repetirlo|repetirmelo|decirlo|decirmelo|repetir eso)"
        r"|(?:me )?(?:lo )?(?:repita|repite|repitame|repitamelo|repitalo)|otra vez|de nuevo|una vez mas"
        r"|perdon|perdone|perdona|disculpe|disculpa|mande|como|que"
    ),
}
_AROUND: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"oh|um+|uh+|hm+|well|wait|please|sir|ma'am|but|and|again"),
    "es": phrase(r"ay|oh|eh+|em+|hm+|bueno|y|pero|espere|espera|por favor|senor|senora|senorita"),
}
"""What tells nothing beside it."""


def asks_again(text: str, language: Language) -> bool:
    """Whether an utterance only says that the last words were not heard or understood."""
    flat = hear(text, language).flat
    left = _AGAIN[language].sub(" ", flat)
    return left != flat and re.search(r"\w", _AROUND[language].sub(" ", left)) is None
