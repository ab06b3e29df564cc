"""E-mail addresses: written, said ("john dot smith at gmail dot com") or spelled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from email_validator import EmailNotValidError, validate_email

from pipeline.slots.numbers import Token, below_hundred, cardinal_words, number_words
from pipeline.slots.types import DOUBTFUL, LIKELY, UNSURE, Found, Language, ReadingContext
from pipeline.slots.wording import Heard, settle

_CONNECTORS: Mapping[Language, Mapping[tuple[str, ...], str]] = {
    "en": {
        ("dot",): ".",
        ("point",): ".",
        ("period",): ".",
        ("underscore",): "_",
        ("under", "score"): "_",
        ("dash",): "-",
        ("hyphen",): "-",
        ("plus",): "+",
        ("at",): "@",
        ("at", "sign"): "@",
        ("at", "the", "rate"): "@",
    },
    "es": {
        ("punto",): ".",
        ("dot",): ".",
        ("guion", "bajo"): "_",
        ("barra", "baja"): "_",
        ("guion", "medio"): "-",
        ("guion",): "-",
        ("mas",): "+",
        ("arroba",): "@",
    },
}
_SPOKEN: Mapping[Language, Mapping[str, str]] = {
    "en": {".": "dot", "_": "underscore", "-": "dash", "+": "plus", "@": "at"},
    "es": {".": "punto", "_": "guion bajo", "-": "guion", "+": "más", "@": "arroba"},
}
_NO_PART: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """my the is it it's its email mail e-mail address that's that would be yes yeah um uh er erm sure okay
        ok well so and to for of on me you i'm i'll please no not sorry mean actually wait rather correction
        as in like double triple sign nope send write reach use make pardon excuse all lowercase one word
        hmm or can an""".split()
    ),
    "es": frozenset(
        """mi el la es correo electronico email mail direccion si eh em este pues bueno claro vale y o a para
        de por favor no perdon perdone digo espere espera mejor decir como en con doble triple todo junto
        minuscula minusculas se lo al mas bien disculpe corrijo realidad me""".split()
    ),
}
_MARK: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:e-?mail|address|write to|reach me)\b"),
    "es": re.compile(r"\b(?:correo|e-?mail|direccion)\b"),
}
_WRITTEN = re.compile(r"(?<![\w.+\-])[a-z0-9_][a-z0-9._%+'\-]*\s?@\s?[a-z0-9\-]+(?:\.[a-z0-9\-]+)+")
_PIECE = re.compile(r"[a-z]+(?:'[a-z]+)*|\d+|[^\s]")
_MOST_LOOSE_WORDS = 3
"""Words with nothing between them that may be one local part ("john smith at ...")."""

Kind = Literal["word", "letter", "digits", "join", "gap"]


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: Kind
    text: str
    start: int
    end: int


def read_email(heard: Heard, context: ReadingContext) -> Found[str] | None:
    """An address, in lower case. Unasked, a written one, or one that the caller says is an address."""
    found = [one for match in _WRITTEN.finditer(heard.flat) if (one := _written(match)) is not None]
    if not found and (context.asked or _MARK[heard.language].search(heard.flat)):
        pieces = _pieces(heard)
        ats = [place for place, piece in enumerate(pieces) if piece.kind == "join" and piece.text == "@"]
        found = [one for place in ats if (one := _around(pieces, place, heard, loose=context.asked)) is not None]
    return settle(found, heard)


def _written(match: re.Match[str]) -> Found[str] | None:
    text = re.sub(r"\s", "", match[0])
    local, domain = text.split("@")
    if re.fullmatch(r"[a-z0-9](?:-[a-z0-9]){2,}", local):
        # A transcriber writes spelled letters with hyphens.
        address = _valid(f"{local.replace('-', '')}@{domain}")
        return Found(address, match.start(), match.end(), UNSURE) if address else None
    address = _valid(f"{local}@{domain}")
    return Found(address, match.start(), match.end()) if address else None


def _valid(text: str) -> str | None:
    try:
        return validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None  # No address: what this function is there to find out.


def _pieces(heard: Heard) -> list[_Piece]:
    items = [Token(match[0], match.start(), match.end()) for match in _PIECE.finditer(heard.flat)]
    pieces: list[_Piece] = []
    place = 0
    while place < len(items):
        piece, place = _piece(items, place, heard)
        pieces.append(piece)
    return pieces


def _piece(items: Sequence[Token], place: int, heard: Heard) -> tuple[_Piece, int]:
    item, language = items[place], heard.language
    for size in (3, 2, 1):
        words = tuple(each.text for each in items[place : place + size])
        if len(words) == size and words in _CONNECTORS[language]:
            join = _CONNECTORS[language][words]
            return _Piece("join", join, item.start, items[place + size - 1].end), place + size
    if item.text[0].isdigit():
        return _Piece("digits", item.text, item.start, item.end), place + 1
    if not item.text[0].isalpha():
        return _mark(items, place, heard), place + 1
    if len(item.text) == 1:
        return _letter(items, place)
    if item.text in ("double", "doble") and place + 1 < len(items) and len(items[place + 1].text) == 1:
        repeated = items[place + 1]
        return _Piece("letter", repeated.text * 2, item.start, repeated.end), place + 2
    number = below_hundred(items, place, language)
    if number is not None:
        return _Piece("digits", str(number[0]), item.start, items[number[1] - 1].end), number[1]
    return _Piece("word", item.text, item.start, item.end), place + 1


def _mark(items: Sequence[Token], place: int, heard: Heard) -> _Piece:
    item = items[place]
    inside = item.start > 0 and heard.flat[item.start - 1].isalnum() and heard.flat[item.end : item.end + 1].isalnum()
    if item.text == "@":
        return _Piece("join", "@", item.start, item.end)
    if item.text in "._+" and inside:
        return _Piece("join", item.text, item.start, item.end)
    if item.text == "-" and inside:
        # Between single letters a hyphen is a transcriber's: S-M-I-T-H.
        spelled = len(items[place - 1].text) == 1 and len(items[place + 1].text) == 1
        return _Piece("gap" if spelled else "join", item.text, item.start, item.end)
    return _Piece("gap", item.text, item.start, item.end)


def _letter(items: Sequence[Token], place: int) -> tuple[_Piece, int]:
    """A letter, with the word that it is explained by ("S as in Sam")."""
    item = items[place]
    following = tuple(each.text for each in items[place + 1 : place + 4])
    for lead_in in (("as", "in"), ("for",), ("like",), ("de",), ("como",)):
        size = len(lead_in)
        example = "".join(following[size : size + 1])
        if following[:size] == lead_in and len(example) > 1 and example[0] == item.text:
            return _Piece("letter", item.text, item.start, items[place + size + 1].end), place + size + 2
    return _Piece("letter", item.text, item.start, item.end), place + 1


def _around(pieces: Sequence[_Piece], at: int, heard: Heard, *, loose: bool) -> Found[str] | None:
    domain, end = _domain(pieces, at + 1)
    local, start, words = _local(pieces, at - 1, heard.language)
    if not local or "." not in domain or (words > 1 and not (loose and words <= _MOST_LOOSE_WORDS)):
        return None
    address = _valid(f"{local}@{domain}")
    if address is None:
        return None
    return Found(address, pieces[start].start, pieces[end].end, DOUBTFUL if words > 1 else LIKELY)


def _domain(pieces: Sequence[_Piece], place: int) -> tuple[str, int]:
    text, end = "", place - 1
    last: Kind = "join"
    while place < len(pieces):
        piece = pieces[place]
        if piece.kind == "gap":
            # A stop ends it once it is whole.
            if "." in text and piece.text in ".?!,;":
                break
            place += 1
            continue
        if piece.kind == "join":
            if last == "join" or piece.text not in ".-":
                break
        elif _ends_domain(piece.kind, last, text):
            break
        text, end, last = text + piece.text, place, piece.kind
        place += 1
    if last == "join":
        return text[:-1], end - 1
    return text, end


def _ends_domain(kind: Kind, last: Kind, text: str) -> bool:
    """Whether a piece is no more part of the domain: words, and what follows a whole one, need a dot between them."""
    return (last == "word" and kind in ("word", "letter")) or (kind == "word" and last != "join" and "." in text)


def _local(pieces: Sequence[_Piece], place: int, language: Language) -> tuple[str, int, int]:
    """The local part that ends at a piece, where it begins, and how many words stand in it without anything between."""
    text, start, words = "", place + 1, 1
    last: Kind = "join"
    while place >= 0:
        piece = pieces[place]
        if piece.kind == "gap":
            if piece.text not in "-,":
                break
            place -= 1
            continue
        if piece.kind == "join":
            if piece.text == "@" or last == "join":
                break
        elif piece.kind == "word":
            if piece.text in _NO_PART[language] or "'" in piece.text:
                break
            words += last == "word"
        text, start, last = piece.text + text, place, piece.kind
        place -= 1
    return text.lstrip(".-+"), start, words


def spoken_email(value: str, language: Language) -> str:
    """'john.smith42@gmail.com' -> 'john dot smith four two at gmail dot com'. A part that would be taken for something
    else ('one') is spelled. Raises ValueError if it is no address."""
    if value.count("@") != 1:
        raise ValueError(f"expected an address such as 'john@example.com', got {value!r}; give the canonical value")
    return " ".join(_spoken_part(part, language) for part in re.findall(r"[a-z]+|\d|[^a-z\d]", value))


def _spoken_part(part: str, language: Language) -> str:
    if part.isdigit():
        return cardinal_words(int(part), language)
    if part in _SPOKEN[language]:
        return _SPOKEN[language][part]
    joins = {word for words in _CONNECTORS[language] for word in words}
    taken = part in joins or part in _NO_PART[language] or part in number_words(language)
    return " ".join(part) if taken else part
