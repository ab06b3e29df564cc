"""Two replicas of a language model behind Serve's own router: a call stays with one, and goes on with the other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest

from models.types import GenerateRequest, Message, ModelFailure
from serve.build import model_options
from serve.handles import RayLanguageModel, Remote
from tests.conftest import StackUp

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

POOL = "TwoModels"
CALLS = [f"CA{number:032d}" for number in range(12)]


class Replica:
    """Stands for an engine: says which process it is."""

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        yield str(os.getpid())

    async def ready(self) -> bool:
        return True


@pytest.fixture(scope="module")
def two_replicas(stack_up: StackUp) -> str:
    from ray import serve

    engine = stack_up.stack.understanding
    assert engine is not None
    options = model_options(stack_up.stack, engine.model_copy(update={"replicas": 2}))
    serve.run(serve.deployment(Replica, name=POOL, **options).bind(), name=POOL, route_prefix=None)
    return POOL


def model(name: str) -> RayLanguageModel:
    from ray import serve

    return RayLanguageModel(Remote(name, serve.get_deployment_handle(name, name, _check_exists=False), 5.0))


async def answers(asked: RayLanguageModel, call: str, number: int) -> int:
    """The process that answered."""
    request = GenerateRequest(f"{call}/t{number}", (Message("user", "Who is there?"),))
    (said,) = [clause async for clause in asked.clauses(request)]
    return int(said)


async def test_a_call_stays_with_its_replica_and_moves_when_that_dies(two_replicas: str) -> None:
    asked = model(two_replicas)
    homes = {call: await answers(asked, call, 0) for call in CALLS}
    assert len(set(homes.values())) == 2
    again = {call: await answers(asked, call, number) for number in range(1, 4) for call in CALLS}
    assert again == homes

    gone, stayed = sorted(set(homes.values()))
    os.kill(gone, signal.SIGKILL)
    async with asyncio.timeout(30):
        for call in CALLS:
            while True:
                with suppress(ModelFailure):
                    now = await answers(asked, call, 9)
                    break
                await asyncio.sleep(0.2)
            assert now != gone
            assert homes[call] == gone or now == stayed
