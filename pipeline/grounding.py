"""Whether a generated clause says only what a fact says. A small model may phrase an answer; it may not invent one.

The rule: every content word of the clause stands in the fact, and its critical words (numbers, days, money) stand
next to one another there as they do in the clause, so that "nine to five" is not made of "nine to one" and "eight to
five". What fails is replaced by the fact itself.
"""

from __future__ import annotations

import itertools
import re

from num2words import num2words

_FUNCTION_WORDS = frozenset(
    """a about all also am an and any are as at be been both but by can could do does each for from get give had has
    have here hi how i if in is it its let me more most my of off on or our out please so some such than that the their
    them then there these they this those to too up us very was we well were what when where which who will with would
    you your yours ours yes sure certainly course absolutely great thanks thank happy help glad hello welcome just only
    s re ll ve d m anytime currently offer available usually typically cost costs price priced located find call
    come visit""".split()
)
"""Words that assert nothing a fact would have to bear out; 'only' and the like are judged by their neighbours."""

_NEGATIONS = frozenset("no not never none nothing neither nor without n't cannot".split())
_CALENDAR = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december morning afternoon evening noon midnight today tomorrow weekend weekday daily
    free""".split()
)
_NUMBER_WORDS = frozenset(num2words(n) for n in range(20)) | frozenset(
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand half quarter first second third".split()
)
_SUFFIX = re.compile(r"(?:'s|ings?|ed|ies|es|s)$")


def _tokens(text: str) -> list[str]:
    lowered = re.sub(r"n['’]t\b", " n't", text.lower().replace(",", ""))
    lowered = re.sub(r"(\d+):00\b", r"\1", lowered)
    lowered = re.sub(
        r"\d+", lambda match: f" {num2words(int(match[0])).replace('-', ' ').replace(' and ', ' ')} ", lowered
    )
    return re.findall(r"n't|[a-z]+", lowered.replace("’", "'").replace("-", " "))


def _stem(word: str) -> str:
    stem = _SUFFIX.sub("", word)
    return stem if len(stem) >= 3 else word


def critical_words(text: str) -> list[str]:
    """The numbers, days and the like in a text, in order; a number is one entry, in words."""
    words: list[str] = []
    in_number = False
    for word in _tokens(text):
        is_number = word in _NUMBER_WORDS
        if is_number and in_number:
            words[-1] += f" {word}"
        elif is_number or word in _CALENDAR or word.rstrip("s") in _CALENDAR:
            words.append(word if is_number else word.rstrip("s"))
        in_number = is_number or (in_number and word == "and" and words[-1].endswith(("hundred", "thousand")))
    return words


def is_borne_out(clause: str, fact: str) -> bool:
    """Whether the fact bears the clause out. Errs on the side of no."""
    said, known = _tokens(clause), _tokens(fact)
    stems = {_stem(word) for word in known}
    for word in said:
        if word not in _FUNCTION_WORDS and _stem(word) not in stems:
            return False
    if bool(_NEGATIONS & set(said)) != bool(_NEGATIONS & set(known)):
        return not critical_words(clause) and not _content(said) and not _NEGATIONS & set(said)
    critical = critical_words(clause)
    known_critical = critical_words(fact)
    pairs = set(itertools.pairwise(known_critical))
    return all(pair in pairs for pair in itertools.pairwise(critical)) and set(critical) <= set(known_critical)


def _content(tokens: list[str]) -> list[str]:
    return [word for word in tokens if word not in _FUNCTION_WORDS]


def answers(reply: str, fact: str) -> bool:
    """Whether a whole reply, borne out clause by clause, says what matters in the fact.

    True if it has all the fact's numbers and days, or, where the fact has none, half of its content words.
    """
    needed = critical_words(fact)
    if needed:
        return set(needed) <= set(critical_words(reply))
    known = {_stem(word) for word in _content(_tokens(fact))}
    said = {_stem(word) for word in _content(_tokens(reply))}
    return len(known & said) * 2 >= len(known)
