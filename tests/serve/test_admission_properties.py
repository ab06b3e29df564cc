"""Places of two gateways, over any sequence of webhooks, streams, ends and kills.

What is promised and held is counted here from what the carrier sees, and the gateways must agree: no place is given
twice, none is refused while there is one, and what a killed gateway had comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from serve.admission import LEASE_S, RETURN_S
from telephony.session import TurnedAway
from tests.serve.places_rig import EXPECTED_FOR_S, Gateway, MemoryDatabase, memory_database
from tests.virtual_time import run_virtual

CALLS = 12
OFTEN = ["webhook"] * 6 + ["start"] * 5 + ["hang up"] * 2 + ["break"] * 2 + ["ask"] * 3 + ["wait"] * 2
SELDOM = ["kill", "start gateway", "drain"]

Act = Literal["webhook", "start", "hang up", "break", "ask", "kill", "start gateway", "drain", "wait"]


@dataclass(frozen=True)
class Step:
    act: Act
    call: int
    """Which of those that it can be done to."""
    at: int
    """Which gateway."""
    seconds: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(OFTEN + SELDOM),
        st.integers(0, CALLS - 1),
        st.integers(0, 1),
        st.sampled_from([0.3, 2.7, 7.1, 61.7]),
    ),
    min_size=10,
    max_size=60,
)


def now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Up:
    """A gateway as the carrier and its operator see it."""

    gateway: Gateway
    max_calls: int
    killed_s: float | None = None
    draining: bool = False

    @property
    def fate_open(self) -> bool:
        """The others may not know yet that it is gone."""
        return self.killed_s is not None and now_s() < self.killed_s + LEASE_S

    @property
    def takes_calls(self) -> bool:
        return self.killed_s is None and not self.draining


@dataclass
class Known:
    """A call as the carrier sees it."""

    sid: str
    state: Literal["none", "promised", "held", "lost"] = "none"
    until_s: float = 0.0
    at: Up | None = None
    stream: str = ""

    @property
    def gone(self) -> bool:
        """With its gateway."""
        return self.state == "held" and self.at is not None and self.at.killed_s is not None

    def takes_place(self) -> bool:
        if self.state == "held":
            assert self.at is not None
            return self.at.takes_calls
        return self.state != "none" and now_s() < self.until_s


@dataclass
class World:
    database: MemoryDatabase
    sizes: tuple[int, int]
    up: list[Up] = field(default_factory=list)
    ever: list[Up] = field(default_factory=list)
    calls: list[Known] = field(default_factory=lambda: [Known(f"CA{number}") for number in range(CALLS)])

    async def start_gateway(self, at: int) -> None:
        gateway = await Gateway(self.database, f"gateway {len(self.ever)}", max_calls=self.sizes[at]).up()
        self.up[at : at + 1] = [Up(gateway, self.sizes[at])]
        self.ever.append(self.up[at])

    def room(self) -> int:
        places = sum(one.max_calls for one in self.up if one.takes_calls)
        return places - sum(call.takes_place() for call in self.calls)

    async def take(self, step: Step) -> None:
        one = self.up[step.at]
        match step.act:
            case "wait":
                await asyncio.sleep(step.seconds)
            case "kill" if one.killed_s is None:
                one.gateway.kill()
                one.killed_s = now_s()
            case "start gateway" if one.killed_s is not None or one.draining:
                if one.killed_s is None:
                    # A draining one goes on beside the new one until its calls are over, which is here at once.
                    one.gateway.kill()
                    one.killed_s = now_s()
                await self.start_gateway(step.at)
            case "drain" if one.killed_s is None:
                await one.gateway.admissions.drain()
                one.draining = True
            case "webhook" if one.killed_s is None:
                await self.webhook(self.calls[step.call], one)
            case "start" if one.killed_s is None:
                if call := self.nth(step.call, lambda call: call.state == "promised" and now_s() < call.until_s):
                    await self.start(call, one)
            case "hang up" | "break":
                if call := self.nth(step.call, lambda call: call.state == "held" and not call.gone):
                    await self.end(call, lost=step.act == "break")
            case "ask" if one.killed_s is None:
                if call := self.nth(step.call, lambda call: call.state == "lost" or call.gone):
                    await self.ask(call, one)

    def nth(self, number: int, such: Callable[[Known], bool]) -> Known | None:
        found = [call for call in self.calls if such(call)]
        return found[number % len(found)] if found else None

    async def webhook(self, call: Known, one: Up) -> None:
        has_place = (call.state == "promised" and now_s() < call.until_s) or (call.state == "held" and not call.gone)
        room = self.room()
        told = await one.gateway.called(call.sid)
        if not any(other.fate_open for other in self.ever):
            assert told == (has_place or room > 0), (call, room, told)
        if told and not has_place:
            call.state, call.until_s, call.at = "promised", now_s() + EXPECTED_FOR_S, None

    async def start(self, call: Known, one: Up) -> None:
        held = sum(other.state == "held" and other.at is one for other in self.calls)
        try:
            call.stream = await one.gateway.admissions.begin(call.sid)
        except TurnedAway:
            assert held == one.max_calls
            return
        assert held < one.max_calls
        call.state, call.at = "held", one

    async def end(self, call: Known, *, lost: bool) -> None:
        assert call.at is not None
        await call.at.gateway.admissions.end(call.stream, lost=lost)
        call.state, call.until_s, call.at = "lost" if lost else "none", now_s() + RETURN_S, None

    async def ask(self, call: Known, one: Up) -> None:
        assert await one.gateway.admissions.ending(call.sid) == "lost"
        await one.gateway.admissions.admit_again(call.sid, f"connect {call.sid} again")
        call.state, call.until_s, call.at = "promised", now_s() + EXPECTED_FOR_S, None

    def check(self) -> None:
        for one in self.up:
            if one.killed_s is None:
                held = sum(call.state == "held" and call.at is one for call in self.calls)
                assert one.gateway.admissions.live == held <= one.max_calls


@settings(max_examples=300)
@given(sizes=st.tuples(st.integers(1, 3), st.integers(1, 3)), steps=STEPS)
def test_no_place_is_given_twice_none_is_refused_and_a_killed_gateway_s_come_back(
    sizes: tuple[int, int], steps: list[Step]
) -> None:
    async def main() -> None:
        with memory_database() as database:
            world = World(database, sizes)
            await world.start_gateway(0)
            await world.start_gateway(1)
            for step in steps:
                await world.take(step)
                world.check()
            # Whatever happened: once all is over, the gateways that are left have all their places.
            for one in world.up:
                if one.killed_s is None:
                    one.gateway.kill()
                    one.killed_s = now_s()
            last = [await Gateway(database, f"last {at}", max_calls=size).up() for at, size in enumerate(sizes)]
            await asyncio.sleep(EXPECTED_FOR_S + LEASE_S)
            told = [await last[number % 2].called(f"CB{number}") for number in range(sum(sizes) + 1)]
            assert told == [True] * sum(sizes) + [False]
            for gateway in last:
                gateway.kill()

    run_virtual(main())
