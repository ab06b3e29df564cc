"""Equal text for both sides: the language model does its work, and its words are replaced by a fixed reply's.

Each token that the model generates buys the next word of the reply, so that the words come at the model's own pace:
its time to the first token, its tokens a second. Both sides' models are asked the same question in the same form.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import yaml

from models.types import Delta
from pipeline.agent import Agent

REPLIES = Path(__file__).with_name("replies.yaml")


@dataclass(frozen=True, slots=True)
class FixedReply:
    """What is answered to one line of the script."""

    line: str
    """The caller's words."""
    fact: str
    """What the agent knows, as it stands in the prompt."""
    reply: str
    """What is said."""


class FixedReplies:
    """The replies of one agent, found by the caller's words or by the fact in a prompt."""

    def __init__(self, replies: Iterable[FixedReply]) -> None:
        """Raises ValueError if there are none."""
        self.all = tuple(replies)
        if not self.all:
            raise ValueError("fixed replies: there are none; expected an agent whose facts have questions")
        self._lines = [_words(reply.line) for reply in self.all]

    @classmethod
    def load(cls, agent: Agent, path: Path = REPLIES) -> FixedReplies:
        """The replies of a file, fact id -> words, each for all questions of its fact. Raises ValueError."""
        said: Mapping[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
        ids = {fact.id for fact in agent.facts}
        if set(said) != ids:
            raise ValueError(f"{path}: expected a reply for each fact of {agent.name}; differing: {set(said) ^ ids}")
        return cls(FixedReply(line, fact.text, said[fact.id]) for fact in agent.facts for line in fact.questions)

    def to_line(self, utterance: str) -> FixedReply:
        """The reply to the line whose words are most like these."""
        heard = _words(utterance)
        likeness = [SequenceMatcher(None, line, heard, autojunk=False).ratio() for line in self._lines]
        return self.all[max(range(len(likeness)), key=likeness.__getitem__)]

    def to_prompt(self, asked: str) -> FixedReply:
        """The reply to a prompt of our answer writer, by the fact in it. Raises ValueError if it has none of ours."""
        for reply in self.all:
            if asked.endswith(f"\nFact: {reply.fact}"):
                return reply
        raise ValueError(f"fixed text: expected a prompt that ends in one of the agent's facts, got {asked!r}")


def as_we_ask(line: str, fact: str) -> str:
    """The message that our answer writer would send for this line and fact."""
    return f"Caller: {line}\nFact: {fact}"


async def with_words_of(reply: str, deltas: AsyncIterator[Delta]) -> AsyncGenerator[Delta, None]:
    """The reply's words at the pace of the deltas: one word for each token.

    Ends with the reply's last word; the caller must close `deltas`, which stops the generation. If the generation ends
    first, the rest of the reply comes at once.
    """
    words = re.findall(r"\S+\s*", reply)
    said = 0
    async for delta in deltas:
        ends = delta.finish_reason is not None or said + delta.token_count >= len(words)
        upto = len(words) if ends else said + delta.token_count
        if upto > said or ends:
            yield Delta("".join(words[said:upto]), delta.token_count, "stop" if ends else None)
        said = upto
        if ends:
            return


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())
