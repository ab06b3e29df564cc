"""Written text to the words that are said: "$95 at 8:30 AM" -> "ninety five dollars at eight thirty AM".

Each said word knows which written word (split at white space) it belongs to, so that times of the speech can be told in
the words of the text as it was given. Numbers are worded by num2words; the rest is rules for what a receptionist says.
Text normalisers on the package index were tried: the kept ones return a plain string, which loses that link, and need a
compiled grammar (NeMo's) or read "8-5" as the eighth of May.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from num2words import num2words

__all__ = ["PAUSES", "SpokenWord", "spoken_text", "spoken_words"]

PAUSES = ",.;:!?—…"
"""Punctuation that shapes speech; a SpokenWord is followed by at most one of it."""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word as it is said."""

    text: str
    """Latin letters and apostrophes only."""
    written: int
    """Index of the written word it belongs to, in `text.split()`."""
    pause: str = ""
    """Punctuation after it: one character of PAUSES, or nothing."""


def spoken_words(text: str) -> tuple[SpokenWord, ...]:
    """The words that are said for `text`, in order. Empty if nothing in it can be said."""
    written = [_plain(word) for word in text.split()]
    said: list[SpokenWord] = []
    for index, word in enumerate(written):
        opening, core, pause = _bare(word)
        if not core:
            if said and not said[-1].pause:
                said[-1] = _with_pause(said[-1], "—" if word in _DASHES else pause)
            continue
        context = _Context(
            core=core,
            dotted=pause.startswith("."),
            before=tuple(_bare(other)[1] for other in written[max(0, index - 2) : index]),
            after=_bare(written[index + 1])[1] if index + 1 < len(written) else "",
            pause_before=said[-1].pause if said else None,
        )
        parts = _said(context)
        if context.dotted and index + 1 < len(written) and _is_abbreviation(core, parts):
            pause = "," if "," in word[len(opening) + len(core) :] else ""
        for position, (spoken, inner) in enumerate(parts):
            said.append(SpokenWord(spoken, index, inner if position < len(parts) - 1 else inner or pause))
    return tuple(said)


def spoken_text(text: str) -> str:
    """What is said for `text`, as one line."""
    return " ".join(word.text + word.pause for word in spoken_words(text))


# --- Written words --------------------------------------------------------------------------------------------------

_DASHES = {"-", "–", "—", "--"}
_PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "–": "-", "‑": "-", "−": "-", "…": "…", "⁄": "/", "×": "x"}
)


def _plain(word: str) -> str:
    """One spelling for each kind of quote and dash, wide and styled letters and digits made plain."""
    if word in _DASHES:
        return word
    word = re.sub(r"(\d)([½¼¾⅓⅔])", r"\1-and-\2", word)
    word = unicodedata.normalize("NFKC", word.replace("…", "\0")).replace("\0", "…").translate(_PLAIN)
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in word)


_BARE = re.compile(
    r"""^(?P<opening>["'(\[{<*_`~|\\^]*)(?P<core>.*?)(?P<closing>["')\]}>*_`|\\^,.;:!?…—-]*)$""", re.DOTALL
)


def _bare(word: str) -> tuple[str, str, str]:
    """(opening marks, the word itself, pause after it: "" or one character, or "..." as "…")."""
    match = _BARE.match(word)
    assert match is not None
    closing = match["closing"]
    marks = "".join(mark for mark in closing if mark in PAUSES)
    if "..." in marks or "…" in marks:
        return match["opening"], match["core"], "…"
    strongest = next((mark for kind in ("?", "!", ".", ";", ":", "—", ",") for mark in marks if mark == kind), "")
    return match["opening"], match["core"], strongest or ("—" if closing.startswith("--") else "")


def _with_pause(word: SpokenWord, pause: str) -> SpokenWord:
    return SpokenWord(word.text, word.written, pause)


@dataclass(frozen=True, slots=True)
class _Context:
    """A written word without the marks around it, and its neighbours likewise."""

    core: str
    dotted: bool
    """A full stop follows: of an abbreviation, or of a sentence."""
    before: tuple[str, ...]
    """Up to two words before it, the nearest last."""
    after: str
    pause_before: str | None = None
    """The pause after the word before it; None: it is the first, or part of a word."""

    @property
    def previous(self) -> str:
        return self.before[-1] if self.before else ""


Parts = list[tuple[str, str]]
"""Said words, each with the pause after it."""


def _parts(words: str | Iterable[str]) -> Parts:
    return [(word, "") for word in (words.split() if isinstance(words, str) else words)]


def _is_abbreviation(core: str, parts: Parts) -> bool:
    """True if the full stop after the word belongs to it, and ends no sentence."""
    low = core.lower()
    changed = [spoken.lower() for spoken, _ in parts] != [low]
    return (low in _DOTTED and changed) or re.fullmatch(r"(?:[a-z]\.)+[a-z]", low) is not None


# --- Numbers --------------------------------------------------------------------------------------------------------

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"


def _words_of(number: int, to: str = "cardinal") -> list[str]:
    """Raises nothing: numbers too long to say are told digit by digit."""
    if len(str(number)) > 12:
        return _digits(str(number))
    text: str = num2words(number, lang="en", to=to)
    return [word for word in re.sub(r"[-,]", " ", text).split() if word != "and"]


def _digits(text: str) -> list[str]:
    return [_DIGITS[int(digit)] for digit in text if digit.isdigit() and digit.isascii()]


def _cardinal(text: str) -> list[str]:
    """ "1,250", "3.5", "007", ".5" in words."""
    whole, _, fraction = text.replace(",", "").partition(".")
    said = _digits(whole) if whole.startswith("0") and len(whole) > 1 else _words_of(int(whole or 0))
    return [*said, "point", *_digits(fraction)] if fraction else said


def _year(year: int) -> list[str]:
    return _words_of(year, "year")


def _hour(hour: str, minute: str = "", half: str = "") -> list[str]:
    said = _words_of(int(hour))
    if minute and int(minute):
        said += ["oh", *_words_of(int(minute))] if int(minute) < 10 else _words_of(int(minute))
    elif minute and not half:
        said.append("o'clock" if 1 <= int(hour) <= 12 else "hundred")
    return [*said, *_half(half)]


def _half(text: str) -> list[str]:
    """ "a.m." as one word, stressed on the last letter."""
    return [text.replace(".", "").upper()] if text else []


def _letters(text: str) -> list[str]:
    """Letter by letter. The first letter is written out, for alone it would be read as an article."""
    return ["eigh" if letter in "aA" else letter.upper() for letter in text if letter.isalpha()]


_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAY_OF = {
    **{day[:3].lower(): day for day in _DAYS},
    "tues": "Tuesday",
    "weds": "Wednesday",
    "thur": "Thursday",
    "thurs": "Thursday",
}
_MONTH_OF = {**{month[:3].lower(): month for month in _MONTHS}, "sept": "September"}
_SURE_DAYS = {"mon", "tue", "tues", "wed", "weds", "thu", "thur", "thurs", "fri"}
"""Day abbreviations that are no words of their own when written with a capital; "Sat" and "Sun" need a neighbour."""

_COINS = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_MAGNITUDES = {"k": "thousand", "m": "million", "b": "billion"}
_LARGE = {"thousand", "million", "billion", "trillion", "hundred"}
_FRACTIONS = {
    "1/2": "one half", "1/4": "one quarter", "3/4": "three quarters", "1/3": "one third", "2/3": "two thirds",
}  # fmt: skip
_UNITS = {
    "hr": "hour", "hrs": "hours", "min": "minutes", "mins": "minutes", "sec": "seconds", "secs": "seconds",
    "lb": "pounds", "lbs": "pounds", "oz": "ounces", "km": "kilometers", "kg": "kilograms", "mg": "milligrams",
    "ml": "milliliters", "cm": "centimeters", "mm": "millimeters", "ft": "feet", "mph": "miles per hour",
}  # fmt: skip


def _clock(match: re.Match[str], context: _Context) -> Parts:
    minute = match["minute"] or ""
    if not minute.strip("0") and context.after.lower() in _HALVES:
        minute = ""
    return _parts(_hour(match["hour"], minute, match["half"] or ""))


def _clock_range(match: re.Match[str], context: _Context) -> Parts | None:
    ends = [_CLOCK.fullmatch(match[side]) for side in ("left", "right")]
    timely = any(end and (end["minute"] or end["half"]) for end in ends) or context.after.lower() in _HALVES
    if not all(ends) or not timely:
        return None
    left, right = (_hour(end["hour"], end["minute"] or "", end["half"] or "x") for end in ends if end)
    return _parts([word for word in [*left, "to", *right] if word != "X"])


def _phone(match: re.Match[str], _: _Context) -> Parts:
    said: Parts = []
    for group in re.findall(r"\d+", match[0]):
        for block in [group[:3], group[3:6], group[6:]] if len(group) == 10 else [group]:
            if block:
                words = ["eight", "hundred"] if block == "800" else _digits(block)
                said += [*_parts(words[:-1]), (words[-1], ",")]
    return [*said[:-1], (said[-1][0], "")]


def _phone_group(match: re.Match[str], context: _Context) -> Parts | None:
    """One group of a number written apart: "(415) 555-0132", "415 555 0132"."""
    ends = re.fullmatch(r"\d{3}", context.previous)
    next_group = r"\d{3}(?:[-.]?\d{4})?|\d{4}" if ends else r"\d{3}(?:[-.]?\d{4})?"
    follows = len(match[0]) == 3 and re.fullmatch(next_group, context.after)
    if not follows and not ends:
        return None
    words = _digits(match[0])
    return [*_parts(words[:-1]), (words[-1], "," if follows else "")]


def _money(match: re.Match[str], context: _Context) -> Parts:
    unit, small = _COINS[match["sign"]]
    amount = match["amount"].replace(",", "")
    whole, _, cents = amount.partition(".")
    if match["size"] or context.after.lower() in _LARGE:
        size = [_MAGNITUDES[match["size"].lower()]] if match["size"] else []
        # "$2 million": the unit is said after the magnitude, which is a written word of its own.
        return _parts([*_cardinal(amount), *size, *([f"{unit}s"] if size else [])])
    said = [*_words_of(int(whole)), unit if int(whole) == 1 else f"{unit}s"] if int(whole) or not cents else []
    if cents and int(cents.ljust(2, "0")[:2]):
        count = int(cents.ljust(2, "0")[:2])
        many = "pence" if small == "penny" else f"{small}s"
        said += [*(["and"] if said else []), *_words_of(count), small if count == 1 else many]
    return _parts(said or ["zero", f"{unit}s"])


def _money_range(match: re.Match[str], _: _Context) -> Parts:
    unit = _COINS[match["sign"]][0]
    return _parts([*_cardinal(match["left"]), "to", *_cardinal(match["right"]), f"{unit}s"])


def _magnitude(match: re.Match[str], context: _Context) -> Parts | None:
    """ "million" after "$2"."""
    sign = context.previous[:1]
    return _parts([match[0], f"{_COINS[sign][0]}s"]) if sign in _COINS else None


def _date(match: re.Match[str], context: _Context) -> Parts | None:
    month, day = int(match["month"]), int(match["day"])
    year = match["year"]
    if not (1 <= month <= 12 and 1 <= day <= 31) or (not year and context.core == "24/7"):
        return None
    said = [_MONTHS[month - 1], *_words_of(day, "ordinal")]
    if year:
        said += _year(int(year) if len(year) == 4 else 2000 + int(year))
    return _parts(said)


def _fraction(match: re.Match[str], context: _Context) -> Parts | None:
    """ "1/2" is a half; "3/4" a date, unless a number or "and" goes before it."""
    counted = context.previous.isdigit() or context.previous == "and" or context.after in {"of", "hour", "mile"}
    if match[0] != "1/2" and not counted:
        return None
    return _parts(("and " if context.previous.isdigit() else "") + _FRACTIONS[match[0]])


def _whole_number(match: re.Match[str], context: _Context) -> Parts:
    text = match[0]
    plain = text.replace(",", "")
    month = _month(context.previous)
    if month and len(plain) <= 2 and 1 <= int(plain) <= 31:
        return _parts(_words_of(int(plain), "ordinal"))
    if "," not in text and len(plain) == 4 and 1900 <= int(plain) <= 2099:
        return _parts(_year(int(plain)))
    if len(plain) >= 7 and "," not in text:
        return _parts(_digits(plain))
    return _parts(_cardinal(text))


def _ordinal(match: re.Match[str], _: _Context) -> Parts:
    return _parts(_words_of(int(match["number"].replace(",", "")), "ordinal"))


def _decade(match: re.Match[str], _: _Context) -> Parts:
    said = _year(int(match["year"])) if len(match["year"]) == 4 else _words_of(int(match["year"]))
    last = said[-1]
    return _parts([*said[:-1], f"{last[:-1]}ies" if last.endswith("y") else f"{last}s"])


def _range(match: re.Match[str], context: _Context) -> Parts:
    """ "10-15", "8-5": the second number may be less than the first (hours)."""
    right = _said(_Context(match["right"], context.dotted, (match["left"],), context.after))
    return [*_parts(_cardinal(match["left"])), ("to", ""), *right]


def _measured(match: re.Match[str], _: _Context) -> Parts | None:
    unit = match["unit"].lower()
    return _parts([*_cardinal(match["number"]), *_UNITS[unit].split()]) if unit in _UNITS else None


# --- Names, abbreviations, addresses --------------------------------------------------------------------------------

_HALVES = {"am", "pm", "a.m", "p.m"}
_DOTTED = {
    "dr", "mr", "mrs", "ms", "prof", "st", "ave", "blvd", "rd", "ste", "apt", "no", "vs", "approx", "dept", "ext",
    "jr", "sr", "e.g", "i.e", "etc", *_HALVES, *_DAY_OF, *_MONTH_OF,
}  # fmt: skip
"""Abbreviations whose full stop ends no sentence while words follow."""
_ALWAYS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "ave": "avenue", "blvd": "boulevard",
    "ste": "suite", "apt": "apartment", "vs": "versus", "approx": "approximately", "dept": "department",
    "ext": "extension", "jr": "junior", "sr": "senior", "e.g": "for example", "i.e": "that is", "etc": "et cetera",
    "w/o": "without", "w/": "with", "w": "W", "24/7": "twenty four seven", "asap": "eigh S eigh P", "&": "and",
    "@": "at", "+": "plus", "=": "equals", "%": "percent", "#": "number", "yeah": "yeah",
}  # fmt: skip
_NEED_A_DOT = {"ms", "ave", "ste", "apt", "dept", "ext", "jr", "sr", "prof"}


def _month(word: str) -> str:
    if word in _MONTHS:
        return word
    return _MONTH_OF.get(word.lower(), "") if word[:1].isupper() else ""


def _capital(word: str) -> bool:
    return word[:1].isupper()


def _abbreviation(match: re.Match[str], context: _Context) -> Parts | None:
    core, low = context.core, context.core.lower()
    if low in _ALWAYS and (low not in _NEED_A_DOT or context.dotted):
        return _parts(_ALWAYS[low])
    if low in _HALVES and (context.previous[-1:].isdigit() or core != "am"):
        return _parts(_half(core))
    if low in {"dr", "st", "rd"} and (context.dotted or core[0].isupper()):
        address = len(context.before) == 2 and context.before[0].isdigit()
        title = _capital(context.after) and not address
        if low == "dr":
            return _parts("doctor" if title or not _capital(context.previous) else "drive")
        if low == "st":
            return _parts("saint" if title else "street")
        return _parts("road") if context.dotted and _capital(context.previous) else None
    if low == "no" and context.dotted and context.after[:1].isdigit():
        return _parts("number")
    return _day_or_month(context)


def _day_or_month(context: _Context) -> Parts | None:
    low = context.core.lower()
    if not _capital(context.core):
        return None
    near = {word.lower() for word in (context.previous, context.after)}
    if low in _DAY_OF and (low in _SURE_DAYS or any(word in _DAY_OF for word in near) or context.after[:1].isdigit()):
        return _parts(_DAY_OF[low])
    if low in _MONTH_OF and low != "may" and (context.dotted or context.after[:1].isdigit()):
        return _parts(_MONTH_OF[low])
    return None


def _named_range(match: re.Match[str], _: _Context) -> Parts | None:
    """ "Mon-Fri", "March-May"."""
    names: dict[str, str] = {**_DAY_OF, **_MONTH_OF, **{name.lower(): name for name in (*_DAYS, *_MONTHS)}}
    ends = [names.get(match[side].lower(), "") for side in ("left", "right")]
    return _parts([ends[0], "to", ends[1]]) if all(ends) else None


def _initials(match: re.Match[str], _: _Context) -> Parts:
    return _parts(_letters(match[0]))


def _spelled(_: re.Match[str], context: _Context) -> Parts | None:
    """The A of letters that are read out ("A B C", "one, A"), no article: that would be a capital where a sentence
    begins."""
    letter = re.compile(r"[A-Z]")
    after_letter = context.pause_before == "" and letter.fullmatch(context.previous) is not None
    beside = after_letter or context.pause_before == "," or letter.fullmatch(context.after) is not None
    return _parts(_letters(context.core)) if context.core == "A" and beside else None


_SPELLED = {".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "+": "plus", ":": "colon"}


def _address(match: re.Match[str], _: _Context) -> Parts:
    """E-mail or web address: words as they are, "dot", "slash", "at"; digits one by one; no query."""
    text = re.sub(r"^[a-z]+://", "", match[0], flags=re.IGNORECASE).split("?")[0].rstrip("/")
    said: list[str] = []
    for piece in re.findall(r"[^\W\d_]+|\d+|[./\-_@+:]", text):
        if piece.lower() == "www":
            said += ["double", "you"] * 3
        elif piece[0].isdigit():
            said += _digits(piece)
        else:
            said += [_SPELLED[piece]] if piece in _SPELLED else [piece]
    return _parts(said)


# --- Putting it together --------------------------------------------------------------------------------------------

_TIME = r"(?P<hour>[01]?\d|2[0-3])(?::(?P<minute>[0-5]\d))?(?P<half>[ap]\.?m\.?)?"
_CLOCK = re.compile(_TIME, re.IGNORECASE)
_PHONE = r"(?:\+?1[-.])?(?:\(\d{3}\)[-.]?|\d{3}[-.])\d{3}[-.]\d{4}|\d{3}-\d{4}|\+1\d{10}|\d{10}"
_SIGN = r"(?P<sign>[$£€])"
_AMOUNT = rf"(?:{_NUMBER})(?:\.\d+)?|\.\d+"

Rule = Callable[[re.Match[str], _Context], Parts | None]
_RULES: tuple[tuple[re.Pattern[str], Rule], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), rule)
    for pattern, rule in (
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
        (r"(?:https?://|www\.)\S+", _address),
        (r"[a-z][\w-]*(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|co|us|uk|health|dental)(?:/\S*)?", _address),
        (r".*", _abbreviation),
        (r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::[0-5]\d)?(?P<half>[ap]\.?m)?", _clock),
        (r"(?P<hour>1[0-2]|0?[1-9])(?P<minute>)(?P<half>[ap]\.?m)", _clock),
        (r"(?P<left>[\d:]+(?:[ap]\.?m\.?)?)-(?P<right>[\d:]+(?:[ap]\.?m)?)", _clock_range),
        (_PHONE, _phone),
        (r"\d{3,4}", _phone_group),
        (rf"{_SIGN}(?P<amount>{_AMOUNT})(?P<size>[kmb])?", _money),
        (rf"{_SIGN}(?P<left>{_AMOUNT})-[$£€]?(?P<right>{_AMOUNT})", _money_range),
        (r"thousand|million|billion|trillion", _magnitude),
        (r"1/2|1/4|3/4|1/3|2/3", _fraction),
        (r"(?P<month>\d{1,2})/(?P<day>\d{1,2})(?:/(?P<year>\d{4}|\d{2}))?", _date),
        (r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})", _date),
        (rf"(?P<number>{_NUMBER})(?:st|nd|rd|th)", _ordinal),
        (r"'?(?P<year>(?:19|20)?[1-9]0)'?s", _decade),
        (_NUMBER, _whole_number),
        (rf"(?P<left>{_AMOUNT})-(?P<right>(?:{_AMOUNT})(?:%|st|nd|rd|th)?)", _range),
        (rf"(?P<number>{_AMOUNT})(?P<unit>[a-z]+)", _measured),
        (r"(?P<left>[a-z]+)\.?-(?P<right>[a-z]+)", _named_range),
        (r"(?:[a-z]\.)+[a-z]", _initials),
        (r"A", _spelled),
    )
)

_PIECES = re.compile(
    rf"[$£€](?:{_AMOUNT})|(?:{_AMOUNT})|[^\W\d_]+(?:'[^\W\d_]+)*|[&@+=%#~]|—|--|…|[,;:!?.](?=\S)", re.IGNORECASE
)


def _said(context: _Context) -> Parts:
    for pattern, rule in _RULES:
        match = pattern.fullmatch(context.core)
        parts = rule(match, context) if match else None
        if parts:
            return [part for word, pause in parts for part in _sayable(word, pause)]
    return _piecewise(context)


def _piecewise(context: _Context) -> Parts:
    """What no rule knows: runs of letters, numbers and signs one after another; other signs are left out."""
    said: Parts = []
    for piece in _PIECES.findall(context.core):
        if piece in {"—", "--", "…", ",", ";", ":", "!", "?"}:
            if said:
                said[-1] = (said[-1][0], {"--": "—"}.get(piece, piece))
        elif piece == "~":
            said += _parts("about")
        elif piece in _ALWAYS:
            said += _parts(_ALWAYS[piece])
        elif re.fullmatch(_AMOUNT, piece):
            said += _parts(_cardinal(piece))
        elif piece[0] in _COINS:
            said += _said(_Context(piece, False, (), ""))
        else:
            said += _sayable(piece, "")
    return said


def _sayable(word: str, pause: str) -> Parts:
    """The Latin letters of a word; none if it has none. A lone capital "A" of an initialism stays an article."""
    kept = "".join(letter for letter in word if letter == "'" or _latin(letter)).strip("'")
    return [(kept, pause)] if any(letter != "'" for letter in kept) else []


def _latin(letter: str) -> bool:
    return letter.isalpha() and (letter.isascii() or unicodedata.name(letter, "").startswith("LATIN"))
