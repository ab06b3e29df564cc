"""Kokoro-82M speaks a clause: text in, 24 kHz audio with word times out, the first samples before the clause is done.

The front (text, durations, pitch, decoder) runs once for the clause; the vocoder, most of the work, runs in windows
that grow. With carried statistics (models/kokoro_graph.py) a window needs a few frames of context only, so the time to
the first sample hardly depends on the clause's length. Measured figures: `python -m bench.tts`.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from pydantic import Field

from models.kokoro_graph import DURATIONS, FEATURES, HARMONICS, STATISTICS, STYLE, front_graph, vocoder_graphs
from models.phonemes import PAUSE_TOKENS, Accent, Phonemes, Phonemizer
from models.settings import StrictModel
from models.spanish_text import spanish_words
from models.speech_text import PAUSES, SpokenWord, spoken_words
from models.types import SPEAKING_RATE_HZ, FloatAudio, ModelFailure, SpeechChunk, Word

__all__ = ["KokoroSpeaker", "SpeechStreaming"]

LONGEST_TOKENS = 510
"""Phonemes in one run of the front; longer text runs in parts."""
FRAME_SAMPLES = 300
"""Samples of a vocoder frame, 12.5 ms; a duration frame is two of them, 25 ms."""
_HARMONICS_A_FRAME = 60
_DURATION_SAMPLES = 2 * FRAME_SAMPLES
_DURATION_S = _DURATION_SAMPLES / SPEAKING_RATE_HZ

# Sound runs ahead of the durations by about three duration frames (hexgrad/kokoro, pipeline.py, join_timestamps);
# measured on three voices: the first sound comes 45-145 ms before the end of the leading pad.
_SOUND_AHEAD_FRAMES = 3
_EARLIEST_ONSET_FRAMES = 7
"""Duration frames before the end of the leading pad where sound may begin."""
_LONGEST_LAST_PHONEME_FRAMES = 6
"""What a phoneme before a pause adds to its word at most; the rest of its duration is silence."""
_SILENT_END_FRAMES = 44
"""Kokoro ends with up to 0.56 s of silence; a last window of this many vocoder frames holds it all."""
_SENTENCE_ENDS = ".!?…"
SPANISH = "es/"
"""Before a voice's name: it speaks Spanish, whatever its own language is."""
_BLOCK_SAMPLES = 120
_SILENCE_RMS = 1.6e-3
"""-56 dBFS over 5 ms, the foot of a soft fricative. Kokoro speaks at -22 dBFS; its pauses are below -100."""


class SpeechStreaming(StrictModel):
    """How a clause's audio is cut into chunks."""

    mode: Literal["windowed", "whole"] = "windowed"
    """windowed: the vocoder runs in growing windows; whole: once, as published (one chunk, latest first sample)."""
    first_window_frames: int = Field(28, ge=8, le=400)
    """Frames (12.5 ms) in the first window, part of which is silence before the first sound and trimmed."""
    growth: float = Field(1.25, ge=1.0, le=4.0)
    """Each window is this many times as long as the one before."""
    longest_window_frames: int = Field(96, ge=8, le=400)
    """Where growing ends."""
    context_frames: int = Field(4, ge=2, le=64)
    """Frames computed and thrown away on either side of a window."""
    fade_samples: int = Field(72, ge=0, le=600)
    """Cross-fade between windows (24 kHz), out of the context; at most `context_frames` long."""
    lead_in_ms: int = Field(10, ge=0, le=500)
    """Silence kept before the first sound."""
    clause_tail_ms: int = Field(80, ge=0, le=1000)
    """Silence kept after the last sound."""
    sentence_tail_ms: int = Field(200, ge=0, le=1000)
    """Likewise where the text ends with a full stop, question or exclamation mark."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a clause after the front, ready for the vocoder."""

    features: npt.NDArray[np.float32]
    """1 x 512 x T."""
    harmonics: npt.NDArray[np.float32]
    """1 x 22 x (60 T + 1)."""
    style: npt.NDArray[np.float32]
    """1 x 128."""
    durations: npt.NDArray[np.int64]
    """Duration frames of every token, the pads included."""
    silence: float
    """Share of the frames that belong to pads and pauses."""

    @property
    def frames(self) -> int:
        return int(self.features.shape[2])


@dataclass(frozen=True, slots=True)
class _Statistics:
    """The vocoder's normalisation of one voice: channel moments at two shares of silence, and what lies between.

    A clause's moments are a mixture of those of its speech and of its silence.
    """

    sparse: npt.NDArray[np.float64]
    """Means and mean squares of clauses that are much silence (single words), 2 x channels."""
    dense: npt.NDArray[np.float64]
    """Likewise of clauses with little."""
    sparse_silence: float
    dense_silence: float

    @classmethod
    def of(cls, sparse: Sequence[_Measured], dense: Sequence[_Measured]) -> _Statistics:
        return cls(
            np.mean([moments for moments, _ in sparse], axis=0),
            np.mean([moments for moments, _ in dense], axis=0),
            float(np.mean([silence for _, silence in sparse])),
            float(np.mean([silence for _, silence in dense])),
        )

    def at(self, silence: float) -> npt.NDArray[np.float32]:
        """1 x (2 * channels) x 1: means, then deviations."""
        share = (silence - self.dense_silence) / (self.sparse_silence - self.dense_silence)
        share = min(1.0, max(0.0, share))
        mean, square = share * self.sparse + (1 - share) * self.dense
        deviation = np.sqrt(np.maximum(square - mean**2, 1e-5))
        both: npt.NDArray[np.float32] = np.concatenate([mean, deviation]).astype(np.float32)
        return both.reshape(1, -1, 1)


_Measured = tuple[npt.NDArray[np.float64], float]
"""Moments of one text, and its share of silence."""

# Read once per voice to measure its statistics: single words, and sentences with most sounds of English. Sentences of
# 3 s were not enough: speech came out 1 dB louder and 1-3 dB further from the whole.
_SPARSE_TEXTS = ("Okay.", "Yes?")
_DENSE_TEXTS = (
    "The quick brown fox jumps over the lazy dog, while you measure the usual joy.",
    "Would Thursday at nine thirty work, or should I check both of the other choices for you?",
)


class KokoroSpeaker:
    """One Kokoro, several voices. One computation at a time; several threads may speak at once, window by window."""

    def __init__(self, folder: Path, *, threads: int = 2, streaming: SpeechStreaming | None = None) -> None:
        """Load `front.onnx`, `back.onnx` and `voices/*.bin` (float32, n x 256) of a prepared folder.

        Raises ModelFailure if a file is missing or is not what is expected.
        """
        self._streaming = streaming or SpeechStreaming()
        self._voice_files = {path.stem: path for path in sorted((folder / "voices").glob("*.bin"))}
        if not self._voice_files:
            raise ModelFailure(f"{folder / 'voices'}: expected <voice>.bin files, found none; prepare Kokoro's weights")
        graphs = vocoder_graphs(folder / "back.onnx")
        self._front = _session(front_graph(folder / "front.onnx"), threads)
        self._measuring = _session(graphs.measuring, threads)
        self._carrying = _session(graphs.carrying, threads)
        self._computing = threading.Lock()
        self._phonemizers: dict[Accent, Phonemizer] = {}
        self._styles: dict[str, npt.NDArray[np.float32]] = {}
        self._statistics: dict[str, _Statistics] = {}

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the voices of the folder: af_, am_ (American), bf_, bm_ (British), ef_, em_ (Spanish)."""
        return tuple(self._voice_files)

    def speak(self, text: str, *, voice: str = "af_heart") -> Generator[SpeechChunk, None, None]:
        """One clause as 24 kHz audio, in chunks; nothing if there is nothing to say in it.

        The first chunk carries the words of `text.split()` with their times from its first sample. Closing the
        generator stops after the window at work. Raises ModelFailure for an unknown voice, at once.
        """
        if _file_of(voice) not in self._voice_files:
            raise ModelFailure(f"unknown voice {voice!r}; expected one of: {', '.join(self._voice_files)}")
        return self._speak(text, voice)

    def warm_up(self, voices: Sequence[str]) -> None:
        """Measure what the voices need and run the usual shapes once. Raises ModelFailure for an unknown voice."""
        for voice in voices:
            for text in ("Sure.", "Thanks for calling, how can I help?"):
                for _ in self.speak(text, voice=voice):
                    pass

    # --- Speaking -----------------------------------------------------------------------------------------------------

    def _speak(self, text: str, voice: str) -> Generator[SpeechChunk, None, None]:
        said = _said(text, voice)
        if not said:
            return
        phonemes = self._phonemizer(voice)(said)
        if not phonemes.symbols:
            return
        parts = [self._run_front(part, voice) for part in _parts(phonemes)]
        spans = [_span(part.durations) for part in parts]
        ends = phonemes.symbols[-1] in _SENTENCE_ENDS
        tail = _samples_in(self._streaming.sentence_tail_ms if ends else self._streaming.clause_tail_ms)
        lead_in = _samples_in(self._streaming.lead_in_ms)
        dropped = given = 0
        words: tuple[Word, ...] = ()
        started = False
        for pcm, last in self._windows(parts, spans, voice):
            if not started:
                onset = _first_sound(pcm)
                silent = max(0, (len(pcm) if onset is None else onset) - lead_in)
                dropped += silent
                if onset is None:
                    continue
                pcm = pcm[silent:]
                words = _words(text, said, phonemes, _symbol_times(phonemes, parts, spans), dropped)
            if last:
                spoken = round(words[-1].end_s * SPEAKING_RATE_HZ) - given if words else 0
                pcm = pcm[: max(_last_sound(pcm) + tail, spoken)]
            yield SpeechChunk(pcm, () if started else words, last)
            started, given = True, given + len(pcm)

    def _windows(self, parts: Sequence[_Part], spans: Sequence[range], voice: str) -> Iterator[tuple[FloatAudio, bool]]:
        """Audio of the spans (vocoder frames) of the parts, one after another, and whether it is the last."""
        plan = self._streaming
        for number, (part, span) in enumerate(zip(parts, spans, strict=True)):
            last_part = number == len(parts) - 1
            if plan.mode == "whole":
                audio, _ = self._run_whole(part)
                yield audio[span.start * FRAME_SAMPLES : span.stop * FRAME_SAMPLES], last_part
                continue
            statistics = self._statistics_of(voice).at(part.silence)
            fade = min(plan.fade_samples, plan.context_frames * FRAME_SAMPLES)
            before: FloatAudio | None = None
            for window in _plan(span, plan):
                left = max(0, window.start - plan.context_frames)
                right = min(part.frames, window.stop + plan.context_frames)
                audio = self._run_window(part, range(left, right), statistics)
                start, stop = ((frame - left) * FRAME_SAMPLES for frame in (window.start, window.stop))
                ends = window.stop == span.stop
                # The last samples wait for the next window, to be faded into it.
                held = audio[stop - fade : stop].copy()
                pcm = audio[start - (0 if before is None else fade) : stop if ends else stop - fade].copy()
                if before is not None and fade:
                    rise = (np.arange(fade, dtype=np.float32) + 0.5) / fade
                    pcm[:fade] = pcm[:fade] * rise + before * (1 - rise)
                before = held
                yield pcm, ends and last_part

    # --- Running the graphs -------------------------------------------------------------------------------------------

    def _run_front(self, phonemes: Phonemes, voice: str) -> _Part:
        tokens = [0, *phonemes.tokens(), 0]
        style = self._style(voice)[len(tokens) - 2]
        feeds = {
            "tokens": np.array([tokens], np.int64),
            "style": style[None],
            "speed": np.ones(1, np.float32),
        }
        with self._computing:
            features, harmonics, style, durations = self._front.run([FEATURES, HARMONICS, STYLE, DURATIONS], feeds)
        frames = durations.reshape(-1).astype(np.int64)
        silent = sum(int(count) for count, token in zip(frames, tokens, strict=True) if token in PAUSE_TOKENS)
        return _Part(features, harmonics, style, frames, silent / int(frames.sum()))

    def _run_window(self, part: _Part, frames: range, statistics: npt.NDArray[np.float32]) -> FloatAudio:
        harmonics = part.harmonics[:, :, frames.start * _HARMONICS_A_FRAME : frames.stop * _HARMONICS_A_FRAME + 1]
        feeds = {
            FEATURES: np.ascontiguousarray(part.features[:, :, frames.start : frames.stop]),
            HARMONICS: np.ascontiguousarray(harmonics),
            STYLE: part.style,
            STATISTICS: statistics,
        }
        with self._computing:
            (audio,) = self._carrying.run(["audio"], feeds)
        return _bounded(audio)

    def _run_whole(self, part: _Part) -> tuple[FloatAudio, npt.NDArray[np.float64]]:
        """The part as published, all frames; and the vocoder's moments: means and mean squares, 2 x channels."""
        feeds = {FEATURES: part.features, HARMONICS: part.harmonics, STYLE: part.style}
        with self._computing:
            audio, statistics = self._measuring.run(["audio", STATISTICS], feeds)
        mean, deviation = np.split(statistics.reshape(-1).astype(np.float64), 2)
        return _bounded(audio), np.stack([mean, deviation**2 + mean**2])

    def _phonemizer(self, voice: str) -> Phonemizer:
        accent = _accent_of(voice)
        if accent not in self._phonemizers:
            self._phonemizers[accent] = Phonemizer(accent)
        return self._phonemizers[accent]

    def _style(self, voice: str) -> npt.NDArray[np.float32]:
        """n x 256: a row for each number of tokens."""
        if voice not in self._styles:
            path = self._voice_files[_file_of(voice)]
            values = np.fromfile(path, np.float32)
            if len(values) < LONGEST_TOKENS * 256 or len(values) % 256:
                raise ModelFailure(
                    f"{path}: expected at least {LONGEST_TOKENS} x 256 float32 values, got {len(values)}; "
                    "verify the weights"
                )
            self._styles[voice] = values.reshape(-1, 256)
        return self._styles[voice]

    def _statistics_of(self, voice: str) -> _Statistics:
        if voice not in self._statistics:
            self._statistics[voice] = _Statistics.of(
                sparse=[self._measure(text, voice) for text in _SPARSE_TEXTS],
                dense=[self._measure(text, voice) for text in _DENSE_TEXTS],
            )
        return self._statistics[voice]

    def _measure(self, text: str, voice: str) -> tuple[npt.NDArray[np.float64], float]:
        part = self._run_front(self._phonemizer(voice)(_said(text, voice)), voice)
        return self._run_whole(part)[1], part.silence


def _accent_of(voice: str) -> Accent:
    """By the voice's first letter, as Kokoro names them; 'es/af_heart' speaks Spanish with an English voice."""
    if voice.startswith(("e", SPANISH)):
        return "es"
    return "en-gb" if voice.startswith("b") else "en-us"


def _file_of(voice: str) -> str:
    return voice.removeprefix(SPANISH)


def _said(text: str, voice: str) -> tuple[SpokenWord, ...]:
    return spanish_words(text) if _accent_of(voice) == "es" else spoken_words(text)


def _session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between operators take the cores from the language model beside us.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFailure(f"ONNX Runtime cannot load Kokoro's graph ({error}); verify the weights") from error


def _bounded(audio: npt.NDArray[np.float32]) -> FloatAudio:
    return np.clip(audio.reshape(-1), -1.0, 1.0)


def _samples_in(ms: int) -> int:
    return ms * SPEAKING_RATE_HZ // 1000


def _parts(phonemes: Phonemes) -> list[Phonemes]:
    """Runs of at most LONGEST_TOKENS symbols, cut after a pause if there is one in reach, else after a space."""
    parts, start, total = [], 0, len(phonemes.symbols)
    while start < total:
        stop = min(total, start + LONGEST_TOKENS)
        if stop < total:
            reach = phonemes.symbols[start:stop]
            pause = max(reach.rfind(mark) for mark in PAUSES)
            stop = (
                start
                + 1
                + (pause if pause > LONGEST_TOKENS // 3 else max(pause, reach.rfind(" "), 0) or len(reach) - 1)
            )
        parts.append(Phonemes(phonemes.symbols[start:stop], phonemes.owners[start:stop]))
        start = stop
    return parts


def _span(durations: npt.NDArray[np.int64]) -> range:
    """Vocoder frames worth computing: from shortly before the first sound can begin."""
    return range(2 * max(0, int(durations[0]) - _EARLIEST_ONSET_FRAMES), 2 * int(durations.sum()))


def _plan(span: range, streaming: SpeechStreaming) -> list[range]:
    """Cut a span into windows that grow. The last is long enough to hold the silence after the last sound."""
    windows: list[range] = []
    start, size = span.start, float(streaming.first_window_frames)
    while start < span.stop:
        stop = start + int(size)
        if span.stop - stop < _SILENT_END_FRAMES and windows:
            stop = span.stop
        stop = min(stop, span.stop)
        windows.append(range(start, stop))
        start, size = stop, min(size * streaming.growth, float(streaming.longest_window_frames))
    return windows


def _loudness(pcm: FloatAudio) -> npt.NDArray[np.float32]:
    """RMS of each whole 5 ms."""
    blocks = pcm[: len(pcm) // _BLOCK_SAMPLES * _BLOCK_SAMPLES].reshape(-1, _BLOCK_SAMPLES)
    loudness: npt.NDArray[np.float32] = np.sqrt(np.mean(np.square(blocks), axis=1))
    return loudness


def _first_sound(pcm: FloatAudio) -> int | None:
    loud = np.flatnonzero(_loudness(pcm) > _SILENCE_RMS)
    return int(loud[0]) * _BLOCK_SAMPLES if len(loud) else None


def _last_sound(pcm: FloatAudio) -> int:
    """Sample after the last sound; 0 if there is none."""
    loud = np.flatnonzero(_loudness(pcm) > _SILENCE_RMS)
    return (int(loud[-1]) + 1) * _BLOCK_SAMPLES if len(loud) else 0


def _symbol_times(phonemes: Phonemes, parts: Sequence[_Part], spans: Sequence[range]) -> list[tuple[float, float]]:
    """Start and end of every symbol in seconds of the spans' audio, joined."""
    times: list[tuple[float, float]] = []
    begun = 0
    for part, span in zip(parts, spans, strict=True):
        edges = np.cumsum(part.durations) - _SOUND_AHEAD_FRAMES - span.start // 2 + begun // 2
        for start, stop in pairwise(int(edge) for edge in edges[:-1]):
            symbol_follows = len(times) + 1 < len(phonemes.symbols)
            heard = symbol_follows and phonemes.symbols[len(times) + 1] not in PAUSES
            stop = stop if heard else min(stop, start + _LONGEST_LAST_PHONEME_FRAMES)
            times.append((start * _DURATION_S, stop * _DURATION_S))
        begun += len(span)
    return times


def _words(
    text: str,
    said: Sequence[SpokenWord],
    phonemes: Phonemes,
    times: Sequence[tuple[float, float]],
    dropped: int,
) -> tuple[Word, ...]:
    """The written words with their times, `dropped` samples into the audio. What is not said takes no time."""
    spans: dict[int, tuple[float, float]] = {}
    for symbol, owner, (start, end) in zip(phonemes.symbols, phonemes.owners, times, strict=True):
        if symbol in PAUSES or symbol == " ":
            continue
        written = said[owner].written
        begun = spans[written][0] if written in spans else start
        spans[written] = (begun, end)
    words: list[Word] = []
    begun_s = dropped / SPEAKING_RATE_HZ
    for index, word in enumerate(text.split()):
        least = words[-1].end_s if words else 0.0
        start, end = spans.get(index, (0.0, 0.0))
        words.append(Word(word, max(least, start - begun_s), max(least, start - begun_s, end - begun_s)))
    return tuple(words)
