"""Flows that come with the product: an agent names one, fills it with its tools, and words of it what it likes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pydantic import Field, JsonValue

from models.settings import SettingsError, StrictModel, load_settings
from pipeline.slots.types import Language

_FOLDER = Path(__file__).with_name("library")
_USE, _WITH = "use", "with"
_PARAMETER = re.compile(r"\$([a-z][a-z_]*)")


class LibraryFlow(StrictModel):
    """A flow with parameters: `$name` in its texts, keys and values stands for one."""

    what: str
    """For whoever looks for a flow."""
    needs: dict[str, str]
    """What an agent must give, and what that is."""
    may_have: dict[str, str] = Field(default_factory=dict)
    """What an agent may give besides, and what that is. What is not given is left out, with the keys whose value it
    is; a key that is one stands for the entries given."""
    names: dict[str, str] = Field(default_factory=dict)
    """What its variables and lists are called unless the agent says otherwise."""
    texts: dict[Language, dict[str, str]]
    """What is said, unless the agent says otherwise."""
    variables: dict[str, JsonValue] = Field(default_factory=dict)
    """Of these names; an agent that has them already keeps its own."""
    flow: dict[str, JsonValue]
    """An argument of a call with a question mark (`about?`) is given only to a tool that has it."""


def library_flows() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@cache
def library_flow(name: str) -> LibraryFlow:
    """The flow of that name. Raises SettingsError if its file is damaged, KeyError if there is none."""
    if name not in library_flows():
        raise KeyError(name)
    return load_settings(_FOLDER / f"{name}.yaml", LibraryFlow)


def library_text(name: str) -> str:
    """That flow's file. Raises KeyError if there is none."""
    if name not in library_flows():
        raise KeyError(name)
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def with_library(data: Mapping[str, JsonValue], language: Language, source: str) -> dict[str, JsonValue]:
    """An agent file's content with the library's flows written out where its own say `use`.

    What such a flow says besides (`cancelled`, `instead_of`, nodes by name) counts instead of the library's. Raises
    SettingsError for a flow that is not there, and for parameters that are missing or unknown.
    """
    flows, variables = data.get("flows"), data.get("variables", {})
    if not isinstance(flows, dict) or not isinstance(variables, dict):
        return dict(data)
    made: dict[str, JsonValue] = {}
    for name, own in flows.items():
        if not isinstance(own, dict) or _USE not in own:
            made[name] = own
            continue
        used, given = _used(own, f"{source}: flows.{name}")
        values: dict[str, JsonValue] = {
            **dict.fromkeys(used.may_have),
            **used.names,
            **used.texts[language],
            **given,
        }
        flow = _filled(used.flow, values)
        asked = _filled(used.variables, values)
        assert isinstance(flow, dict)
        assert isinstance(asked, dict)
        variables = {**asked, **variables}
        flow = _told_what_they_take(
            _over(flow, {key: each for key, each in own.items() if key not in (_USE, _WITH)}), data
        )
        made[name] = flow
    return {**data, "flows": made, **({"variables": variables} if variables else {})}


def _told_what_they_take(flow: dict[str, JsonValue], data: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A flow whose calls give an argument written with a question mark only to tools that have it."""
    nodes, tools = flow.get("nodes"), data.get("tools")
    if not isinstance(nodes, dict):
        return flow
    made: dict[str, JsonValue] = {}
    for name, node in nodes.items():
        if isinstance(node, dict) and isinstance(arguments := node.get("arguments"), dict):
            tool = tools.get(str(node.get("tool"))) if isinstance(tools, dict) else None
            takes = tool.get("arguments") if isinstance(tool, dict) else None
            has = takes if isinstance(takes, dict) else {}
            kept = {
                key.rstrip("?"): text for key, text in arguments.items() if not key.endswith("?") or key[:-1] in has
            }
            made[name] = {**node, "arguments": kept}
        else:
            made[name] = node
    return {**flow, "nodes": made}


def _used(own: Mapping[str, JsonValue], where: str) -> tuple[LibraryFlow, Mapping[str, JsonValue]]:
    name, given = str(own[_USE]), own.get(_WITH, {})
    if name not in library_flows():
        raise SettingsError(f"{where}.{_USE}: no such flow: {name!r}; expected one of {', '.join(library_flows())}")
    used = library_flow(name)
    if not isinstance(given, dict):
        raise SettingsError(f"{where}.{_WITH}: expected parameters by name, got {given!r}")
    known = [*used.needs, *used.may_have, *used.names, *next(iter(used.texts.values()))]
    for parameter in given:
        if parameter not in known:
            near = get_close_matches(parameter, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(known)}"
            raise SettingsError(f"{where}.{_WITH}.{parameter}: {name} has no such parameter; {hint}")
    for parameter, what in used.needs.items():
        if parameter not in given:
            raise SettingsError(f"{where}.{_WITH}.{parameter}: missing; {name} needs {what}")
    return used, given


def _filled(value: JsonValue, values: Mapping[str, JsonValue]) -> JsonValue:
    """The same with its parameters in place; a text may have others in it."""
    if isinstance(value, dict):
        made: dict[str, JsonValue] = {}
        for key, inner in value.items():
            name, filled = _filled(key, values), _filled(inner, values)
            if isinstance(name, dict):
                made |= name
            elif name is not None and filled is not None:
                made[str(name)] = filled
        return made
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _PARAMETER.fullmatch(value)
    if whole is not None:
        found = values[whole[1]]
        return _filled(found, values) if isinstance(found, str) and found != value else found
    return _PARAMETER.sub(lambda match: str(values.get(match[1], match[0])), value)


def _over(flow: dict[str, JsonValue], own: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    nodes, more = flow.get("nodes"), own.get("nodes")
    if not isinstance(nodes, dict) or not isinstance(more, dict):
        return {**flow, **own}
    both = {**flow, **own, "nodes": {**nodes, **more}}
    led_to = _reached(both)
    kept: dict[str, JsonValue] = {
        name: node for name, node in {**nodes, **more}.items() if name in more or name in led_to
    }
    return {**both, "nodes": kept}


def _reached(flow: Mapping[str, JsonValue]) -> set[str]:
    """The nodes that are led to, by whatever key: what an agent's own nodes lead past is left out."""
    nodes, found, ahead = flow.get("nodes"), set[str](), [flow.get("start")]
    while ahead and isinstance(nodes, dict):
        value = ahead.pop()
        if isinstance(value, dict):
            ahead += value.values()
        elif isinstance(value, list):
            ahead += value
        elif isinstance(value, str) and value in nodes and value not in found:
            found.add(value)
            ahead.append(nodes[value])
    return found
