"""A prompt from parts with budgets: what never changes first, then what seldom does, and the question at the end.

The engine's prefix cache serves a prompt as far as it begins like an earlier one. So history is only ever appended to,
until it is over its budget; then many turns are dropped at once. Summary and known variables stand before the turns and
change only then; what became known since is noted in the turn in which it did. Pure: no state, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from models.types import Message
from pipeline.context.parts import Ask, ContextError, ContextParts, Exchange, History, Known, Prompt, TokenCounter
from pipeline.context.settings import ContextSettings
from pipeline.context.wording import (
    ask_texts,
    caller_text,
    plain,
    quoted,
    shortened,
    stated,
    summary_text,
    system_text,
    without_secrets,
)

_SEAM_TOKENS = 2
"""What joining a part to the next may cost: the line break, and a letter that no longer merges."""
_SEAMS = 9
"""Summary, known, data; known, data, instruction, fact, question; the end."""
_LEAST_DATA_TOKENS = 4
"""A quotation with less room than this is left out."""
_LEAST_SIDE_TOKENS = 8
"""Each side of an exchange can have at least this."""


_HEAD: Final = "Known:"
_NEWS: Final = "Known now:"


@dataclass(frozen=True, slots=True)
class _Written:
    """Variables as written, and which of them found room."""

    text: str = ""
    included: tuple[Known, ...] = ()
    gone: tuple[str, ...] = ()
    """Labels of those that are not known any more."""


class ContextBuilder:
    """One agent's prompts for one model. Immutable: one instance serves all calls."""

    def __init__(
        self, parts: ContextParts, counter: TokenCounter, budgets: ContextSettings, *, limit_tokens: int
    ) -> None:
        """`limit_tokens` is the longest prompt that the model takes (its `max_prompt_tokens`).

        Raises ContextError if persona or examples are over their budgets, or if the budgets do not fit the limit.
        """
        self._parts = parts
        self._counter = counter
        self._budgets = budgets
        self._limit_tokens = limit_tokens
        system = Message("system", system_text(parts))
        examples: list[Message] = []
        for example in parts.examples:
            examples.append(Message("user", "\n".join(ask_texts(example.ask, budgets.last))))
            examples.append(Message("assistant", example.answer))
        self._prefix = (system, *examples)
        self._pair_tokens = self._of_a_pair()
        self._check_prefix(system, examples)

    @property
    def budgets(self) -> ContextSettings:
        return self._budgets

    @property
    def limit_tokens(self) -> int:
        """No prompt is longer."""
        return self._limit_tokens

    def check(self, part: Literal["instruction", "fact"], text: str) -> None:
        """Raises ContextError if a text of the agent file is over the budget of its part."""
        most = self._budgets.instruction_tokens if part == "instruction" else self._budgets.fact_tokens
        took = self._counter.text_tokens(ask_texts(_only(part, plain(text)), self._budgets.last, words=False)[0])
        if took > most:
            raise ContextError(
                f"context: the {part} {text[:60]!r} takes {took} tokens, its budget is {most}; "
                f"shorten it or raise context.{part}_tokens"
            )

    def prompt(self, history: History, ask: Ask, known: Sequence[Known] = ()) -> Prompt:
        """The messages of one generation. `known`: all variables that have a value, oldest first.

        A system message, then user and assistant in turn, ending with user. Raises ContextError if a value came from
        a business system and the parts say that none does, or if the prompt cannot be made to fit, which the checks
        made at the start rule out for every counter for which text joined takes no more tokens than its pieces.
        """
        note = self._news(history, self._shown(known)).text
        asked = ask_texts(self._ask(history, ask, known), self._budgets.last)
        tail = "\n".join((note, *asked) if note else asked)
        first = history.first
        while True:
            messages = self._assembled(history, first, tail)
            tokens = self._counter.prompt_tokens(messages)
            if tokens <= self._limit_tokens:
                return Prompt(messages, tokens, first)
            if first >= len(history.exchanges):
                raise ContextError(
                    f"context: a prompt without any turn takes {tokens} tokens, the model takes {self._limit_tokens}; "
                    "lower the budgets under `context`"
                )
            first += 1

    def extended(self, history: History, exchange: Exchange, known: Sequence[Known] = ()) -> History:
        """The history with an exchange that is over, and trimmed if it has become too long."""
        caller = " ".join(filter(None, (history.unanswered, without_secrets(exchange.caller, known))))
        agent = without_secrets(exchange.agent, known)
        if not agent:
            return replace(history, unanswered=caller)
        topic, decided = without_secrets(exchange.topic, known), without_secrets(exchange.decided, known)
        added = self._fitted(Exchange(caller, agent, topic, decided))
        note, tokens = self._news(history, self._shown(known)), self._exchange_tokens(added)
        note_tokens = self._counter.text_tokens(note.text) + _SEAM_TOKENS if note.text else 0
        if tokens + note_tokens > self._budgets.kept_tokens:
            note, note_tokens = _Written(), 0  # It stays news, and is said at the prompt's end.
        history = replace(
            history,
            exchanges=(*history.exchanges, added),
            notes=(*history.notes, note.text),
            tokens=(*history.tokens, tokens + note_tokens),
            unanswered="",
            said=_updated(history.said, note),
        )
        shown_tokens = sum(history.tokens[history.first :])
        if shown_tokens > self._budgets.turns_tokens:
            return self._trimmed(history, known)
        near = shown_tokens > self._budgets.turns_tokens - self._budgets.summary_ahead_tokens
        if self._budgets.summary and near and history.cut <= history.first:
            # By the time of the trim, about that much has been added to what it leaves.
            return replace(
                history, cut=self._cut(history, self._budgets.kept_tokens - self._budgets.summary_ahead_tokens)
            )
        return history

    def with_summary(self, history: History, summary: str, exchanges: int) -> History:
        """The history with a summary of its first `exchanges`, to be used from the next trim on."""
        text = shortened(plain(summary), self.summary_text_tokens, self._counter.text_tokens, keep="start")
        return replace(history, ready_summary=text, summarised=exchanges)

    @property
    def summary_text_tokens(self) -> int:
        """What the summary itself may take, without its heading."""
        return self._budgets.summary_tokens - self._counter.text_tokens(summary_text(""))

    # -- history ------------------------------------------------------------------------------------------------------

    def _trimmed(self, history: History, known: Sequence[Known]) -> History:
        cut = history.cut
        if cut <= history.first or sum(history.tokens[cut:]) > self._budgets.turns_tokens:
            cut = self._cut(history, self._budgets.kept_tokens)
        shown = self._shown(known)
        written = (*self._stated(_HEAD, shown).included, *self._quoted(shown).included)
        # In the order given: what is oldest goes first when room is short.
        stands = tuple(one for one in shown if one in written)
        return replace(
            history,
            first=cut,
            cut=cut,
            summary=history.ready_summary if self._budgets.summary else "",
            known=stands,
            said=stands,
            notes=("",) * len(history.notes),
            tokens=(*history.tokens[:cut], *(self._exchange_tokens(one) for one in history.exchanges[cut:])),
        )

    def _cut(self, history: History, kept_tokens: int) -> int:
        """The first exchange to be shown if so many tokens of them are kept; the newest always is."""
        cut, left = history.first, sum(history.tokens[history.first :])
        while left > kept_tokens and cut < len(history.tokens) - 1:
            left -= history.tokens[cut]
            cut += 1
        return cut

    def _fitted(self, exchange: Exchange) -> Exchange:
        """The exchange, shortened if it alone would take more than a trim leaves."""
        if self._exchange_tokens(exchange) <= self._budgets.kept_tokens:
            return exchange
        count = self._counter.text_tokens
        room = self._budgets.kept_tokens - self._pair_tokens - count(caller_text(" ")) - _SEAM_TOKENS
        # The shorter side may leave some of its half to the other.
        caller = shortened(exchange.caller, max(room // 2, room - count(exchange.agent)), count, keep="end")
        agent = shortened(exchange.agent, max(room - count(caller), 0), count, keep="start")
        return replace(exchange, caller=caller, agent=agent)

    def _exchange_tokens(self, exchange: Exchange) -> int:
        count = self._counter.text_tokens
        return self._pair_tokens + count(caller_text(exchange.caller)) + count(exchange.agent)

    # -- one prompt ---------------------------------------------------------------------------------------------------

    def _assembled(self, history: History, first: int, tail: str) -> tuple[Message, ...]:
        messages = list(self._prefix)
        lead = self._head(history)
        for note, exchange in zip(history.notes[first:], history.exchanges[first:], strict=True):
            said = (*lead, note, caller_text(exchange.caller)) if note else (*lead, caller_text(exchange.caller))
            messages.append(Message("user", "\n".join(said)))
            messages.append(Message("assistant", exchange.agent))
            lead = ()
        messages.append(Message("user", "\n".join((*lead, tail))))
        return tuple(messages)

    def _head(self, history: History) -> tuple[str, ...]:
        summary = summary_text(history.summary) if history.summary else ""
        stands = (self._stated(_HEAD, history.known).text, self._quoted(history.known).text)
        return tuple(text for text in (summary, *stands) if text)

    def _news(self, history: History, shown: tuple[Known, ...]) -> _Written:
        """What the prompt does not say yet of the variables."""
        labels, said = {one.label for one in shown}, {one.label for one in history.said}
        # What corrects an earlier value is the last to be left out.
        new = sorted((one for one in shown if one not in history.said), key=lambda one: one.label in said)
        gone = tuple(one.label for one in history.said if one.label not in labels)
        told, data = self._stated(_NEWS, new, gone), self._quoted(new)
        text = "\n".join(part for part in (told.text, data.text) if part)
        return _Written(text, (*told.included, *data.included), told.gone)

    def _ask(self, history: History, ask: Ask, known: Sequence[Known]) -> Ask:
        count, budgets = self._counter.text_tokens, self._budgets
        question = " ".join(filter(None, (history.unanswered, without_secrets(ask.question, known))))
        return Ask(
            question=shortened(question, budgets.question_tokens - count(caller_text(" ")), count, keep="end"),
            fact=shortened(
                without_secrets(ask.fact, known), budgets.fact_tokens - count("Fact: "), count, keep="start"
            ),
            instruction=shortened(
                without_secrets(ask.instruction, known), budgets.instruction_tokens, count, keep="start"
            ),
        )

    def _shown(self, known: Sequence[Known]) -> tuple[Known, ...]:
        """What of the variables may be in a prompt, as it is written there."""
        shown = []
        for one in known:
            if one.from_system and not self._parts.quotes_data:
                raise ContextError(
                    f"context: the value of {one.label!r} came from a business system, but the persona has no note on "
                    "quoted data; set quotes_data in the parts of an agent that has tools"
                )
            if not one.sensitive:
                value = without_secrets(one.value, known)
                shown.append(Known(plain(one.label), value, confirmed=one.confirmed, from_system=one.from_system))
        return tuple(shown)

    def _stated(
        self, heading: Literal["Known:", "Known now:"], known: Sequence[Known], gone: tuple[str, ...] = ()
    ) -> _Written:
        """Those that no business system wrote; the oldest are left out if there are too many."""
        count, most = self._counter.text_tokens, self._budgets.known_tokens
        included = tuple(one for one in known if not one.from_system)
        while text := stated(heading, included, gone):
            if count(text) <= most:
                return _Written(text, included, gone)
            if len(included) == 1 and not gone:
                return self._stated_alone(heading, included[0])
            # What is not known any more stays longest: the prompt says the opposite further up.
            included, gone = (included[1:], gone) if included else ((), gone[1:])
        return _Written()

    def _stated_alone(self, heading: Literal["Known:", "Known now:"], one: Known) -> _Written:
        count, most = self._counter.text_tokens, self._budgets.known_tokens
        room = most - count(stated(heading, [replace(one, value="")])) - _SEAM_TOKENS
        value = shortened(one.value, max(room, 0), count, keep="start")
        text = stated(heading, [replace(one, value=value)])
        return _Written(text, (one,)) if value and count(text) <= most else _Written()

    def _quoted(self, known: Sequence[Known]) -> _Written:
        """Those that a business system wrote; the newest get what room there is, the next the rest."""
        count = self._counter.text_tokens
        room = self._budgets.data_tokens
        texts: list[str] = []
        included: list[Known] = []
        for one in reversed([one for one in known if one.from_system]):
            frame_tokens = count(quoted(one.label, "")) + _SEAM_TOKENS
            if room - frame_tokens < _LEAST_DATA_TOKENS:
                break
            value = shortened(one.value, room - frame_tokens, count, keep="start")
            text = quoted(one.label, value)
            room -= count(text) + _SEAM_TOKENS
            texts.append(text)
            included.append(one)
        return _Written("\n".join(reversed(texts)), tuple(reversed(included)))

    # -- checks at the start ------------------------------------------------------------------------------------------

    def _of_a_pair(self) -> int:
        """What the chat template adds to an exchange."""
        count = self._counter
        opening = (Message("system", "a"), Message("user", "a"))
        more = (Message("assistant", "a"), Message("user", "a"))
        return count.prompt_tokens((*opening, *more)) - count.prompt_tokens(opening) - 2 * count.text_tokens("a")

    def _check_prefix(self, system: Message, examples: Sequence[Message]) -> None:
        count, budgets = self._counter, self._budgets
        persona_tokens = count.text_tokens(system.content)
        if persona_tokens > budgets.persona_tokens:
            raise ContextError(
                f"context: persona and policies take {persona_tokens} tokens, their budget is "
                f"{budgets.persona_tokens}; shorten them or raise context.persona_tokens"
            )
        question = Message("user", "a")
        prefix_tokens = count.prompt_tokens((system, *examples, question))
        examples_tokens = prefix_tokens - count.prompt_tokens((system, question))
        if examples_tokens > budgets.examples_tokens:
            raise ContextError(
                f"context: the examples take {examples_tokens} tokens, their budget is {budgets.examples_tokens}; "
                "leave some out or raise context.examples_tokens"
            )
        if budgets.kept_tokens < self._pair_tokens + count.text_tokens(caller_text(" ")) + 2 * _LEAST_SIDE_TOKENS:
            raise ContextError(
                f"context: a trim leaves {budgets.kept_tokens} tokens of turns, too few for one exchange; raise "
                "context.turns_tokens or lower context.trim_tokens"
            )
        most = (
            prefix_tokens
            + (budgets.summary_tokens if budgets.summary else 0)
            + 2 * budgets.known_tokens
            + (2 * budgets.data_tokens if self._parts.quotes_data else 0)
            + budgets.turns_tokens
            + budgets.instruction_tokens
            + budgets.fact_tokens
            + budgets.question_tokens
            + _SEAMS * _SEAM_TOKENS
        )
        if most > self._limit_tokens:
            raise ContextError(
                f"context: the longest prompt would take {most} tokens ({prefix_tokens} of them persona and examples), "
                f"the model takes {self._limit_tokens}; lower budgets under `context` by {most - self._limit_tokens}"
            )


def _only(part: Literal["instruction", "fact"], text: str) -> Ask:
    return Ask(instruction=text) if part == "instruction" else Ask(fact=text)


def _updated(said: tuple[Known, ...], note: _Written) -> tuple[Known, ...]:
    replaced = {*note.gone, *(one.label for one in note.included)}
    return (*(one for one in said if one.label not in replaced), *note.included)
