"""What stands in an agent file and comes to nothing: tools that are never called, variables that are never known."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from pipeline.agent import Agent
from pipeline.workflow.check import Finding
from pipeline.workflow.definition import CallNode, SetNode, TalkNode
from pipeline.workflow.wording import PLACEHOLDER

_NODES = frozenset({"go", "exhausted", "on_yes", "on_no", "failed", "otherwise", "start", "rejected", "ways"})
"""Keys of flows whose values name nodes: a variable of the same name is not meant."""


def leftovers(agent: Agent) -> Iterator[Finding]:
    """Tools that nothing calls, variables that nothing mentions, and variables that nothing ever makes known."""
    nodes = [node for flow in agent.flows.values() for node in flow.nodes.values()]
    called = {node.tool for node in nodes if isinstance(node, CallNode)}
    called |= {name for node in nodes if isinstance(node, TalkNode) for name in node.tools}
    called |= {tool.lookup for tool in agent.tools.values() if tool.lookup is not None}
    if agent.escalation is not None and agent.escalation.webhook is not None:
        called.add(agent.escalation.webhook)
    for name in agent.tools:
        if name not in called:
            yield Finding("warning", f"tools.{name}", "is never called; call it in a flow, or remove it")

    filled = {name for flow in agent.flows.values() for name in flow.variables()}
    for node in nodes:
        if isinstance(node, CallNode):
            filled |= set(node.save)
        elif isinstance(node, SetNode):
            filled |= set(node.values)
        elif isinstance(node, TalkNode):
            filled |= {name for tool in node.tools if tool in agent.tools for name in agent.tools[tool].returns}
    mentioned = set(_mentions(agent.model_dump(mode="json", include={"flows", "escalation", "tools"})))
    for name in agent.variables:
        if name not in mentioned:
            yield Finding("warning", f"variables.{name}", "is never used; use it in a flow, or remove it")
        elif name not in filled:
            what = "is never known: nothing asks for it, saves it or sets it; let a flow do so, or leave it out"
            yield Finding("warning", f"variables.{name}", what)


def _mentions(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "nodes" and isinstance(inner, dict):
                yield from _mentions(list(inner.values()))
            elif key not in _NODES:
                yield key
                yield from _mentions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mentions(inner)
    elif isinstance(value, str):
        yield value
        yield from PLACEHOLDER.findall(value)
