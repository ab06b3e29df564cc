"""The gateway's own figures."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from serve.metrics import LoopLagProbe, Metrics


@pytest.mark.parametrize("blocked_first", [True, False])
async def test_a_calls_lag_is_of_the_time_since_it_began_and_no_longer(blocked_first: bool) -> None:
    probe = LoopLagProbe(Metrics(), sample_ms=2.0)
    sampling = asyncio.create_task(probe.run())

    async def stretch(*, blocked: bool) -> None:
        await asyncio.sleep(0.01)
        if blocked:
            gc.collect()
            time.sleep(0.08)  # noqa: ASYNC251 (that is what is to be seen)
        await asyncio.sleep(0.03)

    began_s = time.monotonic()
    await stretch(blocked=blocked_first)
    half_way_s = time.monotonic()
    await stretch(blocked=not blocked_first)
    sampling.cancel()

    whole, half = probe.since(began_s), probe.since(half_way_s)
    assert 3 <= half.samples < whole.samples
    assert whole.max_ms is not None
    assert half.max_ms is not None
    assert whole.max_ms > 60
    assert (half.max_ms > 60) is not blocked_first
    assert whole.collection_max_ms > 0
    assert (half.collection_max_ms == whole.collection_max_ms) is not blocked_first


def test_without_a_sample_since_there_is_nothing_to_say() -> None:
    found = LoopLagProbe(Metrics(), sample_ms=2.0).since(0.0)
    assert (found.samples, found.p50_ms, found.p99_ms, found.max_ms) == (0, None, None, None)
