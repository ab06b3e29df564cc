"""Kokoro in torch, on a GPU or on the CPU: windows of several calls run together.

Three networks, each over a few fixed shapes: text (tokens), speech (duration frames), vocoder (frames of a window). On
a GPU every shape is a CUDA graph. Between the first two, durations come to the host, for they decide a shape; the
harmonic source lies between the last two, outside any graph, its noise the same for every clause of the same length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.cuda_graphs import GraphCache, capture_on_cuda
from models.kokoro_engine import FRAME_BUCKETS, FRAME_SAMPLES, HARMONICS_A_FRAME, Part, Row, Window, bounded
from models.kokoro_layout import KokoroSizes
from models.kokoro_network import OVERTONES, SPECTRUM, SpeechNetwork, TextNetwork, Vocoder, harmonic_source, spread
from models.types import FloatAudio, ModelFailure

__all__ = ["WEIGHTS_FILE", "TorchKokoro", "load_weights"]

WEIGHTS_FILE = "kokoro.safetensors"
_TOKEN_BUCKETS = (32, 64, 96, 128, 192, 256)
_DURATION_BUCKETS = (64, 96, 128, 192, 256, 384)
"""Duration frames of 25 ms."""
_MOST_ROWS = 4
"""Clauses in one run of the front."""
_SOURCE = "decoder.generator.m_source.l_linear"


@dataclass(frozen=True, slots=True)
class _TorchPart(Part):
    features: Tensor
    """512 x T, on the device."""
    harmonics: Tensor
    """22 x (60 T + 1), likewise."""
    style: Tensor
    """128, likewise."""


class TorchKokoro:
    """models.kokoro_engine.KokoroEngine. One thread at a time."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
        threads: int = 2,
        max_batch_size: int = 4,
        frame_buckets: Sequence[int] = FRAME_BUCKETS,
        sizes: KokoroSizes | None = None,
        seed: int = 0,
    ) -> None:
        """`weights`: by their published names. `dtype`: of the decoder and the vocoder; durations and pitch are
        computed in float32. `threads`: of the CPU, for the whole process. Raises ModelFailure."""
        with _computing():
            if device == "cpu":
                torch.set_num_threads(threads)
            elif not torch.cuda.is_available():
                raise ModelFailure("text to speech: device cuda was asked for, and torch finds none on this machine")
            self._device = torch.device(device)
            held = {name: value.to(self._device, torch.float32) for name, value in weights.items()}
            kind = getattr(torch, dtype)
            self._dtype = kind
            self._vocoder = Vocoder(held, kind)
            self._source = held[f"{_SOURCE}.weight"], held[f"{_SOURCE}.bias"]
            capture = capture_on_cuda(torch.cuda.graph_pool_handle()) if device == "cuda" else None
            self._text = GraphCache(TextNetwork(held, sizes or KokoroSizes()), capture)
            self._speech = GraphCache(SpeechNetwork(held, kind), capture)
            self._window = GraphCache(self._vocode, capture)
        self._max_batch_size = max_batch_size
        self._frame_buckets = tuple(sorted(frame_buckets))
        self._seed = seed

    @property
    def most_windows(self) -> int:
        return self._max_batch_size

    @property
    def frame_buckets(self) -> tuple[int, ...]:
        return self._frame_buckets

    def front(self, rows: Sequence[Row]) -> list[Part]:
        with _computing():
            groups = (rows[start : start + _MOST_ROWS] for start in range(0, len(rows), _MOST_ROWS))
            return [part for group in groups for part in self._front(group)]

    def windows(self, windows: Sequence[Window]) -> list[FloatAudio]:
        most = self._max_batch_size
        with _computing():
            groups = (windows[start : start + most] for start in range(0, len(windows), most))
            return [audio for group in groups for audio in self._run_windows(group)]

    def whole(self, part: Part) -> tuple[FloatAudio, npt.NDArray[np.float64]]:
        assert isinstance(part, _TorchPart)
        with _computing():
            measured = self._vocoder.measured(part.style.unsqueeze(0))
            mask = torch.ones(1, 1, part.frames, device=self._device)
            audio = self._vocoder(part.features.unsqueeze(0), part.harmonics.unsqueeze(0), mask, measured)
            return bounded(audio.cpu().numpy()), measured.moments().double().cpu().numpy()

    def warm_up(self) -> None:
        """On a GPU, capture every shape: some tens of graphs. On the CPU shapes are free."""
        if self._device.type == "cpu":
            return
        with _computing():
            for count in _powers(_MOST_ROWS):
                style = self._zeros(count, self._vocoder.style)
                for tokens in _TOKEN_BUCKETS:
                    ids, mask = self._zeros(count, tokens).long(), self._zeros(count, 1, tokens) + 1
                    _, read, text = self._text(ids, mask, style)
                for frames in _DURATION_BUCKETS:
                    owners, mask = self._zeros(count, frames).long(), self._zeros(count, 1, frames) + 1
                    self._speech(spread(read, owners), spread(text, owners), mask, style, style)
            for count in _powers(self._max_batch_size):
                for frames in self._frame_buckets:
                    self._window(*self._window_tensors(count, frames))

    # --- Text to features ---------------------------------------------------------------------------------------------

    def _front(self, rows: Sequence[Row]) -> list[Part]:
        count, lengths = _least(_powers(_MOST_ROWS), len(rows)), [len(row.tokens) for row in rows]
        fixed, longest = _bucket(_TOKEN_BUCKETS, max(lengths))
        tokens = np.zeros((count, longest), np.int64)
        styles = np.zeros((count, 2 * self._vocoder.style), np.float32)
        for place in range(count):
            # A batch that is not full holds its first row again.
            row = rows[place] if place < len(rows) else rows[0]
            tokens[place, : len(row.tokens)] = row.tokens
            styles[place] = row.style
        lengths += lengths[:1] * (count - len(rows))
        style, predicting = self._put(styles).chunk(2, dim=1)
        read = self._text(self._put(tokens), self._put(_mask(lengths, longest)), predicting, fixed=fixed)
        durations = [
            np.maximum(np.rint(each[:length]), 1).astype(np.int64)
            for each, length in zip(read[0].cpu().numpy(), lengths, strict=True)
        ]
        frames = [int(each.sum()) for each in durations]
        fixed, longest = _bucket(_DURATION_BUCKETS, max(frames))
        owners = np.zeros((count, longest), np.int64)
        for place, each in enumerate(durations):
            owners[place, : frames[place]] = np.repeat(np.arange(len(each)), each)
        place_of, mask = self._put(owners), self._put(_mask(frames, longest))
        spoken = (spread(each, place_of) for each in read[1:])
        pitch, features = self._speech(*spoken, mask, predicting, style, fixed=fixed)
        return [self._part(durations[place], pitch[place], features[place], style[place]) for place in range(len(rows))]

    def _part(self, durations: npt.NDArray[np.int64], pitch: Tensor, features: Tensor, style: Tensor) -> Part:
        frames = 2 * int(durations.sum())
        draw = torch.Generator(self._device).manual_seed(self._seed)
        noise = torch.randn(frames * FRAME_SAMPLES, OVERTONES, generator=draw, device=self._device)
        harmonics = harmonic_source(pitch[:frames], noise, *self._source).to(self._dtype)
        return _TorchPart(durations, features[:, :frames].clone(), harmonics, style.clone())

    # --- Features to audio --------------------------------------------------------------------------------------------

    def _run_windows(self, windows: Sequence[Window]) -> Iterator[FloatAudio]:
        lengths = [len(window.frames) for window in windows]
        fixed, longest = _bucket(self._frame_buckets, max(lengths))
        count = _least(_powers(self._max_batch_size), len(windows))
        features, harmonics, mask, style, statistics = self._window_tensors(count, longest)
        given = np.ones((count, statistics.shape[1]), np.float32)
        for place, (window, length) in enumerate(zip(windows, lengths, strict=True)):
            part, frames = window.part, window.frames
            assert isinstance(part, _TorchPart)
            assert window.statistics is not None
            given[place] = window.statistics
            spectra = slice(frames.start * HARMONICS_A_FRAME, frames.stop * HARMONICS_A_FRAME + 1)
            features[place, :, :length] = part.features[:, frames.start : frames.stop]
            harmonics[place, :, : length * HARMONICS_A_FRAME + 1] = part.harmonics[:, spectra]
            style[place] = part.style
        mask.copy_(self._put(_mask(lengths + [0] * (count - len(windows)), longest)))
        (audio,) = self._window(features, harmonics, mask, style, self._put(given), fixed=fixed)
        heard = audio.cpu().numpy()
        for samples, length in zip(heard, lengths, strict=False):
            yield bounded(samples[: length * FRAME_SAMPLES])

    def _window_tensors(self, count: int, frames: int) -> tuple[Tensor, ...]:
        """Features, harmonics, mask, style and statistics of so many windows of so many frames: nothing yet."""
        channels = self._vocoder.inputs
        return (
            self._zeros(count, channels, frames).to(self._dtype),
            self._zeros(count, SPECTRUM, frames * HARMONICS_A_FRAME + 1).to(self._dtype),
            self._zeros(count, 1, frames),
            self._zeros(count, self._vocoder.style),
            self._zeros(count, 2 * self._vocoder.channels) + 1,
        )

    def _vocode(
        self, features: Tensor, harmonics: Tensor, mask: Tensor, style: Tensor, statistics: Tensor
    ) -> tuple[Tensor, ...]:
        return (self._vocoder(features, harmonics, mask, self._vocoder.carried(style, statistics)),)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self._device)

    def _put(self, values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def load_weights(folder: Path) -> Mapping[str, Tensor]:
    """Of a prepared folder. Raises ModelFailure."""
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    try:
        weights: Mapping[str, Tensor] = load_file(path)
    except Exception as error:
        raise ModelFailure(f"{path}: expected Kokoro's weights for torch ({error}); prepare them first") from error
    return weights


def _mask(lengths: Sequence[int], longest: int) -> npt.NDArray[np.float32]:
    """batch x 1 x longest: 1 where a row is."""
    return (np.arange(longest) < np.array(lengths)[:, None, None]).astype(np.float32)


def _powers(most: int) -> tuple[int, ...]:
    """1, 2, 4 ... and `most`."""
    return (*(2**n for n in range((most - 1).bit_length())), most)


def _least(sizes: Sequence[int], wanted: int) -> int:
    return next(size for size in sizes if size >= wanted)


def _bucket(buckets: Sequence[int], wanted: int) -> tuple[bool, int]:
    """Whether there is a bucket for it, and the length to use: what is longer than all has its own."""
    return next(((True, bucket) for bucket in buckets if bucket >= wanted), (False, wanted))


@contextmanager
def _computing() -> Iterator[None]:
    """Without gradients, and what torch raises as the models' own failure."""
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        if isinstance(error, ModelFailure):
            raise
        raise ModelFailure(f"text to speech in torch failed: {error}") from error
