"""`trunkline agent try`: a conversation typed in the terminal."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from bench.eval.conversation import AGENTS
from models.settings import parse_mapping, parse_settings
from models.types import Judgement, Situation
from pipeline.agent import Agent, agent_of, load_agent
from serve import agent_try, direct
from serve.config import EMBEDDED_STACK, load_stack
from serve.stack import free_port
from tests.pipeline.fakes import FakeModels, decision, proposed

SHOP = Path(__file__).resolve().parents[2] / "docs" / "examples" / "shop.yaml"
KIOSK = parse_settings(
    """
name: Kiosk
persona: You are a kiosk.
voice: af_heart
lines:
  greeting: Hello, this is the kiosk on the corner, which sells newspapers, tea and umbrellas. How can I help you?
  fallback: [I don't know that.]
  not_understood: ["Sorry, could you say that again?"]
  apology: Sorry, something went wrong.
  reprompt: Are you there?
  farewell: Goodbye.
  silence_farewell: I'll hang up now.
  too_long: This call has reached its limit.
  warning: Please stay polite.
  abuse_farewell: This call ends here.
routes:
  - {name: question, kind: knowledge, examples: [how much is tea, do you sell tea, is there tea]}
  - {name: goodbye, kind: farewell, examples: [bye, goodbye, see you]}
facts:
  - {id: tea, text: "A cup of tea costs two dollars, and with milk it costs two dollars and ten cents."}
turn_taking: {reprompt_after_s: 0.3}
""",
    Agent,
    "test_agent_try.py",
)


def tried(lines: list[str], monkeypatch: pytest.MonkeyPatch, agent: Agent = KIOSK, now: datetime | None = None) -> str:
    routes = {
        "tea": decision("question", "tea"),
        "bye": decision("goodbye"),
        "the order": decision("order"),
        "open": decision("question", "hours"),
    }
    router = FakeModels(utterances=[], routes=routes, route_s=0.0)
    monkeypatch.setattr(agent_try, "direct_router", lambda agent, weights: router)
    out = io.StringIO()

    async def typed() -> AsyncGenerator[str, None]:
        for line in lines:
            await asyncio.sleep(0.5)
            yield line

    console = Console(file=out, soft_wrap=True)
    asyncio.run(agent_try.try_agent(agent, load_stack(EMBEDDED_STACK), typed(), console, now=now))
    return out.getvalue()


def test_nobody_waits_for_speech_and_the_agent_waits_for_who_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """The half second before each line is more than the agent's patience with silence."""
    began_s = time.perf_counter()
    told = tried(["how much is tea", "is it raining", "bye"], monkeypatch)
    assert time.perf_counter() - began_s < 4
    said = [line.removeprefix("agent: ") for line in told.splitlines() if line.startswith("agent: ")]
    assert said == [KIOSK.lines.greeting, KIOSK.facts[0].text, "I don't know that.", "Goodbye."]
    assert "       rules: question 0.90, fact tea 0.90\nagent: A cup of tea" in told
    assert "The call is over: farewell." in told


def test_an_empty_line_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    told = tried([""] * 4, monkeypatch)
    assert [told.count(line) for line in ("Are you there?", "I'll hang up now.")] == [2, 1]
    assert "The call is over: silence." in told


def test_the_end_of_the_input_is_a_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "The call is over: caller hung up." in tried(["how much is tea"], monkeypatch)


def test_what_a_model_proposes_in_a_free_conversation_and_is_not_said_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModels(utterances=[], scripted=[proposed("We will refund you.", call="find_repair")], talk_s=0.0)
    monkeypatch.setattr(direct, "FactsAsWritten", lambda: model)
    shown = tried(["my bike is broken"], monkeypatch, load_agent(AGENTS / "front_office.yaml"))
    assert "the model answers; call find_repair; not said, since nothing bears it out: We will refund you." in shown
    assert "agent: What is the number on your repair ticket?" in shown


def test_what_was_decided_is_shown_with_what_came_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        async def judge(self, situation: Situation, request_id: str) -> Judgement:
            return Judgement((("q:tea", 0.7), ("goodbye", 0.2), ("other", 0.1)))

    async def understanding(engines: direct.DirectEngines, agent: Agent) -> Model:
        return Model()

    monkeypatch.setattr(direct.DirectEngines, "understanding", understanding)
    shown = tried(["is there something hot to drink"], monkeypatch)
    assert "       model: question 0.70 of q:tea 0.70, goodbye 0.20, other 0.10; router: knowledge 0.10\n" in shown


@pytest.mark.parametrize(("hour", "told"), [(10, "We are open now"), (22, "We are closed now")])
def test_it_may_be_called_at_another_time_than_now(hour: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = {"monday-sunday": "9:00-18:00", "zone": "America/New_York"}
    agent = agent_of({"name": "Kiosk", "voice": "af_heart", "hours": hours}, SHOP)
    shown = tried(["are you open now"], monkeypatch, agent, now=datetime(2026, 12, 1, hour))
    assert told in shown


def test_why_a_tool_failed_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = SHOP.read_text(encoding="utf-8").replace("127.0.0.1:8099", f"127.0.0.1:{free_port('127.0.0.1')}")
    agent = agent_of(parse_mapping(shop, "shop.yaml"), SHOP)
    shown = tried(["the order", "4711"], monkeypatch, agent)
    assert "       find_order: failed (127.0.0.1: the connection failed (ConnectError))\nagent: I can't look" in shown
