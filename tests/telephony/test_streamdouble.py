"""A call by streamdouble, a Twilio simulator that others wrote, over a real WebSocket in real time."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from streamdouble.api import call
from streamdouble.chaos import Impairments
from streamdouble.protocol import StreamIdentity
from streamdouble.session import Session, SessionConfig
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from models.types import FloatAudio
from pipeline.clock import LoopClock
from telephony.audio import SILENT_FRAME, ulaw_level_dbfs
from telephony.playout import Playout
from telephony.session import CallInfo, SessionOutcome, SocketClosed, run_media_session
from telephony.tokens import StreamTokens
from tests.telephony.fakes import FakeListener, clause

pytestmark = pytest.mark.slow


class WebsocketsSocket:
    """A `telephony.session.Socket` over the `websockets` package."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise SocketClosed(str(error)) from error

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise SocketClosed(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)


class GreetingCall(FakeListener):
    """Greets, listens for a second, and hangs up."""

    def __init__(self, line: Playout) -> None:
        super().__init__()
        self.line = line
        self.samples = 0

    def feed(self, frame: FloatAudio) -> None:
        self.samples += frame.size

    def press(self, digit: str) -> None:
        raise AssertionError("no key was pressed")

    def caller_gone(self, reason: str) -> None:
        raise AssertionError(f"expected to hang up first, but {reason}")

    async def run(self) -> None:
        for chunk in clause("hello from here"):
            self.line.play("greeting", chunk)
        await self.line.wait_for_playout()
        self.heard = self.line.heard()
        await asyncio.sleep(1.0)
        await self.line.hang_up()


async def test_an_independent_simulator_finds_no_fault_with_a_call() -> None:
    identity = StreamIdentity()
    tokens = StreamTokens(b"0123456789abcdef", LoopClock())
    calls: list[GreetingCall] = []
    outcomes: list[SessionOutcome] = []

    async def start_call(info: CallInfo, playout: Playout) -> GreetingCall:
        assert (info.call_sid, info.account_sid) == (identity.call_sid, identity.account_sid)
        calls.append(GreetingCall(playout))
        return calls[-1]

    async def answer(connection: ServerConnection) -> None:
        socket = WebsocketsSocket(connection)
        outcomes.append(await run_media_session(socket, start_call=start_call, tokens=tokens, clock=LoopClock()))

    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = SessionConfig(
            custom_parameters={"token": tokens.issue(identity.call_sid)},
            impairments=Impairments(loss=0.1, jitter_ms=15.0),
            quiet_period_s=0.2,
        )
        result = await Session(f"ws://127.0.0.1:{port}", [SILENT_FRAME] * 150, config=config, identity=identity).run()
        refused = await call(f"ws://127.0.0.1:{port}", frames=[SILENT_FRAME] * 10)

    assert result.violations == []
    assert result.marks_echoed == ["0:greeting"]
    assert ulaw_level_dbfs(result.audio_received) == pytest.approx(20 * np.log10(0.3), abs=0.5)
    assert len(result.audio_received) == 4_800
    first, second = outcomes
    assert (first.end, first.counts.faults, first.warnings) == ("agent_hung_up", 0, ())
    assert result.closed_by == "agent"
    assert [(item.text, item.complete) for item in calls[0].heard] == [("hello from here", True)]
    assert [name for _, name in calls[0].played] == ["greeting"]
    # Lost frames became silence: heard time is call time, whatever the loss.
    assert result.frames_dropped > 0
    heard_ms = first.counts.media * 20 + first.counts.silence_ms
    assert calls[0].samples / 16 == pytest.approx(heard_ms, abs=2)
    assert first.counts.silence_ms > 0

    assert second.end == "refused"
    assert "no stream token" in second.close_reason
    assert refused.audio_received == b""
    assert len(calls) == 1
