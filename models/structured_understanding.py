"""What a caller means, written down by a language model within a grammar: several acts, in the order in which they were
said.

For models that can be trusted with more than one token. The grammar is made of the agent's catalogue and of where the
words were said: nothing can be named that does not exist or cannot be meant there. The prompt's beginning never
changes, so it stays in the engine's prefix cache; a judgement costs some ten to thirty generated tokens.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from pydantic import Field, ValidationError

from models.llm import VllmLanguageModel
from models.settings import StrictModel
from models.types import Catalogue, GenerateRequest, Judgement, Meaning, Message, ModelFailure, Situation
from models.understanding import told

__all__ = ["CERTAINTY", "MOST_ACTS", "StructuredUnderstanding", "structured_prompt"]

Sure = Literal["sure", "likely", "guess"]

CERTAINTY: Mapping[Sure, float] = MappingProxyType({"sure": 0.95, "likely": 0.75, "guess": 0.45})
"""The probability that a model's word for how sure it is stands for. Below all that hang up need (0.5) is a guess."""
MOST_ACTS = 3
"""Acts of one utterance."""
_REPLY_TOKENS = 96
"""Enough for so many labels."""
_SEED = 1
"""Of the order in which examples are shown: the same in every process, or no prefix would be cached."""
_SHOWN_PAIRS = 4
"""Examples of two acts in one utterance, made of two of one."""


class _Reply(StrictModel):
    """What the model writes."""

    acts: tuple[str, ...] = Field(min_length=1, max_length=MOST_ACTS)
    sure: Sure


def structured_prompt(catalogue: Catalogue, *, examples: int) -> tuple[Message, ...]:
    """The prompt's unchanging beginning: the instructions, and at most so many examples of each meaning as turns."""
    lines = [
        f"You answer the phone for {catalogue.business}. Write down what the caller means, as JSON.",
        f'"acts": what is meant, in the order in which it is said. Mostly one; at most {MOST_ACTS}, and only what the '
        "caller really wants or asks.",
        '"sure": how sure you are of it: sure, likely or guess.',
        "What can be meant:",
        *(f"{meaning.label} = the caller {meaning.description}" for meaning in catalogue.meanings),
    ]
    shown: list[tuple[Situation, tuple[str, ...]]] = [
        (Situation(meaning.examples[number]), (meaning.label,))
        for number in range(examples)
        for meaning in catalogue.meanings
        if number < len(meaning.examples)
    ]
    shown += [(Situation(one.caller, one.agent), (one.label,)) for one in catalogue.exchanges]
    if examples:
        shown += _pairs([meaning for meaning in catalogue.meanings if meaning.fact and meaning.examples])
    random.Random(_SEED).shuffle(shown)  # noqa: S311  # an order, not a secret
    messages = [Message("system", "\n".join(lines))]
    for situation, labels in shown:
        messages += [Message("user", told(situation)), Message("assistant", _written(labels))]
    return tuple(messages)


def _pairs(facts: Sequence[Meaning]) -> Iterator[tuple[Situation, tuple[str, ...]]]:
    """Two facts asked for in one breath."""
    for one, other in zip(facts[0 : 2 * _SHOWN_PAIRS : 2], facts[1 : 2 * _SHOWN_PAIRS : 2], strict=False):
        yield Situation(f"{one.examples[0]} And {other.examples[0]}"), (one.label, other.label)


def _written(labels: Sequence[str]) -> str:
    """A reply, as the grammar has it: without white space."""
    return json.dumps({"acts": labels, "sure": "sure"}, ensure_ascii=False, separators=(",", ":"))


class StructuredUnderstanding:
    """One agent's catalogue, on a running engine."""

    def __init__(self, model: VllmLanguageModel, catalogue: Catalogue, *, examples: int) -> None:
        """At most `examples` of each meaning are shown."""
        self._model = model
        self._prompt = structured_prompt(catalogue, examples=examples)
        self._labels = tuple(meaning.label for meaning in catalogue.meanings)
        self._in_flow_only = frozenset(meaning.label for meaning in catalogue.meanings if meaning.in_flow_only)

    async def warm_up(self, request_id: str) -> None:
        """Have the engine read the prompt's unchanging beginning, and judge: no caller should be the first, whose pass
        is the slowest and whose grammar is new. Raises ModelFailure."""
        await self._model.prefill(GenerateRequest(request_id, self._prompt))
        for number, situation in enumerate((Situation("Hello"), Situation("Yes", "Is that right?"))):
            await self.judge(situation, f"{request_id}-{number}")

    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        """What the utterance means there: as probable as the model says it is, all else alike. Raises ModelFailure."""
        out = {*situation.excluded, *(() if situation.agent_said else self._in_flow_only)}
        labels = [label for label in self._labels if label not in out]
        request = GenerateRequest(
            request_id, (*self._prompt, Message("user", told(situation))), max_tokens=_REPLY_TOKENS
        )
        said = await self._model.structured(request, _schema(labels))
        try:
            reply = _Reply.model_validate_json(said)
        except ValidationError as error:
            raise ModelFailure(f"understanding: request {request_id}: {said!r} is no reply: {error}") from error
        acts = tuple(dict.fromkeys(reply.acts))
        return Judgement(_shared_out(acts, labels, CERTAINTY[reply.sure]), acts)


def _schema(labels: Sequence[str]) -> Mapping[str, object]:
    return {
        "type": "object",
        "properties": {
            "acts": {"type": "array", "items": {"enum": list(labels)}, "minItems": 1, "maxItems": MOST_ACTS},
            "sure": {"enum": list(CERTAINTY)},
        },
        "required": ["acts", "sure"],
        "additionalProperties": False,
    }


def _shared_out(acts: Sequence[str], labels: Sequence[str], certainty: float) -> tuple[tuple[str, float], ...]:
    """`certainty` in equal parts to what was named, the rest in equal parts to what was not."""
    others = [label for label in labels if label not in acts]
    named = certainty if others else 1.0
    return (
        *((label, named / len(acts)) for label in acts),
        *((label, (1 - named) / len(others)) for label in others),
    )
