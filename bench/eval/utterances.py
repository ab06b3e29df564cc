"""First utterances of calls, and what a sensible human would take them for.

A file has a line each: the utterance, a tab, and what is right: `q:FACT`, the name of a flow or route, or `oos` (it is
declined honestly); alternatives are separated by `|`. Lines that begin with # are comments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.eval.models import AgentModels
from models.settings import SettingsError
from models.types import Situation
from pipeline.agent import Agent
from pipeline.agent_examples import FACT
from pipeline.clock import LoopClock
from pipeline.events import EventLog
from pipeline.understanding.acts import AsksFact, DialogueAct, Waits, Way, Wishes
from pipeline.understanding.stage import Interpreter

OUT_OF_SCOPE = "oos"
_HONEST = ("robot", "wrong_number")
"""Routes that come with the product and answer honestly what is none of an agent's business."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a caller says first."""

    text: str
    wanted: tuple[str, ...]
    """What is right."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What it was taken for."""

    utterance: Utterance
    got: str
    way: Way
    confidence: float
    took_ms: float
    asked_back: bool = False
    """Whether it is not done unasked: what was got is what the caller is asked about."""

    @property
    def right(self) -> bool:
        wanted = self.utterance.wanted
        return self.got in wanted or (OUT_OF_SCOPE in wanted and self.got in _HONEST)


def load_utterances(path: Path) -> list[Utterance]:
    """Read a file. Raises SettingsError naming the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); expected utterances, a tab, what they mean") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        text, tab, labels = line.partition("\t")
        wanted = tuple(label.strip() for label in labels.split("|") if label.strip())
        if not tab or not text.strip() or not wanted:
            raise SettingsError(f"{path}:{number}: expected an utterance, a tab and what it means, got {line!r}")
        found.append(Utterance(text.strip(), wanted))
    if not found:
        raise SettingsError(f"{path}: no utterances; expected a line each, with a tab before what it means")
    return found


async def take(agent: Agent, models: AgentModels, utterances: Sequence[Utterance]) -> list[Taken]:
    """What the agent takes each for, as the first words of a call. Raises ModelFailure."""
    clock = LoopClock()
    interpreter = Interpreter(agent, models.router, models.understanding, models.policy, EventLog(clock), clock)
    taken = []
    for number, utterance in enumerate(utterances):
        began_s = clock.now_s()
        understood = await interpreter.understand(Situation(utterance.text), number, f"eval-{number}")
        took_ms = (clock.now_s() - began_s) * 1000
        label, doubted = _label(understood.doubted or understood.act), understood.doubted is not None
        taken.append(Taken(utterance, label, understood.way, understood.confidence, took_ms, asked_back=doubted))
    return taken


def _label(act: DialogueAct) -> str:
    match act:
        case AsksFact(fact=fact):
            return f"{FACT}{fact.id}"
        case Wishes(route=route):
            return route.name
        case Waits():
            return "wait"
    return OUT_OF_SCOPE
