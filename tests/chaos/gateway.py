"""A gateway in a process of its own: everything real but ears, mouth and the wording of answers.

`python -m tests.chaos.gateway --port N --runs DIR --office PORT --model PORT`
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import httpx
import uvicorn
from pydantic import SecretStr

from models.types import GenerateRequest, ModelFailure
from pipeline.agent import load_agent
from pipeline.call_models import CallModels
from pipeline.clock import LoopClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.fixed_lines import synthesise_fixed_lines
from serve.agent_file import agent_tools
from serve.agent_pool import of_one
from serve.back_office import at_port
from serve.call_store import CallStore
from serve.config import EMBEDDED_STACK, GatewaySettings, load_stack
from serve.gateway import create_app
from serve.gateway_state import GatewayServices
from serve.secrets import Secrets
from serve.traffic_split import agent_path
from serve.upkeep import keep_up, store_url
from tests.chaos.lines import LINES
from tests.pipeline.fakes import FakeModels, FakeVad, decision
from tests.serve.gateway_rig import PUBLIC_URL, TOKEN

ROUTES = {
    "book": decision("book"),
    "cleaning": decision("question", "price_cleaning"),
    "goodbye": decision("goodbye"),
}


class OtherProcess:
    """The language model, over HTTP."""

    def __init__(self, port: int) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5)

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        try:
            answer = await self._client.post("/clauses", json={"prompt": request.messages[-1].content})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ModelFailure(f"the language model is gone: {error}") from error
        for clause in answer.json():
            yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        raise ModelFailure("it holds no free conversations")

    async def prefill(self, request: GenerateRequest) -> None:
        pass


async def serve(port: int, runs_dir: Path, office: int, model: int) -> None:
    stack = load_stack(EMBEDDED_STACK)
    assert stack.back_office is not None
    agent = at_port(load_agent(agent_path(stack)), stack.back_office, office)
    fakes = FakeModels(utterances=list(LINES), routes=ROUTES, transcribe_s=0.05, speak_s=0.05)
    clock = LoopClock()
    settings = GatewaySettings(max_calls=64)

    async def not_ready() -> list[str]:
        return []

    async with (
        await CallStore.open(store_url(settings, runs_dir)) as store,
        agent_tools(agent, store.outbox(agent.name), clock) as tools,
    ):
        upkeep = asyncio.create_task(keep_up([tools], store, clock))
        services = GatewayServices(
            pool=of_one(
                agent,
                CallModels(fakes, fakes, OtherProcess(model), fakes, fakes),
                await synthesise_fixed_lines(fakes, agent),
                AgentContext(agent, RoughCounter()),
                tools,
            ),
            new_vad=FakeVad,
            settings=settings,
            secrets=Secrets(twilio_auth_token=SecretStr(TOKEN), public_url=PUBLIC_URL),
            clock=clock,
            runs_dir=runs_dir,
            store=store,
            not_ready=not_ready,
        )
        await uvicorn.Server(uvicorn.Config(create_app(services), port=port, log_level="error")).serve()
        upkeep.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--office", type=int, required=True)
    parser.add_argument("--model", type=int, required=True)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.port, chosen.runs, chosen.office, chosen.model))
