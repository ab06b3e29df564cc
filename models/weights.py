"""Where weights come from: fetched, assembled, pinned and checked before use.

What `weights:` of a stack file may name (models/references.py) leads to an entry, as models/registry.yaml shows them;
an entry is prepared once into `$TRUNKLINE_HOME/models/<name>-<digest>/` (by default under
~/.cache/trunkline) and is then used offline. The digest covers every pinned byte and every assembly step, so a changed
entry gets a folder of its own and a prepared folder never changes. Preparing is atomic (the folder appears by one
rename), safe beside other processes (a file lock for each entry), and resumable (downloaded files are kept, checked, in
`downloads/` until the entry is assembled).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from pydantic import ValidationError

from models.pins import read_pin
from models.references import Listed, parse, short_name
from models.registry import (
    Entry,
    Join,
    PinnedFile,
    Registry,
    Step,
    WhisperWindow,
    load_registry,
    placed_entry,
)
from models.settings import SettingsError, StrictModel
from models.soundness import look
from models.sources import Cancelled, WeightsError, fetch, run_client, sha256_of

__all__ = [
    "Entry",
    "Progress",
    "Registry",
    "VerifyReport",
    "WeightsError",
    "WhisperWindow",
    "entry",
    "home_folder",
    "prepare",
    "prepare_all",
    "prepared_path",
    "verify",
]

_MANIFEST = "manifest.json"
_DOWNLOADS_AT_ONCE = 4
_ENTRIES_AT_ONCE = 3
_HASHES_AT_ONCE = 2


class Progress(Protocol):
    """Told how preparing goes, from several threads. `entry` is always the entry's name."""

    def start(self, entry: str, total_bytes: int | None) -> None:
        """An entry that is not prepared yet begins; `total_bytes` is what will be fetched, None if not known."""

    def advance(self, entry: str, count_bytes: int) -> None:
        """So many more bytes are here (negative if a source failed and the next one starts over)."""

    def step(self, entry: str, text: str) -> None:
        """What happens now, such as 'fetching' or 'assembling: join'."""

    def done(self, entry: str) -> None:
        """The entry is prepared and checked. Called for entries that were prepared already, too."""


class _Silent:
    def start(self, entry: str, total_bytes: int | None) -> None: ...
    def advance(self, entry: str, count_bytes: int) -> None: ...
    def step(self, entry: str, text: str) -> None: ...
    def done(self, entry: str) -> None: ...


class Manifest(StrictModel):
    """What a prepared folder holds; written last, so a folder with a manifest is complete."""

    entry: str
    """What it was prepared as."""
    files: tuple[PinnedFile, ...]
    """Every file beside the manifest."""
    sources: tuple[str, ...]
    """Which source gave each download."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Outcome of checking every byte of a prepared entry."""

    entry: str
    path: Path
    files: int
    size_bytes: int
    problems: tuple[str, ...]
    """One line each, naming file, expected and found; empty if all is well."""

    @property
    def ok(self) -> bool:
        return not self.problems


def home_folder(home: Path | None = None) -> Path:
    """`home`, or `$TRUNKLINE_HOME`, or ~/.cache/trunkline."""
    if home is not None:
        return home
    chosen = os.environ.get("TRUNKLINE_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "trunkline"


def entry(reference: str, registry: Registry | None = None) -> Entry:
    """The entry that a stack file's `weights` leads to; a plain name is looked up in `registry`, by default the one
    that ships with Trunkline. Raises WeightsError if there is none; of a folder or repository, if it is not pinned."""
    named = parse(reference)
    if not isinstance(named, Listed):
        pin = read_pin(reference, home_folder())
        if pin is None:
            raise WeightsError(f"{reference} is not prepared; run: trunkline models prepare --stack FILE")
        return pin.entry
    if named.registry is None:
        where = "the registry (your own are written ./FOLDER, hf:OWNER/NAME or FILE.yaml#NAME)"
        return _listed(named.name, registry or load_registry(), where)
    try:
        own = load_registry(named.registry)
    except SettingsError as error:
        raise WeightsError(str(error)) from error
    return placed_entry(_listed(named.name, own, str(named.registry)), named.registry.parent)


def _listed(name: str, registry: Registry, where: str) -> Entry:
    if name not in registry.entries:
        raise WeightsError(f"no weights called {name!r} in {where}; known are: {', '.join(sorted(registry.entries))}")
    return registry.entries[name]


def prepared_path(name: str, *, home: Path | None = None, registry: Registry | None = None) -> Path | None:
    """The entry's folder if it has been prepared, else None. Looks, but checks nothing. Raises WeightsError."""
    folder = _folder(name, entry(name, registry), home_folder(home))
    return folder if (folder / _MANIFEST).is_file() else None


def prepare(
    name: str,
    *,
    progress: Progress | None = None,
    home: Path | None = None,
    registry: Registry | None = None,
    repair: bool = False,
) -> Path:
    """The folder of the entry `name`, fetched and assembled if need be, every byte of it checked in any case.

    `repair` throws an existing folder away first. Prepared entries need no network and start no process.
    Raises WeightsError if it cannot be fetched or assembled, or if a prepared file is not as pinned.
    """
    chosen = {name: entry(name, registry)}
    return _prepare_entries(chosen, progress or _Silent(), home_folder(home), repair)[name]


def prepare_all(
    names: Iterable[str],
    progress: Progress | None = None,
    *,
    home: Path | None = None,
    registry: Registry | None = None,
    repair: bool = False,
) -> dict[str, Path]:
    """`prepare` for several entries, some at a time; the first failure stops the others. Raises WeightsError."""
    known = registry or load_registry()
    chosen = {name: entry(name, known) for name in names}
    return _prepare_entries(chosen, progress or _Silent(), home_folder(home), repair)


def verify(name: str, *, home: Path | None = None, registry: Registry | None = None) -> VerifyReport:
    """Check every byte of a prepared entry. Raises WeightsError if it is not prepared."""
    wanted = entry(name, registry)
    folder = _folder(name, wanted, home_folder(home))
    if not (folder / _MANIFEST).is_file():
        raise WeightsError(f"{name} is not prepared ({folder} is absent); run: trunkline models prepare {name}")
    files, problems = _expected(name, wanted, folder)
    problems += _check(folder, files)
    size_bytes = sum(file.size_bytes for file in files)
    return VerifyReport(name, folder, len(files), size_bytes, tuple(problems))


def _folder(name: str, wanted: Entry, home: Path) -> Path:
    return home / "models" / f"{short_name(name)}-{wanted.digest()}"


def _expected(name: str, wanted: Entry, folder: Path) -> tuple[list[PinnedFile], list[str]]:
    """What the folder should hold: as pinned, and for files that are not, as recorded when they were made."""
    files = {file.name: file for file in wanted.kept()}
    try:
        manifest = Manifest.model_validate_json((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        return list(files.values()), [f"{name}: {_MANIFEST} cannot be read ({type(error).__name__})"]
    return [*files.values(), *(file for file in manifest.files if file.name not in files)], []


def _check(folder: Path, files: Sequence[PinnedFile]) -> list[str]:
    with ThreadPoolExecutor(_HASHES_AT_ONCE) as pool:
        return [problem for problem in pool.map(lambda file: _problem(folder / file.name, file), files) if problem]


def _problem(path: Path, file: PinnedFile) -> str | None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != file.size_bytes:
            return f"{path}: expected {file.size_bytes} bytes, found {size_bytes}"
        found = sha256_of(path)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    return None if found == file.sha256 else f"{path}: expected sha256 {file.sha256}, found {found}"


def _prepare_entries(chosen: dict[str, Entry], progress: Progress, home: Path, repair: bool) -> dict[str, Path]:
    cancel = threading.Event()
    with (
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, "weights-fetch") as fetchers,
        ThreadPoolExecutor(_ENTRIES_AT_ONCE, "weights-entry") as entries,
    ):
        order = sorted(chosen, key=lambda name: _conversion_bytes(chosen[name]), reverse=True)
        jobs = {
            name: entries.submit(_Preparation(name, chosen[name], home, progress, fetchers, cancel).run, repair)
            for name in order
        }
        try:
            wait(jobs.values(), return_when=FIRST_EXCEPTION)
        finally:
            if not all(job.done() and job.exception() is None for job in jobs.values()):
                cancel.set()
                for job in jobs.values():
                    job.cancel()
    failures = [job.exception() for job in jobs.values() if not job.cancelled()]
    for failure in sorted(filter(None, failures), key=lambda failure: isinstance(failure, Cancelled)):
        raise failure
    return {name: jobs[name].result() for name in chosen}


def _conversion_bytes(wanted: Entry) -> tuple[int, int]:
    """Orders entries: what takes longest to convert starts first, so that it runs while the rest is being fetched."""
    consumed = {name for step in wanted.steps if not isinstance(step, Join) for name in step.consumes()}
    converted = (file.size_bytes for download in wanted.downloads for file in download.files if file.name in consumed)
    return sum(converted), wanted.fetched_bytes


class _Preparation:
    """One entry's way from nothing to a checked folder."""

    def __init__(
        self,
        name: str,
        wanted: Entry,
        home: Path,
        progress: Progress,
        fetchers: ThreadPoolExecutor,
        cancel: threading.Event,
    ) -> None:
        self._name = name
        self._entry = wanted
        self._progress = progress
        self._fetchers = fetchers
        self._cancel = cancel
        self._folder = _folder(name, wanted, home)
        self._staging = home / "downloads" / self._folder.name
        self._lock = home / "locks" / f"{self._folder.name}.lock"

    def run(self, repair: bool) -> Path:
        if repair or not (self._folder / _MANIFEST).is_file():
            try:
                self._make(repair)
            except OSError as error:
                raise WeightsError(
                    f"weights {self._name} cannot be written under {self._folder.parent.parent}: {error}; make room "
                    "there, or set TRUNKLINE_HOME to another folder"
                ) from error
        else:
            self._trust()
        self._progress.done(self._name)
        return self._folder

    def _trust(self) -> None:
        self._progress.step(self._name, "checking")
        files, problems = _expected(self._name, self._entry, self._folder)
        problems += _check(self._folder, files)
        if problems:
            raise WeightsError(
                f"weights {self._name} are damaged and will not be used:\n  "
                + "\n  ".join(problems)
                + f"\nTo fetch them again, run: trunkline models prepare --repair {self._name}"
            )

    def _make(self, repair: bool) -> None:
        for folder in (self._folder.parent, self._staging, self._lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._progress.step(self._name, "waiting for another process that prepares it")
            self._await(lock)
        try:
            if (self._folder / _MANIFEST).is_file() and not repair:
                self._trust()
            else:
                self._fetch_and_assemble()
        finally:
            lock.release()

    def _await(self, lock: FileLock) -> None:
        while True:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:
                if self._cancel.is_set():
                    raise Cancelled("preparing was interrupted") from None
            else:
                return

    def _fetch_and_assemble(self) -> None:
        self._progress.start(self._name, self._entry.fetched_bytes)
        self._progress.step(self._name, "fetching")
        self._clear_leftovers()

        def advance(count_bytes: int) -> None:
            self._progress.advance(self._name, count_bytes)

        jobs = [
            self._fetchers.submit(fetch, download, self._staging, advance, self._cancel)
            for download in self._entry.downloads
        ]
        wait(jobs)
        for job in jobs:
            failure = job.exception()
            if isinstance(failure, WeightsError) and not isinstance(failure, Cancelled):
                raise WeightsError(f"weights {self._name}: {failure}") from failure
        sources = tuple(job.result() for job in jobs)

        with tempfile.TemporaryDirectory(prefix=f".{self._folder.name}-", dir=self._folder.parent) as scratch:
            work = Path(scratch) / "work"
            for download in self._entry.downloads:
                for file in download.files:
                    _link(self._staging / file.name, work / file.name)
            for step in self._entry.steps:
                self._progress.step(self._name, f"assembling: {step.step}")
                self._run_step(step, work)
                for name in step.consumes():
                    (work / name).unlink()
            self._seal(work, sources)
            if self._folder.exists():
                self._folder.replace(Path(scratch) / "old")
            work.replace(self._folder)
        shutil.rmtree(self._staging)

    def _clear_leftovers(self) -> None:
        """Remove what a killed process left; whoever holds the lock is alone."""
        for folder in (*self._folder.parent.glob(f".{self._folder.name}-*"), *self._staging.glob(".fetch-*")):
            shutil.rmtree(folder)

    def _run_step(self, step: Step, work: Path) -> None:
        if isinstance(step, Join):
            from models.assembly import run_step

            run_step(step, work)
            return
        root = str(Path(__file__).resolve().parent.parent)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        command = [sys.executable, "-m", "models.assembly", str(work), step.model_dump_json()]
        try:
            run_client(command, environment, self._cancel)
        except subprocess.CalledProcessError as error:
            lines = str(error.stderr).strip().splitlines()
            said = lines[-1] if lines else f"it ended with {error.returncode}"
            raise WeightsError(f"weights {self._name}: the step {step.step} failed: {said}") from error

    def _seal(self, work: Path, sources: tuple[str, ...]) -> None:
        """Check what was made against the pins and write the manifest."""
        self._progress.step(self._name, "checking")
        problems = _check(work, self._entry.made)
        if problems:
            raise WeightsError(
                f"weights {self._name}: assembly made something else than pinned:\n  "
                + "\n  ".join(problems)
                + "\nAre the libraries those of requirements.lock? To fetch and assemble again, run: "
                f"trunkline models prepare --repair {self._name}"
            )
        if self._entry.kind is not None:
            try:
                look(self._entry.kind, work)
            except WeightsError as error:
                told = str(error).replace(f"{work}{os.sep}", "").replace(str(work), "the prepared folder")
                raise WeightsError(f"weights {self._name}: {told}") from error
        pinned = {file.name: file for file in self._entry.kept()}
        files = []
        for path in sorted(work.rglob("*")):
            name = path.relative_to(work).as_posix()
            if path.is_file():
                path.chmod(0o644)
                files.append(
                    pinned.get(name) or PinnedFile(name=name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
                )
        manifest = Manifest(entry=self._name, files=tuple(files), sources=sources)
        (work / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """A second name for the file, so that what was fetched survives a failed assembly; a copy where links fail."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
