"""The command line: `trunkline serve | call | check | agent | router | models`."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.own_weights import add, settle
from models.references import placed
from models.registry import Kind, load_registry
from models.settings import SettingsError
from models.weights import WeightsError, home_folder, prepare_all, prepared_path
from models.weights import verify as verify_weights
from serve.agent_cli import agent_app
from serve.cli_options import StackOption
from serve.cluster_cli import cluster_app
from serve.config import Stack, load_stack
from serve.hosted.keys import check_keys
from serve.preflight import preflight
from serve.router_cli import router_app
from serve.secrets import PUBLIC_URL_VARIABLE, TOKEN_VARIABLE, Secrets, local_secrets, read_secrets
from serve.stack import (
    StackError,
    StackState,
    find_running,
    reset_back_office,
    running_stack,
    usable_port,
    wait_for_calls_to_end,
)
from serve.traffic_split import ROOT, TrafficSplit, load_traffic_split

if TYPE_CHECKING:
    from serve.demo_call import SimulatedCaller

DEMO_SCRIPT = ROOT / "bench" / "scripts" / "dental_demo.yaml"
EXPECTED_ERRORS: tuple[type[Exception], ...] = (SettingsError, WeightsError, StackError)
UNMET, FAILED, INTERRUPTED = 1, 2, 130
"""Exit codes: the call went through but its script's expectations were not met; something could not run; Ctrl-C."""

app = typer.Typer(
    name="trunkline",
    help="Answers phone calls with models that you own: speech recognition, a language model and speech, all on this "
    "machine, behind a Twilio number or a simulated caller.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models_app = typer.Typer(help="Fetch, list and check the weights that the stacks use.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(agent_app, name="agent")
app.add_typer(router_app, name="router")
app.add_typer(cluster_app, name="cluster")

AgentOption = Annotated[
    Path | None,
    typer.Option("--agent", help="Agent file: who answers and how.", dir_okay=False, show_default="the stack's"),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", min=1024, max=65000, help="Port of the gateway.", show_default="the stack's; call: a free one"
    ),
]
RunsOption = Annotated[
    Path | None,
    typer.Option("--runs", help="Where calls are saved.", file_okay=False, show_default="the stack's"),
]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Names as in a stack file; none: all that the stack needs.")
]


@app.command()
def serve(
    *,
    stack: StackOption,
    agent: AgentOption = None,
    port: PortOption = None,
    runs: RunsOption = None,
) -> None:
    """Start the stack, leave it up until Ctrl-C, and print how to point a Twilio number at it.

    TWILIO_AUTH_TOKEN (or TWILIO_AUTH_TOKEN_FILE) and TRUNKLINE_PUBLIC_URL connect it to a real number; without them it
    takes simulated calls only (`trunkline call` in a second terminal).
    """
    console = _console()
    with _plain_errors(console):
        chosen = _with_port(load_stack(stack), port)
        who = load_traffic_split(chosen, agent)
        secrets = read_secrets()
        check_keys(chosen.hosted())
        _prepare(console, chosen)
        with _starting(chosen, who, secrets or local_secrets(), runs, console) as state:
            _explain_connection(console, state, real=secrets is not None)
            _wait_for_interrupt(console, chosen)


@app.command()
def call(
    *,
    script: Annotated[
        Path,
        typer.Option("--script", help="What the caller says, and expects.", dir_okay=False, show_default="a demo"),
    ] = DEMO_SCRIPT,
    stack: StackOption,
    agent: AgentOption = None,
    port: PortOption = None,
    runs: RunsOption = None,
) -> None:
    """Place a scripted call and watch it; exits 0 only if the conversation met its script's expectations.

    Uses the stack that is up (`trunkline serve`), or starts one for this call and stops it afterwards.
    """
    from bench.caller import CallFailed
    from bench.script import load_script
    from bench.voices import VoiceError
    from serve.demo_call import CALLER_WEIGHTS, simulated_caller

    console = _console()
    with _plain_errors(console, CallFailed, VoiceError):
        play = load_script(script)
        chosen = load_stack(stack)
        who = load_traffic_split(chosen, agent)
        home = home_folder()
        up = find_running(home)
        if up is not None and up.agent != who.first.name:
            raise StackError(
                f"the stack that is up (process {up.pid}) answers as '{up.agent}', not as '{who.first.name}'; "
                "stop it, or leave out --agent"
            )
        if up is None:
            check_keys(chosen.hosted())
        _prepare(console, chosen, CALLER_WEIGHTS)
        with simulated_caller(play, home) as caller:
            if up is not None:
                console.print(f"Using the stack that is up at {up.url}.")
                # An earlier call may have booked what this one's script wants.
                reset_back_office(up)
                outcome = asyncio.run(_call(up, caller, console))
            else:
                here = _with_port(chosen, port or usable_port(chosen.gateway))
                with _starting(here, who, local_secrets(), runs, console) as state:
                    outcome = asyncio.run(_call(state, caller, console))
    raise typer.Exit(outcome)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A call's folder below runs/.", exists=True, file_okay=False)],
) -> None:
    """Write report.html into the folder of a call that has been saved, and print its path."""
    from serve.report import ReportError, write_report

    console = _console()
    with _plain_errors(console, ReportError):
        console.print(str(write_report(folder)), soft_wrap=True)


@app.command()
def check(
    *,
    stack: StackOption,
    agent: AgentOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only look whether weights are there.")] = False,
) -> None:
    """Check everything a start needs (files, weights, memory, port, tools) and exit 1 if something is amiss."""
    console = _console()
    findings = preflight(stack, agent, every_byte=not quick)
    table = Table(box=None, pad_edge=False)
    for title in ("", "check", "found"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.ok else "[red]no[/]", finding.what, finding.found)
    console.print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@models_app.command("list")
def list_models(
    file: Annotated[
        Path | None, typer.Argument(help="A registry of your own; none: Trunkline's.", dir_okay=False)
    ] = None,
) -> None:
    """Every entry of the registry: what it is for, its licence, and whether it is prepared."""
    console = _console()
    with _plain_errors(console):
        table = Table(box=None, pad_edge=False)
        for title in ("name", "purpose", "licence", "fetch", "state"):
            table.add_column(title, overflow="fold")
        for name, entry in (load_registry(file) if file else load_registry()).entries.items():
            name = f"{file}#{name}" if file else name
            state = "prepared" if prepared_path(name) is not None else "-"
            table.add_row(name, entry.purpose, entry.licence, f"{entry.fetched_bytes / 1e6:.0f} MB", state)
        console.print(table)


@models_app.command("add")
def add_model(
    name: Annotated[str, typer.Argument(metavar="FILE.yaml#NAME", help="A registry of your own, and the name in it.")],
    kind: Annotated[Kind, typer.Argument(help="What it is.")],
    weights: Annotated[str, typer.Argument(help="./FOLDER or hf:OWNER/NAME@REVISION.")],
) -> None:
    """Enter weights of your own, pinned as they are now, into a registry that lies beside your stack files."""
    console = _console()
    with _plain_errors(console):
        try:
            added = add(name, kind, weights)
        except OSError as error:
            raise WeightsError(f"weights {name} cannot be added: {error}") from error
        console.print(
            f"{name}: {added.fetched_bytes / 1e6:.0f} MB, digest {added.digest()}\n"
            f"To use it, name it in a stack file in the same folder: weights: {Path(name).name}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@models_app.command("prepare")
def prepare_models(
    *,
    names: NamesArgument = None,
    stack: StackOption,
    repair: Annotated[bool, typer.Option("--repair", help="Throw away what is there and prepare it anew.")] = False,
) -> None:
    """Fetch, assemble and check weights, with progress. Resumes where it was stopped; works offline afterwards."""
    from serve.demo_call import CALLER_WEIGHTS

    console = _console()
    with _plain_errors(console):
        if names:
            _prepare_names(console, _seen_from_here(names), repair=repair)
        else:
            _prepare(console, load_stack(stack), CALLER_WEIGHTS, repair=repair)


@models_app.command("verify")
def verify_models(*, names: NamesArgument = None, stack: StackOption) -> None:
    """Read every byte of prepared weights against its sha256; exits 1 if one differs."""
    from serve.demo_call import CALLER_WEIGHTS

    console = _console()
    with _plain_errors(console):
        chosen = _seen_from_here(names) if names else [*load_stack(stack).weights(), CALLER_WEIGHTS]
        reports = [verify_weights(name) for name in chosen]
        for report in reports:
            verdict = "[green]ok[/]" if report.ok else "[red]broken[/]"
            console.print(f"{verdict} {report.entry}: {report.files} files, {report.size_bytes / 1e6:.0f} MB")
            for problem in report.problems:
                console.print(f"   {problem}", markup=False, highlight=False)
        if not all(report.ok for report in reports):
            raise typer.Exit(UNMET)


async def _call(state: StackState, caller: SimulatedCaller, console: Console) -> int:
    from serve.demo_call import run_call

    await asyncio.to_thread(caller.wait)
    outcome = await run_call(state, caller, console)
    console.print(f"  report          {outcome.report}", highlight=False, soft_wrap=True)
    if not outcome.failures:
        console.print("\n[green]The conversation met its script's expectations.[/]")
        return 0
    console.print("\n[red]The conversation did not meet its script's expectations:[/]")
    for failure in outcome.failures:
        console.print(f"  - {failure}", markup=False, highlight=False)
    return UNMET


@contextmanager
def _starting(
    stack: Stack, traffic: TrafficSplit, secrets: Secrets, runs: Path | None, console: Console
) -> Iterator[StackState]:
    began_s = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"  {time.monotonic() - began_s:5.1f} s  {line}", style="dim", highlight=False)

    console.print(f"Starting the stack '{stack.name}' for {traffic.first.name} ...")
    for line in traffic.described() if len(traffic.variants) > 1 else ():
        console.print(f"  {line}", style="dim", highlight=False, markup=False)
    runs_dir = (runs or stack.gateway.runs_dir).resolve()
    with (
        _terminable(),
        running_stack(stack, traffic, secrets, home=home_folder(), runs_dir=runs_dir, progress=tell) as state,
        _terminable(),  # Once more: Ray has put its own handlers in.
    ):
        console.print(f"Up after {time.monotonic() - began_s:.0f} s.")
        yield state
        console.print("Stopping the stack ...", style="dim")


def _seen_from_here(names: list[str]) -> list[str]:
    return [placed(name, Path.cwd()) for name in names]


def _prepare(console: Console, stack: Stack, *more: str, repair: bool = False) -> None:
    settle(
        stack.weights(),
        anew=repair,
        told=lambda line: console.print(f"{line} ...", style="dim", markup=False, soft_wrap=True),
    )
    _prepare_names(console, [*stack.weights(), *more], repair=repair)


def _prepare_names(console: Console, names: list[str], *, repair: bool = False) -> None:
    from serve.progress import RichProgress

    with RichProgress(console) as progress:
        prepare_all(names, progress, repair=repair)


def _explain_connection(console: Console, state: StackState, *, real: bool) -> None:
    console.print(f"\n[bold]{state.agent}[/] answers at {state.url} (calls are saved in {state.runs_dir}).")
    if real:
        console.print(
            f"In the Twilio console, under the number's Voice configuration, set 'A call comes in' to the webhook\n"
            f"  [bold]{state.public_url}/twilio/voice[/]  (HTTP POST)\n"
            f"and let {state.public_url} reach {state.url}, WebSockets included."
        )
    else:
        console.print(
            "It takes simulated calls only: run [bold]trunkline call[/] in a second terminal. For a real number:\n"
            f"  1. make this machine reachable over https, for example: [bold]cloudflared tunnel --url {state.url}[/]\n"
            f"     or [bold]ngrok http {state.url.rsplit(':', 1)[1]}[/]\n"
            f"  2. [bold]export {PUBLIC_URL_VARIABLE}=https://<that host> {TOKEN_VARIABLE}=<your auth token>[/]\n"
            "  3. start again, and set the number's 'A call comes in' webhook to\n"
            f"     [bold]https://<that host>/twilio/voice[/]  (HTTP POST)"
        )
    console.print("Ctrl-C stops it.\n", style="dim")


def _wait_for_interrupt(console: Console, stack: Stack) -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("\nNo new calls; those under way may end. Ctrl-C again cuts them off.", style="dim")
        wait_for_calls_to_end(stack.gateway.drain_s)


def _with_port(stack: Stack, port: int | None) -> Stack:
    if port is None:
        return stack
    return stack.model_copy(update={"gateway": stack.gateway.model_copy(update={"port": port})})


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that nothing it started is left behind.

    SIGINT is set too: a shell starts what runs in its background with SIGINT ignored.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _plain_errors(console: Console, *more: type[Exception]) -> Iterator[None]:
    """What a person can put right is told in a few lines, without a traceback."""
    try:
        yield
    except (*EXPECTED_ERRORS, *more) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        console.print("\nInterrupted.", style="dim")
        raise typer.Exit(INTERRUPTED) from None


def _console() -> Console:
    logging.basicConfig(level=logging.ERROR)
    return Console(highlight=False)


if __name__ == "__main__":
    app()
