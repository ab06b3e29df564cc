"""Which agents a stack file lines up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.own_weights import settle
from models.settings import SettingsError
from serve.config import EMBEDDED_STACK, Stack, VariantSettings, load_stack
from serve.traffic_split import ROOT, check_voices, hearable, load_traffic_split
from tests.models.weights import folder_of

STACK = load_stack(EMBEDDED_STACK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Agent files: dental.yaml, which lists dental_es.yaml, and dental_b.yaml, the same with another persona."""
    for name in ("dental", "dental_es"):
        text = (ROOT / "configs" / "agents" / f"{name}.yaml").read_text()
        (tmp_path / f"{name}.yaml").write_text(text)
    text = (tmp_path / "dental.yaml").read_text()
    (tmp_path / "dental_b.yaml").write_text(text.replace("persona: You are", "persona: You are always"))
    shutil.copytree(ROOT / "configs" / "agents" / "examples", tmp_path / "examples")
    return tmp_path


def stack(folder: Path, *percents: float) -> Stack:
    variants = tuple(VariantSettings(agent=folder / "dental_b.yaml", percent=percent) for percent in percents)
    return STACK.model_copy(update={"agent": folder / "dental.yaml", "variants": variants})


def test_an_agent_brings_those_for_other_languages_with_it(folder: Path) -> None:
    traffic = load_traffic_split(stack(folder))
    assert traffic.first.name == "Bright Dental"
    assert traffic.languages() == ("en", "es")
    assert [agent.name for agent in traffic.agents().values()] == ["Bright Dental", "Bright Dental en español"]


def test_variants_take_their_share_and_the_agent_the_rest(folder: Path) -> None:
    traffic = load_traffic_split(stack(folder, 20))
    assert [variant.percent for variant in traffic.variants] == [80, 20]
    # The Spanish one belongs to both, and is there once.
    assert len(traffic.agents()) == 3
    assert [line.split()[0] for line in traffic.described()] == ["80%", "20%"]


def test_an_agent_that_is_chosen_takes_all_calls(folder: Path) -> None:
    (variant,) = load_traffic_split(stack(folder, 20), folder / "dental_b.yaml").variants
    assert variant.percent == 100
    assert variant.agents[0].agent.persona.startswith("You are always")


def test_an_agent_led_to_another_port_keeps_its_version(folder: Path) -> None:
    traffic = load_traffic_split(stack(folder))
    changed = traffic.changed(lambda agent: agent.model_copy(update={"connections": {"desk": {"base_url": "x"}}}))
    assert list(changed.agents()) == list(traffic.agents())
    assert changed.first.connections


def test_weights_that_hear_english_only_leave_other_languages_out_and_say_so(folder: Path) -> None:
    traffic, left_out = hearable(load_traffic_split(stack(folder, 20)), "whisper-tiny.en")
    assert traffic.languages() == ("en",)
    assert left_out == ["Bright Dental en español (es) is left out: whisper-tiny.en hears English only"]
    assert hearable(load_traffic_split(stack(folder)), "whisper-base")[1] == []


@pytest.mark.parametrize(
    ("weights", "english_only"),
    [("/srv/ears.en", True), ("hf:acme/Ears.en@v2", True), ("/srv/team.yaml#ears.en", True), ("/srv/ears", False)],
)
def test_weights_of_ones_own_say_by_their_name_that_they_hear_english_only(
    folder: Path, weights: str, english_only: bool
) -> None:
    assert bool(hearable(load_traffic_split(stack(folder)), weights)[1]) == english_only


def test_an_agent_that_its_own_stack_cannot_hear_is_refused(folder: Path) -> None:
    only_spanish = load_traffic_split(stack(folder), folder / "dental_es.yaml")
    with pytest.raises(SettingsError, match=r"whisper-tiny\.en hears English only; set speech_to_text\.weights"):
        hearable(only_spanish, "whisper-tiny.en")


def test_a_voice_that_the_stack_does_not_have_is_refused_before_it_starts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    own = str(folder_of("voice", tmp_path / "mouth"))
    traffic = load_traffic_split(stack(folder))
    check_voices(traffic, "kokoro-82m-int8")
    settle({own: "voice"})

    with pytest.raises(SettingsError, match=r"agent Bright Dental: voice: .*mouth has no voice 'af_heart'; expected"):
        check_voices(traffic, own)


def test_a_listed_agent_must_speak_the_language_it_is_listed_for(folder: Path) -> None:
    (folder / "dental_es.yaml").write_text((folder / "dental_b.yaml").read_text())
    with pytest.raises(SettingsError, match=r"also_in\.es: dental_es\.yaml speaks 'en'; expected .* `language: es`"):
        load_traffic_split(stack(folder))


def test_two_variants_of_the_same_content_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="two agent files have the same content"):
        load_traffic_split(stack(folder, 20, 30))


def test_shares_of_more_than_everything_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    shares = "variants: [{agent: a.yaml, percent: 60}, {agent: b.yaml, percent: 50}]\n"
    path.write_text(EMBEDDED_STACK.read_text() + shares)
    with pytest.raises(SettingsError, match="expected shares of 100 percent at most in all, got 110"):
        load_stack(path)
