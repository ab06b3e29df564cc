"""A call that is handed over to a person: what goes where."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from pipeline.agent import Agent
from pipeline.escalation import HandOver
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from serve.hand_over import DELIVERY_TIMEOUT_S, deliver, not_taken_twiml, put_through_twiml, whisper
from serve.session_store import SessionStore
from telephony.session import CallInfo
from tests.pipeline.agents import AGENT, SPANISH
from tests.serve.gateway_rig import state_rig

PACKAGE = HandOver(
    "tool_failure",
    "desk",
    "Wants Friday.",
    {"name": "John Miller"},
    ("caller: hello", "agent: yes?"),
    "Look whether it was booked.",
)
INFO = CallInfo("CA1", "MZ1", "AC1", "+15550001111", "+15550002222", {})
WEBHOOK = Tool.model_validate(
    {
        "description": "Open a ticket for whoever takes over.",
        "effect": "write",
        "arguments": {name: {} for name in ("caller", "reason", "summary", "variables", "transcript", "next_step")},
        "http": {"method": "POST", "url": "tickets"},
    }
)


class FakeTools:
    """Keeps what it is asked to do; takes its time if told so."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.calls: list[ToolCall] = []
        self._takes_s = takes_s

    async def run(self, call: ToolCall, *, level: int) -> ToolResult:
        self.calls.append(call)
        await asyncio.sleep(self._takes_s)
        return ToolResult("ok", {})

    def effect(self, tool: str) -> str:
        return "write"

    def loggable(self, call: ToolCall) -> tuple[str, ...]:
        return ()


def agent_with(number: str = "+15550199", *, webhook: bool = True) -> Agent:
    assert AGENT.escalation is not None
    target = AGENT.escalation.targets["desk"].model_copy(update={"number": number})
    update = {"targets": {"desk": target}, "webhook": "ticket" if webhook else None}
    escalation = AGENT.escalation.model_copy(update=update)
    return AGENT.model_copy(update={"escalation": escalation, "tools": {**AGENT.tools, "ticket": WEBHOOK}})


async def test_the_webhook_gets_what_it_has_arguments_for(tmp_path: Path) -> None:
    tools = FakeTools()
    async with state_rig(tmp_path, agent_with(), tools) as desk:
        await deliver(desk, INFO, (desk.services.pool.first,), PACKAGE)
        (call,) = tools.calls
        assert (call.tool, call.key) == ("ticket", "CA1/hand_over")
        assert set(call.arguments) == set(WEBHOOK.arguments)
        assert call.arguments["transcript"] == "caller: hello\nagent: yes?"
        assert json.loads(str(call.arguments["variables"])) == {"name": "John Miller"}
        record = await SessionStore(desk.services.store, desk.services.pool, desk.services.clock).load("CA1")
        assert record is not None
        assert record.package == PACKAGE


async def test_a_webhook_that_hangs_does_not_keep_the_caller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with state_rig(tmp_path, agent_with(), FakeTools(takes_s=DELIVERY_TIMEOUT_S + 5)) as desk:
        began_s = asyncio.get_running_loop().time()
        await deliver(desk, INFO, (desk.services.pool.first,), PACKAGE)
        assert asyncio.get_running_loop().time() - began_s < DELIVERY_TIMEOUT_S + 2
        assert "has not arrived" in caplog.text


async def test_a_sip_target_gets_the_package_in_headers(tmp_path: Path) -> None:
    async with state_rig(tmp_path, agent_with("sip:desk@example.com", webhook=False), FakeTools()) as desk:
        twiml = put_through_twiml(desk, desk.services.pool.first.agent, "CA1", PACKAGE, caller="", called="")
        sip = ElementTree.fromstring(twiml).find("Dial/Sip")
        assert sip is not None
        assert sip.text is not None
        headers = parse_qs(urlsplit(sip.text).query)
        assert headers["X-Summary"] == ["Wants Friday."]
        assert headers["X-Next-Step"] == ["Look whether it was booked."]


@pytest.mark.parametrize("target", ["+15550199", "sip:desk@example.com"])
@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        ("+15550001111", "+15550001111"),
        ("unknown", "+15550002222"),
        ("Private", "+15550002222"),
        ("", "+15550002222"),
        ("sips:lobby@pbx.example.org", "+15550002222"),
        ("266696687", "+15550002222"),
    ],
)
async def test_whoever_is_called_is_shown_a_number_that_is_one(
    tmp_path: Path, target: str, caller: str, shown: str
) -> None:
    async with state_rig(tmp_path, agent_with(target, webhook=False), FakeTools()) as desk:
        agent = desk.services.pool.first.agent
        dial = ElementTree.fromstring(
            put_through_twiml(desk, agent, "CA1", PACKAGE, caller=caller, called="+15550002222")
        ).find("Dial")
        assert dial is not None
        assert dial.attrib["callerId"] == shown
        assert dial.attrib["action"] == "https://calls.example.com/twilio/dialled"
        nobody = put_through_twiml(desk, agent, "CA1", PACKAGE, caller=caller[:1], called="sip:main@pbx.example.org")
        assert "callerId" not in nobody


def test_a_caller_whose_call_nobody_takes_is_told_so_in_his_language() -> None:
    for agent, language, words in ((AGENT, "en-US", "nobody can take"), (SPANISH, "es-US", "nadie puede atenderle")):
        say = ElementTree.fromstring(not_taken_twiml(agent)).find("Say")
        assert say is not None
        assert say.attrib["language"] == language
        assert words in (say.text or "")
    own = AGENT.model_copy(update={"lines": AGENT.lines.model_copy(update={"unanswered": "Everybody is out."})})
    assert "Everybody is out." in not_taken_twiml(own)


def test_whoever_answers_hears_the_reason_in_words() -> None:
    assert whisper(agent_with(), PACKAGE) == "Caller handed over, tool failure: Wants Friday."


def test_a_webhook_that_is_no_tool_is_found_before_the_first_call() -> None:
    from pipeline.agent_check import check_agent

    wrong = AGENT.model_copy(
        update={"escalation": AGENT.escalation and AGENT.escalation.model_copy(update={"webhook": "nobody"})}
    )
    assert any(finding.where == "escalation.webhook" for finding in check_agent(wrong))
