"""What deployments do before an engine runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.structured_understanding import StructuredUnderstanding
from models.types import Catalogue, FloatAudio, Languages, Meaning, ModelFailure, Transcript
from models.understanding import OneStepUnderstanding
from serve import deployments
from serve.config import EMBEDDED_STACK, Stack, load_stack
from serve.deployment_settings import SpeechToTextSettings, WhisperSettings
from serve.deployments import SpeechToText, understanding_of


class Letters(VllmLanguageModel):
    """Tokens are letters."""

    def token_ids(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


@pytest.mark.parametrize(
    ("profile", "kind"), [("one_step", OneStepUnderstanding), ("structured", StructuredUnderstanding)]
)
def test_the_stack_file_says_how_a_model_understands(profile: str, kind: type) -> None:
    stack = load_stack(EMBEDDED_STACK)
    assert stack.understanding is not None
    assert stack.understanding.profile == "one_step"
    told = stack.model_dump() | {"understanding": stack.understanding.model_dump() | {"profile": profile}}
    settings = Stack.model_validate(told).understanding
    assert settings is not None
    catalogue = Catalogue("Ferry office", (Meaning("sail", "wants a passage"),))
    assert isinstance(understanding_of(Letters(LlmSettings()), catalogue, settings), kind)


@dataclass
class Ears:
    """Stands for a Whisper behind its queue."""

    weights: str
    finals: list[bool] = field(default_factory=list)
    checks: int = 0
    unwell: bool = False

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        self.finals.append(final)
        return Transcript(f"by {self.weights}")

    async def check(self) -> None:
        self.checks += 1
        if self.unwell:
            raise ModelFailure(f"{self.weights} is unwell")


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> list[Ears]:
    """Those that a deployment makes, in order."""
    made: list[Ears] = []

    def make(settings: SpeechToTextSettings, model: WhisperSettings, languages: tuple[str, ...]) -> Ears:
        made.append(Ears(model.weights))
        return made[-1]

    monkeypatch.setattr(deployments, "whisper_queue", make)
    monkeypatch.setattr(deployments, "step_back", lambda device: None)
    return made


LARGE = SpeechToTextSettings(weights="large", memory_mb=1, timeout_s=1)
BOTH = LARGE.model_copy(update={"partials": WhisperSettings(weights="small")})
HEARD = np.zeros(16_000, np.float32)


async def test_one_model_hears_whole_turns_and_those_under_way(ears: list[Ears]) -> None:
    speech = SpeechToText(LARGE, ("en",))
    heard = [await speech.transcribe(HEARD, Languages(), final) for final in (True, False)]
    assert heard == [Transcript("by large")] * 2
    assert [one.finals for one in ears] == [[True, False]]


async def test_a_smaller_model_may_hear_turns_under_way_as_drafts(ears: list[Ears]) -> None:
    speech = SpeechToText(BOTH, ("en",))
    whole, under_way = [await speech.transcribe(HEARD, Languages(), final) for final in (True, False)]
    assert (whole, under_way) == (Transcript("by large"), Transcript("by small", draft=True))
    assert [one.finals for one in ears] == [[True], [False]]


async def test_hearing_is_as_well_as_each_of_its_models(ears: list[Ears]) -> None:
    speech = SpeechToText(BOTH, ("en",))
    await speech.check_health()
    assert [one.checks for one in ears] == [1, 1]
    ears[1].unwell = True
    with pytest.raises(ModelFailure, match="small is unwell"):
        await speech.check_health()


async def test_more_audio_than_whisper_hears_is_refused(ears: list[Ears]) -> None:
    with pytest.raises(ModelFailure, match="at most 30 s"):
        await SpeechToText(LARGE, ("en",)).transcribe(np.zeros(31 * 16_000, np.float32), Languages(), True)
    assert ears[0].finals == []
