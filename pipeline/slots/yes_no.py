"""Yes and no."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pipeline.slots.date_words import weekday_words
from pipeline.slots.numbers import number_words, tokens
from pipeline.slots.types import DOUBTFUL, LIKELY, SURE, Found, Language, ReadingContext
from pipeline.slots.waiting import without_waiting
from pipeline.slots.wording import Heard, hear, phrase

_YES: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"yes|yeah|yep|yup|yah|aye|ya|uh huh|mm hm+|indeed|affirmative|of course|go ahead|you bet|agreed|you got it"
        r"|that'll work|i (?:guess|think) so|no problem|why not|let's do it|please do|sounds good|not wrong"
        r"|(?:that's|that is|thats) (?:right|correct)(?=[,.;!]|$)|^(?:correct|exactly|absolutely|definitely)(?=[,.;!])"
        r"|by all means|i suppose(?: so)?"
    ),
    "es": phrase(
        r"claro|(?:eso|asi) es(?=\W*$|[,.;!])|de acuerdo|por supuesto|como no|afirmativo|desde luego|adelante"
        r"|me parece bien|por que no|no hay problema|sin problema|efectivamente|dale|asi mero"
    ),
}
"""Yes, whatever is added to it."""
_YES_ALONE: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"correct|right|sure|totally|exactly|perfect|fine|great|absolutely|definitely|certainly|okay|ok|alright"
        r"|(?:that is|it is|i do|i am|i would|i have)(?=\W*$|[,.;!])|that's it|(?:all|looks|that's|very) good|good"
        r"|that works|works(?: for me)?|do it"
    ),
    "es": phrase(
        r"correcto|exacto|exactamente|vale|perfecto|esta bien|ok|okey|okay|bueno|muy bien|bien|cierto|justo|aja|listo"
    ),
}
"""Yes only where nothing else is said with it: 'fine' and 'my daughter is fine', 'okay' and 'okay, what was that?'."""
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
        r"|are you sure|right now|right away|depends|(?:can't|cannot|couldn't|didn't|don't|not) (?:hear|catch|get that)"
        r"|(?:i'm (?:good|fine|okay|all set)|^(?:hi |hello )?good (?:morning|afternoon|evening))(?=\W*$)"
    ),
    "es": phrase(
        r"no (?:lo )?se(?! preocupe)|no estoy segur[oa]|no entiendo|quiza|quizas|tal vez|depende|ni idea|bueno pues"
        r"|si no (?:es|le|hay)|no (?:le |la |te |se )?(?:oigo|oi|oye|escucho)"
    ),
}
_OBJECTS: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"but(?! (?:yes|yeah|sure|okay|ok|fine|(?:it's|that's|that is) (?:fine|okay|ok|alright))\W*$)|except|although"
        r"|however|unless|only (?:if|not|it's)|as long as|apart from|instead"
        r"|if(?! (?:(?:that's|that is|it's|it is) (?:okay|ok|alright|fine|possible|not|no)|possible|you|i may|so|not))"
        r"|i(?:'d| would|'ll| will)? (?:really |just |rather |still )?(?:need|want|like|prefer|have)"
        r" (?:an?other|a different|something|an? (?:later|earlier)|later|earlier"
        r"|to (?:change|check|ask|think|talk|move|look|know|correct))"
        r"|i (?:really )?(?:wanted|needed|meant|said|asked|thought|prefer|preferred)|i'd (?:rather|prefer)|rather have"
        r"|(?:it|that) should (?:be|have been)|not anymore|correct\s(?:my|the|that|it|this)"
    ),
    "es": phrase(
        r"pero(?! (?:si|vale|bueno|esta bien)\W*$)|aunque|excepto|salvo|solo que|siempre que|a menos que|en vez de"
        r"|en lugar de|(?:necesito|quiero|quisiera|prefiero|queria|mejor|mejor el|mejor la) (?:otr[oa]|cambiar|pensar"
        r"|preguntar|consultar|hablar|corregir|mirar)|(?:yo )?(?:queria|quise|pedi|dije|preferia|prefiero|pensaba"
        r"|necesitaba)|(?:era|seria|debia ser|tenia que ser) (?:el|la|las|para)|mejor (?:el|la|las)"
    ),
}
"""Beside a yes: it is none, something is to be otherwise."""
_NOT_TO_THIS: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"let me (?:ask|check|look|talk|call|get)|(?:to|i'll|must|should) (?:ask|check with|talk to) (?:my|the)"
        r"|(?:can |could )?(?:hear|hearing) (?:you|me)|still here|i'm (?:here|listening)|you there"
        r"|what (?:was|did|is|were) (?:that|you|it|those)|say (?:that|it) again|repeat|come again|question"
        r"|thinking about it"
    ),
    "es": phrase(
        r"(?:tengo que|voy a|dejeme|dejame|deje que) (?:preguntar|consultar|pensar|hablar|mirar)\w*"
        r"|(?:le|la|te|lo|se|me) (?:oigo|oye|escucho|escucha|oyes|escuchas)|sigo aqui|estoy aqui|pregunta"
        r"|que (?:ha dicho|dijo|has dicho|era eso|fue eso)|como (?:ha dicho|dijo|dice)|repit\w+|repetir\w*"
    ),
}
"""Beside a yes: it is one to something else, or none yet."""
_ALL_SET: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\W*(?:oh |um |uh )?(?:no|nope|nah)\b(?:,? (?:thanks|thank you))?,? (?:i'm|i am|we're)"
        r" (?:good|fine|okay|ok|all set)"
        r"(?:,? (?:thanks|thank you))?\W*"
    ),
    "es": re.compile(r"\W*no\b(?:,? gracias)?,? (?:asi )?(?:estoy|estamos|voy) bien(?: asi)?(?:,? gracias)?\W*"),
}
"""A no that sounds like a yes: nothing is needed."""
_READ_WITH_YES: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """that that's this it it's its is are am was be been will would i'd i'll you'd he she we they we'd i i'm im me
        my we us our the a an to for with by of on at in as and so just all very really quite pretty totally too also
        thing everything one sounds sound looks seems do does let's let go think guess suppose thank thanks you your
        much please sir ma'am madam oh ah um uh well then now again there day time date name number address appointment
        o'clock oclock am pm a.m p.m morning afternoon evening noon today tomorrow next book books booked booking it'll
        reserve confirm schedule send put down that'll works work lovely wonderful great see soon help case news like
        love okay ok have got correct right sure both either way already been lot appreciated""".split()
    ),
    "es": frozenset(
        """es esta estan ese esa eso esto este asi todo toda muy me nos te le lo la las los el un una parece va viene
        con a al de del en para por mi su y o pues que si ya gracias muchas favor senor senora senorita entonces ahi
        aqui vemos hora dia fecha nombre numero direccion cita telefono son soy quedamos hasta luego tarde manana noche
        mediodia hoy proximo proxima reserve reserva reservelo confirmo confirme apunte ponga mande envie genial
        estupendo oh ah eh tambien quiero acepto siga""".split()
    ),
}
"""Words that may stand beside such a yes."""
_TAKES_BACK: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\W*(?:yeah[\s,]+(?=no\b\W*$)|(?:no[\s,]+)+(?=(?:yeah|yes)\b))"
        r"|.*\b(?:yes|yeah|no|nope)\b.*?\b(?:sorry|wait|actually|i mean)\b[\s,.]+(?=(?:yes|yeah|no|nope)\b)"
    ),
    "es": re.compile(r".*\b(?:si|no)\b.*?\b(?:perdon|perdone|espere|espera|digo)\b[\s,.]+(?=(?:si|no)\b)"),
}
"""A yes or no before, and one at once after it: the last counts, also in "yeah, no" and "no, yeah"."""
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
    "en": phrase(r"(?:no|not a) problem|why not|not wrong|(?:don't|do not) worry|no worries|can't complain"),
    "es": phrase(r"no hay problema|como no|por que no|no (?:se preocupe|te preocupes)|no cambia nada"),
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

    None for a yes with a condition ("yes, but ..."), for one that may be about what else was said ("my daughter is
    fine"), for a mere request to wait, and for both in one breath, unless one takes the other back.
    """
    if not context.asked:
        return None
    if _ALL_SET[heard.language].fullmatch(heard.flat):
        return Found("no", 0, len(heard.flat), SURE)
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
    language = heard.language
    idioms = [match.span() for match in _NO_WITH_YES[language].finditer(heard.flat)]
    denials = [match.span() for match in _NOT_RIGHT[language].finditer(heard.flat) if not _begins_in(match, idioms)]
    noes = [_answer("no", match) for match in _NO[language].finditer(heard.flat) if not _inside(match, idioms)]
    yeses = [
        *(_answer("yes", match) for match in _YES[language].finditer(heard.flat) if not _inside(match, denials)),
        *_yeses_es(heard, denials),
    ]
    more = [_answer("yes", each) for each in _YES_ALONE[language].finditer(heard.flat) if not _inside(each, denials)]
    if yeses or _all_read([*more, *noes], idioms, heard, begin):
        yeses += more
    found = sorted((one for one in (*yeses, *noes) if one.start >= begin), key=lambda one: one.start)
    if not found or len({one.value for one in found}) > 1:
        return None
    first = found[0]
    if first.value == "yes" and any(each[language].search(heard.flat, begin) for each in (_OBJECTS, _NOT_TO_THIS)):
        return None
    if without_waiting(heard).flat[first.start :] != heard.flat[first.start :]:
        return None
    return Found(first.value, first.start, found[-1].end, DOUBTFUL if heard.flat.endswith("?") else SURE)


def agrees_but_objects(text: str, language: Language) -> bool:
    """Whether it is a yes that something speaks against ("sounds good, but I need a later one")."""
    heard = hear(text, language)
    agrees = any(each[language].search(heard.flat) for each in (_YES, _YES_ALONE)) or bool(_yeses_es(heard, []))
    return agrees and bool(_OBJECTS[language].search(heard.flat)) and not _NOT_TO_THIS[language].search(heard.flat)


def _all_read(found: Sequence[Found[str]], idioms: Sequence[tuple[int, int]], heard: Heard, begin: int) -> bool:
    """Whether nothing is said besides that would have to be understood."""
    known = _READ_WITH_YES[heard.language] | number_words(heard.language) | frozenset(weekday_words(heard.language))
    words = (word for word in tokens(heard.flat) if word.start >= begin and word.text[0].isalpha())
    spans = [*idioms, *((one.start, one.end) for one in found)]
    return all(
        word.text in known or any(start <= word.start and word.end <= end for start, end in spans) for word in words
    )


def _answer(value: Literal["yes", "no"], match: re.Match[str]) -> Found[str]:
    return Found(value, match.start(), match.end())


def _begins_in(match: re.Match[str], spans: list[tuple[int, int]]) -> bool:
    return any(start <= match.start() < end for start, end in spans)


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
