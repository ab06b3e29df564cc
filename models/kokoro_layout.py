"""Kokoro's weights by their published names (hexgrad/kokoro), weight normalisation folded in: what must be there, and
of what shape. Known without torch, for the steps that prepare them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["DILATIONS", "KERNELS", "KokoroSizes", "weight_shapes"]

KERNELS = (3, 7, 11)
"""Taps of the vocoder's three residual blocks of a stage."""
DILATIONS = (1, 3, 5)
"""Of the convolutions within each of them."""
_NOISE_KERNELS = (7, 11)
_SPECTRUM = 22
"""Channels of a spectrum of 20 samples: 11 magnitudes, 11 phases."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KokoroSizes:
    """As Kokoro-82M has them; smaller ones for tests."""

    symbols: int = 178
    positions: int = 512
    embedding: int = 128
    """Of a symbol, in ALBERT."""
    reader: int = 768
    """Width of ALBERT."""
    reader_heads: int = 12
    reader_layers: int = 12
    """All of one set of weights."""
    reader_inner: int = 2048
    hidden: int = 512
    style: int = 128
    most_frames: int = 50
    """Duration frames a token can have."""
    decoder: int = 1024
    residual: int = 64

    @property
    def vocoder(self) -> tuple[int, int]:
        """Channels of the vocoder's two stages."""
        return self.hidden // 2, self.hidden // 4


def weight_shapes(sizes: KokoroSizes | None = None) -> dict[str, Shape]:
    """Name -> shape of every tensor."""
    sizes = sizes or KokoroSizes()
    return dict([*_reader(sizes), *_predictor(sizes), *_text_encoder(sizes), *_decoder(sizes), *_vocoder(sizes)])


def _affine(name: str, outputs: int, *inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, *inputs)
    yield f"{name}.bias", (outputs,)


def _lstm(name: str, inputs: int, hidden: int) -> Iterator[tuple[str, Shape]]:
    for way in ("", "_reverse"):
        yield f"{name}.weight_ih_l0{way}", (4 * hidden, inputs)
        yield f"{name}.weight_hh_l0{way}", (4 * hidden, hidden)
        yield f"{name}.bias_ih_l0{way}", (4 * hidden,)
        yield f"{name}.bias_hh_l0{way}", (4 * hidden,)


def _reader(sizes: KokoroSizes) -> Iterator[tuple[str, Shape]]:
    width, inner = sizes.reader, sizes.reader_inner
    embeddings, layer = "bert.embeddings", "bert.encoder.albert_layer_groups.0.albert_layers.0"
    for name, count in (("word", sizes.symbols), ("position", sizes.positions), ("token_type", 2)):
        yield f"{embeddings}.{name}_embeddings.weight", (count, sizes.embedding)
    yield from _affine(f"{embeddings}.LayerNorm", sizes.embedding)
    yield from _affine("bert.encoder.embedding_hidden_mapping_in", width, sizes.embedding)
    for name in ("query", "key", "value", "dense"):
        yield from _affine(f"{layer}.attention.{name}", width, width)
    yield from _affine(f"{layer}.attention.LayerNorm", width)
    yield from _affine(f"{layer}.ffn", inner, width)
    yield from _affine(f"{layer}.ffn_output", width, inner)
    yield from _affine(f"{layer}.full_layer_layer_norm", width)
    yield from _affine("bert_encoder", sizes.hidden, width)


def _predictor(sizes: KokoroSizes) -> Iterator[tuple[str, Shape]]:
    hidden, styled = sizes.hidden, sizes.hidden + sizes.style
    for layer in range(0, 6, 2):
        yield from _lstm(f"predictor.text_encoder.lstms.{layer}", styled, hidden // 2)
        yield from _affine(f"predictor.text_encoder.lstms.{layer + 1}.fc", 2 * hidden, sizes.style)
    yield from _lstm("predictor.lstm", styled, hidden // 2)
    yield from _affine("predictor.duration_proj.linear_layer", sizes.most_frames, hidden)
    yield from _lstm("predictor.shared", styled, hidden // 2)
    for curve in ("F0", "N"):
        yield from _block(f"predictor.{curve}.0", hidden, hidden, sizes.style)
        yield from _block(f"predictor.{curve}.1", hidden, hidden // 2, sizes.style, doubling=True)
        yield from _block(f"predictor.{curve}.2", hidden // 2, hidden // 2, sizes.style)
        yield from _affine(f"predictor.{curve}_proj", 1, hidden // 2, 1)


def _block(name: str, inputs: int, outputs: int, style: int, *, doubling: bool = False) -> Iterator[tuple[str, Shape]]:
    yield from _affine(f"{name}.conv1", outputs, inputs, 3)
    yield from _affine(f"{name}.conv2", outputs, outputs, 3)
    yield from _affine(f"{name}.norm1.fc", 2 * inputs, style)
    yield from _affine(f"{name}.norm2.fc", 2 * outputs, style)
    if inputs != outputs:
        yield f"{name}.conv1x1.weight", (outputs, inputs, 1)
    if doubling:
        yield from _affine(f"{name}.pool", inputs, 1, 3)


def _text_encoder(sizes: KokoroSizes) -> Iterator[tuple[str, Shape]]:
    yield "text_encoder.embedding.weight", (sizes.symbols, sizes.hidden)
    for layer in range(3):
        yield from _affine(f"text_encoder.cnn.{layer}.0", sizes.hidden, sizes.hidden, 5)
        yield f"text_encoder.cnn.{layer}.1.gamma", (sizes.hidden,)
        yield f"text_encoder.cnn.{layer}.1.beta", (sizes.hidden,)
    yield from _lstm("text_encoder.lstm", sizes.hidden, sizes.hidden // 2)


def _decoder(sizes: KokoroSizes) -> Iterator[tuple[str, Shape]]:
    seen = sizes.decoder + sizes.residual + 2
    yield from _block("decoder.encode", sizes.hidden + 2, sizes.decoder, sizes.style)
    for layer in range(3):
        yield from _block(f"decoder.decode.{layer}", seen, sizes.decoder, sizes.style)
    yield from _block("decoder.decode.3", seen, sizes.hidden, sizes.style, doubling=True)
    for curve in ("F0", "N"):
        yield from _affine(f"decoder.{curve}_conv", 1, 1, 3)
    yield from _affine("decoder.asr_res.0", sizes.residual, sizes.hidden, 1)


def _vocoder(sizes: KokoroSizes) -> Iterator[tuple[str, Shape]]:
    name, (first, second) = "decoder.generator", sizes.vocoder
    yield from _affine(f"{name}.m_source.l_linear", 1, 9)
    for stage, (inputs, outputs, taps) in enumerate(((sizes.hidden, first, 20), (first, second, 12))):
        yield f"{name}.ups.{stage}.weight", (inputs, outputs, taps)
        yield f"{name}.ups.{stage}.bias", (outputs,)
        yield from _affine(f"{name}.noise_convs.{stage}", outputs, _SPECTRUM, (12, 1)[stage])
        yield from _snakes(f"{name}.noise_res.{stage}", outputs, _NOISE_KERNELS[stage], sizes.style)
        for number, kernel in enumerate(KERNELS):
            yield from _snakes(f"{name}.resblocks.{len(KERNELS) * stage + number}", outputs, kernel, sizes.style)
    yield from _affine(f"{name}.conv_post", _SPECTRUM, second, 7)


def _snakes(name: str, channels: int, kernel: int, style: int) -> Iterator[tuple[str, Shape]]:
    for half in (1, 2):
        for layer in range(len(DILATIONS)):
            yield from _affine(f"{name}.convs{half}.{layer}", channels, channels, kernel)
            yield from _affine(f"{name}.adain{half}.{layer}.fc", 2 * channels, style)
            yield f"{name}.alpha{half}.{layer}", (1, channels, 1)
