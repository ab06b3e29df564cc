"""Who takes which call."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.agent import Agent
from pipeline.agent_version import agent_version
from pipeline.call_models import CallModels
from pipeline.call_services import NoTools
from serve.agent_pool import AgentPool, AgentRuntime
from serve.traffic_split import TrafficSplit, Variant, Versioned
from tests.pipeline.agents import AGENT, CONTEXT, SPANISH
from tests.pipeline.fakes import FakeModels

OTHER = AGENT.model_copy(update={"persona": "You are another test desk."})
CALLS = [f"CA{number:032x}" for number in range(4000)]


def versioned(agent: Agent) -> Versioned:
    return Versioned(agent, agent_version(agent))


def pool(percent: float) -> AgentPool:
    """AGENT and, with `percent` of the calls, OTHER; both with SPANISH."""
    models = FakeModels([])
    all_models = CallModels(models, models, models, models, models)
    traffic = TrafficSplit(
        (
            Variant((versioned(AGENT), versioned(SPANISH)), 100 - percent),
            Variant((versioned(OTHER), versioned(SPANISH)), percent),
        )
    )
    runtimes = {
        version: AgentRuntime(agent, version, all_models, {}, CONTEXT, NoTools())
        for version, agent in traffic.agents().items()
    }
    return AgentPool(traffic, runtimes)


@pytest.mark.parametrize("percent", [0.5, 20, 50, 100])
def test_each_version_gets_its_share_of_the_calls(percent: float) -> None:
    desk = pool(percent)
    taken = Counter(desk.pick(call_sid)[0].version for call_sid in CALLS)
    share = taken[agent_version(OTHER)] / len(CALLS)
    # Four standard errors of a fair draw.
    assert share * 100 == pytest.approx(percent, abs=400 * (percent / 100 * (1 - percent / 100) / len(CALLS)) ** 0.5)


def test_a_call_has_the_same_version_at_every_gateway_and_time() -> None:
    one, another = pool(50), pool(50)
    assert [one.pick(call)[0].version for call in CALLS] == [another.pick(call)[0].version for call in CALLS]


def test_a_larger_share_takes_calls_and_gives_none_back() -> None:
    """Calls under way while the shares are changed stay with the agent that they had, as far as can be."""
    before, after = pool(20), pool(30)
    moved = {(before.pick(call)[0].version, after.pick(call)[0].version) for call in CALLS}
    assert (agent_version(OTHER), agent_version(AGENT)) not in moved


def test_with_the_agent_come_those_for_other_languages() -> None:
    assert [runtime.agent.language for runtime in pool(50).pick("CA1")] == ["en", "es"]


def test_a_call_goes_on_with_the_version_and_in_the_language_that_it_was_in() -> None:
    found = pool(50).going_on("CA1", SPANISH.name, agent_version(SPANISH))
    assert found is not None
    assert [runtime.agent.language for runtime in found] == ["es", "en"]
    found = pool(50).going_on("CA1", OTHER.name, agent_version(OTHER))
    assert found is not None
    assert found[0].version == agent_version(OTHER)


def test_of_a_version_that_is_gone_another_one_goes_on_and_of_a_stranger_nobody() -> None:
    found = pool(50).going_on("CA1", AGENT.name, "0" * 12)
    assert found is not None
    assert found[0].agent.name == AGENT.name
    assert pool(50).going_on("CA1", "Somebody else", "0" * 12) is None


def test_a_call_that_goes_on_in_another_language_stays_with_its_own_share() -> None:
    desk = pool(50)
    for call_sid in CALLS[:50]:
        found = desk.going_on(call_sid, SPANISH.name, agent_version(SPANISH))
        assert found is not None
        assert found[1].version == desk.pick(call_sid)[0].version
