"""What a reader of typed values misses, asked of the language model: it may only point, never invent.

The grammar of the generation (vLLM's structured outputs) allows nothing but runs of the caller's own words, or what is
on offer, or NOTHING. What it points at is read by the same reader as before, so that a value always comes from words
that were said and always has its type's form.
"""

from __future__ import annotations

from contextlib import aclosing

from models.types import GenerateRequest, Message
from pipeline.ports import LanguageModel
from pipeline.slots.reading import ReadingContext
from pipeline.slots.variables import Variable

NOTHING = "nothing"
MOST_WORDS = 24
"""Of a longer utterance only the last so many words are looked at: the answer comes last."""
MOST_SPAN_WORDS = 6
"""Longest run of words that can be pointed at."""
CERTAINTY = 0.6
"""Confidence of a value that a model pointed at; such values are read back before anything is written."""
_MAX_TOKENS = 24

_INSTRUCTION = "Copy the words of the caller that answer the question. If none do, say nothing."
_EXAMPLES = (
    ("What is your first name?", "Oh right, well, most people around here call me Dorothy", "Dorothy"),
    ("How many people will come?", "Hang on, let me think about that for a second", NOTHING),
    ("Which day suits you?", "Hmm, my wife would say the Monday I guess", "the Monday"),
    ("What is your street?", "Sorry, can you tell me what it costs first?", NOTHING),
)


def spans(utterance: str) -> tuple[str, ...]:
    """Every run of up to MOST_SPAN_WORDS words, without the punctuation around it, in the order of the words."""
    words = utterance.split()[-MOST_WORDS:]
    found = (
        " ".join(words[start:end]).strip(" ,.;:!?\"'")
        for start in range(len(words))
        for end in range(start + 1, min(start + MOST_SPAN_WORDS, len(words)) + 1)
    )
    return tuple(dict.fromkeys(span for span in found if span))


def fill_request(
    variable: Variable, question: str, utterance: str, context: ReadingContext, request_id: str
) -> GenerateRequest:
    """The constrained generation for one answer."""
    offered = tuple(option.spoken for option in context.options) or tuple(
        ways[0] if ways else value for value, ways in variable.choices.items()
    )
    messages = [Message("system", _INSTRUCTION)]
    for asked, said, answer in _EXAMPLES:
        messages.append(Message("user", _ask(asked, said)))
        messages.append(Message("assistant", answer))
    messages.append(Message("user", _ask(question, utterance)))
    return GenerateRequest(
        request_id=request_id,
        messages=tuple(messages),
        max_tokens=_MAX_TOKENS,
        tier="large",
        choices=(*(offered if variable.type == "choice" else spans(utterance)), NOTHING),
    )


async def pointed_at(model: LanguageModel, request: GenerateRequest) -> str:
    """The words that the model points at; empty for none. Raises ModelFailure."""
    async with aclosing(model.clauses(request)) as clauses:
        words = " ".join([clause async for clause in clauses])
    return "" if words == NOTHING or words not in request.choices else words


def _ask(question: str, utterance: str) -> str:
    return f"Question: {question}\nCaller: {utterance}"
