"""Kokoro-82M speaks a clause: text in, 24 kHz audio with word times out, the first samples before the clause is done.

The front (text, durations, pitch, decoder) runs once for the clause; the vocoder, most of the work, runs in windows
that grow. With carried statistics (models/kokoro_graph.py) a window needs a few frames of context only, so the time to
the first sample hardly depends on the clause's length. Measured figures: `python -m bench.tts`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.kokoro_engine import FRAME_SAMPLES, KokoroEngine, Part, Row, Window
from models.phonemes import PAUSE_TOKENS, Accent, Phonemes, Phonemizer
from models.settings import StrictModel
from models.spanish_text import spanish_words
from models.speech_text import PAUSES, SpokenWord, spoken_words
from models.types import SPEAKING_RATE_HZ, FloatAudio, ModelFailure, SpeechChunk, Word

__all__ = ["Clause", "KokoroSpeaker", "Speech", "SpeechStreaming", "compute"]

LONGEST_TOKENS = 510
"""Phonemes in one run of the front; longer text runs in parts."""
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
_PROBED_FRAMES = 8
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
        """2 * channels: means, then deviations."""
        share = (silence - self.dense_silence) / (self.sparse_silence - self.dense_silence)
        share = min(1.0, max(0.0, share))
        mean, square = share * self.sparse + (1 - share) * self.dense
        deviation = np.sqrt(np.maximum(square - mean**2, 1e-5))
        both: npt.NDArray[np.float32] = np.concatenate([mean, deviation]).astype(np.float32)
        return both


_Measured = tuple[npt.NDArray[np.float64], float]
"""Moments of one text, and its share of silence."""

# Read once per voice to measure its statistics: single words, and sentences with most sounds of English. Sentences of
# 3 s were not enough: speech came out 1 dB louder and 1-3 dB further from the whole.
_SPARSE_TEXTS = ("Okay.", "Yes?")
_DENSE_TEXTS = (
    "The quick brown fox jumps over the lazy dog, while you measure the usual joy.",
    "Would Thursday at nine thirty work, or should I check both of the other choices for you?",
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause as Kokoro reads it."""

    text: str
    voice: str
    said: tuple[SpokenWord, ...]
    phonemes: Phonemes
    rows: tuple[Row, ...]
    """For the front, one after another; each at most LONGEST_TOKENS phonemes."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """One run of the vocoder, and what of it is used."""

    window: Window
    kept: range
    """Vocoder frames of the part."""
    first: bool
    """Nothing of the part came before."""
    ends: bool
    """Nothing of the part comes after."""


class Speech:
    """A clause on its way through the vocoder: says what is to be computed next, and makes chunks of what it gets."""

    def __init__(
        self, clause: Clause, parts: Sequence[Part], cuts: Sequence[_Cut], spans: Sequence[range], plan: SpeechStreaming
    ) -> None:
        self._clause = clause
        self._times = _symbol_times(clause.phonemes, parts, spans)
        self._cuts = deque(cuts)
        ends = clause.phonemes.symbols[-1] in _SENTENCE_ENDS
        self._tail = _samples_in(plan.sentence_tail_ms if ends else plan.clause_tail_ms)
        self._lead_in = _samples_in(plan.lead_in_ms)
        self._fade = min(plan.fade_samples, plan.context_frames * FRAME_SAMPLES)
        self._held: FloatAudio | None = None
        self._words: tuple[Word, ...] = ()
        self._dropped = self._given = 0
        self._started = False

    @property
    def wanted(self) -> Window | None:
        """What is to be computed now; None when all is said."""
        return self._cuts[0].window if self._cuts else None

    @property
    def given_s(self) -> float:
        """Seconds of audio in the chunks so far."""
        return self._given / SPEAKING_RATE_HZ

    def take(self, audio: FloatAudio) -> SpeechChunk | None:
        """The next chunk, made of the wanted window's audio; None while it is all silence before the first sound."""
        cut = self._cuts.popleft()
        pcm, last = self._joined(cut, audio), not self._cuts
        words: tuple[Word, ...] = ()
        if not self._started:
            onset = _first_sound(pcm)
            silent = max(0, (len(pcm) if onset is None else onset) - self._lead_in)
            self._dropped += silent
            if onset is None:
                return None
            pcm = pcm[silent:]
            clause = self._clause
            words = self._words = _words(clause.text, clause.said, clause.phonemes, self._times, self._dropped)
        if last:
            spoken = round(self._words[-1].end_s * SPEAKING_RATE_HZ) - self._given if self._words else 0
            pcm = pcm[: max(_last_sound(pcm) + self._tail, spoken)]
        self._started = True
        self._given += len(pcm)
        return SpeechChunk(pcm, words, last)

    def _joined(self, cut: _Cut, audio: FloatAudio) -> FloatAudio:
        """The kept frames, faded into what the window before has held back."""
        begin, fade = cut.window.frames.start, self._fade
        start, stop = ((frame - begin) * FRAME_SAMPLES for frame in (cut.kept.start, cut.kept.stop))
        pcm = audio[start - (0 if cut.first else fade) : stop if cut.ends else stop - fade].copy()
        if self._held is not None and not cut.first and fade:
            rise = (np.arange(fade, dtype=np.float32) + 0.5) / fade
            pcm[:fade] = pcm[:fade] * rise + self._held * (1 - rise)
        # The last samples wait for the next window, to be faded into it.
        self._held = None if cut.ends else audio[stop - fade : stop].copy()
        return pcm


class KokoroSpeaker:
    """One Kokoro, several voices, on the engine given. Several threads may speak at once if the engine allows it."""

    def __init__(self, folder: Path, engine: KokoroEngine, streaming: SpeechStreaming | None = None) -> None:
        """`folder`: a prepared one, with `voices/*.bin` (float32, n x 256). Raises ModelFailure if it has none."""
        self._streaming = streaming or SpeechStreaming()
        self._voice_files = {path.stem: path for path in sorted((folder / "voices").glob("*.bin"))}
        if not self._voice_files:
            raise ModelFailure(f"{folder / 'voices'}: expected <voice>.bin files, found none; prepare Kokoro's weights")
        self._engine = engine
        self._phonemizers: dict[Accent, Phonemizer] = {}
        self._styles: dict[str, npt.NDArray[np.float32]] = {}
        self._statistics: dict[str, _Statistics] = {}
        self._probe: Window | None = None

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the voices of the folder: af_, am_ (American), bf_, bm_ (British), ef_, em_ (Spanish)."""
        return tuple(self._voice_files)

    def speak(self, text: str, *, voice: str = "af_heart") -> Generator[SpeechChunk, None, None]:
        """One clause as 24 kHz audio, in chunks; nothing if there is nothing to say in it.

        The first chunk carries the words of `text.split()` with their times from its first sample. Closing the
        generator stops after the window at work. Raises ModelFailure for an unknown voice, at once.
        """
        self._check(voice)
        return self._speak(text, voice)

    def warm_up(self, voices: Sequence[str]) -> None:
        """Measure what the voices need and run the usual shapes once. Raises ModelFailure for an unknown voice."""
        for voice in voices:
            self._check(voice)
        self._engine.warm_up()
        for voice in voices:
            for text in ("Sure.", "Thanks for calling, how can I help?"):
                for _ in self.speak(text, voice=voice):
                    pass
        if voices:
            row = self._spoken(_SPARSE_TEXTS[0], voices[0])
            (part,) = self._engine.front([row])
            statistics = self._statistics_of(voices[0]).at(_silence(row, part))
            self._probe = Window(part, range(min(_PROBED_FRAMES, part.frames)), statistics)

    @property
    def probe(self) -> Window:
        """A few frames, to see whether the engine still answers. Raises ModelFailure before any voice was measured."""
        if self._probe is None:
            raise ModelFailure(
                "text to speech: no voice is measured yet, so that there is nothing to try; warm up first"
            )
        return self._probe

    # --- Step by step, for whoever runs the engine for several clauses together ---------------------------------------

    def read(self, text: str, voice: str) -> Clause | None:
        """The clause as phonemes; None if there is nothing to say in it. Raises ModelFailure for an unknown voice."""
        self._check(voice)
        said = _said(text, voice)
        phonemes = self._phonemizer(voice)(said) if said else Phonemes("", ())
        if not phonemes.symbols:
            return None
        rows = tuple(self._row(part, voice) for part in _parts(phonemes))
        return Clause(text, voice, said, phonemes, rows)

    def begin(self, clause: Clause, parts: Sequence[Part]) -> Speech:
        """`parts`: what the front made of the clause's rows. A voice's first clause measures it: a second or so."""
        plan, cuts = self._streaming, list[_Cut]()
        spans = [_span(part.durations) for part in parts]
        for row, part, span in zip(clause.rows, parts, spans, strict=True):
            if plan.mode == "whole":
                cuts.append(_Cut(Window(part, range(part.frames), None), span, first=True, ends=True))
                continue
            statistics = self._statistics_of(clause.voice).at(_silence(row, part))
            for kept in _plan(span, plan, self._engine.frame_buckets):
                left, right = kept.start - plan.context_frames, kept.stop + plan.context_frames
                frames = range(max(0, left), min(part.frames, right))
                window = Window(part, frames, statistics)
                cuts.append(_Cut(window, kept, first=kept.start == span.start, ends=kept.stop == span.stop))
        return Speech(clause, parts, cuts, spans, plan)

    # ------------------------------------------------------------------------------------------------------------------

    def _check(self, voice: str) -> None:
        if _file_of(voice) not in self._voice_files:
            raise ModelFailure(f"unknown voice {voice!r}; expected one of: {', '.join(self._voice_files)}")

    def _speak(self, text: str, voice: str) -> Generator[SpeechChunk, None, None]:
        clause = self.read(text, voice)
        if clause is None:
            return
        speech = self.begin(clause, self._engine.front(clause.rows))
        while (window := speech.wanted) is not None:
            (audio,) = compute(self._engine, [window])
            chunk = speech.take(audio)
            if chunk is not None:
                yield chunk

    def _spoken(self, text: str, voice: str) -> Row:
        return self._row(self._phonemizer(voice)(_said(text, voice)), voice)

    def _row(self, phonemes: Phonemes, voice: str) -> Row:
        tokens = (0, *phonemes.tokens(), 0)
        return Row(tokens, self._style(voice)[len(tokens) - 2])

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

    def _measure(self, text: str, voice: str) -> _Measured:
        row = self._spoken(text, voice)
        (part,) = self._engine.front([row])
        return self._engine.whole(part)[1], _silence(row, part)


def compute(engine: KokoroEngine, windows: Sequence[Window]) -> list[FloatAudio]:
    """Audio of windows, whole parts among them. Blocking; raises ModelFailure."""
    carried = [window for window in windows if window.statistics is not None]
    heard = iter(engine.windows(carried) if carried else ())
    return [engine.whole(window.part)[0] if window.statistics is None else next(heard) for window in windows]


def _silence(row: Row, part: Part) -> float:
    """Share of the frames that belong to pads and pauses."""
    counted = zip(part.durations, row.tokens, strict=True)
    return sum(int(count) for count, token in counted if token in PAUSE_TOKENS) / int(part.durations.sum())


def _accent_of(voice: str) -> Accent:
    """By the voice's first letter, as Kokoro names them; 'es/af_heart' speaks Spanish with an English voice."""
    if voice.startswith(("e", SPANISH)):
        return "es"
    return "en-gb" if voice.startswith("b") else "en-us"


def _file_of(voice: str) -> str:
    return voice.removeprefix(SPANISH)


def _said(text: str, voice: str) -> tuple[SpokenWord, ...]:
    return spanish_words(text) if _accent_of(voice) == "es" else spoken_words(text)


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


def _plan(span: range, streaming: SpeechStreaming, buckets: Sequence[int] = ()) -> list[range]:
    """Cut a span into windows that grow. The last is long enough to hold the silence after the last sound.

    With `buckets`, windows and their context fill one where they can, and none is longer than the longest.
    """
    rooms = [room for bucket in buckets if (room := bucket - 2 * streaming.context_frames) > 0]
    longest = max(rooms) if rooms else len(span)
    windows: list[range] = []
    start, size = span.start, float(streaming.first_window_frames)
    while start < span.stop:
        stop = start + next((room for room in rooms if room >= int(size)), min(int(size), longest))
        if span.stop - stop < _SILENT_END_FRAMES and windows:
            stop = span.stop if span.stop - start <= longest else max(start + 1, span.stop - _SILENT_END_FRAMES)
            stop = min(stop, start + longest)
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


def _symbol_times(phonemes: Phonemes, parts: Sequence[Part], spans: Sequence[range]) -> list[tuple[float, float]]:
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
