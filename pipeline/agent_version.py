"""Which version of an agent file answered: a name made of its content."""

from __future__ import annotations

import hashlib
import json

from pipeline.agent import Agent

VERSION_DIGITS = 12
"""Hex digits of SHA-256; enough that two versions of one agent never share a name."""


def canonical_json(agent: Agent) -> str:
    """The whole agent as JSON, the same for the same content: keys sorted, no spaces."""
    return json.dumps(agent.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def agent_version(agent: Agent) -> str:
    """The first 12 hex digits of the SHA-256 of `canonical_json`."""
    return hashlib.sha256(canonical_json(agent).encode()).hexdigest()[:VERSION_DIGITS]
