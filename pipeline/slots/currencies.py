"""How currencies are written and said, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.slots.types import Language
from pipeline.slots.wording import fold


@dataclass(frozen=True, slots=True)
class Currency:
    """How a currency is written and said: (singular, plural) by language."""

    signs: tuple[str, ...]
    unit: Mapping[Language, tuple[str, str]]
    hundredth: Mapping[Language, tuple[str, str]]
    also: frozenset[str] = frozenset()
    """Other words for it, folded."""

    def unit_words(self, language: Language) -> frozenset[str]:
        """The folded words for the unit."""
        return frozenset(fold(form) for form in self.unit[language]) | self.also

    def hundredth_words(self, language: Language) -> frozenset[str]:
        """The folded words for a hundredth of it."""
        return frozenset(fold(form) for form in self.hundredth[language])


_CENT: Mapping[Language, tuple[str, str]] = {"en": ("cent", "cents"), "es": ("centavo", "centavos")}
_DOLLAR = Currency(
    ("$",), {"en": ("dollar", "dollars"), "es": ("dólar", "dólares")}, _CENT, frozenset({"buck", "bucks", "usd"})
)
_EURO = Currency(
    ("€",),
    {"en": ("euro", "euros"), "es": ("euro", "euros")},
    {"en": ("cent", "cents"), "es": ("céntimo", "céntimos")},
    frozenset({"eur"}),
)
_POUND = Currency(
    ("£",),
    {"en": ("pound", "pounds"), "es": ("libra", "libras")},
    {"en": ("penny", "pence"), "es": ("penique", "peniques")},
    frozenset({"quid", "gbp"}),
)
_PESO = Currency(("$",), {"en": ("peso", "pesos"), "es": ("peso", "pesos")}, _CENT, frozenset({"mxn"}))

_BY_COUNTRY: Mapping[str, Currency] = (
    dict.fromkeys(("US", "CA", "AU", "NZ", "PR", "EC", "SV"), _DOLLAR)
    | dict.fromkeys("AT BE CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK".split(), _EURO)
    | {"GB": _POUND}
    | dict.fromkeys(("MX", "AR", "CL", "CO", "DO", "UY"), _PESO)
)


def currency_of(country: str) -> Currency:
    """The currency of a country. Raises ValueError for a country that is not known here."""
    try:
        return _BY_COUNTRY[country]
    except KeyError:
        raise ValueError(
            f"country: expected one whose currency is known ({', '.join(sorted(_BY_COUNTRY))}), got {country}; add it "
            "to pipeline/slots/currencies.py"
        ) from None


def currency_signs() -> frozenset[str]:
    """Every sign of a currency."""
    return frozenset(sign for currency in _BY_COUNTRY.values() for sign in currency.signs)


def currency_words(language: Language) -> frozenset[str]:
    """Every folded word for a currency's unit."""
    return frozenset().union(*(currency.unit_words(language) for currency in _BY_COUNTRY.values()))
