"""An operator's own weights: a folder is looked at, pinned, and entered into the registry of one's own.

That registry is `$TRUNKLINE_HOME/models.yaml` (models/weights.py reads it before the one that ships).
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Literal

import yaml

from models.registry import Download, Entry, FolderSource, PinnedFile, Registry, WhisperWindow, load_registry
from models.settings import parse_settings
from models.sources import WeightsError, sha256_of

__all__ = ["Kind", "add_folder"]

Kind = Literal["llm", "whisper", "encoder"]
"""'llm': a folder as transformers and vLLM read it; 'whisper': one of CTranslate2; 'encoder': the router's."""

_NEEDED: dict[Kind, tuple[str, ...]] = {
    "llm": ("config.json", "tokenizer.json", "tokenizer_config.json"),
    "whisper": ("config.json", "tokenizer.json", "model.bin"),
    "encoder": ("model.onnx", "tokenizer.json"),
}
_PURPOSES: dict[Kind, str] = {
    "llm": "A language model of one's own",
    "whisper": "A Whisper of one's own",
    "encoder": "A sentence encoder of one's own, for the router",
}
_NOT_WEIGHTS = "manifest.json"  # written by preparing, as in a folder that was prepared here


def add_folder(name: str, kind: Kind, folder: Path, registry_file: Path) -> Entry:
    """Enter the files of `folder` as `name` into `registry_file`, which is made if absent; returns the entry.

    Raises WeightsError if the folder does not hold weights of that kind, SettingsError if the name cannot be one or
    the registry cannot be read, OSError if a file cannot be read or the registry not be written.
    """
    folder = folder.expanduser().resolve()
    _look(kind, folder)
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    files = tuple(
        PinnedFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in paths
        if path.name != _NOT_WEIGHTS
    )
    added = Entry(
        purpose=_PURPOSES[kind],
        licence="the operator's",
        origin=str(folder),
        downloads=(Download(sources=(FolderSource(kind="folder", path=str(folder)),), files=files),),
        whisper_window=WhisperWindow(note="Not measured; the default policy.") if kind == "whisper" else None,
    )
    known = load_registry(registry_file).entries if registry_file.is_file() else {}
    registry = Registry.model_construct(entries=known | {name: added})
    text = yaml.safe_dump(registry.model_dump(mode="json", exclude_defaults=True), sort_keys=False, width=120)
    parse_settings(text, Registry, str(registry_file))
    registry_file.parent.mkdir(parents=True, exist_ok=True)
    partial = registry_file.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(registry_file)
    return added


def _look(kind: Kind, folder: Path) -> None:
    if not folder.is_dir():
        raise WeightsError(f"{folder}: expected a folder of {kind} weights, found none; correct the path")
    missing = [name for name in _NEEDED[kind] if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"{folder}: expected {', '.join(_NEEDED[kind])} of {kind} weights, found no {', '.join(missing)}; "
            "put what is missing there, or name the folder that holds it"
        )
    for path in sorted(folder.glob("*.json")):
        _look_at_json(path)
    if kind == "llm":
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise WeightsError(f"{folder}: expected *.safetensors, found none; convert the weights to safetensors")
        for path in weights:
            _look_at_safetensors(path)
    elif kind == "whisper":
        _look_at_ctranslate2(folder / "model.bin")


def _look_at_json(path: Path) -> None:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{path}: expected JSON, found something else ({error}); fetch the file again") from error


def _look_at_safetensors(path: Path) -> None:
    """A safetensors file is a header's length in 8 bytes, the header as JSON, and the tensors up to its last offset."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size_bytes
        header = file.read(length) if 8 + length <= size_bytes else b""
    try:
        tensors = json.loads(header)
        ends = [tensor["data_offsets"][1] for key, tensor in tensors.items() if key != "__metadata__"]
        expected_bytes = 8 + length + max(ends)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path}: expected a safetensors header, found none in its {size_bytes} bytes; fetch the file again"
        ) from error
    if size_bytes != expected_bytes:
        raise WeightsError(
            f"{path}: expected {expected_bytes} bytes by its safetensors header, found {size_bytes}; "
            "fetch the file again"
        )


def _look_at_ctranslate2(path: Path) -> None:
    """CTranslate2's file begins with a version (4 bytes), the length of the model's kind (2), and the kind."""
    with path.open("rb") as file:
        start = file.read(6)
        kind = file.read(min(struct.unpack("<IH", start)[1], 64)) if len(start) == 6 else b""
    if kind != b"WhisperSpec\0":
        found = kind.rstrip(b"\0").decode("ascii", errors="replace") or "nothing"
        raise WeightsError(
            f"{path}: expected CTranslate2's WhisperSpec, found {found!r}; convert the model with "
            "ct2-transformers-converter"
        )
