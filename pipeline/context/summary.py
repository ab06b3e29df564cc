"""What is left of turns that were dropped: asked for before it is needed, never waited for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pipeline.context.parts import Exchange, TokenCounter
from pipeline.context.wording import shortened
from pipeline.endpointing import asks

_LINE_TOKENS = 32
"""One line of an extract takes no more."""


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """What is to be summarised."""

    exchanges: tuple[Exchange, ...]
    """Of the call, from its beginning on."""
    earlier: str
    """The summary made before; empty if there is none."""
    fresh: int
    """How many of the exchanges, the last ones, `earlier` does not cover."""
    most_tokens: int
    """What is longer is cut."""


class Summariser(Protocol):
    async def summarise(self, request: SummaryRequest) -> str:
        """A summary of all the exchanges, in a few sentences. Raises models.types.ModelFailure."""
        ...


class ExtractiveSummariser:
    """Takes over what was said: what was decided, what was asked and what the answer was. No model, always the same."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    async def summarise(self, request: SummaryRequest) -> str:
        """Decisions first if room is short, then the newest answers; written in the order of the call."""
        count = self._counter.text_tokens
        lines: dict[str, tuple[int, str]] = {}
        for place, exchange in enumerate(request.exchanges):
            for key, line in self._lines(exchange):
                lines[key] = (place, line)  # Asked again: what was said last holds.
        newest_first = sorted(lines.items(), key=lambda item: (item[0].startswith("decided"), item[1][0]), reverse=True)
        kept: list[tuple[int, str]] = []
        for _, candidate in newest_first:
            if count(_joined([*kept, candidate])) <= request.most_tokens:
                kept.append(candidate)
        return _joined(kept)

    def _lines(self, exchange: Exchange) -> Iterable[tuple[str, str]]:
        if exchange.decided:
            yield f"decided {exchange.decided}", self._short(f"Decided: {_closed(exchange.decided)}")
        elif exchange.topic or asks(exchange.caller):
            asked = exchange.topic or exchange.caller.rstrip(".?!")
            line = f"Asked about {asked}:" if exchange.topic else f"Asked: {asked}?"
            yield f"asked {asked.lower()}", self._short(f"{line} {_closed(_first_sentence(exchange.agent))}")

    def _short(self, line: str) -> str:
        return shortened(line, _LINE_TOKENS, self._counter.text_tokens, keep="start")


def _joined(lines: Iterable[tuple[int, str]]) -> str:
    return " ".join(line for _, line in sorted(lines))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _closed(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
