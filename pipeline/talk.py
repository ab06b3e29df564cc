"""Free conversations: a language model is asked how one goes on, and what it says is held to what it was given.

The model proposes; nothing becomes true by that. Variables come from words that the caller has said, by the readers of
their types; sentences that nothing bears out are dropped (pipeline/talk_guard.py); tools are called by the engine that
runs the flow, writes after a read-back; and the flow says where each way out leads.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.types import Message, ModelFailure
from pipeline import events as ev
from pipeline.agent import Agent, Fact
from pipeline.clock import Clock, since_ms
from pipeline.context.wording import without_secrets
from pipeline.hearing import explain
from pipeline.plan import Clause, clauses_of_text
from pipeline.ports import LanguageModel
from pipeline.state import CallState, Learnt
from pipeline.talk_guard import Given, may_be_said, sentences, without_assent
from pipeline.talk_prompt import Words, proposal, schema, talk_request
from pipeline.workflow.definition import texts
from pipeline.workflow.engine import Step, WorkflowEngine
from pipeline.workflow.talk_node import Conversation, Move, talk_of, with_talk

MOST_IN_A_ROW = 3
"""Free conversations that may follow one another without a word of the caller's."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What becomes of a model's word, as far as it holds."""

    step: Step
    clauses: tuple[Clause, ...]
    """All that is said, with whose words they are."""


@dataclass(frozen=True, slots=True)
class _Judged:
    said: tuple[str, ...]
    dropped: tuple[str, ...]


class Talker:
    """One call's free conversations on their way through the language model. Nothing changes by asking it."""

    def __init__(
        self,
        agent: Agent,
        model: LanguageModel,
        engine: WorkflowEngine,
        log: Callable[[ev.Event], object],
        clock: Clock,
    ) -> None:
        self._agent = agent
        self._model = model
        self._engine = engine
        self._log = log
        self._clock = clock

    async def think(
        self,
        state: CallState,
        saying: tuple[Clause, ...],
        utterance: str,
        history: Sequence[Message],
        turn: int,
        request_id: str,
        *,
        answered: Sequence[Fact] = (),
    ) -> Thought:
        """How the conversation goes on in which the state stands. `saying`: what is said before, whatever comes of it,
        and after the facts that have `answered` a question; no `utterance`: the caller has said nothing since.

        Never raises for a model that fails: the flow then goes where its file says.
        """
        step, clauses = Step(state, thinks=True), saying
        for number in range(MOST_IN_A_ROW):
            said = " ".join((*(fact.text for fact in answered), *(clause.text for clause in clauses)))
            words = Words(utterance, said, tuple(history))
            step, more = await self._once(step.state, words, turn, f"{request_id}-talk-{number}")
            clauses += more
            if not step.thinks:
                break
        else:
            step = self._engine.gave_up(step.state, "exhausted")
            clauses += _written(step.says)
        if not clauses and step.act is None:
            clauses = clauses_of_text(self._agent.declined, "fallback")
        return Thought(step, clauses)

    async def _once(
        self, state: CallState, words: Words, turn: int, request_id: str
    ) -> tuple[Step, tuple[Clause, ...]]:
        now_s = self._clock.wall_time_s()
        began_s = talk_of(state).began_s
        if began_s is None:
            state = with_talk(state, dataclasses.replace(talk_of(state), began_s=now_s))
        conversation = self._engine.conversation(state)
        if began_s is not None and now_s - began_s > conversation.node.limits.time_s:
            over = self._engine.gave_up(state, "exhausted")
            return over, _written(over.says)
        request = talk_request(self._agent, conversation, words, request_id)
        asked_s = self._clock.now_s()
        try:
            async with asyncio.timeout(self._agent.stage_timeout_s):
                proposed = proposal(await self._model.structured(request, schema(conversation)))
        except (ModelFailure, TimeoutError) as error:
            self._log(ev.StageFailed(turn=turn, stage="reply", error=explain(error)))
            failed = self._engine.gave_up(state, "failed")
            return failed, _written(failed.says)
        pointed_at = {name: said for name, said in proposed.set.items() if said and name in conversation.fill}
        state = self._engine.taken(state, pointed_at, words.caller, turn)
        conversation = self._engine.conversation(state)
        judged = self._judged(proposed.say, conversation, words)
        self._log(
            ev.Talked(
                turn=turn,
                variables=tuple(pointed_at),
                call=proposed.call or "",
                leave=proposed.leave or "",
                dropped=judged.dropped,
                took_ms=since_ms(self._clock, asked_s),
            )
        )
        step = self._engine.moved(state, Move(judged.said, proposed.call or "", proposed.leave or ""))
        return step, _with_sources(step.says, judged)

    def _judged(self, say: str, conversation: Conversation, words: Words) -> _Judged:
        given = self._given(conversation, words.caller)
        said, dropped = [], []
        language = self._agent.language
        for sentence in sentences(_as_spoken(say, conversation.spoken)):
            bare = without_assent(sentence, language)
            if bare and bare in words.saying:
                continue  # Nothing is said twice.
            if bare and may_be_said(bare, given, language):
                said.append(bare)
            else:
                dropped.append(without_secrets(sentence, conversation.known))
        return _Judged(tuple(said), tuple(dropped))

    def _given(self, conversation: Conversation, utterance: str) -> Given:
        node, learnt = conversation.node, conversation.talk.learnt
        tools = self._agent.tools
        found = (text for one in learnt for text in one.found)
        matter = (node.goal, *texts(node), *node.ways, *conversation.fill.values(), *found, utterance)
        described = (f"{name.replace('_', ' ')} {tools[name].description}" for name in node.tools if name in tools)
        return Given(
            true=(
                *(fact.text for fact in self._agent.facts),
                *(text for one in learnt if not one.code for text in self._results(one)),
                *(f"{one.label} {one.value}" for one in conversation.known if one.from_system and not one.sensitive),
            ),
            refused=tuple(f"{self._what(one)} {one.code.replace('_', ' ')}" for one in learnt if one.code),
            told=conversation.told,
            matter=" ".join((*matter, *described)),
            never=node.never,
        )

    def _results(self, came: Learnt) -> Iterator[str]:
        """What a tool found or did, as texts that bear something out: all of it, and each part with its subject."""
        about = self._what(came) if self._agent.tools[came.tool].effect == "write" else " ".join(came.given)
        yield " ".join((about, *came.found))
        for part in came.found:
            yield f"{about} {part}"

    def _what(self, came: Learnt) -> str:
        return " ".join((self._agent.tools[came.tool].description, *came.given))


def _as_spoken(text: str, spoken: Mapping[str, str]) -> str:
    """The text with values as they are said."""
    kept = "|".join(re.escape(value) for value in sorted(spoken, key=len, reverse=True) if value)
    return re.sub(rf"(?<!\w)(?:{kept})(?!\w)", lambda match: spoken[match[0]], text) if kept else text


def _written(says: Sequence[str]) -> tuple[Clause, ...]:
    return tuple(clause for text in says for clause in clauses_of_text(text, "form"))


def _with_sources(says: Sequence[str], judged: _Judged) -> tuple[Clause, ...]:
    """The first words of the file's own tell what they stand for, if something was dropped."""
    clauses: list[Clause] = []
    rejected = " ".join(judged.dropped)
    for text in says:
        own = text in judged.said
        for clause in clauses_of_text(text, "llm" if own else "form"):
            clauses.append(clause if own else dataclasses.replace(clause, rejected=rejected))
            rejected = rejected if own else ""
    return tuple(clauses)
