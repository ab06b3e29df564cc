"""A question about opening hours asks for a day or a moment: the fact that it is answered from is told of that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pipeline.agent import Agent
from pipeline.hours_asked import answered
from pipeline.hours_said import HOURS_FACT, SpokenHours
from pipeline.understanding.acts import AsksFact, DialogueAct, Understood


class HoursInAnswer:
    """One agent's, for one call."""

    def __init__(self, agent: Agent, now: Callable[[], datetime]) -> None:
        """`now`: what a clock on the business's wall says."""
        self._hours = agent.hours
        self._language = agent.language
        self._now = now
        self._week = SpokenHours(agent.hours, agent.language).week() if agent.hours.known else ""

    def told(self, understood: Understood, utterance: str) -> Understood:
        """The same, with the answer for the day that the utterance names in place of the usual week."""
        if not self._week:
            return understood
        other = understood.otherwise
        return replace(
            understood,
            acts=tuple(self._act(act, utterance) for act in understood.acts),
            otherwise=(self._act(other[0], utterance), other[1]) if other else None,
        )

    def _act(self, act: DialogueAct, utterance: str) -> DialogueAct:
        # A fact of the file's own by this name stays as it is written.
        if not isinstance(act, AsksFact) or act.fact.id != HOURS_FACT or act.fact.text != self._week:
            return act
        text = answered(self._hours, self._language, utterance, self._now())
        return AsksFact(act.fact.model_copy(update={"text": text}))
