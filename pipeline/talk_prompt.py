"""What a language model is asked in a free conversation: its task, what is known and what the caller has said; and the
form in which it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from models.types import GenerateRequest, Message, ModelFailure
from pipeline.agent import Agent
from pipeline.context.wording import DATA_NOTE, caller_text, plain, quoted, without_secrets
from pipeline.slots.types import Language
from pipeline.state import Learnt
from pipeline.workflow.talk_node import Conversation

_MOST_MESSAGES = 8
"""Of the call so far that are shown ..."""
_MOST_LETTERS = 300
"""... and how much of each."""
_MOST_TOKENS = 220
_LONGEST_SAY = 280
_LONGEST_WORDS = 100
_WAITS = "(waits to hear how it goes on)"
_LANGUAGES: Mapping[Language, str] = {"en": "English", "es": "Spanish, with usted"}
_RULES = (
    "Answer as JSON:",
    "set: for each variable the very words of the caller's last ones that tell it, or null.",
    "call: the tool to call now, or null. It gets its arguments from the variables.",
    "leave: the way out to take now, or null while your task goes on.",
    "say: what you say to the caller now, one or two short sentences. State only what stands under Known and Learnt, "
    "in the words that stand there. Never make up a number, a day, a name or a promise. Ask for one thing at a time.",
)


@dataclass(frozen=True, slots=True)
class Words:
    """What has been said."""

    caller: str
    """Now; empty: a tool has answered, or the first words are waited for."""
    saying: str
    """What the agent is saying before whatever the model says."""
    before: tuple[Message, ...]
    """On both sides, oldest first."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a model says about how a conversation goes on."""

    say: str
    set: Mapping[str, str | None] = field(default_factory=dict)
    """Variable -> words of the caller's."""
    call: str | None = None
    leave: str | None = None


_PROPOSAL: TypeAdapter[Proposal] = TypeAdapter(Proposal)


def proposal(text: str) -> Proposal:
    """What the model has answered. Raises ModelFailure for text that is none."""
    try:
        return _PROPOSAL.validate_json(text)
    except ValidationError as error:
        raise ModelFailure(f"language model: no answer of the form that was asked for: {text[:200]!r}") from error


def schema(conversation: Conversation) -> dict[str, object]:
    """What the answer must fit. What is decided comes before what is said about it."""
    words = {"type": ["string", "null"], "maxLength": _LONGEST_WORDS}
    # Each variable is named, or small models pass them over.
    told = {
        "type": "object",
        "properties": dict.fromkeys(conversation.fill, words),
        "required": list(conversation.fill),
        "additionalProperties": False,
    }
    parts: dict[str, object] = {
        "set": told,
        "call": {"enum": [*conversation.tools, None]},
        "leave": {"enum": [*conversation.node.ways, None]},
        "say": {"type": "string", "maxLength": _LONGEST_SAY},
    }
    return {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}


def talk_request(agent: Agent, conversation: Conversation, words: Words, request_id: str) -> GenerateRequest:
    """The generation that says how it goes on."""
    so_far = (
        Message(message.role, without_secrets(message.content, conversation.known)[:_MOST_LETTERS])
        for message in words.before[-_MOST_MESSAGES:]
    )
    return GenerateRequest(
        request_id=request_id,
        messages=(
            Message("system", _task(agent, conversation)),
            *so_far,
            Message("user", _situation(conversation, words)),
        ),
        max_tokens=_MOST_TOKENS,
        tier="small" if conversation.node.model == "small" else "large",
    )


def _task(agent: Agent, conversation: Conversation) -> str:
    node = conversation.node
    never = "; ".join(node.never)
    variables = (name if label == name else f"{name} ({label})" for name, label in conversation.fill.items())
    tools = (
        f"{name}: {tool.description} It needs {', '.join(needs) or 'nothing'}."
        for name, (tool, needs) in conversation.tools.items()
    )
    parts = (
        agent.persona,
        f"You speak {_LANGUAGES[agent.language]}, on the telephone. Your task: {node.goal}",
        *_RULES,
        f"Variables: {', '.join(variables)}." if conversation.fill else "",
        *tools,
        f"Ways out: {', '.join(node.ways)}.",
        f"Never: {never}." if never else "",
        DATA_NOTE,
    )
    return "\n".join(part for part in parts if part)


def _situation(conversation: Conversation, words: Words) -> str:
    shown = [one for one in conversation.known if not one.sensitive]
    stated = [f"{one.label}: {plain(one.value)}" for one in shown if not one.from_system]
    secret = [f"{one.label}: told, and not shown" for one in conversation.known if one.sensitive]
    parts = (
        f"Known: {'; '.join((*stated, *secret)) or 'nothing'}.",
        *(quoted(one.label, plain(one.value)) for one in shown if one.from_system),
        *(_result(one) for one in conversation.talk.learnt),
        caller_text(without_secrets(words.caller, conversation.known) or _WAITS),
        f"(You are just saying: {plain(words.saying)})" if words.saying else "",
    )
    return "\n".join(part for part in parts if part)


def _result(came: Learnt) -> str:
    what = f"{came.tool} ({'; '.join(came.given)})" if came.given else came.tool
    found = came.code.replace("_", " ") if came.code else "; ".join(came.found) or "done"
    return f"Learnt: {quoted(plain(what), plain(found))}"
