"""Silero VAD (ONNX): speech probability of each 32 ms window. One session for all calls, a small state a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.types import HEARING_RATE_HZ, FloatAudio, ModelFailure

WINDOW_SAMPLES = 512
"""32 ms at 16 kHz: the only window the 16 kHz network takes."""

CONTEXT_SAMPLES = 64
"""The network also sees the end of the window before (upstream's `OnnxWrapper`, silero_vad/utils_vad.py)."""

_STATE_SHAPE = (2, 1, 128)


class SileroVad:
    """The network, loaded once. `run` keeps no state, so streams of different calls and threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Load `silero_vad.onnx` from a prepared folder. Raises ModelFailure if it is missing or no model."""
        path = folder / "silero_vad.onnx"
        if not path.is_file():
            raise ModelFailure(
                f"{path}: no such file; expected Silero VAD's weights: run `trunkline models prepare silero-vad`"
            )
        options = onnxruntime.SessionOptions()
        # A window is 0.2 ms of work: more threads only add hand-overs, and spinning would steal a core from the others.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common base of their own
            raise ModelFailure(f"{path}: onnxruntime cannot load it ({error}); prepare the weights again") from error
        self._rate = np.array(HEARING_RATE_HZ, dtype=np.int64)

    def run(
        self, samples: npt.NDArray[np.float32], state: npt.NDArray[np.float32]
    ) -> tuple[float, npt.NDArray[np.float32]]:
        """Speech probability of context and window, float32 (1, 576), and the state (2, 1, 128) after it."""
        probability, after = self._session.run(None, {"input": samples, "state": state, "sr": self._rate})
        return float(probability[0, 0]), after

    def stream(self) -> SileroStream:
        """A fresh stream for one call."""
        return SileroStream(self)


class SileroStream:
    """One call's voice activity. Not for use by two threads at once."""

    window_samples: int = WINDOW_SAMPLES

    def __init__(self, vad: SileroVad) -> None:
        self._vad = vad
        self._input = np.zeros((1, CONTEXT_SAMPLES + WINDOW_SAMPLES), dtype=np.float32)
        self._state = np.zeros(_STATE_SHAPE, dtype=np.float32)

    def probability(self, window: FloatAudio) -> float:
        """Probability in [0, 1] that `window`, shape (512,), 16 kHz, the one right after the last, holds speech.

        Raises ModelFailure on any other shape.
        """
        if window.shape != (WINDOW_SAMPLES,):
            raise ModelFailure(f"Silero VAD takes windows of shape ({WINDOW_SAMPLES},) at 16 kHz, got {window.shape}")
        self._input[0, :CONTEXT_SAMPLES] = self._input[0, -CONTEXT_SAMPLES:]
        self._input[0, CONTEXT_SAMPLES:] = window
        probability, self._state = self._vad.run(self._input, self._state)
        return probability

    def reset(self) -> None:
        """Forget what was heard: the next window is the first of a new stream."""
        self._input = np.zeros_like(self._input)
        self._state = np.zeros_like(self._state)
