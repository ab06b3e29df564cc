"""Whether a sentence of a free conversation may be said. What a model makes up is not.

Four kinds of sentences hold: courtesies; what a fact, a text of the node or a tool's result says, with no other content
words, numbers or days; an echo of what the caller has told; and questions, which claim little: made of the words of the
conversation's matter, with no number or day that nobody gave. Errs on the side of no, by words: no model judges here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.clauses import split_clauses
from pipeline.grounding import critical_words, is_borne_out, negations, stems
from pipeline.slots.types import Language
from pipeline.slots.wording import fold, phrase

_COURTESIES: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"okay|ok|all ?right|great|perfect|good|fine|got it|noted|i see|i understand|understood|no worries|hello|hi"
        r"|thanks|thank you(?: (?:so|very) much)?|you're welcome|please|well|so|and|now|oh"
        r"|(?:i'm |i am )?(?:so |very |really )?sorry(?: (?:to hear|about) (?:that|this)| for the (?:trouble|wait))?"
        r"|(?:one|just a) (?:moment|second)|let me (?:check|look|see)(?: (?:that|it|this|into (?:that|it)))?(?: up)?"
        r"|i'll (?:check|look)(?: (?:that|it|this))?(?: up)?(?: for you)?|(?:i'm )?(?:happy|glad) to help"
        r"|take your time|i(?:'m| am) not sure|i don't know"
    ),
    "es": phrase(
        r"vale|de acuerdo|muy bien|bien|perfecto|estupendo|genial|bueno|entendido|entiendo|anotado|hola|gracias"
        r"|muchas gracias|de nada|por favor|y|pues|entonces|ahora|ah"
        r"|lo siento(?: mucho)?|disculpe(?: las molestias)?|lamento (?:eso|oirlo|las molestias)"
        r"|(?:un|deme un) (?:momento|segundo)|(?:dejeme|voy a) (?:ver|mirar|mirarlo|comprobar|comprobarlo)"
        r"|no se preocupe|encantad[oa] de ayudarle|no lo se|lo miro|lo compruebo"
    ),
}
"""What asserts nothing about the business. No yes is among them: it would grant whatever the caller has asked for."""
_ASSENT: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"^(?:(?:yes|yeah|sure|of course|certainly|absolutely|no problem|definitely)\b[\s,.!]*)+"),
    "es": re.compile(r"^(?:(?:si|claro(?: que si)?|por supuesto|desde luego|sin problema)\b[\s,.!]*)+"),
}
_CLOSING: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"(?<!\w)(?:please|thanks|thank you|for you|got it|noted)$"),
    "es": re.compile(r"(?<!\w)(?:por favor|gracias|anotado)$"),
}
"""The only ones that may end a sentence: "your parcel is fine" is no courtesy."""
_GAPS = " .!,;:-"
_ECHO: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        "so that s it its is was the a an and for on at in of to with your you said told me right correct".split()
    ),
    "es": frozenset(
        """asi que eso es era el la los las un una y para por en a de del con su usted ha dicho me dice verdad
        correcto""".split()
    ),
}
"""The only words beside a value in an echo of it: none of them promises anything."""
_CLAIMS: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """find call come visit offer cost costs price priced located available currently get give help will ll would
        can could happy glad usually typically anytime""".split()
    ),
    "es": frozenset(
        """puede pueden cuesta precio estaremos ofrecemos disponible encuentra encontrarnos llame venga visite hay
        tenemos""".split()
    ),
}
"""Words that phrase an answer from a fact and bind nobody there; in a free conversation they may promise something."""
_QUESTION: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"(?:(?:on|at|in|for|by|to|with|from) )?(?:what|which|how|when|where|who|whose|why|can|could|do|does|did|will"
        r"|would|should|shall|may|might|is|are|am|was|were|have|has|anything|any)\b.*\?$"
    ),
    "es": re.compile(r"¿|.*\?$"),
}
"""What ends in a question mark alone may be a claim ("it's booked, right?")."""
_REQUEST: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"(?:tell|give|say|repeat|spell|(?:can|could|would) you|i(?:'ll| will)? (?:just |also )?need"
        r"|i'd like to know)\b"
    ),
    "es": re.compile(r"(?:digame|deme|diga|repita|deletree|(?:me )?(?:puede|podria)|me (?:dice|da)|necesito)\b"),
}
_ASKING: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """tell say know want like help need suit suits work works spell repeat correct else anything other another
        again check change moment name day time date number exactly happen happened give look works best prefer
        something mean confirm hear sure okay wrong yes no not n't""".split()
    ),
    "es": frozenset(
        """diga digame dice deme da saber quiere desea necesita ayudar ayudarle servir servirle viene bien mejor
        deletrear repetir repita correcto algo mas otra otro cosa nombre dia hora fecha numero exactamente pasado
        paso ocurrido prefiere confirmar confirma seguro no si ser seria""".split()
    ),
}
"""Words to ask with, whatever is asked about."""
_REFUSING: Mapping[Language, frozenset[str]] = {
    "en": frozenset("ca could find reach sorry unfortunately afraid able was unable do did".split()),
    "es": frozenset("pude puedo podido encontrar encuentro lamentablemente siento posible ha sido he".split()),
}
"""Words to say with that a system said no."""
_SAYING: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """a an the any to of or and for in on about with promise name say tell give offer mention talk quote state
        speak discuss make ask guess""".split()
    ),
    "es": frozenset(
        """un una el la los las ningun ninguna a de del o y para en sobre con prometer decir dar ofrecer mencionar
        hablar citar hacer pedir adivinar""".split()
    ),
}
"""Words of `never` that name the saying and not what is said."""


@dataclass(frozen=True, slots=True)
class Given:
    """What may be spoken of in a free conversation. Each text bears a sentence out by itself."""

    true: tuple[str, ...]
    """Sentences of the agent file, and what tools found and did."""
    refused: tuple[str, ...]
    """What tools were asked for and could not do."""
    told: tuple[str, ...]
    """What is known from the caller, each value with its label."""
    matter: str
    """All words that questions may be made of."""
    never: tuple[str, ...] = ()


def sentences(text: str) -> list[str]:
    """A generated text as what is judged and said by itself: a claim's parts stand and fall together."""
    whole: list[str] = []
    going_on = False
    for clause in split_clauses(text):
        if going_on:
            whole[-1] = f"{whole[-1]} {clause}"
        else:
            whole.append(clause)
        going_on = clause.endswith((",", ";", ":"))
    return whole


def without_assent(sentence: str, language: Language) -> str:
    """The sentence without a yes before it, which would grant what the caller has just asked for."""
    match = _ASSENT[language].match(fold(sentence))
    rest = sentence[match.end() :] if match else sentence
    return re.sub(r"^[¿¡]*\w", lambda first: first[0].upper(), rest)


def may_be_said(sentence: str, given: Given, language: Language) -> bool:
    """Whether the sentence is one of the four kinds."""
    if re.search(r"[{}<>\[\]|*#_]", sentence) or _is_never_said(sentence, given, language):
        return False
    core = _without_courtesies(sentence, language)
    if not core:
        return True
    return (
        any(_says_only(core, text, language) for text in given.true)
        or any(_says_no_to(core, text, language) for text in given.refused)
        or _echoes(core, given.told, language)
        or (_requests(core, language) and _asks_of(core, given, language))
    )


def _without_courtesies(sentence: str, language: Language) -> str:
    """What is left between the courtesies at its beginning and its end."""
    left = fold(sentence).strip(" .!,;:")
    start = 0
    for match in _COURTESIES[language].finditer(left):
        if left[start : match.start()].strip(_GAPS):
            break
        start = match.end()
    left = left[start:].strip(_GAPS)
    while (closing := _CLOSING[language].search(left)) is not None:
        left = left[: closing.start()].strip(_GAPS)
    return left


def _says_only(core: str, text: str, language: Language) -> bool:
    known = stems(text, language)
    claims = stems(" ".join(_tokens(core, _CLAIMS[language])), language)
    has_content = bool(stems(core, language, content=True)) or bool(critical_words(core, language))
    return has_content and claims <= known and is_borne_out(core, text, language)


def _says_no_to(core: str, text: str, language: Language) -> bool:
    """It says no before it says to what, and to nothing else."""
    if not negations(core, language):
        return False
    content = _content(core, language, besides=_REFUSING[language])
    if not content <= stems(text, language) or not _numbers(core, language) <= _numbers(text, language):
        return False
    words = fold(core).replace("n't", " not").split()
    first_no = next((place for place, word in enumerate(words) if negations(word, language)), len(words))
    return not _content(" ".join(words[:first_no]), language, besides=_REFUSING[language])


def _echoes(core: str, told: tuple[str, ...], language: Language) -> bool:
    text = " ".join(told)
    rest = _content(core, language, besides=_ECHO[language], functions=False)
    return bool(told) and rest <= stems(text, language) and _numbers(core, language) <= _all_numbers(told, language)


def _requests(core: str, language: Language) -> bool:
    return any(pattern.match(core) for pattern in (_QUESTION[language], _REQUEST[language]))


def _asks_of(core: str, given: Given, language: Language) -> bool:
    texts = (given.matter, *given.told, *given.true)
    words = stems(" ".join((given.matter, *given.told)), language)
    asked = _content(core, language, besides=_ASKING[language])
    return asked <= words and _numbers(core, language) <= _all_numbers(texts, language)


def _is_never_said(sentence: str, given: Given, language: Language) -> bool:
    said = stems(sentence, language)
    for entry in given.never:
        named = stems(" ".join(word for word in fold(entry).split() if word not in _SAYING[language]), language)
        if named and named <= said:
            return True
    return False


def _content(text: str, language: Language, *, besides: frozenset[str], functions: bool = True) -> frozenset[str]:
    """The stems that something must bear out; `functions`: function words need nobody to."""
    return stems(text, language, content=functions) - stems(" ".join(besides), language) - besides


def _tokens(text: str, among: Iterable[str]) -> list[str]:
    return [word for word in re.findall(r"[a-zñ]+", text) if word in among]


def _numbers(text: str, language: Language) -> set[str]:
    return set(critical_words(text, language))


def _all_numbers(texts: Iterable[str], language: Language) -> set[str]:
    return {number for text in texts for number in _numbers(text, language)}
