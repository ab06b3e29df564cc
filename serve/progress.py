"""Shows on a terminal, or line by line elsewhere, how weights are being prepared."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeElapsedColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

__all__ = ["RichProgress"]


class RichProgress:
    """A `models.weights.Progress`: a bar for each entry on a terminal, one printed line a step where there is none.

    Use as a context manager, so that the terminal is restored. Methods may be called from any thread. Entries that
    were prepared already and are only checked get no bar and no line.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = self._console.is_terminal
        self._bars = Bars(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}"),
            console=self._console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> RichProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, entry: str, total_bytes: int | None) -> None:
        """Begin a bar, or print that an entry of so many bytes begins."""
        self._tasks[entry] = self._bars.add_task(entry, total=total_bytes, step="")
        size = "" if total_bytes is None else f" ({total_bytes / 1e6:.0f} MB)"
        self._say(entry, f"preparing{size}")

    def advance(self, entry: str, count_bytes: int) -> None:
        """Move the entry's bar; prints nothing."""
        if entry in self._tasks:
            self._bars.advance(self._tasks[entry], count_bytes)

    def step(self, entry: str, text: str) -> None:
        """Say beside the bar, or on a line, what happens now."""
        if entry in self._tasks:
            self._bars.update(self._tasks[entry], step=text)
            self._say(entry, text)

    def done(self, entry: str) -> None:
        """Mark the entry as ready."""
        if entry in self._tasks:
            self._bars.update(self._tasks[entry], step="ready")
            self._bars.stop_task(self._tasks[entry])
            self._say(entry, "ready")

    def _say(self, entry: str, text: str) -> None:
        if not self._live:
            self._console.print(f"{entry}: {text}", highlight=False, soft_wrap=True)
