"""Whether a generated clause says only what a fact says. A small model may phrase an answer; it may not invent one.

The rule: every content word of the clause stands in the fact, and its critical words (numbers, days, money) stand
next to one another there as they do in the clause, so that "nine to five" is not made of "nine to one" and "eight to
five", and are joined and bounded there as in the clause, so that "up to three" is not made of "from three", nor
"Monday and Friday" of "Monday to Friday". What fails is replaced by the fact itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from num2words import num2words

from pipeline.clauses import split_clauses
from pipeline.slots.types import Language
from pipeline.slots.wording import fold

Relation = Literal["", "to", "least", "under", "over", "within", "about", "and", "or"]
"""What stands right before a critical word: '' nothing of the kind; 'to', 'and', 'or' join it to the one before it."""

_FUNCTION_WORDS: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """a about all also am an and any are as at be been both but by can could do does each for from get give had has
        have here hi how i if in is it its let me more most my of off on or our out please so some such than that the
        their them then there these they this those to too up us very was we well were what when where which who will
        with would you your yours ours yes sure certainly course absolutely great thanks thank happy help glad hello
        welcome just only s re ll ve d m anytime currently offer available usually typically cost costs price priced
        located find call come visit""".split()
    ),
    "es": frozenset(
        """a al con como cuando cual cuales cuesta de del desde donde e el ella ellos en entre es esa ese eso esta estan
        estamos este esto hay la las le les lo los me mi muy nos nuestra nuestro nuestros o para pero por puede pueden
        que se si sin su sus son te tenemos tiene tienen tambien todo todos u un una uno unos unas y ya claro supuesto
        gracias gusto encantado encantada hola bueno bien solo precio estaremos ofrecemos disponible encuentra
        encontrarnos llame venga visite favor""".split()
    ),
}
"""Words that assert nothing a fact would have to bear out; 'only' and the like are judged by their neighbours."""
_NEGATIONS: Mapping[Language, frozenset[str]] = {
    "en": frozenset("no not never none nothing neither nor without n't cannot".split()),
    "es": frozenset("no nunca jamas ni sin ningun ninguno ninguna nada nadie tampoco".split()),
}
_CALENDAR: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
        september october november december morning afternoon evening noon midnight today tomorrow weekend weekday daily
        free""".split()
    ),
    "es": frozenset(
        """lunes martes miercoles jueves viernes sabado sabados domingo domingos enero febrero marzo abril mayo junio
        julio agosto septiembre octubre noviembre diciembre manana tarde noche mediodia medianoche hoy gratis gratuito
        gratuita""".split()
    ),
}
_NUMBER_WORDS: Mapping[Language, frozenset[str]] = {
    "en": frozenset(num2words(n) for n in range(20))
    | frozenset(
        "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand half quarter first second third".split()
    ),
    "es": frozenset(fold(num2words(n, lang="es")) for n in range(30))
    | frozenset(
        """treinta cuarenta cincuenta sesenta setenta ochenta noventa cien ciento doscientos trescientos cuatrocientos
        quinientos seiscientos setecientos ochocientos novecientos mil media medio cuarto primero segundo
        tercero""".split()
    ),
}
_MINUS: Mapping[Language, frozenset[str]] = {"en": frozenset({"minus", "negative"}), "es": frozenset({"menos"})}
_NUMBER_GOES_ON: Mapping[Language, tuple[str, tuple[str, ...]]] = {
    "en": ("and", ("hundred", "thousand")),
    "es": ("y", ("treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa")),
}
"""The word that goes on with a number, and the number words after which it does."""
_RELATIONS: Mapping[Language, Mapping[str, Relation]] = {
    "en": {
        **dict.fromkeys(("to", "until", "till", "through", "up"), "to"),
        **dict.fromkeys(("from", "start", "starts", "starting", "begin", "begins", "least", "minimum"), "least"),
        **dict.fromkeys(("under", "below", "less", "before", "maximum", "most"), "under"),
        **dict.fromkeys(("over", "above", "more", "after"), "over"),
        "within": "within",
        **dict.fromkeys(("about", "around", "roughly", "approximately", "nearly"), "about"),
        "and": "and",
        "or": "or",
    },
    "es": {
        **dict.fromkeys(("a", "hasta"), "to"),
        **dict.fromkeys(("desde", "partir", "empieza", "empiezan", "minimo"), "least"),
        **dict.fromkeys(("antes", "menos", "maximo", "inferior"), "under"),
        **dict.fromkeys(("mas", "despues", "superior"), "over"),
        "dentro": "within",
        **dict.fromkeys(("unos", "unas", "alrededor", "aproximadamente", "casi"), "about"),
        **dict.fromkeys(("y", "e"), "and"),
        **dict.fromkeys(("o", "u"), "or"),
    },
}
_PASSED_OVER: Mapping[Language, frozenset[str]] = {
    "en": frozenset("the a an of age at on in than for".split()),
    "es": frozenset("el la los las de del edad en un una que".split()),
}
"""What may stand between such a word and the number or day."""
_JOINS_ONLY: Mapping[Language, frozenset[str]] = {
    "en": frozenset({"and", "or"}),
    "es": frozenset({"a", "y", "e", "o", "u"}),
}
"""Words that say this only between two critical words: 'a las ocho' is at eight."""
_UNITS: Mapping[Language, frozenset[str]] = {
    "en": frozenset("o clock am pm m dollars dollar percent".split()),
    "es": frozenset("horas h dolares dolar euros euro".split()),
}
_OPPOSITES: Mapping[Language, tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]] = {
    "en": (
        (re.compile(r"\bopen"), re.compile(r"\bclos")),
        (re.compile(r"\bfree\b"), re.compile(r"\b(?:cost|charge|pay|paid|fee|dollar)")),
        (re.compile(r"\b(?:allowed|welcome)\b"), re.compile(r"\b(?:forbidden|prohibited)\b")),
    ),
    "es": (
        (re.compile(r"\bab(?:r[aei]|iert)"), re.compile(r"\b(?:cerr|cierr)")),
        (re.compile(r"\bgrat"), re.compile(r"\b(?:cuest|cobr|pag|euro|dolar)")),
        (re.compile(r"\bpermitid"), re.compile(r"\bprohibid")),
    ),
}
"""Words that assert the opposite of each other."""
_SPANISH = frozenset("el la los las de del y en un una es por con para que se su hasta si".split())
_ENGLISH = frozenset("the is are we you to of and at from our can with on for it".split())
_SUFFIX = re.compile(r"(?:'s|ings?|ed|ies|es|s)$")


@dataclass(frozen=True, slots=True)
class _Critical:
    """A number, day or the like: a number is one, in words."""

    text: str
    is_number: bool
    relation: Relation
    begins_range: bool = False
    """Whether the next one is joined to it by 'to': then 'from' before it says nothing more."""


@lru_cache(maxsize=256)
def _language(text: str) -> Language:
    words = re.findall(r"[a-z]+", fold(text))
    return "es" if sum(word in _SPANISH for word in words) > sum(word in _ENGLISH for word in words) else "en"


def _tokens(text: str, language: Language) -> list[str]:
    lowered = re.sub(r"n't\b", " n't", fold(text).replace(",", "" if language == "en" else " "))
    lowered = re.sub(r"(\d+):00\b", r"\1", lowered)
    lowered = re.sub(r"(?<=\d) ?- ?(?=\d)", " to " if language == "en" else " hasta ", lowered)
    lowered = re.sub(r"(?<![\w\-])-(?=[$€£]?\d)", "minus " if language == "en" else "menos ", lowered)
    lowered = re.sub(r"\d+", lambda match: f" {_in_words(int(match[0]), language)} ", lowered)
    return re.findall(r"n't|[a-zñ]+", lowered.replace("-", " "))


def _in_words(number: int, language: Language) -> str:
    words = fold(num2words(number, lang=language)).replace("-", " ")
    return words.replace(" and ", " ") if language == "en" else words


def _stem(word: str) -> str:
    stem = _SUFFIX.sub("", word)
    return stem if len(stem) >= 3 else word


def critical_words(text: str, language: Language = "en") -> list[str]:
    """The numbers, days and the like in a text, in order; a number is one entry, in words."""
    return [each.text for each in _criticals(_tokens(text, language), language)]


def stems(text: str, language: Language, *, content: bool = False) -> frozenset[str]:
    """The stems of a text's words; `content`: without function words and negations."""
    skipped = _FUNCTION_WORDS[language] | _NEGATIONS[language] if content else frozenset()
    return frozenset(_stem(word) for word in _tokens(text, language) if word not in skipped)


def negations(text: str, language: Language) -> frozenset[str]:
    """The words of a text that negate."""
    return _NEGATIONS[language] & set(_tokens(text, language))


def _criticals(tokens: Sequence[str], language: Language) -> list[_Critical]:
    goes_on, after = _NUMBER_GOES_ON[language]
    found: list[_Critical] = []
    in_number = False
    end = -1  # The place of the last token that was part of one.
    for place, word in enumerate(tokens):
        is_number = _is_number(tokens, place, language)
        if is_number and in_number:
            last = found.pop()
            found.append(_Critical(f"{last.text} {word}", True, last.relation))
        elif is_number or _is_calendar(word, language):
            relation = _relation(tokens, place, end, language)
            text = word if is_number or word in _CALENDAR["es"] else word.rstrip("s")
            found.append(_Critical(text, is_number, relation))
        if is_number or _is_calendar(word, language):
            end = place
        in_number = is_number or (in_number and word == goes_on and found[-1].text.endswith(after))
    joined = [each.relation == "to" for each in found[1:]]
    return [replace(each, begins_range=to) for each, to in zip(found, [*joined, False][: len(found)], strict=True)]


def _is_number(tokens: Sequence[str], place: int, language: Language) -> bool:
    word = tokens[place]
    if word in _NUMBER_WORDS[language]:
        return True
    if word in _MINUS[language]:
        return place + 1 < len(tokens) and tokens[place + 1] in _NUMBER_WORDS[language]
    # 'Una' is one o'clock only where an hour stands.
    before = tokens[max(0, place - 2) : place]
    return (
        language == "es"
        and word == "una"
        and bool(before)
        and (before[-1] in ("a", "la", "hasta") or (before[-1] in ("y", "o") and before[0] in _NUMBER_WORDS["es"]))
    )


def _is_calendar(word: str, language: Language) -> bool:
    return word in _CALENDAR[language] or word.rstrip("s") in _CALENDAR[language]


def _relation(tokens: Sequence[str], place: int, end: int, language: Language) -> Relation:
    """What stands right before the critical word at `place`; `end`: where the one before it ended."""
    joined = end >= 0 and all(
        token in _PASSED_OVER[language] or token in _RELATIONS[language] or token in _UNITS[language]
        for token in tokens[end + 1 : place]
    )
    for token in reversed(tokens[end + 1 : place]):
        relation = _RELATIONS[language].get(token)
        if relation is not None and (joined or token not in _JOINS_ONLY[language]):
            return relation
        if token not in _PASSED_OVER[language] and token not in _JOINS_ONLY[language]:
            break
    return ""


def is_borne_out(clause: str, fact: str, language: Language | None = None) -> bool:
    """Whether the fact bears the clause out, in the fact's language. Errs on the side of no."""
    language = language or _language(fact)
    said, known = _tokens(clause, language), _tokens(fact, language)
    if clause.strip() in split_clauses(fact):
        return True  # Said word for word, whatever of the fact comes before it.
    if _takes_a_side(clause, fact, language):
        return False
    stems = {_stem(word) for word in known}
    negations = _NEGATIONS[language]
    for word in said:
        if word not in _FUNCTION_WORDS[language] and word not in negations and _stem(word) not in stems:
            return False
    criticals, known_criticals = _criticals(said, language), _criticals(known, language)
    if bool(negations & set(said)) != bool(negations & set(known)):
        return not criticals and not _content(said, language) and not negations & set(said)
    if not _negated(said, language) <= _negated(known, language):
        return False
    return all(
        any(
            each.text == other.text
            and (place == 0 or (at > 0 and criticals[place - 1].text == known_criticals[at - 1].text))
            and _says_no_more(each, other)
            for at, other in enumerate(known_criticals)
        )
        for place, each in enumerate(criticals)
    )


def _takes_a_side(clause: str, fact: str, language: Language) -> bool:
    """Whether it says one of two opposites of which the fact says both, each of something else: "open now" is made of
    "closed now" and "open again on Tuesday"."""
    said, known = fold(clause), fold(fact)
    return any(
        one.search(known) and other.search(known) and (one.search(said) or other.search(said))
        for one, other in _OPPOSITES[language]
    )


def _negated(tokens: Sequence[str], language: Language) -> set[str]:
    """The content words that negations stand before."""
    found = set()
    for place, word in enumerate(tokens):
        if word in _NEGATIONS[language]:
            after = (_stem(token) for token in tokens[place + 1 :] if token not in _FUNCTION_WORDS[language])
            found.add(next(after, ""))
    return found


def _says_no_more(said: _Critical, known: _Critical) -> bool:
    """Whether it is bounded and joined as the fact has it, or leaves out what matters to nobody."""
    if said.relation == known.relation:
        return True
    if said.relation == "least" or known.relation == "least":
        # 'From eight to five' is also 'eight to five', and opening 'from eight'.
        return known.begins_range and {said.relation, known.relation} <= {"", "and", "least"}
    if {said.relation, known.relation} <= {"", "and"}:
        return True
    return said.relation == "" and known.relation == "to" and not known.is_number


def _content(tokens: Sequence[str], language: Language) -> list[str]:
    return [word for word in tokens if word not in _FUNCTION_WORDS[language]]


def answers(reply: str, fact: str, language: Language | None = None) -> bool:
    """Whether a whole reply, borne out clause by clause, says what matters in the fact.

    True if it has all the fact's numbers and days, or, where the fact has none, half of its content words.
    """
    language = language or _language(fact)
    needed = critical_words(fact, language)
    if needed:
        return set(needed) <= set(critical_words(reply, language))
    known = {_stem(word) for word in _content(_tokens(fact, language), language)}
    said = {_stem(word) for word in _content(_tokens(reply, language), language)}
    return len(known & said) * 2 >= len(known)
