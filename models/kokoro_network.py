"""Kokoro's network in torch, written for batches of unlike lengths and for CUDA graphs.

Nothing here waits for the device or copies to it, and no shape depends on a value: what the published modules decide on
the host (packed sequences, lengths, expanding by durations) is an input. Rows are padded on the right; every layer that
looks sideways sees zeros there, so a row gives the same numbers at any length of padding and beside any others.

The weights' names are the published ones (models/kokoro_layout.py). The architecture is that of hexgrad/kokoro
(Apache-2.0), after StyleTTS 2 and iSTFTNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.kokoro_layout import DILATIONS, KERNELS, KokoroSizes

__all__ = [
    "OVERTONES",
    "SPECTRUM",
    "Carried",
    "Measured",
    "Normalising",
    "SpeechNetwork",
    "TextNetwork",
    "Vocoder",
    "harmonic_source",
    "spread",
]

_MARKS = 8
"""Columns beside an LSTM's inputs; the first is 1 where a row is padded. Eight keep its width a multiple of eight."""
_NEVER = -1e4
"""Weight of that column on the input gate: it lets nothing in, so that read backwards, too, a row begins with zeros."""
_VARIANCE_FLOOR = 1e-5
_TRANSFORM, _HOP = 20, 5
"""Samples of the vocoder's spectra, and between them."""
_BINS = _TRANSFORM // 2 + 1
SPECTRUM = 2 * _BINS
"""Channels of a spectrum: magnitudes, then phases."""
_UP_STEPS = (10, 6)
"""How many times longer each stage of the vocoder makes its row: 60 spectra a frame at last."""
_SOURCE_STEPS = ((6, 3), (1, 0))
"""Stride and padding of the harmonic source on its way to each stage."""
OVERTONES = 9
"""Of the harmonic source, the pitch itself among them."""
_RATE_HZ, _FRAME_SAMPLES = 24_000, 300


class _Weights:
    """The tensors below one name."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[f"{self._prefix}{name}"]

    def has(self, name: str) -> bool:
        return f"{self._prefix}{name}" in self._tensors

    def under(self, name: str) -> _Weights:
        return _Weights(self._tensors, f"{self._prefix}{name}.")

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        """A layer's weight and bias."""
        return self[f"{name}.weight"], self[f"{name}.bias"]


class _PaddedLstm:
    """One layer, both ways, over rows padded on the right."""

    def __init__(self, weights: _Weights) -> None:
        inner = weights["weight_ih_l0"]
        hidden, inputs = inner.shape[0] // 4, inner.shape[1]
        self._lstm = nn.LSTM(
            inputs + _MARKS, hidden, batch_first=True, bidirectional=True, device=inner.device, dtype=inner.dtype
        )
        with torch.no_grad():
            for name, value in self._lstm.named_parameters():
                given = weights[name]
                if name.startswith("weight_ih"):
                    marks = given.new_zeros(4 * hidden, _MARKS)
                    marks[:hidden, 0] = _NEVER
                    given = torch.cat([given, marks], dim=1)
                value.copy_(given)
        self._lstm.requires_grad_(False).eval()

    def __call__(self, x: Tensor, padded: Tensor) -> Tensor:
        """`x`: batch x time x inputs; `padded`: batch x time x _MARKS. What comes out over padding means nothing."""
        out, _ = self._lstm(torch.cat([x, padded], dim=2))
        return out


def _marks(mask: Tensor) -> Tensor:
    """`mask` (batch x 1 x time, 1 where a row is) as an LSTM takes it."""
    return F.pad((1 - mask).transpose(1, 2), (0, _MARKS - 1))


def _repeated(x: Tensor, times: int) -> Tensor:
    """Every sample so many times."""
    return x.unsqueeze(-1).expand(*x.shape, times).flatten(2)


class _Block:
    """A residual block of the predictor or the decoder; normalises over the row, and may double its length."""

    def __init__(self, weights: _Weights) -> None:
        self._norms = [weights.pair("norm1.fc"), weights.pair("norm2.fc")]
        self._convs = [weights.pair("conv1"), weights.pair("conv2")]
        self._shortcut = weights["conv1x1.weight"] if weights.has("conv1x1.weight") else None
        self._pool = weights.pair("pool") if weights.has("pool.weight") else None

    def __call__(self, x: Tensor, style: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output and its mask."""
        y = F.leaky_relu(self._normalised(x, style, mask, 0), 0.2) * mask
        if self._pool is not None:
            y = F.conv_transpose1d(y, *self._pool, stride=2, padding=1, output_padding=1, groups=y.shape[1])
            x, mask = _repeated(x, 2), _repeated(mask, 2)
            y = y * mask
        y = F.conv1d(y, *self._convs[0], padding=1) * mask
        y = F.leaky_relu(self._normalised(y, style, mask, 1), 0.2) * mask
        y = F.conv1d(y, *self._convs[1], padding=1)
        if self._shortcut is not None:
            x = F.conv1d(x, self._shortcut)
        return (y + x) * (0.5**0.5) * mask, mask

    def _normalised(self, x: Tensor, style: Tensor, mask: Tensor, which: int) -> Tensor:
        """`x` is zero where the mask is. Sums in float32: a row has thousands of samples."""
        count = mask.sum(dim=2, keepdim=True, dtype=torch.float32)
        mean = x.sum(dim=2, keepdim=True, dtype=torch.float32) / count
        centred = (x - mean) * mask
        variance = centred.square().sum(dim=2, keepdim=True) / count
        gain, offset = F.linear(style, *self._norms[which]).unsqueeze(-1).chunk(2, dim=1)
        return torch.addcmul(offset.float(), centred * torch.rsqrt(variance + _VARIANCE_FLOOR), 1 + gain).to(x.dtype)


class TextNetwork:
    """From phonemes to durations: ALBERT, the duration predictor, and the text encoder."""

    def __init__(self, tensors: Mapping[str, Tensor], sizes: KokoroSizes) -> None:
        # Parts of it are kept, and nothing else must stay in memory with them.
        weights = _Weights({name: value for name, value in tensors.items() if not name.startswith("decoder.")})
        self._sizes = sizes
        self._embeddings = weights.under("bert.embeddings")
        self._widening = weights.pair("bert.encoder.embedding_hidden_mapping_in")
        self._layer = weights.under("bert.encoder.albert_layer_groups.0.albert_layers.0")
        self._narrowing = weights.pair("bert_encoder")
        predictor, encoder = weights.under("predictor"), weights.under("text_encoder")
        self._durations = [
            (_PaddedLstm(predictor.under(f"text_encoder.lstms.{n}")), predictor.pair(f"text_encoder.lstms.{n + 1}.fc"))
            for n in range(0, 6, 2)
        ]
        self._lstm = _PaddedLstm(predictor.under("lstm"))
        self._projection = predictor.pair("duration_proj.linear_layer")
        self._symbols = encoder["embedding.weight"]
        self._convs = [(encoder.pair(f"cnn.{n}.0"), encoder.under(f"cnn.{n}.1")) for n in range(3)]
        self._text_lstm = _PaddedLstm(encoder.under("lstm"))

    def __call__(self, tokens: Tensor, mask: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`tokens`: batch x n; `mask`: batch x 1 x n; `style`: batch x 128, the predictor's half.

        Durations (batch x n, frames, not rounded), what the predictor reads further (batch x n x 640), and the text
        encoding (batch x n x 512).
        """
        padded, along = _marks(mask), mask.transpose(1, 2)
        styles = style.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        x = torch.cat([F.linear(self._read(tokens, mask), *self._narrowing), styles], dim=2) * along
        for lstm, norm in self._durations:
            x = lstm(x, padded)
            gain, offset = F.linear(style, *norm).unsqueeze(1).chunk(2, dim=2)
            x = torch.addcmul(offset, F.layer_norm(x, x.shape[2:]), 1 + gain)
            x = torch.cat([x, styles], dim=2) * along
        durations = torch.sigmoid(F.linear(self._lstm(x, padded), *self._projection)).sum(dim=2)
        return durations, x, self._encode(tokens, mask, padded)

    def _read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        at, layer, heads = self._embeddings, self._layer, self._sizes.reader_heads
        x = F.embedding(tokens, at["word_embeddings.weight"]) + at["token_type_embeddings.weight"][0]
        x = x + at["position_embeddings.weight"][: tokens.shape[1]]
        x = F.linear(F.layer_norm(x, x.shape[2:], *at.pair("LayerNorm"), 1e-12), *self._widening)
        seen = (mask > 0).unsqueeze(2)
        for _ in range(self._sizes.reader_layers):
            query, key, value = (
                F.linear(x, *layer.pair(f"attention.{name}")).unflatten(2, (heads, -1)).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2).flatten(2)
            x = x + F.linear(found, *layer.pair("attention.dense"))
            x = F.layer_norm(x, x.shape[2:], *layer.pair("attention.LayerNorm"), 1e-12)
            y = F.gelu(F.linear(x, *layer.pair("ffn")), approximate="tanh")
            x = x + F.linear(y, *layer.pair("ffn_output"))
            x = F.layer_norm(x, x.shape[2:], *layer.pair("full_layer_layer_norm"), 1e-12)
        return x

    def _encode(self, tokens: Tensor, mask: Tensor, padded: Tensor) -> Tensor:
        x = F.embedding(tokens, self._symbols).transpose(1, 2) * mask
        for conv, norm in self._convs:
            x = F.conv1d(x, *conv, padding=2).transpose(1, 2)
            x = F.layer_norm(x, x.shape[2:], norm["gamma"], norm["beta"], 1e-5).transpose(1, 2)
            x = F.leaky_relu(x, 0.2) * mask
        return self._text_lstm(x.transpose(1, 2), padded)


class SpeechNetwork:
    """From durations to pitch and the vocoder's features."""

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """Pitch is computed in the tensors' own type: it is summed up to a phase. The decoder in `dtype`."""
        predictor = _Weights(tensors).under("predictor")
        decoder = _Weights({name: value.to(dtype) for name, value in tensors.items() if name.startswith("decoder.")})
        decoder = decoder.under("decoder")
        self._dtype = dtype
        self._shared = _PaddedLstm(predictor.under("shared"))
        self._curves = [
            ([_Block(predictor.under(f"{curve}.{n}")) for n in range(3)], predictor.pair(f"{curve}_proj"))
            for curve in ("F0", "N")
        ]
        self._curve_convs = [decoder.pair("F0_conv"), decoder.pair("N_conv")]
        self._residual = decoder.pair("asr_res.0")
        self._encode = _Block(decoder.under("encode"))
        self._decode = [_Block(decoder.under(f"decode.{n}")) for n in range(4)]

    def __call__(
        self, read: Tensor, text: Tensor, mask: Tensor, predicting: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`read`, `text`: of TextNetwork, `spread` over t duration frames; `mask`: batch x 1 x t; `predicting`,
        `style`: batch x 128, the predictor's and the decoder's half.

        Pitch (batch x 2t, Hz) and features (batch x 512 x 2t).
        """
        x = self._shared(read * mask.transpose(1, 2), _marks(mask)).transpose(1, 2) * mask
        curves = []
        for blocks, projection in self._curves:
            y, shape = x, mask
            for block in blocks:
                y, shape = block(y, predicting, shape)
            curves.append(F.conv1d(y, *projection) * shape)
        pitch, style, mask = curves[0].squeeze(1), style.to(self._dtype), mask.to(self._dtype)
        said = text.transpose(1, 2).to(self._dtype) * mask
        bent = [
            F.conv1d(curve.to(self._dtype), *conv, stride=2, padding=1) * mask
            for curve, conv in zip(curves, self._curve_convs, strict=True)
        ]
        residual = F.conv1d(said, *self._residual) * mask
        y, _ = self._encode(torch.cat([said, *bent], dim=1), style, mask)
        for block in self._decode:
            y, _ = block(torch.cat([y, residual, *bent], dim=1), style, mask)
        return pitch, y


def spread(x: Tensor, owners: Tensor) -> Tensor:
    """What belongs to tokens (batch x n x channels) for every frame, by the token that it belongs to (batch x t)."""
    return x.gather(1, owners.unsqueeze(2).expand(-1, -1, x.shape[2]))


def harmonic_source(pitch: Tensor, noise: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The vocoder's source: a voice's overtones where there is pitch, noise elsewhere.

    `pitch`: t frames, Hz, float32; `noise`: 300 t x 9, normal. 22 x (60 t + 1): magnitudes, then phases. Not for a
    CUDA graph: the noise is drawn anew, and phases are summed up in float64.
    """
    steps = torch.arange(1, OVERTONES + 1, device=pitch.device, dtype=torch.float64)
    turns = torch.cumsum(pitch.double().unsqueeze(1) * steps / _RATE_HZ % 1, dim=0) * _FRAME_SAMPLES
    turns = F.interpolate(turns.T.unsqueeze(0), scale_factor=_FRAME_SAMPLES, mode="linear").squeeze(0).T
    sines = 0.1 * torch.sin(2 * torch.pi * (turns % 1)).float()
    voiced = (pitch > 10).float().repeat_interleave(_FRAME_SAMPLES).unsqueeze(1)
    source = sines * voiced + noise * (voiced * 0.003 + (1 - voiced) * (0.1 / 3))
    excited = torch.tanh(F.linear(source, weight, bias)).reshape(1, 1, -1)
    basis = _fourier(pitch.device)
    spectrum = F.conv1d(F.pad(excited, (_TRANSFORM // 2, _TRANSFORM // 2), mode="reflect"), basis, stride=_HOP)
    real, imaginary = spectrum.squeeze(0).split(_BINS)
    # The imaginary part of the first and last bin is zero by definition. Rounding must not give it a sign: the phase of
    # a negative bin is pi, as it was in training (torch.stft, angle).
    imaginary = torch.cat([torch.zeros_like(imaginary[:1]), imaginary[1:-1], torch.zeros_like(imaginary[:1])])
    return torch.cat([torch.hypot(real, imaginary), torch.atan2(imaginary, real)])


def _fourier(device: torch.device) -> Tensor:
    """22 x 1 x 20: windowed cosines, then sines, of a spectrum's bins."""
    samples = torch.arange(_TRANSFORM, device=device, dtype=torch.float64)
    angle = 2 * torch.pi * torch.outer(torch.arange(_BINS, device=device, dtype=torch.float64), samples) / _TRANSFORM
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * samples / _TRANSFORM)
    return (torch.cat([torch.cos(angle), -torch.sin(angle)]) * window).unsqueeze(1).float()


Normalising = Callable[[Tensor, int], Tensor]
"""What an adaptive normalisation does to its input, by the layer's number."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Statistics are given: the vocoder is local in time."""

    scales: tuple[Tensor, ...]
    """batch x channels x 1, by layer."""
    shifts: tuple[Tensor, ...]

    def __call__(self, x: Tensor, layer: int) -> Tensor:
        return torch.addcmul(self.shifts[layer], x, self.scales[layer])


class Measured:
    """Normalises one whole row over itself, as published, and keeps the moments."""

    def __init__(self, gains: tuple[Tensor, ...], offsets: tuple[Tensor, ...]) -> None:
        self._gains = gains
        self._offsets = offsets
        self._moments: list[tuple[Tensor, Tensor]] = [(gain, gain) for gain in gains]

    def __call__(self, x: Tensor, layer: int) -> Tensor:
        x32 = x.float()
        mean, square = x32.mean(dim=2, keepdim=True), x32.square().mean(dim=2, keepdim=True)
        self._moments[layer] = mean, square
        deviation = torch.sqrt((x32 - mean).square().mean(dim=2, keepdim=True) + _VARIANCE_FLOOR)
        scaled = torch.addcmul(self._offsets[layer], (x32 - mean) / deviation, self._gains[layer])
        return scaled.to(x.dtype)

    def moments(self) -> Tensor:
        """2 x channels: means and mean squares of every layer."""
        means, squares = zip(*self._moments, strict=True)
        return torch.stack([torch.cat(means, dim=1), torch.cat(squares, dim=1)]).reshape(2, -1)


class Vocoder:
    """From features and the harmonic source to audio."""

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        own = {name: value for name, value in tensors.items() if name.startswith("decoder.generator.")}
        weights = _Weights({name: value.to(dtype) for name, value in own.items()}).under("decoder.generator")
        exact = _Weights(own).under("decoder.generator")
        self._dtype = dtype
        blocks, norms = list[_Snakes](), list[tuple[Tensor, Tensor]]()
        for stage in range(2):
            for name in (f"noise_res.{stage}", *(f"resblocks.{len(KERNELS) * stage + n}" for n in range(len(KERNELS)))):
                blocks.append(_Snakes(weights.under(name), first_layer=len(norms)))
                norms += _Snakes.norms(exact.under(name))
        self._sources, self._voices = blocks[:: len(KERNELS) + 1], [blocks[1:4], blocks[5:8]]
        self._widths = [bias.shape[0] // 2 for _, bias in norms]
        gains, offsets = zip(*(zip(weight.chunk(2), bias.chunk(2), strict=True) for weight, bias in norms), strict=True)
        self._gains, self._offsets = _joined(gains), _joined(offsets)
        self._ups = [weights.pair("ups.0"), weights.pair("ups.1")]
        self._noise_convs = [weights.pair("noise_convs.0"), weights.pair("noise_convs.1")]
        # Spectra are exponentials of what this layer gives: from here on in float32.
        self._post = exact.pair("conv_post")
        self._basis = _inverse_basis(self._post[0].device)

    @property
    def inputs(self) -> int:
        """Channels of the features."""
        return int(self._ups[0][0].shape[0])

    @property
    def style(self) -> int:
        """Numbers of a style."""
        return int(self._gains[0].shape[1])

    @property
    def channels(self) -> int:
        """Of all that is normalised."""
        return sum(self._widths)

    def carried(self, style: Tensor, statistics: Tensor) -> Carried:
        """`style`: batch x 128, the decoder's half; `statistics`: batch x 2 channels, means, then deviations."""
        gains, offsets = F.linear(style, *self._gains), F.linear(style, *self._offsets)
        mean, deviation = statistics.chunk(2, dim=1)
        scales = (1 + gains) / deviation
        return Carried(self._layers(scales), self._layers(offsets - mean * scales))

    def measured(self, style: Tensor) -> Measured:
        """For one row."""
        gains, offsets = F.linear(style, *self._gains), F.linear(style, *self._offsets)
        return Measured(
            tuple((1 + gains).unsqueeze(-1).split(self._widths, dim=1)),
            tuple(offsets.unsqueeze(-1).split(self._widths, dim=1)),
        )

    def _layers(self, values: Tensor) -> tuple[Tensor, ...]:
        return tuple(values.to(self._dtype).unsqueeze(-1).split(self._widths, dim=1))

    def __call__(self, features: Tensor, harmonics: Tensor, mask: Tensor, normalise: Normalising) -> Tensor:
        """`features`: batch x 512 x t; `harmonics`: batch x 22 x (60 t + 1); `mask`: batch x 1 x t. Zero in padding.

        batch x 300 t samples, float32.
        """
        x, harmonics, mask = (each.to(self._dtype) for each in (features, harmonics, mask))
        coarse, fine = _repeated(mask, _UP_STEPS[0]), _repeated(mask, _UP_STEPS[0] * _UP_STEPS[1])
        masks = (coarse, torch.cat([fine[:, :, :1], fine], dim=2))
        for stage, mask in enumerate(masks):
            step, reach = _SOURCE_STEPS[stage]
            source = F.conv1d(harmonics, *self._noise_convs[stage], stride=step, padding=reach) * mask
            source = self._sources[stage](source, mask, normalise)
            step = _UP_STEPS[stage]
            x = F.conv_transpose1d(F.leaky_relu(x, 0.1), *self._ups[stage], stride=step, padding=step // 2)
            if stage == 1:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x * mask + source
            first, second, third = (block(x, mask, normalise) for block in self._voices[stage])
            x = (first + second + third) / len(KERNELS)
        return self._audio(F.leaky_relu(x, 0.01).float(), masks[1].float())

    def _audio(self, x: Tensor, mask: Tensor) -> Tensor:
        """The inverse short-time Fourier transform, as a convolution."""
        logs, phases = F.conv1d(x, *self._post, padding=3).split(_BINS, dim=1)
        lengths, phases = torch.exp(logs) * mask, torch.sin(phases)
        spectra = torch.cat([lengths * torch.cos(phases), lengths * torch.sin(phases)], dim=1)
        audio = F.conv_transpose1d(spectra, self._basis, stride=_HOP).squeeze(1)
        return audio[:, _TRANSFORM // 2 : -_TRANSFORM // 2]


class _Snakes:
    """A residual block of the vocoder: three times normalised, bent by a sine, convolved."""

    def __init__(self, weights: _Weights, *, first_layer: int) -> None:
        self._first = first_layer
        self._halves = [
            [(*weights.pair(f"convs{half}.{n}"), weights[f"alpha{half}.{n}"]) for n in range(len(DILATIONS))]
            for half in (1, 2)
        ]
        self._inverses = [[1 / alpha for _, _, alpha in half] for half in self._halves]

    @staticmethod
    def norms(weights: _Weights) -> Iterator[tuple[Tensor, Tensor]]:
        """In the order in which they are numbered."""
        for n in range(len(DILATIONS)):
            for half in (1, 2):
                yield weights.pair(f"adain{half}.{n}.fc")

    def __call__(self, x: Tensor, mask: Tensor, normalise: Normalising) -> Tensor:
        """`x` is zero where the mask is, and so is what comes out."""
        for n, dilation in enumerate(DILATIONS):
            y = x
            for half, step in enumerate((dilation, 1)):
                weight, bias, alpha = self._halves[half][n]
                y = normalise(y, self._first + 2 * n + half)
                bent = torch.sin(y * alpha)
                y = torch.addcmul(y, bent * self._inverses[half][n], bent) * mask
                y = F.conv1d(y, weight, bias, padding=step * (weight.shape[2] - 1) // 2, dilation=step)
            x = torch.addcmul(x, y, mask)
        return x


def _joined(layers: tuple[tuple[Tensor, Tensor], ...]) -> tuple[Tensor, Tensor]:
    """Many linear layers of one input as one."""
    weights, biases = zip(*layers, strict=True)
    return torch.cat(weights), torch.cat(biases)


def _inverse_basis(device: torch.device) -> Tensor:
    """22 x 1 x 20: what a spectrum's bins add to the samples around it.

    Overlapping windows' squares sum up to 1.5, which the ONNX export does not divide by: so neither do we, and both are
    equally loud (3.5 dB above the published modules).
    """
    forward = _fourier(device).double().squeeze(1)
    twice = torch.full((SPECTRUM, 1), 2.0, device=device, dtype=torch.float64)
    twice[[0, _BINS - 1, _BINS, -1]] = 1.0
    return (forward * twice / _TRANSFORM).unsqueeze(1).float()
