"""The steps that turn downloaded files into what the engines load.

Every step makes the same bytes on every machine (element-wise arithmetic and pure graph surgery only), so that the
registry can pin what is made as well as what is fetched. `python -m models.assembly FOLDER STEP` runs one step,
given as JSON, in a process of its own: its libraries and memory are gone when it ends.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pydantic import TypeAdapter

from models.registry import BuildSentenceEncoder, ConvertGguf, CutKokoro, Join, QuantizeInt8, RecoverKokoro, Step
from models.sources import WeightsError

__all__ = ["main", "run_step"]


def run_step(step: Step, folder: Path) -> None:
    """Run one step on the files in `folder`, which get what it makes. Raises WeightsError, OSError."""
    match step:
        case Join():
            _join(step, folder)
        case ConvertGguf():
            _convert_gguf(step, folder)
        case CutKokoro():
            _cut_kokoro(step, folder)
        case RecoverKokoro():
            _recover_kokoro(step, folder)
        case BuildSentenceEncoder():
            _build_sentence_encoder(step, folder)
        case QuantizeInt8():
            _quantize_int8(step, folder)


def _join(step: Join, folder: Path) -> None:
    with (folder / step.into).open("wb") as whole:
        for part in step.parts:
            with (folder / part).open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)


# --- Language models -----------------------------------------------------------------------------------------------


def _convert_gguf(step: ConvertGguf, folder: Path) -> None:
    from models.gguf_folder import convert_gguf

    convert_gguf(folder / step.gguf, folder, step.dtype)


def _quantize_int8(step: QuantizeInt8, folder: Path) -> None:
    from models.quantization import quantize_int8

    quantize_int8(folder, tie_embeddings=step.tie_embeddings)


# --- Kokoro ---------------------------------------------------------------------------------------------------------


def _cut_kokoro(step: CutKokoro, folder: Path) -> None:
    import onnx
    from onnx.utils import Extractor

    whole = onnx.load(folder / step.graph)
    inputs = [value.name for value in whole.graph.input]
    outputs = [value.name for value in whole.graph.output]
    made = {output for node in whole.graph.node for output in node.output}
    missing = [name for name in (*step.cut_at, step.durations) if name not in made]
    if missing:
        raise WeightsError(
            f"{step.graph}: the graph has no tensor {', '.join(missing)}; it is not the one the cut is for"
        )
    extractor = Extractor(whole)
    onnx.save(extractor.extract_model(inputs, [*step.cut_at, step.durations]), folder / step.front)
    onnx.save(extractor.extract_model(list(step.cut_at), outputs), folder / step.back)


def _recover_kokoro(step: RecoverKokoro, folder: Path) -> None:
    from models.kokoro_recover import recover_kokoro

    recover_kokoro(folder / step.graph, folder / step.into)


# --- Sentence encoder -----------------------------------------------------------------------------------------------


def _build_sentence_encoder(step: BuildSentenceEncoder, folder: Path) -> None:
    from models.sentence_encoder import build_sentence_encoder
    from models.soundness import check_pooling

    check_pooling(folder)
    build_sentence_encoder(folder / step.config, folder / step.weights, folder / step.into)


def main(arguments: list[str]) -> None:
    """Run the step given as JSON in the folder given."""
    folder, text = arguments
    adapter: TypeAdapter[Step] = TypeAdapter(Step)
    run_step(adapter.validate_json(text), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
