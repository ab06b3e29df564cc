"""A provider on this machine: real HTTP and WebSockets, with answers as its documentation shows them."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from aiohttp import WSMsgType, web
from aiohttp.test_utils import RawTestServer
from pydantic import SecretStr

from models.types import HEARING_RATE_HZ, FloatAudio
from serve.connectors.transport import ConnectorClient
from serve.hosted.exchange import Endpoint

KEY = "k3y-that-nobody-may-see"
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came, or the first of a WebSocket."""

    path: str
    """With its query."""
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeProvider:
    """`answer` says what comes back; `asked` is all that came."""

    answer: Answer
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client leaves in the middle of an answer."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        body = b"" if websocket else await request.read()
        self.asked.append(Asked(request.path_qs, dict(request.headers), body))
        try:
            return await self.answer(request)
        except (ConnectionError, asyncio.CancelledError):
            self.gone.set()
            raise


@dataclass
class Rig:
    provider: FakeProvider
    client: ConnectorClient
    spent: list[float] = field(default_factory=list)

    def endpoint(self, *, key: str | None = KEY, timeout_s: float = 20.0, url: str | None = None) -> Endpoint:
        secret = SecretStr(key) if key else None
        return Endpoint("Acme", url or self.provider.url, secret, "ACME_KEY", timeout_s, True, self.client)

    @property
    def last(self) -> Asked:
        return self.provider.asked[-1]


@asynccontextmanager
async def rig(answer: Answer) -> AsyncGenerator[Rig, None]:
    """A provider that is up, and a client for it."""
    provider = FakeProvider(answer)
    server = RawTestServer(provider.handle, handler_cancellation=True)
    await server.start_server(access_log=None, shutdown_timeout=0.1)
    provider.url = f"http://127.0.0.1:{server.port}"
    try:
        # Nothing here is https: the system's certificates need not be read each time.
        async with ConnectorClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
            yield Rig(provider, client)
    finally:
        await server.close()


def says(body: object, status: int = 200) -> Answer:
    """JSON, at once."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return answer


def streams(pieces: Sequence[bytes], *, pause_s: float = 0.0, cut: bool = False, hang: bool = False) -> Answer:
    """Piece by piece; `cut`: the connection breaks after them; `hang`: nothing comes after them."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(pause_s)
        if hang:
            await asyncio.sleep(60)
        if cut:
            assert request.transport is not None
            request.transport.close()
            await asyncio.sleep(60)
        await response.write_eof()
        return response

    return answer


def events(values: Sequence[object], *, done: bool = False) -> list[bytes]:
    """Server-sent events."""
    lines = [f"data: {json.dumps(value)}\n\n".encode() for value in values]
    return [*lines, b"data: [DONE]\n\n"] if done else lines


def converses(on_text: Callable[[str, bytes], Sequence[object]]) -> Answer:
    """A WebSocket. `on_text`: what is sent for a text message, given it and all audio so far; an int closes with it."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        audio = b""
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                audio += message.data
                continue
            for reply in on_text(json.loads(message.data)["type"], audio):
                if isinstance(reply, int):
                    await socket.close(code=reply, message=b"as you wish")
                    return socket
                await socket.send_str(reply if isinstance(reply, str) else json.dumps(reply))
        return socket

    return answer


async def too_slow(request: web.BaseRequest) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(60)
    return web.Response()


def patience_s(expected: str) -> float:
    """The time-out for a test that expects this failure: short only where it is waited for."""
    return 0.3 if "no answer" in expected else 20.0


def tone(length_s: float, rate_hz: int = HEARING_RATE_HZ) -> FloatAudio:
    return np.sin(np.arange(int(length_s * rate_hz), dtype=np.float32) * 0.1).astype(np.float32) * np.float32(0.5)


def pcm(samples: FloatAudio) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
