"""What a folder or a hub's repository held when it was pinned, kept below `$TRUNKLINE_HOME/pins`.

A stack file that names a folder or a repository says nothing of its bytes. Preparing writes them down here, as an entry
like a registry's, and every process of the stack then means the same bytes by the name.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from models.references import short_name
from models.registry import Entry
from models.settings import StrictModel
from models.sources import WeightsError

__all__ = ["Pin", "SeenFile", "read_pin", "write_pin"]


class SeenFile(StrictModel):
    """A file as it lay in a folder: another size or time of change, and it is read anew."""

    name: str
    size_bytes: int
    changed_ns: int


class Pin(StrictModel):
    """One reference, and what it stands for."""

    reference: str
    entry: Entry
    seen: tuple[SeenFile, ...] = ()
    """A folder's files; of a repository none, whose commit stands in the entry."""


def read_pin(reference: str, home: Path) -> Pin | None:
    """What was pinned under that name, or None. Raises WeightsError if it cannot be read."""
    path = _file(reference, home)
    try:
        return Pin.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise WeightsError(f"{path}: expected a pin of {reference}; remove the file ({error})") from error


def write_pin(pin: Pin, home: Path) -> None:
    """Keep it in place of what was pinned before. Raises WeightsError if it cannot be written."""
    path = _file(pin.reference, home)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(pin.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror}); make room, or set TRUNKLINE_HOME") from error


def _file(reference: str, home: Path) -> Path:
    digest = hashlib.sha256(reference.encode()).hexdigest()[:12]
    return home / "pins" / f"{short_name(reference)}-{digest}.json"
