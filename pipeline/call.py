"""One call: audio and keys in, a conversation out, every step in the event log.

A turn's life: speech -> pause -> a *candidate* (transcript, route, reply, first speech) is prepared behind a gate ->
Smart Turn or silence decides that the turn is over -> the gate opens -> the reply becomes audible -> it has been heard.
If the caller goes on before the reply is audible, the candidate is thrown away and the turn goes on.
Speech over a reply silences it at once. It is held until words say what the speech was: a turn, and the reply is over;
or a cough or an "mm-hm", and it goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from models.types import FloatAudio, ModelFailure, SpeechChunk
from pipeline import events as ev
from pipeline.agent_side import AgentSide
from pipeline.backchannel import LEAST_WORDS_LEFT, is_backchannel
from pipeline.calm import Calm
from pipeline.cast import Cast, Part, Role
from pipeline.clauses import split_clauses
from pipeline.clock import Clock, since_ms
from pipeline.delivery import Delivery, Stage
from pipeline.endpointer import Endpointer
from pipeline.hearing import Hearing
from pipeline.plan import Clause, Plan
from pipeline.planner import Planner
from pipeline.ports import HeardClause, Line, VoiceActivity
from pipeline.reply import Reply
from pipeline.responder import Responder
from pipeline.silence import SilenceWatch
from pipeline.speculation import SpeculationBudget
from pipeline.turns import Paused, SpeechBegan, SpeechHeld, SpeechResumed, TurnTracker
from pipeline.work import Work
from pipeline.workflow.engine import HangUp, Transfer

EndReason = Literal[
    "caller_hung_up", "farewell", "escalated", "transferred", "silence", "too_long", "line_lost", "failure"
]

_CUT_OFF_WORDS = 2
"""A reply of which no more than this was heard when the caller spoke had come too soon: the turn goes on."""

_SURELY_SPEECH_S = 1.0
"""What the VAD called speech for this long was meant for us, even if no words came of it: ask again."""


class Call:
    """One call's conversation. `feed`, `hear_words` and `press` come from the line, `run` holds the call to its end."""

    def __init__(
        self,
        part: Part,
        *,
        others: Sequence[Part] = (),
        vad: VoiceActivity,
        line: Line,
        log: ev.EventLog,
        clock: Clock,
        speculation: SpeculationBudget,
    ) -> None:
        """`part`: of the agent that answers; its turn-taking holds for the whole call. `others`: of one agent for each
        further language. `speculation` is shared by all calls of a gateway.
        """
        agent, models = part.agent, part.models
        self._line = line
        self._log = log
        self._clock = clock
        self._settings = agent.turn_taking
        self._speculation = speculation
        self._work = Work()
        self._spawn = self._work.spawn
        self._endpointer = Endpointer(
            models.turn_scorer, agent.turn_taking, log, clock, timeout_s=agent.stage_timeout_s
        )
        self._tracker = TurnTracker(vad, agent.turn_taking)
        self._hearing = Hearing(
            self._tracker,
            models.transcriber,
            log,
            clock,
            every_ms=agent.turn_taking.partial_every_ms,
            timeout_s=agent.stage_timeout_s,
            languages=lambda: self._cast.languages,
            spawn=self._spawn,
            partial=self._partial,
        )
        self._cast = Cast(part, others, play=self._play, log=log.append)
        self._anticipation: asyncio.Task[None] | None = None
        self._acting: Reply | None = None
        """The reply whose act has begun and of which nothing was heard yet."""
        self._turn = 0
        self._replies = 0
        self._candidate: Reply | None = None
        self._speaking: Reply | None = None
        self._calm = Calm(settle_ms=agent.turn_taking.settle_ms)
        self._carried = ""
        """Words of a turn that was answered too soon; they belong to the turn under way."""
        self._watch = SilenceWatch(agent, clock, busy=self._busy, say=self._reprompt, close=self._close)
        self._over = asyncio.Event()
        self._end_reason: EndReason = "failure"

    @property
    def side(self) -> AgentSide:
        """Of the agent that has the word."""
        return self._cast.role.side

    @property
    def responder(self) -> Responder:
        """Its side of the conversation so far."""
        return self.side.responder

    def _play(self, part: Part) -> Role:
        agent, models = part.agent, part.models
        side = AgentSide(agent, models.language_model, part.context, part.matter, spawn=self._spawn, log=self._log)
        return Role(
            part,
            side,
            Planner(agent, models, side.responder, self._log, self._clock),
            Delivery(
                agent,
                side.responder,
                models.speaker,
                part.fixed_lines,
                self._line,
                self._log,
                self._clock,
                audible=self._make_audible,
                begin=self._begin,
                take_floor=self._take_floor,
            ),
        )

    # -- the line's side -------------------------------------------------------------------------------------------

    def feed(self, frame: FloatAudio) -> None:
        """Caller's audio, float32 16 kHz mono, any length; shorter gaps are the line's to fill. Returns at once."""
        if not self._work.goes_on or self._over.is_set():
            return
        for signal in self._tracker.feed(frame):
            match signal:
                case SpeechBegan(audio_s=audio_s):
                    self._speech_began(audio_s)
                case SpeechResumed():
                    self._withdraw_candidate()
                case SpeechHeld():
                    self._hold()
                case Paused(silence_ms=silence_ms, speech_end_s=speech_end_s):
                    self._paused(silence_ms, speech_end_s)
        self._calm.update(self._tracker)
        self._hearing.maybe_partial(self._turn)
        if self._tracker.in_turn and self._tracker.turn_s >= self._settings.longest_turn_s and not self._decided():
            self._prepare()
            if self._candidate is not None:
                self._endpointer.decided(self._candidate, "too_long", 0, self._tracker.speech_end_s)
                self._open(self._candidate)

    def hear_words(self, text: str, *, unclear: bool = False) -> None:
        """The caller's words as they are, for lines without audio: a turn that is over. Returns at once.

        Empty: something was said, and nobody knows what. `unclear`: the words may be wrong.
        """
        if not self._work.goes_on or self._over.is_set():
            return
        self._withdraw_candidate()
        self._speech_began(self._tracker.received_s)
        if self._mere_backchannel(text):
            self._log.append(ev.TurnDropped(turn=self._turn, why="backchannel"))
            return
        self._interrupt()
        if text:
            self._log.append(ev.FinalTranscript(turn=self._turn, text=text, average_log_probability=0.0, took_ms=0.0))
            text = f"{self._carried} {text}".strip()
        self._answer_words(text, poor=unclear)

    def press(self, digit: str) -> None:
        """A key was pressed: the agent stops, and answers what the key stands for if it stands for anything."""
        self._log.append(ev.Keypress(digit=digit))
        self._watch.heard_from()
        meaning = None if self.responder.in_flow else self._cast.role.agent.keys.get(digit)
        if meaning is not None and self._work.goes_on:
            self._interrupt()
            self._withdraw_candidate()
            self._begin_turn()
            self._answer_words(meaning)
        elif not self._must_be_heard():
            self._interrupt()

    def caller_gone(self, reason: Literal["caller_hung_up", "line_lost"]) -> None:
        """The caller hung up, or the stream broke."""
        self._end(reason)

    def first_audio_sent(self, clause_id: str) -> None:
        """LineListener: a clause became audible."""
        reply = self._speaking
        if reply is None or not clause_id.startswith(f"t{reply.turn}.{reply.number}."):
            return
        self._log.append(ev.FirstAudio(turn=reply.turn, clause_id=clause_id))
        if not reply.audible:
            reply.audible = True
            self._now_counts(reply)

    def clause_played(self, clause_id: str) -> None:
        """LineListener: a clause was heard to its end."""
        if self._speaking is not None:
            self._log.append(ev.ClausePlayed(turn=self._speaking.turn, clause_id=clause_id))

    async def replied(self) -> None:
        """Wait until the agent has said what it has to say to what came so far."""
        await self._work.replied()

    async def run(self) -> None:
        """Greet, talk, and return once the call is over. Cancellation ends the call as `line_lost`."""
        try:
            async with self._work.lasting():
                self._spawn(self._watch.run())
                self._spawn(self._cast.role.planner.warm_up(f"{id(self):x}-warm-up"))
                text, then_news = self.side.open(self._turn)
                self._say(text, "greeting", then_news=then_news)
                await self._over.wait()
        except asyncio.CancelledError:
            self._end("line_lost")
            raise
        finally:
            if self._candidate is not None:
                self._settle(self._candidate, wasted=True)
            if self._speaking is not None and self._speaking.audible:
                self._reply_over(self._speaking, complete=False)
            self._log.append(ev.CallEnded(reason=self._end_reason))

    # -- turns -----------------------------------------------------------------------------------------------------

    def _begin_turn(self) -> None:
        if self._acting is not None and not self._acting.audible and self._acting.task is not None:
            # What was begun goes on; what came of it is told with the answer to what is being said.
            self._acting.task.cancel()
            self._acting = None
        self._turn += 1
        self._hearing.turn_began()

    def _speech_began(self, audio_s: float) -> None:
        self._begin_turn()
        self._log.append(ev.SpeechStarted(turn=self._turn, audio_s=audio_s))

    def _paused(self, silence_ms: int, speech_end_s: float) -> None:
        if self._decided():
            return
        if self._candidate is None:
            self._log.append(ev.SpeechStopped(turn=self._turn, audio_s=speech_end_s))
            self._prepare()
        candidate = self._candidate
        assert candidate is not None
        settings = self._settings
        if any(point.silence_ms == silence_ms for point in settings.pause_points):
            self._spawn(self._consider(candidate, silence_ms, self._tracker.turn_audio()))
        elif silence_ms in settings.timeouts_ms():
            self._spawn(self._consider(candidate, silence_ms, None))

    async def _consider(self, candidate: Reply, silence_ms: int, audio: FloatAudio | None) -> None:
        """Weigh whether the turn is over; with audio, Smart Turn is asked, if its word can bring the reply forward.

        Waiting for the words costs nothing: no reply can come sooner. And while the language model still writes, Smart
        Turn would only take its core.
        """
        await candidate.planned.wait()
        if audio is not None and self._is_pending(candidate) and candidate.can_be_soon:
            await self._endpointer.score(candidate, silence_ms, audio)
        if not self._is_pending(candidate):
            return
        silence_ms = max(silence_ms, self._tracker.silence_ms)
        if self._endpointer.conclude(candidate, silence_ms, self._tracker.speech_end_s):
            self._open(candidate)

    def _decided(self) -> bool:
        """Whether the turn under way is decided and its reply not yet audible."""
        return self._candidate is not None and self._candidate.gate.is_set()

    def _prepare(self) -> None:
        """Begin a candidate reply to the turn so far."""
        if self._candidate is None:
            self._candidate = self._new_reply(self._turn)
            self._candidate.task = self._work.spawn_reply(
                self._reply_to_turn(self._candidate, self._tracker.turn_audio(), self._tracker.speech_end_s)
            )

    def _is_pending(self, candidate: Reply) -> bool:
        return self._candidate is candidate and not candidate.gate.is_set()

    def _open(self, candidate: Reply) -> None:
        """The turn is decided: the candidate may be heard, unless the caller goes on at that very moment."""
        self._calm.decided(self._tracker)
        candidate.gate.set()
        self._settle(candidate, wasted=False)

    def _settle(self, candidate: Reply, *, wasted: bool) -> None:
        if candidate.speculates:
            candidate.speculates = False
            self._speculation.give_back(wasted=wasted)

    def _withdraw_candidate(self) -> None:
        """The caller went on: what was prepared no longer answers what was said."""
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        candidate.planned.set()
        self._settle(candidate, wasted=True)
        if candidate.task is not None:
            candidate.task.cancel()
        if self._speaking is candidate:
            # Decided, queued, but not yet audible.
            self._speaking = None
            self._line.clear()
        self._log.append(ev.TurnResumed(turn=candidate.turn))

    def _hold(self) -> None:
        """The caller makes himself heard over the agent: silence first, then see what it is."""
        reply = self._speaking
        if reply is None or not reply.audible or reply.held:
            return
        reply.held = True
        self._log.append(ev.BargeIn(turn=self._turn, heard=_joined(self._line.hold())))

    def _partial(self, turn: int, text: str, *, stable: bool) -> None:
        """Words are being made out while the caller speaks."""
        if not is_backchannel(text):
            self._give_way()
        idle = self._anticipation is None or self._anticipation.done()
        if self._speculation.on_partials and stable and idle:
            self._anticipation = self._spawn(
                self._cast.role.planner.read_ahead(turn, text, f"{id(self):x}-t{turn}-ahead")
            )

    def _give_way(self) -> None:
        """It was speech for us: the reply that it silenced is over."""
        if self._speaking is not None and self._speaking.held:
            self._interrupt()

    def _go_on(self) -> None:
        """It was none: the reply goes on where it stopped."""
        reply = self._speaking
        if reply is not None and reply.held:
            reply.held = False
            self._log.append(ev.ReplyResumed(turn=reply.turn, heard=_joined(self._line.heard())))
            self._line.resume()

    def _interrupt(self) -> None:
        """The reply under way is over: remember what was heard of it."""
        reply = self._speaking
        if reply is None or not reply.audible:
            return
        if reply.task is not None:
            reply.task.cancel()
        heard = self._line.clear()
        words = _joined(heard)
        if not reply.held:
            self._log.append(ev.BargeIn(turn=self._turn, heard=words))
        self._reply_over(reply, complete=False, heard=heard)
        if reply.plan is not None and reply.turn < self._turn and len(words.split()) <= _CUT_OFF_WORDS:
            # Speech that begins as the reply does was on its way before it: we cut the caller off.
            self._carried = reply.role.side.responder.take_back(reply.plan).rstrip(" .,?!…")

    def _must_be_heard(self) -> bool:
        """Whether what is being said tells what is done for the caller, or how the call ends."""
        reply = self._speaking
        acts = reply is not None and reply.plan is not None and reply.plan.acts
        return acts or self.responder.closing is not None

    def _mere_backchannel(self, text: str) -> bool:
        """Whether these words, said over the agent, leave the floor to it."""
        reply = self._speaking
        if reply is None or not reply.audible or not is_backchannel(text):
            return False
        said = sum(len(clause.text.split()) for clause in reply.clauses)
        return said - len(_joined(self._line.heard()).split()) > LEAST_WORDS_LEFT

    # -- replies ---------------------------------------------------------------------------------------------------

    async def _reply_to_turn(self, reply: Reply, audio: FloatAudio, speech_end_s: float) -> None:
        """Hear, route, decide, speak: one turn's way to a reply."""
        stage: Stage = "transcribe"
        try:
            began_s = self._clock.now_s()
            async with asyncio.timeout(reply.role.agent.stage_timeout_s):
                transcript = await self._hearing.hear(audio, speech_end_s)
            if not transcript.text or self._mere_backchannel(transcript.text):
                reply.not_a_turn = self._speaking is not None
                reply.planned.set()
                await self._no_turn(reply, transcript.text)
                return
            self._log.append(
                ev.FinalTranscript(
                    turn=reply.turn,
                    text=transcript.text,
                    average_log_probability=transcript.average_log_probability,
                    took_ms=since_ms(self._clock, began_s),
                )
            )
            stage = "route"
            reply.role = await self._cast.for_language(transcript.language)
            utterance = f"{self._carried} {transcript.text}".strip()
            poor = transcript.average_log_probability < self._settings.poor_log_probability
            plan = reply.plan = await self._plan(reply, utterance, poor=poor)
            reply.planned.set()
            if not reply.gate.is_set():
                reply.speculates = self._speculation.take()
                if not reply.speculates:
                    await reply.gate.wait()
        except (ModelFailure, TimeoutError) as error:
            reply.planned.set()
            await self._apologise(reply, stage, error)
            return
        await self._speak_plan(reply, plan)

    def _answer_words(self, utterance: str, *, poor: bool = False) -> None:
        """The turn under way is over, and this is what was said in it."""
        self._tracker.end_turn()
        reply = self._new_reply(self._turn)
        reply.gate.set()
        reply.task = self._work.spawn_reply(self._reply_to_words(reply, utterance, poor=poor))

    async def _reply_to_words(self, reply: Reply, utterance: str, *, poor: bool) -> None:
        """The same for words that were not heard: text, or the meaning of a key."""
        responder = reply.role.side.responder
        try:
            if utterance:
                reply.plan = await self._plan(reply, utterance, poor=poor)
            else:
                reply.plan = responder.news() if responder.has_news else responder.not_understood(turn=reply.turn)
        except (ModelFailure, TimeoutError) as error:
            await self._apologise(reply, "route", error)
            return
        await self._speak_plan(reply, reply.plan)
        if not reply.said:
            # Nothing was to be said.
            self._now_counts(reply)

    async def _plan(self, reply: Reply, utterance: str, *, poor: bool) -> Plan:
        """How the words are answered; poor ones that lead to no answer were probably misheard."""
        plan = await reply.role.planner.plan(reply.turn, utterance, self._request_id(reply))
        responder = reply.role.side.responder
        return responder.not_understood(utterance, reply.turn) if poor and not responder.answers(plan) else plan

    async def _no_turn(self, reply: Reply, text: str) -> None:
        """No turn after all. If it had silenced the agent, the agent goes on where it stopped."""
        await reply.gate.wait()
        self._log.append(ev.TurnDropped(turn=reply.turn, why="backchannel" if text else "no_words"))
        self._candidate = None
        speech_s = self._tracker.speech_s
        self._tracker.end_turn()
        if self._speaking is not None:
            self._go_on()
        elif self.responder.has_news:
            reply.plan = self.responder.news()
            await self._speak_plan(reply, reply.plan)
        elif not text and speech_s >= _SURELY_SPEECH_S:
            reply.plan = self.responder.not_understood(turn=reply.turn)
            await self._speak_plan(reply, reply.plan)

    async def _speak_plan(self, reply: Reply, plan: Plan) -> None:
        failure = await reply.role.delivery.deliver(reply, plan, self._request_id(reply))
        if failure is not None:
            await self._apologise(reply, "reply", failure)
        else:
            await self._hear_out(reply)

    async def _begin(self, reply: Reply) -> None:
        """Something is about to be done that cannot be undone: the turn must be decided, and is closed by it."""
        await reply.gate.wait()
        await self._calm.wait()
        self._acting = reply
        self._now_counts(reply)

    async def _make_audible(self, reply: Reply, clause_id: str, chunk: SpeechChunk) -> None:
        """Queue audio of the reply, once it may be heard."""
        if not reply.ready:
            reply.ready = True
            if self._is_pending(reply) and self._tracker.silence_ms >= self._settings.pause_points[0].silence_ms:
                self._spawn(self._consider(reply, self._tracker.silence_ms, self._tracker.turn_audio()))
        await reply.gate.wait()
        await self._take_floor(reply)
        reply.said = True
        self._line.say(clause_id, chunk)

    async def _take_floor(self, reply: Reply) -> None:
        """Make the reply the one that speaks."""
        if self._speaking is reply:
            return
        await self._calm.wait()
        if self._speaking is not reply:
            self._interrupt()
            self._line.start_reply()
            self._speaking = reply

    async def _hear_out(self, reply: Reply) -> None:
        """Everything is queued: wait until it has been heard."""
        await reply.gate.wait()
        if self._speaking is not reply:
            # Nothing of it could be spoken.
            if self._candidate is reply:
                self._now_counts(reply)
            return
        # It is given away while the caller is told so.
        side = reply.role.side
        package = side.package()
        giving = self._spawn(reply.role.part.matter.hand_over(package)) if package is not None else None
        await self._line.played_out()
        # A line that broke off is played out too.
        heard = self._line.heard()
        self._reply_over(reply, complete=all(clause.complete for clause in heard), heard=heard)
        match side.responder.closing:
            case Transfer(reason=reason, target=target, next_step=next_step):
                self._log.append(
                    ev.TransferRequested(turn=reply.turn, reason=reason, target=target, next_step=next_step)
                )
                if giving is not None:
                    await giving
                await self._hang_up("transferred")
            case HangUp(reason=reason):
                await self._hang_up(reason)

    async def _apologise(self, reply: Reply, stage: Stage, error: Exception) -> None:
        await reply.role.delivery.apologise(reply, stage, error)
        await self._hear_out(reply)

    def _now_counts(self, reply: Reply) -> None:
        """The reply is audible: the turn is closed and the plan takes effect."""
        if self._candidate is reply:
            self._candidate = None
            self._tracker.end_turn()
        if reply.plan is not None:
            self._watch.answered()
            self._carried = ""
            if self._cast.counts(reply.role, reply.plan, reply.turn):
                self._spawn(reply.role.planner.warm_up(f"{id(self):x}-warm-up"))

    def _reply_over(self, reply: Reply, *, complete: bool, heard: tuple[HeardClause, ...] | None = None) -> None:
        self._speaking = None
        text = _joined(self._line.heard() if heard is None else heard)
        trimmed = self.responder.heard(text)
        if self._work.goes_on:
            self._spawn(self._cast.role.planner.after_exchange(f"{id(self):x}-warm-up", read_anew=trimmed))
        self._log.append(ev.ReplyEnded(turn=reply.turn, heard=text, complete=complete))
        self._watch.heard_from()

    # -- the call --------------------------------------------------------------------------------------------------

    def _say(self, text: str, source: ev.ReplySource, *, then_news: bool = False) -> Reply:
        """Speak a line of our own accord; and then what comes of what is being done."""
        reply = self._new_reply(self._turn)
        reply.gate.set()
        clauses = tuple(Clause(clause, source) for clause in split_clauses(text))
        plan = Plan(utterance="", fixed=clauses, waits=then_news)
        reply.task = self._work.spawn_reply(self._speak_plan(reply, plan))
        return reply

    def _reprompt(self) -> None:
        if self.responder.has_news:
            # Who may be waiting for it is not asked whether he is there.
            self._say("", "form", then_news=True)
        else:
            self._say(self._cast.role.agent.lines.reprompt, "reprompt")

    def _busy(self) -> bool:
        return self._tracker.in_turn or self._work.replying or self.side.errands.under_way

    async def _close(self, reason: Literal["too_long", "silence"]) -> None:
        await asyncio.wait({self._work.spawn_reply(self._say_goodbye(reason))})

    async def _say_goodbye(self, reason: Literal["too_long", "silence"]) -> None:
        self._withdraw_candidate()
        self._interrupt()
        lines = self._cast.role.agent.lines
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
        return f"{id(self):x}-t{reply.turn}.{reply.number}"

    def _new_reply(self, turn: int) -> Reply:
        self._replies += 1
        return Reply(turn=turn, number=self._replies, role=self._cast.role)


def _joined(heard: tuple[HeardClause, ...]) -> str:
    return " ".join(clause.text for clause in heard if clause.text)
