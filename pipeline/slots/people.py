"""How many people are meant by "two adults and three kids". Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pipeline.slots.types import Found, Language
from pipeline.slots.wording import Heard

_WORDS: Mapping[Language, str] = {
    "en": r"people|persons?|adults?|grown ?-?ups?|kids?|child(?:ren)?|babies|baby|toddlers?|infants?|teenagers?"
    r"|seniors?|guests?|friends?|women|woman|men|man|boys?|girls?|ladies|gentlemen",
    "es": r"personas?|gente|adult[oa]s?|nin[oa]s?|bebes?|chic[oa]s?|mayores|menores|jovenes|invitad[oa]s?|amig[oa]s?"
    r"|hombres?|mujer(?:es)?|comensales",
}
_COUNTED: Mapping[Language, re.Pattern[str]] = {
    language: re.compile(rf"\s*(?:\w+ )?(?:{words})\b") for language, words in _WORDS.items()
}
"""Behind a number: people, perhaps of some kind ("three small kids")."""
_ARE_PEOPLE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:people|persons?|guests?|party|of us|heads?)\b"),
    "es": re.compile(r"\b(?:personas?|comensales|invitad[oa]s?|gente)\b"),
}


def counts_people(description: str, language: Language) -> bool:
    """Whether a variable so described is a number of people."""
    return _ARE_PEOPLE[language].search(description.lower()) is not None


def together(heard: Heard, counted: Sequence[Found[Decimal]]) -> Found[Decimal] | None:
    """The sum of the numbers that count people ("two adults and three kids"); None if none does."""
    people = [one for one in counted if _COUNTED[heard.language].match(heard.flat, one.end)]
    if not people or any(one.value != one.value.to_integral_value() for one in people):
        return None
    total = sum((one.value for one in people), Decimal(0))
    return Found(total, people[0].start, people[-1].end, min(one.confidence for one in people))
