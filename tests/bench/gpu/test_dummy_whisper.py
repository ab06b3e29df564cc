"""A Whisper made of random numbers, through the transcriber that real ones go through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.gpu.dummy_whisper import SHAPES, WhisperShape, write_dummy_whisper
from models.registry import WhisperWindow
from models.types import FloatAudio, Languages, ModelFailure, Transcript
from models.whisper import WhisperTranscriber

MULTILINGUAL = WhisperShape(1, 1, 2, 64, 128, text_tokens=50_257, languages=100)
"""As large-v3's vocabulary and mels, and small otherwise."""


def loaded(
    folder: Path, *, window: WhisperWindow | None = None, languages: tuple[str, ...] = ("en",)
) -> WhisperTranscriber:
    return WhisperTranscriber(
        folder, window=window or WhisperWindow(), threads=1, compute_type="float32", languages=languages
    )


def noise(seconds: float) -> FloatAudio:
    sound = np.random.default_rng(3).standard_normal(int(seconds * 16_000)) * 0.1
    return sound.astype(np.float32)


def babble(seconds: float) -> FloatAudio:
    """Vowels in syllables: to Silero it is speech."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    pitch_hz = 130 + 25 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / 16_000
    lips_hz, tongue_hz = 500 + 250 * np.sin(2 * np.pi * 1.7 * t), 1500 + 500 * np.sin(2 * np.pi * 1.1 * t)
    voice = np.zeros_like(t)
    for harmonic in range(1, 28):
        at_hz = harmonic * pitch_hz
        loud = np.exp(-(((at_hz - lips_hz) / 120) ** 2)) + 0.6 * np.exp(-(((at_hz - tongue_hz) / 160) ** 2)) + 0.02
        voice += loud * np.sin(harmonic * phase)
    voice *= np.sin(2 * np.pi * 3.5 * t) > -0.3
    return (0.1 * voice / np.sqrt(np.mean(voice**2))).astype(np.float32)


def test_it_says_what_is_asked_whatever_it_hears_and_stops(tmp_path: Path) -> None:
    write_dummy_whisper(tmp_path, SHAPES["tiny-test"], says="two tables by the window please")
    found = loaded(tmp_path).transcribe([noise(4), noise(2), np.zeros(8000, np.float32)])
    assert [one.text for one in found] == ["two tables by the window please"] * 2 + [""]
    assert not any(one.full_window for one in found)


def test_the_same_seed_writes_the_same_weights(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        write_dummy_whisper(tmp_path / folder, SHAPES["tiny-test"], seed=5)
    assert (tmp_path / "one/model.bin").read_bytes() == (tmp_path / "other/model.bin").read_bytes()


def test_it_has_the_vocabulary_of_the_real_ones() -> None:
    assert {name: shape.vocabulary for name, shape in SHAPES.items() if name != "tiny-test"} == {
        "tiny.en": 51_864,
        "large-v3-turbo": 51_866,
        "large-v3": 51_866,
    }


def test_one_of_many_languages_tells_them_apart_and_speaks_english(tmp_path: Path) -> None:
    write_dummy_whisper(tmp_path, MULTILINGUAL, says="where is platform two")
    model = loaded(tmp_path, languages=("en", "es"))
    assert model.multilingual
    english, spanish = model.transcribe([noise(3), noise(4)], languages=[Languages("en", ("es",)), Languages("es")])
    assert (english.text, english.language) == ("where is platform two", "en")
    assert (spanish.text, spanish.language) == ("where is platform two", "es")


def test_what_repeats_itself_goes_through_the_stages_once_more_in_the_full_window(tmp_path: Path) -> None:
    write_dummy_whisper(tmp_path, SHAPES["tiny-test"], says="no " * 60)
    model = loaded(tmp_path)
    turn = model.prepare(babble(8), languages=Languages())
    (again,) = model.decode(model.encode([turn]))
    assert not isinstance(again, Transcript)
    assert (turn.full_window, again.full_window) == (False, True)
    (found,) = model.decode(model.encode([again]))
    assert isinstance(found, Transcript)
    assert found.full_window
    assert [found] == model.transcribe([babble(8)])


def test_turns_that_nobody_waits_for_are_not_decoded(tmp_path: Path) -> None:
    write_dummy_whisper(tmp_path, SHAPES["tiny-test"])
    model = loaded(tmp_path)
    turns = [model.prepare(noise(seconds), languages=Languages()) for seconds in (3, 12)]
    gone, wanted = model.decode(model.encode(turns), wanted=[False, True])
    assert gone is turns[0]
    assert isinstance(wanted, Transcript)


def test_full_windows_are_told_from_short_ones_before_anything_is_computed(tmp_path: Path) -> None:
    write_dummy_whisper(tmp_path, SHAPES["tiny-test"])
    short, whole = loaded(tmp_path), loaded(tmp_path, window=WhisperWindow(full_window=True))
    assert [short.prepare(noise(s), languages=Languages()).full_window for s in (2, 20, 28)] == [False, False, True]
    assert whole.prepare(noise(2), languages=Languages()).full_window


def test_more_words_than_a_decoder_has_room_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match="223 words"):
        write_dummy_whisper(tmp_path, SHAPES["tiny-test"], says="so " * 400)


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_dummy_whisper(tmp_path, SHAPES["tiny-test"])
    with pytest.raises(ModelFailure, match="cannot load it as bfloat16 on cuda"):
        WhisperTranscriber(
            tmp_path, window=WhisperWindow(), threads=1, compute_type="bfloat16", device="cuda", device_index=99
        )
