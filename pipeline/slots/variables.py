"""An agent's variables: what a caller may tell us, and of what type it is."""

from __future__ import annotations

import re
from typing import Literal, Self

import phonenumbers
from pydantic import Field, field_validator, model_validator

from models.settings import StrictModel
from pipeline.slots.currencies import currency_of
from pipeline.slots.spans import spans_of
from pipeline.slots.wording import plain_words

SlotType = Literal[
    "text", "name", "choice", "yes_no", "number", "money", "date", "time", "email", "phone", "digits", "code"
]

HOURS = "hours"
"""In the place of from-to: when the business is open."""


class Variable(StrictModel):
    """One variable, under its name in the agent file."""

    type: SlotType
    """How it is read and said. Canonical values: date 'YYYY-MM-DD', time 'HH:MM' (24 h), money '120.00', number decimal
    text, phone E.164, digits '0123', email in lower case, name 'Capitalised Words', yes_no 'yes' or 'no', code
    '7XKL220' (letters and digits as people say them: a plate, a booking reference, a post code)."""
    description: str = ""
    """What it is, in a few words ("number of people"). Near one of them, a number or digits are taken unasked; of a
    name it tells whose it is: a pet's ("name of the dog"), the caller's ("name of the owner") or anybody's."""
    choices: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For choice: each canonical value and the ways in which callers say it; the first is how the agent says it."""
    options_from: str | None = None
    """For choice: the list, filled by a tool, of what may be chosen."""
    country: str = Field(default="US", pattern=r"^[A-Z]{2}$")
    """For phone and money: ISO 3166 code of the country whose numbers and currency are meant if none is named."""
    fewest_digits: int = Field(default=1, ge=1)
    """For digits: shortest that is taken."""
    most_digits: int = Field(default=20, ge=1)
    """For digits: longest that is taken."""
    ahead: bool = True
    """For date: it lies ahead of today, or is today. If not, a date without its year is the last one gone by."""
    between: str | None = None
    """For time: where one lies whose half of the day is not said ("at seven"), as from-to (17:00-23:00) or `hours`:
    when the business is open. A half that is said counts all the same. None: between seven and seven in the day."""
    pattern: str | None = None
    """A regular expression that the whole canonical value must match. A code with one is found among other words too;
    without it, an answer must be little else."""
    fill: Literal["reader", "model"] = "reader"
    """'model': what the reader cannot make out is asked of the language model, which may point at the caller's words or
    at what is on offer (pipeline/filling.py). For models of a few billion parameters; see docs/agents.md."""
    sensitive: bool = False
    """Kept out of logs, prompts and hand-over packages."""

    @field_validator("between", mode="before")
    @classmethod
    def _names_spans(cls, text: object) -> object:
        if isinstance(text, str) and text != HOURS:
            spans_of(text)
        return text

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression, which this is not ({error}); correct it") from error
        return pattern

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.type != "choice" and (self.choices or self.options_from):
            raise ValueError(f"choices and options_from go with type choice, not {self.type}; remove them")
        if self.choices and self.options_from:
            raise ValueError("expected choices or options_from, got both; remove one")
        if self.between is not None and self.type != "time":
            raise ValueError(f"between goes with type time, not {self.type}; remove it")
        if self.type == "money":
            currency_of(self.country)
        if self.type == "phone" and self.country not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(
                f"country: expected one whose phone numbers are known, got {self.country}; give its ISO 3166 code"
            )
        if self.fewest_digits > self.most_digits:
            raise ValueError(
                f"expected fewest_digits <= most_digits, got {self.fewest_digits} and {self.most_digits}; swap them"
            )
        said: dict[tuple[str, ...], str] = {}
        for value, ways in self.choices.items():
            for way in {plain_words(way) for way in (value, *ways)}:
                if not way:
                    raise ValueError(f"choices.{value}: expected words, got a value or way of saying without any")
                if said.setdefault(way, value) != value:
                    raise ValueError(
                        f"choices: {' '.join(way)!r} would mean {said[way]!r} and {value!r}; give each its own words"
                    )
        return self
