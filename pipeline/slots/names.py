"""Names of people: said, spelled out, or both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from pipeline.slots.bearers import Bearer, LeadIns, lead_ins, spoken_of
from pipeline.slots.date_words import MONTHS, WEEKDAYS, month_words
from pipeline.slots.name_heads import head_name
from pipeline.slots.numbers import number_words
from pipeline.slots.types import LIKELY, SURE, UNSURE, Found, Language, ReadingContext
from pipeline.slots.wording import CLOSING, COURTESY, Heard, fold, phrase

_MOST_WORDS: Mapping[Language, int] = {"en": 4, "es": 6}
_ALIKE = 0.5
"""Likeness from which a spelled word is another one spelled out."""

_JOINT: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"that's|that is|it's|its|i spell it|spelled|spelt|spelling|spell that|(?:new|next|second) word"
        r"|(?:and )?(?:my |the )?(?:(?P<first>first name)|last name|family name|surname)(?: is)?"
    ),
    "es": phrase(r"se deletrea|se escribe|con|(?:y )?(?:mi )?(?:(?P<first>nombre)|apellidos?)(?: es)?"),
}
"""Between the parts of a name, or a name and its spelling."""
_VOCATIVE: Mapping[Language, str] = {
    "en": r"dear|honey|hon|love|sweetie|sweetheart|darling|sir|madam|ma'am|miss|mate|buddy|pal|my (?:dear|love|friend)",
    "es": r"carino|corazon|cielo|guap[oa]|maj[oa]|hij[oa]|joven|mi (?:amor|vida|cielo)|senor(?:it)?a?|caballero",
}
"""By which callers call whom they speak to."""
_SAID_BEFORE: Mapping[Language, str] = {
    "en": (
        r"(?:(?:like|as) )?i(?:'ve)? (?:just |already )?(?:said|told you|mentioned)(?: so)?"
        r"(?: already| before| earlier)?"
    ),
    "es": r"(?:como )?(?:ya )?(?:se )?(?:lo |le )?(?:he dicho|dije|decia|habia dicho)(?: ya| antes)?",
}
_AFTER: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        rf"[\s,.;:!\-]*(?:(?:{CLOSING['en']}|{_VOCATIVE['en']}|{_SAID_BEFORE['en']}"
        r"|(?:is |'s )?(?:the|my|his|her|its|their) name|speaking|here|so much|a lot|with an? \w(?: and an? \w)?)(?!\w)"
        r"[\s,.;:!\-]*)*"
    ),
    "es": re.compile(
        rf"[\s,.;:!\-]*(?:(?:{CLOSING['es']}|{_VOCATIVE['es']}|{_SAID_BEFORE['es']}|al habla|para servirle)(?!\w)"
        r"[\s,.;:!\-]*)*"
    ),
}
_ADDRESSES: Mapping[Language, re.Pattern[str]] = {
    language: re.compile(rf"(?:{words})(?!\w)") for language, words in _VOCATIVE.items()
}
_SPEAKS_ON: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\s*[,;] (?:(?:he|she|they)(?:'s|'re| is| are)\b|and (?:i'm|i am|my name|this is)\b)"),
    "es": re.compile(r"\s*[,;] (?:es una? |tiene |y (?:yo )?(?:soy|me llamo)\b)"),
}
"""Behind a name that answers: more of whose it is, or another one's."""
_TITLES: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:mr|mrs|ms|miss|mister|missus|dr|doctor)\.?"),
    "es": phrase(r"(?:sr|sra|srta|don|dona|senor|senora|senorita|dr|dra|doctor|doctora)\.?"),
}
_ANOTHERS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:with |see |for |the |this is )?(?:dr\.?|doctor|doctors|nurse|professor)\s$"),
    "es": re.compile(r"\b(?:dr\.?|dra\.?|doctor|doctora)\s$"),
}
_NO_NAME: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """a an the what when where how why who is are am was do does did can could would i you it its it's that this
        these those yes yeah no not okay ok to of in on book booking appointment cleaning please thanks thank sorry
        hello hi hey time help name number phone for my your his her me we us they and or but so if with at by about
        from just calling call want need like have has get make made see going looking interested there here good fine
        great well sure right correct wrong i'd i'll i've i'm that's what's don't can't speaking spell spelled spelt
        spelling as um uh er tomorrow today morning afternoon evening tonight noon week next last first second one
        available urgent ready back late early actually wait mean definitely true false terrible difficult
        complicated nope yep he she look listen honestly
        dentist doctor everyone all him them bye goodbye nothing nobody none""".split()
    ),
    "es": frozenset(
        """un una unos unas que cuando donde como quien es son soy estoy esta este eso esa puedo puede quiero queria
        quisiera necesito tengo si no para con sin por favor gracias hola buenos buenas dias tardes noches cita hora
        ayuda nombre numero telefono mi su tu me se le lo en al pero porque llamo llama habla hablo bien claro vale
        perdon perdone hoy manana tarde noche semana proximo proxima primera segundo segunda a o u va voy ver favor
        correcto listo lista apellido urgente interesado interesada deletreo deletrea verdad cierto complicado dificil
        todo todos digo espere eh em pues bueno adios nada nadie ninguno ninguna""".split()
    ),
}
_PARTICLES: Mapping[Language, frozenset[str]] = {
    "en": frozenset({"van", "von", "de", "da", "di", "la", "der", "den", "bin", "al", "el", "mac", "st", "du"}),
    "es": frozenset({"de", "la", "las", "los", "del", "y", "e", "san", "da", "von", "van"}),
}
_MAYBE_NAMES = frozenset(
    {
        "will",
        "may",
        "mark",
        "hope",
        "grant",
        "june",
        "april",
        "august",
        "day",
        "bill",
        "art",
        "domingo",
        "julio",
        "abril",
    }
)
"""Names that are common words too: taken only with a capital and among nothing but capitals."""
_BEGIN_NAMES = frozenset({"an", "do", "he", "my", "so", "to"})
"""The same, and further names must follow: "Do Thi Hoa"."""
_TAKES_BACK: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"(?:^no[,.]|(?!^)\bno\b|\b(?:nope|sorry|i mean|actually|wait|rather|correction)\b)[\s,.]+(?=\w)"),
    "es": re.compile(
        r"(?:^no[,.]|(?!^)\bno\b|\b(?:perdon|perdone|digo|quiero decir|mejor dicho|espere|espera|corrijo)\b)"
        r"[\s,.]+(?=\w)"
    ),
}
_SAID_ANEW: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"[\s,.\-]*(?:(?:no|nope|sorry|i'm sorry|i mean|actually|wait|rather|correction)\b[\s,.\-]*)+(?:it's )?"
    ),
    "es": re.compile(
        r"[\s,.\-]*(?:(?:no|perdon|perdone|digo|quiero decir|mejor dicho|espere|espera|corrijo)\b[\s,.\-]*)+(?:es )?"
    ),
}
"""Between a name and the one that takes its place ("Peter, no, Pedro Alvarez")."""
_CONTRACTION = re.compile(r"(?<=\w)'(?:s|ll|d|ve|re|m)$")
"""At the end of an English word, and no part of it: "Rex's", "Rex'll"."""
_CONTRACTED = frozenset({"he", "she", "who", "those", "these", "let", "everybody", "somebody", "someone", "o"})
"""Contracted, they are no names, whatever else is not one either."""
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['\-](?=[^\W\d_]))*")
_AS_IN = r"(?:\s?[,\-]?\s?(?:as in|like|for|as|de|como|de como)\s(?P<example>[^\W\d_]+(?:-[^\W\d_]{2,})?))"
_LETTER = rf"(?:(?P<double>double|doble)\s)?(?P<letter>[^\W\d_])(?!['\w]){_AS_IN}?"
_SPELLED_LETTER = re.compile(rf"(?<![\w']){_LETTER}")
_BETWEEN_LETTERS = re.compile(r"^[\s,.\-]*(?:and|then|y|luego)?[\s,.\-]*$")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    spelled: bool = False


def read_name(heard: Heard, context: ReadingContext, bearer: Bearer) -> Found[str] | None:
    """A name of up to four words (six in Spanish). Spelled letters correct the word that they resemble.

    Unasked, only capitalised words after "my name is", "this is", "for", "my dog" and the like, as suits the bearer; or
    those with which an utterance begins.
    """
    spelled = spelled_words(heard)
    leads = lead_ins(heard.language, bearer)
    if not context.asked:
        own, last = _led_up_to(heard, spelled, leads.unasked, bearer)
        begun = _before(heard, leads.behind) or (_at_head(heard) if context.opening and bearer != "pet" else None)
        # Whoever has said who he is may name somebody else too.
        return own or begun or last if bearer == "caller" else last or begun
    start = _after_correction(heard)
    for sentence in _sentences(heard, start, spelled):
        found = _asked(heard, sentence, spelled, leads, bearer)
        if found is not None:
            return found
    return _led_up_to(heard, spelled, leads.plain, bearer)[1] or _before(heard, leads.behind)


def _sentences(heard: Heard, start: int, spelled: Sequence[_Word]) -> list[tuple[int, int]]:
    """The utterance from its start, then each sentence. A stop inside spelled letters or after a title ends none."""
    blanked = list(heard.flat)
    for word in spelled:
        blanked[word.start : word.end] = "x" * (word.end - word.start)
    text = "".join(blanked)
    text = _TITLES[heard.language].sub(lambda match: match[0].replace(".", "x"), text)
    text = re.sub(r"(?<=\b\w)\.(?=\s)", "x", text)
    ends = [match.end() for match in re.finditer(r"[.?!]+(?=\s|$)", text) if match.end() > start]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    starts = [start, *ends[:-1]]
    # A word and its spelling may be two sentences: "Smith. S-M-I-T-H."
    whole = [(start, len(text))] if spelled else []
    return whole + list(zip(starts, ends, strict=True))


def _after_correction(heard: Heard) -> int:
    found = list(_TAKES_BACK[heard.language].finditer(heard.flat))
    return found[-1].end() if found else 0


def _asked(
    heard: Heard, sentence: tuple[int, int], spelled: Sequence[_Word], leads: LeadIns, bearer: Bearer
) -> Found[str] | None:
    start, end = sentence
    start = _past_courtesy(heard, start, end)
    led, by = _led(heard, start, end, leads, bearer)
    begin = led if led is not None else start
    words, rest = _name_words(heard, begin, end, spelled, capitals="weak" in by)
    if not words or ("introduces" in by and _is_possessive(words, heard)):
        return None
    closed = _AFTER[heard.language].fullmatch(heard.flat, rest, end)
    if not closed and led is None and not any(word.spelled for word in words) and not _stands_alone(words, heard, rest):
        return None
    if heard.flat[start:end].rstrip().endswith("?") and led is None:
        return None
    plain = [word for word in words if not word.spelled and not _is_particle(word, heard)]
    capital = all(word.text[0].isupper() for word in plain)
    sure = led is not None or any(word.spelled for word in words)
    return _named(words, heard, SURE if sure and capital else LIKELY if capital or sure else UNSURE)


def _stands_alone(words: Sequence[_Word], heard: Heard, rest: int) -> bool:
    """Whether it is plainly a name, and what follows something else: "Jane Doe, and I'd like to move a visit"."""
    capitals = all(word.text[0].isupper() for word in words)
    if _SPEAKS_ON[heard.language].match(heard.flat, words[-1].end):
        return capitals
    return len(words) > 1 and capitals and re.match(r"\s*[,.;]", heard.flat[words[-1].end : rest + 1]) is not None


def _led_up_to(
    heard: Heard, spelled: Sequence[_Word], lead_in: re.Pattern[str], bearer: Bearer
) -> tuple[Found[str] | None, Found[str] | None]:
    """The last name that the caller tells as his own, and the last one of all."""
    own: Found[str] | None = None
    last: Found[str] | None = None
    for match in lead_in.finditer(heard.flat):
        start = re.compile(r"[\s,:]*").match(heard.flat, match.end())
        begin = start.end() if start else match.end()
        words, rest = _name_words(heard, begin, len(heard.flat), spelled, capitals=True)
        takes_back = _SAID_ANEW[heard.language].match(heard.flat, rest)
        if words and takes_back is not None:
            anew = _name_words(heard, takes_back.end(), len(heard.flat), spelled, capitals=True)
            words, rest = anew if anew[0] else (words, rest)
        # "This is Bright Dental, right?" is no introduction.
        if not words or re.match(r"[\s,]*(?:right|correct|verdad|no)?\?", heard.flat[rest:]):
            continue
        by = _marks(match)
        if "theirs" in by and not _may_be_theirs(heard, match.start(), bearer):
            continue
        if "introduces" in by and _is_possessive(words, heard):
            continue
        last = _named(words, heard, LIKELY)
        own = last if "own" in by else own
    return own, last


def _marks(match: re.Match[str]) -> frozenset[str]:
    """What is marked of a lead-in; see `LeadIns`."""
    return frozenset(name for name, words in match.groupdict().items() if words is not None)


def _is_possessive(words: Sequence[_Word], heard: Heard) -> bool:
    """Whether it names somebody to tell of another: "I'm Ann's mother"."""
    return re.match(r"'s \w", heard.flat[words[-1].end :]) is not None


def _may_be_theirs(heard: Heard, place: int, bearer: Bearer) -> bool:
    """Whether who says "his name" there may speak of the bearer."""
    named = spoken_of(heard, place)
    return named is None or (named == "pet") == (bearer == "pet")


def _before(heard: Heard, behind: re.Pattern[str]) -> Found[str] | None:
    """A name that is told by what stands behind it ("Vogt is my name")."""
    for match in behind.finditer(heard.flat):
        begins = [word.start() for word in re.finditer(r"(?<!\S)\S", heard.flat[: match.start()])]
        for begin in begins[-_MOST_WORDS[heard.language] :]:
            words, _ = _name_words(heard, begin, match.start(), (), capitals=True)
            if words and words[-1].end == match.start():
                return _named(words, heard, LIKELY)
    return None


def _at_head(heard: Heard) -> Found[str] | None:
    """A name with which the utterance begins."""
    head = head_name(heard)
    if head is None:
        return None
    words, rest = _name_words(heard, *head, (), capitals=True)
    return _named(words, heard, LIKELY) if words and rest == head[1] else None


def _past_courtesy(heard: Heard, start: int, end: int) -> int:
    courtesy = re.compile(rf"[\s,.;:!?¿¡\-]*(?:{COURTESY[heard.language].replace(' ', '[ ]')}(?!['\w])[\s,.;:!\-]+)*")
    match = courtesy.match(heard.flat, start, end)
    return match.end() if match else start


def _led(heard: Heard, start: int, end: int, leads: LeadIns, bearer: Bearer) -> tuple[int | None, frozenset[str]]:
    """Where the name begins after its lead-ins ("it's, um, my name is"), None without any; and what marks the last."""
    place: int | None = None
    by: frozenset[str] = frozenset()
    while (match := leads.asked.match(heard.flat, start, end)) is not None and match.end() > start:
        if "theirs" in _marks(match) and not _may_be_theirs(heard, match.start(), bearer):
            break
        by = _marks(match)
        gap = re.compile(r"[\s,:]*").match(heard.flat, match.end())
        start = place = _past_courtesy(heard, gap.end() if gap else match.end(), end)
    return place, by


def _name_words(
    heard: Heard, start: int, end: int, spelled: Sequence[_Word], *, capitals: bool
) -> tuple[list[_Word], int]:
    """The words of a name from a position on, and where what follows begins."""
    words: list[_Word] = []
    surnames = 0  # How many words were said before "first name".
    place = start
    while place < end:
        title = _TITLES[heard.language].match(heard.flat, place, end)
        if title is not None and not words:
            place = title.end()
            continue
        gap = re.compile(r"[\s,.;:\-]+").match(heard.flat, place, end)
        if gap is not None:
            if any(mark in gap[0] for mark in ".;") and not _spelled_at(spelled, gap.end()) and not _open(words):
                break
            if "," in gap[0] and words and _ends_at_comma(heard, gap.end(), words, spelled, capitals=capitals):
                break
            place = gap.end()
            continue
        letters = _spelled_at(spelled, place)
        if letters is not None:
            words = _corrected(words, letters)
            place = letters.end
            continue
        joint = _JOINT[heard.language].match(heard.flat, place, end)
        if words and joint is not None:
            surnames = len(words) if joint["first"] else surnames
            place = joint.end()
            continue
        match = _WORD.match(heard.text, place, end)
        if match is None or (heard.language == "en" and _is_contracted(fold(match[0]))):
            break
        told = _without_contraction(match, heard.language)
        if not _may_be_name(told.text, heard, place, words, capitals=capitals):
            break
        words.append(told)
        place = match.end()
        if told.end < place:
            break
    while words and not words[-1].spelled and fold(words[-1].text) in _PARTICLES[heard.language]:
        place = words.pop().start
    if not any(not _is_particle(word, heard) for word in words) or len(words) > _MOST_WORDS[heard.language]:
        return [], place
    return _once([*words[surnames:], *words[:surnames]]), place


def _ends_at_comma(
    heard: Heard, place: int, words: Sequence[_Word], spelled: Sequence[_Word], *, capitals: bool
) -> bool:
    """Whether what stands behind a comma is no more of the name: "Ann Lee, dear", "Ann Lee, Rex is ill"."""
    if _spelled_at(spelled, place) is not None or _JOINT[heard.language].match(heard.flat, place):
        return False
    if capitals:
        # But "Bond, James Bond".
        return re.match(rf"(?:\w+ ){{1,2}}{re.escape(fold(words[0].text))}\b", heard.flat[place:]) is None
    if all(word.text[0].isupper() for word in words):
        clause = re.split(rf"[,.;:!?]|\b{CLOSING[heard.language]}\b", heard.text[place:], maxsplit=1)[0].split()
        names = [word for word in clause if fold(word) not in _PARTICLES[heard.language]]
        return not names or any(not word[0].isupper() or word.endswith("'s") for word in names)
    return _ADDRESSES[heard.language].match(heard.flat, place) is not None


def _without_contraction(match: re.Match[str], language: Language) -> _Word:
    """A word without what is contracted with it: "Rex's" is Rex."""
    contracted = _CONTRACTION.search(fold(match[0])) if language == "en" else None
    end = match.start() + contracted.start() if contracted else match.end()
    return _Word(match[0][: end - match.start()], match.start(), end)


def _once(words: list[_Word]) -> list[_Word]:
    """'Bond, James Bond' is James Bond."""
    again = {fold(word.text) for word in words[1:]}
    return words[1:] if words and fold(words[0].text) in again else words


def _open(words: Sequence[_Word]) -> bool:
    """Whether a stop after the last word does not end the name: after an initial, or spelled letters."""
    return bool(words) and (len(words[-1].text) == 1 or words[-1].spelled)


def _is_particle(word: _Word, heard: Heard) -> bool:
    return not word.spelled and fold(word.text) in _PARTICLES[heard.language]


def _spelled_at(spelled: Sequence[_Word], place: int) -> _Word | None:
    return next((word for word in spelled if word.start == place), None)


def _may_be_name(word: str, heard: Heard, place: int, words: Sequence[_Word], *, capitals: bool) -> bool:
    plain = fold(word)
    language = heard.language
    if capitals and _ANOTHERS[language].search(heard.flat[:place]):
        return False
    if plain in _PARTICLES[language]:
        return bool(words) or word[0].isupper()
    if not word[0].isupper() and (capitals or any(each.text[0].isupper() for each in words)):
        return False
    if plain in _MAYBE_NAMES:
        return word[0].isupper() and all(each.text[0].isupper() for each in words)
    if len(word) == 1 and word.isupper() and heard.text[place + 1 : place + 2] == ".":
        return True
    calendar = plain in {fold(each) for each in (*WEEKDAYS[language], *MONTHS[language])}
    if capitals and plain in month_words(language) and not calendar and not words:
        # "For Aug the 18th" names nobody, "for Jan Novak" does.
        return re.match(r" [A-Z][a-z]", heard.text[place + len(word) :]) is not None
    if plain in _BEGIN_NAMES and not words and word[0].isupper() and _names_follow(heard, place + len(word)):
        return True
    if plain in _NO_NAME[language] or plain in number_words(language):
        joined = len(plain) > 1 and re.search(r"[\w.] $", heard.flat[:place]) is not None
        return joined and word[0].isupper() and _among_names(words, language)
    if not calendar:
        return True
    # Only English writes days and months with capitals.
    surname = language == "es" and _among_names(words, language)
    return word[0].isupper() and (surname or (not words and _name_follows(heard, place + len(word))))


def _is_contracted(plain: str) -> bool:
    """Whether it is a word with a verb that is no name: "he's", "we'll", "don't"."""
    contracted = _CONTRACTION.search(plain)
    return plain.endswith("n't") or (
        contracted is not None and plain[: contracted.start()] in _NO_NAME["en"] | _CONTRACTED
    )


def _among_names(words: Sequence[_Word], language: Language) -> bool:
    """Whether what stands before a common word with a capital is a name: "Kim Do", "Nguyen Van An"."""
    calendar = {fold(each) for each in (*WEEKDAYS[language], *MONTHS[language])}
    return bool(words) and all(word.text[0].isupper() for word in words) and fold(words[0].text) not in calendar


def _names_follow(heard: Heard, place: int) -> bool:
    """Whether words with capitals follow that are no common words, and nothing else: "An Li", but not "An Hour"."""
    match = re.match(r"((?: [A-Z][\w'\-]+){1,3})\W*$", heard.text[place:])
    calendar = {fold(each) for each in (*WEEKDAYS[heard.language], *MONTHS[heard.language])}
    no_names = {*_NO_NAME[heard.language], *number_words(heard.language), *calendar}
    return match is not None and no_names.isdisjoint(fold(match[1]).split())


def _name_follows(heard: Heard, place: int) -> bool:
    """Whether nothing but a surname follows: "Sunday Okafor", but not "Sunday Morning"."""
    match = re.match(r" ([A-Z][\w'\-]+)\W*$", heard.text[place:])
    if match is None:
        return False
    surname = fold(match[1])
    return surname not in _NO_NAME[heard.language] and surname not in number_words(heard.language)


def _corrected(words: list[_Word], letters: _Word) -> list[_Word]:
    """With the spelled word in the place of the one that it spells, else after them."""
    if len(words) > 1 and fold("".join(word.text for word in words)) == fold(letters.text):
        return words
    likeness = [
        0.0 if word.spelled else SequenceMatcher(None, fold(word.text), fold(letters.text)).ratio() for word in words
    ]
    if likeness and max(likeness) >= _ALIKE:
        place = max(range(len(words)), key=lambda index: (likeness[index], index))
        if fold(words[place].text) == fold(letters.text):
            # Letters are spelled without their accents.
            letters = replace(letters, text=words[place].text)
        return [*words[:place], letters, *words[place + 1 :]]
    return [*words, letters]


def _named(words: Sequence[_Word], heard: Heard, confidence: float) -> Found[str]:
    name = " ".join(_capitalised(word.text) for word in words)
    return Found(name, min(word.start for word in words), max(word.end for word in words), confidence)


def _capitalised(word: str) -> str:
    """With a capital; further capitals are kept ('McDonald') unless there is nothing else ('SMITH')."""
    if word.isupper() and len(word) > 1:
        word = word.lower()
    return word[0].upper() + word[1:]


def spelled_words(heard: Heard) -> list[_Word]:
    """Words spelled letter by letter: 'S-M-I-T-H', 'S as in Sam, M as in Mary', 'h e double l o'."""
    found: list[_Word] = []
    letters, start, end, hyphens, examples = "", 0, 0, 0, 0
    for match in _SPELLED_LETTER.finditer(heard.text):
        letter = match["letter"] * (2 if match["double"] else 1)
        example = match["example"]
        stop = match.end()
        if example is not None and not fold(example).startswith(fold(match["letter"])):
            stop, example = match.end("letter"), None
        between = heard.flat[end : match.start()]
        # Hyphens within a word, something else between words: "D-A-W-N S-M-I-T-H".
        next_word = hyphens > 0 and "-" not in between and heard.flat[stop : stop + 1] == "-"
        if letters and _BETWEEN_LETTERS.match(between) and not next_word:
            hyphens += "-" in between
        else:
            found += _spelled(letters, start, end, hyphens, examples)
            letters, start, hyphens, examples = "", match.start(), 0, 0
        letters, end = letters + letter, stop
        examples += example is not None
    return found + _spelled(letters, start, end, hyphens, examples)


def _spelled(letters: str, start: int, end: int, hyphens: int, examples: int) -> list[_Word]:
    if len(letters) >= 3 or (len(letters) == 2 and (hyphens or examples)):
        return [_Word(letters.capitalize(), start, end, spelled=True)]
    return []
