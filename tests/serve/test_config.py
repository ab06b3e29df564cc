from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.registry import load_registry
from models.settings import SettingsError, parse_settings
from pipeline.agent import load_agent
from serve.config import EMBEDDED_STACK, WORDS_STACK, Stack, load_stack
from serve.deployment_settings import AliasSettings
from serve.traffic_split import agent_path

TEXT = EMBEDDED_STACK.read_text()


def test_the_embedded_stack_names_weights_and_an_agent_that_exist() -> None:
    stack = load_stack(EMBEDDED_STACK)
    assert set(stack.weights()) <= set(load_registry().entries)
    assert load_agent(agent_path(stack)).name
    assert isinstance(stack.large_language_model, AliasSettings)


def test_an_alias_is_no_deployment_of_its_own_and_may_have_more_time() -> None:
    stack = load_stack(EMBEDDED_STACK)
    assert not {"SmallLanguageModel", "LargeLanguageModel"} & set(stack.deployments())
    small = stack.language_model("small")
    assert (small.deployment, small.settings, small.timeout_s) == ("Understanding", stack.understanding, 8)


def test_the_large_language_model_may_be_the_small_one() -> None:
    stack = load_stack(WORDS_STACK)
    assert stack.language_model("large") == stack.language_model("small")
    assert stack.language_model("large").deployment == "SmallLanguageModel"


def test_an_alias_of_what_the_stack_does_not_have_is_told() -> None:
    nothing_understands = re.sub(r"understanding:\n(  .*\n)+", "", TEXT)
    with pytest.raises(SettingsError, match="small_language_model: an alias of understanding, of which the stack has"):
        parse_settings(nothing_understands, Stack, "my-stack.yaml")


def test_memory_counts_every_replica_and_ray_itself() -> None:
    stack = load_stack(EMBEDDED_STACK)
    doubled = stack.model_copy(update={"router": stack.router.model_copy(update={"replicas": 2})})
    assert doubled.memory_mb() == stack.memory_mb() + stack.router.memory_mb
    assert stack.memory_mb() > stack.ray.overhead_mb + sum(part.memory_mb for part in stack.deployments().values())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("port: 8080", "prot: 8080", "gateway.prot: unknown key"),
        ("port: 8080", "port: '8080'", "gateway.port: Input should be a valid integer"),
        ("port: 8080", "port: 80", "gateway.port: Input should be greater than or equal to 1024"),
        ("compute_type: int8", "compute_type: int7", "speech_to_text.compute_type"),
        ("alias_of: understanding", "alias_of: large", "small_language_model"),
        ("alias_of: understanding", "alias_of: small_language_model", "small_language_model: an alias of itself"),
        ("understanding:\n  weights", "not_understanding:\n  weights", "not_understanding: unknown key"),
        ("profile: one_step", "profile: two_step", "understanding.profile"),
        ("profile: one_step", "profil: structured", "understanding.profil: unknown key"),
        ("mode: windowed", "mode: true", "text_to_speech.mode"),
        ("mode: windowed\n  memory_mb: 900\n  timeout_s: 8", "memory_mb: 900", "text_to_speech.timeout_s: missing"),
        ("max_calls: 4", "max_calls: 4\n  max_calls: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_expectation(old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(SettingsError) as error:
        parse_settings(TEXT.replace(old, new, 1), Stack, "my-stack.yaml")
    assert "my-stack.yaml: " in str(error.value)
    assert told in str(error.value)


def test_every_place_takes_weights_of_one_kind() -> None:
    stack = load_stack(EMBEDDED_STACK)
    assert stack.weights() == {name: load_registry().entries[name].kind for name in stack.weights()}


def test_weights_of_ones_own_are_seen_from_the_stack_file(tmp_path: Path) -> None:
    own = {
        "whisper-tiny.en": "../ears",
        "minilm-l6-v2": "hf:acme/router@v2",
        "kokoro-82m-int8": "team.yaml#mouth",
        "smart-turn-v3.2": "/srv/turn",
    }
    text = TEXT
    for shipped, named in own.items():
        text = text.replace(f"weights: {shipped}\n", f"weights: {named}\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "own.yaml").write_text(text)

    stack = load_stack(tmp_path / "stacks" / "own.yaml")

    assert stack.speech_to_text.weights == f"{tmp_path}/ears"
    assert stack.router.weights == "hf:acme/router@v2"
    assert stack.text_to_speech.weights == f"{tmp_path}/stacks/team.yaml#mouth"
    assert stack.turn_scorer.weights == "/srv/turn"
    assert stack.voice_activity.weights == "silero-vad"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("weights: whisper-tiny.en", "weights: My Whisper", "speech_to_text.weights: 'My Whisper' names no weights"),
        ("weights: whisper-tiny.en", "weights: 5", "speech_to_text.weights: Input should be a valid string"),
        ("weights: whisper-tiny.en", "weights: minilm-l6-v2", "Router takes encoder weights, another place whisper"),
    ],
)
def test_weights_that_cannot_be_meant_are_told_with_their_place(old: str, new: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(SettingsError) as error:
        load_stack(tmp_path / "own.yaml")
    assert told in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read"):
        load_stack(tmp_path / "nowhere.yaml")
