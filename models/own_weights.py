"""An operator's own weights: a folder or a hub's repository is looked at and pinned.

Pinned either below `$TRUNKLINE_HOME` (what a stack file names straight away) or in a registry of one's own, which a
team can keep beside its stack files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from models.hub import list_repository
from models.pins import Pin, SeenFile, read_pin, write_pin
from models.references import Folder, Listed, Repository, parse
from models.registry import (
    BuildSentenceEncoder,
    CutKokoro,
    Download,
    Entry,
    FolderSource,
    HubSource,
    Kind,
    PinnedFile,
    Registry,
    Step,
    WhisperWindow,
    load_registry,
)
from models.settings import parse_settings
from models.soundness import belonging, files_below, look
from models.sources import WeightsError, sha256_of
from models.weights import entry, home_folder

__all__ = ["add", "check", "settle"]

_PURPOSES: dict[Kind, str] = {
    "llm": "A language model of one's own",
    "whisper": "A Whisper of one's own",
    "voice": "Kokoro voices of one's own",
    "encoder": "A sentence encoder of one's own, for the router",
    "vad": "A Silero VAD of one's own",
    "turn": "A Smart Turn of one's own",
}


def settle(
    references: Mapping[str, Kind], *, anew: bool = False, told: Callable[[str], None] = lambda line: None
) -> None:
    """See to it that `entry` knows an entry of the right kind for every one of them; `prepare` can fetch it then.

    Folders are looked at, and read if they changed since they were pinned. Hubs are asked for what is not pinned yet;
    `anew`: for all. `told`: of what may take a while. Raises WeightsError if one leads nowhere, to another kind or to
    rubbish.
    """
    for reference, kind in references.items():
        match parse(reference):
            case Listed():
                _check_kind(reference, kind)
            case Folder(path):
                _check_folder(kind, path)
                pin = read_pin(reference, home_folder())
                if pin is None or pin.entry.kind != kind or pin.seen != _seen(kind, path):
                    told(f"reading {path}")
                    write_pin(_pin_of_folder(reference, kind, path), home_folder())
            case Repository() as repository:
                pin = read_pin(reference, home_folder())
                if anew or pin is None or pin.entry.kind != kind:
                    told(f"asking the hub for {repository.name}@{repository.revision}")
                    write_pin(Pin(reference=reference, entry=_entry_of_repository(repository, kind)), home_folder())


def check(reference: str, kind: Kind) -> None:
    """Raises WeightsError if weights of that kind cannot be had by that name, as far as a look at headers tells.

    Asks no hub and reads no whole file but small ones.
    """
    named = parse(reference)
    if isinstance(named, Folder):
        _check_folder(kind, named.path)
    _check_kind(reference, kind)
    if isinstance(named, Folder):
        pin = read_pin(reference, home_folder())
        if pin is not None and pin.seen != _seen(kind, named.path):
            raise WeightsError(f"{named.path}: a file has changed since it was prepared; prepare it again")


def add(target: str, kind: Kind, weights: str) -> Entry:
    """Enter a folder or a hub's repository as `target`, FILE.yaml#NAME, into that file, which is made if absent.

    A folder that is given by a relative path is written down as seen from the file: both can move together.
    Raises WeightsError if `weights` does not hold weights of that kind or `target` is no such name, SettingsError if
    the file cannot be read, OSError if it cannot be written.
    """
    named, what = parse(target), parse(weights)
    if not isinstance(named, Listed) or named.registry is None:
        raise WeightsError(f"{target!r}: expected FILE.yaml#NAME, the registry of your own and the name in it")
    file = named.registry.resolve()
    match what:
        case Folder(path):
            _check_folder(kind, path)
            shown = str(path) if path.is_absolute() else os.path.relpath(path.resolve(), file.parent)
            added = _entry_of_folder(path, kind, shown)
        case Repository():
            added = _entry_of_repository(what, kind)
        case Listed():
            raise WeightsError(f"{weights!r}: expected a folder (./FOLDER or /FOLDER) or hf:OWNER/NAME@REVISION")
    known = load_registry(file).entries if file.is_file() else {}
    registry = Registry.model_construct(entries=known | {named.name: added})
    text = yaml.safe_dump(registry.model_dump(mode="json", exclude_defaults=True), sort_keys=False, width=120)
    parse_settings(text, Registry, str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
    return added


def _check_kind(reference: str, kind: Kind) -> None:
    found = entry(reference).kind
    if found != kind:
        raise WeightsError(
            f"weights {reference}: its place in the stack file wants {kind} weights, found "
            f"{f'{found} weights' if found else 'an entry without a `kind`'}; name others there"
        )


def _check_folder(kind: Kind, folder: Path) -> None:
    try:
        look(kind, folder)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be read ({error}); let this user read it") from error


def _seen(kind: Kind, folder: Path) -> tuple[SeenFile, ...]:
    status = {name: (folder / name).stat() for name in belonging(kind, files_below(folder))}
    return tuple(
        SeenFile(name=name, size_bytes=found.st_size, changed_ns=found.st_mtime_ns) for name, found in status.items()
    )


def _pin_of_folder(reference: str, kind: Kind, folder: Path) -> Pin:
    # Before the files are read: one that changes meanwhile is read again the next time.
    seen = _seen(kind, folder)
    return Pin(reference=reference, entry=_entry_of_folder(folder, kind, str(folder)), seen=seen)


def _entry_of_folder(folder: Path, kind: Kind, shown: str) -> Entry:
    files = tuple(
        PinnedFile(name=name, size_bytes=(folder / name).stat().st_size, sha256=sha256_of(folder / name))
        for name in belonging(kind, files_below(folder))
    )
    return _entry(kind, files, FolderSource(kind="folder", path=shown), "the operator's", shown)


def _entry_of_repository(repository: Repository, kind: Kind) -> Entry:
    found = list_repository(repository, kind)
    source = HubSource(kind="hub", repository=repository.name, revision=found.commit)
    return _entry(kind, found.files, source, "as its repository says", source.describe())


def _entry(
    kind: Kind, files: tuple[PinnedFile, ...], source: FolderSource | HubSource, licence: str, origin: str
) -> Entry:
    return Entry(
        purpose=_PURPOSES[kind],
        kind=kind,
        licence=licence,
        origin=origin,
        downloads=(Download(sources=(source,), files=files),),
        steps=_steps(kind, {file.name for file in files}),
        whisper_window=WhisperWindow(note="Not measured; the default policy.") if kind == "whisper" else None,
    )


def _steps(kind: Kind, names: set[str]) -> tuple[Step, ...]:
    if kind == "voice":
        from models.kokoro_graph import DURATIONS, FEATURES, HARMONICS, STYLE

        return (CutKokoro(step="cut-kokoro", cut_at=(FEATURES, HARMONICS, STYLE), durations=DURATIONS),)
    if kind == "encoder" and "model.onnx" not in names:
        return (BuildSentenceEncoder(step="build-sentence-encoder"),)
    return ()
