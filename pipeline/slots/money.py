"""Amounts of money."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from pipeline.slots.currencies import Currency, currency_of, currency_signs, currency_words
from pipeline.slots.numbers import cardinal_words, is_pronoun, numbers, tokens
from pipeline.slots.types import LIKELY, SURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import Heard, one_of, phrase, settle

_OWED = frozenset(f"{sign}-" for sign in currency_signs())
_JOINS = frozenset({"and", "con", "y", ","})


def read_money(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """An amount in the country's currency; a bare number only if asked. None if another currency is named."""
    currency = currency_of(variable.country)
    own = currency.unit_words(heard.language) | frozenset(currency.signs)
    foreign = (currency_words(heard.language) | currency_signs()) - own
    hundredths = currency.hundredth_words(heard.language)
    found: list[Found[str]] = []
    whole: Found[Decimal] | None = None
    for one in _amounts(heard, currency):
        sign, word = _beside(one, heard)
        if sign in foreign or word in foreign or heard.flat[max(0, one.start - 2) : one.start] in _OWED:
            return None
        start, end = one.start - len(sign), _word_end(one, heard) if word in own | hundredths else one.end
        if word in hundredths:
            if whole is not None and one.value < 100 and _joined(whole.end, start, heard):
                found.pop()
                total = Found(whole.value + one.value / 100, whole.start, end)
            else:
                total = Found(one.value / 100, start, end)
            found.append(_canonical(total, SURE))
            whole = None
        elif sign in own or word in own:
            whole = Found(one.value, start, end)
            found.append(_canonical(whole, SURE))
        elif whole is not None and one.value < 100 and _joined(whole.end, start, heard) and _is_whole(one.value):
            # "Five dollars fifty".
            found[-1] = _canonical(Found(whole.value + one.value / 100, whole.start, end), SURE)
            whole = None
        elif context.asked and not is_pronoun(one, heard):
            whole = None
            found.append(_canonical(Found(one.value, start, end), LIKELY))
    return settle([one for one in found if not one.value.startswith("-")], heard)


def _amounts(heard: Heard, currency: Currency) -> list[Found[Decimal]]:
    """The numbers, and the one of 'a dollar'."""
    found = numbers(heard)
    if heard.language == "en":
        one = phrase(rf"an?(?= (?:{one_of(currency.unit_words('en'))}))")
        found += [Found(Decimal(1), match.start(), match.end()) for match in one.finditer(heard.flat)]
    return sorted(found, key=lambda each: each.start)


def _is_whole(value: Decimal) -> bool:
    return value == value.to_integral_value()


def _canonical(amount: Found[Decimal], confidence: float) -> Found[str]:
    rounded = amount.value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    return Found(f"{rounded:f}", amount.start, amount.end, confidence)


def _beside(one: Found[Decimal], heard: Heard) -> tuple[str, str]:
    """The currency sign right before (or after) a number, and the word after it."""
    before = heard.flat[one.start - 1 : one.start] if one.start else ""
    following = next((item for item in tokens(heard.flat) if item.start >= one.end), None)
    if following is not None and following.text == "de" and heard.language == "es":
        following = next((item for item in tokens(heard.flat) if item.start >= following.end), None)
    after = following.text if following else ""
    if before in currency_signs():
        return before, after
    return "", after


def _word_end(one: Found[Decimal], heard: Heard) -> int:
    words = [item for item in tokens(heard.flat) if item.start >= one.end and item.text != "de"]
    return words[0].end if words else one.end


def _joined(end: int, start: int, heard: Heard) -> bool:
    between = [item.text for item in tokens(heard.flat) if end <= item.start and item.end <= start]
    return all(text in _JOINS for text in between)


def spoken_money(variable: Variable, value: str, language: Language) -> str:
    """'120.50' -> 'one hundred and twenty dollars and fifty cents'. Raises ValueError if it is no amount."""
    if re.fullmatch(r"[0-9]+\.[0-9]{2}", value) is None:
        raise ValueError(f"expected an amount such as '120.00', got {value!r}; give the canonical value")
    currency = currency_of(variable.country)
    whole, hundredths = (int(part) for part in value.split("."))
    said = []
    if whole or not hundredths:
        said.append(_counted(whole, currency.unit[language], language))
    if hundredths:
        said.append(_counted(hundredths, currency.hundredth[language], language))
    return (" and " if language == "en" else " con ").join(said)


def _counted(number: int, forms: tuple[str, str], language: Language) -> str:
    singular, plural = forms
    if language == "es":
        words = re.sub(r"veintiuno$", "veintiún", cardinal_words(number, "es"))
        words = re.sub(r"uno$", "una" if singular.endswith("a") else "un", words)
        of = "de " if re.search(r"mill(?:ón|ones)$", words) else ""
        return f"{words} {of}{singular if number == 1 else plural}"
    return f"{cardinal_words(number, 'en')} {singular if number == 1 else plural}"
