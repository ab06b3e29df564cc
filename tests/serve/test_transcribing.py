"""Whisper behind its queue, on weights made of random numbers: the engine is the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from bench.gpu.dummy_whisper import SHAPES, write_dummy_whisper
from bench.nonspeech import clips
from models.registry import WhisperWindow
from models.types import FloatAudio, Languages, ModelFailure, Transcript
from models.weights import prepare
from models.whisper import EncodedTurns, Turn, WhisperTranscriber
from serve import transcribing
from serve.transcribing import WhisperQueue
from tests.models.speech import spoken

SAYS = "a ticket to the harbour please"


class Watched(WhisperTranscriber):
    """Remembers its batches; can be broken."""

    broken = ""
    batches: list[list[tuple[float, bool]]]

    def encode(self, turns: Sequence[Turn]) -> EncodedTurns:
        if self.broken:
            raise ModelFailure(self.broken)
        if hasattr(self, "batches"):
            self.batches.append([(turn.audio_s, turn.full_window) for turn in turns])
        return super().encode(turns)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    write_dummy_whisper(folder, SHAPES["tiny-test"], says=SAYS)
    return folder


@pytest.fixture
def model(weights: Path) -> Watched:
    watched = Watched(weights, window=WhisperWindow(), threads=1, compute_type="float32", at_once=2)
    watched.batches = []
    return watched


def queue(model: Watched, *, at_once: Literal[1, 2] = 1, check_s: float = 20.0) -> WhisperQueue:
    return WhisperQueue(model, language="en", max_size=3, wait_s=0.01, at_once=at_once, check_s=check_s)


def noise(seconds: float) -> FloatAudio:
    sound = np.random.default_rng(int(10 * seconds)).standard_normal(int(seconds * 16_000)) * 0.1
    return sound.astype(np.float32)


async def heard(one: WhisperQueue, *audios: FloatAudio, final: bool = True) -> list[Transcript]:
    return await asyncio.gather(*(one.transcribe(audio, Languages(), final=final) for audio in audios))


@pytest.mark.parametrize("at_once", [1, 2])
async def test_turns_in_stages_are_heard_as_all_at_once(model: Watched, at_once: Literal[1, 2]) -> None:
    audios = [noise(s) for s in (1.2, 29.0, 3.4, 0.7, 8.1, 28.0, 2.2)]
    found = await heard(queue(model, at_once=at_once), *audios)
    assert [(one.text, one.audio_s) for one in found] == [(one.text, one.audio_s) for one in model.transcribe(audios)]
    assert found[0].text == SAYS


async def test_full_windows_and_short_ones_are_batches_of_their_own(model: Watched) -> None:
    one = queue(model)
    model.batches.clear()
    await heard(one, noise(2), noise(28), noise(3), noise(27.9), noise(4))
    assert all(len({full for _, full in batch}) == 1 for batch in model.batches)
    assert sorted(turn for batch in model.batches for turn in batch) == [
        (2.0, False),
        (3.0, False),
        (4.0, False),
        (27.9, True),
        (28.0, True),
    ]


async def test_audio_that_is_none_fails_by_itself(model: Watched) -> None:
    one = queue(model)
    bad, good = await asyncio.gather(
        one.transcribe(np.zeros((2, 50), np.float32), Languages(), final=True),
        one.transcribe(noise(2), Languages(), final=True),
        return_exceptions=True,
    )
    assert isinstance(bad, ModelFailure)
    assert isinstance(good, Transcript)


async def test_a_check_runs_the_model_unless_it_has_just_shown_that_it_works(model: Watched) -> None:
    one = queue(model)
    model.batches.clear()
    await one.check()
    await one.check()
    assert model.batches == [[(0.5, False)]] * 2
    await heard(one, noise(2))
    model.batches.clear()
    await one.check()
    assert model.batches == []
    await one.check()
    assert model.batches == [[(0.5, False)]]


async def test_a_model_that_fails_its_check_or_hangs_in_it_is_unwell(
    model: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.broken = "the engine is gone"
    with pytest.raises(ModelFailure, match="the engine is gone"):
        await queue(model).check()
    model.broken = ""

    async def stuck(*_: object, **__: object) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(WhisperQueue, "_encode", stuck)
    hanging = queue(model, check_s=0.05)
    with pytest.raises(ModelFailure, match=r"not transcribed within 0\.05 s"):
        await hanging.check()


async def test_a_fault_of_the_gpu_ends_the_process_whoever_meets_it(
    model: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    monkeypatch.setattr(transcribing, "leave_on_cuda_fault", lambda error: left.append(str(error)))
    model.broken = "Whisper failed on a batch of 1 turns: CUDA failed with error an illegal memory access"
    one = queue(model)
    with pytest.raises(ModelFailure):
        await heard(one, noise(2))
    with pytest.raises(ModelFailure):
        await one.check()
    assert left == [model.broken] * 2


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2])
async def test_real_speech_in_stages_is_heard_as_all_at_once(tmp_path: Path, at_once: Literal[1, 2]) -> None:
    # Without silence after the speech some of these loop, and go through the stages again.
    window = WhisperWindow(extra_silence_s=0.0, minimum_s=0.5)
    model = WhisperTranscriber(prepare("whisper-tiny.en"), window=window, at_once=at_once)
    lines = ["Press five to repeat the message.", "Yes please.", "Tuesday.", "No.", "Four.", "At nine thirty."]
    audios = [spoken(line, tmp_path) for line in lines] + [clip.audio for clip in clips(3, seed=4)]
    one = WhisperQueue(model, language="en", max_size=len(audios), wait_s=0.5, at_once=at_once, check_s=20.0)
    found = await heard(one, *audios)
    expected = model.transcribe(audios)
    assert any(transcript.full_window for transcript in expected)
    assert [(one.text, one.full_window) for one in found] == [(one.text, one.full_window) for one in expected]
