"""Silero VAD through our stream against upstream's own wrapper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.silero import SileroVad
from models.types import FloatAudio, ModelFailure
from models.weights import prepare
from pipeline.ports import VoiceActivity
from tests.models.speech import spoken

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad(prepare("silero-vad"))


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> FloatAudio:
    speech = spoken("Hello, I have a question about my bill.", tmp_path_factory.mktemp("speech"))
    return np.concatenate([np.zeros(16_000, np.float32), speech, np.zeros(16_000, np.float32)])


def windows(audio: FloatAudio) -> list[FloatAudio]:
    return [audio[at : at + 512] for at in range(0, len(audio) - 511, 512)]


def test_probabilities_equal_upstreams(vad: SileroVad, turn: FloatAudio) -> None:
    import torch
    from silero_vad import load_silero_vad

    upstream = load_silero_vad(onnx=True)
    stream: VoiceActivity = vad.stream()
    ours = [stream.probability(window) for window in windows(turn)]
    theirs = [upstream(torch.from_numpy(window.copy()), 16_000).item() for window in windows(turn)]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert max(ours) > 0.9
    assert max(ours[:25]) < 0.3


def test_probabilities_do_not_drift_from_upstreams_in_a_minute_of_any_sound(vad: SileroVad, turn: FloatAudio) -> None:
    import torch
    from silero_vad import load_silero_vad

    rng = np.random.default_rng(0)
    minute = np.resize(turn, 60 * 16_000) + 0.003 * rng.standard_normal(60 * 16_000).astype(np.float32)
    minute[20 * 16_000 : 22 * 16_000] = rng.uniform(-1, 1, 2 * 16_000)
    minute[30 * 16_000 : 31 * 16_000] = 1.0
    minute[40 * 16_000 : 42 * 16_000] = 0.0
    upstream, stream = load_silero_vad(onnx=True), vad.stream()
    ours = [stream.probability(window) for window in windows(minute)]
    theirs = [upstream(torch.from_numpy(window.copy()), 16_000).item() for window in windows(minute)]
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_streams_of_one_network_do_not_hear_each_other(vad: SileroVad, turn: FloatAudio) -> None:
    alone = vad.stream()
    expected = [alone.probability(window) for window in windows(turn)]
    ours, other = vad.stream(), vad.stream()
    found = []
    for window in windows(turn):
        found.append(ours.probability(window))
        other.probability(window[::-1].copy())
    assert found == expected


def test_after_a_reset_a_stream_is_as_new(vad: SileroVad, turn: FloatAudio) -> None:
    stream = vad.stream()
    first = [stream.probability(window) for window in windows(turn)]
    stream.reset()
    assert [stream.probability(window) for window in windows(turn)] == first


def test_a_window_of_another_size_is_refused(vad: SileroVad) -> None:
    with pytest.raises(ModelFailure, match=r"shape \(512,\) at 16 kHz, got \(320,\)"):
        vad.stream().probability(np.zeros(320, np.float32))


def test_missing_or_broken_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match=r"silero_vad\.onnx: no such file"):
        SileroVad(tmp_path)
    (tmp_path / "silero_vad.onnx").write_bytes(b"no weights at all")
    with pytest.raises(ModelFailure, match="cannot load it as Silero VAD"):
        SileroVad(tmp_path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", [value], [])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "silero_vad.onnx"))
    with pytest.raises(ModelFailure, match="expected a graph that chooses by sample rate, found none"):
        SileroVad(tmp_path)
