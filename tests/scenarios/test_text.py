"""Text and voice agree: what is said in a scenario, written instead, is answered in the same words."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import events as ev
from pipeline.call_services import CallServices
from pipeline.clock import LoopClock
from pipeline.text_call import Said, TextCall
from tests.scenarios.form import SCENARIOS, Scenario, load_scenario
from tests.scenarios.sound import Codebook
from tests.scenarios.virtual import play
from tests.scenarios.world import NOW, FakeBackOffice, ScenarioModels
from tests.virtual_time import run_virtual

CALLER = "+15550100"
"""Who calls over the fake carrier."""
POOR = -1.0
"""Mean log probability below which the transcriber guesses."""


async def _write(scenario: Scenario) -> list[ev.Event]:
    """The scenario's steps, each when the one before has been answered; keys while it is being answered."""
    agent = scenario.agent_under_test()
    models = ScenarioModels(Codebook(), agent, scenario.faults)
    office = FakeBackOffice(agent, scenario.faults)
    services = CallServices(call_id="CA1", caller=CALLER, tools=office, now=lambda: NOW)
    call = TextCall(agent, models, models, services, LoopClock())
    await call.open()
    deeds: list[asyncio.Task[Said]] = []
    for step in scenario.caller:
        if step.press:
            await asyncio.sleep(step.plus_s)
            for key in step.press:
                deeds.append(asyncio.create_task(call.press(key)))
                await asyncio.sleep(0.2)
        else:
            await asyncio.gather(*deeds)
            deeds.append(asyncio.create_task(call.say(step.say, unclear=step.log_probability < POOR)))
    await asyncio.gather(*deeds)
    await call.close()
    return list(call.log)


def _heard(log: list[ev.Event]) -> list[str]:
    return [event.heard for event in log if isinstance(event, ev.ReplyEnded)]


@pytest.mark.parametrize(
    "name",
    [
        "keys_while_the_booking_is_entered",
        "a_whole_booking",
        "keypad_helps_after_poor_transcripts",
        "number_is_keyed_in",
        "keys_that_do_not_fit_are_answered",
        "greets_and_answers",
        "declines_what_it_does_not_know",
    ],
)
def test_a_scenario_in_writing_is_answered_as_it_is_in_voice(name: str) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml")
    written, spoken = run_virtual(_write(scenario)), play(scenario).log
    assert _heard(written) == _heard(spoken)
    keys = [[event.digit for event in log if isinstance(event, ev.Keypress)] for log in (written, spoken)]
    assert keys[0] == keys[1]
