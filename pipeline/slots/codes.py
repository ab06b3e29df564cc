"""Codes of letters and digits as people say them: licence plates, booking references, serial numbers, post codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from pipeline.slots.characters import Character, character_runs
from pipeline.slots.digits import groups, spoken_digits
from pipeline.slots.little_else import little_else
from pipeline.slots.numbers import stem, telling_words, tokens
from pipeline.slots.types import LIKELY, SURE, Found, Language, ReadingContext
from pipeline.slots.variables import Variable
from pipeline.slots.wording import Heard, core, goes_on_from_another, settle

_FEWEST_UNASKED = 4
_FEWEST_LETTERS = 3
_FEWEST_READ_TOGETHER = 5
"""Letters that a transcriber wrote as one word: fewer are a name such as USPS."""
_FEWEST_WITH_DIGITS = 2
_FEWEST_OF_BOTH = 4
"""Letters and digits from which words around them do not count against a code."""
_MOST_BESIDES = 3
"""So many other words may stand beside such a code."""
_MOST_ROUND = 6
"""Noughts and O's of which it is tried whether they are the other."""
_CALLED: Mapping[Language, str] = {
    "en": "code number reference plate registration license licence serial booking reads says think believe guess all"
    " there",
    "es": "codigo numero referencia matricula placa serie reserva creo pone dice todo la ahi",
}
"""Words around a code that say nothing else."""
_TAKEN_BACK: Mapping[Language, str] = {
    "en": "no nope not sorry wait actually mean meant correction rather",
    "es": "no perdon perdone digo espere espera corrijo sino",
}
"""Words between one code and another in its place."""
_MOST_CUTS = 12
"""A run that falls into more parts is not one code and something else."""
_LINKS: Mapping[Language, frozenset[str]] = {
    "en": frozenset("is it's its it that's was would be number code no reads says um uh er my our the".split()),
    "es": frozenset("es era seria numero codigo la el mi nuestra nuestro eh em pone dice con".split()),
}
"""Between a code and what it is called."""
_SAID: Mapping[Language, Mapping[str, str]] = {"en": {}, "es": {"V": "uve", "W": "uve doble", "Y": "i griega"}}
"""Letters that a voice would not tell apart by themselves, or take for a word."""
_ROUND = "O as in Oscar"
"""Between digits, where an O would be taken for a nought."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Characters one after the other."""

    value: str
    start: int
    end: int
    spelled: bool
    """Whether they are said one by one."""
    confidence: float = SURE


def read_code(variable: Variable, heard: Heard, context: ReadingContext) -> Found[str] | None:
    """Upper-case letters and digits. Without a pattern, an answer must be a code and little else; unasked, it must
    stand beside what its description says, or be letters and digits that match the pattern."""
    runs: list[_Run] = []
    for characters in character_runs(heard):
        run = _fitted(characters, variable.pattern, heard) if variable.pattern else _once(characters, heard)
        before = heard.flat[: run.start]
        if runs and goes_on_from_another(heard, run.start) and not re.search(r"\bnot\W*$", before):
            if re.search(r"\b(?:or|o)\W*$", before):
                return None
            ended = _ended_anew(runs[-1], run, variable)
            if ended is None:
                return None
            runs[-1:] = [ended] if ended.start < run.start else [runs[-1], ended]
        else:
            runs.append(run)
    found = [run for run in runs if _counts(run, runs, variable, heard, context)]
    return settle([Found(run.value, run.start, run.end, run.confidence) for run in found], heard)


def _counts(run: _Run, runs: Sequence[_Run], variable: Variable, heard: Heard, context: ReadingContext) -> bool:
    """Whether it is a code, and the one that is meant."""
    size, digits = len(run.value), any(each.isdigit() for each in run.value)
    if variable.pattern is not None and re.fullmatch(variable.pattern, run.value) is None:
        return False
    if not context.asked:
        unmistakable = variable.pattern is not None and _is_mixed(run.value)
        return unmistakable or (size >= _FEWEST_UNASKED and (digits or run.spelled) and _called(run, variable, heard))
    taken_back = _TAKEN_BACK[heard.language] if len(runs) > 1 else ""
    told = [variable.description, _CALLED[heard.language], taken_back, *(heard.text[r.start : r.end] for r in runs)]
    if little_else(heard.text, told, heard.language):
        letters = _FEWEST_LETTERS if run.spelled else _FEWEST_READ_TOGETHER
        return variable.pattern is not None or size >= (_FEWEST_WITH_DIGITS if digits else letters)
    if variable.pattern is not None:
        return size >= _FEWEST_LETTERS and (digits or run.spelled)
    return _is_mixed(run.value) and little_else(heard.text, told, heard.language, most=_MOST_BESIDES)


def _called(run: _Run, variable: Variable, heard: Heard) -> bool:
    """Whether a telling word of the description is the next before it, or after it, but for words that link them."""
    telling, links = telling_words(variable), _LINKS[heard.language]
    words = [item for item in tokens(heard.flat) if item.text[0].isalpha() and stem(item.text) not in telling - links]
    named = [item for item in tokens(heard.flat) if stem(item.text) in telling]
    for item in named:
        start, end = (item.end, run.start) if item.end <= run.start else (run.end, item.start)
        linked = all(word.text in links for word in words if start <= word.start < end)
        if start <= end and linked and re.search(r"\d|[!?]|\.\s", heard.flat[start:end]) is None:
            return True
    return False


def _ended_anew(before: _Run, run: _Run, variable: Variable) -> _Run | None:
    """What takes the place of a run that is taken back: a whole one, or the one before with another end; None if it is
    open which."""
    size = len(run.value)
    whole = size >= len(before.value)
    if variable.pattern is not None:
        whole = re.fullmatch(variable.pattern, run.value) is not None
    if whole:
        return run
    alike = _shape(before.value[-size:]) == _shape(run.value)
    if not alike or 2 * size > len(before.value):
        return None
    return replace(before, value=before.value[:-size] + run.value, end=run.end)


def _shape(value: str) -> str:
    return re.sub(r"[A-Z]", "A", re.sub(r"[0-9]", "0", value))


# -- runs ----------------------------------------------------------------------------------------------------------


def _once(characters: Sequence[Character], heard: Heard) -> _Run:
    """A run as one value, without its repetition, and without what is counted after it ("7XKL220. Two adults")."""
    whole = _joined(characters)
    for place in _cuts(characters, heard, r"[.,;!?]"):
        one, again = _joined(characters[:place]), _joined(characters[place:])
        if one.value == again.value and len(one.value) >= _FEWEST_OF_BOTH:
            return replace(one, end=whole.end)
    ends = _cuts(characters, heard, r"[.;!?]")
    counts = re.match(r" [a-z]", heard.flat[whole.end :]) and whole.end < core(heard)[1]
    if len(ends) == 1 and counts and characters[ends[0]].kind == "digits":
        one = _joined(characters[: ends[0]])
        return one if _is_mixed(one.value) else whole
    return whole


def _is_mixed(value: str) -> bool:
    """Whether it is letters and digits, and enough of them for a code."""
    return len(value) >= _FEWEST_OF_BOTH and not value.isdigit() and not value.isalpha()


def _fitted(characters: Sequence[Character], pattern: str, heard: Heard) -> _Run:
    """A run as the one value that fits the pattern; the whole, where none does or several do."""
    whole = _joined(characters)
    if re.fullmatch(pattern, whole.value):
        return whole
    others = {other for other in _otherwise_round(whole.value) if re.fullmatch(pattern, other)}
    if len(others) == 1:
        return replace(whole, value=others.pop(), confidence=LIKELY)
    cuts = _cuts(characters, heard, r"[.,;!?]")
    if len(cuts) > _MOST_CUTS:
        return whole
    ends = [0, *cuts, len(characters)]
    parts = [_joined(characters[start:end]) for at, start in enumerate(ends) for end in ends[at + 1 :]]
    fitting = [part for part in parts if re.fullmatch(pattern, part.value)]
    return fitting[0] if len({part.value for part in fitting}) == 1 else whole


def _cuts(characters: Sequence[Character], heard: Heard, marks: str) -> list[int]:
    """Before which characters one of the marks stands."""
    ends = [0, *(each.end for each in characters[:-1])]
    starts = [0, *(each.start for each in characters[1:])]
    return [place for place in range(1, len(ends)) if re.search(marks, heard.flat[ends[place] : starts[place]])]


def _otherwise_round(value: str) -> Iterator[str]:
    """With O's for noughts and noughts for O's."""
    places = [place for place, each in enumerate(value) if each in "O0"]
    if len(places) > _MOST_ROUND:
        return
    for others in product("O0", repeat=len(places)):
        text = list(value)
        for place, other in zip(places, others, strict=True):
            text[place] = other
        yield "".join(text)


def _joined(characters: Sequence[Character]) -> _Run:
    text = ""
    for place, each in enumerate(characters):
        text += _round(characters, place) if each.kind in ("o", "oh") else each.text
    spelled = all(len(each.text) == 1 for each in characters)
    return _Run(text, characters[0].start, characters[-1].end, spelled)


def _round(characters: Sequence[Character], place: int) -> str:
    """A nought or the letter: 'oh' beside a digit, and 'o' between digits, is a nought."""
    first = last = place
    while first > 0 and characters[first - 1].kind in ("o", "oh"):
        first -= 1
    while last < len(characters) - 1 and characters[last + 1].kind in ("o", "oh"):
        last += 1
    beside = [0 <= at < len(characters) and characters[at].kind == "digits" for at in (first - 1, last + 1)]
    said = any(each.kind == "oh" for each in characters[first : last + 1])
    return ("0" if (any(beside) if said else all(beside)) else "O") * len(characters[place].text)


def spoken_code(value: str, language: Language) -> str:
    """'7XKL220' -> 'seven, X K L, two two zero'. Raises ValueError if it is no upper-case letters and digits."""
    if re.fullmatch(r"[A-Z0-9]+", value) is None:
        raise ValueError(f"expected letters and digits such as '7XKL220', got {value!r}; give the canonical value")
    said: list[str] = []
    for part in re.finditer(r"[0-9]+|[A-Z]+", value):
        if part[0].isdigit():
            said.append(spoken_digits(part[0], language))
        elif language == "en" and set(part[0]) == {"O"} and part.start() > 0 and part.end() < len(value):
            said += [_ROUND] * len(part[0])
        else:
            said += [" ".join(_SAID[language].get(letter, letter) for letter in group) for group in groups(part[0])]
    return ", ".join(said)
