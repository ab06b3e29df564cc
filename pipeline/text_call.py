"""A call in text: the very call that callers get, on a line of text. For trials and conversations' tests."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from models.types import GenerateRequest, ModelFailure
from pipeline import events as ev
from pipeline.agent import Agent
from pipeline.call import Call, EndReason
from pipeline.call_models import CallModels
from pipeline.call_services import CallServices
from pipeline.clauses import split_clauses
from pipeline.clock import Clock, StoppableClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.escalation import HandOver
from pipeline.language_switcher import AgentSpec
from pipeline.partials import PartialBudget
from pipeline.ports import LanguageModel, Router, UnderstandingModel
from pipeline.preemptive_generation import PreemptiveBudget
from pipeline.state import CallState
from pipeline.text_line import NoEars, TextLine, Writer, written_lines
from pipeline.understanding.settings import UnderstandingPolicy

_WORD_S = 0.3
"""How long a voice takes for a word, about."""
_POLICY = UnderstandingPolicy()


class FactsAsWritten:
    """A language model that is none: it says the fact it is handed."""

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        fact = request.messages[-1].content.rpartition("\nFact: ")[2]
        for clause in split_clauses(fact):
            yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        raise ModelFailure("there is no language model; free conversations need one")

    async def prefill(self, request: GenerateRequest) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Said:
    """The agent's side of a turn."""

    text: str
    route: str = ""
    """Label and confidence, for people to read."""


class TextCall:
    """One call; `open` it inside a running event loop, `close` it at the end.

    What the caller does returns once the agent has nothing more to say. In between the call's time stands still: who
    writes may take as long as he likes. While one deed is being answered, a key may be pressed.
    """

    def __init__(
        self,
        agent: Agent,
        router: Router,
        language_model: LanguageModel,
        services: CallServices,
        clock: Clock,
        *,
        understanding: UnderstandingModel | None = None,
        policy: UnderstandingPolicy = _POLICY,
    ) -> None:
        """Without a model for `understanding` the router decides by rules."""
        self._clock = StoppableClock(clock)
        self.log = ev.EventLog(self._clock)
        self.log.subscribe(self._note)
        self._services = services
        self._line = TextLine()
        ears = NoEars()
        self._call = Call(
            AgentSpec(
                agent,
                CallModels(
                    ears,
                    router,
                    language_model,
                    Writer(),
                    ears,
                    understanding=understanding,
                    understanding_policy=policy,
                ),
                written_lines(agent),
                AgentContext(agent, RoughCounter()),
                dataclasses.replace(services, hand_over=self._give),
            ),
            vad=ears,
            line=self._line,
            log=self.log,
            clock=self._clock,
            preemptive=PreemptiveBudget(at_once=0, waste_share=0.0),
            partials=PartialBudget(self._clock),
        )
        self._line.attach(self._call)
        self._running: asyncio.Task[None] | None = None
        self._spoke = asyncio.Event()
        self._route = ""
        self.end: EndReason | None = None
        self.hand_over: HandOver | None = None

    @property
    def state(self) -> CallState:
        return self._call.manager.state

    async def open(self) -> Said:
        """The agent answers the call."""
        self._running = asyncio.create_task(self._call.run())
        greeting = await self._listen(None)
        # A caller hears the greeting out before he speaks, and what is looked up meanwhile is mostly there by then.
        with self._clock.going(), suppress(TimeoutError):
            async with asyncio.timeout(_WORD_S * len(greeting.text.split())):
                await self._call.manager.tools_done()
        return greeting

    async def close(self) -> None:
        """The caller hangs up, if the call is not over yet. Raises what the call failed of, if it did."""
        self._call.caller_gone("caller_hung_up")
        if self._running is not None:
            await self._running

    async def say(self, utterance: str, *, unclear: bool = False) -> Said:
        """The caller says something, perhaps in vain (''); the whole reply."""
        return await self._listen(lambda: self._call.hear_words(utterance, unclear=unclear))

    async def press(self, keys: str) -> Said:
        """The caller presses keys, one right after another; the reply, if they have a meaning."""

        def press_all() -> None:
            for key in keys:
                self._call.press(key)

        return await self._listen(press_all)

    async def silence(self) -> Said:
        """The caller stays silent until the agent speaks up."""
        return await self._listen(None)

    async def _listen(self, deed: Callable[[], None] | None) -> Said:
        """What the agent says to the deed; without one, what it says of its own accord."""
        since = len(self._line.said)
        self._route = ""
        with self._clock.going():
            if deed is not None:
                deed()
            else:
                self._spoke.clear()
                await self._spoke.wait()
            await self._call.replied()
            if self._line.hung_up and self._running is not None:
                await asyncio.wait({self._running})
        return Said(" ".join(self._line.said[since:]), self._route)

    async def _give(self, package: HandOver) -> None:
        self.hand_over = package
        await self._services.hand_over(package)

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.Routed(label=label, confidence=confidence, passage_ids=ids, passage_scores=scores):
                near = f", {ids[0]} {scores[0]:.2f}" if ids else ""
                self._route = f"{label} {confidence:.2f}{near}"
            case ev.Understood(way="fast" | "model" as way, evidence=evidence):
                means = ", ".join(f"{label} {share:.2f}" for label, share in evidence.items())
                self._route = f"{self._route}; {way}: {means}"
            case ev.ReplyEnded():
                self._spoke.set()
            case ev.CallEnded(reason=reason):
                self.end = reason
                self._spoke.set()
