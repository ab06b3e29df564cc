"""Free conversations in whole calls: a model leads them, and what it makes up comes to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.settings import parse_mapping, parse_settings
from models.types import GenerateRequest, Message, ModelFailure
from pipeline import events as ev
from pipeline.agent import Agent, agent_of, load_agent
from pipeline.call_services import CallServices
from pipeline.clock import LoopClock
from pipeline.state import CallState, Memory, Value
from pipeline.talk import MOST_IN_A_ROW, Talker
from pipeline.talk_prompt import proposal
from pipeline.text_call import FactsAsWritten, TextCall
from pipeline.tools.calls import ToolResult
from pipeline.workflow.engine import WorkflowEngine
from tests.pipeline.fakes import FakeModels, FakeTools, decision, proposed
from tests.pipeline.rig import play
from tests.virtual_time import run_virtual

FRONT_OFFICE = load_agent(Path(__file__).parents[2] / "configs" / "agents" / "front_office.yaml")
NOW = datetime(2026, 11, 25, 10)
ROUTES = {
    "open": decision("question", "hours"),
    "goodbye": decision("goodbye"),
    "forget it": decision("never_mind"),
    "say that again": decision("again"),
}
BOOKING = [
    proposed("Sure, what is the ticket number?"),
    proposed("Let me look.", call="find_repair", ticket="4711"),
    proposed("Your bike is ready. That's forty dollars. On which day would you like to pick it up?"),
    proposed("I have booked it for you.", call="book_pick_up", day="Tuesday"),
    proposed("The pick-up is booked for Tuesday, the first of December. It is booked.", leave="done"),
]
LINES = ["I want to know about my bike", "it's 4711", "next Tuesday then", "yes please"]
SPANISH = parse_settings(
    """
name: Taller
language: es
persona: Eres la recepción de un taller.
voice: es/am_michael
lines:
  greeting: Taller, buenos días.
  fallback: [No tengo esa información.]
  not_understood: ["¿Me lo puede repetir?"]
  apology: Lo siento, algo ha fallado.
  reprompt: ¿Sigue ahí?
  farewell: Adiós.
  silence_farewell: Voy a colgar.
  too_long: Tengo que terminar.
  warning: Por favor, con respeto.
  abuse_farewell: Termino la llamada.
facts: [{id: hours, text: Abrimos de lunes a viernes.}]
variables:
  day: {type: date, description: día de recogida}
tools:
  reserve: {description: Reservar la recogida de la bicicleta., effect: write, arguments: {day: {}},
            http: {method: POST, url: reservas}}
flows:
  help:
    start: talk
    nodes:
      talk:
        do: talk
        goal: Reserva la recogida de la bicicleta.
        say: ¿Qué desea?
        fill: {day: "¿Qué día le viene bien?"}
        tools:
          reserve:
            read_back: "La recogida es {day}, ¿es correcto?"
            done: "Queda reservada."
            rejected: {full: "Ese día está completo."}
        ways: {hecho: bye}
        exhausted: sorry
        failed: sorry
      bye: {do: say, say: "Gracias por llamar.", go: end}
      sorry: {do: say, say: "Lo siento, llame más tarde.", go: end}
routes:
  - {name: pregunta, kind: knowledge, examples: [qué horario tienen, cuánto cuesta, dónde están]}
otherwise: help
""",
    Agent,
    "test_talk.py",
)


def workshop(**answers: ToolResult) -> FakeTools:
    found = {"find_repair": ToolResult("ok", {"bike_state": "ready"}), **answers}
    return FakeTools(reads={"find_repair"}, answers=found)


@dataclass
class Talked:
    """What came of a call in text."""

    said: list[str]
    call: TextCall
    models: FakeModels
    tools: FakeTools
    saved: list[Memory] = field(default_factory=list)

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [event for event in self.call.log if isinstance(event, kind)]


def talk(
    lines: list[str],
    scripted: list[str],
    *,
    agent: Agent = FRONT_OFFICE,
    tools: FakeTools | None = None,
    memory: Memory | None = None,
    prepare: Callable[[FakeModels], None] = lambda models: None,
) -> Talked:
    """A call in text: the greeting and the answer to each line."""
    models = FakeModels(utterances=[], routes=ROUTES, scripted=list(scripted))
    prepare(models)
    tools = tools or workshop()
    result: list[Talked] = []

    async def main() -> None:
        saved: list[Memory] = []
        services = CallServices(
            call_id="CA1",
            caller="+15550100",
            tools=tools,
            now=lambda: NOW,
            memory=memory,
            save=saved.append,
        )
        call = TextCall(agent, models, models, services, LoopClock())
        said = [(await call.open()).text]
        for line in lines:
            said.append((await call.say(line)).text)
        await call.close()
        result.append(Talked(said, call, models, tools, saved))

    run_virtual(main())
    return result[0]


def test_a_free_node_looks_up_and_books_after_a_read_back_and_what_the_model_made_up_is_not_said() -> None:
    talked = talk(LINES, BOOKING)
    assert talked.said == [
        "Hello, this is Harbour Bikes. What can I do for you?",
        "What is the ticket number?",
        "Let me look. Your bike is ready. On which day would you like to pick it up?",
        "So you'll pick up the bike with ticket four seven one one on Tuesday, the first of December. Is that right?",
        "The pick-up is booked for Tuesday, the first of December. It is booked. Is there anything else?",
    ]
    assert [(call.tool, dict(call.arguments), call.key) for call in talked.tools.done] == [
        ("find_repair", {"ticket": "4711"}, "CA1/help/sort_out/1"),
        (
            "book_pick_up",
            {"ticket": "4711", "day": "2026-12-01", "phone": "+15550100"},
            "CA1/help/sort_out/2",
        ),
    ]
    dropped = [event.dropped for event in talked.of(ev.Talked) if isinstance(event, ev.Talked)]
    assert dropped == [(), (), ("That's forty dollars.",), ("I have booked it for you.",), ()]


def test_in_voice_a_thought_is_thrown_away_when_the_caller_goes_on() -> None:
    def prepare(models: FakeModels) -> None:
        models.routes, models.talk_s = ROUTES, 1.0
        models.scripted = [proposed("", call="find_repair", ticket="4711"), proposed("Your bike is ready.")]

    played = play(
        [(4.0, "it is about a bike"), (6.0, "with ticket 4711")],
        for_s=20,
        agent=FRONT_OFFICE,
        tools=workshop(),
        prepare=prepare,
    )
    assert len(played.models.requests) == 3
    assert "it is about a bike with ticket 4711" in played.models.requests[1].messages[-1].content
    assert [call.arguments for call in played.tools.done] == [{"ticket": "4711"}]
    assert played.heard()[1] == "Your bike is ready."


def test_questions_persons_and_calling_off_work_there_as_anywhere() -> None:
    asked = talk([*LINES[:1], "when are you open", "forget it"], BOOKING)
    assert asked.said[2:] == [
        "We are open Monday to Saturday from nine to six. What is the ticket number?",
        "All right, I'll leave it at that.",
    ]
    at_read_back = talk([*LINES[:3], "when are you open", "yes"], BOOKING)
    assert at_read_back.said[4].startswith(
        "We are open Monday to Saturday from nine to six. So you'll pick up the bike"
    )
    assert [call.tool for call in at_read_back.tools.done] == ["find_repair", "book_pick_up"]
    both = talk([*LINES[:1], "my ticket number is 4711, and when are you open"], BOOKING)
    assert both.said[2] == (
        "We are open Monday to Saturday from nine to six. Let me look. Your bike is ready. "
        "On which day would you like to pick it up?"
    )
    again = talk([*LINES[:2], "say that again"], BOOKING)
    assert again.said[3] == again.said[2]
    goodbye = talk([*LINES[:2], "goodbye"], BOOKING)
    assert (goodbye.said[-1], goodbye.call.end) == ("Thank you for calling Harbour Bikes. Goodbye!", "farewell")


def test_a_value_that_the_caller_never_said_does_not_become_known() -> None:
    talked = talk(LINES[:1], [proposed("Okay.", ticket="4711", call="find_repair")])
    assert talked.said[1] == "Okay. What is the number on your repair ticket?"
    assert (talked.tools.done, dict(talked.call.state.values)) == ([], {})


def test_a_model_that_says_nothing_that_holds_leaves_the_file_s_words() -> None:
    lies = proposed("We will refund you. Your bike was stolen on Monday.", leave="the_back_door")
    assert talk(LINES[:1], [lies]).said[1] == "What is the number on your repair ticket?"


def test_a_model_that_calls_the_same_tool_for_ever_is_stopped() -> None:
    def prepare(models: FakeModels) -> None:
        models.otherwise = proposed("Let me look.", call="find_repair", ticket="4711")

    talked = talk(["it's 4711"] * 12, [], prepare=prepare)
    assert len(talked.tools.done) == FRONT_OFFICE.flows["help"].nodes["sort_out"].limits.tools  # type: ignore[union-attr]
    assert talked.said[12] == "I'm sorry, I can't sort that out now. Please call the workshop again a little later."


@settings(max_examples=25, deadline=None)
@given(
    answers=st.lists(
        st.builds(
            lambda say, call, leave, ticket, day: proposed(say, call=call, leave=leave, ticket=ticket, day=day),
            say=st.sampled_from(["", "We will refund you.", "It is booked.", "It costs nine dollars.", "Which day?"]),
            call=st.sampled_from([None, "find_repair", "book_pick_up", "burn"]),
            leave=st.sampled_from([None, None, "window"]),
            ticket=st.sampled_from(["4711", "1234", "ticket"]),
            day=st.sampled_from(["Tuesday", "Friday", ""]),
        ),
        max_size=8,
    )
)
def test_whatever_a_model_answers_nothing_is_written_without_a_yes_nor_claimed_that_is_not_so(
    answers: list[str],
) -> None:
    talked = talk(["it's 4711", "on Tuesday", "hm", "no", "what else"], [*answers, *[proposed("")] * 20])
    assert [call.tool for call in talked.tools.done if call.tool != "find_repair"] == []
    said = " ".join(talked.said)
    assert all(text not in said for text in ("refund", "dollars", "It is booked", "1234", "Friday"))
    assert all(talked.said)


@pytest.mark.parametrize("fault", ["broken", "stuck", "nonsense"])
def test_a_model_that_is_down_late_or_answers_nonsense_leads_to_the_way_for_that(fault: str) -> None:
    def prepare(models: FakeModels) -> None:
        models.broken = {"talk"} if fault == "broken" else set()
        models.stuck = {"talk"} if fault == "stuck" else set()
        models.otherwise = "Sure! I can help." if fault == "nonsense" else proposed("Okay.")

    talked = talk(LINES[:1], [], prepare=prepare)
    assert talked.said[1] == "I'm sorry, I can't sort that out now. Please call the workshop again a little later."
    assert [event.stage for event in talked.of(ev.StageFailed) if isinstance(event, ev.StageFailed)] == ["reply"]


def test_a_tool_that_says_no_is_told_in_the_file_s_words_and_the_talk_goes_on() -> None:
    tools = workshop(book_pick_up=ToolResult("rejected", {}, "full"))
    again = proposed("I couldn't book the pick-up. Which other day would you like?")
    talked = talk(LINES, [*BOOKING[:4], again], tools=tools)
    assert talked.said[4] == (
        "I'm sorry, we are full on Tuesday, the first of December. I couldn't book the pick-up. "
        "Which other day would you like?"
    )


def test_a_call_that_is_cut_off_at_the_read_back_goes_on_there_and_books_once() -> None:
    before = talk(LINES[:3], BOOKING)
    memory = before.saved[-1]
    kept: TypeAdapter[Memory] = TypeAdapter(Memory)
    after = talk(["yes please"], BOOKING[4:], memory=kept.validate_json(kept.dump_json(memory)))
    assert after.said[0].endswith("on Tuesday, the first of December. Is that right?")
    assert [(call.tool, call.key) for call in after.tools.done] == [("book_pick_up", "CA1/help/sort_out/2")]


def test_in_spanish() -> None:
    talked = talk(
        ["hola", "quiero recoger mi bici", "el martes", "sí, correcto"],
        [
            proposed("Claro, ¿qué día le viene bien? Le regalamos un casco."),
            proposed("Ya está reservada.", call="reserve", day="el martes"),
            proposed("", leave="hecho"),
        ],
        agent=SPANISH,
    )
    assert talked.said == [
        "Taller, buenos días.",
        "¿Qué desea?",
        "¿Qué día le viene bien?",
        "La recogida es el martes, uno de diciembre, ¿es correcto?",
        "Queda reservada. Gracias por llamar.",
    ]


def test_what_a_business_system_has_told_earlier_in_the_call_may_be_said() -> None:
    known = CallState(values={"bike_state": Value("waiting for a part", source="tool")})
    said = talk(LINES[:1], [proposed("Your bike is waiting for a part. It is ready.")], memory=Memory(known))
    assert said.said[1] == "Your bike is waiting for a part."


@dataclass
class FakeClock(LoopClock):
    """Whose wall time a test sets."""

    wall_s: float = 0.0

    def wall_time_s(self) -> float:
        return self.wall_s


async def test_a_conversation_ends_once_its_time_is_over() -> None:
    models = FakeModels(utterances=[], otherwise=proposed("Okay."))
    desk = WorkflowEngine(
        FRONT_OFFICE.flows, FRONT_OFFICE.variables, call_id="CA1", now=lambda: NOW, tools=FRONT_OFFICE.tools
    )
    clock = FakeClock()
    talker = Talker(FRONT_OFFICE, models, desk, lambda event: None, clock)
    first = await talker.think(desk.start(CallState(), "help", "", 1).state, (), "hello", (), 1, "r")
    clock.wall_s = 239.0
    second = await talker.think(desk.answer(first.step.state, "hm", 2).state, (), "hm", (), 2, "r")
    clock.wall_s = 241.0
    third = await talker.think(desk.answer(second.step.state, "hm", 3).state, (), "hm", (), 3, "r")
    assert [thought.clauses[0].text for thought in (first, second)] == ["Okay.", "Okay."]
    assert third.clauses[0].text.startswith("I'm sorry, I can't sort that out")
    assert third.step.state.stack == ()


def test_conversations_that_hand_a_caller_to_one_another_come_to_an_end() -> None:
    text = (Path(__file__).parents[2] / "configs" / "agents" / "front_office.yaml").read_text()
    text = text.replace("ways: {done: anything_else", "ways: {done: sort_out")
    circling = agent_of(parse_mapping(text, "test"), Path("test"))
    talked = talk(LINES[:1], [proposed("", leave="done")] * 10, agent=circling)
    assert len(talked.models.requests) == MOST_IN_A_ROW
    assert talked.said[1].startswith("I'm sorry, I can't sort that out now.")


def test_the_model_is_shown_no_secrets_and_bound_to_what_it_may_decide() -> None:
    secret = FRONT_OFFICE.model_copy(
        update={
            "variables": {
                **FRONT_OFFICE.variables,
                "ticket": FRONT_OFFICE.variables["ticket"].model_copy(update={"sensitive": True}),
            }
        }
    )
    talked = talk([*LINES[:2], "hm"], [*BOOKING[:2], proposed("Okay."), proposed("Okay.")], agent=secret)
    assert len(talked.models.requests) == 4
    told = "\n".join(message.content for request in talked.models.requests[2:] for message in request.messages)
    assert "4711" not in told
    assert "four seven" not in told
    assert "repair ticket: told, and not shown" in told
    bound = json.loads(json.dumps(talked.models.schemas[0]))
    assert bound["properties"]["call"]["enum"] == ["find_repair", "book_pick_up", None]
    assert bound["properties"]["leave"]["enum"] == ["done", "nothing_for_us", None]
    assert set(bound["properties"]["set"]["properties"]) == {"ticket", "day"}


async def test_without_a_language_model_there_is_no_free_conversation() -> None:
    with pytest.raises(ModelFailure, match="no language model"):
        await FactsAsWritten().structured(GenerateRequest("r", (Message("user", "hello"),)), {})
    with pytest.raises(ModelFailure, match="no answer of the form"):
        proposal('{"say": 7}')
