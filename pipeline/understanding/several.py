"""Several things meant in one utterance: two questions, a wish and a question, an answer and a question.

The parts of an utterance are each held against the nearest examples. Only if it is plain what every part that asks or
wishes means, and they mean different things, is it more than one: whoever means one thing is never given two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from models.types import Meant
from pipeline.agent import Agent
from pipeline.understanding.acts import ANSWER, Answers, AsksFact, Changes, Wishes
from pipeline.understanding.catalogue import act_of
from pipeline.understanding.segments import asks_or_wonders

_SURE_SHARE, _SURE_NEAR = 0.9, 0.65
"""Votes and cosine of the nearest example from which on a part means that, however short."""
_LIKELY_SHARE, _LIKELY_NEAR = 0.6, 0.65
"""The same for a part of some words: what is meant nearby (the hours, the hours on Saturdays) divides the votes. Of 336
examples in several parts, each without its own votes, 1 is taken for two things, and 21 of 27 that mean two."""
_SOME_WORDS = 4
_WISHED = ("flow", "person", "farewell")
"""Kinds of routes that go with a fact. To call something off or to hear it again goes with nothing."""

Said = tuple[str, float]
"""A label and how probable it is."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an utterance."""

    text: str
    meant: Meant
    answered: bool = False
    """A reader is sure that it is the answer to what was asked."""


def several(agent: Agent, parts: Sequence[Part], *, in_flow: bool, excluded: Sequence[str] = ()) -> tuple[Said, ...]:
    """All that is meant, the weightiest first; empty if that is one thing, or not plain.

    `in_flow`: an answer is waited for. `excluded`: labels of what is under way.
    """
    found: dict[str, float] = {}
    for number, part in enumerate(parts):
        means = _meaning(agent, part, in_flow=in_flow, excluded=excluded, last=number == len(parts) - 1)
        if means == "unclear":
            return ()
        if means != "nothing":
            found.setdefault(*means)
    return tuple((label, found[label]) for label in compatible(agent, tuple(found), in_flow=in_flow))


def compatible(agent: Agent, labels: Sequence[str], *, in_flow: bool) -> tuple[str, ...]:
    """Of several labels, in the order said, those that can be done at once, the weightiest first: a wish or an answer
    before facts, and of two wishes for flows the one that was said first. Empty if they are not at least two."""
    acts = {label: act_of(agent, label) for label in labels}
    wishes = [label for label, act in acts.items() if isinstance(act, Wishes) and act.route.kind in _WISHED]
    answers = [label for label, act in acts.items() if in_flow and isinstance(act, Answers | Changes)]
    facts = [label for label, act in acts.items() if isinstance(act, AsksFact)]
    two = wishes[:2] if len(wishes) > 1 and not in_flow and _one_after_the_other(agent, wishes[:2]) else wishes[:1]
    taken = (*two, *answers[:1], *facts) if facts or len(two) > 1 else ()
    return taken if len(taken) > 1 else ()


def _one_after_the_other(agent: Agent, labels: Sequence[str]) -> bool:
    """Whether these are flows of which neither takes the place of the other ("move it, book it for Tuesday")."""
    acts = (act_of(agent, label) for label in labels)
    flows = [act.route.flow for act in acts if isinstance(act, Wishes) and act.route.flow is not None]
    if len(set(flows)) < len(labels):
        return False
    return not any(other in agent.flows[flow].instead_of for flow in flows for other in flows)


def _meaning(
    agent: Agent, part: Part, *, in_flow: bool, excluded: Iterable[str], last: bool
) -> Said | Literal["nothing", "unclear"]:
    """What a part means. Nothing: it tells something beside what is meant, or is a courtesy."""
    told: Said | Literal["nothing"] = (ANSWER, 1.0) if in_flow else "nothing"
    if part.answered or not part.meant.shares:
        return told if part.answered else "unclear"
    asks = asks_or_wonders(part.text, agent.language)
    label, share = part.meant.shares[0]
    sure = share >= _SURE_SHARE and part.meant.nearest >= _SURE_NEAR
    likely = share >= _LIKELY_SHARE and part.meant.nearest >= _LIKELY_NEAR and len(part.text.split()) >= _SOME_WORDS
    if not (sure or likely):
        return "unclear" if asks else told
    if label in excluded:
        return told
    match act_of(agent, label):
        case AsksFact():
            return (label, share) if asks else told
        case Wishes(route=route) if route.kind == "say":
            return "nothing"
        case Wishes(route=route) if route.kind in _WISHED and (sure or route.kind == "flow"):
            return (label, share) if last or route.kind != "farewell" else "unclear"
        case Wishes():
            return "unclear"
    return "unclear" if asks else told
