"""A media session on a simulated leg, with a call that does what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from models.types import FloatAudio
from pipeline.clock import LoopClock
from telephony.playout import Playout
from telephony.session import CallInfo, SessionOutcome, SessionSettings, run_media_session
from telephony.tokens import StreamTokens
from tests.telephony.fakes import CALL, FakeListener, FakeTwilioLeg
from tests.virtual_time import run_virtual


class FakeCall(FakeListener):
    """A call that listens, and does what the test wants it to."""

    def __init__(self, info: CallInfo, playout: Playout) -> None:
        super().__init__()
        self.info = info
        self.line = playout
        self.heard: list[FloatAudio] = []
        self.keys = ""
        self.gone: list[str] = []
        self.over = asyncio.Event()
        self.cancelled = False
        self.conversation: Callable[[FakeCall], Awaitable[None]] | None = None

    @property
    def heard_s(self) -> float:
        return sum(frame.size for frame in self.heard) / 16_000

    def feed(self, frame: FloatAudio) -> None:
        self.heard.append(frame)

    def press(self, digit: str) -> None:
        self.keys += digit

    def caller_gone(self, reason: Literal["caller_hung_up", "line_lost"]) -> None:
        self.gone.append(reason)
        self.over.set()

    async def run(self) -> None:
        try:
            if self.conversation is not None:
                await self.conversation(self)
            else:
                await self.over.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Rig:
    """A session on a simulated leg."""

    def __init__(self, **options: Any) -> None:
        self.leg = FakeTwilioLeg()
        self.tokens = StreamTokens(b"0123456789abcdef", LoopClock())
        self.settings = SessionSettings(**options)
        self.call: FakeCall | None = None
        self.conversation: Callable[[FakeCall], Awaitable[None]] | None = None
        self.received: list[float] = []

    def session(self, **options: Any) -> asyncio.Task[SessionOutcome]:
        return asyncio.create_task(
            run_media_session(
                self.leg,
                start_call=self._start_call,
                tokens=self.tokens,
                clock=LoopClock(),
                settings=self.settings,
                **options,
            )
        )

    async def _start_call(self, info: CallInfo, playout: Playout) -> FakeCall:
        self.call = FakeCall(info, playout)
        self.call.conversation = self.conversation
        return self.call

    async def opened(self, **options: Any) -> asyncio.Task[SessionOutcome]:
        """A session whose call has begun."""
        session = self.session(**options)
        self.leg.connect()
        self.leg.start(self.tokens.issue(CALL))
        await asyncio.sleep(0.001)
        assert self.call is not None
        return session


def run(main: Callable[[Rig], Awaitable[None]], **options: Any) -> None:
    async def body() -> None:
        await main(Rig(**options))
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "a session leaves no task behind"

    run_virtual(body())
