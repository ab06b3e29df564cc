from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import kokoro_graph
from models.kokoro_graph import DURATIONS, FEATURES, HARMONICS, STATISTICS, STYLE, front_graph, vocoder_graphs
from models.types import ModelFailure
from models.weights import prepare

RNG = np.random.default_rng(7)


def _run(graph: bytes | str, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(outputs, feeds)


def _quantised_convolution(path: Path, *, taps: int, dilation: int, stride: int, bias: bool) -> None:
    """What the published graph does: quantise, convolve uint8 by uint8, add floor(bias / scale), scale."""
    padding = dilation * (taps - 1) // 2
    constants = {
        "w": RNG.integers(0, 256, (6, 4, taps)).astype(np.uint8),
        "w_zero": np.uint8(113),
        "w_scale": np.float32(0.02),
        "bias": RNG.standard_normal(6).astype(np.float32),
        "shape": np.array([1, -1, 1], np.int64),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
        helper.make_node(
            "ConvInteger",
            ["q", "w", "x_zero", "w_zero"],
            ["sums"],
            "conv",
            dilations=[dilation],
            strides=[stride],
            pads=[padding, padding],
        ),
        helper.make_node("Mul", ["x_scale", "w_scale"], ["scale"]),
    ]
    last = "sums"
    if bias:
        nodes += [
            helper.make_node("Div", ["bias", "scale"], ["ratio"]),
            helper.make_node("Floor", ["ratio"], ["floor"]),
            helper.make_node("Cast", ["floor"], ["bias_sums"], to=TensorProto.INT32),
            helper.make_node("Reshape", ["bias_sums", "shape"], ["bias_column"]),
            helper.make_node("Add", ["sums", "bias_column"], ["biased"]),
        ]
        last = "biased"
    nodes += [
        helper.make_node("Cast", [last], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


@pytest.mark.parametrize(
    ("taps", "dilation", "stride", "bias"), [(3, 1, 1, True), (11, 5, 1, True), (1, 1, 1, False), (4, 1, 2, False)]
)
def test_a_rewritten_convolution_gives_the_same_numbers(
    tmp_path: Path, taps: int, dilation: int, stride: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kokoro_graph.has_int8_dot_products():
        pytest.skip("this CPU saturates uint8 x int8 products; the graph is left alone on it")
    path = tmp_path / "front.onnx"
    _quantised_convolution(path, taps=taps, dilation=dilation, stride=stride, bias=bias)
    rewritten = front_graph(path)
    kinds = {node.op_type for node in onnx.load_from_string(rewritten).graph.node}
    assert "ConvInteger" not in kinds
    assert "MatMulIntegerToFloat" in kinds
    for length in (40, 41):
        x = RNG.standard_normal((1, 4, length)).astype(np.float32)
        (before,) = _run(str(path), ["y"], {"x": x})
        (after,) = _run(rewritten, ["y"], {"x": x})
        assert after.shape == before.shape
        # The published bias is rounded down to the integer grid: at most one step of scale, about 0.02 * 4 / 255.
        np.testing.assert_allclose(after, before, atol=(0.002 if bias else 1e-6), rtol=1e-5)

    monkeypatch.setattr(kokoro_graph, "has_int8_dot_products", lambda: False)
    assert "ConvInteger" in {node.op_type for node in onnx.load_from_string(front_graph(path)).graph.node}


def test_a_rewritten_stft_gives_real_and_imaginary_part(tmp_path: Path) -> None:
    window = np.hanning(21)[:20].astype(np.float32)
    constants = {"hop": np.int64(5), "window": window, "size": np.int64(20), "0": np.int64(0), "1": np.int64(1)}
    nodes = [
        helper.make_node("STFT", ["x", "hop", "window", "size"], ["z"], "stft", onesided=1),
        helper.make_node("Transpose", ["z"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Gather", ["t", "0"], ["real"], axis=3),
        helper.make_node("Gather", ["t", "1"], ["imaginary"], axis=3),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, None])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("real", "imaginary")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    path = tmp_path / "front.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    x = RNG.standard_normal((1, 200)).astype(np.float32)
    real, imaginary = _run(front_graph(path), ["real", "imaginary"], {"x": x})
    frames = np.lib.stride_tricks.sliding_window_view(x[0], 20)[::5] * window
    expected = np.fft.rfft(frames).T[None]
    np.testing.assert_allclose(real, expected.real, atol=1e-4)
    np.testing.assert_allclose(imaginary, expected.imag, atol=1e-4)
    assert (imaginary[:, [0, -1]] > 0).all()


def test_a_file_that_is_no_graph_of_kokoro_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match=r"front\.onnx: cannot be read"):
        front_graph(tmp_path / "front.onnx")
    (tmp_path / "back.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelFailure, match=r"back\.onnx: expected an ONNX graph cut from Kokoro"):
        vocoder_graphs(tmp_path / "back.onnx")
    _quantised_convolution(tmp_path / "other.onnx", taps=3, dilation=1, stride=1, bias=True)
    with pytest.raises(ModelFailure, match="no AdaIN layer"):
        vocoder_graphs(tmp_path / "other.onnx")


@pytest.mark.slow
def test_the_rewritten_kokoro_is_the_published_one() -> None:
    kokoro_folder = prepare("kokoro-82m-int8")
    voice = np.fromfile(kokoro_folder / "voices" / "af_heart.bin", np.float32).reshape(-1, 256)
    tokens = np.array([[0, 131, 156, 135, 123, 3, 16, 157, 25, 16, 53, 72, 56, 4, 0]], np.int64)
    feeds = {"tokens": tokens, "style": voice[13:14], "speed": np.ones(1, np.float32)}
    names = [FEATURES, HARMONICS, STYLE, DURATIONS]
    published = dict(zip(names, _run(str(kokoro_folder / "front.onnx"), names, feeds), strict=True))
    rewritten = dict(zip(names, _run(front_graph(kokoro_folder / "front.onnx"), names, feeds), strict=True))
    np.testing.assert_array_equal(rewritten[DURATIONS], published[DURATIONS])
    np.testing.assert_array_equal(rewritten[STYLE], published[STYLE])
    error = np.abs(rewritten[FEATURES] - published[FEATURES]).mean() / np.abs(published[FEATURES]).mean()
    assert error < 0.08

    graphs = vocoder_graphs(kokoro_folder / "back.onnx")
    inputs = {name: published[name] for name in (FEATURES, HARMONICS, STYLE)}
    (reference,) = _run(str(kokoro_folder / "back.onnx"), ["audio"], inputs)
    whole, statistics = _run(graphs.measuring, ["audio", STATISTICS], inputs)
    (carried,) = _run(graphs.carrying, ["audio"], {**inputs, STATISTICS: statistics})
    assert whole.size == reference.size == published[FEATURES].shape[2] * 300
    for audio in (whole, carried):
        # Given the clause's own statistics both are the published vocoder, but for rounding in its quantised layers.
        assert np.corrcoef(audio.ravel(), reference.ravel())[0, 1] > 0.97
