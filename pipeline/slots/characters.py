"""Characters as people say them one after the other: letters by themselves, by name or explained, and digits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from pipeline.slots.numbers import Token, cardinal, digits_at, tokens
from pipeline.slots.types import Language
from pipeline.slots.wording import Heard

_NATO = (
    "alfa alpha bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar papa"
    " quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu"
).split()
_NAMED: Mapping[Language, str] = {
    "en": "B bee, C cee, D dee, F ef eff, G gee, H aitch haitch, J jay, K kay, L ell, M em, N en, P pee, Q cue queue"
    ", S ess, T tee, V vee, W double-you double-u, X ex x-ray, Z zed zee",
    "es": "B be be-larga be-alta be-grande, C ce, D de, E eco, F efe, G ge, H hache, J jota julieta, K ka ca, L ele"
    ", M eme, N ene noviembre, P pe, Q cu, R erre ere, S ese, T te, U uniforme, V uve ve ve-corta ve-baja ve-chica"
    ", W uve-doble ve-doble doble-uve doble-ve doble-u, X equis x-ray, Y ye i-griega y-griega, Z zeta ceta zeda",
}
"""Each letter and what it is called; a hyphen stands between two words."""
_NAMES: Mapping[Language, Mapping[tuple[str, ...], str]] = {
    language: {
        **{(word,): word[0].upper() for word in _NATO},
        **{tuple(name.split("-")): each.split()[0] for each in named.split(", ") for name in each.split()[1:]},
    }
    for language, named in _NAMED.items()
}
_REPEATS: Mapping[Language, Mapping[str, int]] = {
    "en": {"double": 2, "triple": 3},
    "es": {"doble": 2, "triple": 3},
}
_EXPLAINS: Mapping[Language, tuple[tuple[str, ...], ...]] = {
    "en": (("as", "in"), ("as",), ("for",), ("like",)),
    "es": (("de", "como"), ("como", "en"), ("como",), ("de",)),
}
"""Between a letter and a word that begins with it."""
_BETWEEN: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """and um uh er erm then dash hyphen space slash stroke letter number digit capital uppercase
        , . ; - ( ) / _ ' \"""".split()
    ),
    "es": frozenset("y eh em luego guion espacio barra letra numero mayuscula , . ; - ( ) / _ ' \"".split()),
}
_ARTICLES: Mapping[Language, Mapping[str, frozenset[str]]] = {
    "en": {"the": frozenset({"letter", "number", "digit"})},
    "es": {"la": frozenset({"letra"}), "el": frozenset({"numero"})},
}
"""What may stand before a few of the words between the characters."""
_WORDS_TOO: Mapping[Language, frozenset[str]] = {"en": frozenset({"a"}), "es": frozenset({"a", "e", "o", "u", "y"})}
"""Words of one letter, where a transcriber writes letters as capitals."""
_SUBJECTS: Mapping[Language, frozenset[str]] = {"en": frozenset({"i"}), "es": frozenset()}
"""Such a word that is always written as a capital."""
_COURTESIES = frozenset({"as", "for", "like", "please", "thanks", "thank", "that's", "sir", "madam"})
"""What may follow a letter that is none of such words."""
_NO_LETTERS = frozenset("ok am pm st nd rd th mm hm hmm mr mrs ms dr tv".split())
"""Without a vowel or in capitals, and no letters that are read out, unless digits follow at once."""
_MOST_READ_TOGETHER = 4
_NO_DIGITS: Mapping[Language, frozenset[str]] = {"en": frozenset({"a"}), "es": frozenset({"un", "una", "mil"})}
"""What begins an amount, and no digits that are read out ("thanks a million")."""

Kind = Literal["letters", "digits", "o", "oh"]


@dataclass(frozen=True, slots=True)
class Character:
    """Characters that are said as one."""

    text: str
    start: int
    end: int
    kind: Kind


def character_runs(heard: Heard) -> Iterator[list[Character]]:
    """What may be characters one after the other, with little words and marks between them."""
    items, language = tokens(heard.flat), heard.language
    place, run = 0, list[Character]()
    while place < len(items):
        found = _character_at(items, place, heard)
        if found is not None and (run or _begins(items, place, language)):
            run, place = [*run, found[0]], found[1]
            continue
        if run and not _between(items, place, language):
            yield run
            run = []
        place += 1
    if run:
        yield run


def _begins(items: Sequence[Token], place: int, language: Language) -> bool:
    """Whether a run may begin there: not with an 'oh' that no digit follows at once ("oh, seven"), nor with the 'de' of
    'el coche es de 2019'."""
    text = items[place].text
    digits_follow = place + 1 < len(items) and digits_at(items, place + 1, language, begun=True) is not None
    if language == "en":
        return text != "oh" or digits_follow
    return text != "de" or not digits_follow or place == 0 or not items[place - 1].text[0].isalpha()


def _between(items: Sequence[Token], place: int, language: Language) -> bool:
    following = items[place + 1].text if place + 1 < len(items) else ""
    return items[place].text in _BETWEEN[language] or following in _ARTICLES[language].get(items[place].text, ())


def _character_at(items: Sequence[Token], place: int, heard: Heard) -> tuple[Character, int] | None:
    """The character, or the few that are said as one, at a token, and the token after it."""
    item, language = items[place], heard.language
    named = _named_letter(items, place, heard)
    if named is not None:
        letter, after = _explained(items, *named, heard)
        # Who explains it means the letter.
        alone = after == place + 1 and language == "en"
        kind: Kind = "o" if alone and item.text == "o" else "oh" if alone and item.text == "oh" else "letters"
        return Character(letter, item.start, items[after - 1].end, kind), after
    repeats = _REPEATS[language].get(item.text)
    if repeats is not None:
        once = place + 1 < len(items) and items[place + 1].text not in _REPEATS[language]
        found = _character_at(items, place + 1, heard) if once else None
        if found is None or len(found[0].text) != 1:
            return None
        return replace(found[0], text=found[0].text * repeats, start=item.start), found[1]
    if _read_together(items, place, heard):
        return Character(item.text.upper(), item.start, item.end, "letters"), place + 1
    if item.text in _NO_DIGITS[language] or _ordinal(items, place, heard):
        return None
    if re.fullmatch(r"[0-9][0-9.,/]*", item.text):
        return Character(re.sub(r"\D", "", item.text), item.start, item.end, "digits"), place + 1
    if not item.text.isalpha():
        return None
    whole = cardinal(items, place, language)
    # "Two hundred and twenty" is 220 here.
    hundreds = whole is not None and 100 <= whole[0] < 1000
    number = (str(whole[0]), whole[1]) if whole and hundreds else digits_at(items, place, language, begun=True)
    return (Character(number[0], item.start, items[number[1] - 1].end, "digits"), number[1]) if number else None


def _named_letter(items: Sequence[Token], place: int, heard: Heard) -> tuple[str, int] | None:
    """A letter that is said by itself or by its name, and the token after it."""
    language = heard.language
    for size in (3, 2):  # "x-ray" is three tokens.
        words = tuple(item.text for item in items[place : place + size] if item.text != "-")
        if len(words) == 2 and place + size <= len(items) and words in _NAMES[language]:
            return _NAMES[language][words], place + size
    item = items[place]
    if len(item.text) == 1 and item.text.isascii() and item.text.isalpha():
        glued = heard.flat[item.end : item.end + 1].isdigit() or heard.flat[: item.start][-1:].isdigit()
        return (item.text.upper(), place + 1) if glued or not _is_word(items, place, heard) else None
    if item.text == "oh" and language == "en":
        return "O", place + 1
    name = _NAMES[language].get((item.text,))
    return (name, place + 1) if name is not None else None


def _is_word(items: Sequence[Token], place: int, heard: Heard) -> bool:
    """Whether a single letter is a word of a sentence ("I guess", "a child", "dos y tres")."""
    item, language = items[place], heard.language
    if item.text in _SUBJECTS[language] or (item.text in _WORDS_TOO[language] and heard.text[item.start].islower()):
        following = items[place + 1].text if place + 1 < len(items) else ""
        if item.text == "y" or (item.text in _WORDS_TOO[language] and _in_capitals(heard.text)):
            return True
        if language == "en" and len(following) > 1 and following[0].isalpha():
            known = (following,) in _NAMES["en"] or following in _REPEATS["en"] or following in _BETWEEN["en"]
            read_out = known or following in _COURTESIES or _read_together(items, place + 1, heard)
            return not read_out and digits_at(items, place + 1, language, begun=True) is None
    return False


@lru_cache(maxsize=8)
def _in_capitals(text: str) -> bool:
    """Whether letters are written as capitals in it."""
    return re.search(r"(?<![\w'])(?!I\b)[A-Z](?![\w'])|[A-Z]{2}|\d[A-Z]", text) is not None


def _explained(items: Sequence[Token], letter: str, after: int, heard: Heard) -> tuple[str, int]:
    """The letter and the token after the word that it is explained by ("M as in Mike", "eme de Madrid", "M, Mike"),
    which is heard better than the letter."""
    place = after + 1 if after < len(items) and items[after].text == "," else after
    alone = items[after - 1].text.upper() == letter
    if alone and place < len(items) and items[place].text in _NATO and items[place].text[0].upper() == letter:
        return letter, place + 1
    for lead_in in _EXPLAINS[heard.language]:
        size = len(lead_in)
        if tuple(item.text for item in items[place : place + size]) != lead_in or place + size >= len(items):
            continue
        example = items[place + size].text
        if (
            len(example) > 1
            and re.match("[a-z]", example)
            and (lead_in == ("as", "in") or example[0].upper() == letter)
        ):
            return example[0].upper(), place + size + 1
        if letter == "X" and example == "x":
            return _named_letter(items, place + size, heard) or (letter, after)
    return letter, after


def _read_together(items: Sequence[Token], place: int, heard: Heard) -> bool:
    """Whether a word is letters that are read out: "7XKL220", "XKL", "xkl"."""
    item = items[place]
    if len(item.text) == 1 or not item.text.isascii() or not item.text.isalpha():
        return False
    text = heard.text[item.start : item.end]
    before, after = heard.flat[: item.start][-1:], heard.flat[item.end : item.end + 1]
    if after.isdigit():
        return True
    if item.text in _NO_LETTERS:
        return False
    if before.isdigit():
        return True
    capitals = text.isupper() and any(each.islower() or each.isdigit() for each in heard.text)
    return capitals or (len(text) <= _MOST_READ_TOGETHER and re.search(r"[aeiouy]", item.text) is None)


def _ordinal(items: Sequence[Token], place: int, heard: Heard) -> bool:
    return re.match(r"(?:st|nd|rd|th)(?!\w)", heard.text[items[place].end :]) is not None
