"""`trunkline agent ...`: what an operator does with an agent file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.settings import SettingsError
from models.types import ModelFailure
from pipeline.agent import Agent
from pipeline.agent_check import check_agent
from pipeline.agent_diff import differences
from pipeline.agent_library import library_flow, library_flows, library_text
from pipeline.agent_version import agent_version
from pipeline.slots.types import Language
from pipeline.workflow.graph import draw
from serve.agent_file import load_agent_file
from serve.agent_file_check import check_agent_file
from serve.agent_init import Business, started
from serve.agent_rehearsal import Rehearsal, rehearse, rules_router
from serve.agent_schema import agent_schema
from serve.agent_try import try_agent, typed
from serve.back_office import BackOfficeError, at_port, back_office
from serve.call_store import CallOutcome, CallStore, StoreError
from serve.cli_options import StackOption
from serve.compare import TooFewCalls, calls_needed, compare
from serve.config import BackOfficeSettings, load_stack
from serve.settings_page import settings_page
from serve.stack import free_port
from serve.upkeep import STORE_VARIABLE

agent_app = typer.Typer(help="Check, try and compare agent files.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(help="Agent file.", exists=True, dir_okay=False)]


@agent_app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Agent file to write.", dir_okay=False)] = Path("agent.yaml"),
    *,
    name: Annotated[str | None, typer.Option(help="What the business is called.")] = None,
    business: Annotated[str | None, typer.Option(help='What it is, as after "is": a bakery in Harbour Street.')] = None,
    language: Annotated[Language, typer.Option(help="What is spoken.")] = "en",
    hours: Annotated[str | None, typer.Option(help="Days and their hours, with ; between.")] = None,
    zone: Annotated[str | None, typer.Option(help="Time zone, by its IANA name.")] = None,
    phone: Annotated[str | None, typer.Option(help="Who takes over: a number such as +14155550199.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Ask five questions, and leave an agent that runs and a folder of conversations that it passes.

    What is given as an option is not asked.
    """
    console = Console(soft_wrap=True)
    name = _answer(name, "--name", "What is the business called?")
    business = _answer(business, "--business", 'What is it? (as after "is": a bakery in Harbour Street)')
    hours = _answer(hours, "--hours", "When is it open?", "monday-friday 9:00-17:00")
    zone = _answer(zone, "--zone", "In which time zone?", "America/New_York")
    phone = _answer(phone, "--phone", "Who takes over? (a number such as +14155550199)")
    folder = file.with_name(f"{file.stem}_conversations")
    try:
        made = started(Business(name, business, language, zone, hours, phone))
    except SettingsError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    texts = {file if key == "agent" else folder / f"{key}.yaml": text for key, text in made.items()}
    if not force and (there := [path for path in texts if path.exists()]):
        console.print(f"{there[0]} is there already; choose another name, or give --force", style="red", markup=False)
        raise typer.Exit(1)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    console.print(
        f"{file} is an agent that runs, {folder} holds conversations that it passes. Next:\n"
        f"  trunkline agent try {file}\n"
        f"  trunkline agent eval {file} {folder} --rules\n"
        f"  trunkline agent validate {file}",
        markup=False,
        highlight=False,
    )


def _answer(given: str | None, option: str, question: str, otherwise: str | None = None) -> str:
    if given is not None:
        return given
    try:
        return str(typer.prompt(question, default=otherwise))
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        if otherwise is not None:
            return otherwise
        raise typer.BadParameter(f"{option} is missing, and nobody can be asked; give it") from None


@agent_app.command()
def library(
    name: Annotated[str | None, typer.Argument(help="A flow.", show_default="list them")] = None,
) -> None:
    """The flows that come with the product: what each needs, its texts, names and nodes, all of which an agent may
    word or replace (docs/agents.md)."""
    console = Console(soft_wrap=True)
    if name is None:
        for known in library_flows():
            console.print(f"{known}: {library_flow(known).what}", markup=False, highlight=False)
        return
    try:
        typer.echo(library_text(name))
    except KeyError:
        console.print(f"{name}: no such flow; expected one of {', '.join(library_flows())}", style="red", markup=False)
        raise typer.Exit(1) from None


@agent_app.command()
def validate(
    *,
    file: FileArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    play: Annotated[bool, typer.Option(help="Play stock utterances through the agent's router.")] = True,
    stack: StackOption,
) -> None:
    """Find what would go wrong in a call: dead ends, names that are not there, values that do not fit, secrets in the
    file, callers who are hung up on. Then show where hello, yes, thanks and the like lead.

    Exits 1 if there are errors; warnings alone are no failure.
    """
    console = Console(soft_wrap=True)
    agent, chosen = _load(file, console), load_stack(stack)
    findings = [*check_agent(agent), *check_agent_file(file, agent, chosen.text_to_speech.weights)]
    rehearsal, why_not = None, ""
    if play:
        try:
            rehearsal = rehearse(agent, rules_router(chosen.router.weights))
            findings += rehearsal.findings
        except ModelFailure as error:
            why_not = str(error)
    findings.sort(key=lambda finding: finding.severity != "error")
    if as_json:
        typer.echo(json.dumps([{"severity": f.severity, "where": f.where, "what": f.what} for f in findings], indent=1))
    else:
        if rehearsal is not None:
            _show_rehearsal(rehearsal, console)
        elif why_not:
            console.print(f"Stock utterances are not played: {why_not}", style="yellow", markup=False)
        table = Table(box=None, pad_edge=False, show_header=False)
        for column in ("severity", "where", "what"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            colour = "red" if finding.severity == "error" else "yellow"
            table.add_row(f"[{colour}]{finding.severity}[/]", escape(finding.where), escape(finding.what))
        console.print(table)
        errors = sum(finding.severity == "error" for finding in findings)
        console.print(f"{file}: {errors} errors, {len(findings) - errors} warnings")
    raise typer.Exit(any(finding.severity == "error" for finding in findings))


def _show_rehearsal(rehearsal: Rehearsal, console: Console) -> None:
    table = Table("caller says", "leads to", "in the middle of a flow", box=None, pad_edge=False)
    for one in rehearsal.played:
        led = f"[yellow]{escape(one.free)}[/] (not {escape(one.what)})" if one.astray else escape(one.free)
        table.add_row(escape(one.utterance), led, escape(one.asked))
    console.print(table)
    console.print()


@agent_app.command("try")
def try_(
    *,
    file: FileArgument,
    llm: Annotated[
        bool, typer.Option("--llm", help="With the stack's language model and its model that understands.")
    ] = False,
    office: Annotated[
        Literal["dental", "logistics", "salon"] | None,
        typer.Option("--back-office", help="Start this stand-in for the business's systems."),
    ] = None,
    caller: Annotated[str, typer.Option(help="Number that the caller calls from, in E.164.")] = "+14155550100",
    now: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M"], help="As if it were called then, by the business's clock."),
    ] = None,
    stack: StackOption,
) -> None:
    """Talk to an agent in the terminal, by text: its real router, flows and tools, without ears and mouth.

    An empty line is silence; /quit hangs up. Lines may be piped in.
    """
    console = Console(soft_wrap=True)
    logging.basicConfig(level=logging.ERROR)
    agent = _load(file, console)
    with ExitStack() as up:
        try:
            if office is not None:
                settings = BackOfficeSettings(name=office)
                port, folder = free_port("127.0.0.1"), up.enter_context(TemporaryDirectory())
                up.enter_context(back_office(settings, port, Path(folder) / "back-office.log"))
                agent = at_port(agent, settings, port)
            chosen = load_stack(stack)
            asyncio.run(try_agent(agent, chosen, typed(console), console, caller=caller, real_model=llm, now=now))
        except (SettingsError, ModelFailure, BackOfficeError) as error:
            console.print(f"[red]{error}[/]")
            raise typer.Exit(2) from error


@agent_app.command("eval")
def eval_(
    *,
    file: FileArgument,
    material: Annotated[
        Path, typer.Argument(help="Folder of conversations, or .tsv of first utterances.", exists=True)
    ],
    at_least: Annotated[float, typer.Option("--at-least", min=0, max=1, help="Exit 1 below this share.")] = 0.0,
    office: Annotated[
        Literal["dental", "logistics", "salon"],
        typer.Option("--back-office", help="The stand-in for the business's systems that conversations have."),
    ] = "dental",
    llm: Annotated[bool, typer.Option("--llm", help="Word answers with the stack's language model.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Without the stack's model that understands.")] = False,
    stack: StackOption,
) -> None:
    """Play your own callers with an agent and the stack's models: how many are understood, and who is not."""
    from bench.eval.material import Measured, measure
    from bench.eval.models import started

    console = Console(soft_wrap=True)
    logging.basicConfig(level=logging.ERROR)
    agent = _load(file, console)

    async def measured() -> Measured:
        async with started(load_stack(stack), words=llm, understands=not rules) as models:
            return await measure(material, file.stem, agent, await models.of(agent), console, office=office)

    try:
        found = asyncio.run(measured())
    except (SettingsError, ModelFailure) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from error
    console.print(f"{found.name}: {found.right} of {found.count}, {found.share:.1%}", highlight=False)
    raise typer.Exit(found.share < at_least)


@agent_app.command()
def schema(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File.", show_default="the terminal")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page to read, with stack files' keys.")] = False,
) -> None:
    """The JSON Schema of agent files, for editors: `# yaml-language-server: $schema=agent.schema.json`."""
    text = settings_page().rstrip() if markdown else json.dumps(agent_schema(), indent=1, ensure_ascii=False)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(f"{text}\n", encoding="utf-8")


@agent_app.command()
def graph(
    file: FileArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="SVG file.", show_default="beside the file")] = None,
) -> None:
    """Draw the agent's flows as an SVG."""
    console = Console(soft_wrap=True)
    agent = _load(file, console)
    path = out or file.with_suffix(".svg")
    path.write_text(draw(agent.flows, title=agent.name), encoding="utf-8")
    console.print(str(path), markup=False, highlight=False)


@agent_app.command()
def diff(a: FileArgument, b: FileArgument) -> None:
    """What changed from one version of an agent file to another."""
    console = Console(soft_wrap=True)
    before, after = _load(a, console), _load(b, console)
    console.print(f"{agent_version(before)} {a}\n{agent_version(after)} {b}", highlight=False)
    found = differences(before, after)
    for line in found:
        console.print(f"  {line}", markup=False, highlight=False)
    if not found:
        console.print("No difference.")


@agent_app.command("compare")
def compare_(
    a: Annotated[str, typer.Argument(help="Agent file, or a version (12 hex digits).")],
    b: Annotated[str, typer.Argument(help="The other.")],
    store: Annotated[str | None, typer.Option("--store", help="Call store.", show_default="runs/calls.db")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Compare two versions of an agent by what came of their calls, with 95% confidence intervals."""
    console = Console(soft_wrap=True)
    url = store or os.environ.get(STORE_VARIABLE) or "sqlite:///runs/calls.db"
    versions = [agent_version(_load(Path(one), console)) if Path(one).is_file() else one for one in (a, b)]
    try:
        calls = asyncio.run(_outcomes(url, versions))
        found = compare(*calls)
    except (StoreError, TooFewCalls) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(
            json.dumps({"versions": versions, "calls": [*map(len, calls)], "found": [*map(asdict, found)]}, indent=1)
        )
        return
    table = Table("", versions[0], versions[1], "difference", "95% interval", "", box=None, pad_edge=False)
    table.add_row("calls", str(len(calls[0])), str(len(calls[1])))
    for one in found:
        scale, form = (100, "{:.1f}%") if one.percent else (1, "{:.1f}")
        shown = [form.format(value * scale) for value in (one.a, one.b, one.b - one.a, one.low, one.high)]
        table.add_row(
            one.name, shown[0], shown[1], shown[2], f"{shown[3]} to {shown[4]}", "" if one.shown else "not shown"
        )
    console.print(table)
    needed = calls_needed(found[0].a)
    if not found[0].shown and min(map(len, calls)) < needed:
        console.print(f"To see 5 points in containment, about {needed} calls of each version are needed.")


async def _outcomes(url: str, versions: list[str]) -> tuple[list[CallOutcome], list[CallOutcome]]:
    async with await CallStore.open(url) as store:
        first, second = [await store.outcomes(version=version) for version in versions]
    return first, second


def _load(file: Path, console: Console) -> Agent:
    try:
        return load_agent_file(file)
    except SettingsError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
