"""Deepgram and AssemblyAI as the product's transcriber."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from models.types import Languages, ModelFailure, Transcript
from serve.hosted.assemblyai import AssemblyAi
from serve.hosted.deepgram import Deepgram
from serve.hosted.hearing import frames
from serve.hosted.settings import AssemblyAiSettings, DeepgramSettings, HearingCost
from tests.serve.hosted.fakes import KEY, Answer, Rig, converses, patience_s, pcm, rig, says, streams, tone, too_slow

AUDIO = tone(1.5)
ENGLISH = Languages()
BOTH = Languages("en", ("es",))
COST = HearingCost(per_minute=0.012)
DEEPGRAM = DeepgramSettings(provider="deepgram", cost=COST)
ASSEMBLYAI = AssemblyAiSettings(provider="assemblyai", cost=COST)
STREAMED = {"way": "stream"}


async def heard(
    one: Rig,
    settings: DeepgramSettings | AssemblyAiSettings = DEEPGRAM,
    languages: Languages = ENGLISH,
    **endpoint: Any,
) -> Transcript:
    make: Callable[..., Deepgram | AssemblyAi] = Deepgram if isinstance(settings, DeepgramSettings) else AssemblyAi
    return await make(settings, one.endpoint(**endpoint), one.spent.append).transcribe(AUDIO, languages, final=True)


def alternative(text: str, *words: tuple[str, float, float], confidence: float = 0.9) -> dict[str, object]:
    return {
        "transcript": text,
        "confidence": confidence,
        "words": [
            {"word": word.lower(), "start": start, "end": end, "confidence": 0.98, "punctuated_word": word}
            for word, start, end in words
        ],
    }


def channel(one: dict[str, object], **more: object) -> dict[str, object]:
    return {"metadata": {"request_id": "d"}, "results": {"channels": [{"alternatives": [one], **more}]}}


A_TABLE = alternative("A table at 8:30.", ("A", 0.1, 0.2), ("table", 0.2, 0.5), ("at", 0.5, 0.6), ("8:30.", 0.6, 1.1))


async def test_deepgram_hears_a_turn_in_one_request() -> None:
    async with rig(says(channel(A_TABLE))) as one:
        found = await heard(one)
        assert (found.text, found.language, found.audio_s) == ("A table at 8:30.", "en", 1.5)
        assert [(word.text, word.end_s) for word in found.words][-1] == ("8:30.", 1.1)
        assert found.average_log_probability == pytest.approx(np.log(0.9))
        query = parse_qs(urlsplit(one.last.path).query)
        assert one.last.path.startswith("/v1/listen?")
        assert (query["encoding"], query["sample_rate"], query["language"]) == (["linear16"], ["16000"], ["en"])
        assert one.last.headers["Authorization"] == f"Token {KEY}"
        assert one.last.body == pcm(AUDIO)
        assert one.spent == [pytest.approx(0.012 * 1.5 / 60)]


async def test_deepgram_tells_which_of_several_languages_it_was() -> None:
    async with rig(says(channel(alternative("Una mesa."), detected_language="es"))) as one:
        assert (await heard(one, languages=BOTH)).language == "es"
        assert "detect_language=true" in one.last.path
    async with rig(says(channel(alternative("Uma mesa."), detected_language="pt"))) as one:
        assert (await heard(one, languages=BOTH)).language == "en", "none that the agent speaks"


async def test_silence_is_no_words_and_no_failure() -> None:
    async with rig(says(channel(alternative("", confidence=0.0)))) as one:
        found = await heard(one)
        assert (found.text, found.words, found.average_log_probability) == ("", (), 0.0)


async def test_a_guess_is_told_as_one() -> None:
    async with rig(says(channel(alternative("mumble", confidence=0.2)))) as one:
        assert (await heard(one)).average_log_probability < -1.0


def deepgram_stream(kind: str, audio: bytes) -> Sequence[object]:
    assert kind == "CloseStream"
    assert audio == pcm(AUDIO)
    parts = (("A table", True), ("at eight", False), ("at 8:30.", True))
    results = [
        {"type": "Results", "is_final": final, "channel": {"alternatives": [alternative(text)]}}
        for text, final in parts
    ]
    return [*results, {"type": "UtteranceEnd", "channel": [0, 1]}, {"type": "Metadata", "duration": 1.5}]


async def test_deepgram_hears_over_a_stream_too() -> None:
    async with rig(converses(deepgram_stream)) as one:
        found = await heard(one, DEEPGRAM.model_copy(update=STREAMED), BOTH)
        assert found.text == "A table at 8:30."
        assert "language=multi" in one.last.path
        assert one.last.headers["Authorization"] == f"Token {KEY}"


async def test_assemblyai_hears_a_turn_in_one_request() -> None:
    words = [{"text": "A", "confidence": 0.9, "start": 120, "end": 240}, {"text": "table.", "confidence": 0.9}]
    answer = {"text": "A table.", "confidence": 0.95, "words": words, "audio_duration_ms": 1500, "session_id": "s"}
    async with rig(says(answer)) as one:
        found = await heard(one, ASSEMBLYAI, BOTH)
        assert (found.text, found.language) == ("A table.", "en")
        assert [(word.text, word.start_s) for word in found.words] == [("A", 0.12)], "times it does not know are none"
        assert one.last.path == "/transcribe"
        assert one.last.headers["Authorization"] == KEY
        assert one.last.headers["X-AAI-Model"] == "universal-3-5-pro"
        boundary = one.last.headers["Content-Type"].partition("boundary=")[2].encode()
        config, audio = (part.partition(b"\r\n\r\n")[2] for part in one.last.body.split(b"--" + boundary)[1:3])
        assert json.loads(config) == {"language_code": ["en", "es"], "sample_rate": 16000, "channels": 1}
        assert audio == pcm(AUDIO) + b"\r\n"
        assert len(one.spent) == 1


async def test_assemblyai_is_not_asked_about_less_than_it_takes() -> None:
    async with rig(too_slow) as one:
        transcriber = AssemblyAi(ASSEMBLYAI, one.endpoint(), one.spent.append)
        assert (await transcriber.transcribe(tone(0.05), Languages(), final=False)).text == ""
    assert one.provider.asked == []


def assemblyai_stream(kind: str, audio: bytes) -> Sequence[object]:
    if kind == "ForceEndpoint":
        word = {"start": 100, "end": 400, "confidence": 0.8, "word_is_final": True}
        turn = {"type": "Turn", "turn_order": 0, "end_of_turn": True, "words": [{**word, "text": "table"}]}
        return [
            {"type": "Begin", "id": "b", "expires_at": 1},
            {**turn, "end_of_turn": False, "transcript": "a"},
            {**turn, "transcript": "a table"},
            {**turn, "turn_is_formatted": True, "transcript": "A table."},
            {**turn, "turn_order": 1, "transcript": "Please."},
        ]
    return [{"type": "Termination", "audio_duration_seconds": len(audio) // 32_000}]


async def test_assemblyai_hears_over_a_stream_too() -> None:
    async with rig(converses(assemblyai_stream)) as one:
        found = await heard(one, ASSEMBLYAI.model_copy(update=STREAMED))
        assert found.text == "A table. Please.", "the formatted turn takes the place of the plain one"
        assert found.average_log_probability == pytest.approx(np.log(0.8))
        assert "speech_model=universal-streaming-english" in one.last.path


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says({"err_code": "INVALID_AUTH", "err_msg": f"bad {KEY}"}, 401), "HTTP 401; check the key in ACME_KEY"),
        (says({"error_code": "bad_audio", "message": "misaligned"}, 400), "HTTP 400: misaligned; check the model"),
        (says({"detail": "slow down"}, 429), "HTTP 429: slow down; too many requests"),
        (says(["no", "transcript"]), "not of the form that was expected, at its top level"),
        (says({"results": {"channels": "none"}, "text": 5}), "not of the form"),
        (streams([b'{"text": "A ta'], cut=True), "the connection failed"),
        (streams([b'{"text": "A ta']), "not of the form"),
        (streams([b" " * 600_000] * 2), "larger than 1000 kB"),
        (too_slow, r"no answer within 0\.3 s"),
    ],
)
@pytest.mark.parametrize("settings", [DEEPGRAM, ASSEMBLYAI])
async def test_every_trouble_with_a_request_is_a_failure(
    settings: DeepgramSettings | AssemblyAiSettings, answer: Answer, told: str
) -> None:
    async with rig(answer) as one:
        with pytest.raises(ModelFailure, match=told) as failure:
            await heard(one, settings, timeout_s=patience_s(told))
        assert KEY not in str(failure.value)
        assert one.spent == [], "what was not heard is not billed"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says({"err_msg": "no"}, 401), "HTTP 401; check the key in ACME_KEY"),
        (says({"message": "no such model"}, 400), "HTTP 400: no such model"),
        (converses(lambda kind, audio: [1011]), r"the connection was closed \(1011\) as you wish"),
        (converses(lambda kind, audio: [1000]), "closed without its summary"),
        (converses(lambda kind, audio: ["{"]), "not of the form that was expected"),
        (converses(lambda kind, audio: [{"type": "Results", "is_final": False}] * 501), "more than 500 messages"),
        (converses(lambda kind, audio: ["x" * 1_100_000]), r"the connection was closed|the connection failed"),
        (converses(lambda kind, audio: []), r"no answer within 0\.3 s"),
        (
            converses(
                lambda kind, audio: [
                    {"type": "Error", "error_code": 3007, "error": "Too Fast", "description": "Too Fast"}
                ]
            ),
            "Too Fast",
        ),
        (too_slow, r"no answer within 0\.3 s"),
    ],
)
@pytest.mark.parametrize("settings", [DEEPGRAM, ASSEMBLYAI])
async def test_every_trouble_with_a_stream_is_a_failure(
    settings: DeepgramSettings | AssemblyAiSettings, answer: Answer, told: str
) -> None:
    async with rig(answer) as one:
        with pytest.raises(ModelFailure, match=told) as failure:
            await heard(one, settings.model_copy(update=STREAMED), timeout_s=patience_s(told))
        assert KEY not in str(failure.value)
        assert one.spent == []


@pytest.mark.parametrize("length_s", [0.08, 0.25, 0.26, 0.374, 0.376, 1.01, 30.0])
def test_no_piece_of_a_stream_is_too_short_or_too_long_for_a_provider(length_s: float) -> None:
    data = pcm(tone(length_s))
    pieces = list(frames(data, 0.25))
    assert b"".join(pieces) == data
    assert all(0.05 <= len(piece) / 32_000 <= 1.0 for piece in pieces)


async def test_more_than_a_turn_is_refused_before_anything_is_sent() -> None:
    async with rig(too_slow) as one:
        transcriber = Deepgram(DEEPGRAM, one.endpoint(), one.spent.append)
        for audio in (tone(31), np.zeros(1600, np.float64)):
            with pytest.raises(ModelFailure, match="expected mono float32 of at most 30 s"):
                await transcriber.transcribe(audio, Languages(), final=True)  # type: ignore[arg-type]
    assert one.provider.asked == []
