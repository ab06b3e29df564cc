"""A gateway under bare uvicorn with fakes of the models, and a hand-made Twilio for it."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import numpy as np
import uvicorn
from pydantic import SecretStr
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipeline.agent import Agent
from pipeline.call_models import CallModels
from pipeline.call_services import NoTools
from pipeline.clock import LoopClock
from pipeline.fixed_lines import synthesise_fixed_lines
from pipeline.tool_executor import Tools
from serve.agent_pool import AgentPool, AgentRuntime
from serve.call_store import CallStore
from serve.config import GatewaySettings
from serve.gateway import create_app, make_state
from serve.gateway_state import ACTION_PATH, MEDIA_PATH, VOICE_PATH, GatewayServices, GatewayState
from serve.media import SUMMARY_FILE
from serve.secrets import Secrets
from serve.traffic_split import TrafficSplit, only
from telephony.audio import float_to_ulaw
from tests.pipeline.agents import AGENT, CONTEXT
from tests.pipeline.fakes import FakeModels, FakeVad

TOKEN = "an-auth-token"
PUBLIC_URL = "https://calls.example.com"
FRAME_S = 0.02


@dataclass
class Rig:
    """A gateway that is up, and what a carrier knows of it."""

    url: str
    services: GatewayServices
    models: FakeModels
    client: httpx.AsyncClient

    async def webhook(self, call_sid: str, path: str = VOICE_PATH, *, query: str = "", **fields: str) -> httpx.Response:
        """A webhook as Twilio would sign and send it."""
        form = {"CallSid": call_sid, "From": "+15550001111", "To": "+15550002222", **fields}
        signature = RequestValidator(TOKEN).compute_signature(PUBLIC_URL + path + query, form)
        return await self.client.post(path + query, data=form, headers={"X-Twilio-Signature": signature})

    async def action(self, call_sid: str, **fields: str) -> httpx.Response:
        return await self.webhook(call_sid, ACTION_PATH, query="?attempt=1", **fields)

    def media(self, signature: str | None = None) -> connect:
        """The media WebSocket, signed unless told otherwise."""
        right = RequestValidator(TOKEN).compute_signature("wss://calls.example.com" + MEDIA_PATH, {})
        signed = {"X-Twilio-Signature": right if signature is None else signature} if signature != "" else {}
        return connect(self.url.replace("http", "ws") + MEDIA_PATH, additional_headers=signed, max_size=None)

    async def metric(self, name: str) -> float:
        """One sample of /metrics, by its name with labels."""
        text = (await self.client.get("/metrics")).text
        return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " "))


def twiml_parameters(response: httpx.Response) -> dict[str, str]:
    """The <Parameter>s of the <Stream> in the answer; empty if there is none."""
    return {
        node.attrib["name"]: node.attrib["value"] for node in ElementTree.fromstring(response.text).iter("Parameter")
    }


class Stream:
    """One media stream, seen from the carrier."""

    def __init__(self, socket: ClientConnection, call_sid: str) -> None:
        self.socket = socket
        self.call_sid = call_sid
        self.stream_sid = "MZ" + call_sid
        self.sequence = 0
        self.chunk = 0
        self.heard: list[dict[str, Any]] = []

    async def send(self, event: str, **body: Any) -> None:
        self.sequence += 1
        await self.socket.send(json.dumps({"event": event, "sequenceNumber": str(self.sequence), **body}))

    async def begin(self, parameters: dict[str, str]) -> None:
        await self.socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await self.start(parameters)

    async def start(self, parameters: dict[str, str]) -> None:
        await self.send(
            "start",
            streamSid=self.stream_sid,
            start={
                "accountSid": "AC1",
                "streamSid": self.stream_sid,
                "callSid": self.call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": parameters,
            },
        )

    async def media(self, payload: str | None = None, *, amplitude: float = 0.0, stream_sid: str | None = None) -> None:
        self.chunk += 1
        silent = float_to_ulaw(np.full(160, amplitude, np.float32))
        await self.send(
            "media",
            streamSid=stream_sid or self.stream_sid,
            media={
                "track": "inbound",
                "chunk": str(self.chunk),
                "timestamp": str((self.chunk - 1) * 20),
                "payload": base64.b64encode(silent).decode() if payload is None else payload,
            },
        )

    async def talk(self, seconds: float, *, amplitude: float = 0.0) -> None:
        """Frames in real time."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        for _ in range(round(seconds / FRAME_S)):
            await self.media(amplitude=amplitude)
            due_s += FRAME_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    async def listen(self) -> None:
        """Keep what comes and echo marks at once, until the socket closes."""
        async for message in self.socket:
            event = json.loads(message)
            self.heard.append(event)
            if event["event"] == "mark":
                await self.send("mark", streamSid=self.stream_sid, mark=event["mark"])

    async def closed(self) -> int:
        """Wait for the close and give its code."""
        with suppress(ConnectionClosed):
            async for message in self.socket:
                self.heard.append(json.loads(message))
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def services_rig(
    runs_dir: Path,
    *,
    agent: Agent = AGENT,
    traffic: TrafficSplit | None = None,
    tools: Tools | None = None,
    not_ready: tuple[str, ...] = (),
    **settings: Any,
) -> AsyncIterator[GatewayServices]:
    """What a gateway needs, with fakes of the models; `traffic`: instead of one `agent`; `settings` override
    GatewaySettings."""
    models = FakeModels(utterances=["what are your hours"], transcribe_s=0.01, speak_s=0.01, first_clause_s=0.02)

    async def waiting_for() -> list[str]:
        return list(not_ready)

    all_models = CallModels(models, models, models, models, models)
    traffic = traffic or only(agent)
    runtimes = {
        version: AgentRuntime(
            one, version, all_models, await synthesise_fixed_lines(models, one), CONTEXT, tools or NoTools()
        )
        for version, one in traffic.agents().items()
    }
    store = await CallStore.open(f"sqlite:///{runs_dir / 'calls.db'}")
    services = GatewayServices(
        pool=AgentPool(traffic, runtimes),
        new_vad=FakeVad,
        settings=GatewaySettings(**settings),
        secrets=Secrets(twilio_auth_token=SecretStr(TOKEN), public_url=PUBLIC_URL),
        clock=LoopClock(),
        runs_dir=runs_dir,
        store=store,
        not_ready=waiting_for,
    )
    try:
        yield services
    finally:
        await store.close()


@asynccontextmanager
async def state_rig(runs_dir: Path, agent: Agent, tools: Tools) -> AsyncIterator[GatewayState]:
    """A gateway's desk without its server."""
    async with services_rig(runs_dir, agent=agent, tools=tools) as services:
        yield make_state(services)


async def saved_run(runs_dir: Path, call_sid: str) -> Path:
    """The folder of a call whose socket has closed, once everything of it is written: the summary comes last."""
    async with asyncio.timeout(10):
        while True:
            for folder in runs_dir.glob(f"*-{call_sid}"):  # noqa: ASYNC240  # a test looks
                with suppress(OSError, ValueError):
                    json.loads((folder / SUMMARY_FILE).read_text())
                    return folder
            await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway_rig(
    runs_dir: Path, *, traffic: TrafficSplit | None = None, not_ready: tuple[str, ...] = (), **settings: Any
) -> AsyncIterator[Rig]:
    """A gateway on a port of its own; `settings` override GatewaySettings."""
    async with services_rig(runs_dir, traffic=traffic, not_ready=not_ready, **settings) as services:
        models = services.pool.first.models.transcriber
        assert isinstance(models, FakeModels)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            server = uvicorn.Server(uvicorn.Config(create_app(services), log_level="error"))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url) as client:
                try:
                    yield Rig(url=url, services=services, models=models, client=client)
                finally:
                    server.should_exit = True
                    await serving
