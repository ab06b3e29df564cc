"""What callers of every business say, by language: examples for a model that understands. The data lie beside it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from models.settings import StrictModel, load_settings
from pipeline.slots.types import Language


class PhraseExchange(StrictModel):
    """The agent's last words, what a caller said to them, and what that meant."""

    agent: str
    caller: str
    means: Literal["answer", "change", "wait", "other", "person", "cancel", "repeat", "farewell"]
    """A label that every agent has, or a kind of route."""


class Phrases(StrictModel):
    """One language's examples, and what is said where an agent file says nothing of its own."""

    declined: str
    """What is said to what an agent knows nothing of."""
    waiting: str
    """What is said to who asks for a moment."""
    unanswered: str
    """What is said to who was put through, and nobody took the call."""
    asks_back: dict[Literal["cancel", "person", "farewell"], str]
    """By kind of route: what is asked where it is likely, and not certain, that it is meant."""
    change: str
    """Asked after a bare no to a form's read-back."""
    not_got: str
    """Said before a form's question that is put once more."""
    yes_or_no: str
    """Said before a form's read-back that got neither."""
    more: str
    """Said to who wants something else than what was on offer: {fitting}."""
    no_more: str
    """The same, if there is nothing else."""
    narrow: str
    """Asked in a form if several of the things on offer fit: {fitting}."""
    none_then: str
    """Said before what is on offer to who wished for a day or time at which nothing is."""
    next_wish: str
    """Said between two things that were wished for in one breath."""
    not_meant: str
    """What is said to a no to that, between flows."""
    waits: tuple[str, ...]
    """A moment is asked for."""
    exchanges: tuple[PhraseExchange, ...]
    """From the middle of a flow."""


@cache
def phrases(language: Language) -> Phrases:
    """The examples of a language. Raises models.settings.SettingsError if its file is damaged."""
    return load_settings(Path(__file__).with_name(f"{language}.yaml"), Phrases)
