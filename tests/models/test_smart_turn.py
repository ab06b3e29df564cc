"""Smart Turn: the features it was trained on, and what it makes of real turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.smart_turn import SmartTurn, smart_turn_features
from models.types import FloatAudio, ModelFailure
from models.weights import prepare
from tests.models.speech import spoken


def noise(seconds: float, seed: int = 3) -> FloatAudio:
    return (np.random.default_rng(seed).standard_normal(int(seconds * 16_000)) * 0.05).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 3.3, 8.0, 11.0])
def test_features_equal_those_of_transformers(seconds: float) -> None:
    from transformers import WhisperFeatureExtractor

    audio = noise(seconds)
    recent = audio[-128_000:]
    padded = np.concatenate([np.zeros(128_000 - len(recent), np.float32), recent])
    theirs = WhisperFeatureExtractor(chunk_length=8)(
        padded, sampling_rate=16_000, padding="max_length", max_length=128_000, do_normalize=True, return_tensors="np"
    ).input_features
    ours = smart_turn_features(audio)
    assert ours.shape == theirs.shape == (1, 80, 800)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_only_the_last_eight_seconds_count() -> None:
    turn = noise(8.0)
    np.testing.assert_array_equal(smart_turn_features(np.concatenate([noise(3.0, 9), turn])), smart_turn_features(turn))


@pytest.mark.slow
def test_finished_sentences_end_a_turn_and_trailing_off_does_not(tmp_path: Path) -> None:
    model = SmartTurn(prepare("smart-turn-v3.2"))
    pause = np.zeros(3_200, np.float32)

    def probability(text: str) -> float:
        return model.end_of_turn_probability(np.concatenate([spoken(text, tmp_path), pause]))

    finished = ["I would like to book a cleaning for next Tuesday.", "What time do you close on Saturday?"]
    # A comma keeps the voice up.
    unfinished = ["My number is five five five,", "Can you tell me what the,", "I need to, um,"]
    assert min(map(probability, finished)) > 0.5 > max(map(probability, unfinished))


@pytest.mark.slow
def test_bad_input_is_refused(tmp_path: Path) -> None:
    model = SmartTurn(prepare("smart-turn-v3.2"))
    for bad in (np.zeros(0, np.float32), np.zeros((2, 16_000), np.float32)):
        with pytest.raises(ModelFailure, match=r"mono samples of shape \(n,\)"):
            model.end_of_turn_probability(bad)
    with pytest.raises(ModelFailure, match=r"smart-turn\.onnx: no such file"):
        SmartTurn(tmp_path)
