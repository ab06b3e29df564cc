"""What to say: what was understood and where the call stands become the clauses of a reply.

Planning changes nothing, since most plans are made before the caller's turn is certain to be over; `commit` makes a
plan count once its first word has gone out.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from models.types import GenerateRequest, Message, ModelFailure, Tier
from pipeline.agent import Agent, Fact
from pipeline.clauses import split_clauses
from pipeline.context.of_agent import AgentContext
from pipeline.context.parts import Ask, Exchange, Known
from pipeline.endpointing import asks
from pipeline.errands import Errands
from pipeline.filling import CERTAINTY, fill_request, pointed_at
from pipeline.grounding import answers, is_borne_out
from pipeline.plan import Clause, Plan, clauses_of_text
from pipeline.policy import DialoguePolicy
from pipeline.ports import LanguageModel
from pipeline.state import CallState, Memory
from pipeline.tiering import Override
from pipeline.tools.calls import ToolCall
from pipeline.understanding.acts import Understood
from pipeline.workflow.engine import Act, HangUp, Transfer, WorkflowEngine

HISTORY_MESSAGES = 200
"""What is kept of a call's conversation; older messages are dropped."""
_COURTEOUS_END = re.compile(r"[,\s]*\b(?:please|por favor)[.!]*$", re.IGNORECASE)
"""By which an answer is polite and not a question."""
_SENTENCE_ENDS = (".", "!", "?")
"""An answer is never stopped in the middle of a sentence."""


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
        self._policy = DialoguePolicy(agent, engine)
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

    def surely_answered(self, utterance: str) -> bool:
        """Whether a reader is sure that this answers what was asked, and asks nothing back."""
        asked_back = asks(_COURTEOUS_END.sub("", utterance), self._agent.language)
        return not asked_back and self._engine.surely_answers(self._state, utterance)

    def told_flows(self, utterance: str) -> Mapping[str, int]:
        """How many values it surely tells that each flow would ask for, of kinds that are seldom said otherwise."""
        return self._engine.told_flows(utterance)

    def only_tells(self, part: str) -> bool:
        """Whether a part of an utterance tells a number that flows ask for, and nothing else."""
        return self._engine.only_tells(part)

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
        """The plan for speech without words, or with words that were probably misheard."""
        plan = self._policy.not_understood(utterance, self._state, turn)
        return dataclasses.replace(plan, language=self._agent.language)

    def answers(self, plan: Plan) -> bool:
        """Whether the plan answers the utterance; else it was outside our knowledge, or misheard."""
        return self._policy.answers(plan)

    def news(self) -> Plan:
        """The plan for telling what came of something that was begun before."""
        return Plan("", waits=True)

    def plan(self, utterance: str, understood: Understood, turn: int = 0) -> Plan:
        """How to answer. Pure: nothing changes until `commit`."""
        if self._errands.under_way:
            plan = Plan(utterance, waits=True, understood=understood)
        else:
            plan = self._policy.decide(utterance, understood, self._state, turn, self.last_said)
            plan = self._with_news(self._with_model(plan, understood))
        return dataclasses.replace(plan, language=self._agent.language)

    def _with_model(self, plan: Plan, understood: Understood) -> Plan:
        if not plan.facts:
            return plan
        route = self._agent.route(understood.label)
        by_route: Override = route.model if route is not None else "auto"
        by_node = self._engine.model(self._state)
        return dataclasses.replace(plan, model=by_node if by_node != "auto" else by_route)

    def _with_news(self, plan: Plan) -> Plan:
        told = tuple(clause for text in self._errands.news for clause in clauses_of_text(text, "form"))
        return dataclasses.replace(plan, fixed=(*told, *plan.fixed)) if told else plan

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
        return self._policy.step_plan(plan.utterance, step, ending="may_go_on") if step.fitted else plan

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
        tier = plan.choice.tier if plan.choice else "small"
        for number, fact in enumerate(plan.facts):
            async for clause in self._from_fact(fact, plan.utterance, f"{request_id}-{number}", tier):
                yield clause
        for clause in plan.fixed:
            yield clause
        if plan.acts:
            await begin()
            await self._errands.finished()
            if plan.understood is None:
                for text in self._errands.news:
                    for clause in clauses_of_text(text, "form"):
                        yield clause
                return
            # Its news come first in the plan for what was said meanwhile.
            again = self.plan(plan.utterance, plan.understood, turn)
            self.commit(again, turn)
            async with aclosing(self.clauses(again, turn, request_id, begin)) as clauses:
                async for clause in clauses:
                    yield clause

    async def _from_fact(self, fact: Fact, question: str, request_id: str, tier: Tier) -> AsyncGenerator[Clause, None]:
        said: list[str] = []
        rejected = failure = ""
        if self._agent.generation.words == "facts":
            for clause in clauses_of_text(fact.text, "knowledge"):
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
            if text not in said:  # Nothing is said twice.
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

    @property
    def last_said(self) -> str:
        """The agent's last words as heard."""
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
