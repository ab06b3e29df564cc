"""Which agents answer a number: versions that share its calls, and for each one the agents for other languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.references import short_name
from models.settings import SettingsError
from pipeline.agent import Agent
from pipeline.agent_version import agent_version
from serve.agent_file import load_sound_agent_file
from serve.agent_file_check import check_voice
from serve.config import Stack

ROOT = Path(__file__).resolve().parent.parent
"""The repository's root: stack files name agents relative to it."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """An agent under the name of its file's content: it keeps it when its connections are led to another port."""

    agent: Agent
    version: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A share of the calls."""

    agents: tuple[Versioned, ...]
    """The one that answers, and one for each further language."""
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """All that may answer."""

    variants: tuple[Variant, ...]

    @property
    def first(self) -> Agent:
        """The one that the number is known by."""
        return self.variants[0].agents[0].agent

    def agents(self) -> dict[str, Agent]:
        """Every agent once, by version."""
        return {one.version: one.agent for variant in self.variants for one in variant.agents}

    def languages(self) -> tuple[str, ...]:
        """All that are spoken, the first agent's first."""
        return tuple(dict.fromkeys(agent.language for agent in self.agents().values()))

    def changed(self, change: Callable[[Agent], Agent]) -> TrafficSplit:
        """With every agent changed alike."""

        def changed(one: Versioned) -> Versioned:
            return Versioned(change(one.agent), one.version)

        return TrafficSplit(
            tuple(Variant(tuple(changed(one) for one in each.agents), each.percent) for each in self.variants)
        )

    def described(self) -> Iterator[str]:
        """A line for each variant."""
        for one in self.variants:
            first, *others = one.agents
            also = f", also in {', '.join(other.agent.language for other in others)}" if others else ""
            yield f"{one.percent:g}%  {first.agent.name} {first.version} ({first.agent.language}{also})"


def only(agent: Agent) -> TrafficSplit:
    """One agent takes all calls."""
    return TrafficSplit((Variant((_versioned(agent),)),))


def agent_path(stack: Stack) -> Path:
    """Where the stack's agent file lies."""
    return _placed(stack.agent)


def load_traffic_split(stack: Stack, chosen: Path | None = None) -> TrafficSplit:
    """Read the stack's agents; or the `chosen` one alone, with its languages. Raises SettingsError."""
    if chosen is not None:
        return TrafficSplit((Variant(_with_languages(chosen)),))
    rest = 100.0 - sum(variant.percent for variant in stack.variants)
    shares = [(agent_path(stack), rest), *((_placed(one.agent), one.percent) for one in stack.variants)]
    traffic = TrafficSplit(tuple(Variant(_with_languages(path), percent) for path, percent in shares))
    if len({variant.agents[0].version for variant in traffic.variants}) < len(shares):
        raise SettingsError(
            f"stack {stack.name}: variants: two agent files have the same content; change or remove one"
        )
    return traffic


def hearable(traffic: TrafficSplit, weights: str) -> tuple[TrafficSplit, list[str]]:
    """The split without the further languages that Whisper's weights do not know, and what was left out, for people
    to read. Raises SettingsError if an agent that answers first needs another language than English."""
    # As Whisper's weights are named; others are refused by SpeechToText when it starts.
    if not short_name(weights).endswith(".en"):
        return traffic, []
    for variant in traffic.variants:
        first = variant.agents[0].agent
        if first.language != "en":
            raise SettingsError(
                f"agent {first.name}: it speaks {first.language!r}, and {weights} hears English only; "
                "set speech_to_text.weights to a multilingual one, such as whisper-base"
            )
    left_out = [
        f"{agent.name} ({agent.language}) is left out: {weights} hears English only"
        for agent in traffic.agents().values()
        if agent.language != "en"
    ]
    return TrafficSplit(tuple(Variant(one.agents[:1], one.percent) for one in traffic.variants)), left_out


def check_voices(traffic: TrafficSplit, weights: str) -> None:
    """Raises SettingsError if these weights do not have the voice of an agent that may answer."""
    for agent in traffic.agents().values():
        for found in check_voice(agent.voice, weights):
            if found.severity == "error":
                raise SettingsError(f"agent {agent.name}: voice: {found.what}")


def _placed(path: Path) -> Path:
    return path if path.is_absolute() else ROOT / path


def _versioned(agent: Agent) -> Versioned:
    return Versioned(agent, agent_version(agent))


def _with_languages(path: Path) -> tuple[Versioned, ...]:
    agent = load_sound_agent_file(path)
    agents = [_versioned(agent)]
    for language, name in agent.also_in.items():
        other = load_sound_agent_file(path.parent / name)
        if other.language != language:
            raise SettingsError(
                f"{path}: also_in.{language}: {name} speaks {other.language!r}; expected an agent file with "
                f"`language: {language}`"
            )
        agents.append(_versioned(other))
    return tuple(agents)
