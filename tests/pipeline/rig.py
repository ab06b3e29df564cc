"""Plays a call under virtual time between fake models and a fake line."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call import Call
from pipeline.call_models import CallModels
from pipeline.call_services import CallServices
from pipeline.clauses import split_clauses
from pipeline.clock import LoopClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.dialogue_manager import DialogueManager
from pipeline.fixed_lines import fixed_texts
from pipeline.language_switcher import AgentSpec
from pipeline.partials import PartialBudget, When
from pipeline.preemptive_generation import PreemptiveBudget
from pipeline.state import CallState, Memory
from pipeline.workflow.engine import WorkflowEngine
from tests.pipeline.agents import AGENT
from tests.pipeline.fakes import (
    OPENINGS,
    FakeLine,
    FakeModels,
    FakeTools,
    FakeVad,
    decision,
    speech_audio,
    speech_chunk,
)
from tests.virtual_time import run_virtual

FRAME = 320
NOW = datetime(2026, 11, 25, 10)
ROUTES = {
    "hours": decision("knowledge", "hours"),
    "price": decision("knowledge", "cleaning"),
    "moon": decision("knowledge", "hours", score=0.1),
    "book": decision("booking"),
    "bye": decision("farewell"),
    "person": decision("person"),
}
GENERATED = {
    "hours": ["Sure, we are open Monday to Friday from eight to five."],
    "price": ["A cleaning costs ninety dollars."],
}


@dataclass
class Played:
    """What came of a call."""

    log: list[ev.Event]
    line: FakeLine
    models: FakeModels
    call: Call
    tools: FakeTools
    saves: list[tuple[str, Memory]]
    """With the name of the agent that had the word."""

    @property
    def saved(self) -> list[Memory]:
        return [memory for _, memory in self.saves]

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [event for event in self.log if isinstance(event, kind)]

    def heard(self) -> list[str]:
        return [event.heard for event in self.log if isinstance(event, ev.ReplyEnded)]


Step = tuple[float, str | Callable[[Call], None]]
BOOKING: list[Step] = [
    (3.0, "I want to book"),
    (9.5, "Tuesday at ten please"),
    (15.0, "my name is John Miller"),
    (23.0, "yes that is right"),
]
SLOW = 4.0
"""Seconds that the business system takes: the caller can do much meanwhile."""


def play(
    steps: list[Step],
    *,
    for_s: float,
    agent: Agent = AGENT,
    prepare: Callable[[FakeModels], None] = lambda models: None,
    on_partials: bool = False,
    partials: When = "always",
    tools: FakeTools | None = None,
    services: CallServices | None = None,
    others: Sequence[Agent] = (),
    given: Callable[[CallModels], CallModels] = lambda models: models,
) -> Played:
    """Run a call: at each step's second the caller starts to say its text, or the function is called.

    `others`: agents for other languages, on the same models and tools. `given`: what the call gets of the models.
    """
    utterances = [text for _, text in steps if isinstance(text, str)]
    models = FakeModels(utterances=utterances, routes=ROUTES, generated=GENERATED)
    prepare(models)
    line = FakeLine()
    tools = tools or FakeTools()
    result: list[Played] = []
    memories: list[tuple[str, Memory]] = []

    async def main() -> None:
        clock = LoopClock()
        log = ev.EventLog(clock)

        def spec(one: Agent) -> AgentSpec:
            return AgentSpec(
                one,
                given(CallModels(models, models, models, models, models)),
                {clause: (speech_chunk(clause),) for text in fixed_texts(one) for clause in split_clauses(text)},
                AgentContext(one, RoughCounter()),
                dataclasses.replace(
                    services or CallServices(),
                    call_id="CA1",
                    tools=tools,
                    now=lambda: NOW,
                    save=lambda memory: memories.append((one.name, memory)),
                ),
            )

        call = Call(
            spec(agent),
            others=[spec(other) for other in others],
            vad=FakeVad(),
            line=line,
            log=log,
            clock=clock,
            preemptive=PreemptiveBudget(at_once=1, waste_share=1.0, on_partials=on_partials),
            partials=PartialBudget(clock, when=partials),
        )
        line.listener = call
        running = asyncio.create_task(call.run())
        await asyncio.sleep(0)
        track = np.zeros(int(for_s * 16_000), np.float32)
        number = 0
        actions: list[tuple[float, Callable[[Call], None]]] = []
        for at_s, what in steps:
            if isinstance(what, str):
                number += 1
                audio = speech_audio(number, what)
                track[int(at_s * 16_000) : int(at_s * 16_000) + audio.size] = audio
            else:
                actions.append((at_s, what))
        for index in range(0, track.size, FRAME):
            while actions and index / 16_000 >= actions[0][0]:
                actions.pop(0)[1](call)
            call.feed(track[index : index + FRAME])
            await asyncio.sleep(0.02)
            if running.done():
                break
        call.caller_gone("caller_hung_up")
        await running
        result.append(Played(list(log), line, models, call, tools, memories))

    run_virtual(main())
    return result[0]


def booked(played: Played) -> list[dict[str, str]]:
    """What was written by the call."""
    done = [event for event in played.log if isinstance(event, ev.ToolFinished)]
    return [event.arguments for event in done if event.effect == "write" and event.status == "ok"]


def manager(
    generated: dict[str, list[str]] | None = None,
    agent: Agent = AGENT,
    *,
    tools: FakeTools | None = None,
    memory: Memory | None = None,
) -> tuple[DialogueManager, FakeModels]:
    """A dialogue manager by itself; unless it goes on from a `memory`, the openings have been looked up."""
    models = FakeModels(utterances=[], generated=generated or {}, first_clause_s=0)
    services = CallServices(
        call_id="CA1", tools=tools or FakeTools(), now=lambda: NOW, memory=memory or Memory(looked_up(agent))
    )
    context = AgentContext(agent, RoughCounter())
    return DialogueManager(
        agent, models, context, services, spawn=_spawn, log=lambda event: None, clock=LoopClock()
    ), models


def looked_up(agent: Agent = AGENT) -> CallState:
    """Where a call stands that the openings have been looked up for."""
    engine = WorkflowEngine(agent.flows, agent.variables, call_id="CA1", now=lambda: NOW)
    return engine.tool_done(engine.start(CallState(), "arrive", "", 0).state, OPENINGS).state


def _spawn(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)
