"""Digits (codes, account and order numbers) and phone numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import phonenumbers

from pipeline.slots.numbers import Digits, cardinal_words, described, digit_runs, tokens
from pipeline.slots.types import LIKELY, SURE, UNSURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import Heard, goes_on_from_another, settle

_FEWEST_UNASKED = 4
_FEWEST_PHONE_DIGITS = 7
_FEWEST_OF_AN_END = 2
_NUMBERED: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:number|code|order|account|policy|zip|postcode|pin|reference|id|member|case|ticket)\b"),
    "es": re.compile(r"\b(?:numero|codigo|pedido|cuenta|poliza|postal|pin|referencia|expediente|caso|socio)\b"),
}
_PHONED: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:phone|telephone|mobile|cell|call|reach|ring|text|callback)\b"),
    "es": re.compile(r"\b(?:telefono|movil|celular|llamar|llamen?|llameme|llamenme|localizar|contactar|whatsapp)\b"),
}
_MY_NUMBER: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:my|our|the)(?: \w+)? number(?:'s| is| would be|:)[\s,:]*(?:\+|plus )?$"),
    "es": re.compile(r"\b(?:mi|nuestro|el) numero(?: de \w+)?(?: es| seria|:)[\s,:]*(?:el )?[\s,:]*(?:\+|mas )?$"),
}
"""Right before what is only called a number."""
_ENDS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:no|sorry|actually|wait|mean|correction)\b.*"
        r"\b(?:end(?:s|ing)? (?:in|with|is)|last (?:\w+ )?(?:\w+ )?(?:is|are|should be))\W*$"
    ),
    "es": re.compile(
        r"\b(?:no|perdon|perdone|digo|espere|correccion)\b.*"
        r"\b(?:(?:termina|acaba) (?:en|con)|ultim[oa]s? (?:\w+ )?(?:\w+ )?(?:es|son))\W*$"
    ),
}
"""Before the last digits of a number that was said: they are others."""
_LAST_ONE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\blast (?:digit|number|one|figure)\b"),
    "es": re.compile(r"\bultim[oa] (?:digito|numero|cifra)\b"),
}
"""The end is one digit."""
_OTHER_NUMBER = re.compile(
    r"\b(?:order|account|policy|card|reference|ticket|booking|member|membership|customer|invoice|case|tracking|flight"
    r"|pedido|cuenta|poliza|tarjeta|referencia|reserva|socio|cliente|factura|expediente|vuelo)\b"
)
_EITHER: Mapping[Language, re.Pattern[str]] = {"en": re.compile(r"\bor\W*$"), "es": re.compile(r"\bo\W*$")}
_PLUS: Mapping[Language, str] = {"en": "plus", "es": "más"}
_MARK_REACH = 40
"""Characters before a number in which a word may say what it is."""


def read_digits(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """Digits of a fitting count; unasked, at least four that are called a number, or what the description says."""
    found = []
    for run in (piece for whole in digit_runs(heard) for piece in _pieces(whole, variable, heard)):
        if not variable.fewest_digits <= len(run.value.digits) <= variable.most_digits:
            continue
        if re.match(r"(?:st|nd|rd|th)\b", heard.flat[run.end :]):
            continue
        if not context.asked and not _called_a_number(run, variable, heard):
            continue
        found.append(Found(run.value.digits, run.start, run.end))
    return settle(found, heard)


def _pieces(run: Found[Digits], variable: Variable, heard: Heard) -> list[Found[Digits]]:
    """A run that is too long, cut where sentences end: "it ends in two three. 4001 8823"."""
    if len(run.value.digits) <= variable.most_digits:
        return [run]
    ends = [mark.end() for mark in re.finditer(r"[.!?;](?= )", heard.flat[: run.end]) if mark.end() > run.start]
    pieces: list[Found[Digits]] = []
    for start, end in pairwise((run.start, *ends, run.end)):
        # Spaces in place of what came before keep the positions.
        pieces += digit_runs(Heard(heard.text, " " * start + heard.flat[start:end], heard.language))
    return pieces


def _called_a_number(run: Found[Digits], variable: Variable, heard: Heard) -> bool:
    if len(run.value.digits) < _FEWEST_UNASKED:
        return False
    if variable.description:
        return described(run.start, run.end, variable, tokens(heard.flat))
    return _NUMBERED[heard.language].search(heard.flat, max(0, run.start - _MARK_REACH), run.start) is not None


def spoken_digits(value: str, language: Language) -> str:
    """'5550134' -> 'five five five, zero one three four'. Raises ValueError if it is no digits."""
    if re.fullmatch(r"[0-9]+", value) is None:
        raise ValueError(f"expected digits such as '5550134', got {value!r}; give the canonical value")
    return ", ".join(_each_digit(group, language) for group in groups(value))


def groups(digits: str) -> list[str]:
    """In threes, the last one or two of them fours; what is too short for that in whole."""
    if len(digits) <= 4:
        return [digits]
    if len(digits) == 5:
        return [digits[:3], digits[3:]]
    fours = len(digits) % 3
    threes = (len(digits) - 4 * fours) // 3
    sizes = [3] * threes + [4] * fours
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return [digits[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _each_digit(digits: str, language: Language) -> str:
    return " ".join(cardinal_words(int(digit), language) for digit in digits)


def read_phone(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """A phone number with its area code. Unasked, one that is in use, or that the caller says is a phone number."""
    found = []
    for run in digit_runs(heard):
        if len(run.value.digits) < _FEWEST_PHONE_DIGITS:
            continue
        number = _parsed(("+" if run.value.plus else "") + run.value.digits, variable.country)
        if number is None:
            continue
        valid = phonenumbers.is_valid_number(number)
        if not context.asked and not (valid and _not_another_number(run, heard)) and not _called_a_phone(run, heard):
            continue
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        found.append(Found(text, run.start, run.end, SURE if valid and run.value.plus else LIKELY if valid else UNSURE))
    settled = settle(found, heard)
    return _ended_anew(settled, heard) if settled is not None else None


def _ended_anew(number: Found[str], heard: Heard) -> Found[str] | None:
    """With the last digits that are said after it ("..., no sorry, 0133"); None if it is left open what they are."""
    for run in digit_runs(heard):
        between = heard.flat[number.end : run.start]
        ends = _ENDS[heard.language].search(between) is not None
        if run.start < number.end or not (ends or goes_on_from_another(heard, run.start)):
            continue
        length = len(run.value.digits)
        fewest = 1 if _LAST_ONE[heard.language].search(between) else _FEWEST_OF_AN_END
        if _EITHER[heard.language].search(between) or not fewest <= length < _FEWEST_PHONE_DIGITS:
            return None
        number = replace(number, value=number.value[:-length] + run.value.digits, end=run.end)
    return number


def with_other_end(number: str, heard: Heard) -> str | None:
    """A number whose last digits are said anew ("no, it ends in 33"); None if no two to six digits are said."""
    said = settle([Found(run.value.digits, run.start, run.end) for run in digit_runs(heard)], heard)
    if said is None or not _FEWEST_OF_AN_END <= len(said.value) < min(len(number), _FEWEST_PHONE_DIGITS):
        return None
    return number[: -len(said.value)] + said.value


def _not_another_number(run: Found[Digits], heard: Heard) -> bool:
    before = heard.flat[max(0, run.start - _MARK_REACH) : run.start]
    return _OTHER_NUMBER.search(before) is None


def _called_a_phone(run: Found[Digits], heard: Heard) -> bool:
    start = max(0, run.start - _MARK_REACH)
    if _PHONED[heard.language].search(heard.flat, start, run.start) is not None:
        return True
    named = _MY_NUMBER[heard.language].search(heard.flat[start : run.start]) is not None
    return named and _not_another_number(run, heard)


def _parsed(text: str, country: str) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None  # Not a phone number: what this function is there to find out.
    return number if _is_whole(number) else None


def _is_whole(number: phonenumbers.PhoneNumber) -> bool:
    """Whether it can be dialled from anywhere: '555 0134' is possible, but lacks its area code."""
    reason = phonenumbers.is_possible_number_with_reason(number)
    return bool(reason == phonenumbers.ValidationResult.IS_POSSIBLE)


def spoken_phone(variable: Variable, value: str, language: Language) -> str:
    """'+12065550134' -> 'two zero six, five five five, zero one three four'; with 'plus' and the country's code
    if it is of another country. Raises ValueError if it is no E.164 number."""
    if re.fullmatch(r"\+[0-9]{7,15}", value) is None:
        raise ValueError(
            f"expected an E.164 phone number such as '+12065550134', got {value!r}; give the canonical value"
        )
    number = phonenumbers.parse(value, None)
    home = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    again = _parsed(re.sub(r"\D", "", home), variable.country)
    if again is not None and phonenumbers.format_number(again, phonenumbers.PhoneNumberFormat.E164) == value:
        groups, plus = re.findall(r"[0-9]+", home), ""
    else:
        abroad = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        groups, plus = re.findall(r"[0-9]+", abroad), f"{_PLUS[language]} "
    return plus + ", ".join(_each_digit(group, language) for group in groups)
