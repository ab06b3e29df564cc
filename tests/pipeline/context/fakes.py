"""A counter with a chat template, and a summariser that answers when the test says so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from models.types import Message, ModelFailure
from pipeline.context.summary import SummaryRequest


def chat(messages: Sequence[Message]) -> str:
    """The prompt as a model reads it, but for the mark where the reply begins."""
    return "".join(f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages)


class FakeCounter:
    """A token is up to four letters of a word, or a sign; the chat template takes five a message and three more."""

    def text_tokens(self, text: str) -> int:
        return len(re.findall(r"\w{1,4}|[^\w\s]|\n", text))

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return 3 + sum(5 + self.text_tokens(message.content) for message in messages)


class FakeSummariser:
    """Answers once `answer` or `fail` is called; remembers what it was asked for."""

    def __init__(self) -> None:
        self.requests: list[SummaryRequest] = []
        self._answers: list[asyncio.Future[str]] = []

    async def summarise(self, request: SummaryRequest) -> str:
        self.requests.append(request)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    def answer(self, summary: str) -> None:
        self._answers[-1].set_result(summary)

    def fail(self) -> None:
        self._answers[-1].set_exception(ModelFailure("summariser: down"))
