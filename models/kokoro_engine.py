"""What Kokoro computes, whatever computes it: the seam between text, cutting and joining (models/kokoro.py) and ONNX
Runtime (models/kokoro_onnx.py) or torch (models/kokoro_torch.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.types import FloatAudio

__all__ = ["FRAME_BUCKETS", "FRAME_SAMPLES", "HARMONICS_A_FRAME", "KokoroEngine", "Part", "Row", "Window", "bounded"]

FRAME_SAMPLES = 300
"""Samples of a vocoder frame, 12.5 ms; a duration frame is two of them, 25 ms."""
FRAME_BUCKETS = (36, 64, 104)
"""Frames of a window, its context included, for an engine with buckets: 28, 56 and 96 of them are heard."""
HARMONICS_A_FRAME = 60
"""Frames of the harmonic source in a vocoder frame; n frames take 60 n + 1 of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the front reads: a clause or a part of one."""

    tokens: tuple[int, ...]
    """Phonemes, with a pad at both ends."""
    style: npt.NDArray[np.float32]
    """256: the voice's row for so many tokens."""


@dataclass(frozen=True, slots=True)
class Part:
    """A row after the front, ready for the vocoder. What the vocoder takes besides stays with the engine's own kind."""

    durations: npt.NDArray[np.int64]
    """Duration frames of every token, the pads included."""

    @property
    def frames(self) -> int:
        """Vocoder frames."""
        return 2 * int(self.durations.sum())


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a part for the vocoder."""

    part: Part
    frames: range
    """Vocoder frames, context included."""
    statistics: npt.NDArray[np.float32] | None
    """Means, then deviations, of every normalised channel. None: the whole part, normalised over itself."""


class KokoroEngine(Protocol):
    """Blocking. Parts of one engine mean nothing to another. Everything raises ModelFailure."""

    @property
    def most_windows(self) -> int:
        """Windows worth handing over together; 1 if together is no faster than one after another."""

    @property
    def frame_buckets(self) -> tuple[int, ...]:
        """Lengths, ascending, that windows are padded to; what is between two costs as much as the longer one. Empty:
        every length costs what it is."""

    def front(self, rows: Sequence[Row]) -> list[Part]:
        """Durations, pitch and features of clauses that need not belong together."""

    def windows(self, windows: Sequence[Window]) -> list[FloatAudio]:
        """Audio of windows that need not belong together, FRAME_SAMPLES a frame; all with statistics. What one gives
        does not depend on the others."""

    def whole(self, part: Part) -> tuple[FloatAudio, npt.NDArray[np.float64]]:
        """A part as published, all frames; and its moments: means and mean squares, 2 x channels."""

    def warm_up(self) -> None:
        """Whatever is done once for each shape, now and not in a call."""


def bounded(audio: npt.NDArray[np.float32]) -> FloatAudio:
    """As one row of samples, none beyond full scale."""
    return np.clip(audio.reshape(-1), -1.0, 1.0)
