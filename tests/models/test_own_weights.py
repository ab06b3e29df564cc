"""Weights of one's own: named straight away or in a registry of one's own, pinned, and refused if they are rubbish."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from models.hub import list_repository
from models.own_weights import add, check, settle
from models.references import Repository
from models.registry import Kind, load_registry
from models.settings import SettingsError
from models.weights import WeightsError, entry, prepare, prepared_path, verify
from tests.models.hub import COMMIT, FakeHub
from tests.models.weights import KINDS, files_of, folder_of, sentence_transformer


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_prepared_straight_away(kind: Kind, tmp_path: Path) -> None:
    folder = folder_of(kind, tmp_path / "Own Weights")
    with pytest.raises(WeightsError, match="is not prepared"):
        check(str(folder), kind)

    settle({str(folder): kind})
    prepared = prepare(str(folder))

    assert prepared.name.startswith("own-weights-")
    for name, data in files_of(kind).items():
        assert (prepared / name).read_bytes() == data
    assert (prepared / "front.onnx").is_file() == (kind == "voice")
    assert verify(str(folder)).ok
    assert (entry(str(folder)).whisper_window is not None) == (kind == "whisper")
    check(str(folder), kind)


def test_a_sentence_transformer_is_built_into_a_graph(tmp_path: Path) -> None:
    (tmp_path / "own" / "1_Pooling").mkdir(parents=True)
    for name, data in sentence_transformer().items():
        (tmp_path / "own" / name).write_bytes(data)

    settle({str(tmp_path / "own"): "encoder"})
    prepared = prepare(str(tmp_path / "own"))

    assert (prepared / "model.onnx").is_file()
    assert not (prepared / "model.safetensors").exists()


def test_a_folder_that_changed_is_another_one_from_the_next_preparation_on(tmp_path: Path) -> None:
    folder = folder_of("whisper", tmp_path / "own")
    settle({str(folder): "whisper"})
    first = prepare(str(folder))
    digest = entry(str(folder)).digest()
    (folder / "config.json").write_text('{"changed": true}')

    assert entry(str(folder)).digest() == digest
    with pytest.raises(WeightsError, match="has changed since it was prepared"):
        check(str(folder), "whisper")

    settle({str(folder): "whisper"})
    assert entry(str(folder)).digest() != digest
    assert prepare(str(folder)) != first


def test_a_folder_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    folder = folder_of("vad", tmp_path / "own")
    settle({str(folder): "vad"})
    digest, status = entry(str(folder)).digest(), (folder / "silero_vad.onnx").stat()
    (folder / "silero_vad.onnx").write_bytes((folder / "silero_vad.onnx").read_bytes())
    os.utime(folder / "silero_vad.onnx", ns=(status.st_atime_ns, status.st_mtime_ns))
    (folder / "notes.txt").write_text("nothing that is prepared")

    settle({str(folder): "vad"})

    assert entry(str(folder)).digest() == digest
    check(str(folder), "vad")
    assert prepared_path(str(folder)) is None


@pytest.mark.parametrize("done", [check, lambda reference, kind: settle({reference: kind})])
def test_what_is_not_there_or_of_another_kind_is_told_by_check_and_before_it_is_prepared(
    done: Callable[[str, Kind], None], tmp_path: Path
) -> None:
    folder_of("whisper", tmp_path / "own")
    for reference, kind, told in (
        (str(tmp_path / "nowhere"), "whisper", "nowhere: expected a folder of whisper weights, found none"),
        (str(tmp_path / "own"), "llm", "they look like whisper weights"),
        ("whisper-base", "encoder", "wants encoder weights, found whisper weights"),
        ("piper-joe", "voice", "found an entry without a `kind`"),
        (f"{tmp_path}/team.yaml#mine", "llm", "team.yaml: cannot be read"),
    ):
        with pytest.raises(WeightsError, match=told):
            done(reference, kind)


def test_a_pin_that_cannot_be_read_is_told(home: Path, tmp_path: Path) -> None:
    folder = folder_of("vad", tmp_path / "own")
    settle({str(folder): "vad"})
    (pin,) = (home / "pins").iterdir()
    pin.write_text("{")

    with pytest.raises(WeightsError, match=f"{pin.name}: expected a pin of {folder}; remove the file"):
        entry(str(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_entered_into_a_registry_that_can_move_with_it(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(kind, tmp_path / "team" / "weights" / "own")
    monkeypatch.chdir(tmp_path)
    add("team/stacks/models.yaml#mine", kind, "team/weights/own")
    (tmp_path / "team").rename(tmp_path / "moved")
    mine = f"{tmp_path}/moved/stacks/models.yaml#mine"

    assert "path: ../weights/own" in (tmp_path / "moved" / "stacks" / "models.yaml").read_text()
    check(mine, kind)
    settle({mine: kind})
    assert (prepare(mine) / next(iter(files_of(kind)))).is_file()


def test_a_registry_of_ones_own_keeps_its_other_entries_and_takes_no_name_from_what_ships(tmp_path: Path) -> None:
    file, folder = tmp_path / "models.yaml", folder_of("whisper", tmp_path / "own")
    add(f"{file}#other", "whisper", str(folder))
    added = add(f"{file}#whisper-base", "whisper", str(folder))

    assert set(load_registry(file).entries) == {"other", "whisper-base"}
    assert entry(f"{file}#whisper-base").digest() == added.digest() != entry("whisper-base").digest()
    with pytest.raises(WeightsError, match=r"no weights called 'mine' in .*models\.yaml; known are: other, whisper-b"):
        entry(f"{file}#mine")


def test_what_was_entered_and_changed_since_is_refused(tmp_path: Path) -> None:
    file, folder = tmp_path / "models.yaml", folder_of("whisper", tmp_path / "own")
    add(f"{file}#mine", "whisper", str(folder))
    (folder / "config.json").write_text('{"changed": true}')

    with pytest.raises(WeightsError, match=r"config\.json is not the pinned file"):
        prepare(f"{file}#mine")


@pytest.mark.parametrize(
    ("target", "weights", "told"),
    [
        ("mine", "./own", "expected FILE.yaml#NAME"),
        ("models.yaml#Not A Name", "./own", "names no weights"),
        ("models.yaml#mine", "own", r"expected a folder \(./FOLDER"),
        ("models.yaml#mine", "./nowhere", "found none"),
    ],
)
def test_what_cannot_be_entered_is_refused(
    target: str, weights: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of("whisper", tmp_path / "own")
    with pytest.raises(WeightsError, match=told):
        add(target, "whisper", weights)
    assert not list(tmp_path.glob("*.yaml"))


def test_a_registry_with_a_mistake_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("entries: {mine: 5}")
    with pytest.raises(SettingsError, match=r"entries\.mine"):
        add(f"{tmp_path}/models.yaml#other", "whisper", str(folder_of("whisper", tmp_path / "own")))
    assert (tmp_path / "models.yaml").read_text() == "entries: {mine: 5}"


def test_a_repository_is_pinned_to_its_commit_and_needs_no_hub_afterwards(
    hub: Callable[[FakeHub], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = files_of("whisper") | {"model.bin": files_of("whisper")["model.bin"], "README.md": b"hello"}
    fake = FakeHub("acme/Clinic-Whisper", "v1", large, large_bytes=len(large["model.bin"]))
    hub(fake)
    reference = "hf:acme/Clinic-Whisper@v1"

    settle({reference: "whisper"})
    assert not any(path.endswith("model.bin") for path in fake.asked)
    (download,) = entry(reference).downloads
    assert [source.describe() for source in download.sources] == [f"hub repository acme/Clinic-Whisper@{COMMIT}"]
    prepared = prepare(reference)

    assert sorted(path.name for path in prepared.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.json",
    ]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    settle({reference: "whisper"})
    check(reference, "whisper")
    assert prepare(reference) == prepared
    assert verify(reference).ok


def test_a_branch_is_followed_only_when_it_is_asked_for_anew(hub: Callable[[FakeHub], None]) -> None:
    fake = FakeHub("acme/vad", "main", files_of("vad"))
    hub(fake)
    told: list[str] = []
    settle({"hf:acme/vad": "vad"}, told=told.append)
    digest = entry("hf:acme/vad").digest()
    fake.files = {"silero_vad.onnx": fake.files["silero_vad.onnx"] + b"\x12\x00"}

    settle({"hf:acme/vad": "vad"}, told=told.append)
    assert entry("hf:acme/vad").digest() == digest
    settle({"hf:acme/vad": "vad"}, anew=True, told=told.append)
    assert entry("hf:acme/vad").digest() != digest
    assert told == ["asking the hub for acme/vad@main"] * 2


def test_what_a_hub_does_not_have_is_told_without_fetching_it(hub: Callable[[FakeHub], None], tmp_path: Path) -> None:
    fake = FakeHub("acme/clinic", "main", files_of("whisper"))
    hub(fake)

    with pytest.raises(WeightsError, match=r"acme/clinic@main: expected .* of llm weights, found no tokenizer_config"):
        settle({"hf:acme/clinic": "llm"})
    with pytest.raises(WeightsError, match=r"acme/nothing@main: the hub did not give it \(.*\); check the name"):
        settle({"hf:acme/nothing": "llm"})
    assert not any("/resolve/" in path for path in fake.asked)


def test_a_repository_can_be_entered_into_a_registry(hub: Callable[[FakeHub], None], tmp_path: Path) -> None:
    hub(FakeHub("acme/router", "main", sentence_transformer()))
    mine = f"{tmp_path}/models.yaml#router"

    add(mine, "encoder", "hf:acme/router")

    assert COMMIT in (tmp_path / "models.yaml").read_text()
    assert (prepare(mine) / "model.onnx").is_file()


def test_rubbish_that_a_hub_gives_is_named_when_it_has_come(hub: Callable[[FakeHub], None]) -> None:
    hub(FakeHub("acme/clinic", "main", files_of("whisper") | {"tokenizer.json": b"<html>"}))
    settle({"hf:acme/clinic": "whisper"})

    with pytest.raises(WeightsError, match=r"weights hf:acme/clinic: tokenizer\.json: expected JSON"):
        prepare("hf:acme/clinic")


def test_large_files_of_a_repository_are_pinned_as_the_hub_lists_them(hub: Callable[[FakeHub], None]) -> None:
    files = files_of("voice")
    hub(FakeHub("acme/voice", "main", files, large_bytes=0))

    found = list_repository(Repository("acme/voice", "main"), "voice")

    assert {file.name: file.size_bytes for file in found.files} == {name: len(data) for name, data in files.items()}
