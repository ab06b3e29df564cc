"""How many tokens a prompt takes, counted as the language model counts them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.types import Message


class TemplateCounter:
    """Counts with the weights' own tokenizer and chat template."""

    def __init__(self, folder: Path) -> None:
        """Loads the tokenizer of prepared weights; takes about a second."""
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def text_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        return len(
            self._tokenizer.apply_chat_template(plain, tokenize=True, add_generation_prompt=True, return_dict=False)
        )
