"""The simulated caller's voice: lines as 8 kHz audio, and the noise around them.

The voice is Piper's, which is not the agent's: its own voice must never test its ears. Rendered lines are kept under
$TRUNKLINE_HOME/speech, so that a line is rendered once and sounds the same in every run.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import soxr

from bench.script import Turn, pause_pieces
from bench.v2v import Span, audible_spans
from models.types import SPEAKING_RATE_HZ, FloatAudio
from telephony.audio import WIRE_RATE_HZ, WavWriter, float_to_pcm16

if TYPE_CHECKING:
    from models.kokoro import KokoroSpeaker

SPEECH_DBFS = -22.0
"""Level of speech while it is active: a few dB over the -26 dBov that ITU-T G.191 takes as nominal."""

_SENTENCE_GAP_S = 0.25
"""Between two sentences of one line."""

_NOISE_LOOP_S = 20
"""Noise repeats after this long."""

_CACHE_VERSION = 1
"""Raised when the same settings would render differently."""

_BABBLE = (
    "I told him that we would meet them later this week, but nobody wrote it down.",
    "The kitchen closes at midnight, so order something before the music starts again.",
    "She has been working over there since the summer and really likes the people.",
    "Could you pass me the other one, please, this one is almost empty already.",
    "They moved the whole thing to the second floor because of all the noise outside.",
    "My brother drove for nine hours and then found out that the shop was shut.",
)


class VoiceError(RuntimeError):
    """A voice cannot speak: the model or recording is missing or not what is expected."""


@dataclass(frozen=True, slots=True)
class RenderedLine:
    """A line ready for the wire."""

    pcm: FloatAudio
    """8 kHz, without silence at its ends."""
    text: str
    """The words, without markup."""
    audible: Span
    """First and last audible sample in `pcm`."""


class Voice(Protocol):
    """Speaks for the caller."""

    name: str

    def render(self, text: str, seed: int) -> FloatAudio:
        """Words as 8 kHz audio at SPEECH_DBFS, shape (n,), trimmed; the same for the same text and seed. Blocking."""
        ...


@dataclass(frozen=True, slots=True)
class PiperSettings:
    """How Piper speaks: calm and clear enough that Whisper tiny hears every word over u-law."""

    length_scale: float = 1.15
    """Above 1 is slower."""
    noise_scale: float = 0.333
    """Variation of the sound."""
    noise_w_scale: float = 0.333
    """Variation of the rhythm."""


class PiperVoice:
    """A Piper voice on disk, with a cache of what it has said. Safe to share between threads."""

    def __init__(self, folder: Path, cache: Path, settings: PiperSettings | None = None) -> None:
        """`folder` holds one voice: x.onnx and x.onnx.json. Raises VoiceError."""
        models = sorted(folder.glob("*.onnx"))
        if len(models) != 1:
            raise VoiceError(
                f"{folder}: expected one Piper voice (.onnx), found {len(models)}; run `trunkline models prepare`"
            )
        self._model = models[0]
        self._cache = cache
        self._settings = settings or PiperSettings()
        self._lock = threading.Lock()
        self.name = f"piper:{self._model.stem}"

    def render(self, text: str, seed: int) -> FloatAudio:
        path = self._cache / f"{self._digest(text, seed)}.wav"
        if path.exists():
            return read_wav(path)
        with self._lock:
            audio = self._speak(text, seed)
        _write_atomically(path, audio)
        return read_wav(path)

    def _digest(self, text: str, seed: int) -> str:
        key = [
            _CACHE_VERSION,
            self._model.name,
            self._model.stat().st_size,
            repr(self._settings),
            SPEECH_DBFS,
            text,
            seed,
        ]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

    def _speak(self, text: str, seed: int) -> FloatAudio:
        # Piper's noise comes from ONNX Runtime's generator, which a session reads when it is made: hence one a line.
        import onnxruntime
        from piper import PiperVoice as Engine
        from piper import SynthesisConfig

        onnxruntime.set_seed(seed + 1)
        engine = Engine.load(self._model)
        config = SynthesisConfig(
            length_scale=self._settings.length_scale,
            noise_scale=self._settings.noise_scale,
            noise_w_scale=self._settings.noise_w_scale,
            normalize_audio=False,
        )
        rate_hz = engine.config.sample_rate
        gap = np.zeros(int(_SENTENCE_GAP_S * rate_hz), dtype=np.float32)
        pieces: list[FloatAudio] = []
        for chunk in engine.synthesize(text, config):
            pieces += [gap, _trim(chunk.audio_float_array.astype(np.float32), rate_hz)]
        if not pieces:
            raise VoiceError(f"nothing to say in {text!r}; expected words")
        return to_line_level(resample(np.concatenate(pieces[1:]), rate_hz))


class KokoroVoice:
    """A voice of the agent's own synthesiser, for languages that no other voice at hand speaks.

    Not the voice that the agent has: but its ears know how this one speaks, so word errors are flattered.
    """

    def __init__(self, folder: Path, voice: str, cache: Path) -> None:
        """`folder`: Kokoro's prepared weights."""
        self._folder = folder
        self._speaker: KokoroSpeaker | None = None
        self._voice = voice
        self._cache = cache
        self._lock = threading.Lock()
        self.name = f"kokoro:{voice}"

    def render(self, text: str, seed: int) -> FloatAudio:
        key = json.dumps([_CACHE_VERSION, self.name, self._folder.name, SPEECH_DBFS, text])
        path = self._cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.wav"
        if not path.exists():
            with self._lock:
                _write_atomically(path, self._speak(text))
        return read_wav(path)

    def _speak(self, text: str) -> FloatAudio:
        from models.kokoro_onnx import onnx_speaker

        self._speaker = self._speaker or onnx_speaker(self._folder)
        chunks = [chunk.pcm for chunk in self._speaker.speak(text, voice=self._voice)]
        if not chunks:
            raise VoiceError(f"nothing to say in {text!r}; expected words")
        return to_line_level(resample(np.concatenate(chunks), SPEAKING_RATE_HZ))


def render_turn(turn: Turn, voice: Voice, seed: int) -> RenderedLine | None:
    """What a turn of a script says, pauses and all; None if it says nothing. Raises VoiceError. Blocking."""
    pieces = pause_pieces(turn.line)
    if not pieces:
        return None
    if turn.recording is not None:
        audio = to_line_level(read_wav(turn.recording))
    else:
        sounds: list[FloatAudio] = []
        for index, piece in enumerate(pieces):
            if isinstance(piece, int):
                sounds.append(np.zeros(piece * WIRE_RATE_HZ // 1000, dtype=np.float32))
            else:
                # A comma keeps the voice up: the speaker has not finished.
                unfinished = index < len(pieces) - 1 and piece[-1].isalnum()
                sounds.append(voice.render(piece + "," if unfinished else piece, seed))
        audio = np.concatenate(sounds)
    spans = audible_spans(audio)
    if not spans:
        raise VoiceError(f"{turn.recording or turn.line!r}: nothing audible in it; expected speech")
    words = " ".join(piece for piece in pieces if isinstance(piece, str))
    return RenderedLine(audio, words, Span(spans[0].start, spans[-1].end))


class NoiseSource:
    """Noise for the whole of a call, a frame at a time, the same for the same seed."""

    def __init__(self, loop: FloatAudio, level_dbfs: float) -> None:
        """`loop` is repeated for ever; 8 kHz."""
        self._loop = at_level(loop, level_dbfs)
        self._at = 0

    @classmethod
    def white(cls, level_dbfs: float, seed: int) -> NoiseSource:
        """A hiss."""
        return cls(_white(np.random.default_rng(seed)), level_dbfs)

    def next(self, samples: int) -> FloatAudio:
        """The next samples, shape (samples,)."""
        places = np.arange(self._at, self._at + samples) % len(self._loop)
        self._at += samples
        frame: FloatAudio = self._loop[places]
        return frame


def make_noise(kind: Literal["white", "pink", "babble"], snr_db: float, seed: int, voice: Voice) -> NoiseSource:
    """Noise `snr_db` below active speech. Babble speaks with `voice`, at other pitches. Blocking."""
    random = np.random.default_rng(seed)
    if kind == "babble":
        loop = _babble(random, voice)
    else:
        loop = _white(random)
        if kind == "pink":
            spectrum = np.fft.rfft(loop)
            # Power falls as 1/f, from 20 Hz up.
            hertz = np.maximum(np.fft.rfftfreq(len(loop), 1 / WIRE_RATE_HZ), 20.0)
            loop = np.fft.irfft(spectrum / np.sqrt(hertz), len(loop)).astype(np.float32)
    return NoiseSource(loop, SPEECH_DBFS - snr_db)


def _white(random: np.random.Generator) -> FloatAudio:
    return random.standard_normal(_NOISE_LOOP_S * WIRE_RATE_HZ).astype(np.float32)


def _babble(random: np.random.Generator, voice: Voice) -> FloatAudio:
    length = _NOISE_LOOP_S * WIRE_RATE_HZ
    mixed = np.zeros(length, dtype=np.float32)
    for index, pitch in enumerate(np.linspace(0.82, 1.25, len(_BABBLE))):
        # Resampling moves pitch and pace together: another person, roughly.
        speech = resample(voice.render(_BABBLE[index], 0), round(WIRE_RATE_HZ * pitch))
        track = np.resize(np.concatenate([speech, np.zeros(WIRE_RATE_HZ // 5, dtype=np.float32)]), length)
        mixed += np.roll(track, int(random.integers(length)))
    return mixed


def resample(audio: FloatAudio, from_hz: int) -> FloatAudio:
    """A whole recording at 8 kHz."""
    if from_hz == WIRE_RATE_HZ:
        return audio
    return np.asarray(soxr.resample(audio, from_hz, WIRE_RATE_HZ, quality="HQ"), dtype=np.float32)


def to_line_level(audio: FloatAudio) -> FloatAudio:
    """8 kHz speech without silence at its ends, at SPEECH_DBFS while active; peaks are kept below full scale."""
    trimmed = _trim(audio, WIRE_RATE_HZ)
    return at_level(trimmed, SPEECH_DBFS) if len(trimmed) else trimmed


def at_level(audio: FloatAudio, dbfs: float) -> FloatAudio:
    """Scaled so that its active part (frames within 30 dB of the loudest) has this level; never clipped."""
    frame = WIRE_RATE_HZ // 50
    whole = len(audio) - len(audio) % frame
    power = np.mean(np.square(audio[:whole].astype(np.float64).reshape(-1, frame)), axis=1)
    if not len(power) or power.max() <= 0:
        return audio
    active = float(np.sqrt(np.mean(power[power > power.max() / 1000])))
    gain = min(10 ** (dbfs / 20) / active, 0.98 / float(np.abs(audio).max()))
    return (audio * np.float32(gain)).astype(np.float32)


def _trim(audio: FloatAudio, rate_hz: int) -> FloatAudio:
    """Cut what is 45 dB below the loudest frame at both ends, but for 20 ms."""
    frame = rate_hz // 100
    whole = len(audio) - len(audio) % frame
    power = np.mean(np.square(audio[:whole].astype(np.float64).reshape(-1, frame)), axis=1)
    if not len(power) or power.max() <= 0:
        return audio[:0]
    loud = np.flatnonzero(power > power.max() * 10**-4.5)
    return audio[max(0, int(loud[0]) - 2) * frame : (int(loud[-1]) + 3) * frame]


def read_wav(path: Path) -> FloatAudio:
    """A 16-bit WAV file, its first channel, at 8 kHz. Raises VoiceError."""
    try:
        with wave.open(str(path), "rb") as wav:
            width, channels, rate_hz = wav.getsampwidth(), wav.getnchannels(), wav.getframerate()
            data = wav.readframes(wav.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise VoiceError(f"{path}: cannot be read as a WAV file ({error}); expected 16-bit PCM") from error
    if width != 2:
        raise VoiceError(f"{path}: holds {8 * width}-bit samples; expected 16-bit PCM")
    samples = np.frombuffer(data, dtype="<i2").reshape(-1, channels)[:, 0]
    return resample((samples / np.float32(32_768)).astype(np.float32), rate_hz)


def _write_atomically(path: Path, audio: FloatAudio) -> None:
    """Two processes may render the same line: the last one wins, and none sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        with WavWriter(Path(name)) as wav:
            wav.write(float_to_pcm16(audio))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
