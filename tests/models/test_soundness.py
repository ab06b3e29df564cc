"""Rubbish in weights is named with its file, before anything loads it."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.registry import Kind
from models.soundness import belonging, look
from models.sources import WeightsError
from tests.models.weights import KINDS, ctranslate2, files_of, folder_of, graph, sentence_transformer, tensors


@pytest.mark.parametrize("kind", KINDS)
def test_sound_weights_of_every_kind_are_taken(kind: Kind, tmp_path: Path) -> None:
    look(kind, folder_of(kind, tmp_path / "own"))


@pytest.mark.parametrize(("kind", "other"), list(permutations(KINDS, 2)))
def test_a_folder_of_another_kind_is_told_from_the_one_that_is_wanted(kind: Kind, other: Kind, tmp_path: Path) -> None:
    told = f"{kind} weights, found no .* look like {other} weights"
    if (kind, other) == ("encoder", "llm"):  # The files are the same: their content tells.
        told = "config.json: expected model_type bert, found 'llama'"
    with pytest.raises(WeightsError, match=told):
        look(kind, folder_of(other, tmp_path / "own"))


@pytest.mark.parametrize(
    ("kind", "file", "content", "told"),
    [
        ("llm", "config.json", None, "found no config.json"),
        ("llm", "config.json", b"[1]", "config.json: expected a JSON object, found list"),
        ("llm", "config.json", b"{}", "expected the model_type of a language model, found None"),
        ("llm", "config.json", b'{"model_type": "whisper"}', "language model, found 'whisper'"),
        ("llm", "tokenizer.json", b"<html>", "tokenizer.json: expected JSON"),
        ("llm", "tokenizer.json", b"\xff\xfe", "tokenizer.json: expected JSON"),
        ("llm", "tokenizer.json", b"{}", "expected a tokenizer"),
        ("llm", "tokenizer_config.json", b"{}", "expected a chat_template"),
        ("llm", "model.safetensors", None, r"found no \*.safetensors"),
        ("llm", "model.safetensors", tensors({"a": 2})[:30], "expected a safetensors header"),
        ("llm", "model.safetensors", b"[]", "expected a safetensors header"),
        ("llm", "model.safetensors", tensors({"a": 2})[:-1], "by its safetensors header"),
        ("whisper", "tokenizer.json", None, "found no tokenizer.json"),
        ("whisper", "config.json", b"", "config.json: expected JSON"),
        ("whisper", "config.json", b"[]", "config.json: expected a JSON object"),
        ("whisper", "vocabulary.json", None, "found no vocabulary"),
        ("whisper", "vocabulary.json", b"[1", "vocabulary.json: expected JSON"),
        ("whisper", "model.bin", ctranslate2(b"TransformerSpec\0"), "found 'TransformerSpec'"),
        ("whisper", "model.bin", b"", "found 'nothing'"),
        ("whisper", "model.bin", ctranslate2()[:-1], r"expected \d+ bytes by its header"),
        ("whisper", "model.bin", ctranslate2()[:30], "cut off after 30 bytes"),
        ("whisper", "model.bin", ctranslate2() + b"more", "by its header"),
        ("encoder", "model.onnx", None, "found no model.onnx"),
        ("encoder", "model.onnx", files_of("encoder")["model.onnx"][:-9], "half of one"),
        ("encoder", "model.onnx", files_of("turn")["smart-turn.onnx"], "expected a graph from input_ids"),
        ("encoder", "tokenizer.json", b"{}", "expected a tokenizer"),
        ("voice", "kokoro.onnx", graph(("tokens", "style", "speed"), {"audio": "tokens"}), "as kokoro-onnx exports it"),
        ("voice", "voices/af_mine.bin", bytes(1025), r"af_mine.bin: expected rows .* found 1025 bytes"),
        ("voice", "voices/af_mine.bin", b"", "found 0 bytes"),
        ("voice", "voices/af_mine.bin", None, r"found no voices/\*.bin"),
        ("vad", "silero_vad.onnx", b"<html>not here</html>", "expected an ONNX graph"),
        ("vad", "silero_vad.onnx", b"", "found none of input, state, sr"),
        ("turn", "smart-turn.onnx", files_of("vad")["silero_vad.onnx"], "found none of input_features"),
    ],
)
def test_rubbish_is_named(kind: Kind, file: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    folder = folder_of(kind, tmp_path / "own")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)

    with pytest.raises(WeightsError, match=told) as caught:
        look(kind, folder)
    assert str(caught.value).startswith(str(folder))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"{tmp_path}/clinic: expected a folder of whisper weights, found none"):
        look("whisper", tmp_path / "clinic")


@pytest.mark.parametrize(
    ("name", "cut", "told"),
    [
        ("model.onnx.data", 0, None),
        ("model.onnx.data", 1, "model.onnx.data: expected 16 bytes of model.onnx's numbers .* found 15"),
        ("model.onnx.data", 16, "found 0"),
        ("numbers", 0, "in a file called model.onnx.data or model.onnx_data"),
    ],
)
def test_numbers_beside_a_graph_must_be_there_and_be_whole(
    name: str, cut: int, told: str | None, tmp_path: Path
) -> None:
    folder = folder_of("encoder", tmp_path / "own")
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "numbers"))
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location=name, size_threshold=0)
    (folder / name).write_bytes((folder / name).read_bytes()[: 16 - cut])

    if told is None:
        look("encoder", folder)
        return
    with pytest.raises(WeightsError, match=told):
        look("encoder", folder)


def test_a_shard_that_is_listed_and_not_there_is_told(tmp_path: Path) -> None:
    folder = folder_of("llm", tmp_path / "own")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(WeightsError, match=r"it lists model-2\.safetensors, which the folder lacks"):
        look("llm", folder)


def test_a_chat_template_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    folder = folder_of("llm", tmp_path / "own")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")

    look("llm", folder)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("config.json", b'{"model_type": "mpnet"}', "expected model_type bert, found 'mpnet'"),
        ("1_Pooling/config.json", b'{"pooling_mode_cls_token": true}', "another way of pooling"),
        ("model.safetensors", sentence_transformer()["model.safetensors"][:-1], "by its safetensors header"),
        ("tokenizer.json", None, "found no tokenizer.json"),
    ],
)
def test_a_sentence_transformer_is_an_encoder_if_it_is_a_bert_that_takes_the_mean(
    file: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    (tmp_path / "1_Pooling").mkdir()
    for name, data in sentence_transformer().items():
        (tmp_path / name).write_bytes(data)
    look("encoder", tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)

    with pytest.raises(WeightsError, match=told):
        look("encoder", tmp_path)


def test_what_else_lies_in_a_folder_is_left_there() -> None:
    names = ["model.safetensors", "config.json", "pytorch_model.bin", "README.md", ".gitattributes", "manifest.json"]
    assert belonging("llm", [*names, "onnx/config.json", ".cache.json"]) == ["config.json", "model.safetensors"]
    assert belonging("encoder", ["model.onnx", "tokenizer.json", "config.json", "model.safetensors"]) == [
        "model.onnx",
        "tokenizer.json",
    ]
