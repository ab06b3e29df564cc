"""What is said and done where a flow does not say it: a business system fails, or an answer is not to be had.

It becomes nodes of the flows when the file is read, so that whatever runs, checks or draws flows sees nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from models.settings import StrictModel
from pipeline.workflow.definition import END

_DOWN, _UNSURE, _LOST = "trouble_down", "trouble_unsure", "trouble_lost"
_AFTER, _AWAY, _PERSON = "trouble_after", "trouble_away", "trouble_person"
_ASKING = ("ask", "confirm", "form", "talk")
_Nodes = dict[str, JsonValue]


class TroubleWords(StrictModel):
    """One language's, or an agent's."""

    down: str
    """Something could not be looked up, or the system said no for a reason that no node expects."""
    unsure: str
    """Nobody knows whether a write was done."""
    lost: str
    """No answer that fits was given."""
    look: str
    """For the person who takes over, where it is not known what was done."""
    else_: str
    """Added where nobody can take over."""


class Trouble(StrictModel):
    """What an agent says of it in other words than its language's; see `TroubleWords`."""

    down: str | None = None
    """Something could not be looked up, or was refused for a reason that no node expects."""
    unsure: str | None = None
    """Nobody knows whether a write was done."""
    lost: str | None = None
    """No answer that fits was given."""
    flow: str | None = None
    """Run afterwards instead of handing over to a person, such as one that arranges a call back."""


def with_trouble(data: Mapping[str, JsonValue], words: TroubleWords) -> dict[str, JsonValue]:
    """An agent file's content, where each node says what happens if it comes to nothing.

    `failed` of a `call` or `talk` and `exhausted` of an `ask`, `confirm`, `form` or `talk` that do not stand there lead
    to a line and then to a person, or to the flow that `trouble` or `escalation.away` names; while the greeting is
    said, to the end. A `transfer` to the default target looks first whether that is away, too.
    """
    flows, own = data.get("flows"), data.get("trouble")
    if not isinstance(flows, dict):
        return dict(data)
    said = {key: text for key, text in own.items() if isinstance(text, str)} if isinstance(own, dict) else {}
    spoken = words.model_copy(update={key: said[key] for key in ("down", "unsure", "lost") if key in said})
    filled = {name: _filled(name, flow, data, spoken, said.get("flow")) for name, flow in flows.items()}
    return {**data, "flows": filled}


def _filled(
    name: str, flow: JsonValue, data: Mapping[str, JsonValue], words: TroubleWords, then: str | None
) -> JsonValue:
    nodes = flow.get("nodes") if isinstance(flow, dict) else None
    if not isinstance(flow, dict) or not isinstance(nodes, dict):
        return flow
    silent = data.get("on_call") == name
    helping = _helping(data, then)
    made: _Nodes = {}
    for key, node in nodes.items():
        led = _led(node, data, silent=silent)
        made |= _handed_over(key, led, data) if name not in helping else {key: led}
    used = {node.get(key) for node in made.values() if isinstance(node, dict) for key in ("failed", "exhausted")} & {
        _DOWN,
        _UNSURE,
        _LOST,
    }
    lacking = used - nodes.keys()
    return {**flow, "nodes": {**made, **(_trouble(data, words, then, used, helps=name in helping) if lacking else {})}}


def _helping(data: Mapping[str, JsonValue], then: str | None) -> set[str]:
    """The flows that others fall back on: they cannot fall back on themselves."""
    away = _away(data)
    away_flow = away.get("flow") if away is not None else None
    return _called(data, [flow for flow in (then, away_flow) if isinstance(flow, str)])


def _away(data: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
    escalation = data.get("escalation")
    away = escalation.get("away") if isinstance(escalation, dict) else None
    return away if isinstance(away, dict) else None


def _led(node: JsonValue, data: Mapping[str, JsonValue], *, silent: bool) -> JsonValue:
    if not isinstance(node, dict):
        return node
    if node.get("do") in ("call", "talk") and "failed" not in node:
        node = {**node, "failed": END if silent else _UNSURE if _writes(node, data) else _DOWN}
    if node.get("do") in _ASKING and "exhausted" not in node:
        return {**node, "exhausted": _LOST}
    escalation = data.get("escalation")
    if node.get("do") == "transfer" and "target" not in node and isinstance(escalation, dict):
        return {**node, "target": escalation.get("default")}
    return node


def _handed_over(name: str, node: JsonValue, data: Mapping[str, JsonValue]) -> _Nodes:
    """A node, and where it hands over to who may be away, what is done then."""
    escalation, away = data.get("escalation"), _away(data)
    if (
        away is None
        or not isinstance(escalation, dict)
        or not isinstance(node, dict)
        or node.get("do") != "transfer"
        or node.get("reason") == "emergency"
        or node.get("target") != escalation.get("default")
    ):
        return {name: node}
    return _unless_away(name, node, away, f"{name}_away", f"{name}_person")


def _unless_away(name: str, hand_over: JsonValue, away: dict[str, JsonValue], other: str, person: str) -> _Nodes:
    edge: JsonValue = {"when": away.get("when"), "go": other}
    return {
        name: {"do": "decide", "edges": [edge], "otherwise": person},
        person: hand_over,
        other: {"do": "flow", "flow": away.get("flow"), "go": END},
    }


def _writes(node: Mapping[str, JsonValue], data: Mapping[str, JsonValue]) -> bool:
    """Whether one of the tools that it calls does."""
    tools, free = data.get("tools"), node.get("tools")
    called = [*free] if isinstance(free, dict) else [str(node.get("tool"))]
    known = [tools.get(name) for name in called] if isinstance(tools, dict) else []
    return any(isinstance(tool, dict) and tool.get("effect") == "write" for tool in known)


def _trouble(
    data: Mapping[str, JsonValue], words: TroubleWords, then: str | None, used: set[JsonValue], *, helps: bool
) -> _Nodes:
    """The nodes that were led to."""
    escalation, away = data.get("escalation"), _away(data)
    texts = {_DOWN: words.down, _UNSURE: words.unsure, _LOST: words.lost}
    if helps or (then is None and not isinstance(escalation, dict)):
        return {key: _say(f"{texts[key]} {words.else_}", END) for key in texts if key in used}
    lines: _Nodes = {key: _say(texts[key], f"{_AFTER}{key.removeprefix('trouble')}") for key in texts if key in used}
    ways: _Nodes = {}
    for key in lines:
        after, person = f"{_AFTER}{key.removeprefix('trouble')}", f"{_PERSON}{key.removeprefix('trouble')}"
        if then is not None or not isinstance(escalation, dict):
            ways[after] = {"do": "flow", "flow": then, "go": END}
            continue
        hand_over: dict[str, JsonValue] = {
            "do": "transfer",
            "reason": "exhausted" if key == _LOST else "tool_failure",
            "target": escalation.get("default"),
            "say": escalation.get("line"),
            "next_step": words.look if key == _UNSURE else "",
        }
        ways |= {after: hand_over} if away is None else _unless_away(after, hand_over, away, _AWAY, person)
    return {**lines, **ways}


def _say(text: str, go: str) -> JsonValue:
    return {"do": "say", "say": text, "go": go}


def _called(data: Mapping[str, JsonValue], flows: list[str]) -> set[str]:
    """These flows and those that they run."""
    known = data.get("flows")
    found, ahead = set(flows), list(flows)
    while ahead and isinstance(known, dict):
        flow = known.get(ahead.pop())
        nodes = flow.get("nodes") if isinstance(flow, dict) else None
        for node in nodes.values() if isinstance(nodes, dict) else ():
            called = node.get("flow") if isinstance(node, dict) else None
            if isinstance(called, str) and called not in found:
                found.add(called)
                ahead.append(called)
    return found
