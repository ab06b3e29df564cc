"""What callers change of what is known: "no, in the evening", "it's not Kim, it's Kimberly", "make that Thursday".

A correction tells only what is other: the rest of the value stays (the surname, the day, the half of the day).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import SequenceMatcher

from pipeline.slots.bearers import bearer_of
from pipeline.slots.digits import with_other_end
from pipeline.slots.little_else import after_no, little_else
from pipeline.slots.reading import Reading, ReadingContext, claimed, fitting, read
from pipeline.slots.texts import text_anew
from pipeline.slots.times import clock, in_part, part_of_day, parts_named, times_said
from pipeline.slots.types import DOUBTFUL, LIKELY, Language, Option
from pipeline.slots.variables import Variable
from pipeline.slots.wording import Heard, core, fold, hear, phrase, plain_words

_MARKS: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"no|nope|not|isn't|wasn't|wrong|incorrect|actually|(?:oh )?wait|sorry|instead|rather|i (?:said|meant|mean)"
        r"|hold on"
        r"|make (?:it|that)|change (?:it|that|the|my)|should (?:be|have been)|supposed to be|correction|scratch that"
        r"|but"
        r"|on second thought|except|i'd (?:prefer|rather)|i (?:wanted|need|want|prefer)|spelled|spelt|ends (?:in|with)"
        r"|last (?:two|three|four)"
    ),
    "es": phrase(
        r"no|incorrecto|mal|en realidad|espere|espera|perdon|perdone|disculpe|mejor|mejor dicho|digo|dije|queria decir"
        r"|quise decir|cambie\w*|cambia\w*|ponga\w*|deberia ser|tiene que ser|mas bien|corrijo|pero|en vez de|prefiero"
        r"|preferiria|queria|excepto|salvo|se escribe|se deletrea|deletreo|(?:termina|acaba) en|ultim[oa]s"
    ),
}
"""What tells that something known is to be changed."""
_CHANGES_HIS_MIND: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"^no(?=[,.])|(?:oh |no |and |but |um |uh )*(?:wait|hold on|actually|on second thought|scratch that|make (?:it"
        r"|that)|can (?:you|we) (?:make|change)|change (?:it|that|the|my)|no(?= (?:not|make|the|i|on|at|let's|actually"
        r"|wait)\b))"
    ),
    "es": phrase(
        r"^no(?=[,.])|(?:ay |no |y |pero |eh )*(?:espere|espera|en realidad|mejor dicho|mejor|pensandolo bien|cambie\w*"
        r"|cambia\w*|puede cambiar\w*|no(?= (?:el|la|las|mejor|que|a)\b))"
    ),
}
"""Where somebody who answers goes back to what he said before."""
_CLAUSE_END = r"[,.;:!?]+(?=\s|$)|\s-+\s"
_NEW_CLAUSE: Mapping[Language, str] = {
    "en": r"\s(?=(?:it's|it is|it should|but|make it|make that|i said|i meant)\b)",
    "es": r"(?<!no)\s(?=(?:sino|es|pero|dije|ponga)\b)",
}
_DENIES: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:it's |it is |that's |that is |no )*(?:not|isn't|wasn't|is not|was not)|instead of|rather than"),
    "es": phrase(r"(?:no )+(?:es|era|se llama|soy|el|la|las|los)|en vez de|en lugar de"),
}
_LEADS_IN: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"(?:\s*(?:no|nope|oh|um|uh|well|but|and|yes|yeah|actually|wait|sorry|i'm sorry|please|rather|instead|it's"
        r"|it is"
        r"|it should be|it should have been|that should be|should be|that's|make it|make that|i said|i meant|i mean"
        r"|change it to|change that to|change (?:the|my) \w+ to|the (?:\w+ )?(?:is|should be)"
        r"|i'd (?:rather have|prefer|like)|i (?:want|wanted|prefer|need)|can (?:we|you) (?:make it|do|change it to))\b"
        r"[\s,]*)+"
    ),
    "es": re.compile(
        r"(?:\s*(?:no|ay|eh|bueno|pero|sino|y|si|en realidad|espere|espera|perdon|perdone|mejor|mejor dicho|digo|dije"
        r"|es|queria decir|quise decir|cambielo (?:a|por)|cambie(?:lo|la)? (?:a|por)|ponga|pongalo|deberia ser"
        r"|tiene que ser|prefiero|preferiria|queria|que)\b[\s,]*)+"
    ),
}
_GREETING: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:have )?(?:a )?(?:good|nice|great|lovely|wonderful) (?:day|morning|afternoon|evening|night|weekend)"
    ),
    "es": phrase(r"(?:que tenga )?(?:muy )?buen(?:as?|os)? (?:dias?|tardes?|noches?|fin de semana)"),
}
_OTHER: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"the other(?: (?:one|time|day|option))?"),
    "es": phrase(r"(?:el|la) otr[oa]"),
}
_FIRST_NAME: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"first name|given name"),
    "es": phrase(r"(?:mi|el) nombre(?: de pila)?"),
}
_LAST_NAME: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"last name|surname|family name"),
    "es": phrase(r"apellidos?"),
}
_AT_ITS_END: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"ends? (?:in|with)|ending (?:in|with)|at the end|last (?:two|three|four|five|part|digits?)"),
    "es": phrase(r"(?:termina|acaba) (?:en|con)|al final|(?:las )?ultim[oa]s (?:dos|tres|cuatro|cinco|cifras|digitos)"),
}
_CALLS_WRONG: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:the|my|that) (\w+)(?:'s)?(?: \w+)? (?:is|was|isn't)(?: \w+)? (?:wrong|incorrect|right|correct)"
        r"|(?:the|my) (\w+)'s (?:wrong|not right|incorrect)|(?:wrong|another|(?:a )?different|some other) (\w+)"
        r"|change (?:the|my) (\w+)|^(?:no |um |just |only )*(?:the|my) (\w+)(?:'s name)?(?: please)?$"
    ),
    "es": phrase(
        r"(?:el|la|mi) (\w+)(?: \w+)? (?:esta mal|es incorrect[oa]|no es correct[oa]|no esta bien|no es)"
        r"|cambi\w+ (?:el|la|mi) (\w+)|otr[oa] (\w+)"
        r"|^(?:no |eh |solo )*(?:el nombre de )?(?:el|la|mi) (\w+)(?: por favor)?$"
    ),
}
_CALLED: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"^(?:no |um |uh |just |change )*(?:the|my) (\w+)(?=\W)"),
    "es": phrase(r"^(?:no |eh |solo |cambie |cambia )*(?:el|la|mi) (\w+)(?=\W)"),
}
"""What is to change, called before it is said ("the time, make it five")."""
_KINDS: Mapping[Language, Mapping[str, str]] = {
    "en": {"time": "time hour", "date": "day date", "name": "name", "phone": "phone number", "email": "email address"},
    "es": {"time": "hora", "date": "dia fecha", "name": "nombre", "phone": "telefono numero", "email": "correo"},
}
"""What callers call a value of a type."""
_MERELY: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:just|only)\s+(?P<name>[^,.;:!?]+)(?=[,.;:!?]|$)"),
    "es": re.compile(r"\b(?:solo|solamente|nada mas que)\s+(?P<name>[^,.;:!?]+)(?=[,.;:!?]|$)"),
}
"""Before all of a name of which too much was heard."""
_WITHOUT: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:without|leave out|drop|take out|take off|remove|minus)(?: the)? (?P<words>\w+(?: \w+)?)"),
    "es": phrase(r"(?:sin|quite|quita|borre|elimine)(?: el| la)? (?P<words>\w+(?: \w+)?)"),
}
"""Before words that are no part of a name."""
_OWN_NAME: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"my (?:\w+ )?name"),
    "es": phrase(r"mi nombre"),
}
"""Of several names, no pet's."""
_ASKS_WHETHER: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"^\W*(?:(?:and|so|but|oh|wait)\W+)*(?:is|isn't|are|was)\b"),
    "es": re.compile(r"^\W*(?:(?:y|pero|ah)\W+)*(?:es|esta|era|seria)\b.*\?"),
}
"""Who wants to know whether it is so changes nothing ("Is it with Marco?")."""
_ALIKE = 0.5
"""Likeness from which one name is taken for a better hearing of another."""
_SURELY_ALIKE = 0.6
"""The same where it tells one name from another."""
_HALF_DAY_MIN = 12 * 60
_FEW_WORDS = 4
"""An answer of so many words that names a part of the day says that alone ("tomorrow in the evening")."""


@dataclass(frozen=True, slots=True)
class Known:
    """A value that may be corrected."""

    variable: Variable
    value: str
    """Canonical."""
    context: ReadingContext


@dataclass(frozen=True, slots=True)
class _Parts:
    """An utterance, taken apart."""

    whole: str
    denied: str
    """What it is not."""
    stated: str
    """What it is instead, without the words that lead up to it."""


def corrections(
    utterance: str, known: Mapping[str, Known], language: Language, *, agreed: bool = False
) -> Mapping[str, Reading]:
    """The values that the utterance changes, by name. `agreed`: it is a yes, and changes only what it names outright.

    What is named outright ("Thursday", "five people") is taken for all; what could be many things ("eight") only if it
    fits one of the values.
    """
    if agreed or not marks_a_correction(utterance, language):
        parts = _taken_apart(utterance, language, agreed=agreed)
        known = _names_meant(known, parts, language)
        return {name: reading for name, each in known.items() if (reading := _named(each, parts)) is not None}
    return told(utterance, known, language)


def told(utterance: str, known: Mapping[str, Known], language: Language) -> Mapping[str, Reading]:
    """What an answer to "what should I change?" changes: nothing if it may be about several of the values."""
    parts = _taken_apart(utterance, language, agreed=False)
    if (match := _CALLED[language].match(hear(utterance, language).flat)) is not None:
        variables = {name: each.variable for name, each in known.items()}
        called = _the_one_called({_stem(match[1])}, match[0], variables, language)
        known = {called: known[called]} if called else known
    known = _names_meant(known, parts, language)
    named = {name: reading for name, each in known.items() if (reading := _named(each, parts)) is not None}
    if named:
        # One of a few fixed choices may be named in passing: "Friday evening".
        fixed = {name: each for name, each in known.items() if each.variable.choices and name not in named}
        more = {name: reading for name, each in fixed.items() if (reading := _stated(each, parts)) is not None}
        return {**named, **more}
    for read_stated in (_stated, _other_end):
        found = {name: reading for name, each in known.items() if (reading := read_stated(each, parts)) is not None}
        # The digits of "five T R nine" are no time.
        found = {name: found[name] for name in found if _is_code(known[name], found[name].value)} or found
        if found:
            return found if len(found) == 1 else _most_alike(found, known)
    return {}


def plainly_told(
    utterance: str, known: Mapping[str, Known], language: Language, besides: Sequence[str] = ()
) -> Mapping[str, Reading]:
    """What an utterance that is values and little else changes ("Friday at ten would be nicer"). Words that may be
    about several of the values change none of them. `besides`: words of it that tell something new."""
    claims = {
        name: claimed(each.variable, utterance, replace(each.context, asked=False)) for name, each in known.items()
    }
    asks_whether = _ASKS_WHETHER[language].match(hear(utterance, language).flat)
    if asks_whether or not little_else(utterance, (*claims.values(), *besides), language):
        return {}
    parts = _taken_apart(utterance, language, agreed=False)
    found: dict[str, Reading] = {}
    for name, words in claims.items():
        others = [*besides, *(other for key, other in claims.items() if key != name)]
        reading = _named(known[name], parts) if words and not any(_shared(words, other) for other in others) else None
        if reading is not None:
            found[name] = replace(reading, words=words)
    return found


def _shared(words: str, others: str) -> bool:
    return bool(set(plain_words(words)) & set(plain_words(others)))


def marks_a_correction(utterance: str, language: Language) -> bool:
    """Whether it has a word by which callers take something back."""
    return _MARKS[language].search(hear(utterance, language).flat) is not None


def second_thought(utterance: str, language: Language) -> tuple[str, str] | None:
    """An answer, and what its speaker changes then of what he said before ("Ana, oh wait, make that Thursday")."""
    heard = hear(utterance, language)
    match = _CHANGES_HIS_MIND[language].search(heard.flat)
    return (heard.text[: match.start()], heard.text[match.start() :]) if match else None


def called_wrong(utterance: str, variables: Mapping[str, Variable], language: Language) -> str | None:
    """The one variable that the utterance calls wrong ("the name is wrong", "I need another day"), by its name or
    description; None if it is none or may be several."""
    match = _CALLS_WRONG[language].search(hear(utterance, language).flat.strip(" ,.;:!?"))
    if match is None:
        return None
    words = {_stem(word) for group in match.groups() if group for word in plain_words(group)}
    return _the_one_called(words, match[0], variables, language)


def _the_one_called(words: Set[str], called: str, variables: Mapping[str, Variable], language: Language) -> str | None:
    """The variable that these words of what is called call by its name, its description, its kind or whose name it is;
    None if it is none or several."""
    fitting_names = [
        name
        for name, variable in variables.items()
        if words
        & {
            _stem(word)
            for text in (name, variable.description, _KINDS[language].get(variable.type, ""))
            for word in plain_words(text)
        }
    ]
    named = {name: bearer_of(each.description) for name, each in variables.items() if each.type == "name"}
    if not fitting_names and (bearer := bearer_of(" ".join(words))) != "person":
        fitting_names = [name for name in named if named[name] == bearer]
    if len(fitting_names) > 1 and _OWN_NAME[language].search(fold(called)):
        fitting_names = [name for name in fitting_names if named.get(name) != "pet"]
    return fitting_names[0] if len(fitting_names) == 1 else None


def _names_meant(known: Mapping[str, Known], parts: _Parts, language: Language) -> Mapping[str, Known]:
    """Without the names that the words are not about: "it's not Bella" is about the one whose value is Bella, "just
    Ann" about the one with an Ann in it."""
    heard = hear(parts.whole, language)
    merely = " ".join(match["name"] for match in _MERELY[language].finditer(heard.flat))
    words = set(plain_words(f"{parts.denied} {merely}"))
    names = {name for name, each in known.items() if each.variable.type == "name"}
    meant = {name for name in names if words & set(plain_words(known[name].value))}
    return {name: each for name, each in known.items() if name not in names or name in meant} if meant else known


def _most_alike(found: Mapping[str, Reading], known: Mapping[str, Known]) -> Mapping[str, Reading]:
    """Of several names, the one that this resembles; nothing if it is none or several."""
    if any(known[name].variable.type != "name" for name in found):
        return {}
    alike = {name: each for name, each in found.items() if _likeness(each.value, known[name].value) >= _SURELY_ALIKE}
    return alike if len(alike) == 1 else {}


def _stem(word: str) -> str:
    return word.removesuffix("s")


def _taken_apart(utterance: str, language: Language, *, agreed: bool) -> _Parts:
    heard = hear(utterance, language)
    text = list(heard.text)
    for match in _GREETING[language].finditer(heard.flat):
        text[match.start() : match.end()] = " " * len(match[0])
    if agreed:
        for match in re.finditer(r"[^.!?]*\?", heard.flat):
            text[match.start() : match.end()] = " " * len(match[0])
    whole = "".join(text)
    denied: list[str] = []
    stated: list[str] = []
    for clause in re.split(rf"{_CLAUSE_END}|{_NEW_CLAUSE[language]}", whole, flags=re.IGNORECASE):
        flat = hear(clause, language)
        denies = _DENIES[language].search(flat.flat)
        if denies:
            denied.append(flat.text[denies.end() :])
            stated.append(flat.text[: denies.start()])
            continue
        lead = _LEADS_IN[language].match(flat.flat)
        stated.append(flat.text[lead.end() if lead else 0 :])
    return _Parts(whole, " ".join(denied), ", ".join(each.strip() for each in stated if each.strip(" -")))


# -- by type -------------------------------------------------------------------------------------------------------


def _named(known: Known, parts: _Parts) -> Reading | None:
    """What is changed outright."""
    unasked = replace(known.context, asked=False)
    match known.variable.type:
        case "choice":
            return _chosen(known, parts.whole, unasked)
        case "name":
            less = _less_of_name(known, parts.whole)
            return less or _other_name(known, parts, read(known.variable, _mend_denial(parts), unasked))
        case "text":
            return _other_text(known, parts)
        case "time":
            return _other_time(known, parts.whole, unasked) or _only_part(known, parts.stated)
        case "phone" | "digits":
            found = _if_other(read(known.variable, parts.whole, unasked), known)
            at_its_end = _AT_ITS_END[unasked.language].search(hear(parts.whole, unasked.language).flat)
            return found or (_other_end(known, parts) if at_its_end else None)
        case _:
            return _if_other(read(known.variable, parts.whole, unasked), known)


def _stated(known: Known, parts: _Parts) -> Reading | None:
    """What is changed if the words are about this value at all."""
    match known.variable.type:
        case "choice":
            return _chosen(known, parts.stated, known.context)
        case "name":
            return _other_name(known, parts, _name_stated(known, parts))
        case "time":
            return _other_time(known, parts.stated, known.context) or _other_part(known, parts.whole)
        case "text" | "yes_no":
            return None
        case "code":
            reading = _if_other(read(known.variable, parts.stated, known.context), known)
            # "Eight thirty" is another time rather than another plate.
            alike = reading is not None and (_is_code(known, reading.value) or len(reading.value) == len(known.value))
            return reading if alike else None
        case _:
            return _if_other(read(known.variable, parts.stated, known.context), known)


def _is_code(known: Known, value: str) -> bool:
    """Whether it can be nothing but a code: letters and digits."""
    return known.variable.type == "code" and not value.isdigit() and not value.isalpha()


def _other_text(known: Known, parts: _Parts) -> Reading | None:
    """Another text, called by its description, or much like the one before ("no, 301 Lake Drive")."""
    heard = hear(parts.whole, known.context.language)
    anew = text_anew(known.variable, heard, known.context)
    if anew is not None:
        return _if_other(Reading(anew.value, anew.value, anew.confidence), known)
    reading = read(known.variable, after_no(parts.stated, heard.language), known.context)
    alike = reading is not None and _likeness(reading.value, known.value) >= _SURELY_ALIKE
    return _if_other(reading, known) if alike else None


def _if_other(reading: Reading | None, known: Known) -> Reading | None:
    return reading if reading is not None and reading.value != known.value else None


def _mend_denial(parts: _Parts) -> str:
    """The words without what they deny."""
    return parts.stated if parts.denied.strip() else parts.whole


def _chosen(known: Known, text: str, context: ReadingContext) -> Reading | None:
    options = _options(known)
    heard = hear(text, context.language)
    other = _OTHER[context.language].search(heard.flat)
    if other and len(options) == 2 and known.value in options:
        value = next(each for each in options if each != known.value)
        return Reading(value, heard.words(*other.span()), LIKELY)
    fits = [option.value for option in fitting(known.variable, text, context)]
    if not fits or known.value in fits or len(fits) == len(options):
        return None
    if len(fits) > 1:
        fits = _nearest(known.value, fits)
    return Reading(fits[0], text.strip(), LIKELY) if len(fits) == 1 else None


def _options(known: Known) -> list[str]:
    return [*known.variable.choices, *(option.value for option in known.context.options)]


def _nearest(value: str, others: Sequence[str]) -> list[str]:
    """Those on the same day, or at the same time of day."""
    try:
        was = datetime.fromisoformat(value)
        moments = [datetime.fromisoformat(other) for other in others]
    except ValueError:
        return list(others)  # No dates: nothing is nearer than the rest.
    same_day = [other for other, moment in zip(others, moments, strict=True) if moment.date() == was.date()]
    same_time = [other for other, moment in zip(others, moments, strict=True) if moment.time() == was.time()]
    return same_day or same_time or list(others)


def between(known: Known, utterance: str) -> tuple[Option, ...]:
    """The options that the utterance leaves open, where it asks for another one than the value."""
    if known.variable.type != "choice":
        return ()
    fits = fitting(known.variable, utterance, replace(known.context, asked=False))
    open_ended = len(fits) > 1 and len(fits) < len(_options(known))
    return fits if open_ended and known.value not in {option.value for option in fits} else ()


def _other_time(known: Known, text: str, context: ReadingContext) -> Reading | None:
    """The time; where its half of the day is not said, that of the time known."""
    reading = read(known.variable, text, context)
    if reading is None:
        return None
    was = _minute(known.value)
    for said in times_said(hear(text, context.language)):
        if reading.value in map(clock, said.value.minutes) and len(said.value.minutes) > 1:
            same_half = [each for each in said.value.minutes if (each < _HALF_DAY_MIN) == (was < _HALF_DAY_MIN)]
            reading = replace(reading, value=clock((same_half or said.value.minutes)[0]))
    return _if_other(reading, known)


def _other_part(known: Known, text: str) -> Reading | None:
    """'In the evening': the same time in that half of the day. It may be the time as it is, which then is said again:
    who insists on it has not heard it."""
    heard = hear(text, known.context.language)
    part = part_of_day(heard)
    moved = in_part(part, _minute(known.value)) if part is not None else None
    return Reading(clock(moved), heard.text, DOUBTFUL) if moved is not None else None


def _only_part(known: Known, text: str) -> Reading | None:
    """Another half of the day, where an answer says nothing else ("Yes, in the evening")."""
    heard = hear(text, known.context.language)
    start, end = core(heard)
    alone = len(parts_named(heard)) == 1 and len(heard.flat[start:end].split()) <= _FEW_WORDS
    return _if_other(_other_part(known, text), known) if alone else None


def _minute(value: str) -> int:
    return int(value[:2]) * 60 + int(value[3:5])


def _other_end(known: Known, parts: _Parts) -> Reading | None:
    """The number with other last digits."""
    if known.variable.type not in ("phone", "digits"):
        return None
    heard = hear(parts.stated, known.context.language)
    value = with_other_end(known.value, heard)
    if value is None or value == known.value:
        return None
    # The pattern and length that the variable asks for hold for what comes of it too.
    return replace(reading, words=heard.text) if (reading := read(known.variable, value, known.context)) else None


# -- names ---------------------------------------------------------------------------------------------------------


def _name_stated(known: Known, parts: _Parts) -> Reading | None:
    """A name without a lead-in: with capitals, or set against the one that it is not."""
    reading = read(known.variable, parts.stated, known.context)
    if reading is None or parts.denied.strip() or _spelled(parts):
        return reading
    capitals = all(word[0].isupper() for word in reading.words.split())
    begins = parts.whole.strip().startswith(reading.words)
    return reading if capitals and (not begins or len(reading.words.split()) > 1) else None


def _spelled(parts: _Parts) -> bool:
    return re.search(r"\b\w(?:[\s,.\-]+\w\b){2,}", parts.stated) is not None


def _other_name(known: Known, parts: _Parts, reading: Reading | None) -> Reading | None:
    """The name with what was said in the place of what it corrects."""
    if reading is None:
        return None
    was, said = known.value.split(), reading.value.split()
    if not _other_words(said, was):
        return None
    if len(said) > 1 or len(was) == 1:
        return _if_other(reading, known)
    place = _place(was, said[0], parts, hear(parts.whole, known.context.language))
    if place is None:
        return _if_other(reading, known)
    mended = [*was[:place], said[0], *was[place + 1 :]]
    return _if_other(replace(reading, value=" ".join(mended)), known)


def _less_of_name(known: Known, text: str) -> Reading | None:
    """The name where too much of it was heard: "just Ann Lee", "without the dear"."""
    heard = hear(text, known.context.language)
    was = known.value.split()
    for match in _MERELY[heard.language].finditer(heard.flat):
        reading = read(known.variable, heard.text[match.start("name") : match.end("name")], known.context)
        if reading is not None and _is_alike(reading.value.split(), was):
            return _if_other(reading, known)
    for match in _WITHOUT[heard.language].finditer(heard.flat):
        left_out = set(plain_words(match["words"]))
        left = [word for word in was if not left_out & set(plain_words(word))]
        if left and len(left) < len(was):
            return Reading(" ".join(left), heard.words(*match.span()), LIKELY)
    return None


def _is_alike(said: Sequence[str], was: Sequence[str]) -> bool:
    """Whether the words are some of the name's, or another hearing of it."""
    shared = not _other_words(said, was)
    return shared or _likeness(" ".join(said), " ".join(was)) >= _ALIKE


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _other_words(said: Sequence[str], was: Sequence[str]) -> bool:
    """Whether it is more than a part of the name said again."""
    return not {word.lower() for word in said} <= {word.lower() for word in was}


def _place(was: Sequence[str], word: str, parts: _Parts, heard: Heard) -> int | None:
    """Which word of the name is meant: the one denied, the one named, or the one that it resembles."""
    denied = set(plain_words(parts.denied))
    for place, each in enumerate(was):
        if denied & set(plain_words(each)):
            return place
    if _LAST_NAME[heard.language].search(heard.flat):
        return len(was) - 1
    if _FIRST_NAME[heard.language].search(heard.flat) and heard.language == "en":
        return 0
    likeness = [_likeness(each, word) for each in was]
    return likeness.index(max(likeness)) if max(likeness) >= _ALIKE else None
