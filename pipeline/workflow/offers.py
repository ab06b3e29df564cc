"""What of the things that a tool put on offer the caller means."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipeline.slots.reading import Option, Reading, claimed, fitting, nothing_then, read
from pipeline.slots.types import LIKELY
from pipeline.state import CallState, Early, Value
from pipeline.understanding.phrases import phrases
from pipeline.workflow.definition import AskNode
from pipeline.workflow.wording import MOST_LISTED, Wording, portion


class Offers:
    """Of one agent's questions, for one call."""

    def __init__(self, words: Wording) -> None:
        self._words = words

    def reading(self, state: CallState, node: AskNode, utterance: str) -> Reading | None:
        """What of it the answer means; of more than are named at once those that were named count first."""
        variable = self._words.variable(node.variable)
        context = self._words.context(state, variable)
        among = tuple(option for option in context.options if option.value in state.narrowed)
        if not among and len(context.options) > MOST_LISTED:
            # "The last one" is the last that was named.
            among = tuple(portion(context.options[state.named :]))
        reading = read(variable, utterance, dataclasses.replace(context, options=among)) if among else None
        if reading is not None and not state.narrowed and len(fitting(variable, utterance, context)) > 1:
            return None  # Of those that were named it fits one, and others as well.
        return reading or read(variable, utterance, context)

    def narrowed(self, state: CallState, node: AskNode) -> str:
        """Those that were named last because they fit what was said; empty if none were."""
        options = self._words.context(state, self._words.variable(node.variable)).options
        return self._words.listed([option for option in options if option.value in state.narrowed])

    def others(self, state: CallState, node: AskNode) -> tuple[CallState, str] | None:
        """The next few things on offer, of some that were narrowed to those that did not fit; after the last ones that
        these are all. None: that was said as often as it may be asked."""
        options = self._words.context(state, self._words.variable(node.variable)).options
        said = phrases(self._words.language)
        if left := [option for option in options if state.narrowed and option.value not in state.narrowed]:
            named = tuple(option.value for option in portion(left))
            more = self._words.render(state, said.more, fitting=self._words.listed(left))
            return dataclasses.replace(state, narrowed=named), more
        after = _named(state, options)
        if after < len(options):
            state = dataclasses.replace(state, named=after, narrowed=())
            return state, self._words.render(state, said.more, fitting=self._words.listed(options[after:]))
        if state.tries + 1 >= node.tries:
            return None
        state = dataclasses.replace(state, named=0, narrowed=(), tries=state.tries + 1)
        return state, self._words.render(state, said.no_more, fitting=self._words.listed(options))

    def has_others_only(self, state: CallState, node: AskNode, utterance: str) -> bool:
        """Whether nothing is on offer at the day or time that is said, and some of what is was not named yet."""
        variable = self._words.variable(node.variable)
        context = dataclasses.replace(self._words.context(state, variable), asked=False)
        return _named(state, context.options) < len(context.options) and nothing_then(variable, utterance, context)

    def only(self, state: CallState, node: AskNode) -> str | None:
        """The one thing that is on offer."""
        options = self._words.context(state, self._words.variable(node.variable)).options
        return options[0].value if len(options) == 1 else None

    def told_early(self, state: CallState, node: AskNode) -> tuple[CallState, str]:
        """With the one thing on offer that fits what was said before it was; or the question which of several it is to
        be, or, where nothing is on offer at that day or time, that and what is. What was said early counts once."""
        variable, early = self._words.variable(node.variable), state.early[node.variable]
        state = state.without_early(node.variable)
        context = dataclasses.replace(self._words.context(state, variable), asked=False)
        for one in reversed(early):
            several = fitting(variable, one.words, context)
            if len(several) == 1 < len(context.options):
                told = Value(several[0].value, claimed(variable, one.words, context), LIKELY, one.turn)
                return state.with_values(**{node.variable: told}), ""
            if 1 < len(several) < len(context.options) and node.narrow:
                state = dataclasses.replace(state, narrowed=tuple(option.value for option in several))
                return state, self._words.render(state, node.narrow, fitting=self._words.listed(several))
        if any(nothing_then(variable, one.words, context) for one in early if not self._is_used(state, node, one)):
            return state, f"{phrases(self._words.language).none_then} {self._words.render(state, node.say[0])}"
        return state, ""

    def _is_used(self, state: CallState, node: AskNode, said: Early) -> bool:
        """Whether what was said has told a day or time that the flow asks for itself, or may be about another thing
        that was on offer: of a move, the time of the booking."""
        for name, value in state.values.items():
            variable = self._words.variables.get(name)
            if variable is None or name == node.variable:
                continue
            if variable.options_from is not None or (variable.type in ("date", "time") and value.turn == said.turn):
                return True
        return False


def _named(state: CallState, options: Sequence[Option]) -> int:
    """How many of the things on offer have been named."""
    return state.named + len(portion(options[state.named :]))
