"""How often callers get what they called for: `python -m bench.eval [--agent dental] [--llm real] [NAME ...]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import results
from bench.eval.conversation import AGENTS, CONVERSATIONS, conversation_files, load_conversation
from bench.eval.patient_loop import run_patiently
from bench.eval.play import Talk, faults, play
from bench.eval.world import office_of
from bench.results import Json, Series
from models.settings import SettingsError
from models.types import ModelFailure
from pipeline.agent import load_agent
from pipeline.agent_version import agent_version
from pipeline.ports import LanguageModel
from pipeline.text_call import FactsAsWritten
from serve.call_store import CallStore
from serve.config import EMBEDDED_STACK, load_stack
from serve.direct import direct_language_model, direct_router
from serve.outcome import outcome_of

WANTED = 0.95
"""Share of conversations in which everything must be as expected."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one conversation."""

    agent: str
    version: str
    name: str
    edge: str
    failures: tuple[str, ...]
    talk: Talk
    took_ms: float


@asynccontextmanager
async def _language_model(kind: str) -> AsyncGenerator[LanguageModel, None]:
    if kind == "fake":
        yield FactsAsWritten()
        return
    async with direct_language_model(load_stack(EMBEDDED_STACK)) as model:
        yield model


async def _run(
    agents: Sequence[str], llm: str, only: Sequence[str], told: Console, file: Path | None = None
) -> list[Verdict]:
    verdicts: list[Verdict] = []
    async with _language_model(llm) as language_model:
        for name in agents:
            agent = load_agent(file or AGENTS / f"{name}.yaml")
            router, office = direct_router(agent, load_stack(EMBEDDED_STACK).router.weights), office_of(name)
            for path in conversation_files(name):
                if only and path.stem not in only:
                    continue
                conversation = load_conversation(path)
                began_s = time.perf_counter()
                talk = await play(conversation, agent, router, language_model, office)
                failures = tuple(faults(conversation, talk))
                took_ms = (time.perf_counter() - began_s) * 1000
                version = agent_version(agent)
                verdicts.append(Verdict(name, version, path.stem, conversation.edge, failures, talk, took_ms))
                if failures or only:
                    told.print(f"\n{name}/{path.stem}: {conversation.description}", highlight=False, markup=False)
                    told.print(talk.told(), highlight=False, markup=False)
                    for failure in failures:
                        told.print(f"  FAILED {failure}", highlight=False, markup=False)
    return verdicts


async def _keep(url: str, verdicts: Sequence[Verdict]) -> None:
    async with await CallStore.open(url) as store:
        for number, one in enumerate(verdicts):
            sid = f"eval-{one.version}-{one.name}"
            events, end = one.talk.events, one.talk.end
            await store.add_outcome(
                outcome_of(events, call_sid=sid, agent=one.agent, version=one.version, started_s=number, end=end)
            )


def _shares(verdicts: Sequence[Verdict]) -> dict[str, Json]:
    """Task success: of all, by agent, by agent and edge."""
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in verdicts:
        for edge in ("all", verdict.edge):
            groups[verdict.agent, edge].append(not verdict.failures)
    by_agent: dict[str, dict[str, Json]] = {}
    for (agent, edge), passed in groups.items():
        by_agent.setdefault(agent, {})[edge] = {
            "conversations": len(passed),
            "passed": sum(passed),
            "share": round(sum(passed) / len(passed), 3),
        }
    return dict(by_agent)


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("agent", "edge", "passed", "share", title="Task success")
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.agent, verdict.edge].append(not verdict.failures)
        groups[verdict.agent, "(all)"].append(not verdict.failures)
    for (agent, edge), passed in sorted(groups.items()):
        table.add_row(agent, edge, f"{sum(passed)}/{len(passed)}", f"{sum(passed) / len(passed):.0%}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__)
    known = sorted(path.name for path in CONVERSATIONS.iterdir() if path.is_dir() and any(path.glob("*.yaml")))
    parser.add_argument("names", nargs="*", help="conversations to show in full, by file name; none: all, in brief")
    parser.add_argument("--agent", choices=known, action="append", help="only this agent; may be given again")
    parser.add_argument("--llm", choices=("fake", "real"), default="fake", help="fake: says facts as they are written")
    parser.add_argument("--agent-file", type=Path, help="another version of the one --agent, against its conversations")
    parser.add_argument("--store", help="keep what came of each call, for `trunkline agent compare`")
    parser.add_argument("--out", type=Path, default=results.RESULTS, help="folder for the JSON and its plot")
    chosen = parser.parse_args()
    console = Console(soft_wrap=True)
    if chosen.agent_file and len(chosen.agent or ()) != 1:
        parser.error("--agent-file: expected exactly one --agent, whose conversations it is to have")
    work = _run(chosen.agent or known, chosen.llm, chosen.names, console, chosen.agent_file)
    try:
        # An engine in another process takes real time.
        verdicts = asyncio.run(work) if chosen.llm == "real" else run_patiently(work)
    except (SettingsError, ModelFailure) as error:
        sys.exit(f"bench.eval: {error}")
    console.print(_table(verdicts))
    if chosen.store:
        asyncio.run(_keep(chosen.store, verdicts))
    if chosen.names:
        sys.exit(any(verdict.failures for verdict in verdicts))
    shares = _shares(verdicts)
    share = sum(not verdict.failures for verdict in verdicts) / max(1, len(verdicts))
    report, _ = results.write(
        "eval",
        {
            "language_model": chosen.llm,
            "wanted": WANTED,
            "share": round(share, 3),
            "task_success": shares,
            "failures": {f"{one.agent}/{one.name}": list(one.failures) for one in verdicts if one.failures},
        },
        packages=("vllm", "onnxruntime"),
        plot=[
            Series(agent, [len(one.talk.exchanges) - 1 for one in verdicts if one.agent == agent])
            for agent in dict.fromkeys(one.agent for one in verdicts)
        ],
        axis="caller's lines until the call was over",
        folder=chosen.out,
    )
    console.print(f"{share:.1%} of {len(verdicts)} conversations; wanted {WANTED:.0%}. {report}")
    sys.exit(share < WANTED)


if __name__ == "__main__":
    main()
