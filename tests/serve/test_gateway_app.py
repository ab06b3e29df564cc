"""What the gateway relies on of Ray Serve beyond what it promises: looked at again with each new version of it."""

from __future__ import annotations

import pytest
from ray.serve._private import replica

from serve.gateway_app import tell_of_shutdown


async def test_a_gateway_hears_that_it_is_taken_down_before_serve_waits_for_its_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    async def wait_for_calls(self: replica.Replica) -> None:
        order.append("wait")

    monkeypatch.setattr(replica.Replica, "perform_graceful_shutdown", wait_for_calls)
    tell_of_shutdown(lambda: order.append("told"))
    actor = object.__new__(replica.ReplicaActor)
    actor._replica_impl = object.__new__(replica.Replica)
    await actor.perform_graceful_shutdown()
    assert order == ["told", "wait"]
