from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from models import kokoro
from models.kokoro import KokoroSpeaker, SpeechStreaming, _parts, _plan
from models.kokoro_engine import Part, Row, Window
from models.kokoro_onnx import OnnxKokoro, onnx_speaker
from models.phonemes import Phonemes
from models.types import SPEAKING_RATE_HZ, FloatAudio, ModelFailure, SpeechChunk, Word
from models.weights import prepare

CLAUSES = (
    "Of course, I can help you with that.",
    "We are open from eight to five, Monday to Friday.",
    "A cleaning costs $95, and an exam is sixty dollars.",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return prepare("kokoro-82m-int8")


@pytest.fixture(scope="module")
def speaker(folder: Path) -> KokoroSpeaker:
    return onnx_speaker(folder)


def _joined(chunks: Sequence[SpeechChunk]) -> FloatAudio:
    return np.concatenate([chunk.pcm for chunk in chunks])


def _loudness_db(audio: FloatAudio) -> np.ndarray:
    """Of each 10 ms."""
    blocks = audio[: len(audio) // 240 * 240].reshape(-1, 240)
    return 20 * np.log10(np.sqrt(np.mean(blocks**2, axis=1)) + 1e-9)


def _spectral_distance_db(one: FloatAudio, other: FloatAudio) -> float:
    """Mean log-spectral distance at the shift (at most 30 ms) where the two fit best."""

    def spectrum(audio: FloatAudio) -> np.ndarray:
        frames = sliding_window_view(audio, 512)[::120] * np.hanning(512)
        return 20 * np.log10(np.abs(np.fft.rfft(frames)) + 1e-3)

    def distance(shift: int) -> float:
        a, b = spectrum(one[max(0, shift) :]), spectrum(other[max(0, -shift) :])
        length = min(len(a), len(b))
        return float(np.mean(np.sqrt(np.mean((a[:length] - b[:length]) ** 2, axis=1))))

    return min(distance(shift) for shift in range(-720, 721, 120))


# --- Without weights ------------------------------------------------------------------------------------------------


@given(
    start=st.integers(0, 60),
    frames=st.integers(1, 2000),
    first=st.integers(8, 100),
    growth=st.floats(1.0, 4.0),
    longest=st.integers(8, 200),
)
def test_windows_follow_one_another_and_the_last_one_holds_the_closing_silence(
    start: int, frames: int, first: int, growth: float, longest: int
) -> None:
    plan = SpeechStreaming(first_window_frames=first, growth=growth, longest_window_frames=longest)
    windows = _plan(range(start, start + frames), plan)
    assert [i for window in windows for i in window] == list(range(start, start + frames))
    assert all(len(window) > 0 for window in windows)
    if len(windows) > 1:
        assert len(windows[0]) == first
        assert len(windows[-1]) >= min(44, frames - first)


@given(st.text("ab ,.", max_size=2000))
def test_long_text_is_cut_into_runs_that_the_model_can_take(symbols: str) -> None:
    parts = _parts(Phonemes(symbols, tuple(range(len(symbols)))))
    assert "".join(part.symbols for part in parts) == symbols
    assert [owner for part in parts for owner in part.owners] == list(range(len(symbols)))
    assert all(0 < len(part.symbols) <= 510 for part in parts)
    for part in parts[:-1]:
        # A word is cut only where there is no border in the run.
        assert part.symbols[-1] in " ,." or not set(part.symbols) & set(" ,.")


@given(
    start=st.integers(0, 60),
    frames=st.integers(1, 2000),
    buckets=st.lists(st.integers(60, 300), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_windows_for_an_engine_with_buckets_fill_them_and_never_outgrow_the_longest(
    start: int, frames: int, buckets: list[int]
) -> None:
    plan = SpeechStreaming()
    rooms = [bucket - 2 * plan.context_frames for bucket in buckets]
    windows = _plan(range(start, start + frames), plan, buckets)
    assert [i for window in windows for i in window] == list(range(start, start + frames))
    assert all(0 < len(window) <= max(rooms) for window in windows)
    # Only the last, and the one before it that leaves it the closing silence, may leave room.
    assert all(len(window) in rooms for window in windows[:-2])
    if len(windows) > 2:
        assert len(windows[-1]) >= 44


class SilentEngine:
    """No clause has a sound."""

    most_windows, frame_buckets = 1, ()

    def front(self, rows: Sequence[Row]) -> list[Part]:
        return [Part(np.ones(len(row.tokens), np.int64)) for row in rows]

    def windows(self, windows: Sequence[Window]) -> list[FloatAudio]:
        return [np.zeros(len(window.frames) * 300, np.float32) for window in windows]

    def whole(self, part: Part) -> tuple[FloatAudio, np.ndarray]:
        return np.zeros(part.frames * 300, np.float32), np.ones((2, 3))

    def warm_up(self) -> None: ...


def test_a_folder_without_voices_or_graphs_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match=r"voices: expected <voice>\.bin files, found none"):
        KokoroSpeaker(tmp_path, SilentEngine())
    with pytest.raises(ModelFailure, match=r"back\.onnx: cannot be read"):
        OnnxKokoro(tmp_path)


def test_a_voice_file_that_is_too_short_is_told(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "af_x.bin").write_bytes(bytes(1024))
    with pytest.raises(ModelFailure, match=r"af_x\.bin: expected at least 510 x 256 float32 values, got 256"):
        list(KokoroSpeaker(tmp_path, SilentEngine()).speak("Yes.", voice="af_x"))


@pytest.mark.parametrize("mode", ["windowed", "whole"])
def test_a_clause_without_a_sound_gives_no_chunk(tmp_path: Path, mode: Literal["windowed", "whole"]) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "af_x.bin").write_bytes(bytes(512 * 1024))
    speaker = KokoroSpeaker(tmp_path, SilentEngine(), SpeechStreaming(mode=mode))
    assert list(speaker.speak("The ferry leaves at nine in the morning, weather permitting.", voice="af_x")) == []


# --- With Kokoro ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_unknown_voice_is_told_at_once_with_the_known_ones(speaker: KokoroSpeaker) -> None:
    with pytest.raises(ModelFailure, match=r"unknown voice 'af_hart'; expected one of: .*af_heart"):
        speaker.speak("Hello.", voice="af_hart")
    with pytest.raises(ModelFailure, match="unknown voice"):
        speaker.warm_up(["nobody"])


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "  \n ", "...", "— 😀 !"])
def test_nothing_to_say_gives_no_audio(speaker: KokoroSpeaker, text: str) -> None:
    assert list(speaker.speak(text)) == []


@pytest.mark.slow
@pytest.mark.parametrize("text", ["Sure.", "Okay — so, that's $95 at 8:30 AM", *CLAUSES])
def test_words_are_those_of_the_text_and_their_times_lie_in_the_audio(speaker: KokoroSpeaker, text: str) -> None:
    chunks = list(speaker.speak(text))
    words = chunks[0].words
    assert [word.text for word in words] == text.split()
    assert all(chunk.words == () for chunk in chunks[1:])
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    edges = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    duration_s = len(_joined(chunks)) / SPEAKING_RATE_HZ
    assert 0 <= words[0].start_s < 0.15
    assert duration_s - 0.35 < words[-1].end_s <= duration_s + 1e-3
    for word in words:
        assert (word.end_s > word.start_s) == bool(re.search(r"\w", word.text)), word


@pytest.mark.slow
@pytest.mark.parametrize("voice", ["af_heart", "bf_emma"])
def test_audio_has_no_clipping_no_long_silence_and_clean_pauses(speaker: KokoroSpeaker, voice: str) -> None:
    audio = _joined(list(speaker.speak("Of course. I can help you with that.", voice=voice)))
    assert audio.dtype == np.float32
    assert 0.2 < np.abs(audio).max() < 0.99
    loudness = _loudness_db(audio)
    sound = np.flatnonzero(loudness > -50)
    assert sound[0] <= 6, "more than 60 ms of silence before the first sound"
    assert 4 <= len(loudness) - sound[-1] <= 40, "the end is cut off, or trails"
    # The vocoder normalises over what it is given: a pause in a window of its own would come out as noise.
    quiet = loudness[sound[0] : sound[-1]].min()
    assert quiet < -60, f"the pause after the sentence is at {quiet:.0f} dBFS"


@pytest.mark.slow
def test_what_was_said_is_understood_and_its_word_times_are_right(speaker: KokoroSpeaker) -> None:
    from faster_whisper import WhisperModel
    from jiwer import wer
    from whisper_normalizer.english import EnglishTextNormalizer

    ears = WhisperModel(str(prepare("whisper-base")), device="cpu", compute_type="int8")
    normal = EnglishTextNormalizer()
    told, understood, late_s = [], [], []
    silence = np.zeros(SPEAKING_RATE_HZ // 2, np.float32)
    for text in (*CLAUSES, "Your appointment is confirmed for the 3rd of March."):
        chunks = list(speaker.speak(text))
        audio = soxr.resample(np.concatenate([silence, _joined(chunks), silence]), SPEAKING_RATE_HZ, 16_000)
        segments, _ = ears.transcribe(audio, language="en", beam_size=5, word_timestamps=True)
        heard = [Word(word.word.strip(), word.start - 0.5, word.end - 0.5) for part in segments for word in part.words]
        told.append(normal(text))
        understood.append(normal(" ".join(word.text for word in heard)))
        times = {word.text.strip(".,").lower(): word for word in heard}
        for word in chunks[0].words[1:]:
            same = times.get(word.text.strip(".,").lower())
            if same and len(word.text) > 3:
                late_s.append(word.start_s - same.start_s)
    assert wer(told, understood) <= 0.1, list(zip(told, understood, strict=True))
    assert len(late_s) >= 10
    # Whisper's own word starts are good to about 0.1 s.
    assert abs(np.median(late_s)) < 0.1
    assert np.percentile(np.abs(late_s), 80) < 0.25


@pytest.mark.slow
def test_windows_sound_like_the_whole(speaker: KokoroSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in CLAUSES[:2]:
        in_windows = list(speaker.speak(text))
        with monkeypatch.context() as patch:
            patch.setattr(speaker, "_streaming", SpeechStreaming(mode="whole"))
            at_once = list(speaker.speak(text))
        assert len(in_windows) > 2
        assert len(at_once) == 1
        assert abs(len(_joined(in_windows)) - len(at_once[0].pcm)) < 0.06 * SPEAKING_RATE_HZ
        # 5.3-7.3 dB for windows that normalise by themselves, 1-2.7 dB for two roundings of the same clause.
        assert _spectral_distance_db(_joined(in_windows), at_once[0].pcm) < 5.0


@pytest.mark.slow
def test_seams_are_no_worse_than_the_rest(
    folder: Path, speaker: KokoroSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small windows against one large, of the same features: the difference is no larger at the seams."""
    engine = speaker._engine
    made: dict[tuple[int, ...], Part] = {}
    front = engine.front
    once_only = lambda rows: [made.setdefault(row.tokens, front([row])[0]) for row in rows]  # noqa: E731
    monkeypatch.setattr(engine, "front", once_only)
    small = SpeechStreaming(first_window_frames=16, growth=1, longest_window_frames=16)
    monkeypatch.setattr(speaker, "_streaming", small)
    chunks = list(speaker.speak(CLAUSES[0]))
    monkeypatch.setattr(speaker, "_streaming", SpeechStreaming(first_window_frames=400))
    once = list(speaker.speak(CLAUSES[0]))
    assert len(chunks) > 6
    assert len(once) == 1
    audio, reference = _joined(chunks), once[0].pcm
    length = min(len(audio), len(reference))
    difference = np.abs(audio[:length] - reference[:length])
    assert np.corrcoef(audio[:length], reference[:length])[0, 1] > 0.98
    seams = np.cumsum([len(chunk.pcm) for chunk in chunks[:-1]])
    near = np.zeros(length, bool)
    for seam in seams:
        near[max(0, seam - 120) : seam + 120] = True
    assert difference[near].mean() < 1.5 * difference[~near].mean()
    steps = np.abs(np.diff(audio))
    assert max(steps[seam - 2 : seam + 2].max() for seam in seams) <= 1.5 * np.abs(np.diff(reference)).max()


@pytest.mark.slow
def test_closing_stops_the_work(speaker: KokoroSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = []
    run = speaker._engine.windows
    monkeypatch.setattr(speaker._engine, "windows", lambda given: (windows.extend(given), run(given))[1])
    speech = speaker.speak(CLAUSES[1])
    next(speech)
    speech.close()
    assert len(windows) == 1
    assert len(list(speaker.speak("Yes."))) >= 1


@pytest.mark.slow
def test_text_longer_than_the_model_takes_is_said_in_parts(
    speaker: KokoroSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "We are open on Monday, and on Tuesday. On Friday we are closed."
    at_once = len(_joined(list(speaker.speak(text)))) / SPEAKING_RATE_HZ
    monkeypatch.setattr(kokoro, "LONGEST_TOKENS", 40)
    chunks = list(speaker.speak(text))
    words = chunks[0].words
    duration_s = len(_joined(chunks)) / SPEAKING_RATE_HZ
    assert [word.text for word in words] == text.split()
    edges = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert edges[-1] <= duration_s + 1e-3
    assert at_once * 0.8 < duration_s < at_once * 1.6
