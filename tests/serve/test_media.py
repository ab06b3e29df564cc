"""What a call on the gateway is tied to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from pipeline.call_services import NoTools
from pipeline.clock import LoopClock
from pipeline.hours import Hours
from serve.media import services_of
from telephony.session import CallInfo
from tests.pipeline.agents import AGENT
from tests.serve.gateway_rig import state_rig

INFO = CallInfo("CA1", "MZ1", "AC1", "+15550001111", "+15550002222", {})


class At(LoopClock):
    """It is always the same wall time."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def wall_time_s(self) -> float:
        return self._moment.timestamp()


async def test_a_caller_in_the_evening_is_not_told_the_next_day_s_date(tmp_path: Path) -> None:
    agent = AGENT.model_copy(update={"hours": Hours(zone="America/Chicago")})
    async with state_rig(tmp_path, agent, NoTools()) as gateway:
        evening = replace(
            gateway, services=replace(gateway.services, clock=At(datetime(2026, 3, 6, 3, 30, tzinfo=UTC)))
        )
        assert services_of(evening, INFO, (gateway.services.pool.first,)).now().date() == date(2026, 3, 5)
