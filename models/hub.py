"""What a repository on a hub holds, as the hub's own client tells it: names, sizes, sha256."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from pydantic import Field, ValidationError

from models.references import Repository
from models.registry import Kind, PinnedFile
from models.settings import StrictModel
from models.soundness import belonging, check_names
from models.sources import WeightsError, hub_command, last_words, run_client, sha256_of

__all__ = ["HubFiles", "list_repository"]

_LIST = """
import json, sys
from huggingface_hub import HfApi
found = HfApi().model_info(sys.argv[1], revision=sys.argv[2], files_metadata=True)
files = [
    {"name": file.rfilename, "size_bytes": file.size, "sha256": file.lfs.sha256 if file.lfs else None}
    for file in found.siblings
]
print(json.dumps({"commit": found.sha, "files": files}))
"""


class _ListedFile(StrictModel):
    name: str
    size_bytes: int | None
    sha256: str | None
    """None: a small file, which the hub keeps as git does."""


class _Listing(StrictModel):
    commit: str
    files: tuple[_ListedFile, ...]


class HubFiles(StrictModel):
    """The files of one kind of weights in a repository."""

    commit: str
    """What the revision led to."""
    files: tuple[PinnedFile, ...] = Field(min_length=1)


def list_repository(repository: Repository, kind: Kind) -> HubFiles:
    """What weights of that kind would be fetched; of large files nothing is, small ones are read.

    Raises WeightsError if the hub does not answer, has no such repository, or it lacks a file.
    """
    where = f"hub repository {repository.name}@{repository.revision}"
    said = _run([sys.executable, "-c", _LIST, repository.name, repository.revision], where)
    try:
        listing = _Listing.model_validate_json(said)
    except ValidationError as error:
        raise WeightsError(f"{where}: the hub's list of files cannot be read ({error})") from error
    known = {file.name: file for file in listing.files}
    check_names(kind, known, where)
    names = belonging(kind, known)
    small = [name for name in names if known[name].sha256 is None]
    with tempfile.TemporaryDirectory() as scratch:
        if small:
            _run(hub_command(repository.name, listing.commit, Path(scratch), small), where)
        return HubFiles(commit=listing.commit, files=tuple(_pinned(known[name], Path(scratch)) for name in names))


def _pinned(file: _ListedFile, scratch: Path) -> PinnedFile:
    if file.sha256 is not None and file.size_bytes is not None:
        return PinnedFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256)
    path = scratch / file.name
    return PinnedFile(name=file.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def _run(command: list[str], where: str) -> str:
    environment = os.environ | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        return run_client(command, environment, threading.Event())
    except subprocess.CalledProcessError as error:
        raise WeightsError(
            f"{where}: the hub did not give it ({last_words(str(error.stderr))}); check the name, the network, "
            "HF_TOKEN and HF_ENDPOINT"
        ) from error
