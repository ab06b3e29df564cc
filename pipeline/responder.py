"""What to say: an utterance, where it was routed and what is known about it become the clauses of a reply.

Planning changes nothing, since most plans are made before the caller's turn is certain to be over; `commit` makes a
plan count once its first word has gone out.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from models.types import GenerateRequest, Message, ModelFailure, RouteDecision
from pipeline.agent import Agent, Fact
from pipeline.booking import BookingDialogue, FormReply
from pipeline.clauses import split_clauses
from pipeline.endpointing import Words, asks, asks_yes_or_no, sounds_unfinished
from pipeline.events import ReplySource
from pipeline.grounding import answers, is_borne_out
from pipeline.ports import LanguageModel

HISTORY_MESSAGES = 200
"""What is kept of a call's conversation; older messages are dropped."""

SURE_ROUTE = 0.9
"""From this confidence on, 'it is a question for us' lets a fact count that is a little further away."""
SURE_ROUTE_SLACK = 0.15
"""How much further."""
CLEARLY_NEAREST = 0.05
"""Such a fact must be nearer than the next one by this much."""
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
    fixed: tuple[Clause, ...] = ()
    """Clauses known at once; said after those of `fact`, if there is one."""
    fact: Fact | None = None
    """The language model is asked to answer from this."""
    booking: BookingDialogue | None = None
    """The form as it stands after this utterance; None: no form is open."""
    filled: tuple[tuple[str, str], ...] = ()
    """What was booked."""
    misses: int = 0
    """How many utterances in a row could not be answered, this one included."""
    unclear: int = 0
    """How many utterances in a row could not be understood, this one included."""
    ending: Words = "complete"
    """What the answer found tells of the turn's end; see `words`."""
    ends_call: bool = False
    escalates: bool = False
    """The caller could not be helped, and was told what happens now."""

    @property
    def words(self) -> Words:
        """What the utterance tells of the turn's end."""
        return "broken_off" if sounds_unfinished(self.utterance) else self.ending


class Responder:
    """One call's side of the conversation: its history, its open form."""

    def __init__(self, agent: Agent, language_model: LanguageModel) -> None:
        self._agent = agent
        self._language_model = language_model
        self._booking: BookingDialogue | None = None
        self._misses = 0
        self._unclear = 0
        self._model_failed = False
        self._history: list[Message] = []
        self._committed: Plan | None = None
        self._before: tuple[BookingDialogue | None, int, int] = (None, 0, 0)

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation as it was heard on both sides, oldest first."""
        return tuple(self._history)

    @property
    def in_form(self) -> bool:
        """Whether a form is being filled."""
        return self._booking is not None

    def commit(self, plan: Plan) -> None:
        """The plan's reply has become audible: it counts."""
        self._before = (self._booking, self._misses, len(self._history))
        self._committed = plan
        self._booking = plan.booking
        self._misses = plan.misses
        self._unclear = plan.unclear
        self._remember(Message(role="user", content=plan.utterance))

    def take_back(self, plan: Plan) -> str:
        """The caller had not finished: undo the plan, if it was the last to count, and give the words it answered.

        Empty if there is nothing to undo, or if the plan has booked something.
        """
        if plan is not self._committed or plan.filled:
            return ""
        self._booking, self._misses, length = self._before
        del self._history[length:]
        self._committed = None
        return plan.utterance

    def heard(self, text: str) -> None:
        """These words of the agent reached the caller."""
        if text:
            self._remember(Message(role="assistant", content=text))

    def not_understood(self, utterance: str = "") -> Plan:
        """The plan for speech without words, or with words that were probably misheard.

        Asked again in other words; then the keypad is offered; then the agent says what happens now and hangs up.
        """
        lines, tries = self._agent.lines, self._unclear
        clauses, escalates = self._clauses(lines.not_understood[tries % len(lines.not_understood)], "reprompt"), False
        if tries == TRIES_BEFORE_KEYPAD and lines.keypad:
            clauses = self._clauses(lines.keypad, "keypad")
        elif tries >= TRIES_BEFORE_KEYPAD and lines.escalation:
            clauses, escalates = self._clauses(lines.escalation, "escalation"), True
        return Plan(
            utterance,
            fixed=clauses,
            booking=self._booking,
            misses=self._misses,
            unclear=tries + 1,
            ending="open" if utterance else "may_go_on",
            ends_call=escalates,
            escalates=escalates,
        )

    def answers(self, plan: Plan) -> bool:
        """Whether the plan answers the utterance; else it was outside our knowledge, or misheard."""
        return not any(clause.source == "fallback" for clause in plan.fixed)

    def plan(self, utterance: str, decision: RouteDecision) -> Plan:
        """How to answer. Pure: nothing changes until `commit`."""
        route = self._agent.route(decision.label) if decision.confidence >= self._agent.route_confidence else None
        kind = route.kind if route else "knowledge"
        fact = self._known(decision, sure=kind == "knowledge" and decision.confidence >= SURE_ROUTE)
        if self._booking is not None:
            return self._plan_in_booking(utterance, kind, fact, copy.deepcopy(self._booking))
        if kind == "farewell":
            return Plan(utterance, fixed=self._clauses(self._agent.lines.farewell, "farewell"), ends_call=True)
        if kind == "booking" and self._agent.booking is not None:
            booking = BookingDialogue(self._agent.booking)
            ending: Words = "may_go_on" if asks(utterance) else "open"
            return self._form_plan(utterance, booking, booking.begin(utterance), ending=ending)
        if kind == "say" and route is not None and route.line:
            return Plan(utterance, fixed=self._clauses(route.line, "line"), ending="may_go_on")
        if kind == "repeat":
            return Plan(utterance, fixed=self._clauses(self._last_said(), "repeat"))
        if fact is not None and kind != "fallback":
            asked: Words = "either_or" if asks_yes_or_no(utterance) else "complete"
            return Plan(utterance, fact=fact, ending=asked if asks(utterance) else "open")
        lines = self._agent.lines
        clauses = self._clauses(lines.fallback[self._misses % len(lines.fallback)], "fallback")
        if self._misses >= TRIES_BEFORE_KEYPAD and lines.keypad:
            clauses += self._clauses(lines.keypad, "keypad")
        return Plan(
            utterance,
            fixed=clauses,
            misses=self._misses + 1,
            ending="may_go_on" if asks(utterance) else "open",
        )

    async def anticipate(self, plan: Plan, request_id: str) -> bool:
        """Have the engine read the prompt that the plan leads to; whether there is one. Raises ModelFailure."""
        if plan.fact is None:
            return False
        await self._language_model.prefill(self._request(plan.fact, plan.utterance, request_id))
        return True

    async def warm_up(self, request_id: str) -> None:
        """Have the prompt's stable part in the engine's prefix cache before the first question. Raises ModelFailure."""
        await self._language_model.prefill(self._request(self._agent.facts[0], "", request_id))

    async def clauses(self, plan: Plan, request_id: str) -> AsyncGenerator[Clause, None]:
        """The reply's clauses, as early as each is certain. Raises ModelFailure."""
        if plan.fact is not None:
            async for clause in self._from_fact(plan.fact, plan.utterance, request_id):
                yield clause
        for clause in plan.fixed:
            yield clause

    async def _from_fact(self, fact: Fact, question: str, request_id: str) -> AsyncGenerator[Clause, None]:
        said: list[str] = []
        rejected = failure = ""
        try:
            async with aclosing(self._generated(fact, question, request_id)) as generated:
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

    async def _generated(self, fact: Fact, question: str, request_id: str) -> AsyncGenerator[str, None]:
        async with aclosing(self._language_model.clauses(self._request(fact, question, request_id))) as clauses:
            async for text in clauses:
                self._model_failed = False
                yield text

    def _request(self, fact: Fact, question: str, request_id: str) -> GenerateRequest:
        generation = self._agent.generation
        messages = [Message(role="system", content=self._agent.persona)]
        for example_fact, example_question, example_answer in generation.examples:
            messages.append(Message(role="user", content=_ask(example_fact, example_question)))
            messages.append(Message(role="assistant", content=example_answer))
        messages.append(Message(role="user", content=_ask(fact.text, question)))
        return GenerateRequest(
            request_id=request_id,
            messages=tuple(messages),
            max_tokens=generation.max_tokens,
            temperature=generation.temperature,
        )

    def _plan_in_booking(self, utterance: str, kind: str, fact: Fact | None, booking: BookingDialogue) -> Plan:
        if kind == "repeat":
            return Plan(utterance, fixed=self._clauses(booking.prompt().text, "form"), booking=booking)
        # "Yes" is often followed by more; so is what was asked for.
        ending: Words = "may_go_on" if booking.asks_for_value or len(utterance.split()) == 1 else "complete"
        reply = booking.answer(utterance)
        if not reply.fitted and kind == "farewell":
            return Plan(utterance, fixed=self._clauses(self._agent.lines.farewell, "farewell"), ends_call=True)
        if not reply.fitted and fact is not None:
            unchanged = copy.deepcopy(self._booking)
            assert unchanged is not None
            return Plan(utterance, fact=fact, fixed=self._clauses(unchanged.prompt().text, "form"), booking=unchanged)
        return self._form_plan(utterance, booking, reply, ending=ending if reply.fitted else "open")

    def _form_plan(self, utterance: str, booking: BookingDialogue, reply: FormReply, *, ending: Words) -> Plan:
        return Plan(
            utterance,
            fixed=self._clauses(reply.text, "form"),
            booking=booking if reply.state == "open" else None,
            filled=reply.values,
            ending=ending,
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

    def _remember(self, message: Message) -> None:
        self._history.append(message)
        del self._history[:-HISTORY_MESSAGES]

    @staticmethod
    def _clauses(text: str, source: ReplySource) -> tuple[Clause, ...]:
        return tuple(Clause(clause, source) for clause in split_clauses(text))


def _ask(fact: str, question: str) -> str:
    # Question first, fact last: a 135M model repeats what it read last (67% of answers usable, against 31-42%).
    return f"Caller: {question}\nFact: {fact}"
