"""A token counter for where no tokenizer is at hand."""

from __future__ import annotations

from collections.abc import Sequence

from models.types import Message

_LETTERS_A_TOKEN = 3.0
"""English takes about four, Spanish about three and a half, with the tokenizers of 2024; fewer is on the safe side."""
_TOKENS_A_MESSAGE = 6


class RoughCounter:
    """Estimates by length, a little too high. For text-mode calls, tests and checks without weights."""

    def text_tokens(self, text: str) -> int:
        return -int(-len(text) // _LETTERS_A_TOKEN)

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return sum(_TOKENS_A_MESSAGE + self.text_tokens(message.content) for message in messages)
