"""Lines known beforehand, synthesised before the first call and kept in memory: they cost no wait and no model."""

from __future__ import annotations

from collections.abc import Mapping

from models.types import SpeechChunk
from pipeline.agent import Agent
from pipeline.clauses import split_clauses
from pipeline.ports import Speaker
from pipeline.workflow.definition import texts as node_texts

FixedLines = Mapping[str, tuple[SpeechChunk, ...]]
"""Audio by the clause's exact text, in the agent's voice."""


def fixed_texts(agent: Agent) -> list[str]:
    """Every line of the agent that has no placeholder, facts included: they are said as written if the model strays."""
    lines = agent.lines
    texts = [
        lines.greeting,
        lines.resumed,
        lines.apology,
        agent.declined,
        agent.waiting,
        *((lines.warning, lines.abuse_farewell) if any(route.kind == "abuse" for route in agent.routes) else ()),
        lines.reprompt,
        lines.farewell,
        lines.silence_farewell,
        lines.too_long,
        *lines.fallback,
        *lines.not_understood,
        *(line for line in (lines.keypad, lines.escalation, lines.filler) if line),
        *(route.line for route in agent.routes if route.line),
        *(fact.text for fact in agent.facts),
    ]
    said = (text for flow in agent.flows.values() for node in flow.nodes.values() for text in node_texts(node))
    cancelled = (flow.cancelled for flow in agent.flows.values() if flow.cancelled)
    fillers = (line for tool in agent.tools.values() for line in (tool.filler,) if line)
    texts += [text for text in (*said, *cancelled, *fillers) if "{" not in text]
    if agent.escalation:
        texts.append(agent.escalation.line)
    return texts


async def synthesise_fixed_lines(speaker: Speaker, agent: Agent) -> FixedLines:
    """Speak every fixed line once. Raises ModelFailure if the speaker cannot."""
    spoken: dict[str, tuple[SpeechChunk, ...]] = {}
    facts = [fact.text for fact in agent.facts]
    clauses = [clause for text in fixed_texts(agent) for clause in split_clauses(text)]
    # A model that quotes a fact is cut as it speaks.
    clauses += [clause for text in facts for clause in split_clauses(text, early=True)]
    for clause in clauses:
        if clause not in spoken:
            spoken[clause] = tuple([chunk async for chunk in speaker.speak(clause, voice=agent.voice)])
    return spoken
