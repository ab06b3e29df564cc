"""An operator's own material: conversations in a folder, or a file of first utterances, played with an agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.eval.models import AgentModels
from bench.eval.utterances import Taken, load_utterances, take
from bench.eval.verdicts import Verdict, play_all, success_table
from bench.results import Json, Percentiles
from models.settings import SettingsError
from pipeline.agent import Agent


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one file or folder."""

    name: str
    right: int
    count: int
    detail: dict[str, Json]
    """For the record."""

    @property
    def share(self) -> float:
        """What went well, of all."""
        return self.right / self.count


async def measure(
    path: Path, name: str, agent: Agent, models: AgentModels, told: Console, *, office: str | None = None
) -> Measured:
    """Play what lies at `path`: a .tsv of first utterances, a conversation file, or a folder of such.

    `name`, `office`: see `play_all`. Everything that failed is told. Raises SettingsError and ModelFailure.
    """
    if path.suffix == ".tsv":
        return _of_utterances(path.name, await take(agent, models, load_utterances(path)), told)
    return _of_conversations(
        path.name, await play_all(name, agent, models, _files(path), (), told, office=office), told
    )


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise SettingsError(f"{path}: no conversations; expected a folder of .yaml files, or a .tsv of utterances")
    return files


def _of_conversations(name: str, verdicts: Sequence[Verdict], told: Console) -> Measured:
    told.print(success_table(verdicts))
    # Names only: material that measures must not come into the repository by its records.
    failed = [one.name for one in verdicts if one.failures]
    return Measured(name, len(verdicts) - len(failed), len(verdicts), {"failed": failed})


def _of_utterances(name: str, taken: Sequence[Taken], told: Console) -> Measured:
    table = Table("decided by", "share", "right", "p50 ms", "p95 ms", title=f"First utterances: {name}")
    ways: dict[str, Json] = {}
    for way in ("fast", "model", "rules"):
        ours = [one for one in taken if one.way == way]
        if ours:
            right, took = sum(one.right for one in ours), Percentiles.of(one.took_ms for one in ours)
            share = f"{len(ours) / len(taken):.0%}"
            table.add_row(way, share, f"{right}/{len(ours)}", f"{took.p50:.0f}", f"{took.p95:.0f}")
            ways[way] = {"count": len(ours), "right": right, "took_ms": took.as_json()}
    for one in taken:
        if not one.right:
            what = f"{one.utterance.text}\n    wanted {' or '.join(one.utterance.wanted)}; taken for {one.got}"
            way = f"{one.way}, asked back" if one.asked_back else one.way
            told.print(f"  {what} ({way} {one.confidence:.2f})", highlight=False, markup=False)
    told.print(table)
    asked_back = [one.right for one in taken if one.asked_back]
    if asked_back:
        told.print(f"Asked back instead of done: {len(asked_back)}, {sum(asked_back)} about what was meant.")
    detail: dict[str, Json] = {"ways": ways, "asked_back": {"count": len(asked_back), "right": sum(asked_back)}}
    return Measured(name, sum(one.right for one in taken), len(taken), detail)
