"""`trunkline cluster ...`: what a stack on several machines is deployed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.settings import SettingsError
from serve.cluster import serve_config
from serve.config import load_stack
from serve.ray_switches import ray_switches

cluster_app = typer.Typer(help="A stack on several machines: docs/cluster.md.", no_args_is_help=True)

StackArgument = Annotated[Path, typer.Argument(help="Stack file.", dir_okay=False)]


@cluster_app.command()
def config(
    stack: StackArgument,
    at: Annotated[
        Path | None, typer.Option("--at", help="Where it lies on the nodes.", show_default="as given")
    ] = None,
) -> None:
    """The Serve config, for `serve deploy` or as a RayService's serveConfigV2."""
    try:
        typer.echo(serve_config(stack, at or stack.absolute()), nl=False)
    except SettingsError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


@cluster_app.command()
def env(stack: StackArgument) -> None:
    """What every node's environment must have before `ray start`, beside a RAY_AUTH_TOKEN of your own."""
    try:
        for name, value in ray_switches(load_stack(stack).gateway).items():
            typer.echo(f"export {name}={value}")
    except SettingsError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
