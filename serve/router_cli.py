"""`trunkline router ...`: how well utterances are told apart, and learning from calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.router import IntentRouter, KnowledgePassage, SentenceEncoder, spoken_form
from models.router_evaluation import Evaluation, Examples, cross_validated, held_out
from models.settings import SettingsError, load_mapping
from models.types import ModelFailure, RouteDecision
from pipeline.agent import Agent
from pipeline.events import Event, LanguageChanged, read_events
from serve.agent_file import load_agent_file
from serve.config import EMBEDDED_STACK, load_stack
from serve.deployments import prepared_folder
from serve.timeline import TurnTimeline, call_timeline

router_app = typer.Typer(help="Evaluate an agent's routes, and learn from recorded calls.", no_args_is_help=True)

AgentArgument = Annotated[Path, typer.Argument(help="Agent file.", exists=True, dir_okay=False)]
ExamplesOption = Annotated[
    list[Path] | None,
    typer.Option("--examples", help="YAML of utterances by label, kept out of training; may be given again."),
]
StackOption = Annotated[Path, typer.Option("--stack", help="Whose encoder.", dir_okay=False, show_default="embedded")]
_LABELLED: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


@router_app.command("eval")
def evaluate(
    agent: AgentArgument,
    examples: ExamplesOption = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="PNG of the confusion matrix.")] = None,
    stack: StackOption = EMBEDDED_STACK,
) -> None:
    """Accuracy, precision and recall by route, and what is taken for what.

    On the given examples; without any, by cross-validation on the agent's own.
    """
    console = Console(soft_wrap=True)
    who, found = _evaluated(agent, examples, stack, console)
    if plot is not None:
        draw_confusion(found, plot, who.name)
    if as_json:
        typer.echo(json.dumps(_as_json(found, who.route_confidence), indent=1))
        return
    _show(found, who.route_confidence, console)


@router_app.command()
def train(
    agent: AgentArgument,
    add: Annotated[list[Path], typer.Option("--add", help="Labelled utterances to learn; may be given again.")],
    examples: ExamplesOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the new examples here, by label.")] = None,
    stack: StackOption = EMBEDDED_STACK,
) -> None:
    """What labelled utterances would change: before and after, on examples that neither has seen.

    The router is trained from examples in milliseconds whenever a stack starts, so what is kept is the examples: put
    `examples_from: [FILE]` into the agent file. Exits 1 if the router got worse.
    """
    console = Console(soft_wrap=True)
    who = _agent(agent, console)
    added = _labelled(add, who, console)
    mine = {route.name: list(route.examples) for route in who.routes}
    known = {spoken_form(text) for texts in mine.values() for text in texts}
    fresh = {name: [text for text in added.get(name, ()) if spoken_form(text) not in known] for name in mine}
    both = {name: [*texts, *fresh[name]] for name, texts in mine.items()}
    trainer = _trainer(who, stack, console)
    if examples:
        kept_out = _labelled(examples, who, console)
        before, after = (held_out(trainer(one), kept_out) for one in (mine, both))
    else:
        before, after = (cross_validated(trainer, one) for one in (mine, both))
    console.print(
        f"{sum(map(len, fresh.values()))} new examples. Accuracy {before.accuracy:.1%} -> {after.accuracy:.1%}, "
        f"calibration error {before.calibration_error():.3f} -> {after.calibration_error():.3f}"
    )
    _show_worse(before, after, console)
    if out is not None:
        new = {name: texts for name, texts in fresh.items() if texts}
        out.write_text(yaml.safe_dump(new, allow_unicode=True, sort_keys=False, width=120), encoding="utf-8")
        console.print(f"{out}: name it in the agent file: examples_from: [{out.name}]", markup=False)
    raise typer.Exit(after.accuracy < before.accuracy)


@router_app.command("calls")
def from_calls(
    agent: AgentArgument,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of recorded calls.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", help="YAML to be corrected by a person.")] = Path("from-calls.yaml"),
    below: Annotated[float, typer.Option(help="Only utterances that were routed with less confidence.")] = 0.8,
) -> None:
    """Collect what callers said, by the route it was taken for, the least sure first, for a person to correct."""
    console = Console(soft_wrap=True)
    who = _agent(agent, console)
    names = [route.name for route in who.routes]
    said: dict[str, tuple[float, str]] = {}
    for path in sorted(runs.glob("*/events.jsonl")):
        try:
            events = read_events(path.read_text(encoding="utf-8").splitlines())
        except ValueError as error:
            console.print(f"[yellow]left out:[/] {path}: {escape(str(error))}", highlight=False)
            continue
        for turn in _heard_by(who.name, events):
            if turn.is_final and turn.route is not None and (turn.route_confidence or 0.0) < below:
                said.setdefault(turn.caller_words, (turn.route_confidence or 0.0, turn.route))
    lines = ["# What callers said, by the route it was taken for. Move what is wrong to the right label, delete noise."]
    for name in names:
        found = sorted((confidence, text) for text, (confidence, label) in said.items() if label == name)
        if found:
            lines.append(f"{name}:")
            lines += [f"  - {json.dumps(text, ensure_ascii=False)}  # {confidence:.2f}" for confidence, text in found]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"{out}: {len(said)} utterances")


def _heard_by(agent: str, events: Sequence[Event]) -> Iterator[TurnTimeline]:
    """The turns of a call in which this agent had the word, or took it."""
    timeline = call_timeline(events)
    taken = [(event.turn, event.agent) for event in events if isinstance(event, LanguageChanged)]
    for turn in timeline.turns:
        has_the_word = timeline.started.agent if timeline.started else ""
        for since, other in taken:
            has_the_word = other if turn.turn >= since else has_the_word
        if has_the_word == agent:
            yield turn


def draw_confusion(found: Evaluation, path: Path, title: str) -> None:
    """The confusion matrix as a PNG: rows are what was meant, columns what it was taken for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels, counts = found.labels, found.confusion()
    figure = Figure(figsize=(2 + 0.5 * len(labels), 1.5 + 0.45 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    matrix = [
        [counts[wanted].get(got, 0) / max(1, sum(counts[wanted].values())) for got in labels] for wanted in labels
    ]
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    for row, wanted in enumerate(labels):
        for column, got in enumerate(labels):
            if count := counts[wanted].get(got, 0):
                colour = "white" if matrix[row][column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(title=f"{title}: {found.accuracy:.1%} of {len(found.routed)}", xlabel="taken for", ylabel="meant")
    figure.savefig(path, dpi=110)


def _evaluated(agent: Path, examples: list[Path] | None, stack: Path, console: Console) -> tuple[Agent, Evaluation]:
    who = _agent(agent, console)
    trainer = _trainer(who, stack, console)
    own: Examples = {route.name: route.examples for route in who.routes}
    if examples:
        return who, held_out(trainer(own), _labelled(examples, who, console))
    return who, cross_validated(trainer, own)


def _trainer(agent: Agent, stack: Path, console: Console) -> Callable[[Examples], Callable[[str], RouteDecision]]:
    try:
        encoder = SentenceEncoder(prepared_folder(load_stack(stack).router.weights))
    except (ModelFailure, SettingsError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from error
    passages = tuple(KnowledgePassage(fact.id, fact.text, fact.questions) for fact in agent.facts)

    def trained(examples: Examples) -> Callable[[str], RouteDecision]:
        return IntentRouter(encoder, examples=examples, passages=passages, language=agent.language).route

    return trained


def _labelled(paths: list[Path], agent: Agent, console: Console) -> dict[str, list[str]]:
    names = [route.name for route in agent.routes]
    found: dict[str, list[str]] = {}
    for path in paths:
        try:
            labelled = _LABELLED.validate_python(load_mapping(path))
        except (SettingsError, ValidationError) as error:
            console.print(f"{path}: expected utterances by label, as YAML; {error}", style="red", markup=False)
            raise typer.Exit(2) from error
        if unknown := [label for label in labelled if label not in names]:
            expected = f"expected one of {', '.join(names)}"
            console.print(f"{path}: no route {', '.join(unknown)}; {expected}", style="red", markup=False)
            raise typer.Exit(2)
        for label, texts in labelled.items():
            found.setdefault(label, []).extend(texts)
    return found


def _agent(path: Path, console: Console) -> Agent:
    try:
        return load_agent_file(path)
    except SettingsError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from error


def _as_json(found: Evaluation, threshold: float) -> dict[str, object]:
    share, right = found.at_confidence(threshold)
    return {
        "utterances": len(found.routed),
        "accuracy": round(found.accuracy, 4),
        "calibration_error": round(found.calibration_error(), 4),
        "at_route_confidence": {"threshold": threshold, "share": round(share, 4), "right": right},
        "confusion": found.confusion(),
        "mistakes": [
            {"utterance": one.utterance, "wanted": one.wanted, "got": one.got, "confidence": round(one.confidence, 3)}
            for one in found.routed
            if one.got != one.wanted
        ],
    }


def _show(found: Evaluation, threshold: float, console: Console) -> None:
    counts = found.confusion()
    table = Table("route", "utterances", "precision", "recall", "taken for", box=None, pad_edge=False)
    for label in found.labels:
        precision, recall = found.precision_recall(label)
        wrong = ", ".join(f"{got} {count}" for got, count in counts[label].items() if got != label)
        table.add_row(label, str(sum(counts[label].values())), _share(precision), _share(recall), wrong)
    console.print(table)
    share, right = found.at_confidence(threshold)
    console.print(
        f"{found.accuracy:.1%} of {len(found.routed)} right. {share:.0%} are at or above the agent's confidence of "
        f"{threshold:g}; {_share(right)} of those are right. Calibration error {found.calibration_error():.3f}."
    )


def _show_worse(before: Evaluation, after: Evaluation, console: Console) -> None:
    right = {one.utterance for one in before.routed if one.got == one.wanted}
    for one in after.routed:
        if one.utterance in right and one.got != one.wanted:
            console.print(f"  now wrong: {one.utterance!r} is {one.wanted}, taken for {one.got}", markup=False)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
