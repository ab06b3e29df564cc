"""Callers who change their minds: what of what they have told changes, and where the flow goes on then. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.slots.corrections import (
    Known,
    between,
    called_wrong,
    corrections,
    marks_a_correction,
    plainly_told,
    second_thought,
    told,
)
from pipeline.slots.others import wants_another_day
from pipeline.slots.reading import Reading, read
from pipeline.slots.types import Language
from pipeline.state import CallState, Value
from pipeline.tools.definition import Tool
from pipeline.workflow.definition import AskNode, CallNode, ConfirmNode, Flow
from pipeline.workflow.wording import Wording


@dataclass(frozen=True, slots=True)
class Reconsidered:
    """An answer by which something else changes too."""

    answer: str
    """What of it answers."""
    values: Mapping[str, Value]
    """What changes."""
    go: str
    """Where the flow goes on."""


class Changes:
    """One call's."""

    def __init__(self, words: Wording, tools: Mapping[str, Tool], language: Language) -> None:
        self._words = words
        self._tools = tools
        self._language = language

    def at_question(
        self,
        state: CallState,
        flow: Flow,
        node: AskNode,
        utterance: str,
        turn: int,
        answers: Callable[[str], Reading | None],
    ) -> Reconsidered | None:
        """What an answer changes of what this flow has asked before ("Ana Silva, oh wait, make that Thursday"; "no,
        eight thirty"). `answers`: what words tell of what is asked.

        The flow goes on from where that was asked: what was looked up with the old value is looked up again.
        """
        marked = ("", utterance) if marks_a_correction(utterance, self._language) else None
        parts = second_thought(utterance, self._language) or marked
        if parts is None or answers(parts[1]) is not None:
            return None
        found = corrections(parts[1], self._known(state, _asked(state, flow, node)), self._language)
        return _reconsidered(parts[0], found, state, flow, node, turn)

    def plainly(
        self,
        state: CallState,
        flow: Flow,
        node: AskNode | ConfirmNode,
        utterance: str,
        turn: int,
        besides: Sequence[str] = (),
    ) -> Reconsidered | None:
        """The same for an utterance that only says another value of something asked before ("Marco, please").
        `besides`: words of it that tell something new."""
        found = plainly_told(utterance, self._known(state, _asked(state, flow, node)), self._language, besides)
        return _reconsidered("", found, state, flow, node, turn)

    def at_read_back(
        self, state: CallState, node: ConfirmNode, utterance: str, turn: int, *, agreed: bool
    ) -> Mapping[str, Value]:
        """The values that an answer to a read-back changes. `agreed`: it is a yes."""
        known = self._known(state, node.variables)
        if state.changing and not agreed:
            found = told(utterance, known, self._language)
        else:
            found = corrections(utterance, known, self._language, agreed=agreed)
        return _values(found if agreed else {**self._first_told(state, node, utterance), **found}, turn)

    def looked_up_again(self, state: CallState, flow: Flow, changed: Iterable[str]) -> tuple[CallState, str | None]:
        """Where the flow goes on once these have changed: if something was looked up with them, from where they were
        asked for, without what was chosen of what was found. None: where it stands."""
        stale = [
            node
            for node in flow.nodes.values()
            if isinstance(node, CallNode)
            and node.tool in self._tools
            and self._tools[node.tool].effect == "read"
            and any(f"{{{name}}}" in text for name in changed for text in node.arguments.values())
        ]
        asks = [node for node in flow.nodes.values() if isinstance(node, AskNode)]
        first = next((node for node in asks if node.variable in changed), None)
        if not stale or first is None:
            return state, None
        lists = tuple(name for node in stale for name in node.save if name in state.lists)
        chosen = (node.variable for node in asks if self._words.variable(node.variable).options_from in lists)
        return state.without((*lists, *(name for name in chosen if name not in changed))), first.go

    def other_day(
        self, state: CallState, flow: Flow, node: AskNode, utterance: str, turn: int
    ) -> tuple[CallState, str] | None:
        """Where it goes on if something was looked up for a day, and another one is wanted ("what do you have on
        Wednesday?"), or any other ("not Tuesday, I'm away"). None: neither."""
        for name in _asked(state, flow, node):
            variable = self._words.variable(name)
            if variable.type != "date":
                continue
            context, day = self._words.context(state, variable), state.values[name].value
            reading = read(variable, utterance, context)
            if reading is not None and reading.value != day:
                told = state.with_values(**_values({name: reading}, turn))
            elif reading is None and wants_another_day(utterance, day, context):
                told = state.without((name,))
            else:
                continue
            after, go = self.looked_up_again(told, flow, (name,))
            if go is not None:
                return after, go
        return None

    def asked_anew(
        self, state: CallState, flow: Flow, node: ConfirmNode, utterance: str
    ) -> tuple[str, str, bool] | None:
        """The one value that is to change, where the flow asks for it, and whether the utterance already says something
        that fits several of the things on offer ("no, on Tuesday"); None if none is named."""
        known = self._known(state, node.variables)
        asks = {each.variable: name for name, each in reversed(flow.nodes.items()) if isinstance(each, AskNode)}
        for name, each in known.items():
            if name in asks and between(each, utterance):
                return name, asks[name], True
        wrong = called_wrong(utterance, {name: each.variable for name, each in known.items()}, self._language)
        return None if wrong is None or wrong not in asks else (wrong, asks[wrong], False)

    def _known(self, state: CallState, names: Iterable[str]) -> Mapping[str, Known]:
        known = ((name, self._words.variable(name)) for name in names if name in state.values)
        return {
            name: Known(variable, state.values[name].value, self._words.context(state, variable))
            for name, variable in known
        }

    def _first_told(self, state: CallState, node: ConfirmNode, utterance: str) -> Mapping[str, Reading]:
        """What is told of the node's variables that had no value."""
        readings = {}
        for name in node.variables:
            if name not in state.values:
                variable = self._words.variable(name)
                context = dataclasses.replace(self._words.context(state, variable), asked=False)
                readings[name] = read(variable, utterance, context)
        return {name: reading for name, reading in readings.items() if reading is not None}


def _asked(state: CallState, flow: Flow, node: AskNode | ConfirmNode) -> Mapping[str, AskNode]:
    """Where a flow has asked for what is known, but for what the node is about; the last one first."""
    about = {node.variable} if isinstance(node, AskNode) else set(node.variables)
    return {
        each.variable: each
        for each in reversed(flow.nodes.values())
        if isinstance(each, AskNode) and each.variable not in about and each.variable in state.values
    }


def _reconsidered(
    answer: str, found: Mapping[str, Reading], state: CallState, flow: Flow, node: AskNode | ConfirmNode, turn: int
) -> Reconsidered | None:
    asked = _asked(state, flow, node)
    first = next((asked[name] for name in reversed(list(asked)) if name in found), None)
    return None if first is None else Reconsidered(answer, _values(found, turn), first.go)


def _values(readings: Mapping[str, Reading], turn: int) -> Mapping[str, Value]:
    return {name: Value(each.value, each.words, each.confidence, turn) for name, each in readings.items()}
