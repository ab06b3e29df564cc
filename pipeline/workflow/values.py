"""Values in flows that cannot be what they are meant for, and answers that never come; found without running them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pipeline.slots.variables import SlotType, Variable
from pipeline.tools.arguments import ArgumentCheck, ArgumentsError
from pipeline.tools.definition import Tool
from pipeline.tools.runner import INVALID_ARGUMENTS, VERIFICATION_NEEDED
from pipeline.workflow.check import Finding, Surroundings
from pipeline.workflow.definition import CALLER, AnyNode, CallNode, DecideNode, Guard, SetNode, TalkNode, texts
from pipeline.workflow.wording import FORMS, PLACEHOLDER

_FORMED = re.compile(r"\{[a-z][a-z0-9_]*:([^{}]*)\}")
"""A value with the form that it is to take, whatever is written for it."""
_FORMS: Mapping[SlotType, tuple[re.Pattern[str], tuple[str, ...]]] = MappingProxyType(
    {
        "yes_no": (re.compile(r"yes|no"), ("yes", "no")),
        "number": (re.compile(r"-?\d+(?:\.\d+)?"), ("4",)),
        "money": (re.compile(r"-?\d+(?:\.\d\d)?"), ("120.00",)),
        "date": (re.compile(r"\d{4}-\d\d-\d\d"), ("2026-03-14",)),
        "time": (re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d"), ("19:30",)),
        "email": (re.compile(r"[^@\sA-Z]+@[^@\sA-Z]+"), ("ann@shop.example",)),
        "phone": (re.compile(r"\+[1-9]\d{6,14}"), ("+14155550100",)),
        "code": (re.compile(r"[A-Z0-9]+"), ("7XKL220",)),
        "name": (re.compile(r".+"), ("Ann Lee",)),
    }
)
"""What the canonical values of a type look like, and some of them."""
_ANY_PHONE = Variable(type="phone")


def check_values(agent: Surroundings) -> Iterator[Finding]:
    """Constants and variables that do not fit where they are put, and rejections that no tool gives."""
    for flow_name, flow in agent.flows.items():
        for node_name, node in flow.nodes.items():
            yield from _forms(f"flows.{flow_name}.nodes.{node_name}", node)
            yield from _in_node(f"flows.{flow_name}.nodes.{node_name}", node, agent)


def check_compared(where: str, guard: Guard, variables: Mapping[str, Variable]) -> Iterator[Finding]:
    """What a condition compares variables with that they can never be."""
    for name, value in guard.equals.items():
        if name in variables and (why := _misfit(variables[name], value)):
            yield Finding("error", f"{where}.equals.{name}", f"{value!r} can never hold: {name!r} {why}")
    for key, guards in (("any_of", guard.any_of), ("none_of", guard.none_of)):
        for number, inner in enumerate(guards):
            yield from check_compared(f"{where}.{key}[{number}]", inner, variables)


def _in_node(where: str, node: AnyNode, agent: Surroundings) -> Iterator[Finding]:
    match node:
        case DecideNode():
            for number, edge in enumerate(node.edges):
                yield from check_compared(f"{where}.edges[{number}].when", edge.when, agent.variables)
        case SetNode():
            for name, text in node.values.items():
                if name in agent.variables:
                    yield from _set(f"{where}.values.{name}", name, text, agent.variables)
        case CallNode() if (tool := agent.tools.get(node.tool)) is not None:
            yield from _arguments(where, node.tool, tool, node.arguments, agent.variables)
            yield from _rejections(where, node.tool, tool, node.rejected)
        case TalkNode():
            for name, used in node.tools.items():
                if (tool := agent.tools.get(name)) is not None:
                    given = {argument: f"{{{argument}}}" for argument in tool.arguments} | used.arguments
                    yield from _arguments(f"{where}.tools.{name}", name, tool, given, agent.variables)
                    yield from _rejections(f"{where}.tools.{name}", name, tool, used.rejected)
        case _:
            pass


def _forms(where: str, node: AnyNode) -> Iterator[Finding]:
    templates = [*texts(node)]
    if isinstance(node, CallNode):
        templates += node.arguments.values()
    elif isinstance(node, SetNode):
        templates += node.values.values()
    elif isinstance(node, TalkNode):
        templates += (text for used in node.tools.values() for text in used.arguments.values())
    for text in templates:
        for found in _FORMED.finditer(text):
            if found[1] not in FORMS:
                yield Finding("error", where, f"{found[0]}: no form {found[1]!r}; expected one of {', '.join(FORMS)}")


def _set(where: str, name: str, text: str, variables: Mapping[str, Variable]) -> Iterator[Finding]:
    for value in _values_of(text, variables):
        if why := _misfit(variables[name], value):
            what = f"{value!r} is none" if value == text else f"{text}, such as {value!r}, is none"
            yield Finding("error", where, f"{what}: {name!r} {why}")
            return


def _arguments(
    where: str, name: str, tool: Tool, given: Mapping[str, str], variables: Mapping[str, Variable]
) -> Iterator[Finding]:
    for argument, text in given.items():
        form = tool.arguments.get(argument)
        if form is None:
            continue
        if PLACEHOLDER.fullmatch(text):
            # Of the values that a variable may have, only the kind is known.
            form = form.model_copy(update={"pattern": None, "max_length": None})
        check = ArgumentCheck(tool.model_copy(update={"arguments": {argument: form}}))
        for value in _values_of(text, variables):
            try:
                check.checked({argument: value})
            except ArgumentsError as error:
                what = f"{text!r}" if value == text else f"{text}, such as {value!r},"
                yield Finding("error", f"{where}.arguments.{argument}", f"{what} does not fit {name}: {error}")
                break


def _rejections(where: str, name: str, tool: Tool, handled: Mapping[str, str]) -> Iterator[Finding]:
    if tool.http is None:
        return
    known = tool.http.rejections()
    for code in handled:
        if code not in (*known, INVALID_ARGUMENTS, VERIFICATION_NEEDED):
            what = f"{name} never says so; expected one of {', '.join(sorted(known))}, or name it in the tool's `codes`"
            yield Finding("error", f"{where}.rejected.{code}", what)


def _values_of(text: str, variables: Mapping[str, Variable]) -> tuple[str, ...]:
    """What a template may come to, as far as it can be told: itself, or examples of the variable that it is."""
    whole = PLACEHOLDER.fullmatch(text)
    if whole is None or ":" in text:  # In another form it may be anything.
        return () if PLACEHOLDER.search(text) else (text,)
    variable = _ANY_PHONE if whole[1] == CALLER else variables.get(whole[1])
    if variable is None:
        return ()
    if variable.type == "digits":
        return ("1" * variable.fewest_digits,)
    form = _FORMS.get(variable.type)
    return tuple(variable.choices) if form is None else form[1]


def _misfit(variable: Variable, value: str) -> str | None:
    """Why the variable never has this value; None if it may."""
    if variable.choices and value not in variable.choices:
        return f"is one of {', '.join(variable.choices)}"
    if variable.type == "digits":
        fits = value.isdigit() and variable.fewest_digits <= len(value) <= variable.most_digits
        return None if fits else f"is {variable.fewest_digits} to {variable.most_digits} digits"
    form = _FORMS.get(variable.type)
    if form is not None and not form[0].fullmatch(value):
        return f"is of type {variable.type}, such as {' or '.join(map(repr, form[1]))}"
    return None
