"""A call's values in words: for callers as they are spoken, for tools as they are kept; and what tools return, read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pipeline.hours import Hours
from pipeline.hours_said import SpokenHours
from pipeline.slots.reading import Option, ReadingContext, spoken
from pipeline.slots.returned import from_system
from pipeline.slots.spans import Span, spans_of
from pipeline.slots.types import Language
from pipeline.slots.variables import HOURS, Variable
from pipeline.slots.written import one_by_one, written
from pipeline.state import CallState, Value
from pipeline.tools.calls import JsonValue, ToolResult
from pipeline.workflow.definition import CALLER, WISH

MOST_LISTED = 4
"""So many things on offer are read out at once; of more, one less at a time."""
MOST_OF_A_WISH = 300
"""So many letters of what the caller said are passed on to a tool."""
VERIFIED = "verification_level"
"""A tool's return of this name sets the caller's level."""
NEXT_OPENING = "next_opening"
"""When the business opens next, in what is said."""
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)(?::[a-z]+)?\}")
"""What stands for a value, perhaps with the form that it takes ("{hour:text}")."""
FORMS = ("speech", "text", "digits", "all")
"""As it is spoken, as people write it, its digits one by one (of a code, its letters too); of a list, "a, b, and c"
instead of "a, b, or c"."""
_FORM = re.compile(r":([a-z]+)\}$")

_CHOICE = Variable(type="choice")
_PHONE = Variable(type="phone")
_TEXT = Variable(type="text")
_OR: Mapping[Language, str] = {"en": "or", "es": "o"}
_AND: Mapping[Language, str] = {"en": "and", "es": "y"}


class FlowError(RuntimeError):
    """A flow cannot go on; `trunkline agent validate` would have said so."""


class Wording:
    """Of one agent's variables, for one call."""

    def __init__(
        self,
        variables: Mapping[str, Variable],
        *,
        caller: str,
        now: Callable[[], datetime],
        hours: Hours,
        language: Language,
    ) -> None:
        self._variables = variables
        self._caller = caller
        self._now = now
        self._hours = hours
        self._language = language

    @property
    def language(self) -> Language:
        return self._language

    @property
    def variables(self) -> Mapping[str, Variable]:
        """By name."""
        return self._variables

    def variable(self, name: str) -> Variable:
        """Raises FlowError if there is none of that name."""
        try:
            return self._variables[name]
        except KeyError:
            raise FlowError(f"there is no variable {name!r}; expected one of {', '.join(self._variables)}") from None

    def context(self, state: CallState, variable: Variable) -> ReadingContext:
        """What a variable is read against."""
        options = state.lists.get(variable.options_from, ()) if variable.options_from else ()
        return dataclasses.replace(self.plain(), options=options, window=self._window(variable))

    def plain(self) -> ReadingContext:
        """What anything is read against that nothing is on offer for."""
        return ReadingContext(today=self._now().date(), language=self._language)

    def _window(self, variable: Variable) -> tuple[Span, ...]:
        if variable.between is None:
            return ()
        return self._hours.window() if variable.between == HOURS else spans_of(variable.between)

    # -- for callers -----------------------------------------------------------------------------------------------

    def render(self, state: CallState, text: str, **extra: str) -> str:
        """A text as it is said: variables and lists in their spoken form; what is unknown is left out."""

        def said(match: re.Match[str]) -> str:
            name = match[1]
            if name in extra:
                return extra[name]
            if name in state.values:
                return self._formed(state, name, form_of(match[0]) or "speech")
            if name == NEXT_OPENING:
                return SpokenHours(self._hours, self._language).next_opening(self._now())
            return self.listed(state.lists.get(name, ()), every=form_of(match[0]) == "all")

        return " ".join(PLACEHOLDER.sub(said, text).split())

    def spoken(self, state: CallState, name: str) -> str:
        """A known variable as the agent says it."""
        return self._formed(state, name, "speech")

    def _formed(self, state: CallState, name: str, form: str) -> str:
        variable, value = self._variables.get(name, _TEXT), state.values[name].value
        try:
            return written_as(variable, value, form, self.context(state, variable))
        except ValueError:
            return value  # A tool's return that is none of its type ("on request" for a price) is said as it came.

    def listed(self, options: Sequence[Option], *, every: bool = False) -> str:
        """The first few things on offer, to choose from; `every`: that there are."""
        items = [option.spoken for option in portion(options)]
        if len(items) <= 1:
            return "".join(items)
        return f"{', '.join(items[:-1])}, {(_AND if every else _OR)[self._language]} {items[-1]}"

    # -- for tools -------------------------------------------------------------------------------------------------

    def canonical(self, state: CallState, text: str) -> str:
        """A text with values as they are kept."""

        def kept(match: re.Match[str]) -> str:
            form = form_of(match[0])
            if match[1] == CALLER:
                if form is None or not self._caller:
                    return self._caller
                return written_as(_PHONE, self._caller, form, self.plain())
            if match[1] == WISH:
                return " ".join(state.place.wish.split())[:MOST_OF_A_WISH] if state.place else ""
            value = state.values.get(match[1])
            if value is None or form is None:
                return value.value if value else ""
            return self._formed(state, match[1], form)

        return PLACEHOLDER.sub(kept, text)

    def arguments(self, state: CallState, templates: Mapping[str, str]) -> dict[str, JsonValue]:
        """A tool's arguments; those that come to nothing are left out."""
        filled = {name: self.canonical(state, text) for name, text in templates.items()}
        return {name: text for name, text in filled.items() if text}

    def argument_said(self, state: CallState, template: str) -> str:
        """An argument as the agent would say it."""
        whole = PLACEHOLDER.fullmatch(template)
        if whole and whole[1] in state.values:
            return self.spoken(state, whole[1])
        return self.canonical(state, template)

    def saved(self, state: CallState, save: Mapping[str, str], result: ToolResult) -> CallState:
        """The state with what a tool returned. `save`: variable or list -> name among its returns."""
        values, lists = dict(state.values), dict(state.lists)
        for name, returned in save.items():
            found = result.values.get(returned)
            if isinstance(found, list):
                lists[name] = tuple(self.option(entry) for entry in found)
            elif found is None:
                values.pop(name, None)
            elif not isinstance(found, dict):
                kept = from_system(self._variables.get(name, _TEXT), plain_text(found))
                values[name] = Value(kept, source="tool", confirmed=True)
        level = result.values.get(VERIFIED)
        known = dataclasses.replace(state, values=values, lists=lists)
        return dataclasses.replace(known, level=max(state.level, level)) if isinstance(level, int) else known

    def option(self, entry: JsonValue) -> Option:
        """One thing that a tool puts on offer."""
        if not isinstance(entry, dict):
            return Option(plain_text(entry), spoken(_CHOICE, plain_text(entry), self.plain()))
        value = plain_text(entry.get("value"))
        words = entry.get("keywords")
        keywords = tuple(plain_text(word) for word in words) if isinstance(words, list) else ()
        said = entry.get("spoken")
        return Option(value, plain_text(said) if said else spoken(_CHOICE, value, self.plain()), keywords)


def written_as(variable: Variable, value: str, form: str, context: ReadingContext) -> str:
    """A value in one of FORMS. Raises ValueError for a value that is not canonical."""
    if form == "text":
        return written(variable, value, context)
    if form == "digits" and variable.type != "code" and any(each.isdigit() for each in value):
        return one_by_one(value, context.language)
    return spoken(variable, value, context)


def form_of(placeholder: str) -> str | None:
    """Of "{hour:text}": text; None where no form is given."""
    found = _FORM.search(placeholder)
    return found[1] if found else None


def portion(options: Sequence[Option]) -> Sequence[Option]:
    """Of things on offer, the first few that people can keep in mind: all, if that is one more than a portion."""
    return options if len(options) <= MOST_LISTED else options[: MOST_LISTED - 1]


def plain_text(value: JsonValue) -> str:
    """A single value of a tool's as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
