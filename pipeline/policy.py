"""What to do about what was understood: acts and the call's state become a plan. Pure: nothing changes here.

The more harm a misunderstanding does, the surer one must be: `pipeline/understanding/stage.py` holds acts that hang up,
put through or call off to more than those that answer a question. What is likely, and too uncertain, is asked back.
"""

from __future__ import annotations

import dataclasses

from pipeline.agent import Agent, Route
from pipeline.endpointing import Words, asks, asks_in_earnest, asks_yes_or_no
from pipeline.escalation import Patience, Reason
from pipeline.plan import CallsTool, Clause, EndsCall, Plan, Says, Thinks, clauses_of_text
from pipeline.slots.little_else import after_no
from pipeline.slots.wording import plain_words
from pipeline.state import AskedBack, CallState, HangUp, Postponed, Transfer
from pipeline.tools.calls import ToolCall
from pipeline.understanding.acts import Answers, AsksFact, Changes, Understood, Unknown, Waits, Wishes
from pipeline.workflow.answering import FEW_WORDS
from pipeline.workflow.engine import Step, WorkflowEngine

SURE_IN_FLOW = 0.75
"""An utterance that fits what was asked is its answer, unless it is something meant anywhere, with this confidence."""
LIKELY_ENOUGH = 0.6
"""What an utterance means that turns out to be no answer must be so probable among the rest."""
HARDLY_AN_ANSWER = 0.15
"""Below this, the model does not believe what a reader has read in an utterance that it takes for something else."""
HARDLY_A_QUESTION = 0.4
"""Below this, the model does not believe that words in a flow which are no question ask for a fact."""
SURELY_SAID = 0.9
"""From here on, thanks or a wrong number in a flow are that, and no answer that nobody could read."""
LEAST_OF_A_WISH = 0.25
"""Below this, what a model takes an utterance for begins no flow."""
TRIES_BEFORE_KEYPAD = 2
"""Utterances in a row that came to nothing."""
_COURTESIES = ("line", "repeat", "waiting")
"""Sources of clauses that answer nothing."""
_ANYWHERE = ("person", "cancel", "repeat")
"""Kinds of routes that are meant wherever the call stands."""


class DialoguePolicy:
    """One agent's, for one call."""

    def __init__(self, agent: Agent, engine: WorkflowEngine) -> None:
        self._agent = agent
        self._engine = engine
        self._patience = Patience(agent.escalation) if agent.escalation else None

    def decide(self, utterance: str, understood: Understood, state: CallState, turn: int, last_said: str) -> Plan:
        """How to answer. `last_said`: the agent's last words as heard."""
        fresh = dataclasses.replace(state, misses=0, unclear=0, asked_back=None)
        if state.asked_back is not None and (route := self._agent.route(state.asked_back.route)) is not None:
            settled = self._settled(utterance, understood, fresh, route, state.asked_back.utterance, turn, last_said)
            if settled is not None:
                return self._with_patience(settled, state, turn)
        if state.waiting == "answer":
            plan = self._in_flow(utterance, understood, fresh, turn, last_said)
        else:
            plan = self._between_flows(utterance, understood, state, fresh, turn, last_said)
        return self._with_patience(plan, state, turn)

    def not_understood(self, utterance: str, state: CallState, turn: int) -> Plan:
        """For speech without words, or with words that were probably misheard.

        Asked again in other words; then the keypad is offered; then a person takes over, or the agent says what happens
        now and hangs up.
        """
        lines, tries = self._agent.lines, state.unclear
        state = dataclasses.replace(state, unclear=tries + 1)
        ending: Words = "open" if utterance else "may_go_on"
        if tries == TRIES_BEFORE_KEYPAD and lines.keypad:
            return Says(utterance, state, clauses_of_text(lines.keypad, "keypad"), ending=ending)
        if tries >= TRIES_BEFORE_KEYPAD and self._agent.escalation is not None:
            return dataclasses.replace(self._to_person(utterance, state, "exhausted", turn), ending=ending)
        if tries >= TRIES_BEFORE_KEYPAD and lines.escalation:
            clauses = clauses_of_text(lines.escalation, "escalation")
            return EndsCall(utterance, state, clauses, how=HangUp("escalated"), ending=ending)
        line = lines.not_understood[tries % len(lines.not_understood)]
        return Says(utterance, state, clauses_of_text(line, "reprompt"), ending=ending)

    def answers(self, plan: Plan) -> bool:
        """Whether the plan answers the utterance; else it was outside our knowledge, or misheard."""
        return not any(clause.source == "fallback" for clause in plan.fixed)

    def step_plan(
        self, utterance: str, step: Step, *, ending: Words, clauses: tuple[Clause, ...] | None = None
    ) -> Plan:
        """A step of a flow. `clauses`: what it says, if more is known of that than the words."""
        if clauses is None:
            clauses = tuple(clause for text in step.says for clause in clauses_of_text(text, "form"))
        match step.act:
            case None if step.thinks:
                return Thinks(utterance, step.state, clauses, ending=ending)
            case ToolCall() as call:
                filler = self._agent.tools[call.tool].filler or ""
                return CallsTool(utterance, step.state, clauses, call=call, filler=filler, ending=ending)
            case None:
                return Says(utterance, step.state, clauses, ending=ending)
            case how:
                return EndsCall(utterance, step.state, clauses, how=how, ending=ending)

    # -- asking back -------------------------------------------------------------------------------------------------

    def _asked_back(self, utterance: str, understood: Understood, state: CallState) -> Plan | None:
        """Whether the likely thing is meant is asked; None: nothing is in doubt."""
        doubted = understood.doubted
        line = self._agent.asks_back(doubted.route) if doubted else None
        if doubted is None or line is None or (doubted.route.kind == "cancel" and not state.stack):
            return None
        asked = dataclasses.replace(state, asked_back=AskedBack(doubted.route.name, utterance))
        return Says(utterance, asked, clauses_of_text(line, "asks_back"), ending="may_go_on")

    def _bare_no(self, utterance: str, route: Route, state: CallState) -> Plan | None:
        """A no and nothing else to a question is no goodbye yet: that is asked back. None: there is more to it."""
        verdict = self._engine.yes_or_no(utterance)
        if verdict is None or len(utterance.split()) - len(verdict.words.split()) > 1:
            return None
        return self._asked_back(utterance, Understood((Unknown(),), 0.0, doubted=Wishes(route)), state)

    def _settled(
        self,
        utterance: str,
        understood: Understood,
        state: CallState,
        route: Route,
        before: str,
        turn: int,
        last_said: str,
    ) -> Plan | None:
        """What comes of the answer to what was asked back; None if it is none. `before`: what was asked about."""
        verdict = self._engine.yes_or_no(utterance)
        unread = len(utterance.split()) - len(verdict.words.split()) if verdict else len(utterance.split())
        again = any(isinstance(act, Wishes) and act.route == route for act in (understood.act, understood.doubted))
        if (again and unread) or (verdict is not None and verdict.value == "yes" and unread <= FEW_WORDS):
            plan = self._wished(before, route, state, turn, last_said)
            return dataclasses.replace(plan, utterance=utterance) if plan else None
        if verdict is None or verdict.value == "yes" or unread > FEW_WORDS:
            return None
        if not state.stack:
            return Says(utterance, state, clauses_of_text(self._agent.not_meant, "line"))
        if unread and self._engine.asks_for_value(state) and self._engine.answer(state, utterance, turn).fitted:
            return None
        return Says(utterance, state, clauses_of_text(self._engine.question(state), "form"))

    def _with_patience(self, plan: Plan, state: CallState, turn: int) -> Plan:
        if self._patience is None or isinstance(plan, EndsCall):
            return plan
        if any(clause.source == "warning" for clause in plan.fixed):
            return plan  # A person is no reward for abuse.
        answered = self.answers(plan)
        courtesy = isinstance(plan, Says) and all(clause.source in _COURTESIES for clause in plan.fixed)
        if courtesy and self._patience.is_angry(plan.utterance):
            answered = bool(plan.facts)  # A courtesy is no answer to abuse, whatever wish it was taken for.
        lost = self._patience.after(state.impatience, plan.utterance, answered=answered)
        if self._patience.is_gone(lost):
            return self._to_person(plan.utterance, state, "frustration", turn)
        return dataclasses.replace(plan, state=dataclasses.replace(plan.state or state, impatience=lost))

    # -- between flows -----------------------------------------------------------------------------------------------

    def _between_flows(
        self, utterance: str, understood: Understood, before: CallState, state: CallState, turn: int, last_said: str
    ) -> Plan:
        if (asked_back := self._asked_back(utterance, understood, state)) is not None:
            return asked_back
        meant = understood.act
        if understood.confidence < SURE_IN_FLOW and isinstance(meant, Unknown | Wishes):
            begins = isinstance(meant, Wishes) and meant.route.kind == "flow"
            flows = tuple(dict.fromkeys(route.flow for route in self._agent.routes if route.flow is not None))
            number = None if begins else self._engine.start_with_number(state, flows, utterance, turn)
            if number is not None:
                return self.step_plan(utterance, number, ending="may_go_on")
        if isinstance(meant, Wishes) and meant.route.kind == "flow" and understood.way == "model":
            meant = meant if understood.confidence >= LEAST_OF_A_WISH else Unknown()
        match meant:
            case Wishes(route=route):
                state = _postponing(state, understood, utterance, turn)
                plan = self._wished(utterance, route, state, turn, last_said)
                if plan is not None:
                    return dataclasses.replace(plan, facts=understood.facts)
            case AsksFact():
                asked: Words = "either_or" if asks_yes_or_no(utterance) else "complete"
                ending: Words = asked if asks(utterance, self._agent.language) else "open"
                return Says(utterance, state, facts=understood.facts, ending=ending)
            case Waits():
                return self._waits(utterance, state)
        if self._agent.otherwise is not None:
            begun = self._engine.start(state, self._agent.otherwise, utterance, turn)
            return self.step_plan(utterance, begun, ending=self._asks_or_open(utterance))
        lines, misses = self._agent.lines, before.misses
        clauses = clauses_of_text(lines.fallback[misses % len(lines.fallback)], "fallback")
        if misses >= TRIES_BEFORE_KEYPAD and lines.keypad:
            clauses += clauses_of_text(lines.keypad, "keypad")
        missed = dataclasses.replace(state, misses=misses + 1)
        return Says(utterance, missed, clauses, ending=self._asks_or_open(utterance))

    def _wished(self, utterance: str, route: Route, state: CallState, turn: int, last_said: str) -> Plan | None:
        """None: there is nothing to call off."""
        match route.kind:
            case "person":
                return self._to_person(utterance, state, "request", turn, target=route.target)
            case "cancel":
                step = self._engine.cancel(state)
                if step is None and not state.stack and not asks(utterance, self._agent.language):
                    return Says(utterance, state, clauses_of_text(self._agent.not_meant, "line"))
                return self.step_plan(utterance, step, ending=self._asks_or_open(utterance)) if step else None
            case "farewell":
                return self._farewell(utterance, state)
            case "abuse":
                return self._abused(utterance, state)
            case "flow":
                assert route.flow is not None
                step = self._engine.start(state, route.flow, utterance, turn)
                return self.step_plan(utterance, step, ending=self._asks_or_open(utterance))
            case "say":
                return Says(utterance, state, clauses_of_text(route.line or "", "line"), ending="may_go_on")
            case "repeat":
                return Says(utterance, state, clauses_of_text(last_said, "repeat"))
        return None

    # -- in the middle of a flow -------------------------------------------------------------------------------------

    def _in_flow(self, utterance: str, understood: Understood, state: CallState, turn: int, last_said: str) -> Plan:
        act = understood.act
        if isinstance(act, Wishes) and act.route.flow in {place.flow for place in state.stack}:
            # What is under way already is not wished for again: it is being answered.
            act = Answers()
            understood = dataclasses.replace(understood, answers=None)
        step = self._engine.answer(state, utterance, turn)
        if step.thinks:
            return self._in_talk(utterance, understood, step, state, turn, last_said)
        if not step.fitted and isinstance(act, Answers | Changes) and understood.otherwise is not None:
            # No reader finds an answer in it: then it is likely none.
            other, share = understood.otherwise
            if share >= LIKELY_ENOUGH:
                rest = tuple(act for act in understood.acts[1:] if act != other)
                act, understood = other, dataclasses.replace(understood, acts=(other, *rest), confidence=share)
        route = act.route if isinstance(act, Wishes) else None
        sure = understood.confidence >= SURE_IN_FLOW
        answered = self._answered(utterance, step, state)
        anywhere = isinstance(act, Waits) or (route is not None and route.kind in _ANYWHERE)
        sure = sure or (route is not None and route.kind == "cancel" and self._names(route, utterance))
        chooses = step.fitted and self._chooses(utterance, route, state)
        anywhere = anywhere and not chooses
        doubted = not chooses and understood.answers is not None and understood.answers < HARDLY_AN_ANSWER
        aside = understood.way == "rules" and self._asks_aside(utterance, understood, state)
        # "One eighteen Oak Street" is no question where the business is.
        tells = step.fitted and isinstance(act, AsksFact) and not asks(utterance, self._agent.language)
        if tells and self._engine.asks_for_text(state):
            return answered
        wished = None if chooses or not step.fitted else self._wished_besides(utterance, understood, state)
        if wished is not None:
            return self._begun_or_asked_back(utterance, understood, wished, state, turn)
        if step.fitted and not (anywhere and sure) and not (doubted and sure) and not aside:
            asked = understood.facts if len(understood.acts) > 1 or (understood.way == "model" and sure) else ()
            return dataclasses.replace(answered, facts=asked)
        if step.lacks and not (sure and route is not None):
            return self.step_plan(utterance, step, ending="open")
        if (asked_back := self._asked_back(utterance, understood, state)) is not None:
            return asked_back
        if isinstance(act, Waits):
            return self._waits(utterance, state)
        if route is not None and route.kind == "repeat":
            return self._said_again(utterance, state, last_said)
        surely = understood.confidence >= SURELY_SAID and understood.way != "rules"
        if route is not None:
            plan = self._wished_in_flow(utterance, route, step, state, turn, surely=surely)
            if plan is not None:
                return dataclasses.replace(plan, facts=understood.facts)
        a_question = understood.confidence >= HARDLY_A_QUESTION or asks(utterance, self._agent.language)
        if understood.facts and (a_question or understood.way == "rules"):
            again = clauses_of_text(self._engine.question(state), "form")
            return Says(utterance, state, again, facts=understood.facts)
        if step.fitted:
            return answered
        if isinstance(act, Unknown) and sure and step.state.place == state.place:
            return self._declined(utterance, step, state)
        missed = self.step_plan(utterance, step, ending="open")
        return dataclasses.replace(missed, unfit=self._engine.fillable(state) is not None)

    def _wished_besides(self, utterance: str, understood: Understood, state: CallState) -> Wishes | None:
        """The wish for another flow that an utterance rather is, although a reader has read something in it ("His
        name's Rex, he has eaten rat poison"): by a model, if it hardly believes that it answers; by rules, if it is one
        of those that are asked back when they are in doubt. None if it is certain enough for neither."""
        wish = understood.act if isinstance(understood.act, Wishes) else understood.doubted
        under_way = {place.flow for place in state.stack}
        if wish is None or wish.route.kind != "flow" or wish.route.flow in under_way:
            return None
        if understood.way == "rules":
            hardly_answers = wish.route.asks_back is not None
        else:
            hardly_answers = understood.answers is not None and understood.answers < HARDLY_AN_ANSWER
        certain = understood.confidence >= SURE_IN_FLOW or wish.route.asks_back is not None
        if not (hardly_answers and certain) or self._engine.mostly_answers(state, utterance):
            return None
        return wish

    def _begun_or_asked_back(
        self, utterance: str, understood: Understood, wish: Wishes, state: CallState, turn: int
    ) -> Plan:
        if wish is understood.act and understood.confidence >= SURE_IN_FLOW:
            assert wish.route.flow is not None
            left = self._engine.without_refused(state, utterance)
            begun = self._engine.start(left, wish.route.flow, utterance, turn)
            return self.step_plan(utterance, begun, ending="may_go_on")
        asked = self._asked_back(utterance, dataclasses.replace(understood, doubted=wish), state)
        assert asked is not None  # Only what says how it is asked back comes here with less certainty.
        return asked

    def _asks_aside(self, utterance: str, understood: Understood, state: CallState) -> bool:
        """Whether what a reader has read in a question is part of what is asked, as far as can be told without a model
        ("How much is the four course menu?" is no number of people)."""
        if not isinstance(understood.act, AsksFact) or self._engine.offers(state):
            return False
        return asks_in_earnest(utterance, self._agent.language) and not self._engine.surely_answers(state, utterance)

    def _chooses(self, utterance: str, route: Route | None, state: CallState) -> bool:
        """Whether what sounds like calling off is the answer ("I don't mind who"): a reader is sure of it, it begins
        with no no, and no example of calling off is in it."""
        if route is None or route.kind != "cancel" or not self._engine.asks_for_value(state):
            return False
        if self._names(route, utterance):
            return False
        begins_with_no = after_no(utterance, self._agent.language) != utterance
        return not begins_with_no and self._engine.surely_answers(state, utterance)

    def _names(self, route: Route, utterance: str) -> bool:
        """Whether an example of the route is in what was said, word for word."""
        said = f" {' '.join(plain_words(utterance))} "
        return any(f" {' '.join(plain_words(example))} " in said for example in route.examples)

    def _in_talk(
        self, utterance: str, understood: Understood, step: Step, state: CallState, turn: int, last_said: str
    ) -> Plan:
        """In a free conversation the model answers whatever is not surely something else."""
        act = understood.act
        if isinstance(act, Waits):
            return self._waits(utterance, state)
        plan = self.step_plan(utterance, step, ending="open")
        if understood.confidence < LIKELY_ENOUGH:
            return plan
        if isinstance(act, Wishes) and act.route.kind == "repeat":
            return self._said_again(utterance, state, last_said)
        if isinstance(act, Wishes) and act.route.flow not in {place.flow for place in state.stack}:
            unfit = dataclasses.replace(step, fitted=False)
            plan = self._wished_in_flow(utterance, act.route, unfit, state, turn) or plan
        elif isinstance(act, AsksFact) and step.state.values == state.values:
            plan = Says(utterance, state, clauses_of_text(self._engine.prompt(state), "form"))
        return dataclasses.replace(plan, facts=understood.facts)

    def _answered(self, utterance: str, step: Step, state: CallState) -> Plan:
        # "Yes" is often followed by more; so is what was asked for.
        one_word = len(utterance.split()) == 1
        more = self._engine.asks_for_value(state) or one_word
        return self.step_plan(utterance, step, ending="may_go_on" if more else "complete")

    def _wished_in_flow(
        self, utterance: str, route: Route, step: Step, state: CallState, turn: int, *, surely: bool = False
    ) -> Plan | None:
        """None: it is no other wish than the one under way, or cannot be granted here. `surely`: whatever it is."""
        match route.kind:
            case "person":
                return self._to_person(utterance, state, "request", turn, target=route.target)
            case "cancel":
                over = self._engine.cancel(state)
                return self.step_plan(utterance, over, ending=self._asks_or_open(utterance)) if over else None
            case "farewell" if not step.fitted:
                return self._bare_no(utterance, route, state) or self._farewell(utterance, state)
            case "abuse" if not step.fitted:
                return self._abused(utterance, state, again=self._engine.question(state))
            case "say" if not step.fitted and (surely or asks(utterance, self._agent.language)):
                return self._said_in_between(utterance, route.line or "", state)
            case "flow" if not step.fitted:
                assert route.flow is not None
                other = self._engine.start(state, route.flow, utterance, turn)
                return self.step_plan(utterance, other, ending="may_go_on")
        return None

    def _said_again(self, utterance: str, state: CallState, last_said: str) -> Plan:
        """What is asked; and what was answered before the question came back."""
        said = last_said if self._engine.question(state) in last_said else self._engine.prompt(state)
        return Says(utterance, state, clauses_of_text(said, "form"))

    def _said_in_between(self, utterance: str, line: str, state: CallState) -> Plan | None:
        """What the line tells, and the flow's question instead of its own. None: it tells nothing."""
        told = [clause for clause in clauses_of_text(line, "line") if not clause.text.endswith("?")]
        again = clauses_of_text(self._engine.question(state), "form")
        return Says(utterance, state, (*told, *again)) if told else None

    def _declined(self, utterance: str, step: Step, state: CallState) -> Plan:
        """Not something we know: say so in a sentence, and come back with the question."""
        again = clauses_of_text(self._engine.question(state), "form")
        return Says(utterance, step.state, (*clauses_of_text(self._agent.declined, "fallback"), *again))

    # -- anywhere ----------------------------------------------------------------------------------------------------

    def _waits(self, utterance: str, state: CallState) -> Plan:
        return Says(utterance, state, clauses_of_text(self._agent.waiting, "waiting"), ending="may_go_on")

    def _farewell(self, utterance: str, state: CallState) -> Plan:
        return EndsCall(utterance, state, clauses_of_text(self._agent.lines.farewell, "farewell"), how=HangUp())

    def _abused(self, utterance: str, state: CallState, again: str = "") -> Plan:
        """A warning, with the flow's question; then the end."""
        if state.warned:
            clauses = clauses_of_text(self._agent.lines.abuse_farewell, "farewell")
            return EndsCall(utterance, state, clauses, how=HangUp("abuse"))
        clauses = (*clauses_of_text(self._agent.lines.warning, "warning"), *clauses_of_text(again, "form"))
        return Says(utterance, dataclasses.replace(state, warned=True), clauses, ending="open")

    def _to_person(
        self, utterance: str, state: CallState, reason: Reason, turn: int, target: str | None = None
    ) -> Plan:
        escalation = self._agent.escalation
        assert escalation is not None
        target = target or escalation.default
        if target == escalation.default and escalation.away and self._engine.holds(escalation.away.when, state):
            return self._nobody_there(utterance, state, escalation.away.flow, reason, turn)
        how = Transfer(reason, target, "")
        over = dataclasses.replace(state, waiting="over")
        return EndsCall(utterance, over, clauses_of_text(escalation.line, "escalation"), how=how)

    def _nobody_there(self, utterance: str, state: CallState, flow: str, reason: Reason, turn: int) -> Plan:
        if flow not in {place.flow for place in state.stack}:
            step = self._engine.start(dataclasses.replace(state, misses=0, unclear=0), flow, utterance, turn)
            return self.step_plan(utterance, step, ending="complete")
        if reason == "exhausted":
            return self._farewell(utterance, state)
        return Says(utterance, state, clauses_of_text(self._engine.prompt(state), "form"))

    def _asks_or_open(self, utterance: str) -> Words:
        return "may_go_on" if asks(utterance, self._agent.language) else "open"


def _postponing(state: CallState, understood: Understood, utterance: str, turn: int) -> CallState:
    """With the second of two wishes, to be granted after the first."""
    second = next((act.route.flow for act in understood.acts[1:] if isinstance(act, Wishes) and act.route.flow), None)
    return state if second is None else dataclasses.replace(state, postponed=Postponed(second, utterance, turn))
