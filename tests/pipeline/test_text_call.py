"""A call in text: the same replies as in voice, at the writer's leisure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import pytest

from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call import Call
from pipeline.call_services import CallServices
from pipeline.clock import LoopClock
from pipeline.slots.variables import Variable
from pipeline.text_call import TextCall
from pipeline.workflow.definition import Flow
from tests.pipeline.agents import AGENT, SPANISH
from tests.pipeline.fakes import FakeModels, FakeTools, decision
from tests.pipeline.rig import GENERATED, ROUTES, Step, play
from tests.virtual_time import run_virtual

BOOKED = ["I want to book", "Tuesday at ten please", "my name is Rosa Diaz", "yes that is right"]
STARTS_S = [3.0, 9.5, 19.0, 27.0]
"""When each is said in voice: the agent has finished by then."""
SLOW_S = 4.0
"""What the business system takes to book."""
KEYS = AGENT.model_copy(update={"keys": {"1": "what are your hours"}})


@dataclass
class Written:
    """What came of a call in text."""

    call: TextCall
    models: FakeModels
    tools: FakeTools

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [event for event in self.call.log if isinstance(event, kind)]

    def heard(self) -> list[str]:
        return [event.heard for event in self.call.log if isinstance(event, ev.ReplyEnded)]


def write(
    talk: Callable[[TextCall], Awaitable[None]],
    *,
    agent: Agent = AGENT,
    tools: FakeTools | None = None,
    prepare: Callable[[FakeModels], None] = lambda models: None,
) -> Written:
    """Have a call: it is answered, talked in, and hung up on."""
    models = FakeModels(utterances=[], routes=ROUTES, generated=GENERATED)
    prepare(models)
    tools = tools or FakeTools()
    result: list[Written] = []

    async def main() -> None:
        services = CallServices(call_id="CA1", tools=tools, now=lambda: datetime(2026, 11, 25, 10))
        call = TextCall(agent, models, models, services, LoopClock())
        await call.open()
        await talk(call)
        await call.close()
        result.append(Written(call, models, tools))

    run_virtual(main())
    return result[0]


async def book(call: TextCall, lines: list[str] = BOOKED) -> None:
    for line in lines:
        await call.say(line)


def voiced(lines: list[str], *more: Step) -> list[Step]:
    return [*zip(STARTS_S, lines, strict=False), *more]


def press(key: str) -> Callable[[Call], None]:
    return lambda call: call.press(key)


def test_a_booking_with_keys_pressed_while_it_is_entered_goes_as_it_does_in_voice() -> None:
    async def talk(call: TextCall) -> None:
        await book(call, BOOKED[:3])
        last = asyncio.create_task(call.say(BOOKED[3]))
        for _ in range(3):
            await asyncio.sleep(1.2)
            assert not last.done()
            await asyncio.wait({asyncio.create_task(call.press("9"))}, timeout=0.1)
        said = await last
        assert said.text == "One moment while I book it. Booked, Rosa Diaz."
        assert (await call.say("what are your hours")).text == (
            "Sure, we are open Monday to Friday from eight to five."
        )

    # Before the filler, over it, and over the result.
    keys = [(29.5, press("9")), (30.7, press("9")), (33.2, press("9"))]
    spoken = play(voiced(BOOKED, *keys, (37.0, "what are your hours")), for_s=44, tools=FakeTools(takes_s=SLOW_S))
    written = write(talk, tools=FakeTools(takes_s=SLOW_S))
    assert len(written.of(ev.Keypress)) == len(spoken.of(ev.Keypress)) == 3
    assert written.heard() == spoken.heard()
    assert "Booked, Rosa Diaz." in written.heard()[4]


def spanish(models: FakeModels) -> None:
    models.routes = {"cita": decision("cita"), "horario": decision("pregunta", "hours")}


@pytest.mark.parametrize(
    ("agent", "lines", "prepare"),
    [
        (AGENT, ["the price please", "is the moon out", "okay bye"], lambda models: None),
        (AGENT, ["I want to book", "what are your hours", "is the moon out"], lambda models: None),
        (AGENT, ["get me a person"], lambda models: None),
        (SPANISH, ["quiero pedir cita", "el martes a las diez", "Marta Gil", "qué horario tienen"], spanish),
    ],
)
def test_what_is_said_is_answered_as_it_is_in_voice(
    agent: Agent, lines: list[str], prepare: Callable[[FakeModels], None]
) -> None:
    spoken = play(voiced(lines), for_s=STARTS_S[len(lines) - 1] + 9, agent=agent, prepare=prepare)
    written = write(lambda call: book(call, lines), agent=agent, prepare=prepare)
    assert written.heard() == spoken.heard()
    assert len(written.heard()) == len(lines) + 1
    history = [event.text for event in written.call.log if isinstance(event, ev.FinalTranscript)]
    assert history == lines
    ends = [event.reason for event in (*written.call.log, *spoken.log) if isinstance(event, ev.CallEnded)]
    assert ends == [written.call.end] * 2


def test_a_silent_caller_is_asked_twice_and_let_go() -> None:
    said: list[str] = []

    async def talk(call: TextCall) -> None:
        while call.end is None:
            said.append((await call.silence()).text)

    written = write(talk)
    assert said == ["Are you there?", "Are you there?", "I'll hang up now."]
    assert written.call.end == "silence"


def test_who_writes_may_take_as_long_as_he_likes() -> None:
    async def talk(call: TextCall) -> None:
        await asyncio.sleep(600)
        assert (await call.say("the price please")).text == "A cleaning costs ninety dollars."
        await asyncio.sleep(600)

    written = write(talk)
    assert written.heard() == ["Hello, this is the test desk.", "A cleaning costs ninety dollars."]
    assert written.call.end == "caller_hung_up"


def test_a_slow_tool_is_announced_after_as_long_as_in_voice_and_speech_takes_no_time() -> None:
    took_s: list[float] = []

    async def talk(call: TextCall) -> None:
        await book(call, BOOKED[:3])
        began_s = asyncio.get_running_loop().time()
        said = await call.say(BOOKED[3])
        took_s.append(asyncio.get_running_loop().time() - began_s)
        assert said.text == "One moment while I book it. Booked, Rosa Diaz."
        assert said.route == "knowledge 0.10"

    written = write(talk, tools=FakeTools(takes_s=SLOW_S))
    assert took_s == [pytest.approx(SLOW_S, abs=0.05)]
    (started,) = (event for event in written.of(ev.ToolStarted) if isinstance(event, ev.ToolStarted) and event.turn)
    decided = [event for event in written.call.log if isinstance(event, ev.ClauseDecided)]
    filler = next(event for event in decided if event.source == "filler")
    assert filler.at_s - started.at_s == pytest.approx(AGENT.turn_taking.filler_after_ms / 1000, abs=0.05)


def test_a_quick_tool_is_not_announced() -> None:
    written = write(book)
    assert written.heard()[-1] == "Booked, Rosa Diaz."


def test_a_wish_for_a_person_hands_the_call_over_with_what_is_known() -> None:
    async def talk(call: TextCall) -> None:
        await book(call, BOOKED[:3])
        said = await call.say("I would rather have a person")
        assert said.text == "I'll put you through."
        assert call.end == "transferred"

    def sure_of_it(models: FakeModels) -> None:
        models.routes = {**ROUTES, "person": decision("person", confidence=0.97)}

    written = write(talk, prepare=sure_of_it)
    assert written.call.hand_over is not None
    assert (written.call.hand_over.target, written.call.hand_over.reason) == ("desk", "request")
    assert "Rosa Diaz" in written.call.hand_over.summary
    assert len(written.of(ev.TransferRequested)) == 1


def test_nothing_more_is_said_after_the_goodbye() -> None:
    async def talk(call: TextCall) -> None:
        assert (await call.say("bye")).text == "Goodbye."
        assert call.end == "farewell"
        assert (await call.say("the price please")).text == ""

    assert write(talk).heard()[-1] == "Goodbye."


def test_a_caller_who_hangs_up_while_a_tool_works_ends_the_call() -> None:
    async def talk(call: TextCall) -> None:
        await book(call, BOOKED[:3])
        last = asyncio.create_task(call.say(BOOKED[3]))
        await asyncio.sleep(1.0)
        await call.close()
        assert (await last).text == ""

    written = write(talk, tools=FakeTools(takes_s=SLOW_S))
    assert written.call.end == "caller_hung_up"
    assert len(written.tools.calls) == 2
    assert len(written.of(ev.CallEnded)) == 1


def test_a_key_is_answered_if_it_has_a_meaning_and_costs_no_time_if_it_has_none() -> None:
    async def talk(call: TextCall) -> None:
        assert (await call.press("1")).text == "Sure, we are open Monday to Friday from eight to five."
        began_s = asyncio.get_running_loop().time()
        assert (await call.press("7")).text == ""
        assert asyncio.get_running_loop().time() == began_s

    write(talk, agent=KEYS)


def test_keys_pressed_one_right_after_another_are_one_answer() -> None:
    flow = Flow.model_validate(
        {
            "start": "ask",
            "nodes": {
                "ask": {"do": "ask", "variable": "phone", "say": ("Which number?",), "go": "told", "exhausted": "end"},
                "told": {"do": "say", "say": "It is {phone}.", "go": "end"},
            },
        }
    )
    agent = AGENT.model_copy(
        update={"flows": {**AGENT.flows, "book": flow}, "variables": {"phone": Variable(type="phone")}}
    )

    async def talk(call: TextCall) -> None:
        assert (await call.say("I want to book")).text == "Which number?"
        assert (await call.press("4155550162")).text == "It is four one five, five five five, zero one six two."
        assert (await call.say("I want to book")).text == "It is four one five, five five five, zero one six two."

    assert len(write(talk, agent=agent).of(ev.Keypress)) == 10


def test_words_that_may_be_wrong_and_lead_nowhere_are_asked_about_and_so_is_speech_without_words() -> None:
    async def talk(call: TextCall) -> None:
        assert (await call.say("the hovers", unclear=True)).text == "Sorry, could you say that again?"
        assert (await call.say("")).text == "Sorry, could you say that again?"
        assert (await call.say("what are your hours", unclear=True)).text.startswith("Sure, we are open")

    written = write(talk)
    assert written.call.state.unclear == 0
    finals = [event.text for event in written.call.log if isinstance(event, ev.FinalTranscript)]
    assert finals == ["the hovers", "what are your hours"]


def test_speech_without_words_while_a_tool_works_loses_no_result() -> None:
    async def talk(call: TextCall) -> None:
        await book(call, BOOKED[:3])
        last = asyncio.create_task(call.say(BOOKED[3]))
        await asyncio.sleep(2.5)
        assert (await call.say("")).text == "Booked, Rosa Diaz."
        await last

    assert " ".join(write(talk, tools=FakeTools(takes_s=SLOW_S)).heard()).count("Booked, Rosa Diaz.") == 1


def test_a_failing_language_model_is_apologised_for_and_the_call_goes_on() -> None:
    async def talk(call: TextCall) -> None:
        assert (await call.say("the price please")).text == "Sorry, something went wrong."
        assert (await call.say("the price please")).text == "A cleaning costs ninety dollars."

    written = write(talk, prepare=lambda models: models.broken.add("reply"))
    assert [event.stage for event in written.call.log if isinstance(event, ev.StageFailed)] == ["reply", "reply"]


def test_what_is_answered_by_nothing_counts_all_the_same() -> None:
    """A flow may take something in and say nothing to it."""
    silent = Flow.model_validate({"start": "drop", "nodes": {"drop": {"do": "set", "forget": ("name",), "go": "end"}}})
    agent = AGENT.model_copy(update={"flows": {**AGENT.flows, "book": silent}})

    async def talk(call: TextCall) -> None:
        await call.say("")
        assert call.state.unclear == 1
        assert (await call.say("I want to book")).text == ""
        assert call.state.unclear == 0

    write(talk, agent=agent)
