"""Numbers in words and figures: cardinals, and runs of digits said one by one, in pairs or doubled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from num2words import num2words

from pipeline.slots.people import counts_people, together
from pipeline.slots.types import UNSURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import Heard, core, plain_words, settle

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|\S")
_MOST_FIGURES = 15

_SCALES: Mapping[Language, Mapping[str, int]] = {
    "en": {"thousand": 10**3, "million": 10**6, "billion": 10**9},
    "es": {"mil": 10**3, "millon": 10**6, "millones": 10**6},
}
_HUNDREDS_ES: Mapping[str, int] = {"cien": 100, "ciento": 100} | {
    f"{stem}{ending}": value
    for stem, value in {
        "doscient": 200,
        "trescient": 300,
        "cuatrocient": 400,
        "quinient": 500,
        "seiscient": 600,
        "setecient": 700,
        "ochocient": 800,
        "novecient": 900,
    }.items()
    for ending in ("os", "as")
}
_TENS_ES = ("treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa")
_POINT: Mapping[Language, frozenset[str]] = {"en": frozenset({"point"}), "es": frozenset({"coma", "punto"})}
_MINUS: Mapping[Language, str] = {"en": "minus", "es": "menos"}
_NEGATIVE: Mapping[Language, frozenset[str]] = {
    "en": frozenset({"minus", "negative"}),
    "es": frozenset({"menos"}),
}
_MULTIPLES: Mapping[Language, Mapping[str, int]] = {
    "en": {**_SCALES["en"], "k": 10**3, "grand": 10**3, "dozen": 12},
    "es": {**_SCALES["es"], "docena": 12, "docenas": 12},
}
"""What multiplies the number before it: 'two and a half thousand', '10k', 'two dozen'."""
_HALF_OF: Mapping[Language, frozenset[tuple[str, ...]]] = {
    "en": frozenset({("half", "a")}),
    "es": frozenset({("media",), ("medio",)}),
}
_HALF: Mapping[Language, frozenset[tuple[str, ...]]] = {
    "en": frozenset({("and", "a", "half")}),
    "es": frozenset({("y", "medio"), ("y", "media")}),
}
_REPEATS: Mapping[Language, Mapping[str, int]] = {
    "en": {"double": 2, "triple": 3},
    "es": {"doble": 2, "triple": 3},
}
_BETWEEN_DIGITS: Mapping[Language, frozenset[str]] = {
    "en": frozenset("and um uh er erm then dash hyphen , . - ( )".split()),
    "es": frozenset("y eh em luego guion , . - ( )".split()),
}
_NO_COUNT: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:this|that|the|which|what|first|last|next|other|later|earlier|another|any|no|every|each|some)[ ]?$"
    ),
    "es": re.compile(r"\b(?:este|esta|ese|esa|cada|otro|otra|algun|alguna|ningun|ninguna)[ ]?$"),
}
_PRONOUN: Mapping[Language, frozenset[str]] = {"en": frozenset({"one"}), "es": frozenset({"un", "una", "uno"})}
_NONE: Mapping[Language, frozenset[str]] = {
    "en": frozenset({"none", "nobody", "nothing"}),
    "es": frozenset({"ninguno", "ninguna", "nadie", "nada"}),
}

_PART = re.compile(
    r"(?:st|nd|rd|th)\b|[\s\-](?:halfs?|halves|thirds?|quarters?|fourths?|fifths?|tenths?|medios?|tercios?|cuartos?)\b"
)
"""After a number: it is an ordinal, or the upper half of a fraction."""
_GENERIC = frozenset({"number", "code", "numero", "codigo"})
"""Words of a description that tell little if there are others."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a figure or a mark of folded text."""

    text: str
    start: int
    end: int


@lru_cache(maxsize=64)
def tokens(flat: str) -> tuple[Token, ...]:
    return tuple(Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(flat))


def cardinal_words(number: int, language: Language) -> str:
    """120 -> 'one hundred and twenty', 'ciento veinte'; as written, with hyphens and accents, without commas."""
    return str(num2words(number, lang=language)).replace(",", "")


@lru_cache(maxsize=2)
def _small(language: Language) -> Mapping[tuple[str, ...], int]:
    """The words of 0 to 99."""
    words = {plain_words(cardinal_words(number, language)): number for number in range(100)}
    if language == "es":
        words |= {("un",): 1, ("una",): 1, ("veintiun",): 21, ("veintiuna",): 21}
        words |= {(tens, "y", one): words[tens,] + 1 for tens in _TENS_ES for one in ("un", "una")}
        words |= {("veinte", "y", *plain_words(cardinal_words(one, "es"))): 20 + one for one in range(1, 10)}
    return words


def number_words(language: Language) -> frozenset[str]:
    """Every word that is part of a number."""
    small = {word for words in _small(language) for word in words} - {"y"}
    hundreds = frozenset(_HUNDREDS_ES) if language == "es" else frozenset({"hundred"})
    return frozenset(small) | hundreds | frozenset(_SCALES[language])


def _texts(items: Sequence[Token], start: int, size: int) -> tuple[str, ...]:
    return tuple(item.text for item in items[start : start + size] if item.text != "-")


def below_hundred(items: Sequence[Token], start: int, language: Language) -> tuple[int, int] | None:
    """The longest number below 100 in words that begins at a token, and the token after it."""
    small = _small(language)
    for size in (3, 2, 1):
        if start + size <= len(items) and items[start].text != "-" and items[start + size - 1].text != "-":
            value = small.get(_texts(items, start, size))
            if value is not None:
                return value, start + size
    return None


def _below_thousand(items: Sequence[Token], start: int, language: Language) -> tuple[int, int] | None:
    if language == "es":
        hundreds = _HUNDREDS_ES.get(items[start].text) if start < len(items) else None
        if hundreds is None:
            return below_hundred(items, start, language)
        rest = below_hundred(items, start + 1, language)
        return (hundreds + rest[0], rest[1]) if rest else (hundreds, start + 1)
    head = below_hundred(items, start, language)
    if head is None and _texts(items, start, 2) == ("a", "hundred"):
        head = (1, start + 1)
    if head is None or _texts(items, head[1], 1) != ("hundred",) or head[0] == 0:
        return head
    value, place = head[0] * 100, head[1] + 1
    rest = below_hundred(items, place + 1 if _texts(items, place, 1) == ("and",) else place, language)
    return (value + rest[0], rest[1]) if rest else (value, place)


def cardinal(items: Sequence[Token], start: int, language: Language) -> tuple[int, int] | None:
    """The whole number in words that begins at a token, and the token after it."""
    scales = _SCALES[language]
    total, last_scale, place = 0, 0, start
    while place < len(items):
        joined = last_scale and items[place].text == "and"
        part = _below_thousand(items, place + 1 if joined else place, language)
        # Spanish says "un millón mil", never "un mil".
        bare_mil = language == "es" and items[place].text == "mil" and (not last_scale or last_scale > 1000)
        bare_scale = part is None and (
            bare_mil
            or (last_scale and scales.get(items[place].text, 0) > last_scale)
            or (items[place].text == "a" and scales.get("".join(_texts(items, place + 1, 1)), 0) > 0)
        )
        if bare_scale:
            after = place + 1 if items[place].text == "a" else place
            part = (1 if bare_mil or not last_scale else 0, after)
        if part is None:
            break
        value, after = part
        scale = scales.get(items[after].text, 0) if after < len(items) else 0
        if not scale:
            return total + value, after
        total = (total + value) * scale if scale > last_scale else total + value * scale
        last_scale, place = scale, after + 1
    return (total, place) if last_scale else None


def figures(text: str, language: Language) -> Decimal | None:
    """'1,200.50' -> 1200.50; Spanish '1.200,50' too. None if it is no number."""
    if sum(character.isdigit() for character in text) > _MOST_FIGURES:
        return None
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        return Decimal(text.replace(",", ""))
    if language == "es" and re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", text):
        return Decimal(text.replace(".", "").replace(",", "."))
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return Decimal(text)
    if language == "es" and re.fullmatch(r"\d+,\d+", text):
        return Decimal(text.replace(",", "."))
    return None


def numbers(heard: Heard) -> list[Found[Decimal]]:
    """Every number, in words or figures, in the order of the utterance."""
    items, language = tokens(heard.flat), heard.language
    found: list[Found[Decimal]] = []
    place = 0
    while place < len(items):
        parsed = _number(items, place, language)
        if parsed is None:
            place += 1
            continue
        value, after = parsed
        found.append(Found(value, items[place].start, items[after - 1].end))
        place = after
    return found


def _number(items: Sequence[Token], start: int, language: Language) -> tuple[Decimal, int] | None:
    if items[start].text in _NEGATIVE[language] or (
        items[start].text == "-" and (start == 0 or items[start - 1].end < items[start].start)
    ):
        positive = _number(items, start + 1, language) if start + 1 < len(items) else None
        return (-positive[0], positive[1]) if positive else None
    for words in _HALF_OF[language]:
        after = start + len(words)
        multiple = _MULTIPLES[language].get(items[after].text) if after < len(items) else None
        if multiple is not None and _texts(items, start, len(words)) == words:
            return Decimal(multiple) / 2, after + 1
    if _texts(items, start, 2) == ("a", "dozen"):
        return Decimal(12), start + 2
    if start == 0 and items[start].text in _POINT[language]:
        decimals, end = _decimals(items, start + 1, language)
        return (Decimal(f"0.{decimals}"), end) if decimals else None
    if items[start].text[0].isdigit():
        value = figures(items[start].text, language)
        if value is None:
            return None
        return _multiplied(items, *_with_decimals(items, value, start + 1, language), language)
    whole = cardinal(items, start, language)
    if whole is None:
        return None
    return _multiplied(items, *_with_decimals(items, Decimal(whole[0]), whole[1], language), language)


def _with_decimals(items: Sequence[Token], value: Decimal, after: int, language: Language) -> tuple[Decimal, int]:
    if after < len(items) and items[after].text in _POINT[language] and value == value.to_integral_value():
        decimals, end = _decimals(items, after + 1, language)
        if decimals:
            return Decimal(f"{value:f}.{decimals}"), end
    return _with_half(items, value, after, language)


def _multiplied(items: Sequence[Token], value: Decimal, after: int, language: Language) -> tuple[Decimal, int]:
    multiple = _MULTIPLES[language].get(items[after].text) if after < len(items) else None
    # A 'k' stands right after its figure.
    if multiple is None or (items[after].text == "k" and items[after].start != items[after - 1].end):
        return value, after
    return _with_half(items, value * multiple, after + 1, language)


def _decimals(items: Sequence[Token], start: int, language: Language) -> tuple[str, int]:
    text, place = "", start
    while place < len(items):
        if items[place].text.isascii() and items[place].text.isdigit():
            text, place = text + items[place].text, place + 1
        elif (part := below_hundred(items, place, language)) is not None:
            text, place = text + str(part[0]), part[1]
        else:
            break
    return text, place


def _with_half(items: Sequence[Token], value: Decimal, after: int, language: Language) -> tuple[Decimal, int]:
    for words in _HALF[language]:
        if value == value.to_integral_value() and _texts(items, after, len(words)) == words:
            # "A million and a half" is half a million more.
            half = Decimal(_SCALES[language].get(items[after - 1].text, 1)) / 2
            return value + half, after + len(words)
    return value, after


def plain_decimal(value: Decimal) -> str:
    """Canonical text: no exponent, no trailing zeros after the point, no minus zero."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


# -- type number ---------------------------------------------------------------------------------------------------


def read_number(
    variable: Variable, heard: Heard, context: ReadingContext, taken: Sequence[Found[object]] = ()
) -> Found[str] | None:
    """One number. Unasked it must stand by a word of the variable's description ("four people").

    `taken`: days and times of day found already; their numbers count nothing else while there are others.
    """
    items = tokens(heard.flat)
    counted = [one for one in numbers(heard) if not is_pronoun(one, heard)]
    if any(_PART.match(heard.flat, one.end) for one in counted):
        return None
    free = [one for one in counted if not any(one.start < other.end and other.start < one.end for other in taken)]
    counted = free or counted
    people = together(heard, counted) if counts_people(variable.description, heard.language) else None
    if people is not None:
        counted = [people]
    elif not context.asked:
        counted = [one for one in counted if described(one.start, one.end, variable, items)]
    elif not counted:
        start, end = core(heard)
        if heard.flat[start:end] in _NONE[heard.language]:
            return Found("0", start, end, UNSURE)
    return settle([Found(plain_decimal(one.value), one.start, one.end, one.confidence) for one in counted], heard)


def is_pronoun(one: Found[Decimal], heard: Heard) -> bool:
    """Whether it is the 'one' of 'this one', 'the first one' or, in Spanish, an article ('una mesa')."""
    if heard.flat[one.start : one.end] not in _PRONOUN[heard.language]:
        return False
    if _NO_COUNT[heard.language].search(heard.flat[: one.start].rstrip(",. ")):
        return True
    following = heard.flat[one.end :].lstrip()
    if heard.language == "en":
        return re.match(r"(?:moment|second|sec|minute)\b", following) is not None
    return re.match(r"(?:momento|segundo|minuto|moment)", following) is not None


def described(start: int, end: int, variable: Variable, items: Sequence[Token]) -> bool:
    """Whether a telling word of the variable's description stands right before or after [start, end)."""
    telling = telling_words(variable)
    words = [item for item in items if item.text[0].isalpha()]
    before = [item.text for item in words if item.end <= start][-3:]
    after = [item.text for item in words if item.start >= end][:2]
    return any(stem(word) in telling for word in (*before, *after))


def telling_words(variable: Variable) -> frozenset[str]:
    """The stems of the words of its description that tell it from others."""
    telling = frozenset(stem(word) for word in plain_words(variable.description) if len(word) > 3)
    return (telling - _GENERIC) or telling


def stem(word: str) -> str:
    return word[:-2] if word.endswith("es") and len(word) > 5 else word.rstrip("s")


def spoken_number(value: str, language: Language) -> str:
    """'-3.25' -> 'minus three point two five'. Raises ValueError if it is no decimal text."""
    sign, whole, decimals = _parts(value)
    words = [*([_MINUS[language]] if sign else []), cardinal_words(int(whole), language)]
    if decimals:
        words += ["point" if language == "en" else "coma"]
        words += [cardinal_words(int(digit), language) for digit in decimals]
    return " ".join(words)


def _parts(value: str) -> tuple[bool, str, str]:
    match = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?", value)
    if match is None:
        raise ValueError(f"expected decimal text such as '120.5', got {value!r}; give the canonical value")
    return bool(match[1]), match[2], match[3] or ""


# -- runs of digits ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Digits:
    """Digits said one after the other, perhaps after a plus."""

    digits: str
    plus: bool = False


def digit_runs(heard: Heard) -> list[Found[Digits]]:
    """Every run of digits: '555 0134', 'five five five', 'double five', '5-5-5', 'seis doce treinta y cuatro'."""
    items, language = tokens(heard.flat), heard.language
    return list(_runs(items, language))


def _runs(items: Sequence[Token], language: Language) -> Iterator[Found[Digits]]:
    place = 0
    while place < len(items):
        start, text, end = place, "", place
        while place < len(items):
            part = digits_at(items, place, language, begun=bool(text))
            if part is not None:
                text, place = text + part[0], part[1]
                end = place
            elif text and items[place].text in _BETWEEN_DIGITS[language]:
                place += 1
            else:
                break
        if not text:
            place += 1
            continue
        place = end
        plus = start > 0 and items[start - 1].text in ("+", "plus", "mas")
        yield Found(Digits(text, plus), items[start - 1].start if plus else items[start].start, items[end - 1].end)


def digits_at(items: Sequence[Token], place: int, language: Language, *, begun: bool) -> tuple[str, int] | None:
    """The digits that are said as one at a token, and the token after them; `begun`: digits were said before."""
    item = items[place]
    if item.text[0].isdigit():
        digits = re.sub(r"[.,]", "", item.text)
        return (digits, place + 1) if digits.isascii() and digits.isdigit() else None
    repeats = _REPEATS[language].get(item.text)
    if repeats is not None and place + 1 < len(items):
        repeated = digits_at(items, place + 1, language, begun=True)
        return (repeated[0] * repeats, repeated[1]) if repeated and len(repeated[0]) == 1 else None
    if language == "en" and item.text in ("oh", "o"):
        # An 'oh' that begins a run is a digit only if more follow at once ("oh, five" is a sigh).
        follows = place + 1 < len(items) and digits_at(items, place + 1, language, begun=True) is not None
        return ("0", place + 1) if begun or follows else None
    whole = cardinal(items, place, language)
    if whole is not None and whole[0] >= 1000:
        return str(whole[0]), whole[1]
    if language == "es" and item.text in _HUNDREDS_ES:
        rest = below_hundred(items, place + 1, language)
        if rest is not None and rest[0] >= 10:
            return str(_HUNDREDS_ES[item.text] + rest[0]), rest[1]
        return str(_HUNDREDS_ES[item.text]), place + 1
    small = below_hundred(items, place, language)
    if small is None:
        return None
    value, after = small
    if language == "en" and 0 < value < 10 and after < len(items) and items[after].text == "hundred":
        return f"{value}00", after + 1
    return str(value), after
