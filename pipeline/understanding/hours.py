"""A question about opening hours asks for a day or a moment: the fact that it is answered from is told of that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pipeline.agent import Agent
from pipeline.hours_asked import answered, asks_only_for_a_day
from pipeline.hours_said import HOURS_FACT, SpokenHours
from pipeline.understanding.acts import AsksFact, DialogueAct, Understood

SURE = 0.75
"""Of so certain an act a question for a day is no other."""


class HoursInAnswer:
    """One agent's, for one call."""

    def __init__(self, agent: Agent, now: Callable[[], datetime]) -> None:
        """`now`: what a clock on the business's wall says."""
        self._hours = agent.hours
        self._fact = next((fact for fact in agent.facts if fact.id == HOURS_FACT), None)
        self._language = agent.language
        self._now = now
        self._week = SpokenHours(agent.hours, agent.language).week() if agent.hours.known else ""

    def told(self, understood: Understood, utterance: str, *, in_flow: bool) -> Understood:
        """The same, with the answer for the day that the utterance names in place of the usual week; between flows,
        who asks for nothing but a day ("And tomorrow?") asks when the business is open on it."""
        if not self._week or self._fact is None:
            return understood
        if not in_flow and understood.confidence < SURE and self._only_a_day(utterance):
            understood = replace(understood, acts=(AsksFact(self._fact),), doubted=None)
        other = understood.otherwise
        return replace(
            understood,
            acts=tuple(self._act(act, utterance) for act in understood.acts),
            otherwise=(self._act(other[0], utterance), other[1]) if other else None,
        )

    def _only_a_day(self, utterance: str) -> bool:
        return asks_only_for_a_day(utterance, self._language, self._now())

    def _act(self, act: DialogueAct, utterance: str) -> DialogueAct:
        # A fact of the file's own by this name stays as it is written.
        if not isinstance(act, AsksFact) or act.fact.id != HOURS_FACT or act.fact.text != self._week:
            return act
        text = answered(self._hours, self._language, utterance, self._now())
        return AsksFact(act.fact.model_copy(update={"text": text}))
