"""Whether an utterance is a value and little else ("Friday at ten would be nicer", "Marco, please"). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from pipeline.slots.types import Language
from pipeline.slots.wording import hear, plain_words

_AROUND: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """a an the and or at on in for to with by of from it it's its is be i i'd i'll i'm me my we we'd we'll us you
        could can may might would will should let let's please thanks thank actually um uh oh ah well then so okay ok
        yes yeah right maybe perhaps just only rather instead better best nicer nice good great fine ideal perfect suit
        suits works work easier like love prefer want wanted need have get take make do go say said that that's this one
        if possible sure too also still even""".split()
    ),
    "es": frozenset(
        """un una unos unas el la los las lo y o a al en de del con por para es seria sea que me mi nos le se yo su
        favor gracias vale bueno pues entonces eh em si claro quiza quizas tal vez mejor bien perfecto ideal viene va
        iria vendria conviene puede ser podria quiero quisiera queria querria prefiero preferiria gustaria pongame
        ponga poner deme dar poder posible solo tambien mas bien ay oh""".split()
    ),
}
"""Words with which a value is said, and which say nothing else."""
_WITH_NO: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        "no nope nah not isn't wasn't wrong incorrect correct quite all it's was sorry don't doesn't sir madam".split()
    ),
    "es": frozenset("no esta mal incorrecto incorrecta correcto correcta asi eso esto ni perdon senor senora".split()),
}

_BEGINS_WITH_NO: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"^\W*(?:(?:no|nope|nah|oh|um|uh|sorry)\b\W*)+", re.IGNORECASE),
    "es": re.compile(r"^\W*(?:(?:no|ay|eh|perd[oó]n)\b\W*)+", re.IGNORECASE),
}


def little_else(utterance: str, told: Iterable[str], language: Language, *, most: int = 0) -> bool:
    """Whether there is hardly anything in an utterance besides the words `told` of it: at most `most` words."""
    return len(_besides(utterance, told) - _AROUND[language]) <= most


def bare_no(utterance: str, language: Language) -> bool:
    """Whether a no says nothing besides ("no, that's not right")."""
    return not _besides(utterance, ()) - _AROUND[language] - _WITH_NO[language]


def after_no(utterance: str, language: Language) -> str:
    """What is said after a no that begins it."""
    return _BEGINS_WITH_NO[language].sub("", hear(utterance, language).text)


def _besides(utterance: str, told: Iterable[str]) -> frozenset[str]:
    left = Counter(plain_words(utterance))
    left.subtract(word for words in told for word in plain_words(words))
    return frozenset(word for word, count in left.items() if count > 0)
