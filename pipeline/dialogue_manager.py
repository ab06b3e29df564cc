"""The agent's side of one call, in speech or text: what to say and to do, what is under way, what is remembered.

Planning changes nothing, since most plans are made before the caller's turn is certain to be over; `commit` makes a
plan count once its first word has gone out. A reply that is broken into is gone, but what was begun in the caller's
name is not: its result reaches the state, and what is to be said of it is kept until the caller has heard it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Coroutine, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from models.types import GenerateRequest, Message
from pipeline.agent import Agent
from pipeline.answers import AnswerWriter
from pipeline.call_services import CallServices
from pipeline.clock import Clock
from pipeline.context.of_agent import AgentContext
from pipeline.context.parts import Ask, Exchange, Known
from pipeline.endpointing import asks_in_earnest
from pipeline.escalation import HandOver, hand_over
from pipeline.events import Event
from pipeline.filling import CERTAINTY, fill_request
from pipeline.plan import AwaitsTool, ByTools, CallsTool, Clause, EndsCall, Plan, Says, Thinks, clauses_of_text
from pipeline.policy import DialoguePolicy
from pipeline.ports import LanguageModel
from pipeline.state import CallState, HangUp, Memory, News, Transfer, variables_set
from pipeline.talk import Talker
from pipeline.tool_executor import ToolExecutor
from pipeline.tools.calls import ToolCall
from pipeline.understanding.acts import Understood
from pipeline.understanding.hours import HoursInAnswer
from pipeline.workflow.engine import Step, WorkflowEngine

HISTORY_MESSAGES = 200
"""What is kept of a call's conversation; older messages are dropped."""


class DialogueManager:
    """Built once a call; a call that is resumed goes on from the services' memory."""

    def __init__(
        self,
        agent: Agent,
        language_model: LanguageModel,
        context: AgentContext,
        services: CallServices,
        *,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        log: Callable[[Event], object],
        clock: Clock,
    ) -> None:
        """`spawn` starts work that lives as long as the call."""
        self._agent = agent
        self._services = services
        self._spawn = spawn
        self._log = log
        self._engine = WorkflowEngine(
            agent.flows,
            agent.variables,
            call_id=services.call_id,
            caller=services.caller,
            now=services.now,
            hours=agent.hours,
            language=agent.language,
            tools=agent.tools,
        )
        self._policy = DialoguePolicy(agent, self._engine)
        self._hours = HoursInAnswer(agent, services.now)
        self._executor = ToolExecutor(self._engine, services.tools, log=log, saved=services.saved, think=self._gone_on)
        self._memory = services.memory or Memory()
        self._context = context.of_call(self._memory.context)
        self._writer = AnswerWriter(agent, language_model, self._context)
        self._talker = Talker(agent, language_model, self._engine, log, clock)
        self._tools: asyncio.Task[None] | None = None
        self._committed: tuple[Plan, ...] = ()
        """What counted last, with what it came to once its tools were done."""
        self._before: Memory | None = None
        """As it was without what counted last; None: there is no way back."""

    # -- where the call stands -------------------------------------------------------------------------------------

    @property
    def state(self) -> CallState:
        return self._memory.state

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation as it was heard on both sides, oldest first."""
        return self._memory.history

    @property
    def memory(self) -> Memory:
        """What must not be forgotten."""
        return replace(self._memory, context=self._context.history)

    @property
    def in_flow(self) -> bool:
        """Whether a flow is under way."""
        return bool(self.state.stack)

    @property
    def tools_at_work(self) -> bool:
        return self._tools is not None and not self._tools.done()

    @property
    def has_news(self) -> bool:
        """Whether something that was done for the caller has not been told, or is still being done."""
        return self.tools_at_work or bool(self._memory.untold)

    @property
    def last_said(self) -> str:
        """The agent's last words as heard."""
        said = [message.content for message in self.history if message.role == "assistant"]
        return said[-1] if said else self._agent.lines.greeting

    def surely_answered(self, utterance: str) -> bool:
        """Whether a reader is sure that this answers what was asked, and asks nothing back."""
        asked_back = asks_in_earnest(utterance, self._agent.language)
        return not asked_back and self._engine.surely_answers(self.state, utterance)

    def told_flows(self, utterance: str) -> Mapping[str, int]:
        """How many values it surely tells that each flow would ask for, of kinds that are seldom said otherwise."""
        return self._engine.told_flows(utterance)

    def only_tells(self, part: str) -> bool:
        """Whether a part of an utterance tells a number that flows ask for, and nothing else."""
        return self._engine.only_tells(part)

    def package(self) -> HandOver | None:
        """What whoever takes the call over gets to know; None if the call is not about to be handed over."""
        closing = self.state.closing
        if not isinstance(closing, Transfer):
            return None
        return hand_over(closing, self.state, self.history, self._agent.variables, self._engine)

    # -- how to answer: changes nothing ----------------------------------------------------------------------------

    def plan(self, utterance: str, understood: Understood, turn: int = 0) -> Plan:
        """How to answer. Pure: nothing changes until `commit`."""
        plan: Plan
        if self.tools_at_work:
            plan = AwaitsTool(utterance, understood=understood)
        else:
            understood = self._hours.told(understood, utterance, in_flow=self.state.waiting != "free")
            plan = self._policy.decide(utterance, understood, self.state, turn, self.last_said)
            plan = self._with_news(self._with_model(plan, understood))
        return replace(plan, language=self._agent.language)

    def not_understood(self, utterance: str = "", turn: int = 0) -> Plan:
        """The plan for speech without words, or with words that were probably misheard."""
        return replace(self._policy.not_understood(utterance, self.state, turn), language=self._agent.language)

    def news(self) -> Plan:
        """The plan for telling what came of something that was begun before."""
        return AwaitsTool("")

    def answers(self, plan: Plan) -> bool:
        """Whether the plan answers the utterance; else it was outside our knowledge, or misheard."""
        return self._policy.answers(plan)

    def to_fill(self, plan: Plan, request_id: str) -> GenerateRequest | None:
        """What a language model is asked, to find in the utterance what was asked for; None: it is not to be asked."""
        fillable = self._engine.fillable(self.state) if plan.unfit else None
        if fillable is None:
            return None
        variable, context = fillable
        return fill_request(variable, self._engine.prompt(self.state), plan.utterance, context, request_id)

    def filled(self, plan: Plan, words: str, turn: int) -> Plan:
        """The plan, or another if these words of the utterance are what was asked for."""
        state = replace(self.state, misses=0, unclear=0)
        step = self._engine.answer(state, words, turn, certainty=CERTAINTY)
        if not step.fitted:
            return plan
        filled = self._policy.step_plan(plan.utterance, step, ending="may_go_on")
        return replace(self._with_news(filled), language=self._agent.language)

    async def thought(self, plan: Plan, turn: int, request_id: str) -> Plan:
        """What a free conversation comes to by a language model's word; any other plan is as it was. Never raises for a
        model that fails: the flow goes where its file says."""
        if not isinstance(plan, Thinks):
            return plan
        state = plan.state or self.state
        thought = await self._talker.think(
            state, plan.fixed, plan.utterance, self.history, turn, request_id, answered=plan.facts
        )
        made = self._policy.step_plan(plan.utterance, thought.step, ending=plan.ending, clauses=thought.clauses)
        return replace(made, facts=plan.facts, model=plan.model, choice=plan.choice, language=plan.language)

    async def _gone_on(self, step: Step, turn: int) -> Step:
        """The same for what a tool has come to."""
        request_id = f"{self._services.call_id}/tool-{step.state.visits}"
        told = tuple(clause for text in step.says for clause in clauses_of_text(text, "form"))
        thought = await self._talker.think(step.state, told, "", self.history, turn, request_id)
        return replace(thought.step, says=tuple(clause.text for clause in thought.clauses))

    def _with_model(self, plan: Plan, understood: Understood) -> Plan:
        if not plan.facts:
            return plan
        route = self._agent.route(understood.label)
        by_node = self._engine.model(self.state)
        return replace(plan, model=by_node if by_node != "auto" or route is None else route.model)

    def _with_news(self, plan: Plan) -> Plan:
        """The news come first; a question among them only if the utterance has not answered it, and it is not put again
        by the plan itself."""
        again = {clause.text for clause in plan.fixed}
        in_vain = plan.state is not None and plan.state.tries > self.state.tries
        news = tuple(one for one in self._memory.untold if not one.asks or (in_vain and one.text not in again))
        return replace(plan, fixed=(*_clauses(news), *plan.fixed))

    # -- what happens ----------------------------------------------------------------------------------------------

    def open(self, turn: int) -> Plan:
        """What the call begins with.

        Begins what is looked up while the greeting is said, or goes on where a call that was cut off stood.
        """
        lines = self._agent.lines
        if self._services.memory is None:
            self.look_up(turn)
            return Says("", fixed=clauses_of_text(lines.greeting, "greeting"))
        pending = self._engine.pending_call(self.state)
        if pending is not None:
            # Under the key it had: what was done before the cut is not done again.
            self._begin(self.state, pending, turn)
        if self.has_news:
            # They end with what is asked next.
            return AwaitsTool("", fixed=clauses_of_text(lines.resumed, "greeting"))
        if not self.state.visits and not self.in_flow:
            # It was cut off before that was found out.
            self.look_up(turn)
        return Says("", fixed=clauses_of_text(f"{lines.resumed} {self._said_before_the_cut()}".strip(), "greeting"))

    def look_up(self, turn: int) -> None:
        """Begin what the agent looks up while the greeting is said, if it does."""
        if self._agent.on_call is None:
            return
        step = self._engine.start(self.state, self._agent.on_call, "", turn)
        if isinstance(step.act, ToolCall):
            self._begin(step.state, step.act, turn)

    def commit(self, plan: Plan, turn: int = 0) -> bool:
        """The plan counts: its reply has become audible, or its act begins. Whether it did not count before."""
        if any(plan is one for one in self._committed):
            return False
        self._committed = (plan,)
        memory, closing = self._memory, self.state.closing
        if plan.utterance and isinstance(closing, HangUp):
            # Who speaks over the goodbye is not hung up on.
            closing = None
        self._before = replace(memory, state=replace(memory.state, closing=closing))
        if isinstance(plan, EndsCall):
            closing = plan.how
        memory = replace(memory, state=replace(plan.state or memory.state, closing=closing))
        if plan.utterance and not isinstance(plan, AwaitsTool):
            memory = memory.having_answered(asked_again={clause.id for clause in plan.fixed})
        said = Message(role="user", content=plan.utterance)
        if plan.utterance and said not in memory.history[-1:]:
            memory = _with_message(memory, said)
        self._keep(memory)
        if isinstance(plan, CallsTool):
            self._begin(self.state, plan.call, turn)
        return True

    def take_back(self, plan: Plan) -> str:
        """The caller had not finished: undo the plan, if it was the last to count, and give the words it answered.

        Empty if there is nothing to undo, or if something was begun that cannot be undone.
        """
        last = any(plan is one for one in self._committed)
        if not last or self._before is None or isinstance(plan, ByTools):
            return ""
        self._keep(replace(self._memory, state=self._before.state, history=self._before.history))
        self._committed, self._before = (), None
        return plan.utterance

    def heard(self, text: str, told: Container[str] = ()) -> bool:
        """These words of the agent reached the caller; `told`: the ids of the clauses heard whole, of those that have
        one. Whether prompts begin otherwise from now on: turns were dropped, and the engine should read the new
        beginning before the next question (`warm_up`)."""
        if not text:
            return False
        unanswered = itertools.takewhile(lambda message: message.role == "user", reversed(self.history))
        caller = " ".join(message.content for message in reversed(list(unanswered)))
        trimmed = self._context.add(Exchange(caller, text), self._known_values())
        self._keep(_with_message(self._memory.having_told(told), Message(role="assistant", content=text)))
        return trimmed

    async def tools_done(self) -> None:
        """Wait until everything begun is done. Cancelling the wait cancels nothing else."""
        if self._tools is not None:
            await asyncio.shield(self._tools)

    async def clauses(
        self, plan: Plan, turn: int, request_id: str, begin: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Clause, None]:
        """The reply's clauses, as early as each is certain. Raises ModelFailure.

        `begin` is awaited before anything is done that cannot be undone: it returns once the turn is decided and the
        plan committed.
        """
        tier = plan.choice.tier if plan.choice else "small"
        if plan.facts:
            answer = self._writer.clauses(plan.facts, plan.utterance, self._known_values(), request_id, tier)
            async with aclosing(answer) as clauses:
                async for clause in clauses:
                    yield clause
        for clause in plan.fixed:
            yield clause
        if not isinstance(plan, ByTools):
            return
        await begin()
        await self.tools_done()
        if isinstance(plan, CallsTool) or plan.understood is None:
            told = {clause.id for clause in plan.fixed}
            for clause in _clauses(self._memory.untold):
                if clause.id not in told:
                    yield clause
            return
        # Its news come first in the plan for what was said meanwhile.
        again = await self.thought(self.plan(plan.utterance, plan.understood, turn), turn, request_id)
        counted = self._committed
        self.commit(again, turn)
        self._committed = (*counted, again)
        async with aclosing(self.clauses(again, turn, request_id, begin)) as clauses:
            async for clause in clauses:
                yield clause

    def _begin(self, state: CallState, call: ToolCall, turn: int) -> None:
        """Start a call and all that follow from it; does nothing if one is under way."""
        if not self.tools_at_work:
            self._tools = self._spawn(self._carry_out(state, call, turn))

    async def _carry_out(self, state: CallState, call: ToolCall, turn: int) -> None:
        async with aclosing(self._executor.outcomes(state, call, turn)) as outcomes:
            async for outcome in outcomes:
                closing = self.state.closing or outcome.ending
                after = replace(outcome.state, closing=closing)
                self._before = None
                self._keep(replace(self._memory, state=after, untold=(*self._memory.untold, *outcome.news)))

    def _said_before_the_cut(self) -> str:
        """What is said again of what a call that was cut off has come to."""
        match self.state.closing:
            case Transfer():
                return self._agent.escalation.line if self._agent.escalation else ""
            case HangUp(reason="abuse"):
                return self._agent.lines.abuse_farewell
            case HangUp():
                return self._agent.lines.farewell
            case None:
                return self._engine.prompt(self.state)

    def _keep(self, memory: Memory) -> None:
        for event in variables_set(self.state.values, memory.state, self._agent.variables):
            self._log(event)
        self._memory = memory
        self._services.save(self.memory)

    # -- its prompts -----------------------------------------------------------------------------------------------

    async def anticipate(self, plan: Plan, request_id: str) -> bool:
        """Have the engine read the prompt that the plan leads to; whether there is one. Raises ModelFailure."""
        if plan.fact is None:
            return False
        ask = Ask(question=plan.utterance, fact=plan.fact.text)
        return await self._writer.read(ask, self._known_values(), request_id)

    async def warm_up(self, request_id: str) -> None:
        """Have the prompt's stable part in the engine's prefix cache before the next question. Raises ModelFailure."""
        await self._writer.read(Ask(), self._known_values(), request_id)

    async def prepare_summary(self) -> None:
        """Have older turns summarised before they are dropped; run it beside the call after each reply."""
        if self._context.shows_turns:
            await self._context.prepare_summary()

    def _known_values(self) -> tuple[Known, ...]:
        if not self._context.shows_turns:
            return ()
        variables = self._agent.variables
        return tuple(
            Known(
                name.replace("_", " "),
                self._engine.spoken(self.state, name),
                confirmed=value.confirmed,
                from_system=value.source == "tool",
                sensitive=name in variables and variables[name].sensitive,
                words=value.words,
            )
            for name, value in self.state.values.items()
        )


def _clauses(news: Iterable[News]) -> tuple[Clause, ...]:
    return tuple(Clause(one.text, "form", id=one.id) for one in news)


def _with_message(memory: Memory, message: Message) -> Memory:
    return replace(memory, history=(*memory.history, message)[-HISTORY_MESSAGES:])
