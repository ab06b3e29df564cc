"""ElevenLabs, Cartesia and OpenAI as the product's speaker."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from models.types import SPEAKING_RATE_HZ, ModelFailure, SpeechChunk, Word
from pipeline.clock import LoopClock
from serve.hosted.cartesia import Cartesia
from serve.hosted.elevenlabs import ElevenLabs
from serve.hosted.openai_speech import OpenAiSpeech
from serve.hosted.settings import CartesiaSettings, ElevenLabsSettings, OpenAiSpeechSettings, SpeakingCost
from serve.hosted.speech import word_times
from telephony.playout import Playout
from tests.serve.hosted.fakes import KEY, Answer, Rig, b64, events, patience_s, pcm, rig, says, streams, tone, too_slow

TEXT = "We open at nine."
SOUND = tone(1.0, SPEAKING_RATE_HZ)
COST = SpeakingCost(per_1000_characters=0.3)
Settings = ElevenLabsSettings | CartesiaSettings | OpenAiSpeechSettings
ELEVENLABS = ElevenLabsSettings(provider="elevenlabs", voice="21m/00", voices={"es": "isabel"}, cost=COST)
CARTESIA = CartesiaSettings(provider="cartesia", voice="a0e9", cost=COST)
OPENAI = OpenAiSpeechSettings(provider="openai_speech", voice="coral", cost=COST)
ALL = pytest.mark.parametrize("settings", [ELEVENLABS, CARTESIA, OPENAI])


class Nowhere:
    """A carrier that nothing is sent to here."""

    async def audio(self, ulaw: bytes) -> None:
        raise AssertionError

    async def mark(self, name: str) -> None:
        raise AssertionError

    async def clear(self) -> None:
        raise AssertionError

    async def stop(self) -> None:
        raise AssertionError


def speaker(one: Rig, settings: Settings, **endpoint: Any) -> ElevenLabs | Cartesia | OpenAiSpeech:
    makes: dict[type, Callable[..., ElevenLabs | Cartesia | OpenAiSpeech]] = {
        ElevenLabsSettings: ElevenLabs,
        CartesiaSettings: Cartesia,
        OpenAiSpeechSettings: OpenAiSpeech,
    }
    return makes[type(settings)](settings, one.endpoint(**endpoint), one.spent.append)


async def spoken(
    one: Rig, settings: Settings, text: str = TEXT, voice: str = "af_heart", **endpoint: Any
) -> list[SpeechChunk]:
    async with aclosing(speaker(one, settings, **endpoint).speak(text, voice=voice)) as chunks:
        return [chunk async for chunk in chunks]


async def drained(chunks: AsyncGenerator[SpeechChunk, None]) -> None:
    """All of them; none may be the last."""
    async for chunk in chunks:
        assert not chunk.last


def halves() -> tuple[bytes, bytes]:
    data = pcm(SOUND)
    return data[:24_001], data[24_001:]


def elevenlabs_lines(pieces: Sequence[bytes] | None = None, *, aligned: bool = True) -> list[bytes]:
    """The first piece with the times of the first two words and a half."""
    known = TEXT[:10]
    alignment = {
        "characters": list(known),
        "character_start_times_seconds": [0.05 * index for index in range(len(known))],
        "character_end_times_seconds": [0.05 * (index + 1) for index in range(len(known))],
    }
    lines = [
        {"audio_base64": b64(piece), "alignment": alignment if aligned and not index else None}
        for index, piece in enumerate(pieces or halves())
    ]
    return [f"{json.dumps(line)}\n\n".encode() for line in lines]


def cartesia_events(pieces: Sequence[bytes] | None = None, *, timed: bool = True, done: bool = True) -> list[bytes]:
    first, *others = [{"type": "chunk", "data": b64(piece), "done": False} for piece in pieces or halves()]
    times = {"words": ["We", "open"], "start": [0.0, 0.2], "end": [0.1, 0.5]}
    timestamps = [{"type": "timestamps", "done": False, "word_timestamps": times}] if timed else []
    return events([first, *timestamps, *others, *([{"type": "done", "done": True}] if done else [])])


RIGHT = {
    ElevenLabsSettings: elevenlabs_lines,
    CartesiaSettings: cartesia_events,
    OpenAiSpeechSettings: lambda pieces=None: list(pieces or halves()),
}


@ALL
async def test_a_clause_comes_in_chunks_of_which_the_first_has_all_words(settings: Settings) -> None:
    async with rig(streams(RIGHT[type(settings)](), pause_s=0.02)) as one:
        chunks = await spoken(one, settings)
        assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert len(chunks) > 1
        assert [word.text for word in chunks[0].words] == TEXT.split()
        assert not any(chunk.words for chunk in chunks[1:])
        sound = np.concatenate([chunk.pcm for chunk in chunks])
        assert sound.dtype == np.float32
        assert np.abs(sound - SOUND).max() < 1e-3
        assert one.spent == [pytest.approx(0.3 * len(TEXT) / 1000)]


@ALL
async def test_the_line_plays_it(settings: Settings) -> None:
    async with rig(streams(RIGHT[type(settings)]())) as one:
        line = Playout(Nowhere(), clock=LoopClock(), hang_up=Nowhere().stop)
        for chunk in await spoken(one, settings):
            line.play("c1", chunk)
        (clause,) = line.heard()
        assert (clause.clause_id, clause.text) == ("c1", "")


async def test_elevenlabs_tells_times_and_is_asked_for_the_voice_that_stands_in() -> None:
    async with rig(streams(elevenlabs_lines())) as one:
        words = (await spoken(one, ELEVENLABS))[0].words
        assert [(word.start_s, round(word.end_s, 2)) for word in words[:2]] == [(0.0, 0.1), (pytest.approx(0.15), 0.35)]
        assert words[2].start_s == pytest.approx(0.35), "spread: it may go on in what had not come yet"
        assert one.last.path == "/v1/text-to-speech/21m%2F00/stream/with-timestamps?output_format=pcm_24000"
        assert one.last.headers["xi-api-key"] == KEY
        assert json.loads(one.last.body) == {"text": TEXT, "model_id": "eleven_flash_v2_5"}
        await spoken(one, ELEVENLABS, voice="es")
        assert one.last.path.startswith("/v1/text-to-speech/isabel/")


async def test_cartesia_tells_times_for_which_the_first_sound_waits() -> None:
    short, rest = pcm(SOUND)[:4800], pcm(SOUND)[4800:]
    async with rig(streams(cartesia_events([short, rest]), pause_s=0.02)) as one:
        words = (await spoken(one, CARTESIA))[0].words
        assert [(word.start_s, word.end_s) for word in words[:2]] == [(0.0, 0.1), (0.2, 0.5)]
        body = json.loads(one.last.body)
        assert one.last.headers["Cartesia-Version"] == "2025-04-16"
        assert one.last.headers["Authorization"] == f"Bearer {KEY}"
        assert (body["voice"], body["add_timestamps"]) == ({"mode": "id", "id": "a0e9"}, True)
        assert body["output_format"] == {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
    async with rig(streams(cartesia_events())) as one:
        await spoken(one, CARTESIA.model_copy(update={"languages": {"ef_dora": "es"}}), voice="ef_dora")
        assert json.loads(one.last.body)["language"] == "es"
    async with rig(streams(cartesia_events(timed=False))) as one:
        assert len((await spoken(one, CARTESIA))[0].words) == 4, "but not for ever"


async def test_openai_tells_no_times_and_words_are_spread_by_their_length() -> None:
    async with rig(streams(list(halves()))) as one:
        words = (await spoken(one, OPENAI))[0].words
        lengths = [word.end_s - word.start_s for word in words]
        assert lengths[1] == pytest.approx(5 / 14)
        assert words[0].start_s == 0.0
        body = json.loads(one.last.body)
        assert (one.last.path, body["response_format"], body["voice"]) == ("/audio/speech", "pcm", "coral")


@ALL
async def test_closing_ends_the_request(settings: Settings) -> None:
    async with rig(streams(RIGHT[type(settings)](), hang=True)) as one:
        async with aclosing(speaker(one, settings).speak(TEXT, voice="v")) as chunks:
            await anext(chunks)
        await one.provider.gone.wait()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says({"detail": {"status": "invalid_api_key", "message": f"bad {KEY}"}}, 401), "HTTP 401; check the key in"),
        (
            says({"detail": {"status": "quota_exceeded", "message": "quota"}}, 402),
            "HTTP 402: quota; the account has no",
        ),
        (says({"error": {"message": "no such voice"}}, 404), "HTTP 404: no such voice; check the names of model and"),
        (says({"title": "Busy"}, 500), "HTTP 500: Busy; the provider is in trouble"),
        (too_slow, r"no answer within 0\.3 s"),
    ],
)
@ALL
async def test_every_refusal_is_a_failure(settings: Settings, answer: Answer, told: str) -> None:
    async with rig(answer) as one:
        with pytest.raises(ModelFailure, match=told) as failure:
            await spoken(one, settings, timeout_s=patience_s(told))
        assert KEY not in str(failure.value)
        assert one.spent == []


@ALL
async def test_a_stream_that_breaks_or_hangs_in_its_middle_is_a_failure_after_what_has_come(settings: Settings) -> None:
    for how, told in (({"cut": True}, "the connection failed"), ({"hang": True}, r"no answer within 0\.3 s")):
        pieces = RIGHT[type(settings)]()[:2]
        async with rig(streams(pieces[:-1] if settings is not CARTESIA else pieces, **how)) as one:  # type: ignore[arg-type]
            chunks = speaker(one, settings, timeout_s=patience_s(told)).speak(TEXT, voice="v")
            assert not (await anext(chunks)).last
            with pytest.raises(ModelFailure, match=told):
                await drained(chunks)


@pytest.mark.parametrize(
    ("settings", "pieces", "told"),
    [
        (ELEVENLABS, [b'{"audio_base64": "!!!"}\n'], "no base64"),
        (ELEVENLABS, [b"<html>\n"], "not of the form that was expected"),
        (
            ELEVENLABS,
            [
                b'{"audio_base64": "", "alignment": {"characters": ["a"], "character_start_times_seconds": [], '
                b'"character_end_times_seconds": []}}\n'
            ],
            "not of the form that was expected, at alignment",
        ),
        (ELEVENLABS, [b'{"audio_base64": ""}\n'], "the answer has no sound"),
        (ELEVENLABS, [b"x" * 2_100_000], "larger than 2000 kB"),
        (CARTESIA, events([{"type": "error", "error": f"bad voice {KEY}"}]), r"bad voice \(the key\)"),
        (CARTESIA, events([{"type": "error", "title": "Invalid", "message": "model"}]), "Invalid model"),
        (CARTESIA, cartesia_events(done=False), "the speech broke off before its end"),
        (CARTESIA, events([{"data": "no type"}]), "expected, at type"),
        (OPENAI, [b""], "the answer has no sound"),
        (OPENAI, [b"\0" * 1_000_000] * 17, "larger than 16000 kB"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(settings: Settings, pieces: list[bytes], told: str) -> None:
    async with rig(streams(pieces)) as one:
        with pytest.raises(ModelFailure, match=told) as failure:
            await spoken(one, settings)
        assert KEY not in str(failure.value)


@ALL
async def test_more_than_a_clause_is_refused_before_anything_is_sent(settings: Settings) -> None:
    async with rig(too_slow) as one:
        with pytest.raises(ModelFailure, match="at most 2000 characters, got 2001"):
            await spoken(one, settings, "x" * 2001)
    assert one.provider.asked == []


def test_times_that_are_known_are_kept_as_far_as_the_words_agree() -> None:
    known = [Word("el", 0.0, 0.2), Word("martes", 0.3, 0.8), Word("dos", 0.9, 1.0)]
    words = word_times("El martes, 2 de junio.", known)
    assert [word.text for word in words] == ["El", "martes,", "2", "de", "junio."]
    assert [(word.start_s, word.end_s) for word in words[:2]] == [(0.0, 0.2), (0.3, 0.8)]
    assert words[2].start_s == 0.8
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in pairwise(words))
