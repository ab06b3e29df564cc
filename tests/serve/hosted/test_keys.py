"""Keys come from the environment, by the name of a variable; what might be a key itself is refused and not shown."""

from __future__ import annotations

import pytest

from models.settings import SettingsError, parse_settings
from serve.hosted.keys import check_keys, key_of
from serve.hosted.settings import (
    AssemblyAiSettings,
    DeepgramSettings,
    HearingFallback,
    LanguageModelFallback,
    OpenAiChatSettings,
    SpeechFallback,
)

DEEPGRAM = DeepgramSettings(provider="deepgram")
OWN_SERVER = OpenAiChatSettings(provider="openai_chat", model="qwen3", key_env=None)


def test_a_key_is_read_from_the_environment() -> None:
    found = key_of("speech_to_text", DEEPGRAM, {"DEEPGRAM_API_KEY": " abc\n"})
    assert found is not None
    assert found.get_secret_value() == "abc"
    assert "abc" not in repr(found)
    assert key_of("small_language_model", OWN_SERVER, {}) is None


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_told_with_what_needs_it_and_what_to_do(value: str | None) -> None:
    environment = {} if value is None else {"DEEPGRAM_API_KEY": value}
    with pytest.raises(
        SettingsError, match=r"DEEPGRAM_API_KEY: missing or empty; .* deepgram, .*speech_to_text.fallback"
    ):
        check_keys({"speech_to_text": DEEPGRAM}, environment)


def test_a_key_that_cannot_be_sent_is_refused_unseen() -> None:
    with pytest.raises(SettingsError, match="printable ASCII") as error:
        check_keys({"speech_to_text": DEEPGRAM}, {"DEEPGRAM_API_KEY": "geheimnisvoll-ñ"})
    assert "geheimnisvoll" not in str(error.value)


def test_what_stands_in_is_told() -> None:
    hosted = {"speech_to_text": DEEPGRAM, "large_language_model": OWN_SERVER}
    told = check_keys(hosted, {"DEEPGRAM_API_KEY": "abc"})
    assert told == "deepgram stands in for speech_to_text; openai_chat stands in for large_language_model"
    assert check_keys({}, {}) == ""


@pytest.mark.parametrize("key", ["sk-proj-Abc123", "0123456789abcdef0123456789abcdef", "5", "[A_KEY]"])
def test_a_key_that_is_written_into_the_file_is_refused_and_not_shown(key: str) -> None:
    text = f"hosted:\n  provider: deepgram\n  key_env: {key}\n"
    with pytest.raises(SettingsError, match="never written into this file") as error:
        parse_settings(text, HearingFallback, "stack.yaml")
    assert key.strip("[]") not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hosted: {provider: whisper}", "hosted.provider: no such kind: 'whisper'"),
        ("hosted: {provider: elevenlabs}", "hosted.provider: no such kind: 'elevenlabs'"),
        ("hosted: {provider: deepgram, way: websocket}", "hosted.way"),
        ("hosted: {provider: deepgram, base_url: 'wss://api.deepgram.com'}", "hosted.base_url"),
        ("hosted: {provider: deepgram, cost: {per_minute: -1}}", "hosted.cost.per_minute"),
        ("hosted: {provider: deepgram}\ncooldown_s: 0", "cooldown_s"),
        ("cooldown_s: 5", "hosted: missing"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_settings(text, HearingFallback, "stack.yaml")
    assert told in str(error.value)


def test_a_voice_must_be_named() -> None:
    with pytest.raises(SettingsError, match=r"hosted\.voice: missing"):
        parse_settings("hosted: {provider: cartesia}", SpeechFallback, "stack.yaml")


@pytest.mark.parametrize("text", ["{}", "deployment: understanding\nhosted: {provider: openai_chat, model: m}"])
def test_a_language_model_has_one_stand_in(text: str) -> None:
    with pytest.raises(SettingsError, match="either `deployment` or `hosted`"):
        parse_settings(text, LanguageModelFallback, "stack.yaml")


def test_a_rest_is_never_longer_at_first_than_at_most() -> None:
    assert HearingFallback(hosted=AssemblyAiSettings(provider="assemblyai"), cooldown_s=900).policy(2000) == (
        HearingFallback(hosted=DEEPGRAM, cooldown_s=900, longest_cooldown_s=900).policy(2000)
    )
