"""One call's context: what was said so far, and the prompt for what comes next."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.context.builder import ContextBuilder
from pipeline.context.parts import Ask, Exchange, History, Known, Prompt
from pipeline.context.summary import Summariser, SummaryRequest


class CallContext:
    """Asked for prompts as often as one likes, guesses included; changes only when an exchange is over."""

    def __init__(self, builder: ContextBuilder, summariser: Summariser, history: History | None = None) -> None:
        """`history`: where a call that was lost elsewhere is gone on with."""
        self._builder = builder
        self._summariser = summariser
        self._history = history or History()
        self._asking = False
        self._asked = 0

    @property
    def history(self) -> History:
        """Everything there is to keep of the call."""
        return self._history

    def prompt(self, ask: Ask, known: Sequence[Known] = ()) -> Prompt:
        """The messages for one generation; changes nothing. `ContextBuilder.prompt` says what it raises.

        With an empty `Ask`, what an engine can be warmed up with: after an exchange, and above all after a trim.
        """
        if not self._builder.budgets.turns:
            return self._builder.prompt(History(), ask)
        return self._builder.prompt(self._history, ask, known)

    @property
    def shows_turns(self) -> bool:
        """Whether prompts change with what is said."""
        return self._builder.budgets.turns

    def add(self, exchange: Exchange, known: Sequence[Known] = ()) -> bool:
        """An exchange is over: it is known what the caller heard. Returns whether turns were dropped for it."""
        if not self.shows_turns:
            return False
        before = self._history.first
        self._history = self._builder.extended(self._history, exchange, known)
        return self._history.first > before

    async def prepare_summary(self) -> None:
        """Have a summary made if a trim is near, for that trim. To be run beside the call, after every `add`.

        Returns at once if none is due, or one is under way. Until it returns, turns are dropped with the summary that
        there is. Raises models.types.ModelFailure if the summariser does; that trim's summary is then not tried again.
        """
        history = self._history
        due = max(history.cut, history.first)
        if self._asking or not self._builder.budgets.summary or due <= max(history.summarised, self._asked):
            return
        request = SummaryRequest(
            exchanges=history.exchanges[:due],
            earlier=history.ready_summary,
            fresh=due - history.summarised,
            most_tokens=self._builder.summary_text_tokens,
        )
        self._asking, self._asked = True, due
        try:
            summary = await self._summariser.summarise(request)
        finally:
            self._asking = False
        self._history = self._builder.with_summary(self._history, summary, due)
