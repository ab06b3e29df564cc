"""The caller's audio on an even clock, whatever the network did to it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from telephony.audio import float_to_ulaw
from tests.telephony.session_rig import Rig, run


@pytest.mark.parametrize("sizes", [[1, 7, 161, 320, 3, 800, 160], [159] * 20, [4_000, 1]])
def test_odd_lengths_are_heard_whole(sizes: list[int]) -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        at = 0
        for chunk, size in enumerate(sizes, 1):
            rig.leg.media(b"\x10" * size, chunk=chunk, timestamp_ms=at // 8)
            at += size
        await asyncio.sleep(0.1)
        rig.leg.stop()
        outcome = await session
        assert rig.call is not None
        assert rig.call.heard_s == pytest.approx(sum(sizes) / 8_000, abs=0.002)
        assert max(frame.size for frame in rig.call.heard) <= 320
        assert outcome.counts.faults == 0
        assert outcome.counts.silence_ms == 0

    run(main)


def test_lost_audio_becomes_silence_and_repeated_or_late_audio_is_dropped() -> None:
    loud = float_to_ulaw(np.full(160, 0.5, dtype=np.float32))

    async def main(rig: Rig) -> None:
        tap = Taps()
        session = await rig.opened(tap_factory=lambda info: tap)
        for chunk in (1, 2, 2, 5, 4, 6):  # 3 and 4 are missing when 5 comes; 4 comes too late
            rig.leg.media(loud, chunk=chunk)
            await asyncio.sleep(0.02)
        rig.leg.stop()
        outcome = await session
        assert (outcome.counts.media, outcome.counts.dropped, outcome.counts.silence_ms) == (4, 2, 40.0)
        assert rig.call is not None
        audio = np.concatenate(rig.call.heard)
        assert audio.size / 16_000 == pytest.approx(0.12, abs=0.002)
        quiet = np.abs(audio) < 0.02
        assert quiet[660:1260].all(), "from 40 to 80 ms"
        assert not quiet[20:620].any()
        assert not quiet[1300:1850].any()
        assert tap.received_s == pytest.approx([0.0 + 0.02 * i for i in range(6)], abs=0.002)

    run(main)


class Taps:
    def __init__(self) -> None:
        self.received_s: list[float] = []

    def received(self, ulaw: bytes, at_s: float) -> None:
        self.received_s.append(at_s)

    def sent(self, ulaw: bytes, play_at_s: float) -> None:
        raise AssertionError("nothing was sent")

    def cleared(self, at_s: float) -> None:
        raise AssertionError("nothing was cleared")


def test_a_wild_timestamp_fills_no_memory_and_the_stream_goes_on() -> None:
    async def main(rig: Rig) -> None:
        session = await rig.opened()
        rig.leg.media(chunk=1, timestamp_ms=0)
        rig.leg.media(chunk=2, timestamp_ms=10**12)
        rig.leg.media(chunk=3, timestamp_ms=10**12 + 20)
        await asyncio.sleep(0.1)
        rig.leg.stop()
        outcome = await session
        assert (outcome.counts.media, outcome.counts.faults) == (2, 1)
        assert "a jump to 1000000000000 ms" in outcome.warnings[0]
        assert rig.call is not None
        assert rig.call.heard_s < 0.05

    run(main)
