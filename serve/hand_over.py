"""A call that is handed over to a person: what they get to know, and how the carrier is told to put it through."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote

from pydantic import JsonValue

from pipeline.agent import Agent
from pipeline.escalation import HandOver
from pipeline.slots.types import Language
from pipeline.tools.calls import ToolCall
from serve.agent_pool import AgentRuntime
from serve.gateway_state import DIALLED_PATH, WHISPER_PATH, GatewayState
from telephony.session import CallInfo
from telephony.twilio import dial_twiml, say_and_hang_up_twiml

DELIVERY_TIMEOUT_S = 4.0
"""The caller is put through after this long, whether the package has arrived or not; sending it goes on."""
MAX_SIP_HEADER_CHARS = 300
"""Of each header; Twilio takes 1,024 bytes in all."""

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_VOICES: Mapping[Language, str] = MappingProxyType({"en": "en-US", "es": "es-US"})
"""The carrier's own, by what the agent speaks."""

log = logging.getLogger(__name__)


async def deliver(gateway: GatewayState, info: CallInfo, runtimes: tuple[AgentRuntime, ...], package: HandOver) -> None:
    """Keep the package for the carrier's next question, and send it to the webhook of the agent that had the word, the
    first of `runtimes`, if it has one."""
    gateway.sessions.put_through(info.call_sid, runtimes, package)
    agent, tools = runtimes[0].agent, runtimes[0].tools
    escalation = agent.escalation
    if escalation is None or escalation.webhook is None:
        return
    known: dict[str, JsonValue] = {
        "call_sid": info.call_sid,
        "caller": info.caller,
        "reason": package.reason,
        "target": package.target,
        "summary": package.summary,
        "variables": json.dumps(package.variables, ensure_ascii=False),
        "transcript": "\n".join(package.transcript),
        "next_step": package.next_step,
    }
    wanted = agent.tools[escalation.webhook].arguments
    arguments = {name: value for name, value in known.items() if name in wanted}
    call = ToolCall(escalation.webhook, arguments, f"{info.call_sid}/hand_over")
    try:
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            result = await tools.run(call, level=0)
    except TimeoutError:
        log.error("call %s: the hand-over package has not arrived within %g s", info.call_sid, DELIVERY_TIMEOUT_S)
        return
    if result.status != "ok":
        log.error("call %s: the hand-over package: %s %s", info.call_sid, result.status, result.detail)


def put_through_twiml(
    gateway: GatewayState, agent: Agent, call_sid: str, package: HandOver, *, caller: str, called: str
) -> str:
    """TwiML that puts the caller through to the package's target. `caller`, `called`: as the carrier names them."""
    assert agent.escalation is not None
    # A caller who withholds his number, or calls by SIP, has none that could be shown.
    caller_id = next((number for number in (caller, called) if _E164.fullmatch(number)), "")
    action_url = f"{gateway.services.secrets.public_url}{DIALLED_PATH}"
    target = agent.escalation.targets[package.target]
    number = target.number
    if number.startswith(("sip:", "sips:")):
        headers = {"X-Reason": package.reason, "X-Summary": package.summary, "X-Next-Step": package.next_step}
        shown = "&".join(f"{name}={quote(text[:MAX_SIP_HEADER_CHARS])}" for name, text in headers.items() if text)
        sip = f"{number}{'&' if '?' in number else '?'}{shown}"
        return dial_twiml(sip, action_url=action_url, caller_id=caller_id)
    url = f"{gateway.services.secrets.public_url}{WHISPER_PATH}?call={quote(call_sid)}" if target.whisper else ""
    return dial_twiml(number, action_url=action_url, caller_id=caller_id, whisper_url=url)


def not_taken_twiml(agent: Agent) -> str:
    """TwiML for a caller who was put through, and whose call nobody took."""
    return say_and_hang_up_twiml(agent.unanswered, language=_VOICES[agent.language])


def whisper(agent: Agent, package: HandOver) -> str:
    """What is said to whoever answers, before the caller is put through."""
    assert agent.escalation is not None
    line = agent.escalation.targets[package.target].whisper
    return line.replace("{reason}", package.reason.replace("_", " ")).replace("{summary}", package.summary)
