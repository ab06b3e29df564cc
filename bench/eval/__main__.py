"""How often callers get what they called for: `python -m bench.eval [--agent dental] [--llm real] [NAME ...]`."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import results
from bench.eval.conversation import AGENTS, CONVERSATIONS, conversation_files
from bench.eval.material import Measured, measure
from bench.eval.models import started
from bench.eval.patient_loop import run_patiently
from bench.eval.verdicts import Verdict, play_all, shares_of, success_table
from bench.results import Series
from models.settings import SettingsError
from models.types import ModelFailure
from pipeline.agent import load_agent
from serve.call_store import CallStore
from serve.config import EMBEDDED_STACK, load_stack
from serve.outcome import outcome_of

WANTED = 0.95
"""Share of conversations in which everything must be as expected."""


async def _run(
    agents: Sequence[str],
    only: Sequence[str],
    told: Console,
    *,
    stack: Path,
    words: bool,
    understands: bool,
    file: Path | None = None,
    also: Path | None = None,
) -> tuple[list[Verdict], list[Measured]]:
    verdicts: list[Verdict] = []
    measured: list[Measured] = []
    async with started(load_stack(stack), words=words, understands=understands) as models:
        for name in agents:
            agent = load_agent(file or AGENTS / f"{name}.yaml")
            with_models = await models.of(agent)
            called, paths = file.stem if file else name, conversation_files(name)
            verdicts += await play_all(called, agent, with_models, paths, only, told, office=name)
            for path in _material(also, name):
                measured.append(await measure(path, called, agent, with_models, told, office=name))
    return verdicts, measured


def _material(folder: Path | None, agent: str) -> list[Path]:
    """What of a folder is an agent's: AGENT.tsv, AGENT2.tsv, ..., and a folder AGENT_conv."""
    found = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
    return [path for path in found if re.fullmatch(rf"{agent}(\d*\.tsv|_conv)", path.name)]


async def _keep(url: str, verdicts: Sequence[Verdict]) -> None:
    async with await CallStore.open(url) as store:
        for number, one in enumerate(verdicts):
            sid = f"eval-{one.version}-{one.name}"
            events, end = one.talk.events, one.talk.end
            await store.add_outcome(
                outcome_of(events, call_sid=sid, agent=one.agent, version=one.version, started_s=number, end=end)
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__)
    known = sorted(path.name for path in CONVERSATIONS.iterdir() if path.is_dir() and any(path.glob("*.yaml")))
    parser.add_argument("names", nargs="*", help="conversations to show in full, by file name; none: all, in brief")
    parser.add_argument("--agent", choices=known, action="append", help="only this agent; may be given again")
    parser.add_argument("--llm", choices=("fake", "real"), default="fake", help="fake: says facts as they are written")
    parser.add_argument("--understand", action="store_true", help="the stack's model judges what callers mean")
    parser.add_argument("--stack", type=Path, default=EMBEDDED_STACK, help="stack file whose models play")
    parser.add_argument("--also", type=Path, help="folder of more material, by agent: AGENT.tsv, AGENT_conv/")
    parser.add_argument("--agent-file", type=Path, help="another version of the one --agent, against its conversations")
    parser.add_argument("--store", help="keep what came of each call, for `trunkline agent compare`")
    parser.add_argument("--out", type=Path, default=results.RESULTS, help="folder for the JSON and its plot")
    chosen = parser.parse_args()
    console = Console(soft_wrap=True)
    if chosen.agent_file and len(chosen.agent or ()) != 1:
        parser.error("--agent-file: expected exactly one --agent, whose conversations it is to have")
    real = chosen.llm == "real" or chosen.understand
    work = _run(
        chosen.agent or known,
        chosen.names,
        console,
        stack=chosen.stack,
        words=chosen.llm == "real",
        understands=chosen.understand,
        file=chosen.agent_file,
        also=chosen.also,
    )
    try:
        # An engine in another process takes real time.
        verdicts, measured = asyncio.run(work) if real else run_patiently(work)
    except (SettingsError, ModelFailure) as error:
        sys.exit(f"bench.eval: {error}")
    console.print(success_table(verdicts))
    for one in measured:
        console.print(f"{one.name}: {one.right} of {one.count}, {one.share:.0%}", highlight=False)
    if chosen.store:
        asyncio.run(_keep(chosen.store, verdicts))
    if chosen.names:
        sys.exit(any(verdict.failures for verdict in verdicts))
    shares = shares_of(verdicts)
    share = sum(not verdict.failures for verdict in verdicts) / max(1, len(verdicts))
    report, _ = results.write(
        "eval",
        {
            "stack": load_stack(chosen.stack).name,
            "language_model": chosen.llm,
            "understands": chosen.understand,
            "also": {one.name: {"right": one.right, "count": one.count, **one.detail} for one in measured},
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
