"""Said words to the phonemes Kokoro was trained on, each phoneme knowing its word.

espeak-ng (GPL-3, loaded as a shared library by `phonemizer`) reads a run of words at once, for sounds change at word
borders ("the third", "for a"); its symbols are then rewritten into those of misaki, the front end Kokoro v1.0 was
trained with (hexgrad/misaki, `espeak.py`; one letter a diphthong). Where espeak joins words ("in the" -> "ɪnðə"), the
joint is shared out by comparing with the words read alone.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from models.speech_text import SpokenWord
from models.types import ModelFailure

Accent = Literal["en-us", "en-gb", "es"]

# `vocab` of hexgrad/Kokoro-82M, config.json: 114 symbols; id 0 is the pad at both ends.
_VOCABULARY_SOURCE = (
    (1, ";:,.!?"), (9, '—…"()“” \u0303ʣʥʦʨᵝ\uab67AI'), (31, "O"), (33, "Q"), (35, "ST"), (39, "W"), (41, "Yᵊabcdef"),
    (50, "hijklmnopqrstuvwxyzɑɐɒæ"), (75, "βɔɕç"), (80, "ɖðʤə"), (85, "ɚɛɜ"), (90, "ɟ"), (92, "ɡ"), (99, "ɥ"),
    (101, "ɨɪʝ"), (110, "ɯɰŋɳɲɴø"), (118, "ɸθœ"), (123, "ɹ"), (125, "ɾɻ"), (128, "ʁɽʂʃʈʧ"), (135, "ʊʋ"), (138, "ʌɣɤ"),
    (142, "χʎ"), (147, "ʒʔ"), (156, "ˈˌː"), (162, "ʰ"), (164, "ʲ"), (169, "↓"), (171, "→↗↘"), (177, "ᵻ"),
)  # fmt: skip
VOCABULARY = {symbol: first + i for first, symbols in _VOCABULARY_SOURCE for i, symbol in enumerate(symbols)}
"""Symbol -> token id."""

PAUSE_TOKENS = frozenset(VOCABULARY[symbol] for symbol in ";:,.!?—…") | {0}
"""Token ids that are heard as silence."""

# In order: longer first. `^` ties the letters of one sound (espeak's --tie).
_BOTH = (
    ("ʔˌn\u0329", "ʔn"), ("ʔn\u0329", "ʔn"), ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("t^ʃ", "ʧ"),
    ("ɔ^ɪ", "Y"), ("ə^l", "ᵊl"), ("ʲO", "jO"), ("ʲə", "jə"), ("ʲ", ""), ("ɚ", "əɹ"), ("r", "ɹ"), ("x", "k"),
    ("ç", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("\u0303", ""),
)  # fmt: skip
_REWRITES: dict[Accent, tuple[tuple[str, str], ...]] = {
    "en-us": (
        *_BOTH, ("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""), ("e", "A"), ("o", "ɔ"),
        ("ɾ", "T"), ("ʔ", "t"), ("^", ""),
    ),
    "en-gb": (
        *_BOTH, ("e^ə", "ɛː"), ("iə", "ɪə"), ("i^ə", "ɪə"), ("ə^ʊ", "Q"), ("e", "A"), ("o", "ɔ"), ("ɾ", "T"),
        ("ʔ", "t"), ("^", ""),
    ),
    "es": (("t^ʃ", "ʧ"), ("d^ʒ", "ʤ"), ("^", "")),
}  # fmt: skip
_LIGHT_WORDS = {("I", "I"): "ˌI", ("a", "ə"): "ɐ", ("A", "ə"): "ɐ"}
"""(said word, espeak's sound): misaki's. Without the stress of "I", "Sure, I can" is heard as "Sure can"."""
_ESPEAK_VOICES: dict[Accent, str] = {"en-us": "en-us", "en-gb": "en-gb", "es": "es-419"}
"""Spanish as it is spoken in America, with c and z as s: Kokoro's Spanish voices were trained on either."""
_SYLLABIC = re.compile("(\\S)\u0329")


@dataclass(frozen=True, slots=True)
class Phonemes:
    """A clause as Kokoro reads it."""

    symbols: str
    """Every one in VOCABULARY; words separated by spaces, pauses as punctuation."""
    owners: tuple[int, ...]
    """For each symbol the index of the said word it sounds in; of spaces and pauses, that of the word before."""

    def tokens(self) -> list[int]:
        return [VOCABULARY[symbol] for symbol in self.symbols]


class Phonemizer:
    """espeak-ng for one accent. Safe to use from several threads (espeak is not: calls take turns)."""

    def __init__(self, accent: Accent) -> None:
        """Raises ModelFailure if espeak-ng cannot be loaded."""
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper

        self._rewrites = _REWRITES[accent]
        self._english = accent.startswith("en")
        try:
            with _espeak:
                EspeakWrapper.set_library(espeakng_loader.get_library_path())
                EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
                self._backend = EspeakBackend(
                    _ESPEAK_VOICES[accent],
                    with_stress=True,
                    tie="^",
                    language_switch="remove-flags",
                    logger=_quiet_logger(),
                )
        except (OSError, RuntimeError) as error:
            raise ModelFailure(
                f"espeak-ng for {accent} cannot be loaded ({error}); "
                "install the packages espeakng-loader and phonemizer-fork"
            ) from error
        self._alone = lru_cache(maxsize=4096)(self._read_alone)

    def __call__(self, words: Sequence[SpokenWord]) -> Phonemes:
        """Phonemes of said words. Empty if none of them has a sound. Raises ModelFailure if espeak fails."""
        runs = _runs(words)
        heard = self._read([" ".join(words[i].text for i in run) for run in runs])
        symbols: list[str] = []
        owners: list[int] = []
        for run, text in zip(runs, heard, strict=True):
            for index, sound in zip(run, self._share_out(text.split(), [words[i].text for i in run]), strict=True):
                if self._english:
                    sound = _LIGHT_WORDS.get((words[index].text, sound), sound)
                if sound:
                    if symbols:
                        symbols.append(" ")
                        owners.append(owners[-1])
                    symbols += sound
                    owners += [index] * len(sound)
                if words[index].pause and symbols:
                    symbols.append(words[index].pause)
                    owners.append(owners[-1])
        return Phonemes("".join(symbols), tuple(owners))

    def _read(self, runs: list[str]) -> list[str]:
        with _espeak:
            try:
                lines: list[str] = self._backend.phonemize(runs, strip=True)
            except RuntimeError as error:
                raise ModelFailure(f"espeak-ng could not read {runs!r}: {error}") from error
        return [self._rewrite(line) for line in lines]

    def _read_alone(self, word: str) -> str:
        return self._read([word])[0].replace(" ", "")

    def _rewrite(self, line: str) -> str:
        for old, new in self._rewrites:
            line = line.replace(old, new)
        line = _SYLLABIC.sub(r"ᵊ\1", line)
        return "".join(symbol for symbol in line if symbol in VOCABULARY)

    def _share_out(self, groups: list[str], words: list[str]) -> list[str]:
        """The sound of each word, from espeak's groups (usually a word each)."""
        if len(groups) == len(words):
            return groups
        sound = "".join(groups)
        borders = {0, len(sound)}
        for group in groups:
            borders.add(max(borders - {len(sound)}) + len(group))
        alone = [self._alone(word) for word in words]
        pieces = _cut(sound, alone, borders)
        swallowed = any(own and not piece for own, piece in zip(alone, pieces, strict=True))
        return alone if swallowed else pieces


_espeak = threading.Lock()


def _quiet_logger() -> logging.Logger:
    """phonemizer warns whenever espeak joins words, which is no fault here."""
    logger = logging.getLogger("models.phonemes.espeak")
    logger.setLevel(logging.ERROR)
    return logger


def _runs(words: Sequence[SpokenWord]) -> list[list[int]]:
    """Indices of the words between pauses."""
    runs: list[list[int]] = [[]]
    for index, word in enumerate(words):
        runs[-1].append(index)
        if word.pause:
            runs.append([])
    return [run for run in runs if run]


def _cut(sound: str, alone: list[str], borders: set[int]) -> list[str]:
    """Cut `sound` into one piece a word, so that the pieces differ least from the words read alone.

    Least edit distance over all cuts (the words' phonemes joined against `sound`); where several cuts are as
    good, one at a border of espeak's own.
    """
    joined = "".join(alone)
    rows = len(joined) + 1
    columns = len(sound) + 1
    cost = [[0] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            if i == 0 or j == 0:
                cost[i][j] = i + j
            else:
                same = joined[i - 1] == sound[j - 1]
                cost[i][j] = min(cost[i - 1][j - 1] + (not same), cost[i - 1][j] + 1, cost[i][j - 1] + 1)
    ends = [0]
    for word in alone:
        ends.append(ends[-1] + len(word))
    # Walk back; at each word's end take note of where in `sound` the walk is.
    cuts = [0] * len(ends)
    i, j = rows - 1, columns - 1
    reached = {i: {j}}
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (joined[i - 1] != sound[j - 1]):
            i, j = i - 1, j - 1
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
        reached.setdefault(i, set()).add(j)
    for number, end in enumerate(ends):
        places = reached[end]
        cuts[number] = max(places & borders, default=max(places))
    cuts[0], cuts[-1] = 0, len(sound)
    return [sound[start : max(start, stop)] for start, stop in pairwise(cuts)]
