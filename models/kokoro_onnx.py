"""Kokoro by ONNX Runtime on the CPU, in int8: one computation at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.kokoro import KokoroSpeaker, SpeechStreaming
from models.kokoro_engine import HARMONICS_A_FRAME, Part, Row, Window, bounded
from models.kokoro_graph import DURATIONS, FEATURES, HARMONICS, STATISTICS, STYLE, front_graph, vocoder_graphs
from models.types import FloatAudio, ModelFailure

__all__ = ["OnnxKokoro", "onnx_speaker"]


@dataclass(frozen=True, slots=True)
class _OnnxPart(Part):
    features: npt.NDArray[np.float32]
    """1 x 512 x T."""
    harmonics: npt.NDArray[np.float32]
    """1 x 22 x (60 T + 1)."""
    style: npt.NDArray[np.float32]
    """1 x 128."""


class OnnxKokoro:
    """models.kokoro_engine.KokoroEngine. Safe to use from several threads, which take turns."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        """Load `front.onnx` and `back.onnx` of a prepared folder.

        Raises ModelFailure if a file is missing or is not what is expected.
        """
        graphs = vocoder_graphs(folder / "back.onnx")
        self._front = _session(front_graph(folder / "front.onnx"), threads)
        self._measuring = _session(graphs.measuring, threads)
        self._carrying = _session(graphs.carrying, threads)
        self._computing = threading.Lock()

    @property
    def most_windows(self) -> int:
        return 1

    @property
    def frame_buckets(self) -> tuple[int, ...]:
        return ()

    def front(self, rows: Sequence[Row]) -> list[Part]:
        return [self._run_front(row) for row in rows]

    def windows(self, windows: Sequence[Window]) -> list[FloatAudio]:
        return [self._run_window(window) for window in windows]

    def whole(self, part: Part) -> tuple[FloatAudio, npt.NDArray[np.float64]]:
        assert isinstance(part, _OnnxPart)
        feeds = {FEATURES: part.features, HARMONICS: part.harmonics, STYLE: part.style}
        with self._computing:
            audio, statistics = self._measuring.run(["audio", STATISTICS], feeds)
        mean, deviation = np.split(statistics.reshape(-1).astype(np.float64), 2)
        return bounded(audio), np.stack([mean, deviation**2 + mean**2])

    def warm_up(self) -> None:
        """Nothing: shapes are free."""

    def _run_front(self, row: Row) -> Part:
        feeds = {
            "tokens": np.array([row.tokens], np.int64),
            "style": row.style[None],
            "speed": np.ones(1, np.float32),
        }
        with self._computing:
            features, harmonics, style, durations = self._front.run([FEATURES, HARMONICS, STYLE, DURATIONS], feeds)
        return _OnnxPart(durations.reshape(-1).astype(np.int64), features, harmonics, style)

    def _run_window(self, window: Window) -> FloatAudio:
        part, frames = window.part, window.frames
        assert isinstance(part, _OnnxPart)
        assert window.statistics is not None
        harmonics = part.harmonics[:, :, frames.start * HARMONICS_A_FRAME : frames.stop * HARMONICS_A_FRAME + 1]
        feeds = {
            FEATURES: np.ascontiguousarray(part.features[:, :, frames.start : frames.stop]),
            HARMONICS: np.ascontiguousarray(harmonics),
            STYLE: part.style,
            STATISTICS: window.statistics.reshape(1, -1, 1),
        }
        with self._computing:
            (audio,) = self._carrying.run(["audio"], feeds)
        return bounded(audio)


def onnx_speaker(folder: Path, *, threads: int = 2, streaming: SpeechStreaming | None = None) -> KokoroSpeaker:
    """Kokoro from a prepared folder. Raises ModelFailure if a file is missing or is not what is expected."""
    return KokoroSpeaker(folder, OnnxKokoro(folder, threads=threads), streaming)


def _session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between operators take the cores from the language model beside us.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFailure(f"ONNX Runtime cannot load Kokoro's graph ({error}); verify the weights") from error
