"""How weights are named: the four things that may stand after `weights:` in a stack file.

`NAME` (the registry that ships with Trunkline), `FILE.yaml#NAME` (a registry of one's own), a folder (written with a
slash: `./clinic-whisper`), `hf:OWNER/NAME@REVISION` (a repository on a hub).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.sources import WeightsError

__all__ = ["Folder", "Listed", "Reference", "Repository", "parse", "placed", "short_name"]

HUB = "hf:"
_NAME = r"[a-z0-9][a-z0-9._-]*"
_LISTED = re.compile(rf"(?:(?P<file>.+\.ya?ml)#)?(?P<name>{_NAME})")
_REPOSITORY = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a registry."""

    name: str
    registry: Path | None
    """None: the one that ships with Trunkline."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on a hub."""

    name: str
    revision: str
    """Branch, tag or commit."""


Reference = Listed | Folder | Repository


def parse(reference: str) -> Reference:
    """What `reference` names. Raises WeightsError if it has none of the four forms."""
    if reference.startswith(HUB):
        if found := _REPOSITORY.fullmatch(reference):
            return Repository(found["repository"], found["revision"] or "main")
    elif found := _LISTED.fullmatch(reference):
        return Listed(found["name"], Path(found["file"]).expanduser() if found["file"] else None)
    elif "/" in reference or reference.startswith("."):
        return Folder(Path(reference).expanduser())
    raise WeightsError(
        f"{reference!r} names no weights; expected a name of `trunkline models list`, FILE.yaml#NAME of a registry of "
        "your own, a folder (./FOLDER or /FOLDER), or hf:OWNER/NAME@REVISION"
    )


def placed(reference: str, folder: Path) -> str:
    """The same with its path, if it has one, seen from `folder`: it means the same wherever it is read then.

    Raises WeightsError if it has none of the four forms.
    """
    match parse(reference):
        case Folder(path):
            return str((folder / path).resolve())
        case Listed(name, Path() as registry):
            return f"{(folder / registry).resolve()}#{name}"
    return reference


def short_name(reference: str) -> str:
    """What folders and files that belong to it are called. Raises WeightsError."""
    match parse(reference):
        case Listed(name):
            return name
        case Folder(path):
            name = path.name
        case Repository(repository):
            name = repository.rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).lstrip("._-") or "weights"
