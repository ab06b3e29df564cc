"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve.cards import default_stack

StackOption = Annotated[
    Path,
    typer.Option(
        "--stack",
        help="Stack file: what runs where.",
        dir_okay=False,
        default_factory=default_stack,
        show_default="embedded; on a machine with GPUs the one that fits them",
    ),
]
