"""What a caller means, chosen by a language model in one step.

The model reads the agent's catalogue and examples of it once (they are the prompt's unchanging beginning, and stay in
the engine's prefix cache), then only the caller's words: one pass over some twenty tokens. Each meaning is called by a
word whose first token no other has, so that the reply's first token tells which one it is, and how sure the model is.
Examples as turns of a chat did more for a model of 1.5B parameters than any wording of the instructions.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from models.llm import VllmLanguageModel
from models.types import Catalogue, GenerateRequest, Judgement, Meaning, Message, ModelFailure, Situation

__all__ = ["OneStepUnderstanding", "name_meanings", "one_step_prompt", "told"]

_SEED = 1
"""Of the order in which examples are shown: the same in every process, or no prefix would be cached."""
_SPARE_WORDS = tuple("bcdfghjklmnpqrstvwxz")
"""Names for meanings whose own words are all taken."""


def name_meanings(meanings: Sequence[Meaning], first_token: Callable[[str], int]) -> dict[str, str]:
    """A word for each label, told apart by its first token. Raises ModelFailure if the words run out."""
    taken: set[int] = set()
    words: dict[str, str] = {}
    # What has one word only chooses first: a fact about the same as a wish has others to be called by.
    candidates = {meaning.label: tuple(_candidates(meaning)) for meaning in meanings}
    for meaning in sorted(meanings, key=lambda meaning: (bool(meaning.fact), "_" in meaning.label)):
        for word in (*candidates[meaning.label], *_SPARE_WORDS):
            token = first_token(word)
            if token not in taken:
                taken.add(token)
                words[meaning.label] = word
                break
        else:
            raise ModelFailure(f"understanding: no word left for {meaning.label!r}; the agent has too many meanings")
    return words


def _candidates(meaning: Meaning) -> Iterator[str]:
    """Words for a meaning, the most telling first: of a wish the first of its label, of a fact the last of its id
    (price_cleaning), then those of its text."""
    parts = [part for part in re.split(r"[^a-z]+", meaning.label.lower()) if len(part) > 2]
    yield from reversed(parts) if meaning.fact else iter(parts)
    yield from sorted(dict.fromkeys(re.findall(r"[a-z]{5,}", meaning.fact.lower())), key=len, reverse=True)
    yield from (part.capitalize() for part in parts)


def one_step_prompt(catalogue: Catalogue, words: Mapping[str, str], *, examples: int) -> tuple[Message, ...]:
    """The prompt's unchanging beginning: the instructions, and at most so many examples of each meaning as turns.

    `words`: what each label is called.
    """
    lines = [
        f"You answer the phone for {catalogue.business}. Say in one word what the caller wants.",
        *(f"{words[meaning.label]} = the caller {meaning.description}" for meaning in catalogue.meanings),
    ]
    shown = [
        (Situation(meaning.examples[number]), meaning.label)
        for number in range(examples)
        for meaning in catalogue.meanings
        if number < len(meaning.examples)
    ]
    shown += [(Situation(one.caller, one.agent), one.label) for one in catalogue.exchanges]
    random.Random(_SEED).shuffle(shown)  # noqa: S311  # an order, not a secret
    messages = [Message("system", "\n".join(lines))]
    for situation, label in shown:
        messages += [Message("user", told(situation)), Message("assistant", words[label])]
    return tuple(messages)


def told(situation: Situation) -> str:
    """A situation as a turn of the chat."""
    if not situation.agent_said:
        return situation.utterance
    return f'(You said: "{situation.agent_said}") {situation.utterance}'


class OneStepUnderstanding:
    """One agent's catalogue, on a running engine."""

    def __init__(self, model: VllmLanguageModel, catalogue: Catalogue, *, examples: int) -> None:
        """At most `examples` of each meaning are shown. Raises ModelFailure if the meanings cannot be told apart."""
        self._model = model

        def first_token(word: str) -> int:
            return model.token_ids(word)[0]

        words = name_meanings(catalogue.meanings, first_token)
        self._prompt = one_step_prompt(catalogue, words, examples=examples)
        self._tokens = {meaning.label: first_token(words[meaning.label]) for meaning in catalogue.meanings}
        self._in_flow_only = frozenset(meaning.label for meaning in catalogue.meanings if meaning.in_flow_only)

    async def warm_up(self, request_id: str) -> None:
        """Have the engine read the prompt's unchanging beginning, and judge: no caller should be the first, whose pass
        is the slowest. Raises ModelFailure."""
        await self._model.prefill(GenerateRequest(request_id, self._prompt))
        for number, situation in enumerate((Situation("Hello"), Situation("Yes", "Is that right?"))):
            await self.judge(situation, f"{request_id}-{number}")

    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        """What the utterance means there. Raises ModelFailure."""
        out = {*situation.excluded, *(() if situation.agent_said else self._in_flow_only)}
        labels = [label for label in self._tokens if label not in out]
        request = GenerateRequest(request_id, (*self._prompt, Message("user", told(situation))))
        weights = await self._model.weigh(request, [self._tokens[label] for label in labels])
        highest = max(weights)
        raised = [math.exp(weight - highest) for weight in weights]
        total = sum(raised)
        shares = zip(labels, (one / total for one in raised), strict=True)
        return Judgement(tuple(sorted(shares, key=lambda pair: -pair[1])))
