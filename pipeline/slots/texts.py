"""Free text: what was said, without the hesitation around it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.slots.types import SURE, Found, Language, ReadingContext
from pipeline.slots.wording import Heard

_HESITATION: Mapping[Language, str] = {"en": r"(?:um+|uh+|erm?|hmm+)", "es": r"(?:eh+|em+|mm+)"}


def read_text(heard: Heard, context: ReadingContext) -> Found[str] | None:
    """All words of an answer; nothing unasked, and nothing of mere hesitation."""
    if not context.asked:
        return None
    hesitation = _HESITATION[heard.language]
    before = re.match(rf"(?:[\s,.]*{hesitation}(?!\w)[\s,.]*)*[\s,]*", heard.flat)
    after = re.search(rf"(?:[\s,.]+{hesitation}(?!\w))*[\s,]*$", heard.flat)
    start, end = before.end() if before else 0, after.start() if after else len(heard.flat)
    text = heard.text[start:end].strip()
    if not any(character.isalnum() for character in text):
        return None
    return Found(text, start, end, SURE)
