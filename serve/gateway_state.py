"""What the gateway works with: the services that are given to it, and what it keeps for all its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.clock import Clock
from pipeline.partials import PartialBudget
from pipeline.ports import VoiceActivity
from pipeline.preemptive_generation import PreemptiveBudget
from serve.admission import Admissions
from serve.agent_pool import AgentPool
from serve.call_store import CallStore
from serve.config import GatewaySettings
from serve.metrics import LoopLagProbe, Metrics
from serve.secrets import Secrets
from serve.session_store import SessionStore
from telephony.session import CALLED_PARAMETER, CALLER_PARAMETER, TOKEN_PARAMETER
from telephony.tokens import StreamTokens
from telephony.twilio import SignatureChecker, stream_twiml

VOICE_PATH: Final = "/twilio/voice"
MEDIA_PATH: Final = "/twilio/media"
ACTION_PATH: Final = "/twilio/action"
WHISPER_PATH: Final = "/twilio/whisper"
DIALLED_PATH: Final = "/twilio/dialled"
"""Paths below the public URL."""

MAX_NUMBER_CHARS = 64
"""A caller's number is cut here before it goes into TwiML."""


@dataclass(frozen=True, slots=True)
class GatewayServices:
    """What the gateway needs of the world."""

    pool: AgentPool
    """The agents that answer."""
    new_vad: Callable[[], VoiceActivity]
    """A fresh voice activity detector; one a call."""
    settings: GatewaySettings
    secrets: Secrets
    clock: Clock
    runs_dir: Path
    store: CallStore
    """What outlives this process."""
    not_ready: Callable[[], Awaitable[list[str]]]
    """Why models do not answer, one line each; empty if all do."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Digests of the stack's weights, by name: each call's log says what it was held with."""
    metrics: Metrics = field(default_factory=Metrics)
    """What is counted, by the gateway and by the models above."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this process takes no new calls any more, though those under way go on."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What one gateway process keeps for all its calls."""

    services: GatewayServices
    metrics: Metrics
    lag: LoopLagProbe
    preemptive: PreemptiveBudget
    partials: PartialBudget
    admissions: Admissions
    sessions: SessionStore
    """Where the calls under way stand, so that one whose stream was lost goes on where it was."""
    tokens: StreamTokens
    signatures: SignatureChecker

    def stream(self, call_sid: str, *, caller: str, called: str, attempt: int, turned_away: int = 0) -> str:
        """TwiML that connects the call's stream, the `attempt`th, which so many gateways have turned away before.

        Raises ValueError for a call SID that is none.
        """
        url = self.services.secrets.public_url
        query = f"attempt={attempt}" + (f"&turned_away={turned_away}" if turned_away else "")
        return stream_twiml(
            f"wss{url.removeprefix('https')}{MEDIA_PATH}",
            action_url=f"{url}{ACTION_PATH}?{query}",
            parameters={
                TOKEN_PARAMETER: self.tokens.issue(call_sid),
                CALLER_PARAMETER: caller[:MAX_NUMBER_CHARS],
                CALLED_PARAMETER: called[:MAX_NUMBER_CHARS],
            },
        )
