"""The caller's real voice: rendered once, the same every time, and understood over the telephone."""

from __future__ import annotations

import time
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr

from bench.script import SCRIPTS, load_script, plain_text
from bench.script import _words as words
from bench.voices import SPEECH_DBFS, PiperVoice, VoiceError, render_turn
from models.weights import prepare
from telephony.audio import float_to_ulaw, ulaw_to_float

pytestmark = pytest.mark.slow


def test_a_line_is_the_same_in_every_run_and_is_read_back_from_disk(tmp_path: Path) -> None:
    folder = prepare("piper-joe")
    first, again = (PiperVoice(folder, tmp_path / cache).render("Is that right?", 3) for cache in ("a", "b"))
    assert np.array_equal(first, again), "rendering has chance in it"
    other = PiperVoice(folder, tmp_path / "a").render("Is that right?", 4)
    assert not np.array_equal(first[: len(other)], other[: len(first)])
    (kept,) = (path for path in (tmp_path / "b").iterdir())
    written_ns = kept.stat().st_mtime_ns
    time.sleep(0.01)
    assert np.array_equal(PiperVoice(folder, tmp_path / "b").render("Is that right?", 3), first)
    assert kept.stat().st_mtime_ns == written_ns
    loud = first[np.abs(first) > 0.01]
    assert 20 * np.log10(np.sqrt(np.mean(np.square(loud)))) == pytest.approx(SPEECH_DBFS, abs=3)


def test_a_folder_without_a_voice_is_named(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match=r"expected one Piper voice .*found 0"):
        PiperVoice(tmp_path, tmp_path)


def test_whisper_tiny_understands_the_scripts_lines_over_u_law(tmp_path: Path) -> None:
    from faster_whisper import WhisperModel

    whisper = WhisperModel(str(prepare("whisper-tiny.en")), device="cpu", compute_type="int8", cpu_threads=2)
    voice = PiperVoice(prepare("piper-joe"), tmp_path)
    said, heard = [], []
    for turn in load_script(SCRIPTS / "dental_demo.yaml").turns:
        line = render_turn(turn, voice, 7)
        assert line is not None
        wire = ulaw_to_float(float_to_ulaw(np.pad(line.pcm, 4000)))
        segments, _ = whisper.transcribe(soxr.resample(wire, 8_000, 16_000), beam_size=1, language="en")
        said.append(" ".join(words(plain_text(turn.line))))
        heard.append(" ".join(words(" ".join(segment.text for segment in segments))))
    assert jiwer.wer(said, heard) <= 0.06, list(zip(said, heard, strict=True))
