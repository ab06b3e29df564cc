"""What to say: an utterance, where it was routed and what is known about it become the clauses of a reply.

Planning changes nothing, since most plans are made before the caller's turn is certain to be over; `commit` makes a
plan count once its first word has gone out.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from models.types import GenerateRequest, Message, ModelFailure, RouteDecision, Tier
from pipeline.agent import Agent, Fact, Route
from pipeline.clauses import split_clauses
from pipeline.context.of_agent import AgentContext
from pipeline.context.parts import Ask, Exchange, Known
from pipeline.endpointing import Words, asks, asks_yes_or_no, sounds_unfinished
from pipeline.errands import Errands
from pipeline.escalation import Patience, Reason
from pipeline.events import ReplySource
from pipeline.filling import CERTAINTY, fill_request, pointed_at
from pipeline.grounding import answers, is_borne_out
from pipeline.ports import LanguageModel
from pipeline.slots.types import Language
from pipeline.state import CallState, Memory
from pipeline.tiering import Choice, Override
from pipeline.tools.calls import ToolCall
from pipeline.workflow.engine import Act, HangUp, Step, Transfer, WorkflowEngine, holds

HISTORY_MESSAGES = 200
"""What is kept of a call's conversation; older messages are dropped."""

SURE_ROUTE = 0.9
"""From this confidence on, 'it is a question for us' lets a fact count that is a little further away."""
SURE_ROUTE_SLACK = 0.15
"""How much further."""
CLEARLY_NEAREST = 0.05
"""Such a fact must be nearer than the next one by this much."""
GLOBAL = ("person", "cancel", "repeat")
"""Kinds of routes that are meant wherever the call stands."""
SURE_IN_FLOW = 0.75
"""An utterance that fits what was asked is its answer, unless it is one of those with at least this confidence."""
OTHER_FLOW = 0.6
"""So sure must be that an utterance which did not fit what was asked begins something else."""
ASKED_FOR = 0.95
"""A question this near to one that a fact is written for asks for that fact, whatever the router makes of it."""
_SENTENCE_ENDS = (".", "!", "?")
"""An answer is never stopped in the middle of a sentence."""
TRIES_BEFORE_KEYPAD = 2
"""Utterances in a row that came to nothing."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause to be spoken."""

    text: str
    source: ReplySource
    rejected: str = ""
    """What the language model said instead, if the knowledge did not bear it out."""
    failure: str = ""
    """Why the language model could not be asked, if the fact is said as written for want of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an utterance will be answered."""

    utterance: str
    state: CallState | None = None
    """The call's state once this counts; None: as it is."""
    fixed: tuple[Clause, ...] = ()
    """Clauses known at once; said after those of `fact`, if there is one."""
    fact: Fact | None = None
    """The language model is asked to answer from this."""
    act: Act | None = None
    """What is done once the turn is decided: a tool is called, the call handed over or ended."""
    waits: bool = False
    """What was begun before must finish first; then its news are said, and the utterance is looked at again."""
    decision: RouteDecision | None = None
    """Where the utterance was routed, for that second look."""
    filler: str = ""
    """Said if the act takes long; else the agent's own filler line is."""
    points: int = 0
    """What would be on the count of the caller's lost patience."""
    model: Override = "auto"
    """What route or node say of the language model."""
    choice: Choice | None = None
    """The language model that words the answer from `fact`; None: the small one."""
    unfit: bool = False
    """The utterance did not give what was asked for, as far as the reader sees; `fill` may find it."""
    language: Language = "en"
    ending: Words = "complete"
    """What the answer found tells of the turn's end; see `words`."""

    @property
    def words(self) -> Words:
        """What the utterance tells of the turn's end."""
        return "broken_off" if sounds_unfinished(self.utterance, self.language) else self.ending

    @property
    def acts(self) -> bool:
        """Whether tools have a part in it: nothing of that may happen before the turn is decided."""
        return self.waits or isinstance(self.act, ToolCall)


class Responder:
    """One call's side of the conversation: its history, its state, what is being done for the caller."""

    def __init__(
        self,
        agent: Agent,
        language_model: LanguageModel,
        engine: WorkflowEngine,
        errands: Errands,
        *,
        context: AgentContext,
        memory: Memory | None = None,
        changed: Callable[[Memory], None] = lambda memory: None,
    ) -> None:
        """`memory`: of a call that is resumed. `changed` is told whatever must not be forgotten."""
        self._agent = agent
        self._language_model = language_model
        self._engine = engine
        self._errands = errands
        self._context = context.of_call(memory.context if memory else None)
        self._patience = Patience(agent.escalation) if agent.escalation else None
        self._state = memory.state if memory else CallState()
        self._changed = changed
        self._model_failed = False
        self._history: list[Message] = list(memory.history) if memory else []
        self._committed: Plan | None = None
        self._before = (self._state, 0)
        self._closing: Act | None = engine.ending(self._state)

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation as it was heard on both sides, oldest first."""
        return tuple(self._history)

    @property
    def state(self) -> CallState:
        return self._state

    @property
    def memory(self) -> Memory:
        """What must not be forgotten."""
        return Memory(self._state, tuple(self._history), self._context.history, self._errands.news)

    @property
    def in_flow(self) -> bool:
        """Whether a flow is under way."""
        return bool(self._state.stack)

    @property
    def closing(self) -> Transfer | HangUp | None:
        """How the call is to end once what is being said has been heard; None: it goes on."""
        after = self._closing or self._errands.after
        return after if isinstance(after, Transfer | HangUp) else None

    @property
    def has_news(self) -> bool:
        """Whether something that was done for the caller has not been told, or is still being done."""
        return self._errands.under_way or bool(self._errands.news)

    def commit(self, plan: Plan, turn: int = 0) -> bool:
        """The plan counts: its reply has become audible, or its act begins. Whether it did not count before."""
        if plan is self._committed:
            return False
        self._before = (self._state, len(self._history))
        self._committed = plan
        if plan.state is not None and not plan.waits:
            self._state_is(plan.state)
        if self._patience is not None:
            self._patience.settle(plan.points)
        said = Message(role="user", content=plan.utterance)
        if plan.utterance and said not in self._history[-1:]:
            self._remember(said)
        if plan.utterance and isinstance(self.closing, HangUp):
            # Who speaks over the goodbye is not hung up on.
            self._closing = None
            self._errands.stay()
        if isinstance(plan.act, ToolCall):
            self._errands.begin(self._state, plan.act, turn)
        elif plan.act is not None:
            self._closing = plan.act
        return True

    def take_back(self, plan: Plan) -> str:
        """The caller had not finished: undo the plan, if it was the last to count, and give the words it answered.

        Empty if there is nothing to undo, or if something was begun that cannot be undone.
        """
        if plan is not self._committed or plan.acts:
            return ""
        state, length = self._before
        self._state_is(state)
        del self._history[length:]
        self._committed = self._closing = None
        return plan.utterance

    def changed(self, state: CallState) -> None:
        """A tool's result has changed the state."""
        self._state_is(state)

    def heard(self, text: str) -> bool:
        """These words of the agent reached the caller. Whether prompts begin otherwise from now on: turns were dropped,
        and the engine should read the new beginning before the next question (`warm_up`)."""
        if not text:
            return False
        self._errands.heard(text)
        unanswered = itertools.takewhile(lambda message: message.role == "user", reversed(self._history))
        caller = " ".join(message.content for message in reversed(list(unanswered)))
        trimmed = self._context.add(Exchange(caller, text), self._known_values())
        self._remember(Message(role="assistant", content=text))
        return trimmed

    def not_understood(self, utterance: str = "", turn: int = 0) -> Plan:
        """The plan for speech without words, or with words that were probably misheard.

        Asked again in other words; then the keypad is offered; then a person takes over, or the agent says what happens
        now and hangs up.
        """
        return dataclasses.replace(self._asked_again(utterance, turn), language=self._agent.language)

    def _asked_again(self, utterance: str, turn: int) -> Plan:
        lines, tries = self._agent.lines, self._state.unclear
        state = dataclasses.replace(self._state, unclear=tries + 1)
        ending: Words = "open" if utterance else "may_go_on"
        if tries == TRIES_BEFORE_KEYPAD and lines.keypad:
            return Plan(utterance, state, self._clauses(lines.keypad, "keypad"), ending=ending)
        if tries >= TRIES_BEFORE_KEYPAD and self._agent.escalation is not None:
            return dataclasses.replace(self._to_person(utterance, state, "exhausted", turn), ending=ending)
        if tries >= TRIES_BEFORE_KEYPAD and lines.escalation:
            clauses = self._clauses(lines.escalation, "escalation")
            return Plan(utterance, state, clauses, act=HangUp("escalated"), ending=ending)
        line = lines.not_understood[tries % len(lines.not_understood)]
        return Plan(utterance, state, self._clauses(line, "reprompt"), ending=ending)

    def answers(self, plan: Plan) -> bool:
        """Whether the plan answers the utterance; else it was outside our knowledge, or misheard."""
        return not any(clause.source == "fallback" for clause in plan.fixed)

    def news(self) -> Plan:
        """The plan for telling what came of something that was begun before."""
        return Plan("", waits=True)

    def plan(self, utterance: str, decision: RouteDecision, turn: int = 0) -> Plan:
        """How to answer. Pure: nothing changes until `commit`."""
        return dataclasses.replace(self._weighed(utterance, decision, turn), language=self._agent.language)

    def _weighed(self, utterance: str, decision: RouteDecision, turn: int) -> Plan:
        if self._errands.under_way:
            return Plan(utterance, waits=True, decision=decision)
        plan = self._plan(utterance, decision, turn)
        if self._patience is not None and not isinstance(plan.act, Transfer | HangUp):
            points = self._patience.after(utterance, answered=self.answers(plan))
            plan = dataclasses.replace(plan, points=points)
            if self._patience.is_gone(points):
                plan = self._to_person(utterance, self._state, "frustration", turn)
        if plan.fact is not None:
            route = self._agent.route(decision.label)
            by_route: Override = route.model if route is not None else "auto"
            by_node = self._engine.model(self._state)
            plan = dataclasses.replace(plan, model=by_node if by_node != "auto" else by_route)
        if self._errands.news:
            told = tuple(clause for text in self._errands.news for clause in self._clauses(text, "form"))
            plan = dataclasses.replace(plan, fixed=(*told, *plan.fixed))
        return plan

    def _plan(self, utterance: str, decision: RouteDecision, turn: int) -> Plan:
        route = self._agent.route(decision.label) if decision.confidence >= self._agent.route_confidence else None
        kind = route.kind if route else "knowledge"
        state = dataclasses.replace(self._state, misses=0, unclear=0)
        fact = self._known(decision, sure=kind == "knowledge" and decision.confidence >= SURE_ROUTE)
        asks_or_open: Words = "may_go_on" if asks(utterance, self._agent.language) else "open"
        if state.waiting == "answer":
            return self._plan_in_flow(utterance, decision, route, fact, state, turn)
        if kind == "person":
            return self._to_person(utterance, state, "request", turn, target=route.target if route else None)
        if kind == "cancel" and (step := self._engine.cancel(state)) is not None:
            return self._step_plan(utterance, step, ending=asks_or_open)
        if kind == "farewell":
            farewell = self._clauses(self._agent.lines.farewell, "farewell")
            return Plan(utterance, state, farewell, act=HangUp())
        asked_for = fact is not None and _asked_for(utterance, decision, self._agent.language)
        if kind == "flow" and route is not None and route.flow is not None and not asked_for:
            step = self._engine.start(state, route.flow, utterance, turn)
            return self._step_plan(utterance, step, ending=asks_or_open)
        if kind == "say" and route is not None and route.line:
            return Plan(utterance, state, self._clauses(route.line, "line"), ending="may_go_on")
        if kind == "repeat":
            return Plan(utterance, state, self._clauses(self._last_said(), "repeat"))
        if fact is not None and kind not in ("fallback", "cancel"):
            asked: Words = "either_or" if asks_yes_or_no(utterance) else "complete"
            return Plan(utterance, state, fact=fact, ending=asked if asks(utterance, self._agent.language) else "open")
        lines, misses = self._agent.lines, self._state.misses
        clauses = self._clauses(lines.fallback[misses % len(lines.fallback)], "fallback")
        if misses >= TRIES_BEFORE_KEYPAD and lines.keypad:
            clauses += self._clauses(lines.keypad, "keypad")
        return Plan(utterance, dataclasses.replace(state, misses=misses + 1), clauses, ending=asks_or_open)

    def _plan_in_flow(
        self,
        utterance: str,
        decision: RouteDecision,
        route: Route | None,
        fact: Fact | None,
        state: CallState,
        turn: int,
    ) -> Plan:
        kind = route.kind if route else "knowledge"
        asked_for = fact is not None and _asked_for(utterance, decision, self._agent.language)
        # "Yes" is often followed by more; so is what was asked for.
        one_word = len(utterance.split()) == 1
        ending: Words = "may_go_on" if self._engine.asks_for_value(state) or one_word else "complete"
        step = self._engine.answer(state, utterance, turn)
        if step.fitted and not (kind in GLOBAL and decision.confidence >= SURE_IN_FLOW):
            return self._step_plan(utterance, step, ending=ending)
        if kind == "person":
            return self._to_person(utterance, state, "request", turn, target=route.target if route else None)
        if kind == "cancel" and (over := self._engine.cancel(state)) is not None:
            return self._step_plan(
                utterance, over, ending="may_go_on" if asks(utterance, self._agent.language) else "open"
            )
        if kind == "repeat":
            return Plan(utterance, state, self._clauses(self._engine.prompt(state), "form"))
        if step.fitted:
            return self._step_plan(utterance, step, ending=ending)
        if kind == "farewell":
            return Plan(utterance, state, self._clauses(self._agent.lines.farewell, "farewell"), act=HangUp())
        current = {place.flow for place in state.stack}
        elsewhere = kind == "flow" and decision.confidence >= OTHER_FLOW and not asked_for
        if elsewhere and route is not None and route.flow is not None and route.flow not in current:
            other = self._engine.start(state, route.flow, utterance, turn)
            return self._step_plan(utterance, other, ending="may_go_on")
        if fact is not None:
            again = self._clauses(self._engine.prompt(state), "form")
            return Plan(utterance, state, again, fact=fact)
        plan = self._step_plan(utterance, step, ending="open")
        return dataclasses.replace(plan, unfit=self._engine.fillable(state) is not None)

    async def fill(self, plan: Plan, turn: int, request_id: str) -> Plan:
        """The plan, or another if the language model finds in the utterance what was asked for. Raises ModelFailure."""
        fillable = self._engine.fillable(self._state) if plan.unfit else None
        if fillable is None:
            return plan
        variable, context = fillable
        request = fill_request(variable, self._engine.prompt(self._state), plan.utterance, context, request_id)
        words = await pointed_at(self._language_model, request)
        if not words:
            return plan
        state = dataclasses.replace(self._state, misses=0, unclear=0)
        step = self._engine.answer(state, words, turn, certainty=CERTAINTY)
        return self._step_plan(plan.utterance, step, ending="may_go_on") if step.fitted else plan

    def _step_plan(self, utterance: str, step: Step, *, ending: Words) -> Plan:
        clauses = tuple(clause for text in step.says for clause in self._clauses(text, "form"))
        filler = ""
        if isinstance(step.act, ToolCall):
            filler = self._agent.tools[step.act.tool].filler or ""
        return Plan(utterance, step.state, clauses, act=step.act, filler=filler, ending=ending)

    def _to_person(
        self, utterance: str, state: CallState, reason: Reason, turn: int, target: str | None = None
    ) -> Plan:
        escalation = self._agent.escalation
        assert escalation is not None
        if escalation.away is not None and holds(escalation.away.when, state):
            return self._nobody_there(utterance, state, escalation.away.flow, reason, turn)
        act = Transfer(reason, target or escalation.default, "")
        over = dataclasses.replace(state, waiting="over")
        return Plan(utterance, over, self._clauses(escalation.line, "escalation"), act=act)

    def _nobody_there(self, utterance: str, state: CallState, flow: str, reason: Reason, turn: int) -> Plan:
        if flow not in {place.flow for place in state.stack}:
            step = self._engine.start(dataclasses.replace(state, misses=0, unclear=0), flow, utterance, turn)
            return self._step_plan(utterance, step, ending="complete")
        if reason == "exhausted":
            return Plan(utterance, state, self._clauses(self._agent.lines.farewell, "farewell"), act=HangUp())
        return Plan(utterance, state, self._clauses(self._engine.prompt(state), "form"))

    async def anticipate(self, plan: Plan, request_id: str) -> bool:
        """Have the engine read the prompt that the plan leads to; whether there is one. Raises ModelFailure."""
        if plan.fact is None:
            return False
        await self._language_model.prefill(self._request(Ask(question=plan.utterance, fact=plan.fact.text), request_id))
        return True

    async def warm_up(self, request_id: str) -> None:
        """Have the prompt's stable part in the engine's prefix cache before the next question. Raises ModelFailure."""
        await self._language_model.prefill(self._request(Ask(), request_id))

    async def prepare_summary(self) -> None:
        """Have older turns summarised before they are dropped; run it beside the call after each reply."""
        if self._context.shows_turns:
            await self._context.prepare_summary()

    async def clauses(
        self, plan: Plan, turn: int, request_id: str, begin: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Clause, None]:
        """The reply's clauses, as early as each is certain. Raises ModelFailure.

        `begin` is awaited before anything is done that cannot be undone: it returns once the turn is decided and the
        plan committed.
        """
        if plan.fact is not None:
            tier = plan.choice.tier if plan.choice else "small"
            async for clause in self._from_fact(plan.fact, plan.utterance, request_id, tier):
                yield clause
        for clause in plan.fixed:
            yield clause
        if plan.acts:
            await begin()
            await self._errands.finished()
            if plan.decision is None:
                for text in self._errands.news:
                    for clause in self._clauses(text, "form"):
                        yield clause
                return
            # Its news come first in the plan for what was said meanwhile.
            again = self.plan(plan.utterance, plan.decision, turn)
            self.commit(again, turn)
            async with aclosing(self.clauses(again, turn, request_id, begin)) as clauses:
                async for clause in clauses:
                    yield clause

    async def _from_fact(self, fact: Fact, question: str, request_id: str, tier: Tier) -> AsyncGenerator[Clause, None]:
        said: list[str] = []
        rejected = failure = ""
        if self._agent.generation.words == "facts":
            for clause in self._clauses(fact.text, "knowledge"):
                yield clause
            return
        try:
            async with aclosing(self._generated(fact, question, request_id, tier)) as generated:
                async for text in generated:
                    if not is_borne_out(text, fact.text):
                        rejected = text
                        break
                    said.append(text)
                    yield Clause(text, "llm")
                    if text.endswith(_SENTENCE_ENDS) and answers(" ".join(said), fact.text):
                        return
        except ModelFailure as error:
            # The first failure is apologised for; while it lasts, the facts themselves are answer enough.
            if said or not self._model_failed:
                self._model_failed = True
                raise
            failure = str(error)
        for text in split_clauses(fact.text):
            yield Clause(text, "knowledge", rejected=rejected, failure=failure)
            rejected = failure = ""

    async def _generated(self, fact: Fact, question: str, request_id: str, tier: Tier) -> AsyncGenerator[str, None]:
        request = self._request(Ask(question=question, fact=fact.text), request_id, tier)
        async with aclosing(self._language_model.clauses(request)) as clauses:
            async for text in clauses:
                self._model_failed = False
                yield text

    def _request(self, ask: Ask, request_id: str, tier: Tier = "small") -> GenerateRequest:
        generation = self._agent.generation
        prompt = self._context.prompt(ask, self._known_values())
        return GenerateRequest(
            request_id=request_id,
            messages=prompt.messages,
            max_tokens=generation.max_tokens,
            temperature=generation.temperature,
            tier=tier,
        )

    def _known_values(self) -> tuple[Known, ...]:
        if not self._context.shows_turns:
            return ()
        variables = self._agent.variables
        return tuple(
            Known(
                name.replace("_", " "),
                self._engine.spoken(self._state, name),
                confirmed=value.confirmed,
                from_system=value.source == "tool",
                sensitive=name in variables and variables[name].sensitive,
                words=value.words,
            )
            for name, value in self._state.values.items()
        )

    def _known(self, decision: RouteDecision, *, sure: bool) -> Fact | None:
        if not decision.passages:
            return None
        best, *others = decision.passages
        lead = best.score - max((passage.score for passage in others), default=-1.0)
        near = best.score >= self._agent.fact_score
        near = near or (sure and best.score >= self._agent.fact_score - SURE_ROUTE_SLACK and lead >= CLEARLY_NEAREST)
        return self._agent.fact(best.id) if near else None

    def _last_said(self) -> str:
        said = [message.content for message in self._history if message.role == "assistant"]
        return said[-1] if said else self._agent.lines.greeting

    def _state_is(self, state: CallState) -> None:
        self._state = state
        self._tell()

    def _remember(self, message: Message) -> None:
        self._history.append(message)
        del self._history[:-HISTORY_MESSAGES]
        self._tell()

    def _tell(self) -> None:
        self._changed(self.memory)

    @staticmethod
    def _clauses(text: str, source: ReplySource) -> tuple[Clause, ...]:
        return tuple(Clause(clause, source) for clause in split_clauses(text))


def _asked_for(utterance: str, decision: RouteDecision, language: Language) -> bool:
    """Whether it is a question that a fact was written for, not a wish ("Can I cancel an appointment?")."""
    return asks(utterance, language) and decision.passages[0].score >= ASKED_FOR
