"""Whisper's log-mel features, as Whisper and Smart Turn both want them, in float32 throughout.

The method is OpenAI Whisper's `log_mel_spectrogram` (whisper/audio.py): a 400-point Hann window each 160 samples, a
Slaney mel filterbank, log10 clamped to 8 below the clip's maximum, then (x + 4) / 4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from models.types import HEARING_RATE_HZ, FloatAudio

FFT_SAMPLES = 400
HOP_SAMPLES = 160
FRAMES_PER_S = HEARING_RATE_HZ // HOP_SAMPLES

FloatMatrix = npt.NDArray[np.float32]


@lru_cache(maxsize=4)
def mel_filters(mel_count: int) -> FloatMatrix:
    """Slaney's filterbank for 16 kHz, float32 (mel_count, 201): linear to 1 kHz, logarithmic above, unit area."""
    linear_hz = 200.0 / 3.0
    knee_hz = 1000.0
    knee_mel = knee_hz / linear_hz
    log_step = np.log(6.4) / 27.0
    top_mel = knee_mel + np.log(HEARING_RATE_HZ / 2 / knee_hz) / log_step
    mels = np.linspace(0.0, top_mel, mel_count + 2)
    edges = np.where(mels < knee_mel, mels * linear_hz, knee_hz * np.exp(log_step * (mels - knee_mel)))
    bins = np.fft.rfftfreq(FFT_SAMPLES, 1.0 / HEARING_RATE_HZ)
    widths = np.diff(edges)
    slopes = edges[:, None] - bins[None, :]
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    filters: FloatMatrix = weights.astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache(maxsize=1)
def _window() -> FloatAudio:
    window: FloatAudio = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)
    window.flags.writeable = False
    return window


def log_mel(audio: FloatAudio, mel_count: int = 80) -> FloatMatrix:
    """Log-mel features of mono 16 kHz samples, float32 (mel_count, n // 160).

    Raises ValueError unless `audio` has one dimension and more than 200 samples (the window reflects that much).
    """
    if audio.ndim != 1 or len(audio) <= FFT_SAMPLES // 2:
        raise ValueError(f"log_mel wants mono samples of shape (n,), n > {FFT_SAMPLES // 2}; got shape {audio.shape}")
    padded = np.pad(audio.astype(np.float32, copy=False), FFT_SAMPLES // 2, mode="reflect")
    # Whisper drops the last of the n // 160 + 1 frames.
    frames = sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][: len(audio) // HOP_SAMPLES]
    spectra = np.fft.rfft(frames * _window(), axis=-1)
    power = spectra.real**2 + spectra.imag**2
    mels = mel_filters(mel_count) @ power.T
    np.maximum(mels, 1e-10, out=mels)
    logs: FloatMatrix = np.log10(mels, out=mels)
    np.maximum(logs, logs.max() - 8.0, out=logs)
    logs += 4.0
    logs *= 0.25
    return logs
