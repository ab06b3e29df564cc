"""Tools for tests."""

from __future__ import annotations

from pipeline.tools.definition import Argument, HttpCall, Tool


def read_tool(**changes: object) -> Tool:
    return _tool({"effect": "read", "http": HttpCall(url="free"), **changes})


def write_tool(**changes: object) -> Tool:
    """A write that nothing protects from being done twice but the runner."""
    return _tool({"effect": "write", "http": HttpCall(method="POST", url="book"), **changes})


def keyed_tool(**changes: object) -> Tool:
    """A write whose system honours the idempotency key."""
    http = HttpCall(method="POST", url="book", idempotency_header="Idempotency-Key")
    return _tool({"effect": "write", "http": http, **changes})


def _tool(given: dict[str, object]) -> Tool:
    defaults: dict[str, object] = {
        "description": "Does it.",
        "arguments": {"day": Argument(), "card": Argument(required=False)},
        "returns": {"reference": "ref"},
        "redact": ("card",),
    }
    return Tool(**{**defaults, **given})  # type: ignore[arg-type]
