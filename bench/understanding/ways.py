"""The three ways of understanding, each utterance in each of them: by votes, by the model, and as calls do, by both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from bench.understanding.data import NO_FACT, DataSet, Labelled, as_agent
from models.types import Judgement, Meant, ModelFailure, Situation
from pipeline.agent_examples import FACT
from pipeline.clock import LoopClock
from pipeline.events import EventLog
from pipeline.ports import Router, UnderstandingModel
from pipeline.understanding.acts import UNKNOWN, WAIT, DialogueAct, Waits, Way, Wishes
from pipeline.understanding.settings import UnderstandingPolicy
from pipeline.understanding.stage import Interpreter, together

VOTES, MODEL, BOTH = "votes", "model", "both"
"""Ways: the nearest examples' votes alone, the model alone, and pipeline/understanding/stage.py."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What an utterance was taken for in one way."""

    utterance: Labelled
    label: str
    """`UNKNOWN`: for nothing that the agent knows."""
    sureness: Mapping[str, float]
    """By each measure there is, in [-1, 1]: more is surer."""
    shares: tuple[tuple[str, float], ...]
    """How likely every label is, likeliest first."""
    took_ms: float
    decided: Way
    """By whom; the votes alone are 'fast'."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A data set, taken in one way."""

    way: str
    validation: tuple[Taken, ...]
    test: tuple[Taken, ...]


class _Recalled:
    """pipeline.ports.UnderstandingModel that has just judged."""

    def __init__(self) -> None:
        self._judgement = Judgement(())

    def has_judged(self, judgement: Judgement) -> None:
        self._judgement = judgement

    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        return self._judgement


class Ways:
    """One data set's agent, with the stack's own router and model."""

    def __init__(
        self, data: DataSet, router: Router, model: UnderstandingModel, policy: UnderstandingPolicy, console: Console
    ) -> None:
        self._data = data
        self._router = router
        self._model = model
        self._console = console
        clock = LoopClock()
        # The model is asked once for each utterance, and its answer weighed in two ways.
        self._recalled = _Recalled()
        self._interpreter = Interpreter(as_agent(data), router, self._recalled, policy, EventLog(clock), clock)
        self._asked = 0

    async def measure(self) -> list[Measured]:
        """Every way. Raises ModelFailure."""
        validation = await self._all(self._data.validation, "validation")
        test = await self._all(self._data.test, "test")
        return [
            Measured(way, tuple(one[way] for one in validation), tuple(one[way] for one in test))
            for way in (VOTES, MODEL, BOTH)
        ]

    async def _all(self, utterances: Sequence[Labelled], split: str) -> list[dict[str, Taken]]:
        shown = track(utterances, f"{self._data.name}, {split}", console=self._console)
        return [await self._each(utterance) for utterance in shown]

    async def _each(self, utterance: Labelled) -> dict[str, Taken]:
        self._asked += 1
        name = f"{self._data.name}-{self._asked}"
        began_s = time.perf_counter()
        meant = (await self._router.route(utterance.text)).meant
        voted_s = time.perf_counter()
        situation = Situation(utterance.text, excluded=excluded(meant, self._data.among))
        judgement = await self._model.judge(situation, name)
        judged_s = time.perf_counter()
        self._recalled.has_judged(judgement)
        understood = await self._interpreter.understand(situation, self._asked, name)
        done_s = time.perf_counter()
        if understood.way == "rules":
            raise ModelFailure(f"{self._data.name}: {utterance.text!r} was understood without the model")
        model_ms = (judged_s - voted_s) * 1e3
        votes_ms = (voted_s - began_s) * 1e3
        label, share = meant.shares[0]
        likeliest, probability = judgement.probabilities[0]
        return {
            VOTES: Taken(utterance, label, {"share": share, "nearest": meant.nearest}, meant.shares, votes_ms, "fast"),
            MODEL: Taken(
                utterance,
                likeliest,
                {"probability": probability},
                judgement.probabilities,
                model_ms + (votes_ms if self._data.among else 0.0),
                "model",
            ),
            BOTH: Taken(
                utterance,
                label_of(understood.act),
                {"confidence": understood.confidence, "nearest": meant.nearest},
                together(judgement, meant) if understood.way == "model" else meant.shares,
                (done_s - judged_s) * 1e3 + (model_ms if understood.way == "model" else 0.0),
                understood.way,
            ),
        }


def excluded(meant: Meant, among: int | None) -> tuple[str, ...]:
    """What the model may not choose: the fact that there is only because there has to be one and, with `among`, what is
    not among so many nearest. Out of scope can always be chosen."""
    far = [label for label, _ in meant.shares if label != UNKNOWN][among:] if among is not None else []
    return (f"{FACT}{NO_FACT}", *far)


def label_of(act: DialogueAct) -> str:
    """The intent that an act stands for; `UNKNOWN` for none."""
    match act:
        case Wishes(route=route):
            return route.name
        case Waits():
            return WAIT
    return UNKNOWN
