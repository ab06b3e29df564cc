"""Weights of one's own: entered as they are, found before what ships, and refused by name if they are rubbish."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from models.own_weights import Kind, add_folder
from models.settings import SettingsError
from models.weights import WeightsError, entry, own_registry_file, prepare, verify


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(8)


def folder_of(kind: Kind, folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    if kind == "llm":
        (folder / "model.safetensors").write_bytes(safetensors())
    elif kind == "whisper":
        (folder / "model.bin").write_bytes(struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + bytes(9))
    else:
        (folder / "model.onnx").write_bytes(b"graph")
    return folder


@pytest.mark.parametrize("kind", ["llm", "whisper", "encoder"])
def test_a_folder_is_added_prepared_and_verified_by_its_name(kind: Kind, tmp_path: Path) -> None:
    added = add_folder("mine", kind, folder_of(kind, tmp_path / "own"), own_registry_file())

    assert entry("mine") == added
    assert (added.whisper_window is not None) == (kind == "whisper")
    assert (prepare("mine") / "tokenizer.json").read_text() == "{}"
    assert verify("mine").ok


def test_a_name_of_ones_own_goes_before_the_one_that_ships_and_the_others_stay(tmp_path: Path) -> None:
    folder = folder_of("whisper", tmp_path / "own")
    add_folder("other", "whisper", folder, own_registry_file())
    added = add_folder("whisper-base", "whisper", folder, own_registry_file())

    assert entry("whisper-base") == added
    assert entry("other").origin == str(folder)
    assert entry("silero-vad").licence == "MIT"


@pytest.mark.parametrize(
    ("kind", "file", "content", "told"),
    [
        ("llm", "config.json", None, "found no config.json"),
        ("llm", "tokenizer.json", b"<html>", "tokenizer.json: expected JSON"),
        ("llm", "model.safetensors", None, r"expected \*.safetensors, found none"),
        ("llm", "model.safetensors", safetensors()[:30], "expected a safetensors header"),
        ("llm", "model.safetensors", b"[]", "expected a safetensors header"),
        ("llm", "model.safetensors", safetensors()[:-1], "by its safetensors header"),
        ("whisper", "model.bin", struct.pack("<IH", 6, 16) + b"TransformerSpec\0", "found 'TransformerSpec'"),
        ("whisper", "model.bin", b"", "found 'nothing'"),
        ("encoder", "model.onnx", None, "found no model.onnx"),
    ],
)
def test_rubbish_is_named_and_nothing_is_entered(
    kind: Kind, file: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    folder = folder_of(kind, tmp_path / "own")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)

    with pytest.raises(WeightsError, match=told):
        add_folder("mine", kind, folder, own_registry_file())
    assert not own_registry_file().exists()


def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Not A Name"):
        add_folder("Not A Name", "llm", folder_of("llm", tmp_path / "own"), own_registry_file())
    assert not own_registry_file().exists()
