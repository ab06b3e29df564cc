"""Cutting a stream of generated text into clauses: the unit that is checked, spoken and marked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from models.types import Delta

FIRST_CLAUSE_WORDS = 4
"""A comma ends the first clause from this many words on: short, because the caller waits for it."""
LATER_CLAUSE_WORDS = 8
"""A comma ends a later clause from this many words on: longer runs sound better and cost less."""
LONGEST_CLAUSE_WORDS = 24
"""A clause is cut at a space after this many words even without punctuation."""

EARLY_CUT_WORDS = 5
"""While text is still being generated, the first clause may end before a phrase from this many words on: the caller
waits for it, and the rest follows without a gap."""

_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)")
_SOFT_END = re.compile(r"[,;:](?=\s)")
_PHRASE = re.compile(
    r"\s(?=(?:at|in|on|from|with|for|until|because|but|before|after|when|if|by|behind|next|where|which|and|or)\s)",
    re.IGNORECASE,
)
"""Where a speaker may well breathe: before a phrase that adds a place, a time, a reason."""
_LEANS_ON = re.compile(
    r"\b(?:is|are|am|be|was|the|a|an|to|of|and|or|not|than|come|call|ask|wait|look|right|hundred|thousand)$",
    re.IGNORECASE,
)
"""Words that the next one belongs to."""
_ABBREVIATION = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|St|Ave|Rd|No|vs|etc|e\.g|i\.e|a\.m|p\.m|[A-Z])\.$")


class ClauseSplitter:
    """Feed text as it is generated; get whole clauses, stripped, in order."""

    def __init__(self, *, early: bool = False) -> None:
        """`early`: the first clause may end before a phrase, see EARLY_CUT_WORDS."""
        self._early = early
        self._pending = ""
        self._count = 0

    def feed(self, text: str) -> list[str]:
        """The clauses that `text` completes."""
        self._pending += text
        clauses = []
        while (end := self._cut()) is not None:
            clause, self._pending = self._pending[:end].strip(), self._pending[end:]
            if clause:
                clauses.append(clause)
                self._count += 1
        return clauses

    def finish(self) -> list[str]:
        """What is left when the text has ended."""
        rest, self._pending = self._pending.strip(), ""
        return [rest] if rest else []

    def _cut(self) -> int | None:
        for match in _SENTENCE_END.finditer(self._pending):
            if not _ABBREVIATION.search(self._pending[: match.end()]):
                sentence_end: int | None = match.end()
                break
        else:
            sentence_end = None
        ends = [end for end in (self._soft_end(sentence_end), self._phrase_end(sentence_end)) if end is not None]
        if ends:
            return min(ends)
        if sentence_end is not None:
            return sentence_end
        words = list(re.finditer(r"\S+\s", self._pending))
        return words[LONGEST_CLAUSE_WORDS - 1].end() if len(words) >= LONGEST_CLAUSE_WORDS else None

    def _soft_end(self, before: int | None) -> int | None:
        needed = LATER_CLAUSE_WORDS if self._count else FIRST_CLAUSE_WORDS
        for match in _SOFT_END.finditer(self._pending):
            if before is not None and match.end() > before:
                break
            if len(self._pending[: match.end()].split()) >= needed:
                return match.end()
        return None

    def _phrase_end(self, before: int | None) -> int | None:
        if not self._early or self._count:
            return None
        for match in _PHRASE.finditer(self._pending, 0, len(self._pending) if before is None else before):
            said = self._pending[: match.start()]
            if len(said.split()) >= EARLY_CUT_WORDS and not _LEANS_ON.search(said):
                return match.end()
        return None


def split_clauses(text: str, *, early: bool = False) -> list[str]:
    """All clauses of a finished text; `early`: as `clauses_of` would cut them."""
    splitter = ClauseSplitter(early=early)
    return splitter.feed(text) + splitter.finish()


async def clauses_of(deltas: AsyncIterator[Delta]) -> AsyncIterator[str]:
    """Clauses as soon as the deltas complete them. Closing this closes nothing else: close `deltas` yourself."""
    splitter = ClauseSplitter(early=True)
    async for delta in deltas:
        for clause in splitter.feed(delta.text):
            yield clause
    for clause in splitter.finish():
        yield clause
