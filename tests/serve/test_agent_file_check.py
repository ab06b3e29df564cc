from __future__ import annotations

from pathlib import Path

import pytest

from models.own_weights import settle
from pipeline.workflow.check import Finding
from serve.agent_file import load_sound_agent_file
from serve.agent_file_check import check_agent_file
from serve.traffic_split import ROOT
from tests.models.weights import folder_of

AGENT = ROOT / "configs" / "agents" / "peers.yaml"


def voice_findings(voice: str, voices: Path) -> list[Finding]:
    agent = load_sound_agent_file(AGENT).model_copy(update={"voice": voice})
    return [found for found in check_agent_file(AGENT, agent, str(voices)) if found.where == "voice"]


def test_a_voice_is_looked_for_among_those_of_ones_own_once_they_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    own = folder_of("voice", tmp_path / "own")
    (unknown,) = voice_findings("af_mine", own)
    assert (unknown.severity, "is not prepared" in unknown.what) == ("warning", True)

    settle({str(own): "voice"})

    assert voice_findings("af_mine", own) == []
    assert voice_findings("es/af_mine", own) == []
    (missing,) = voice_findings("af_heart", own)
    assert missing.severity == "error"
    assert "has no voice 'af_heart'; expected one of af_mine" in missing.what
