"""The language benchmark's own logic."""

from __future__ import annotations

import gzip
import wave
from pathlib import Path

import numpy as np
import pytest

from bench import languages
from bench.languages import Clip, Told, load, shares
from bench.stt import PromptsMissing
from models.types import Languages


def told(seconds: float, *, right: bool, expected: str = "en", settled: bool = False) -> Told:
    clip = Clip("es", "prompt", np.zeros(int(seconds * 16_000), np.float32))
    return Told(clip, Languages(expected, ("es",), settled=settled), right, 100.0)


def test_clips_are_counted_by_language_expectation_and_length() -> None:
    rows = shares([told(1.2, right=True), told(1.4, right=False), told(1.2, right=True, settled=True)])
    found = {
        (row["expected"], row["settled"]): (row["right"], row["clips"], row["wrong"])
        for row in rows
        if row["spoken"] == "es" and row["from_s"] == 1.0
    }
    assert found[("en", False)] == (1, 2, ["prompt"])
    assert found[("en", True)] == (1, 1, [])
    assert found[("es", False)] == (0, 0, [])
    assert sum(row["clips"] for row in rows if isinstance(row["clips"], int)) == 3


def test_only_prompts_with_words_and_of_some_length_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "SOUNDS", tmp_path)
    monkeypatch.setattr(languages, "TRANSCRIPTS", tmp_path)
    listed = tmp_path / "asterisk-core-sounds-es"
    listed.mkdir()
    (listed / "core-sounds-es.txt.gz").write_bytes(
        gzip.compress(b"; note: no\nbeep: [tono]\nhola: Hola.\nya: Ya.\nfalta: Falta.\n")
    )
    sounds = tmp_path / languages.VOICES["es"]
    sounds.mkdir()
    for name, seconds in (("beep", 1.0), ("hola", 1.0), ("ya", 0.1)):
        with wave.open(str(sounds / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(np.zeros(int(8000 * seconds), "<i2").tobytes())
    assert [clip.name for clip in load("es", 10)] == ["hola"]


def test_missing_prompts_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "TRANSCRIPTS", tmp_path)
    with pytest.raises(PromptsMissing, match=r"apt-get install .*asterisk-core-sounds-es-wav"):
        load("es", 10)
    assert languages.main([]) == 2
