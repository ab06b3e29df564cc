"""Runs flows: a state and an utterance in, a new state, what to say and what to do out. Pure: nothing happens here.

So a step may be planned while the caller's turn is still being judged, and thrown away. Whoever carries a step out
keeps its state and gives tools' results back to `tool_done`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from pipeline.hours import Hours
from pipeline.slots.lacking import HAD, lacks_it
from pipeline.slots.little_else import after_no, bare_no
from pipeline.slots.others import asks_for_others
from pipeline.slots.reading import Reading, ReadingContext, fitting, read
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable
from pipeline.slots.yes_no import agrees_but_objects
from pipeline.state import CallState, Ending, HangUp, Place, Postponed, Transfer, Value
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.definition import Tool
from pipeline.understanding.phrases import phrases
from pipeline.workflow.answering import YES_NO, asked, is_sure, leaves_little
from pipeline.workflow.changes import Changes, Reconsidered
from pipeline.workflow.definition import (
    END,
    AnyNode,
    AskNode,
    CallNode,
    ConfirmNode,
    DecideNode,
    Flow,
    FlowNode,
    Guard,
    HangUpNode,
    SayNode,
    SetNode,
    TalkNode,
    TransferNode,
    last_question,
    without_last_question,
)
from pipeline.workflow.guards import Conditions
from pipeline.workflow.offers import Offers
from pipeline.workflow.talk_node import Conversation, Move, TalkNodes, talk_of, with_talk
from pipeline.workflow.telling import Telling, only_tells
from pipeline.workflow.wording import FlowError, Wording

MOST_NODES = 200
"""A step that passes more nodes than this goes in circles; `trunkline agent validate` finds such flows."""

_SEVERAL = 2
"""Of so many values that were read back, one may be meant."""
_NUMBER = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
"""A withheld one comes as a word, such as anonymous."""
_NO_HOURS = Hours()
_NO_TOOLS: Mapping[str, Tool] = MappingProxyType({})

Act = ToolCall | Ending


@dataclass(frozen=True, slots=True)
class Step:
    """What comes of an utterance or of a tool's result."""

    state: CallState
    says: tuple[str, ...] = ()
    act: Act | None = None
    fitted: bool = True
    """Whether the utterance fitted what was asked."""
    lacks: bool = False
    """The caller does not have what was asked for."""
    thinks: bool = False
    """It stands in a free conversation, and a model is to be asked how that goes on; then `moved` goes on from here."""


class WorkflowEngine:
    """One agent's flows, for one call."""

    def __init__(
        self,
        flows: Mapping[str, Flow],
        variables: Mapping[str, Variable],
        *,
        call_id: str,
        caller: str = "",
        now: Callable[[], datetime],
        hours: Hours = _NO_HOURS,
        language: Language = "en",
        tools: Mapping[str, Tool] = _NO_TOOLS,
    ) -> None:
        """`call_id` begins the key of every tool call; `caller`: their number, if it is one in E.164; `now`: what a
        clock on the business's wall says; `hours`: when that is open; `tools`: the agent's, by name."""
        self._flows = flows
        self._call_id = call_id
        caller = caller if _NUMBER.fullmatch(caller) else ""
        self._words = Wording(variables, caller=caller, now=now, hours=hours, language=language)
        self._conditions = Conditions(variables, hours, now, caller=caller)
        self._changes = Changes(self._words, tools, language)
        self._offers = Offers(self._words)
        self._telling = Telling(flows, self._words)
        self._talks = TalkNodes(self._words, variables, tools)
        self._language = language

    # -- what can happen -------------------------------------------------------------------------------------------

    def start(self, state: CallState, flow: str, utterance: str, turn: int) -> Step:
        """Begin a flow; what the utterance tells already is not asked for. It may take the place of those under way."""
        begins = self._flow(flow)
        given_up = [index for index, place in enumerate(state.stack) if place.flow in begins.instead_of]
        under_way = state.stack[: given_up[0]] if given_up else state.stack
        begun = dataclasses.replace(state, stack=(*under_way, Place(flow, begins.start, wish=utterance)), tries=0)
        if begun.postponed is not None and begun.postponed.flow == flow:
            begun = dataclasses.replace(begun, postponed=None)
        return self._run(self._telling.taken(begun, utterance, turn, anew=True))

    def start_with_number(self, state: CallState, flows: Iterable[str], utterance: str, turn: int) -> Step | None:
        """Begin the one of these flows that would ask for the number which is said without more
        ("sorry, it's 4 7 1 1"); None if there is none, or another thing is asked for first."""
        found = self._telling.flow_of_number(utterance, flows)
        if found is None:
            return None
        flow, variable = found
        begun = self.start(state.without((variable,)), flow, utterance, turn)
        node = self._node(begun.state) if begun.state.waiting == "answer" else None
        if isinstance(node, AskNode) and node.variable == variable:
            return self.answer(begun.state, utterance, turn)
        return begun if begun.state.knows(variable) else None

    def answer(self, state: CallState, utterance: str, turn: int, *, certainty: float = 1.0) -> Step:
        """The caller's words at the node where the call stands. Raises FlowError if it waits for no answer.

        `certainty`: how sure it is that these are the words that answer; it lowers the value's confidence.
        """
        node = self._node(state)
        if state.waiting != "answer" or not isinstance(node, AskNode | ConfirmNode | TalkNode):
            raise FlowError(f"no answer is waited for at {state.place}, in state {state.waiting!r}")
        if isinstance(node, TalkNode):
            return self._answer_in_talk(state, node, utterance, turn)
        if isinstance(node, AskNode):
            return self._answer_question(state, node, utterance, turn, certainty)
        return self._answer_read_back(state, node, utterance, turn)

    def tool_done(self, state: CallState, result: ToolResult) -> Step:
        """A tool has finished. Raises FlowError if none is waited for."""
        node = self._node(state)
        if state.waiting != "tool" or not isinstance(node, CallNode | TalkNode):
            raise FlowError(f"no tool is waited for at {state.place}, in state {state.waiting!r}")
        if isinstance(node, TalkNode):
            return self._tool_done_in_talk(state, node, result)
        if result.status == "ok":
            return self._run(_go(self._words.saved(state, node.save, result), node.go))
        if result.status == "rejected" and result.code in node.rejected:
            return self._run(_go(self._words.saved(state, node.save, result), node.rejected[result.code]))
        return self._run(_go(state, node.failed))

    def cancel(self, state: CallState) -> Step | None:
        """The caller calls off what is under way; None if there is nothing, or it cannot be called off."""
        text = self._flow(state.stack[0].flow).cancelled if state.stack else None
        if text is None or state.waiting == "tool":
            return None
        flows = {place.flow for place in state.stack}
        asked = tuple(name for flow in flows for name in (*self._flow(flow).variables(), *self._flow(flow).forget))
        over = dataclasses.replace(state.without(asked), stack=(), waiting="free", tries=0, postponed=None)
        return Step(over, (self._words.render(state, text),))

    def without_refused(self, state: CallState, utterance: str) -> CallState:
        """Without the flow whose question for a yes or no gets a no and another wish ("No, I want to cancel")."""
        node = self._node(state) if state.stack else None
        yes_or_no = isinstance(node, AskNode) and self._words.variable(node.variable).type == "yes_no"
        if not yes_or_no or after_no(utterance, self._language) == utterance:
            return state
        stack = state.stack[:-1]
        while stack and isinstance(self._flow(stack[-1].flow).nodes.get(stack[-1].node), FlowNode):
            stack = stack[:-1]  # It was called from there.
        return dataclasses.replace(state, stack=stack, waiting="answer" if stack else "free")

    def prompt(self, state: CallState) -> str:
        """What was last asked, to be asked again after something else came up; empty if nothing was."""
        node = self._node(state) if state.stack else None
        if state.waiting != "answer" or not isinstance(node, AskNode | ConfirmNode | TalkNode):
            return ""
        if isinstance(node, TalkNode):
            return talk_of(state).asked or self._talks.question(state, node)
        if isinstance(node, ConfirmNode) and state.changing:
            return self._change(state, node)
        if state.named and isinstance(node, AskNode):
            left = self._words.context(state, self._words.variable(node.variable)).options[state.named :]
            return self._words.render(state, phrases(self._language).more, fitting=self._words.listed(left))
        return self._words.render(state, node.say[0])

    def question(self, state: CallState) -> str:
        """The same without what leads up to the question, for who has just heard it; what is on offer is said again."""
        prompt = self.prompt(state)
        return prompt if self.offers(state) else last_question(prompt)

    def offers(self, state: CallState) -> bool:
        """Whether it is asked what of the things on offer is wanted."""
        node = self._node(state) if state.stack else None
        return isinstance(node, AskNode) and self._words.variable(node.variable).options_from is not None

    def surely_answers(self, state: CallState, utterance: str) -> bool:
        """Whether a reader reads what was asked in all but a few of the words, and is sure of it.

        What only says another value of what was asked before counts too.
        """
        return self._answers(state, utterance, surely=True)

    def mostly_answers(self, state: CallState, utterance: str) -> bool:
        """Whether a reader reads what was asked in all but a few of the words, be it something that anything may be."""
        return self._answers(state, utterance, surely=False)

    def _answers(self, state: CallState, utterance: str, *, surely: bool) -> bool:
        node = self._node(state) if state.waiting == "answer" else None
        flow = self._flow(_place(state).flow) if node is not None else None
        if flow is not None and isinstance(node, AskNode) and self._changes.plainly(state, flow, node, utterance, 0):
            return True
        if (waited_for := asked(state, node, self._words)) is None:
            return False
        variable, context = waited_for
        reading = read(variable, utterance, context)
        if reading is None or (surely and not is_sure(variable, reading)):
            return False
        return leaves_little(reading, utterance, self._language)

    def yes_or_no(self, utterance: str) -> Reading | None:
        """What it says to a question for yes or no; None: neither."""
        return read(YES_NO, utterance, self._words.plain())

    def told_flows(self, utterance: str) -> Mapping[str, int]:
        """How many values it surely tells that each flow would ask for, of kinds that are seldom said otherwise."""
        return self._telling.told_flows(utterance)

    def only_tells(self, part: str) -> bool:
        """Whether a part of an utterance tells a number that flows ask for, and nothing else."""
        return only_tells(self._words.variables.values(), part, dataclasses.replace(self._words.plain(), asked=False))

    def asks_for_value(self, state: CallState) -> bool:
        """Whether the answer waited for is more than a yes or no: people often add to it."""
        return state.waiting == "answer" and isinstance(self._node(state), AskNode | TalkNode)

    def asks_for_text(self, state: CallState) -> bool:
        """Whether the answer waited for may be any words."""
        node = self._node(state) if state.waiting == "answer" else None
        return isinstance(node, AskNode) and self._words.variable(node.variable).type == "text"

    def fillable(self, state: CallState) -> tuple[Variable, ReadingContext] | None:
        """What is asked for, if a language model may look for it in an answer that the reader could not read."""
        node = self._node(state) if state.waiting == "answer" else None
        if not isinstance(node, AskNode):
            return None
        variable = self._words.variable(node.variable)
        return (variable, self._words.context(state, variable)) if variable.fill == "model" else None

    def said(self, state: CallState, argument: str) -> str:
        """An argument of the tool call that a state waits for, as the agent would say it."""
        node = self._node(state)
        return self._words.argument_said(state, self._arguments(state, node).get(argument, ""))

    def spoken(self, state: CallState, name: str) -> str:
        """A known variable as the agent says it."""
        return self._words.spoken(state, name)

    def pending_call(self, state: CallState) -> ToolCall | None:
        """The tool call that a state waits for, with the key it had when it was begun; for a call that is resumed."""
        node = self._node(state) if state.stack else None
        if state.waiting != "tool" or not isinstance(node, CallNode | TalkNode):
            return None
        return self._tool_call(state, node)

    def holds(self, guard: Guard, state: CallState) -> bool:
        """Whether a condition holds now. Raises FlowError for one that makes no sense."""
        try:
            return self._conditions.hold(guard, state)
        except ValueError as error:
            raise FlowError(str(error)) from error

    def model(self, state: CallState) -> Literal["auto", "small", "large"]:
        """What the node where the call stands says of the language model."""
        return self._node(state).model if state.stack else "auto"

    # -- answers ---------------------------------------------------------------------------------------------------

    def _answer_question(self, state: CallState, node: AskNode, utterance: str, turn: int, certainty: float) -> Step:
        variable = self._words.variable(node.variable)
        context = self._words.context(state, variable)
        flow = self._flow(_place(state).flow)
        changed = self._changes.at_question(
            state, flow, node, utterance, turn, lambda words: self._offers.reading(state, node, words)
        )
        reading = self._offers.reading(state, node, changed.answer if changed else utterance)
        if reading is not None:
            value = Value(reading.value, reading.words, reading.confidence * certainty, turn)
            known = dataclasses.replace(state.with_values(**{node.variable: value}), tries=0)
            known = self._telling.taken(known, utterance, turn, besides=node.variable)
            return self._reconsidered(known, flow, changed) if changed else self._run(_go(known, node.go))
        if changed:
            return self._reconsidered(state, flow, changed)
        offered = self._telling.taken(state, utterance, turn, besides=node.variable)
        several = fitting(variable, utterance, context)
        if node.narrow and 0 < len(several) < len(context.options):
            listed = self._words.listed(several)
            text = self._words.render(offered, node.narrow, fitting=listed)
            narrowed = tuple(option.value for option in several)
            return Step(dataclasses.replace(offered, waiting="answer", narrowed=narrowed), (text,))
        told = {name: value.words for name, value in offered.values.items() if state.values.get(name) != value}
        if plainly := self._changes.plainly(state, flow, node, utterance, turn, tuple(told.values())):
            return self._reconsidered(offered, flow, plainly)
        offers = variable.options_from is not None
        if told:
            after, go = self._changes.looked_up_again(offered, flow, told) if offers else (offered, None)
            return self._run(_go(after, go) if go else offered)
        settles_nothing = len(several) in (0, len(context.options))
        if offers and settles_nothing and (other := self._changes.other_day(offered, flow, node, utterance, turn)):
            after, go = other
            return self._run(_go(after.with_early(node.variable, utterance, turn), go))
        if variable.type in HAD and lacks_it(utterance, self._language):
            given_up = self._run(_go(offered, node.exhausted))
            return dataclasses.replace(given_up, fitted=False, lacks=True)
        if len(several) != 1 and context.options and asks_for_others(utterance, self._language):
            return self._others(state, node)
        if offers and self._offers.has_others_only(state, node, utterance):
            others = _saying((phrases(self._language).none_then,), self._others(state, node))
            return dataclasses.replace(others, fitted=False)
        return self._miss(offered, node)

    def _reconsidered(self, state: CallState, flow: Flow, changed: Reconsidered) -> Step:
        """Where it goes on once something that was asked before has changed."""
        after, go = self._changes.looked_up_again(state.with_values(**changed.values), flow, changed.values)
        return self._run(_go(after, go or changed.go))

    def _others(self, state: CallState, node: AskNode) -> Step:
        """Others of what is on offer; as often as it may be asked."""
        others = self._offers.others(state, node)
        return Step(others[0], (others[1],)) if others else self._miss(state, node)

    def _answer_read_back(self, state: CallState, node: ConfirmNode, utterance: str, turn: int) -> Step:
        verdict, flow = self.yes_or_no(utterance), self._flow(_place(state).flow)
        agreed = verdict is not None and verdict.value == "yes"
        values = self._changes.at_read_back(state, node, utterance, turn, agreed=agreed)
        if values:
            changed = dataclasses.replace(state.with_values(**values), tries=0, changing=False)
            changed, go = self._changes.looked_up_again(changed, flow, values)
            return self._run(_go(changed, go) if go else changed)
        if verdict is None or verdict.value == "no":
            anew = self._changes.asked_anew(state, flow, node, utterance)
            said = after_no(utterance, self._language)
            if anew is None and (plainly := self._changes.plainly(state, flow, node, said, turn)):
                return self._reconsidered(state, flow, plainly)
            if anew is not None:
                name, go, told = anew
                there = _go(state.without((name,)), go)
                answered = dataclasses.replace(there, waiting="answer")
                return self.answer(answered, utterance, turn) if told else self._run(there)
        objects = verdict.value == "no" if verdict else agrees_but_objects(utterance, self._language)
        if objects and node.change is not None and not state.changing:
            return Step(dataclasses.replace(state, changing=True), (self._change(state, node),))
        # Who says more than a no to "what should I change?" does not want it all forgotten.
        more = verdict is not None and verdict.value == "no" and not bare_no(utterance, self._language)
        if verdict is None or (state.changing and (agreed or more)):
            return self._miss(dataclasses.replace(state, changing=False), node)
        if verdict.value == "no":
            refused = self._run(_go(dataclasses.replace(state.without(node.forget), tries=0), node.on_no))
            return self._refused_otherwise(refused, state, node, utterance, turn) if more else refused
        read_back = {name: state.values[name] for name in node.variables if name in state.values}
        confirmed = {name: dataclasses.replace(value, confirmed=True) for name, value in read_back.items()}
        return self._run(_go(dataclasses.replace(state.with_values(**confirmed), tries=0), node.on_yes))

    def _refused_otherwise(self, refused: Step, state: CallState, node: ConfirmNode, utterance: str, turn: int) -> Step:
        """What comes of more than a no. `refused`: of a no alone. What is asked then may be answered already ("no, with
        my neighbour"); where nothing is asked, it is asked what should change before all is forgotten."""
        said = after_no(utterance, self._language)
        if self.asks_for_value(refused.state):
            return self.answer(refused.state, said, turn) if self.surely_answers(refused.state, said) else refused
        if len(node.variables) < _SEVERAL:
            return refused
        return Step(dataclasses.replace(state, changing=True), (self._change(state, node),))

    def _change(self, state: CallState, node: ConfirmNode) -> str:
        return self._words.render(state, node.change or phrases(self._language).change)

    def _miss(self, state: CallState, node: AskNode | ConfirmNode) -> Step:
        tries = state.tries + 1
        if tries >= node.tries:
            given_up = self._run(_go(dataclasses.replace(state, tries=0), node.exhausted))
            return dataclasses.replace(given_up, fitted=False)
        text = node.say[min(tries, len(node.say) - 1)]
        named = self._offers.narrowed(state, node) if isinstance(node, AskNode) else ""
        if isinstance(node, AskNode) and node.narrow and named:
            text = node.narrow
        missed = dataclasses.replace(state, tries=tries)
        return Step(missed, (self._words.render(state, text, fitting=named),), fitted=False)

    # -- free conversations ----------------------------------------------------------------------------------------

    def conversation(self, state: CallState) -> Conversation:
        """The one that the call is in. Raises FlowError if it is in none, or waits for a tool."""
        return self._talks.conversation(state, self._talk_node(state))

    def taken(self, state: CallState, pointed_at: Mapping[str, str], utterance: str, turn: int) -> CallState:
        """The state with what the caller's words tell; see `TalkNodes.taken`."""
        return self._talks.taken(state, pointed_at, utterance, turn)

    def moved(self, state: CallState, move: Move) -> Step:
        """What comes of a model's move: as much of it as the node allows. Raises FlowError as `conversation` does."""
        node = self._talk_node(state)
        talk = talk_of(state)
        says, lacking = move.says, None
        if move.call in self._talks.conversation(state, node).tools:
            lacking = self._talks.lacks(state, node, move.call)
            read_back = self._talks.read_back(state, node, move.call)
            if lacking is None and not self._talks.is_write(move.call):
                return self._begin_in_talk(state, node, move.call, says)
            if lacking is None and read_back:
                talk = dataclasses.replace(talk, calling=move.call, asked=read_back)
                return Step(with_talk(state, talk), (read_back,))
        # Who wants something done first has not come to the end.
        if move.leave in node.ways and lacking not in node.fill:
            # What is asked next stands there.
            said = tuple(text for text in says if not text.endswith("?"))
            return _saying(said, self._run(_go(state, node.ways[move.leave])))
        if lacking in node.fill and not any(text.endswith("?") for text in says):
            says = (*says, self._words.render(state, node.fill[lacking]))
        question = self._talks.question(state, node)
        says = says or ((question,) if question else ())
        asked = next((text for text in reversed(says) if text.endswith("?")), "")
        return Step(with_talk(state, dataclasses.replace(talk, asked=asked)), says)

    def gave_up(self, state: CallState, why: Literal["exhausted", "failed"]) -> Step:
        """It has reached its limit, or the model fails. Raises FlowError as `conversation` does."""
        node = self._talk_node(state)
        return self._run(_go(state, node.exhausted if why == "exhausted" else node.failed))

    def _talk_node(self, state: CallState) -> TalkNode:
        node = self._node(state)
        if state.waiting != "answer" or not isinstance(node, TalkNode):
            raise FlowError(f"no free conversation goes on at {state.place}, in state {state.waiting!r}")
        return node

    def _come_to_talk(self, state: CallState, node: TalkNode, says: tuple[str, ...]) -> Step:
        talk = talk_of(state)
        again = self.prompt(state) if talk.turns else ""
        first = again or (self._words.render(state, node.say) if node.say else "")
        if not first:
            return Step(state, says, thinks=True)
        return Step(with_talk(state, dataclasses.replace(talk, asked=first)), (*says, first))

    def _answer_in_talk(self, state: CallState, node: TalkNode, utterance: str, turn: int) -> Step:
        talk = talk_of(state)
        if talk.calling:
            verdict = self.yes_or_no(utterance)
            agreed = verdict is not None and verdict.value == "yes"
            corrected = self._talks.corrected(state, node, utterance, turn, agreed=agreed)
            if corrected.values != state.values:
                read_back = self._talks.read_back(corrected, node, talk.calling)
                return Step(with_talk(corrected, dataclasses.replace(talk, asked=read_back)), (read_back,))
            if agreed:
                return self._begin_in_talk(self._talks.confirmed(state, node), node, talk.calling, ())
        if talk.turns >= node.limits.turns:
            return self._run(_go(state, node.exhausted))
        # A read-back that got no yes is over; the model may have it read back again.
        asked = "" if talk.calling else talk.asked
        heard = with_talk(state, dataclasses.replace(talk, turns=talk.turns + 1, calling="", asked=asked))
        return Step(self._telling.taken(heard, utterance, turn), thinks=True)

    def _begin_in_talk(self, state: CallState, node: TalkNode, tool: str, says: tuple[str, ...]) -> Step:
        talk = dataclasses.replace(talk_of(state), calling=tool, tools=talk_of(state).tools + 1, asked="")
        begun = dataclasses.replace(with_talk(state, talk), waiting="tool", visits=state.visits + 1)
        return Step(begun, says, self._tool_call(begun, node))

    def _tool_done_in_talk(self, state: CallState, node: TalkNode, result: ToolResult) -> Step:
        if result.status not in ("ok", "rejected"):
            return self._run(_go(state, node.failed))
        tool = node.tools[talk_of(state).calling]
        after = dataclasses.replace(self._talks.learnt(state, node, result), waiting="answer")
        text = tool.done if result.status == "ok" else tool.rejected.get(result.code)
        return Step(after, (self._words.render(after, text),) if text else (), thinks=True)

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _run(self, state: CallState) -> Step:
        """Pass nodes until something must be waited for."""
        says: list[str] = []
        for _ in range(MOST_NODES):
            if not state.stack and state.postponed is not None:
                says = [*without_last_question(says), phrases(self._language).next_wish]
                state = self._with_postponed(state, state.postponed)
                continue
            if not state.stack:
                return Step(dataclasses.replace(state, waiting="free", tries=0), tuple(says))
            if state.stack[-1].node == END:
                state = self._leave(state)
                continue
            node = self._node(state)
            match node:
                case SayNode():
                    says.append(self._words.render(state, node.say))
                    state = _go(state, node.go)
                case SetNode():
                    made = {
                        name: Value(self._words.canonical(state, text), source="agent")
                        for name, text in node.values.items()
                    }
                    state = _go(state.without(node.forget).with_values(**made), node.go)
                case DecideNode():
                    state = _go(state, next((e.go for e in node.edges if self.holds(e.when, state)), node.otherwise))
                case AskNode() if any(state.knows(name) for name in (node.variable, node.settled_by) if name):
                    state = _go(state, node.go)
                case AskNode() if node.take_only and (only := self._offers.only(state, node)) is not None:
                    state = _go(state.with_values(**{node.variable: Value(only, source="tool")}), node.go)
                case FlowNode():
                    place = Place(node.flow, self._flow(node.flow).start, wish=_place(state).wish)
                    state = dataclasses.replace(state, stack=(*state.stack, place), tries=0)
                case AskNode() if state.early.get(node.variable) and self.offers(state):
                    state, narrowed = self._offers.told_early(state, node)
                    if narrowed:
                        return Step(dataclasses.replace(state, waiting="answer"), (*says, narrowed))
                case AskNode() | ConfirmNode():
                    says.append(self._words.render(state, node.say[0]))
                    return Step(dataclasses.replace(state, waiting="answer"), tuple(says))
                case TalkNode():
                    return self._come_to_talk(dataclasses.replace(state, waiting="answer"), node, tuple(says))
                case CallNode():
                    state = dataclasses.replace(state, waiting="tool", visits=state.visits + 1)
                    return Step(state, tuple(says), self._tool_call(state, node))
                case TransferNode():
                    said = (*says, self._words.render(state, node.say)) if node.say else tuple(says)
                    over = dataclasses.replace(state, waiting="over")
                    return Step(over, said, Transfer(node.reason, node.target, node.next_step))
                case HangUpNode():
                    said = (*says, self._words.render(state, node.say))
                    return Step(dataclasses.replace(state, waiting="over"), said, HangUp())
        raise FlowError(f"flow {_place(state).flow!r} goes in circles at {_place(state).node!r}")

    def _with_postponed(self, state: CallState, wish: Postponed) -> CallState:
        place = Place(wish.flow, self._flow(wish.flow).start, wish=wish.utterance)
        begun = dataclasses.replace(state, stack=(place,), tries=0, postponed=None)
        return self._telling.taken(begun, wish.utterance, wish.turn, anew=True)

    def _leave(self, state: CallState) -> CallState:
        """A flow has ended: go on where it was called, or where it had broken in."""
        stack, forget = state.stack[:-1], self._flow(_place(state).flow).forget
        left = dataclasses.replace(state, stack=stack, tries=0)
        if stack and isinstance(node := self._node(left), FlowNode):
            return _go(left.without(forget), node.go)
        # What goes on may stand before a read-back of what they share.
        shared = {name for place in stack for name in self._flow(place.flow).variables()}
        return left.without(tuple(name for name in forget if name not in shared))

    def _tool_call(self, state: CallState, node: CallNode | TalkNode) -> ToolCall:
        place = _place(state)
        tool = node.tool if isinstance(node, CallNode) else place.talk.calling
        key = f"{self._call_id}/{place.flow}/{place.node}/{state.visits}"
        return ToolCall(tool, self._words.arguments(state, self._arguments(state, node)), key)

    def _arguments(self, state: CallState, node: AnyNode) -> Mapping[str, str]:
        """Those of the call that a state waits for, as the file has them."""
        if isinstance(node, TalkNode):
            return self._talks.templates(node, talk_of(state).calling)
        return node.arguments if isinstance(node, CallNode) else {}

    def _node(self, state: CallState) -> AnyNode:
        place = _place(state)
        try:
            return self._flow(place.flow).nodes[place.node]
        except KeyError:
            raise FlowError(f"flow {place.flow!r} has no node {place.node!r}; the agent file has changed") from None

    def _flow(self, name: str) -> Flow:
        try:
            return self._flows[name]
        except KeyError:
            raise FlowError(f"there is no flow {name!r}; expected one of {', '.join(self._flows)}") from None


def _saying(says: tuple[str, ...], step: Step) -> Step:
    """The step, with something said before."""
    return dataclasses.replace(step, says=(*says, *step.says))


def _go(state: CallState, target: str) -> CallState:
    place = Place(_place(state).flow, target, wish=_place(state).wish)
    return dataclasses.replace(state, stack=(*state.stack[:-1], place), tries=0, narrowed=(), named=0, changing=False)


def _place(state: CallState) -> Place:
    if state.place is None:
        raise FlowError("no flow is under way")
    return state.place
