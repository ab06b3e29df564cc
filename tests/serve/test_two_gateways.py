"""Two gateways over one store behind a load balancer that sends each request where it likes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from websockets.exceptions import ConnectionClosed

from serve.gateway import MAX_TURNED_AWAY
from tests.serve.gateway_rig import Rig, Stream, gateway_rig, twiml_parameters

MAX_CALLS = 3


@asynccontextmanager
async def two_gateways(runs_dir: Path) -> AsyncIterator[tuple[Rig, Rig]]:
    async with (
        gateway_rig(runs_dir, max_calls=MAX_CALLS) as one,
        gateway_rig(runs_dir, max_calls=MAX_CALLS) as other,
    ):
        yield one, other


class Carrier:
    """Callers whose requests go to either gateway."""

    def __init__(self, gateways: tuple[Rig, Rig], open_sockets: AsyncExitStack) -> None:
        self._gateways = gateways
        self._open = open_sockets
        self._balancer = random.Random(7)
        self.streams: dict[str, Stream] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}

    def either(self) -> Rig:
        return self._balancer.choice(self._gateways)

    async def call(self, sid: str) -> bool:
        """Whether the caller is talking in the end, and not told that lines are busy."""
        answer, gateway = await self.either().webhook(sid), self.either()
        for _ in range(MAX_TURNED_AWAY + 1):
            if not twiml_parameters(answer):
                break
            if await self.connect(sid, answer, gateway):
                return True
            gateway = next(other for other in self._gateways if other is not gateway)
            action = answer.text.split("attempt=", 1)[1].split('"', 1)[0].replace("&amp;", "&")
            answer = await self.either().webhook(
                sid, "/twilio/action", query=f"?attempt={action}", CallStatus="in-progress"
            )
        assert "busy" in answer.text
        return False

    async def connect(self, sid: str, answer: httpx.Response, gateway: Rig) -> bool:
        socket = await self._open.enter_async_context(gateway.media())
        stream = Stream(socket, sid)
        await stream.begin(twiml_parameters(answer))
        try:
            while json.loads(await socket.recv())["event"] != "media":
                pass
        except ConnectionClosed:
            assert socket.close_code == 1013
            return False
        self.streams[sid] = stream
        self._listening[sid] = asyncio.create_task(stream.listen())
        return True

    async def hang_up(self, sid: str) -> None:
        stream = self.streams.pop(sid)
        await stream.send("stop", streamSid=stream.stream_sid, stop={"accountSid": "AC1", "callSid": sid})
        await self._listening.pop(sid)

    async def held(self) -> list[int]:
        return [(await gateway.client.get("/healthz")).json()["calls"] for gateway in self._gateways]


async def free(carrier: Carrier, calls: int) -> None:
    """Wait until so many calls are left: a place is given back right after the socket has closed."""
    async with asyncio.timeout(5):
        while sum(await carrier.held()) > calls:  # noqa: ASYNC110  # of another process, as it were
            await asyncio.sleep(0.02)


async def test_under_four_times_the_load_exactly_their_places_are_taken(tmp_path: Path) -> None:
    async with two_gateways(tmp_path) as gateways, AsyncExitStack() as sockets:
        carrier = Carrier(gateways, sockets)
        sids = [f"CA{number}" for number in range(4 * 2 * MAX_CALLS)]
        admitted = await asyncio.gather(*(carrier.call(sid) for sid in sids))
        assert sum(admitted) == 2 * MAX_CALLS
        assert await carrier.held() == [MAX_CALLS, MAX_CALLS]
        assert not await carrier.call("CAlate")
        for number, sid in enumerate(list(carrier.streams)):
            await carrier.hang_up(sid)
            await free(carrier, 2 * MAX_CALLS - 1)
            assert await carrier.call(f"CAnext{number}")
            assert not await carrier.call(f"CAtoo{number}")
            assert await carrier.held() == [MAX_CALLS, MAX_CALLS]


async def test_a_gateway_without_calls_is_not_busy_and_a_full_one_takes_no_more(tmp_path: Path) -> None:
    async with two_gateways(tmp_path) as (a, b), AsyncExitStack() as sockets:
        carrier = Carrier((a, b), sockets)
        for number in range(MAX_CALLS):
            assert await carrier.connect(f"CA{number}", await a.webhook(f"CA{number}"), b)
        answer = await a.webhook("CAmore")
        assert not await carrier.connect("CAmore", answer, b)
        assert await b.metric('trunkline_refused_total{why="full"}') == 1
        again = await b.action("CAmore", CallStatus="in-progress")
        assert "attempt=1&amp;turned_away=1" in again.text
        assert await carrier.connect("CAmore", again, a)
        assert await carrier.held() == [1, MAX_CALLS]


async def test_a_call_that_only_full_gateways_get_is_told_so_in_the_end(tmp_path: Path) -> None:
    async with two_gateways(tmp_path) as (a, b), AsyncExitStack() as sockets:
        carrier = Carrier((a, b), sockets)
        for number in range(MAX_CALLS):
            assert await carrier.connect(f"CA{number}", await a.webhook(f"CA{number}"), b)
        answer, turned_away = await a.webhook("CAmore"), 0
        while twiml_parameters(answer):
            assert not await carrier.connect("CAmore", answer, b)
            query = f"?attempt=1&turned_away={turned_away}"
            answer = await a.webhook("CAmore", "/twilio/action", query=query, CallStatus="in-progress")
            turned_away += 1
        assert turned_away == MAX_TURNED_AWAY + 1
        assert "busy" in answer.text
        assert "<Hangup" in (await b.action("CAmore", CallStatus="in-progress")).text


async def test_a_token_opens_no_second_stream_at_the_other_gateway(tmp_path: Path) -> None:
    async with two_gateways(tmp_path) as (a, b):
        parameters = twiml_parameters(await a.webhook("CA1"))
        async with a.media() as first, b.media() as second:
            await Stream(first, "CA1").begin(parameters)
            assert json.loads(await first.recv())["event"] == "media"
            thief = Stream(second, "CA1")
            await thief.begin(parameters)
            assert await thief.closed() == 1008
            assert thief.heard == []
            assert await b.metric("trunkline_calls") == 0


async def test_a_call_that_the_agent_or_the_caller_ended_is_over_at_the_other_gateway_too(tmp_path: Path) -> None:
    async with two_gateways(tmp_path) as (a, b), AsyncExitStack() as sockets:
        carrier = Carrier((a, b), sockets)
        assert await carrier.connect("CA1", await a.webhook("CA1"), a)
        asked = asyncio.create_task(b.action("CA1", CallStatus="in-progress"))
        await carrier.hang_up("CA1")
        assert "<Stream" not in (await asked).text


async def test_a_gateway_that_drains_says_so_and_its_places_are_promised_to_nobody(tmp_path: Path) -> None:
    async with two_gateways(tmp_path) as (a, b), AsyncExitStack() as sockets:
        carrier = Carrier((a, b), sockets)
        assert await carrier.connect("CA0", await a.webhook("CA0"), a)
        a.services.draining.set()
        async with asyncio.timeout(5):
            while (await a.client.get("/readyz")).status_code != httpx.codes.SERVICE_UNAVAILABLE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        answers = [await one.webhook(f"CB{number}") for number, one in enumerate((a, b, a, b))]
        assert [bool(twiml_parameters(answer)) for answer in answers] == [True, True, True, False]
        assert await carrier.held() == [1, 0]
