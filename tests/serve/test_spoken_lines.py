from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from models.types import SpeechChunk
from serve.spoken_lines import RememberingSpeaker
from tests.pipeline.fakes import FakeModels


async def spoken(speaker: RememberingSpeaker, text: str = "Hello there.", voice: str = "af_heart") -> list[SpeechChunk]:
    return [chunk async for chunk in speaker.speak(text, voice=voice)]


async def test_a_line_is_synthesised_once_and_read_back_as_it_was(tmp_path: Path) -> None:
    models = FakeModels(utterances=[], speak_s=0)
    first = await spoken(RememberingSpeaker(models, tmp_path, "kokoro"))
    again = await spoken(RememberingSpeaker(models, tmp_path, "kokoro"))
    assert models.spoken == ["Hello there."]
    assert [chunk.words for chunk in first] == [chunk.words for chunk in again]
    np.testing.assert_array_equal(first[0].pcm, again[0].pcm)
    assert again[0].pcm.dtype == np.float32


async def test_other_words_voices_and_weights_share_nothing(tmp_path: Path) -> None:
    models = FakeModels(utterances=[], speak_s=0)
    speaker = RememberingSpeaker(models, tmp_path, "kokoro")
    await spoken(speaker)
    await spoken(speaker, "Hello you.")
    await spoken(speaker, voice="am_adam")
    await spoken(RememberingSpeaker(models, tmp_path, "other weights"))
    assert len(models.spoken) == 4


async def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    models = FakeModels(utterances=[], speak_s=0)
    speaker = RememberingSpeaker(models, tmp_path, "kokoro")
    await spoken(speaker)
    for path in tmp_path.iterdir():  # noqa: ASYNC240
        path.write_bytes(path.read_bytes()[:100])
    await spoken(speaker)
    await spoken(speaker)
    assert len(models.spoken) == 2


async def test_gateways_that_start_together_make_a_missing_line_once(tmp_path: Path) -> None:
    models = [FakeModels(utterances=[], speak_s=0.2) for _ in range(3)]
    speakers = [RememberingSpeaker(each, tmp_path, "kokoro") for each in models]
    heard = await asyncio.gather(*(spoken(speaker) for speaker in speakers))
    assert sum(len(each.spoken) for each in models) == 1
    assert len({chunks[0].pcm.tobytes() for chunks in heard}) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]  # noqa: ASYNC240
