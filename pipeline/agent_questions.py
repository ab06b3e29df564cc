"""Questions of one wording: the second, with an apology, is made when the agent file is read."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from pipeline.workflow.form import again


def with_second_wordings(data: Mapping[str, JsonValue], sorry: Mapping[str, str]) -> dict[str, JsonValue]:
    """An agent file's content in which `say` that is a text is two of them. `sorry`: what begins the second, by the
    kinds of nodes that have several."""
    flows = data.get("flows")
    if not isinstance(flows, dict):
        return dict(data)
    return {**data, "flows": {name: _put_again(flow, sorry) for name, flow in flows.items()}}


def _put_again(flow: JsonValue, sorry: Mapping[str, str]) -> JsonValue:
    nodes = flow.get("nodes") if isinstance(flow, dict) else None
    if not isinstance(flow, dict) or not isinstance(nodes, dict):
        return flow
    put: dict[str, JsonValue] = {}
    for name, node in nodes.items():
        put[name] = node
        if isinstance(node, dict) and (apology := sorry.get(str(node.get("do")))) and isinstance(node.get("say"), str):
            put[name] = {**node, "say": [*again(str(node["say"]), apology)]}
    return {**flow, "nodes": put}
