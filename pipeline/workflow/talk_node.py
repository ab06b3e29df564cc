"""Free conversations as flows see them: a state before and after, whatever the model has said in between. Pure.

What a model is told of one is a `Conversation`; what it makes of it comes back as a `Move`, of which only that counts
which the node allows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.context.parts import Known
from pipeline.slots.corrections import Known as Correctable
from pipeline.slots.corrections import corrections
from pipeline.slots.reading import read
from pipeline.slots.variables import Variable
from pipeline.slots.wording import plain_words
from pipeline.state import CallState, Learnt, Talk, Value
from pipeline.tools.calls import ToolResult
from pipeline.tools.definition import Tool
from pipeline.workflow.definition import CALLER, TalkNode
from pipeline.workflow.wording import PLACEHOLDER, Wording, plain_text


@dataclass(frozen=True, slots=True)
class Move:
    """What is to come of an utterance. Names that the node does not know count for nothing."""

    says: tuple[str, ...] = ()
    """Sentences that may be said."""
    call: str = ""
    """A tool to call."""
    leave: str = ""
    """A way out to take."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A free conversation as it stands."""

    node: TalkNode
    talk: Talk
    tools: Mapping[str, tuple[Tool, tuple[str, ...]]]
    """Those that may be called, each with the variables that it gets."""
    fill: Mapping[str, str]
    """Its variables, each with what it is called."""
    known: tuple[Known, ...]
    """Those that have a value, as they are spoken."""
    told: tuple[str, ...]
    """Of those, what came from the caller and is no secret, each with what it is called."""
    spoken: Mapping[str, str]
    """Values as they are kept -> as they are spoken."""
    question: str
    """Asked where nothing else is to be said; may be empty."""


class TalkNodes:
    """One agent's free conversations, for one call."""

    def __init__(self, words: Wording, variables: Mapping[str, Variable], tools: Mapping[str, Tool]) -> None:
        self._words = words
        self._variables = variables
        self._tools = tools

    def conversation(self, state: CallState, node: TalkNode) -> Conversation:
        """What may be known of it."""
        names = [name for name in state.values if name in self._variables]
        known = tuple(self._known(state, name) for name in names)
        return Conversation(
            node=node,
            talk=talk_of(state),
            tools={
                name: (self._tools[name], self._variables_in(self.templates(node, name).values()))
                for name in node.tools
                if self._may_call(state, node, name)
            },
            fill={name: self._label(name) for name in node.fill},
            known=known,
            told=tuple(f"{one.label} {one.value}" for one in known if not one.sensitive and not one.from_system),
            spoken={state.values[name].value: self._words.spoken(state, name) for name in names},
            question=self.question(state, node),
        )

    def question(self, state: CallState, node: TalkNode) -> str:
        """What is asked if there is nothing else to say: for what is missing, else what was asked last or first."""
        missing = next((name for name in node.fill if name not in state.values), None)
        if missing is not None:
            return self._words.render(state, node.fill[missing])
        return talk_of(state).asked or (self._words.render(state, node.say) if node.say else "")

    def taken(self, state: CallState, pointed_at: Mapping[str, str], utterance: str, turn: int) -> CallState:
        """The state with what the caller's words say of variables. `pointed_at`: which of them, by the variable's name:
        words that he has not said, and words that its reader does not read, tell nothing."""
        said = f" {' '.join(plain_words(utterance))} "
        for name, words in pointed_at.items():
            plain = " ".join(plain_words(words))
            if name not in self._variables or not plain or f" {plain} " not in said:
                continue
            variable = self._words.variable(name)
            reading = read(variable, words, self._words.context(state, variable))
            if reading is not None and (name not in state.values or state.values[name].value != reading.value):
                state = state.with_values(**{name: Value(reading.value, reading.words, reading.confidence, turn)})
        return state

    # -- tools -----------------------------------------------------------------------------------------------------

    def templates(self, node: TalkNode, name: str) -> dict[str, str]:
        """The tool's arguments as a node of kind `call` has them."""
        given = node.tools[name].arguments
        by_name = {argument: f"{{{argument}}}" for argument in self._tools[name].arguments if self._is_known(argument)}
        return by_name | given

    def lacks(self, state: CallState, node: TalkNode, name: str) -> str | None:
        """A variable that the tool cannot be called without; None: there is none."""
        forms = self._tools[name].arguments
        for argument, template in self.templates(node, name).items():
            if argument in forms and forms[argument].required:
                for variable in self._variables_in([template]):
                    if variable not in state.values:
                        return variable
        return None

    def read_back(self, state: CallState, node: TalkNode, name: str) -> str:
        """The question whose yes has a tool called; empty for one that needs none."""
        text = node.tools[name].read_back
        return self._words.render(state, text) if text else ""

    def is_write(self, name: str) -> bool:
        return self._tools[name].effect == "write"

    def corrected(self, state: CallState, node: TalkNode, utterance: str, turn: int, *, agreed: bool) -> CallState:
        """The state with what an answer to a read-back changes of what was read back."""
        known = {
            name: Correctable(variable, state.values[name].value, self._words.context(state, variable))
            for name, variable in self._read_back_variables(state, node).items()
        }
        found = corrections(utterance, known, self._words.language, agreed=agreed)
        values = {name: Value(each.value, each.words, each.confidence, turn) for name, each in found.items()}
        return state.with_values(**values)

    def confirmed(self, state: CallState, node: TalkNode) -> CallState:
        """The state after a yes to what was read back."""
        values = {name: state.values[name] for name in self._read_back_variables(state, node)}
        return state.with_values(**{name: dataclasses.replace(value, confirmed=True) for name, value in values.items()})

    def learnt(self, state: CallState, node: TalkNode, result: ToolResult) -> CallState:
        """The state after the tool that was called has answered, with a yes or a no."""
        name = talk_of(state).calling
        tool = self._tools[name]
        arguments = {
            argument: self._words.argument_said(state, template)
            for argument, template in self.templates(node, name).items()
            if not any(name == CALLER or self._is_sensitive(name) for name in PLACEHOLDER.findall(template))
        }
        lists = {variable.options_from for variable in self._variables.values()}
        save = {returned: returned for returned in tool.returns if returned in self._variables or returned in lists}
        after = self._words.saved(state, save, result) if result.status == "ok" else state
        found = {
            returned: self._returned(after, returned, result)
            for returned in tool.shown(result.values)
            if not self._is_sensitive(returned)
        }
        came = Learnt(
            name,
            "" if result.status == "ok" else result.code or result.status,
            tuple(f"{self._label(key)} {text}" for key, text in tool.shown(arguments).items() if text),
            tuple(f"{self._label(key)} {text}" for key, text in found.items() if text),
        )
        talk = talk_of(state)
        return with_talk(after, dataclasses.replace(talk, calling="", learnt=(*talk.learnt, came)))

    # -- in words --------------------------------------------------------------------------------------------------

    def _returned(self, state: CallState, name: str, result: ToolResult) -> str:
        if name in state.lists:
            return self._words.listed(state.lists[name])
        if name in state.values:
            return self._words.spoken(state, name)
        value = result.values.get(name)
        return "" if isinstance(value, list | dict) else plain_text(value)

    def _known(self, state: CallState, name: str) -> Known:
        value = state.values[name]
        return Known(
            self._label(name),
            self._words.spoken(state, name),
            confirmed=value.confirmed,
            from_system=value.source == "tool",
            sensitive=self._is_sensitive(name),
            words=value.words,
        )

    def _label(self, name: str) -> str:
        variable = self._variables.get(name)
        return variable.description if variable and variable.description else name.replace("_", " ")

    def _read_back_variables(self, state: CallState, node: TalkNode) -> dict[str, Variable]:
        names = self._variables_in([node.tools[talk_of(state).calling].read_back or ""])
        return {name: self._variables[name] for name in names if name in state.values}

    def _variables_in(self, templates: Iterable[str]) -> tuple[str, ...]:
        named = (name for text in templates for name in PLACEHOLDER.findall(text))
        return tuple(dict.fromkeys(name for name in named if name in self._variables))

    def _may_call(self, state: CallState, node: TalkNode, name: str) -> bool:
        return name in self._tools and talk_of(state).tools < node.limits.tools

    def _is_known(self, argument: str) -> bool:
        return argument in self._variables or argument == CALLER

    def _is_sensitive(self, name: str) -> bool:
        return name in self._variables and self._variables[name].sensitive


def talk_of(state: CallState) -> Talk:
    """How far the free conversation has come at whose node the call stands."""
    return state.stack[-1].talk


def with_talk(state: CallState, talk: Talk) -> CallState:
    """The same, a step further."""
    return dataclasses.replace(state, stack=(*state.stack[:-1], dataclasses.replace(state.stack[-1], talk=talk)))
