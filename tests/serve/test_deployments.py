"""What deployments do before an engine runs."""

from __future__ import annotations

import pytest

from models.llm import VllmLanguageModel
from models.llm_settings import LlmSettings
from models.structured_understanding import StructuredUnderstanding
from models.types import Catalogue, Meaning
from models.understanding import OneStepUnderstanding
from serve.config import EMBEDDED_STACK, Stack, load_stack
from serve.deployments import understanding_of


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
