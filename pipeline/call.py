"""One call: audio and keys in, a conversation out, every step in the event log.

A turn's life: speech -> pause -> a *candidate* (transcript, route, reply, first speech) is prepared behind a gate ->
Smart Turn or silence decides that the turn is over -> the gate opens -> the reply becomes audible -> it has been heard.
`Call._turn` is that life from top to bottom; `reply.py` says what may become of a reply, `floor.py` who speaks.
If the caller goes on before the reply is audible, the candidate is thrown away and the turn goes on.
Speech over a reply silences it at once. It is held until words say what the speech was: a turn, and the reply is over;
or a cough or an "mm-hm", and it goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from models.types import FloatAudio, ModelFailure, Transcript
from pipeline import events as ev
from pipeline.backchannel import is_backchannel
from pipeline.clock import Clock, since_ms
from pipeline.current_turn import CurrentTurn
from pipeline.dialogue_manager import DialogueManager
from pipeline.endpointer import Endpointer
from pipeline.floor import Floor
from pipeline.hearing import Hearing
from pipeline.keypad import Keypad
from pipeline.language_switcher import ActiveAgent, AgentSpec, LanguageSwitcher
from pipeline.onset_guard import OnsetGuard
from pipeline.partials import PartialBudget
from pipeline.plan import ByTools, Plan, Says, clauses_of_text
from pipeline.planner import Planner
from pipeline.ports import AudioOutput, VoiceActivity
from pipeline.preemptive_generation import PreemptiveBudget
from pipeline.reply import Made, Reply, State
from pipeline.reply_player import ReplyPlayer, Stage
from pipeline.silence import SilenceWatch
from pipeline.state import HangUp, Transfer
from pipeline.turns import TurnTracker
from pipeline.work import Work

EndReason = Literal[
    "caller_hung_up", "farewell", "escalated", "abuse", "transferred", "silence", "too_long", "line_lost", "failure"
]

_SURELY_SPEECH_S = 1.0
"""What the VAD called speech for this long was meant for us, even if no words came of it: ask again."""


class Call:
    """One call's conversation. `feed`, `hear_words` and `press` come from the line, `run` holds the call to its end."""

    def __init__(
        self,
        spec: AgentSpec,
        *,
        others: Sequence[AgentSpec] = (),
        vad: VoiceActivity,
        line: AudioOutput,
        log: ev.EventLog,
        clock: Clock,
        preemptive: PreemptiveBudget,
        partials: PartialBudget,
    ) -> None:
        """`spec`: of the agent that answers; its turn-taking holds for the whole call. `others`: of one agent for each
        further language. `preemptive` and `partials` are shared by all calls of a gateway.
        """
        agent, models = spec.agent, spec.models
        self._id = spec.services.call_id
        self._line = line
        self._log = log
        self._clock = clock
        self._settings = agent.turn_taking
        self._preemptive = preemptive
        self._work = Work()
        self._spawn = self._work.spawn
        self._switcher = LanguageSwitcher(spec, others, activate=self._activate, log=log.append)
        tracker = TurnTracker(vad, agent.turn_taking)
        guard = OnsetGuard(settle_ms=agent.turn_taking.settle_ms)
        self._hearing = Hearing(
            tracker,
            models.transcriber,
            log,
            clock,
            every_ms=agent.turn_taking.partial_every_ms,
            timeout_s=agent.stage_timeout_s,
            budget=partials,
            languages=lambda: self._switcher.languages,
            spawn=self._spawn,
            partial=self._partial,
        )
        self._floor = Floor(line, self._switcher, guard, log, left=self._reply_over)
        self._current = CurrentTurn(
            tracker,
            self._hearing,
            Endpointer(models.turn_scorer, agent.turn_taking, log, clock, timeout_s=agent.stage_timeout_s),
            guard,
            self._floor,
            agent.turn_taking,
            log,
            spawn=self._spawn,
            reply=self._new_reply,
            make=self._make,
        )
        self._player = ReplyPlayer(
            line, self._floor, log, clock, begin=self._begin, speech_came=self._current.speech_came
        )
        self._keypad = Keypad(clock, spawn=self._work.spawn_reply, entered=self._answer_keys)
        self._anticipation: asyncio.Task[None] | None = None
        self._replies = 0
        self._watch = SilenceWatch(agent, clock, busy=self._busy, say=self._reprompt, close=self._close)
        self._over = asyncio.Event()
        self._end_reason: EndReason = "failure"

    @property
    def manager(self) -> DialogueManager:
        """Of the agent that has the word."""
        return self._switcher.active.manager

    @property
    def _goes_on(self) -> bool:
        return self._work.goes_on and not self._over.is_set()

    def _activate(self, spec: AgentSpec) -> ActiveAgent:
        agent, models = spec.agent, spec.models
        manager = DialogueManager(
            agent,
            models.language_model,
            spec.context,
            spec.services,
            spawn=self._spawn,
            log=self._log.append,
            clock=self._clock,
        )
        return ActiveAgent(spec, manager, Planner(agent, models, manager, self._log, self._clock))

    # -- the line's side -------------------------------------------------------------------------------------------

    def feed(self, frame: FloatAudio) -> None:
        """Caller's audio, float32 16 kHz mono, any length; shorter gaps are the line's to fill. Returns at once."""
        if self._goes_on:
            self._current.feed(frame)

    def hear_words(self, text: str, *, unclear: bool = False) -> None:
        """The caller's words as they are, for lines without audio: a turn that is over. Returns at once.

        Empty: something was said, and nobody knows what. `unclear`: the words may be wrong.
        """
        if not self._goes_on:
            return
        reply = self._current.without_sound()
        if self._floor.stays(text):
            self._log.append(ev.TurnDropped(turn=reply.turn, why="backchannel"))
            reply.withdraw()
            return
        self._floor.interrupt(reply.turn)
        if text:
            self._log.append(ev.FinalTranscript(turn=reply.turn, text=text, average_log_probability=0.0, took_ms=0.0))
            text = f"{self._floor.carried} {text}".strip()
        self._answer_words(reply, text, poor=unclear)

    def press(self, digit: str) -> None:
        """A key was pressed: the agent stops, and answers what the keys stand for if they stand for anything.

        A key without a meaning does not stop what must be heard.
        """
        self._log.append(ev.Keypress(digit=digit))
        self._watch.heard_from()
        self._watch.answered()
        if not self._goes_on:
            return
        meaning = None if self.manager.in_flow else self._switcher.active.agent.keys.get(digit)
        answers = self.manager.in_flow and self.manager.state.waiting == "answer"
        if meaning is not None or answers or not self._must_be_heard():
            self._floor.interrupt(self._current.number)
        if meaning is not None:
            self._answer_keys(meaning)
        elif answers:
            self._keypad.press(digit)

    def caller_gone(self, reason: Literal["caller_hung_up", "line_lost"]) -> None:
        """The caller hung up, or the stream broke."""
        self._end(reason)

    def first_audio_sent(self, clause_id: str) -> None:
        """PlayoutListener: a clause became audible."""
        reply = self._floor.reply
        if reply is None or not reply.owns(clause_id):
            return
        self._log.append(ev.FirstAudio(turn=reply.turn, clause_id=clause_id))
        if reply.state is State.DECIDED:
            reply.sound()
            self._now_counts(reply)

    def clause_played(self, clause_id: str) -> None:
        """PlayoutListener: a clause was heard to its end."""
        if self._floor.reply is not None:
            self._log.append(ev.ClausePlayed(turn=self._floor.reply.turn, clause_id=clause_id))

    async def replied(self) -> None:
        """Wait until the agent has said what it has to say to what came so far."""
        await self._work.replied()

    async def run(self) -> None:
        """Greet, talk, and return once the call is over. Cancellation ends the call as `line_lost`."""
        try:
            async with self._work.lasting():
                self._spawn(self._watch.run())
                self._spawn(self._switcher.active.planner.warm_up(self._warm_up_id))
                self._tell(self.manager.open(self._current.number))
                await self._over.wait()
        except asyncio.CancelledError:
            self._end("line_lost")
            raise
        finally:
            self._current.break_off()
            self._floor.break_off()
            self._log.append(ev.CallEnded(reason=self._end_reason))

    # -- turns -----------------------------------------------------------------------------------------------------

    def _make(self, reply: Reply, audio: FloatAudio, speech_end_s: float) -> None:
        reply.task = self._work.spawn_reply(self._turn(reply, audio, speech_end_s))

    async def _turn(self, reply: Reply, audio: FloatAudio, speech_end_s: float) -> None:
        """One turn: hear what was said, decide what to answer, say it, and see it heard.

        All of it may happen while the turn can still go on. Then the task is cancelled, and nothing has happened: that
        the turn is over is decided beside it (`current_turn.py`), and waited for before anything is heard or done.
        """
        stage: Stage = "transcribe"
        began_s = self._clock.now_s()
        try:
            transcript = await self._heard(reply, audio, speech_end_s)
            utterance = f"{self._floor.carried} {transcript.text}".strip()
            if self._current.spoken_on(reply):
                self._words_are(reply, transcript, since_ms(self._clock, began_s))
                reply.withdraw()
                self._current.carry(reply, utterance)
                return
            if not utterance or self._floor.stays(transcript.text):
                plan = await self._instead_of_a_turn(reply, transcript.text)
                if plan is None:
                    return
            else:
                self._words_are(reply, transcript, since_ms(self._clock, began_s))
                stage = "route"
                reply.active = await self._switcher.for_language(transcript.language)
                poor = transcript.average_log_probability < self._settings.poor_log_probability
                plan = await self._plan(reply, utterance, poor=poor)
            reply.answer_with(plan)
            if not reply.generate_preemptively(self._preemptive):
                await reply.until_decided()
            stage = "reply"
            await self._player.play(reply, plan, self._request_id(reply))
        except (ModelFailure, TimeoutError) as error:
            await self._apologise(reply, stage, error)
        await self._hear_out(reply)

    async def _heard(self, reply: Reply, audio: FloatAudio, speech_end_s: float) -> Transcript:
        async with asyncio.timeout(reply.active.agent.stage_timeout_s):
            return await self._hearing.hear(audio, speech_end_s)

    def _words_are(self, reply: Reply, transcript: Transcript, took_ms: float) -> None:
        self._log.append(
            ev.FinalTranscript(
                turn=reply.turn,
                text=transcript.text,
                average_log_probability=transcript.average_log_probability,
                took_ms=took_ms,
            )
        )

    async def _instead_of_a_turn(self, reply: Reply, text: str) -> Plan | None:
        """No turn after all. If it had silenced the agent, the agent goes on where it stopped."""
        reply.answer_nothing(over_another=self._floor.reply is not None)
        await reply.until_decided()
        self._log.append(ev.TurnDropped(turn=reply.turn, why="backchannel" if text else "no_words"))
        speech_s = self._current.speech_s
        self._current.close(reply)
        if self._floor.reply is not None:
            self._floor.go_on()
        elif self.manager.has_news:
            return self.manager.news()
        elif not text and speech_s >= _SURELY_SPEECH_S:
            return self.manager.not_understood(turn=reply.turn)
        reply.withdraw()
        return None

    def _partial(self, turn: int, text: str, *, stable: bool) -> None:
        """Words are being made out while the caller speaks."""
        if not is_backchannel(text):
            self._floor.give_way(self._current.number)
        idle = self._anticipation is None or self._anticipation.done()
        if self._preemptive.on_partials and stable and idle:
            self._anticipation = self._spawn(
                self._switcher.active.planner.read_ahead(turn, text, f"{self._id}-t{turn}-ahead")
            )

    # -- replies ---------------------------------------------------------------------------------------------------

    def _answer_keys(self, meaning: str) -> None:
        """Keys are answered as if it had been said what they stand for."""
        reply = self._current.keyed(meaning)
        if reply is not None:
            self._answer_words(reply, meaning)

    def _answer_words(self, reply: Reply, utterance: str, *, poor: bool = False) -> None:
        """They are not waited with."""
        reply.task = self._work.spawn_reply(self._reply_to_words(reply, utterance, poor=poor))

    def _must_be_heard(self) -> bool:
        """Whether what is being said tells how something ended: what a tool came to, or the call."""
        reply = self._floor.reply
        if reply is None:
            return False
        return self.manager.state.closing is not None or isinstance(reply.plan, ByTools)

    async def _reply_to_words(self, reply: Reply, utterance: str, *, poor: bool) -> None:
        """A turn whose words were not heard: text, or what keys stand for."""
        manager = reply.active.manager
        try:
            if utterance:
                plan = await self._plan(reply, utterance, poor=poor)
            else:
                plan = manager.news() if manager.has_news else manager.not_understood(turn=reply.turn)
        except (ModelFailure, TimeoutError) as error:
            await self._apologise(reply, "route", error)
            await self._hear_out(reply)
        else:
            reply.answer_with(plan)
            await self._speak(reply, plan)

    async def _plan(self, reply: Reply, utterance: str, *, poor: bool) -> Plan:
        """How the words are answered; poor ones that lead to no answer were probably misheard."""
        plan = await reply.active.planner.plan(reply.turn, utterance, self._request_id(reply))
        manager = reply.active.manager
        return manager.not_understood(utterance, reply.turn) if poor and not manager.answers(plan) else plan

    async def _speak(self, reply: Reply, plan: Plan) -> None:
        """Say what is planned, and see it heard."""
        try:
            await self._player.play(reply, plan, self._request_id(reply))
        except (ModelFailure, TimeoutError) as error:
            await self._apologise(reply, "reply", error)
        await self._hear_out(reply)

    async def _apologise(self, reply: Reply, stage: Stage, error: Exception) -> None:
        """A stage failed. What fails in the moment in which its reply is broken off is nobody's concern any more."""
        reply.reach(Made.PLANNED)
        if not reply.over:
            await self._player.apologise(reply, stage, error)

    async def _begin(self, reply: Reply) -> None:
        """Something is about to be done that cannot be undone: the turn must be decided, and is closed by it."""
        await self._current.acts(reply)
        self._now_counts(reply)

    def _now_counts(self, reply: Reply) -> None:
        """The reply is audible: the turn is closed and the plan takes effect."""
        self._current.close(reply)
        if reply.plan is not None:
            self._watch.answered()
            if any(clause.source == "waiting" for clause in reply.clauses):
                self._watch.grant_moment()
            self._floor.carried = ""
            if self._switcher.counts(reply.active, reply.plan, reply.turn):
                self._spawn(reply.active.planner.warm_up(self._warm_up_id))

    async def _hear_out(self, reply: Reply) -> None:
        """Everything is queued: wait until it has been heard, and do what was to follow."""
        if reply.over:
            return
        await reply.until_decided()
        if self._floor.reply is not reply:
            # Nothing of it could be spoken.
            self._now_counts(reply)
            reply.end()
            return
        # It is given away while the caller is told so.
        manager = reply.active.manager
        package = manager.package()
        giving = self._spawn(reply.active.spec.services.hand_over(package)) if package is not None else None
        await self._floor.hear_out(reply)
        self._current.close(reply)
        match manager.state.closing:
            case Transfer(reason=reason, target=target, next_step=next_step):
                self._log.append(
                    ev.TransferRequested(turn=reply.turn, reason=reason, target=target, next_step=next_step)
                )
                if giving is not None:
                    await giving
                await self._hang_up("transferred")
            case HangUp(reason=reason):
                await self._hang_up(reason)

    def _reply_over(self, trimmed: bool) -> None:
        if self._work.goes_on:
            self._spawn(self._switcher.active.planner.after_exchange(self._warm_up_id, read_anew=trimmed))
        self._watch.heard_from()

    # -- the call --------------------------------------------------------------------------------------------------

    def _say(self, text: str, source: ev.ReplySource) -> Reply:
        """Speak a line of our own accord."""
        return self._tell(Says("", fixed=clauses_of_text(text, source)))

    def _tell(self, plan: Plan) -> Reply:
        """Speak of our own accord."""
        reply = self._new_reply(self._current.number)
        reply.decide()
        reply.task = self._work.spawn_reply(self._speak(reply, plan))
        return reply

    def _reprompt(self) -> None:
        """The caller has been silent: he may be waiting for what came of something."""
        if self.manager.has_news:
            self._tell(self.manager.news())
        else:
            self._say(self._switcher.active.agent.lines.reprompt, "reprompt")

    def _busy(self) -> bool:
        return self._current.under_way or self._work.replying or self.manager.tools_at_work

    async def _close(self, reason: Literal["too_long", "silence"]) -> None:
        await asyncio.wait({self._work.spawn_reply(self._say_goodbye(reason))})

    async def _say_goodbye(self, reason: Literal["too_long", "silence"]) -> None:
        self._current.withdraw()
        self._floor.interrupt(self._current.number)
        lines = self._switcher.active.agent.lines
        reply = self._say(lines.too_long if reason == "too_long" else lines.silence_farewell, "farewell")
        if reply.task is not None:
            await asyncio.wait({reply.task})
            if reason == "silence" and reply.task.cancelled():
                # The caller spoke up: somebody is there after all.
                self._watch.answered()
                return
        await self._hang_up(reason)

    async def _hang_up(self, reason: EndReason) -> None:
        await self._line.hang_up()
        self._end(reason)

    def _end(self, reason: EndReason) -> None:
        if not self._over.is_set():
            self._end_reason = reason
            self._over.set()

    def _request_id(self, reply: Reply) -> str:
        return f"{self._id}/t{reply.turn}.{reply.number}"

    @property
    def _warm_up_id(self) -> str:
        return f"{self._id}/warm-up"

    def _new_reply(self, turn: int) -> Reply:
        self._replies += 1
        return Reply(turn=turn, number=self._replies, active=self._switcher.active)
