"""Choices: among fixed values, or among what is on offer now; by words, by place in the list, by day and time."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache

from pipeline.slots.date_words import weekday_words
from pipeline.slots.dates import DateSaid, dates_said, read_date, spoken_day
from pipeline.slots.numbers import cardinal_words, number_words, tokens
from pipeline.slots.times import (
    Part,
    TimeSaid,
    clock,
    fits_part,
    part_of_day,
    parts_named,
    read_time,
    spoken_time,
    times_said,
)
from pipeline.slots.types import DOUBTFUL, LIKELY, SURE, Found, Language, Option, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.waiting import without_waiting
from pipeline.slots.wording import Heard, apart, fold, hear, phrase, plain_words, refused, standing
from pipeline.slots.yes_no import read_yes_no

_ORDINALS: Mapping[Language, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("first", "1st"),
        ("second", "2nd"),
        ("third", "3rd"),
        ("fourth", "4th"),
        ("fifth", "5th"),
        ("sixth", "6th"),
        ("seventh", "7th"),
        ("eighth", "8th"),
        ("ninth", "9th"),
        ("tenth", "10th"),
    ),
    "es": (
        ("primero", "primera", "primer"),
        ("segundo", "segunda"),
        ("tercero", "tercera", "tercer"),
        ("cuarto", "cuarta"),
        ("quinto", "quinta"),
        ("sexto", "sexta"),
        ("septimo", "septima"),
        ("octavo", "octava"),
        ("noveno", "novena"),
        ("decimo", "decima"),
    ),
}
_THING: Mapping[Language, str] = {
    "en": r"one|option|time|choice|slot|opening|appointment|available|of (?:those|them|these)|please|would|is|works"
    r"|sounds|thanks|that|you (?:said|mentioned)",
    "es": r"opcion|hora|cita|por favor|esta|me|gracias|que|de (?:esos|esas|ellos|ellas)|disponible",
}
_LAST: Mapping[Language, str] = {"en": "last|latter|final", "es": "ultimo|ultima"}
_MIDDLE: Mapping[Language, str] = {"en": "middle", "es": "(?:del|de en) medio|de en medio"}
_NUMBERED: Mapping[Language, str] = {"en": "number|option|choice", "es": "numero|opcion|la numero|el numero"}
_EARLIEST: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"earliest|soonest|(?:first|next) available|as soon as possible"),
    "es": phrase(r"lo antes posible|cuanto antes|mas temprano|mas temprana|mas pronto"),
}
_LATEST: Mapping[Language, re.Pattern[str]] = {"en": phrase(r"latest"), "es": phrase(r"mas tarde|mas tardia")}
_OF_TWO: Mapping[Language, tuple[re.Pattern[str], re.Pattern[str]]] = {
    "en": (phrase(r"the (?:earlier|sooner)(?: (?:one|time))?"), phrase(r"the later(?: (?:one|time))?")),
    "es": (phrase(r"(?:la|el) de antes"), phrase(r"(?:la|el) de despues")),
}
"""The earlier and the later, where two are on offer."""
_THAT_ONE: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:that|this) one|(?:i'll )?take (?:it|that)"),
    "es": phrase(r"es[ae](?: misma?)?|la tomo|lo tomo"),
}
"""The only thing on offer."""
_HOURS = "|".join(cardinal_words(hour, "en") for hour in range(1, 13))
_MINUTES = "oh five|ten|fifteen|twenty(?: five)?|thirty(?: five)?|forty(?: five)?|fifty(?: five)?"
_AT_TIME_ONE = phrase(
    rf"(?:the|that|your|my|and|or|[a-z]+day(?:'s)?) (?:{_HOURS}|1?\d(?::[0-5]\d)?)(?: (?:{_MINUTES}|[0-5]\d))? one"
)
"""'The ten one', 'the six thirty one': what is on offer at that time."""
_SEVERAL: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"both|either|any|all|whichever"),
    "es": phrase(r"ambos|ambas|cualquiera|todos|todas"),
}
_SOMETHING_DONE = re.compile(
    r"\b(?!(?:take|prefer|pick|choose|want|like|maybe|perhaps|option|number|say|rather|yes|okay|ok|um|uh|no|and|or"
    r"|with)\b)"
    r"\w+ $"
)
"""Before a bare 'first' or 'last': it says when something is done ("I need to ask my husband first")."""
_ASKS_ABOUT_IT: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\W*(?:(?:and|so|but|okay|ok|um|uh|oh|well|sorry|first)\W+)*(?:what(?! (?:about|if))|which|when|where|who"
        r"|whose"
        r"|how(?! about|'s)|why(?! not)|(?:is|are)(?!.*\b(?:okay|ok|fine|possible|available|free|open)\b)|was|were|does"
        r"|did|(?:can|could|will|would) you (?:repeat|say|tell|go over|read))"
        r"\b.*\?\W*$"
    ),
    "es": re.compile(
        r"\W*(?:(?:y|pero|vale|bueno|eh|perdon|primero)\W+)*(?:que(?! tal)|cual|cuales|cuando|donde|quien|como|cuanto"
        r"|cuanta|es|son|era|(?:puede|podria|me puede|me podria) (?:repetir|decir|leer)\w*)\b.*\?\W*$"
    ),
}
"""'What was the first one again?', 'is the second with the same dentist?': no pick."""
_TELLS_NOTHING: Mapping[Language, frozenset[str]] = {
    "en": frozenset(
        """a an the and or at in on of for with to my your our please one that this it is i'd i i'll like take want
        would morning afternoon evening noon midnight o'clock oclock am pm oh yes no option number day time
        appointment""".split()
    ),
    "es": frozenset(
        """un una el la los las y o a en de del al para con por mi su lo que es quiero quisiera prefiero manana tarde
        noche mediodia medianoche madrugada si no opcion numero dia hora cita favor""".split()
    ),
}
_FEWEST_LETTERS_UNASKED = 3


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Something that may be chosen."""

    option: Option
    phrases: tuple[tuple[str, ...], ...]
    """Ways of saying it, in folded words."""
    day: date | None
    minute: int | None
    """Minutes after midnight."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of a day and time was said."""

    dates: tuple[DateSaid, ...]
    times: tuple[TimeSaid, ...]
    part: Part | None
    refused_dates: tuple[DateSaid, ...]
    refused_times: tuple[TimeSaid, ...]
    refused_parts: tuple[Part, ...]
    start: int
    end: int
    confidence: float

    def fits(self, candidate: _Candidate) -> bool:
        if self.dates and candidate.day is not None and not any(each.fits(candidate.day) for each in self.dates):
            return False
        if candidate.day is not None and any(each.fits(candidate.day) for each in self.refused_dates):
            return False
        return candidate.minute is None or self._fits_minute(candidate.minute)

    def _fits_minute(self, minute: int) -> bool:
        if any(each.fits(minute) for each in self.refused_times) or any(
            fits_part(part, minute) for part in self.refused_parts
        ):
            return False
        if self.part is not None and not fits_part(self.part, minute):
            return False
        exact = [each for each in self.times if each.bound == "at"]
        if exact and not any(each.fits(minute) for each in exact):
            return False
        return all(each.fits(minute) for each in self.times if each.bound != "at")


@dataclass(frozen=True, slots=True)
class _Match:
    candidates: tuple[_Candidate, ...]
    start: int
    end: int
    confidence: float


def read_choice(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """The canonical value of the one that fits. Unasked, only what is named in full or by its day and time;
    asked, nothing of a question about it."""
    if context.asked and _ASKS_ABOUT_IT[heard.language].match(heard.flat):
        return None
    match = _matching(variable, heard, context)
    if match is None and context.asked and len(context.options) == 1 and _takes_it(heard, context):
        return Found(context.options[0].value, 0, len(heard.flat), LIKELY)
    if match is None or len(match.candidates) != 1:
        return None
    return Found(match.candidates[0].option.value, match.start, match.end, match.confidence)


def _takes_it(heard: Heard, context: ReadingContext) -> bool:
    """Whether the only thing on offer is said yes to."""
    verdict = read_yes_no(heard, context)
    return verdict.value == "yes" if verdict else _THAT_ONE[heard.language].search(heard.flat) is not None


def fitting_options(variable: Variable, heard: Heard, context: ReadingContext) -> tuple[Option, ...]:
    """All that fits what was said, in the order of the offer; empty if nothing was said about it."""
    match = _matching(variable, heard, context)
    return tuple(candidate.option for candidate in match.candidates) if match else ()


def fits_none(variable: Variable, heard: Heard, context: ReadingContext) -> bool:
    """Whether a day or time was said outright at which nothing is on offer."""
    candidates = _candidates(variable, context)
    asked = _asked_time(candidates, heard, context) if candidates else None
    said = asked is not None and bool(asked.dates or asked.times or asked.part)
    return said and asked is not None and not any(asked.fits(candidate) for candidate in candidates)


def choosing_words(variable: Variable, heard: Heard, context: ReadingContext) -> str:
    """The words that say something about the choice; empty if none do."""
    match = _matching(variable, heard, context)
    return heard.words(match.start, match.end) if match else ""


def _candidates(variable: Variable, context: ReadingContext) -> list[_Candidate]:
    options = [
        *(
            Option(value, ways[0] if ways else _plain(value), (*ways, _plain(value)))
            for value, ways in variable.choices.items()
        ),
        *context.options,
    ]
    return [_candidate(option, context) for option in options]


def _plain(value: str) -> str:
    return value.replace("_", " ")


def _candidate(option: Option, context: ReadingContext) -> _Candidate:
    ways = (option.spoken, option.value, _plain(option.value), *option.keywords)
    phrases = tuple(dict.fromkeys(words for way in ways if (words := plain_words(way))))
    day, minute = _day_and_minute(option.value)
    if day is None and minute is None:
        day, minute = _day_and_minute_said(option.spoken, context.language, context.today)
    return _Candidate(option, phrases, day, minute)


def _day_and_minute(value: str) -> tuple[date | None, int | None]:
    """Of a value in ISO form: a date, a time, or both; seconds and offset are the tool's affair."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+\-]\d{2}:?\d{2})?", value, re.ASCII):
        try:
            moment = datetime.fromisoformat(value[:16])
        except ValueError:
            return None, None
        return moment.date(), moment.hour * 60 + moment.minute
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
            return date.fromisoformat(value), None
        if re.fullmatch(r"\d{2}:\d{2}", value, re.ASCII):
            moment_of_day = time.fromisoformat(value)
            return None, moment_of_day.hour * 60 + moment_of_day.minute
    except ValueError:
        return None, None  # Looks like a date, and is none: then it is only words.
    return None, None


@lru_cache(maxsize=512)
def _day_and_minute_said(spoken: str, language: Language, today: date) -> tuple[date | None, int | None]:
    """Of what its system knows by an id: as it is spoken ("Tuesday at ten in the morning"), if that names a day."""
    heard, context = hear(spoken, language), ReadingContext(today=today, language=language, asked=False)
    day = read_date(Variable(type="date"), heard, context)
    if day is None:
        return None, None
    minute = read_time(heard, dataclasses.replace(context, asked=True), (day,))
    at = time.fromisoformat(minute.value) if minute else None
    return date.fromisoformat(day.value), at.hour * 60 + at.minute if at else None


def _matching(variable: Variable, heard: Heard, context: ReadingContext) -> _Match | None:
    match = _matching_as_said(variable, heard, context)
    if match is not None or not context.asked or heard.language != "en":
        return match
    # Only then: "the six thirty-one" may be on offer.
    ones = [one.end() for one in _AT_TIME_ONE.finditer(heard.flat)]
    if not ones:
        return None
    flat = "".join(" " if any(end - 4 <= at < end for end in ones) else each for at, each in enumerate(heard.flat))
    return _matching_as_said(variable, Heard(heard.text, flat, heard.language), context)


def _matching_as_said(variable: Variable, heard: Heard, context: ReadingContext) -> _Match | None:
    candidates = _candidates(variable, context)
    if not candidates:
        return None
    heard = without_waiting(heard)
    named = _named_in_full(candidates, heard, context)
    if named is not None and len(named.candidates) == 1:
        return named
    asked = _asked_time(candidates, heard, context)
    narrowed = candidates
    if asked is not None:
        narrowed = [candidate for candidate in candidates if asked.fits(candidate)]
        if not narrowed:
            return None
    if named is not None:
        both = tuple(candidate for candidate in named.candidates if candidate in narrowed)
        return _Match(both or named.candidates, named.start, named.end, named.confidence)
    if asked is not None and (len(narrowed) == 1 or not context.asked):
        return _Match(tuple(narrowed), asked.start, asked.end, asked.confidence)
    if context.asked:
        told = _told_apart(narrowed, heard) or _by_place(narrowed if asked is None else candidates, heard)
        if told is not None and (asked is None or all(candidate in narrowed for candidate in told.candidates)):
            return told
    return _Match(tuple(narrowed), asked.start, asked.end, asked.confidence) if asked is not None else None


# -- by words ------------------------------------------------------------------------------------------------------


def _named_in_full(candidates: Sequence[_Candidate], heard: Heard, context: ReadingContext) -> _Match | None:
    """Those of which a whole way of saying is heard; 'deep cleaning' is not also 'cleaning'."""
    wanted = [
        (place, "".join(words))
        for place, candidate in enumerate(candidates)
        for words in candidate.phrases
        if not (candidate.day is not None and len(words) == 1 and words[0] in _TELLS_NOTHING[heard.language])
    ]
    windows = _windows(heard, max(len(text) for _, text in wanted) + 1) if wanted else {}
    found = [
        Found(place, start, end)
        for place, text in wanted
        if context.asked or len(text) >= _FEWEST_LETTERS_UNASKED
        # 'Cleanings' is a 'cleaning'.
        for start, end in (*windows.get(text, ()), *windows.get(f"{text}s", ()))
    ]
    outer = [
        one
        for one in found
        if not any(
            other.start <= one.start and one.end <= other.end and _length(other) > _length(one) for other in found
        )
    ]
    outer.sort(key=lambda one: one.start)
    left = standing(outer, heard)
    if not left:
        return None
    chosen = tuple(candidates[place] for place in sorted({one.value for one in left}))
    return _Match(chosen, left[0].start, left[-1].end, SURE)


def _length(one: Found[int]) -> int:
    return one.end - one.start


def _windows(heard: Heard, longest: int) -> Mapping[str, list[tuple[int, int]]]:
    """Where words stand next to each other, by those words without their gaps: 'checkup' is 'check-up' too."""
    items = [item for item in tokens(heard.flat) if item.text[0].isalnum()]
    texts = ["".join(plain_words(item.text)) for item in items]
    windows: dict[str, list[tuple[int, int]]] = {}
    for start in range(len(items)):
        joined = ""
        for end in range(start, len(items)):
            joined += texts[end]
            if len(joined) > longest:
                break
            windows.setdefault(joined, []).append((items[start].start, items[end].end))
    return windows


def _told_apart(candidates: Sequence[_Candidate], heard: Heard) -> _Match | None:
    """Those that share the most telling words with the utterance ('Miller' of 'Doctor Sarah Miller')."""
    telling: dict[str, set[int]] = {}
    for place, candidate in enumerate(candidates):
        for word in _telling_words(candidate, heard.language):
            telling.setdefault(_singular(word), set()).add(place)
    items = [(item, _singular(item.text)) for item in tokens(heard.flat)]
    said = [
        Found(word, item.start, item.end)
        for item, word in items
        if len(telling.get(word, candidates)) < len(candidates)
    ]
    found = standing(said, heard)
    if not found:
        return None
    counts = [sum(place in telling[word] for word in {one.value for one in found}) for place in range(len(candidates))]
    chosen = tuple(candidate for candidate, count in zip(candidates, counts, strict=True) if count == max(counts))
    return _Match(chosen, found[0].start, found[-1].end, LIKELY)


def _singular(word: str) -> str:
    """'The shoe one' is the one from 'Penrose Shoes'."""
    return word[:-1] if word.endswith("s") and len(word) > _FEWEST_LETTERS_UNASKED else word


def _telling_words(candidate: _Candidate, language: Language) -> set[str]:
    words = {word for words in candidate.phrases for word in words}
    return {
        word
        for word in words - _TELLS_NOTHING[language] - number_words(language) - frozenset(weekday_words(language))
        if not word[0].isdigit() and len(word) > 1
    }


# -- by place in the list ------------------------------------------------------------------------------------------


def _by_place(candidates: Sequence[_Candidate], heard: Heard) -> _Match | None:
    """'The second one', 'number two', 'the last', 'the earliest'."""
    language = heard.language
    moments = [(candidate.day, candidate.minute) for candidate in candidates]
    if any(day or minute is not None for day, minute in moments):
        in_time = sorted(candidates, key=lambda each: (each.day or date.min, each.minute or 0))
        of_two = zip(_OF_TWO[language], (0, -1), strict=True) if len(candidates) == 2 else ()
        for pattern, place in ((_EARLIEST[language], 0), (_LATEST[language], -1), *of_two):
            match = pattern.search(heard.flat)
            if match is not None:
                return _Match((in_time[place],), match.start(), match.end(), LIKELY)
    found: list[Found[int]] = []
    for place, match in _place_matches(len(candidates), heard):
        if match[0] in ("first", "last") and _SOMETHING_DONE.search(heard.flat, 0, match.start()):
            continue
        found.append(Found(place, match.start(), match.end()))
    left = standing(apart(found), heard)
    if not left or _SEVERAL[language].search(heard.flat) or _ASKS_ABOUT_IT[language].match(heard.flat):
        return None
    places = {one.value for one in left}
    # "The third" may also be the one offered as "the third of March"; "the third one" is not.
    thing = phrase(_THING[language])
    open_ended = {one.value for one in left if not thing.match(heard.flat, one.end + 1)}
    for place in open_ended:
        names = _ORDINALS[language][place] if place < len(_ORDINALS[language]) else ()
        places |= {
            other
            for other, candidate in enumerate(candidates)
            if candidate.day
            and candidate.day.day == place + 1
            and set(names) & set(plain_words(candidate.option.spoken))
        }
    chosen = tuple(candidates[place] for place in sorted(places))
    return _Match(chosen, left[0].start, left[-1].end, LIKELY)


def _place_matches(count: int, heard: Heard) -> list[tuple[int, re.Match[str]]]:
    language = heard.language
    article = r"(?:the )" if language == "en" else r"(?:el |la |los |las |en )"
    end = rf"(?:(?= (?:{_THING[language]}))|(?=[\s,.!?;]*$)|(?=[,.;!])|(?= (?:or|and|y|o) ))"
    found = []
    for place, names in enumerate(_ORDINALS[language][:count]):
        number = cardinal_words(place + 1, language)
        numbers = "|".join({str(place + 1), fold(number), *(("una",) if place == 0 and language == "es" else ())})
        for pattern in (
            rf"{article}?(?:{'|'.join(names)}){end}",
            rf"(?:{_NUMBERED[language]}) (?:{numbers})",
            rf"^[\s,.]*(?:{numbers})[\s,.!]*$",
        ):
            found += [(place, match) for match in phrase(pattern).finditer(heard.flat)]
    last = rf"{article}?(?:{_LAST[language]})(?! time (?:i|it|we|you|he|she|they)){end}"
    found += [(count - 1, match) for match in phrase(last).finditer(heard.flat)]
    if count % 2:
        middle = rf"{article}?(?:{_MIDDLE[language]})(?: one)?"
        found += [(count // 2, match) for match in phrase(middle).finditer(heard.flat)]
    return found


# -- by day and time -----------------------------------------------------------------------------------------------


def _asked_time(candidates: Sequence[_Candidate], heard: Heard, context: ReadingContext) -> _Asked | None:
    """What was said of days and times, if the candidates have any."""
    with_day = any(candidate.day is not None for candidate in candidates)
    with_time = any(candidate.minute is not None for candidate in candidates)
    if not (with_day or with_time):
        return None
    every_date = dates_said(heard, context.today)
    said_dates = [one for one in every_date if _is_date(one.value, candidates, context)] if with_day else []
    dates, not_dates = standing(said_dates, heard), refused(said_dates, heard)
    said = times_said(heard, every_date) if with_time else []
    wanted = ("plain", "likely", "bare") if context.asked and not _counts_places(heard) else ("plain", "likely")
    said_times = [one for one in said if one.value.mark in wanted or one.value.bound != "at"]
    times, not_times = standing(said_times, heard), refused(said_times, heard)
    part = part_of_day(heard) if with_time and not any(one.value.bound == "at" for one in times) else None
    not_parts = refused(parts_named(heard), heard) if with_time else []
    if not (dates or times or part or not_dates or not_times or not_parts):
        return None
    starts = [one.start for one in dates] + [one.start for one in times]
    ends = [one.end for one in dates] + [one.end for one in times]
    exact = bool(times) and not part
    return _Asked(
        tuple(one.value for one in dates),
        tuple(one.value for one in times),
        part,
        tuple(one.value for one in not_dates),
        tuple(one.value for one in not_times),
        tuple(one.value for one in not_parts),
        min(starts, default=0),
        max(ends, default=len(heard.flat)),
        SURE if exact and dates else LIKELY if exact or dates else DOUBTFUL,
    )


def _is_date(said: DateSaid, candidates: Sequence[_Candidate], context: ReadingContext) -> bool:
    """Whether it is taken for a date: 'the second' of three openings is rather a place in the list."""
    if said.explicit:
        return True
    return context.asked and (said.day_of_month is None or said.day_of_month > len(candidates))


def _counts_places(heard: Heard) -> bool:
    """Whether a number is a place in the list ('number two')."""
    return phrase(rf"(?:{_NUMBERED[heard.language]}) \w+").search(heard.flat) is not None


def spoken_choice(variable: Variable, value: str, context: ReadingContext) -> str:
    """As it was offered; else the first way of saying it; a date and time as such; else the value itself."""
    for option in context.options:
        if option.value == value:
            return option.spoken
    ways = variable.choices.get(value)
    if ways:
        return ways[0]
    day, minute = _day_and_minute(value)
    language = context.language
    if day is not None and minute is not None:
        return _spoken_moment(day, minute, context)
    if day is not None:
        return spoken_day(value, language, context.today)
    return spoken_time(value, language) if minute is not None else _plain(value)


def _spoken_moment(day: date, minute: int, context: ReadingContext) -> str:
    said_day = spoken_day(day.isoformat(), context.language, context.today)
    said_time = spoken_time(clock(minute), context.language)
    if context.language == "en":
        return f"{said_day}{',' if ',' in said_day else ''} at {said_time}"
    return f"{said_day}{',' if ',' in said_day else ''} {'al' if said_time.startswith('el ') else 'a'} " + (
        said_time.removeprefix("el ")
    )
