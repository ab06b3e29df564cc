"""Filling the booking form by talk: which opening, for whom, and is that right. No model decides here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from num2words import num2words

from pipeline.agent import BookingForm, Opening

TRIES = 3
"""Answers that do not fit before the form gives up."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HOURS = {num2words(n): n for n in range(1, 13)} | {"noon": 12, "midday": 12}
_MINUTES = {
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty five": 45,
    "o'clock": 0,
    "oclock": 0,
}
_HOUR_WORDS = "|".join(_HOURS)
_TIME = re.compile(
    rf"\b(?:(?P<past>half past|quarter past|quarter to) )?(?P<hour>\d{{1,2}}|{_HOUR_WORDS})"
    rf"(?:[:. ]?(?P<digits>[0-5]\d)(?!\d)| (?P<minutes>{'|'.join(_MINUTES)}))?"
    r"(?: ?(?P<half>a\.?m\b\.?|p\.?m\b\.?|in the morning|in the afternoon|in the evening))?"
)
_YES = re.compile(
    r"\b(yes|yeah|yep|yup|correct|right|sure|exactly|perfect|sounds good|that works|please do|okay|ok|absolutely)\b"
)
_NO = re.compile(r"\b(no|nope|not|wrong|incorrect|change|different|wait)\b")
_NAME_LEAD_IN = re.compile(
    r"^(?:(?:yes|yeah|sure|okay|ok|um|uh|well|so|oh|please)[,. ]+)*"
    r"(?:(?:my|the|her|his) (?:full )?name(?:'s| is|s)?|it(?:'s| is|s)(?: for)?|this is|i am|i'm|im|for|under|name)"
    r"\b[,: ]*",
    re.IGNORECASE,
)
_NOT_NAMES = frozenset(
    """a an the what when where how why who is are do does can could would will i you it that this yes no okay to of in
    at on book appointment cleaning please thanks thank sorry hello hi time day open help name""".split()
)


@dataclass(frozen=True, slots=True)
class FormReply:
    """What the form says next, and where it stands."""

    text: str
    state: Literal["open", "done", "given_up"]
    fitted: bool
    """Whether the caller's words fitted what was asked."""
    values: tuple[tuple[str, str], ...] = ()
    """On 'done': what was booked."""


def spoken_time(time: str) -> str:
    """'14:30' -> 'two thirty in the afternoon'."""
    hour, minute = (int(part) for part in time.split(":"))
    half = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    name = num2words((hour - 1) % 12 + 1)
    if minute:
        name += f" {num2words(minute)}" if minute >= 10 else f" oh {num2words(minute)}"
    return f"{name} {half}"


def spoken_opening(opening: Opening) -> str:
    """'Tuesday at ten in the morning'."""
    return f"{opening.day} at {spoken_time(opening.time)}"


def _spoken_list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])}, or {items[-1]}"


@dataclass(frozen=True, slots=True)
class AskedTime:
    """What of a day and time was said."""

    days: frozenset[str]
    minutes: frozenset[int]
    """Minutes after midnight that would fit; both halves of the day if none was named."""
    half: Literal["morning", "afternoon"] | None

    @property
    def named(self) -> bool:
        return bool(self.days or self.minutes or self.half)

    def fits(self, opening: Opening) -> bool:
        """Whether the opening agrees with everything that was said."""
        hour, minute = (int(part) for part in opening.time.split(":"))
        if self.days and opening.day.lower() not in self.days:
            return False
        if self.minutes and hour * 60 + minute not in self.minutes:
            return False
        return not (self.half and (self.half == "morning") != (hour < 12))


def asked_time(text: str) -> AskedTime:
    """The day, time and half of the day named in an utterance ("Tuesday at half past two", "10:30 a.m.")."""
    lowered = re.sub(r"[,?!]|\.(?=\s|$)", " ", text.lower().replace("-", " "))
    lowered = re.sub(r"\s+", " ", lowered)
    days = frozenset(day for day in _DAYS if re.search(rf"\b{day}s?\b", lowered))
    minutes: set[int] = set()
    for match in _TIME.finditer(lowered):
        minutes |= _minutes_of(match)
    half: Literal["morning", "afternoon"] | None = None
    if not minutes:
        half = "morning" if "morning" in lowered else "afternoon" if "afternoon" in lowered else None
    return AskedTime(days=days, minutes=frozenset(minutes), half=half)


def _minutes_of(match: re.Match[str]) -> set[int]:
    word = match["hour"]
    hour = int(word) if word.isdigit() else _HOURS[word]
    digits, minute_words, past = match["digits"], match["minutes"], match["past"]
    if hour > 23 or (word == "one" and not (digits or minute_words or match["half"] or past)):
        return set()
    minute = int(digits) if digits else _MINUTES[minute_words] if minute_words else 0
    minute += {"half past": 30, "quarter past": 15, "quarter to": -15}.get(past or "", 0)
    half = (match["half"] or "").replace(".", "")
    if half in ("am", "in the morning"):
        hours = {hour % 12}
    elif half:
        hours = {hour % 12 + 12}
    else:
        hours = {hour} if hour > 12 else {hour % 12, hour % 12 + 12}
    return {each * 60 + minute for each in hours}


def asked_name(text: str) -> str | None:
    """The name given in an answer to "what name?", or None if it does not look like one."""
    cleaned = _NAME_LEAD_IN.sub("", text.strip())
    words = re.findall(r"[A-Za-z][A-Za-z'\-]*", re.split(r"[.?!]", cleaned)[0])
    if not 1 <= len(words) <= 4 or any(word.lower() in _NOT_NAMES for word in words):
        return None
    return " ".join(word[0].upper() + word[1:] for word in words)


class BookingDialogue:
    """One booking under way."""

    def __init__(self, form: BookingForm) -> None:
        self._form = form
        self._opening: Opening | None = None
        self._name: str | None = None
        self._misses = 0

    @property
    def asks_for_value(self) -> bool:
        """Whether a time or a name is asked for, not just a yes."""
        return self._opening is None or self._name is None

    def begin(self, utterance: str) -> FormReply:
        """The first question; uses a day or time that the opening utterance already names."""
        asked = asked_time(utterance)
        return self._choose(asked) if asked.named else self._ask(self._form.ask_opening)

    def prompt(self) -> FormReply:
        """The question that is open now, asked again."""
        if self._opening is None:
            return self._ask(self._form.ask_opening)
        if self._name is None:
            return self._ask(self._form.ask_name)
        return self._confirm()

    def answer(self, utterance: str) -> FormReply:
        """Take the caller's answer to the open question."""
        if self._opening is None:
            asked = asked_time(utterance)
            return self._choose(asked) if asked.named else self._miss()
        if self._name is None:
            self._name = asked_name(utterance)
            return self._confirm() if self._name else self._miss()
        return self._confirmed(utterance)

    def _choose(self, asked: AskedTime) -> FormReply:
        fitting = [opening for opening in self._form.openings if asked.fits(opening)]
        if len(fitting) == 1:
            self._opening = fitting[0]
            return self._ask(self._form.ask_name) if self._name is None else self._confirm()
        if fitting:
            return self._ask(self._form.choose, fitting)
        same_day = [opening for opening in self._form.openings if opening.day.lower() in asked.days]
        return self._ask(self._form.unavailable, same_day or None)

    def _confirm(self) -> FormReply:
        return self._ask(self._form.confirm)

    def _confirmed(self, utterance: str) -> FormReply:
        lowered = utterance.lower()
        if _NO.search(lowered):
            asked = asked_time(utterance)
            self._opening = None
            return self._choose(asked) if asked.named else self._ask(self._form.ask_again)
        if not _YES.search(lowered):
            return self._miss()
        assert self._opening is not None
        assert self._name is not None
        values = (("opening", f"{self._opening.day} {self._opening.time}"), ("name", self._name))
        return FormReply(text=self._fill(self._form.done), state="done", fitted=True, values=values)

    def _miss(self) -> FormReply:
        self._misses += 1
        if self._misses >= TRIES:
            return FormReply(text=self._form.give_up, state="given_up", fitted=False)
        again = self.prompt()
        return FormReply(text=again.text, state="open", fitted=False)

    def _ask(self, template: str, openings: list[Opening] | None = None) -> FormReply:
        return FormReply(text=self._fill(template, openings), state="open", fitted=True)

    def _fill(self, template: str, openings: list[Opening] | None = None) -> str:
        return template.format(
            openings=_spoken_list([spoken_opening(opening) for opening in openings or self._form.openings]),
            opening=spoken_opening(self._opening) if self._opening else "",
            name=self._name or "",
        )
