"""Words that say "I am listening" rather than "let me speak"."""

from __future__ import annotations

import re
import unicodedata

MOST_WORDS = 3
LEAST_WORDS_LEFT = 3
"""With no more than this left to ask, "yes" is an answer given early."""

_SOUNDS = re.compile(r"^(?:m+|h+m+|mm+h+m*|m+h+m+|u+h+|u+h+h+u+h+|a+h*|o+h+)$")
_WORDS = frozenset(
    """okay ok yeah yep yes right sure alright good great fine nice cool huh thanks
    si vale claro aja ya bien bueno perfecto gracias""".split()
)
_PHRASES = frozenset(
    {"i see", "got it", "all right", "of course", "i understand", "uh huh", "mm hmm", "thank you", "okay thank you"}
    | {"de acuerdo", "muy bien", "muchas gracias", "ya veo"}
)


def is_backchannel(text: str) -> bool:
    """Whether an utterance is nothing but "mm-hm", "okay", "I see" and the like, at most three words."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    words = re.sub(r"[^a-z' ]", "", re.sub(r"[-–—]", " ", bare)).split()
    if not 0 < len(words) <= MOST_WORDS:
        return False
    return " ".join(words) in _PHRASES or all(word in _WORDS or _SOUNDS.match(word) for word in words)
