"""What holds of any call: prompts grow by appending except at trims, never pass the limit, roles keep their order."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.context.builder import ContextBuilder
from pipeline.context.call import CallContext
from pipeline.context.parts import Ask, ContextError, ContextParts, Example, Exchange, Known, Prompt
from pipeline.context.settings import ContextSettings
from pipeline.context.summary import ExtractiveSummariser
from pipeline.context.wording import plain
from tests.pipeline.context.fakes import FakeCounter, chat
from tests.virtual_time import run_virtual

COUNTER = FakeCounter()
SECRET = "zq9"
"""In no text but as a sensitive value."""

_LETTERS = string.ascii_lowercase.replace("z", "") + " ?.,<|>[]\n" + "éñ漢"
words = st.text(_LETTERS, max_size=60) | st.integers(0, 80).map(lambda count: "so " * count)


@st.composite
def known_variables(draw: st.DrawFn) -> tuple[Known, ...]:
    labels = draw(st.lists(st.sampled_from(["Name", "Day", "Card", "Openings", "Note"]), unique=True))
    return tuple(
        Known(
            label,
            SECRET if label == "Card" else draw(words),
            confirmed=draw(st.booleans()),
            from_system=label == "Openings",
            sensitive=label == "Card",
            words=SECRET if label == "Card" else "",
        )
        for label in labels
    )


@dataclass(frozen=True)
class Turn:
    question: str
    fact: str
    instruction: str
    answer: str
    known: tuple[Known, ...]
    prepares: bool


turns = st.lists(st.builds(Turn, words, words, words, words, known_variables(), st.booleans()), min_size=1, max_size=40)


@st.composite
def builders(draw: st.DrawFn) -> ContextBuilder:
    turns_tokens = draw(st.integers(80, 300))
    trim_tokens = draw(st.integers(16, turns_tokens - 50))
    budgets = ContextSettings(
        summary_tokens=draw(st.integers(16, 60)),
        known_tokens=draw(st.integers(16, 60)),
        data_tokens=draw(st.integers(16, 60)),
        turns_tokens=turns_tokens,
        trim_tokens=trim_tokens,
        instruction_tokens=draw(st.integers(16, 40)),
        fact_tokens=draw(st.integers(16, 40)),
        question_tokens=draw(st.integers(16, 40)),
        summary=draw(st.booleans()),
        summary_ahead_tokens=draw(st.integers(1, turns_tokens - trim_tokens - 1)),
        last=draw(st.sampled_from(["question", "fact"])),
    )
    examples = tuple(Example(Ask(f"q{number}", "f"), "a") for number in range(draw(st.integers(0, 3))))
    parts = ContextParts("You help.", ("Be kind.",), examples, quotes_data=True)
    try:
        return ContextBuilder(parts, COUNTER, budgets, limit_tokens=1)
    except ContextError as error:
        needed = int(str(error).split("would take ")[1].split()[0])
    return ContextBuilder(parts, COUNTER, budgets, limit_tokens=needed)


def played(builder: ContextBuilder, call: list[Turn]) -> list[tuple[Prompt, CallContext]]:
    """Each turn's prompt, and the call as it was then."""
    context = CallContext(builder, ExtractiveSummariser(COUNTER))
    found = []

    async def go() -> None:
        for turn in call:
            ask = Ask(f"{turn.question} {SECRET}", turn.fact, f"{turn.instruction} {SECRET}")
            known = (*turn.known, Known("Card", SECRET, sensitive=True))
            found.append(
                (context.prompt(ask, known), CallContext(builder, ExtractiveSummariser(COUNTER), context.history))
            )
            context.add(Exchange(f"{turn.question} {SECRET}", turn.answer), known)
            if turn.prepares:
                await context.prepare_summary()

    run_virtual(go())
    return found


@settings(max_examples=60, deadline=None)
@given(builders(), turns)
def test_each_prompt_begins_with_the_bytes_of_the_one_before_except_after_a_trim(
    builder: ContextBuilder, call: list[Turn]
) -> None:
    found = played(builder, call)
    for (before, _), (after, _) in pairwise(found):
        if after.first == before.first:
            assert chat(after.messages).encode().startswith(chat(before.stable).encode())
            assert after.messages[: len(before.stable)] == before.stable


@settings(max_examples=60, deadline=None)
@given(builders(), turns)
def test_no_prompt_is_longer_than_the_model_takes_and_no_turn_is_dropped_for_it(
    builder: ContextBuilder, call: list[Turn]
) -> None:
    for prompt, context in played(builder, call):
        assert prompt.tokens == COUNTER.prompt_tokens(prompt.messages) <= builder.limit_tokens
        assert prompt.first == context.history.first
        assert sum(context.history.tokens[prompt.first :]) <= builder.budgets.turns_tokens


@settings(max_examples=60, deadline=None)
@given(builders(), turns)
def test_a_system_message_comes_first_then_user_and_assistant_take_turns_and_the_user_has_the_last_word(
    builder: ContextBuilder, call: list[Turn]
) -> None:
    for prompt, _ in played(builder, call):
        roles = [message.role for message in prompt.messages]
        assert roles[0] == "system"
        assert roles[1::2] == ["user"] * len(roles[1::2])
        assert roles[2::2] == ["assistant"] * len(roles[2::2])
        assert roles[-1] == "user"
        assert all(message.content for message in prompt.messages)


@settings(max_examples=60, deadline=None)
@given(builders(), turns)
def test_nothing_secret_and_no_mark_of_the_template_is_ever_in_a_prompt(
    builder: ContextBuilder, call: list[Turn]
) -> None:
    for prompt, context in played(builder, call):
        for message in prompt.messages:
            assert SECRET not in message.content
            assert "<" not in message.content
        assert SECRET not in str(context.history)


@settings(max_examples=60, deadline=None)
@given(builders(), turns)
def test_the_last_exchange_is_always_shown(builder: ContextBuilder, call: list[Turn]) -> None:
    for prompt, context in played(builder, call):
        if context.history.exchanges:
            assert prompt.first < len(context.history.exchanges)
            assert prompt.messages[-2].content == context.history.exchanges[-1].agent


@settings(max_examples=60, deadline=None)
@given(st.lists(known_variables(), min_size=1, max_size=40))
def test_what_a_prompt_says_last_of_a_variable_is_what_holds(call: list[tuple[Known, ...]]) -> None:
    budgets = ContextSettings(
        turns_tokens=900, trim_tokens=500, summary_ahead_tokens=100, known_tokens=300, data_tokens=300
    )
    parts = ContextParts("You help.", quotes_data=True)
    context = CallContext(ContextBuilder(parts, COUNTER, budgets, limit_tokens=4000), ExtractiveSummariser(COUNTER))
    labels = {one.label for known in call for one in known}
    for known in call:
        short = tuple(replace(one, value=one.value[:60]) for one in known)
        values = {one.label: plain(one.value) for one in short if not one.sensitive}
        text = "\n".join(message.content for message in context.prompt(Ask("q"), short).messages)
        for label in labels:
            said = re.findall(
                rf"^(?:\[data\] )?{label}: (.*?)(?: \(confirmed\)| \[end of data\])?$", text, re.MULTILINE
            )
            if label in values:
                assert said[-1] == values[label]
            else:
                assert not said or said[-1] == "not known any more"
        context.add(Exchange("q", "a " * 30), short)
