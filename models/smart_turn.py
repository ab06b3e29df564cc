"""Smart Turn v3.2 (ONNX): has the speaker finished, judged from how the turn sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from models.mel import log_mel
from models.types import HEARING_RATE_HZ, FloatAudio, ModelFailure

LOOK_BACK_S = 8
"""The network hears the last 8 s; a shorter turn is padded with silence on its *left*."""

_SAMPLES = LOOK_BACK_S * HEARING_RATE_HZ
_VARIANCE_FLOOR = 1e-7


def smart_turn_features(audio: FloatAudio) -> FloatAudio:
    """Features as Smart Turn v3 was trained on, float32 (1, 80, 800), of mono 16 kHz samples of any length >= 1.

    The last 8 s, padded left with zeros, brought to zero mean and unit variance (padding included), then Whisper's
    log-mel: what `transformers.WhisperFeatureExtractor(chunk_length=8)` makes with `do_normalize=True`, which is the
    recipe of Pipecat's `local_smart_turn_v3.py`.
    """
    heard = np.zeros(_SAMPLES, dtype=np.float32)
    recent = audio[-_SAMPLES:]
    heard[_SAMPLES - len(recent) :] = recent
    heard = (heard - heard.mean()) / np.sqrt(heard.var() + np.float32(_VARIANCE_FLOOR))
    return log_mel(heard)[None]


class SmartTurn:
    """The network, loaded once; it keeps no state, so calls may share it from any thread."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load `smart-turn.onnx` from a prepared folder. Raises ModelFailure if it is missing or no model."""
        path = folder / "smart-turn.onnx"
        if not path.is_file():
            raise ModelFailure(
                f"{path}: no such file; expected Smart Turn's weights: run `trunkline models prepare smart-turn-v3.2`"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common base of their own
            raise ModelFailure(f"{path}: onnxruntime cannot load it ({error}); prepare the weights again") from error

    def end_of_turn_probability(self, audio: FloatAudio) -> float:
        """How likely the speaker has finished, in [0, 1]; `audio` is the turn so far, shape (n,), n >= 1, 16 kHz.

        Raises ModelFailure on an empty or two-dimensional array.
        """
        if audio.ndim != 1 or len(audio) == 0:
            raise ModelFailure(f"Smart Turn wants mono samples of shape (n,), n >= 1, at 16 kHz; got {audio.shape}")
        # The output is named "logits", yet the exported graph ends in a sigmoid.
        (probabilities,) = self._session.run(None, {"input_features": smart_turn_features(audio)})
        return float(probabilities[0, 0])
