"""An utterance becomes acts: by the router alone where it is sure, else by a model, else by rules.

The model's word and the router's are weighed together: they fail on different utterances. What would do harm if it were
misunderstood needs more certainty than an answer does; where it is missing, the next likely meaning counts.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import MappingProxyType

from models.types import Judgement, ModelFailure, RouteDecision, Situation
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.clock import Clock, since_ms
from pipeline.ports import Router, UnderstandingModel
from pipeline.understanding.acts import AsksFact, Understood, Way, Wishes
from pipeline.understanding.catalogue import ANSWER, CHANGE, FACT, act_of
from pipeline.understanding.rules import by_rules, lead
from pipeline.understanding.settings import UnderstandingSettings

NEEDED: Mapping[str, float] = MappingProxyType({"farewell": 0.5, "person": 0.4, "cancel": 0.4})
"""So probable must be what ends the call, hands it over or calls off what is under way, by kind of route."""
_LEAST = 1e-4
"""A probability below this counts as this: neither model nor router can rule a meaning out by itself."""
_EVIDENCE = 3
"""Meanings that are logged."""


class Interpreter:
    """One call's. Remembers its last answer: the words of a turn are often final twice."""

    def __init__(
        self,
        agent: Agent,
        router: Router,
        model: UnderstandingModel | None,
        settings: UnderstandingSettings | None,
        log: ev.EventLog,
        clock: Clock,
    ) -> None:
        """Without a `model` the router decides by rules."""
        self._agent = agent
        self._router = router
        self._model = model
        self._settings = settings or UnderstandingSettings()
        self._log = log
        self._clock = clock
        self._knowledge = next((route.name for route in agent.routes if route.kind == "knowledge"), "")
        self._last: tuple[Situation, Understood] | None = None

    async def understand(self, situation: Situation, turn: int, request_id: str) -> Understood:
        """What the utterance means there. Raises ModelFailure or TimeoutError if not even the router answers."""
        if self._last is not None and self._last[0] == situation:
            return self._last[1]
        decision = await self._routed(situation.utterance, turn)
        began_s = self._clock.now_s()
        understood, judgement = await self._weighed(situation, decision, turn, request_id)
        self._log.append(
            ev.Understood(
                turn=turn,
                way=understood.way,
                label=understood.label,
                confidence=round(understood.confidence, 3),
                evidence={label: round(share, 3) for label, share in judgement[:_EVIDENCE]},
                took_ms=since_ms(self._clock, began_s),
            )
        )
        self._last = (situation, understood)
        return understood

    async def guess(self, situation: Situation) -> Understood:
        """By the router alone, for words that may still go on. Raises ModelFailure or TimeoutError."""
        async with asyncio.timeout(self._agent.stage_timeout_s):
            decision = await self._router.route(situation.utterance)
        return by_rules(self._agent, situation.utterance, decision, in_flow=bool(situation.agent_said))

    async def _routed(self, utterance: str, turn: int) -> RouteDecision:
        began_s = self._clock.now_s()
        async with asyncio.timeout(self._agent.stage_timeout_s):
            decision = await self._router.route(utterance)
        self._log.append(
            ev.Routed(
                turn=turn,
                label=decision.label,
                confidence=decision.confidence,
                passage_ids=tuple(passage.id for passage in decision.passages),
                passage_scores=tuple(passage.score for passage in decision.passages),
                took_ms=since_ms(self._clock, began_s),
            )
        )
        return decision

    async def _weighed(
        self, situation: Situation, decision: RouteDecision, turn: int, request_id: str
    ) -> tuple[Understood, tuple[tuple[str, float], ...]]:
        in_flow = bool(situation.agent_said)
        rules = by_rules(self._agent, situation.utterance, decision, in_flow=in_flow)
        if self._model is None:
            return rules, ()
        if not in_flow and decision.confidence >= self._settings.fast_path and not isinstance(rules.act, AsksFact):
            return _by(rules, "fast"), ()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                judgement = await self._model.judge(situation, f"{request_id}-means")
        except (ModelFailure, TimeoutError) as error:
            why = str(error) or f"no answer within {self._settings.timeout_s:g} s"
            self._log.append(ev.StageFailed(turn=turn, stage="understand", error=why))
            return rules, ()
        weighed = self._together(judgement, decision)
        return self._decided(weighed, decision), weighed

    def _together(self, judgement: Judgement, decision: RouteDecision) -> tuple[tuple[str, float], ...]:
        """The model's probabilities and the router's, multiplied; likeliest first."""
        weight = self._settings.router_weight
        router = dict(decision.meanings)
        scores = {
            label: math.log(max(share, _LEAST)) + weight * math.log(max(router.get(label, 0.0), _LEAST))
            for label, share in judgement.probabilities
        }
        highest = max(scores.values())
        raised = {label: math.exp(score - highest) for label, score in scores.items()}
        total = sum(raised.values())
        return tuple(sorted(((label, one / total) for label, one in raised.items()), key=lambda pair: -pair[1]))

    def _decided(self, weighed: tuple[tuple[str, float], ...], decision: RouteDecision) -> Understood:
        label, share = next(
            (pair for pair in weighed if pair[1] >= self._needed(pair[0])),
            weighed[0],
        )
        shares = dict(weighed)
        return Understood(
            (act_of(self._agent, label),),
            share,
            "model",
            answers=shares.get(ANSWER, 0.0) + shares.get(CHANGE, 0.0),
            closeness=lead(decision),
            label=self._knowledge if label.startswith(FACT) else label,
        )

    def _needed(self, label: str) -> float:
        act = act_of(self._agent, label)
        return NEEDED.get(act.route.kind, 0.0) if isinstance(act, Wishes) else 0.0


def _by(understood: Understood, way: Way) -> Understood:
    return Understood(
        understood.acts, understood.confidence, way, understood.answers, understood.closeness, understood.label
    )
