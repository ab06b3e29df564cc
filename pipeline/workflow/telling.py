"""What words tell unasked of what flows would ask for: evidence of what is wished. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.slots.reading import Reading, ReadingContext, read
from pipeline.slots.types import LIKELY, SURE
from pipeline.slots.variables import Variable
from pipeline.state import CallState, Place, Value
from pipeline.workflow.definition import Flow, FlowNode
from pipeline.workflow.wording import Wording

_TELLING = ("choice", "digits", "code", "phone", "email")
"""Types whose values are seldom said but to tell them: no small numbers, yes and no, and no days or times, of which
facts are asked too."""
_NAMED = ("digits", "code", "phone", "email")
"""Types whose values are said with what they are ("the tracking number is ...")."""
FEWEST_OF_A_NUMBER = 3
"""Digits of a number that is hardly said for anything but itself."""
_FEW_WORDS = 3
"""So many words may be left beside a value and what it is called ("it is", "and my")."""


def tells(variable: Variable, utterance: str, context: ReadingContext) -> bool:
    """Whether a reader is sure that it tells the variable, of a type that is seldom said otherwise, unasked."""
    if variable.type not in _TELLING or variable.options_from is not None:
        return False
    reading = read(variable, utterance, context)
    return reading is not None and reading.confidence >= SURE


def only_tells(variables: Iterable[Variable], part: str, context: ReadingContext) -> bool:
    """Whether a part of an utterance tells, unasked, a number or address that it names, and nothing else."""
    words = _words(part)
    for variable in variables:
        named = set(words) & set(_words(variable.description))
        reading = read(variable, part, context) if named and variable.type in _NAMED else None
        if reading is not None and reading.confidence >= LIKELY:
            left = [word for word in words if word not in named]
            if len(left) - len(_words(reading.words)) <= _FEW_WORDS:
                return True
    return False


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _is_number(variable: Variable) -> bool:
    """Whether it is hardly said for anything but itself: some digits at least, or a code of a certain pattern."""
    if variable.type == "code":
        return variable.pattern is not None
    return variable.type == "digits" and variable.fewest_digits >= FEWEST_OF_A_NUMBER


class Telling:
    """Of one agent's flows, for one call."""

    def __init__(self, flows: Mapping[str, Flow], words: Wording) -> None:
        self._flows = flows
        self._words = words

    def told_flows(self, utterance: str) -> Mapping[str, int]:
        """How many values it surely tells that each flow would ask for, of kinds that are seldom said otherwise."""
        context = replace(self._words.plain(), asked=False)
        told = {name for name, variable in self._words.variables.items() if tells(variable, utterance, context)}
        if not told:
            return {}
        asked = {name: self._asked_for((Place(name, flow.start),)) for name, flow in self._flows.items()}
        return {name: len(told.intersection(variables)) for name, variables in asked.items()}

    def flow_of_number(self, utterance: str, flows: Iterable[str]) -> tuple[str, str] | None:
        """The one of these flows that would ask for a number of the length that is said, and the variable it is;
        None if there is none, or several."""
        context = self._words.plain()
        told = {
            name
            for name, variable in self._words.variables.items()
            if _is_number(variable)
            if (reading := read(variable, utterance, context)) is not None and reading.confidence >= LIKELY
        }
        asked = [
            (flow, variable) for flow in flows for variable in self._asked_for((Place(flow, ""),)) if variable in told
        ]
        return asked[0] if len(asked) == 1 else None

    def taken(self, state: CallState, utterance: str, turn: int, *, besides: str = "", anew: bool = False) -> CallState:
        """What the utterance tells unasked of the variables that the flows under way will ask for; `anew`: of those of
        the flow just begun, also if they are known from earlier in the call: a new wish may be about something else."""
        for name in self._asked_for(state.stack[-1:] if anew else state.stack):
            if name == besides or (name in state.values and not anew):
                continue
            variable = self._words.variable(name)
            context = replace(self._words.context(state, variable), asked=False, opening=anew)
            if variable.options_from is not None and not context.options:
                state = state.with_early(name, utterance, turn) if utterance else state
                continue
            reading = read(variable, utterance, context)
            if reading is None or self._is_taken(state, name, reading, turn):
                continue
            if name not in state.values or state.values[name].value != reading.value:
                state = state.with_values(**{name: Value(reading.value, reading.words, reading.confidence, turn)})
        return state

    def _is_taken(self, state: CallState, name: str, reading: Reading, turn: int) -> bool:
        """Whether the same words have told another variable of that type: one name is not the owner's and the pet's."""
        variables = self._words.variables
        return any(
            value.turn == turn and value.words == reading.words and variables[other].type == variables[name].type
            for other, value in state.values.items()
            if other in variables and other != name
        )

    def _asked_for(self, stack: Sequence[Place]) -> tuple[str, ...]:
        """The variables of these flows and of those that they call."""
        flows: dict[str, None] = {}
        ahead = [place.flow for place in stack]
        while ahead:
            name = ahead.pop(0)
            if name not in flows:
                flows[name] = None
                ahead += [node.flow for node in self._flows[name].nodes.values() if isinstance(node, FlowNode)]
        return tuple(dict.fromkeys(variable for name in flows for variable in self._flows[name].variables()))
