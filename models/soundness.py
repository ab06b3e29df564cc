"""Whether a folder holds sound weights of a kind, by headers and sizes: no model is loaded for it.

What a download that was cut off, a page of HTML in a file's place, or the folder of another model does wrong is told
here with the file's name, before an engine says it in its own words or not at all.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from pydantic import JsonValue

from models.registry import Kind
from models.sources import WeightsError

if TYPE_CHECKING:
    import onnx

__all__ = ["SENTENCE_TRANSFORMER", "belonging", "check_names", "check_pooling", "files_below", "look"]

_FETCH = "fetch the file again"
_POOLING = "1_Pooling/config.json"

SENTENCE_TRANSFORMER: Final = ("config.json", "model.safetensors", "tokenizer.json")
"""An encoder as sentence-transformers publishes it, which is built into model.onnx when it is prepared."""

_BESIDE = ("model.onnx.data", "model.onnx_data")
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "llm": ("config.json", "tokenizer.json", "tokenizer_config.json", "*.safetensors"),
    "whisper": ("config.json", "tokenizer.json", "vocabulary.*", "model.bin"),
    "voice": ("kokoro.onnx", "voices/*.bin"),
    "encoder": ("model.onnx", "tokenizer.json"),
    "vad": ("silero_vad.onnx",),
    "turn": ("smart-turn.onnx",),
}
_BELONGING: dict[Kind, tuple[str, ...]] = {
    "llm": ("*.safetensors", "*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt"),
    "whisper": ("model.bin", "*.json", "vocabulary.*"),
    "voice": _NEEDED["voice"],
    "encoder": (*_NEEDED["encoder"], *_BESIDE),
    "vad": _NEEDED["vad"],
    "turn": _NEEDED["turn"],
}
_NOT_WEIGHTS = "manifest.json"  # written by preparing, as in a folder that was prepared here
_GRAPHS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "model.onnx": (("input_ids", "attention_mask"), ("embedding",)),
    "silero_vad.onnx": (("input", "state", "sr"), ("output", "stateN")),
    "smart-turn.onnx": (("input_features",), ()),
    "kokoro.onnx": (("tokens", "style", "speed"), ("audio",)),
}
"""Inputs and outputs of graphs; of Smart Turn's one output the name is not looked at."""
_NOT_LANGUAGE_MODELS = {"whisper", "bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "wav2vec2"}
_VOICE_ROW_BYTES = 256 * 4


def belonging(kind: Kind, names: Iterable[str]) -> list[str]:
    """Those of a folder's files (paths with '/') that weights of that kind are made of, in order."""
    known = set(names)
    wanted = _BELONGING[kind]
    if _is_sentence_transformer(kind, known):
        wanted = (*SENTENCE_TRANSFORMER, _POOLING)
    return sorted(
        name
        for name in known
        if name != _NOT_WEIGHTS and any(_matches(name, pattern) for pattern in wanted) and not name.startswith(".")
    )


def check_names(kind: Kind, names: Iterable[str], where: str) -> None:
    """Raises WeightsError if a file is missing without which these are no weights of that kind; `where`: for people."""
    known = set(names)
    needed = SENTENCE_TRANSFORMER if _is_sentence_transformer(kind, known) else _NEEDED[kind]
    missing = [pattern for pattern in needed if not any(_matches(name, pattern) for name in known)]
    if missing:
        others = [other for other in _NEEDED if other != kind and _complete(other, known)]
        rather = f" (they look like {others[0]} weights)" if others else ""
        raise WeightsError(
            f"{where}: expected {', '.join(needed)} of {kind} weights, found no {', '.join(missing)}{rather}; "
            "put what is missing there, or name what holds it"
        )


def look(kind: Kind, folder: Path) -> None:
    """Raises WeightsError if `folder` does not hold sound weights of that kind, OSError if it cannot be read."""
    if not folder.is_dir():
        raise WeightsError(
            f"{folder}: expected a folder of {kind} weights, found none; correct the path (a relative one begins at "
            "the file that names it; a hub's repository is written hf:OWNER/NAME)"
        )
    names = files_below(folder)
    check_names(kind, names, str(folder))
    for name in belonging(kind, names):
        path = folder / name
        match path.suffix:
            case ".json":
                _json(path)
            case ".safetensors":
                _look_at_safetensors(path)
            case ".onnx":
                _look_at_graph(path)
    _MORE[kind](folder)


def files_below(folder: Path) -> list[str]:
    """Paths with '/' of the files in a folder and in the folders inside it. Raises OSError."""
    inside = [*folder.iterdir(), *(path for each in folder.iterdir() if each.is_dir() for path in each.iterdir())]
    return sorted(path.relative_to(folder).as_posix() for path in inside if path.is_file())


def _matches(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)


def _complete(kind: Kind, names: set[str]) -> bool:
    return all(any(_matches(name, pattern) for name in names) for pattern in _NEEDED[kind])


def _is_sentence_transformer(kind: Kind, names: set[str]) -> bool:
    return kind == "encoder" and "model.onnx" not in names and "model.safetensors" in names


# --- Kinds ----------------------------------------------------------------------------------------------------------


def _look_at_llm(folder: Path) -> None:
    config = folder / "config.json"
    kind = _mapping(config).get("model_type")
    if not isinstance(kind, str) or kind in _NOT_LANGUAGE_MODELS:
        raise WeightsError(
            f"{config}: expected the model_type of a language model, found {kind!r}; name a folder as transformers "
            "saves one that generates text"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = _mapping(index).get("weight_map")
        shards = {str(shard) for shard in listed.values()} if isinstance(listed, dict) else set()
        if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
            raise WeightsError(f"{index}: it lists {', '.join(missing)}, which the folder lacks; fetch them")
    _look_at_tokenizer(folder / "tokenizer.json")
    written = folder / "tokenizer_config.json"
    if not _mapping(written).get("chat_template") and not (folder / "chat_template.jinja").is_file():
        raise WeightsError(
            f"{written}: expected a chat_template, found none (nor a chat_template.jinja); take an instruction-tuned "
            "model, or put its template there"
        )


def _look_at_whisper(folder: Path) -> None:
    _mapping(folder / "config.json")
    _look_at_tokenizer(folder / "tokenizer.json")
    _look_at_ctranslate2(folder / "model.bin")


def _look_at_voice(folder: Path) -> None:
    from models.kokoro_graph import DURATIONS, FEATURES, HARMONICS, STYLE

    path = folder / "kokoro.onnx"
    made = {output for node in _graph(path).graph.node for output in node.output}
    if missing := [name for name in (FEATURES, HARMONICS, STYLE, DURATIONS) if name not in made]:
        raise WeightsError(
            f"{path}: expected a graph as kokoro-onnx exports it, found none of its tensors {', '.join(missing)}; "
            "export the model as kokoro-onnx does"
        )
    for voice in sorted((folder / "voices").glob("*.bin")):
        size_bytes = voice.stat().st_size
        if size_bytes == 0 or size_bytes % _VOICE_ROW_BYTES:
            raise WeightsError(
                f"{voice}: expected rows of 256 float32 numbers ({_VOICE_ROW_BYTES} bytes each), found {size_bytes} "
                f"bytes; {_FETCH}"
            )


def _look_at_encoder(folder: Path) -> None:
    _look_at_tokenizer(folder / "tokenizer.json")
    if (folder / "model.onnx").is_file():
        return
    config = folder / "config.json"
    if (kind := _mapping(config).get("model_type")) != "bert":
        raise WeightsError(
            f"{config}: expected model_type bert, found {kind!r}; export another encoder to model.onnx (input_ids and "
            "attention_mask to embedding, a vector of length 1 a sentence)"
        )
    check_pooling(folder)


def check_pooling(folder: Path) -> None:
    """Raises WeightsError if a sentence encoder's files say that it is no mean over its tokens."""
    pooling = folder / _POOLING
    if pooling.is_file() and _mapping(pooling).get("pooling_mode_mean_tokens") is not True:
        raise WeightsError(
            f"{pooling}: expected pooling_mode_mean_tokens true, found another way of pooling; export the encoder to "
            "model.onnx"
        )


def _nothing_more(folder: Path) -> None:
    """All was said by its graph."""


_MORE: dict[Kind, Callable[[Path], None]] = {
    "llm": _look_at_llm,
    "whisper": _look_at_whisper,
    "voice": _look_at_voice,
    "encoder": _look_at_encoder,
    "vad": _nothing_more,
    "turn": _nothing_more,
}


# --- Files ----------------------------------------------------------------------------------------------------------


def _json(path: Path) -> JsonValue:
    try:
        found: JsonValue = json.loads(path.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{path}: expected JSON, found something else ({error}); {_FETCH}") from error
    return found


def _mapping(path: Path) -> dict[str, JsonValue]:
    found = _json(path)
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: expected a JSON object, found {type(found).__name__}; {_FETCH}")
    return found


def _look_at_tokenizer(path: Path) -> None:
    if "model" not in _mapping(path):
        raise WeightsError(f"{path}: expected a tokenizer as `tokenizers` saves it, found no key 'model'; {_FETCH}")


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
            f"{path}: expected a safetensors header, found none in its {size_bytes} bytes; {_FETCH}"
        ) from error
    if size_bytes != expected_bytes:
        raise WeightsError(
            f"{path}: expected {expected_bytes} bytes by its safetensors header, found {size_bytes}; {_FETCH}"
        )


def _look_at_ctranslate2(path: Path) -> None:
    """CTranslate2's file: a version, the model's kind, a revision; for each variable its name, shape, type, size in
    bytes and data; then pairs of names. Numbers are little-endian, names have their length before them."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(6)
        kind = file.read(min(struct.unpack("<IH", start)[1], 64)) if len(start) == 6 else b""
        if kind != b"WhisperSpec\0":
            found = kind.rstrip(b"\0").decode("ascii", errors="replace") or "nothing"
            raise WeightsError(
                f"{path}: expected CTranslate2's WhisperSpec, found {found!r}; convert the model with "
                "ct2-transformers-converter"
            )
        try:
            expected_bytes = _end_of_variables(file)
        except struct.error as error:
            raise WeightsError(f"{path}: it is cut off after {size_bytes} bytes; {_FETCH}") from error
    if size_bytes != expected_bytes:
        raise WeightsError(f"{path}: expected {expected_bytes} bytes by its header, found {size_bytes}; {_FETCH}")


def _end_of_variables(file: IO[bytes]) -> int:
    """Where a CTranslate2 file must end, read from behind its kind on. Raises struct.error if it ends before."""
    file.seek(4, 1)
    for _ in range(_number(file, "<I")):
        file.seek(_number(file, "<H"), 1)
        file.seek(4 * _number(file, "<B") + 1, 1)
        file.seek(_number(file, "<I"), 1)
    for _ in range(2 * _number(file, "<I")):
        file.seek(_number(file, "<H"), 1)
    return file.tell()


def _number(file: IO[bytes], form: str) -> int:
    return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])


def _look_at_graph(path: Path) -> None:
    graph = _graph(path).graph
    inputs, outputs = _GRAPHS[path.name]
    given = {value.name for value in graph.input}, {value.name for value in graph.output}
    if missing := [name for name in inputs if name not in given[0]] + [n for n in outputs if n not in given[1]]:
        raise WeightsError(
            f"{path}: expected a graph from {', '.join(inputs)}{' to ' if outputs else ''}{', '.join(outputs)}, "
            f"found none of {', '.join(missing)}; name what holds such a graph"
        )
    _look_beside_graph(path, graph)


def _look_beside_graph(path: Path, graph: onnx.GraphProto) -> None:
    """A large graph's numbers lie in a file of their own; each tensor says where in it."""
    needed: dict[str, int] = {}
    for tensor in graph.initializer:
        at = {entry.key: entry.value for entry in tensor.external_data}
        if name := at.get("location"):
            needed[name] = max(needed.get(name, 0), int(at.get("offset", 0)) + int(at.get("length", 0)))
    for name, needed_bytes in needed.items():
        beside = path.parent / name
        found_bytes = beside.stat().st_size if beside.is_file() else 0
        if name not in _BESIDE or found_bytes < needed_bytes:
            raise WeightsError(
                f"{beside}: expected {needed_bytes} bytes of {path.name}'s numbers in a file called "
                f"{' or '.join(_BESIDE)}, found {found_bytes}; {_FETCH}"
            )


def _graph(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # What protobuf raises is of no type that onnx exports.
        raise WeightsError(f"{path}: expected an ONNX graph, found something else or half of one; {_FETCH}") from error
