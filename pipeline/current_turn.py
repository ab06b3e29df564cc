"""The turn under way: when a reply to it is prepared, when it is over, and where it is cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine

from models.types import FloatAudio
from pipeline import events as ev
from pipeline.agent import TurnTaking
from pipeline.endpointer import Endpointer
from pipeline.floor import Floor
from pipeline.hearing import Hearing
from pipeline.onset_guard import OnsetGuard
from pipeline.reply import Reply, State
from pipeline.turns import Paused, SpeechBegan, SpeechHeld, SpeechResumed, TurnTracker

_CUT_WITHIN_S = 0.7
"""A turn that is too long is cut where it is quietest in this last part of it: between two words, if it can be."""


class CurrentTurn:
    """One call's turns, one after another. A turn has at most one candidate reply at a time."""

    def __init__(
        self,
        tracker: TurnTracker,
        hearing: Hearing,
        endpointer: Endpointer,
        guard: OnsetGuard,
        floor: Floor,
        settings: TurnTaking,
        log: ev.EventLog,
        *,
        spawn: Callable[[Coroutine[None, None, None]], object],
        reply: Callable[[int], Reply],
        make: Callable[[Reply, FloatAudio, float], None],
    ) -> None:
        """`spawn` starts work that ends with the call; `reply` gives a new one to a turn; `make` begins the making of a
        candidate, from the turn's audio and where its speech ended, in seconds of audio received.
        """
        self._tracker = tracker
        self._hearing = hearing
        self._endpointer = endpointer
        self._guard = guard
        self._floor = floor
        self._settings = settings
        self._log = log
        self._spawn = spawn
        self._reply = reply
        self._make = make
        self._candidate: Reply | None = None
        self._acting: Reply | None = None
        """The reply whose act was begun last."""
        self._keyed: tuple[Reply, str] | None = None
        """The last reply to keys, and what they stand for."""
        self.number = 0
        """Of the turn under way, or else the last one."""

    @property
    def under_way(self) -> bool:
        """Whether the caller speaks, or what he said is not answered yet."""
        return self._tracker.in_turn or self._candidate is not None

    @property
    def speech_s(self) -> float:
        """From the beginning of the turn's speech to the end of its last."""
        return self._tracker.speech_s

    # -- what the caller does --------------------------------------------------------------------------------------

    def feed(self, frame: FloatAudio) -> None:
        """Caller's audio, float32 16 kHz, any length."""
        for signal in self._tracker.feed(frame):
            match signal:
                case SpeechBegan(audio_s=audio_s):
                    self._began(audio_s)
                case SpeechResumed():
                    self._resumed()
                case SpeechHeld():
                    self._floor.hold(self.number)
                case Paused(silence_ms=silence_ms, speech_end_s=speech_end_s):
                    self._paused(silence_ms, speech_end_s)
        self._guard.update(self._tracker)
        self._hearing.maybe_partial(self.number)
        if self._tracker.in_turn and self._tracker.turn_s >= self._settings.longest_turn_s and not self._decided():
            self._cut()

    def without_sound(self) -> Reply:
        """What the caller says on a line that has no sound is a turn of its own, and over: the reply to it."""
        reply = self.without_speech()
        self._log.append(ev.SpeechStarted(turn=reply.turn, audio_s=self._tracker.received_s))
        return reply

    def keyed(self, words: str) -> Reply | None:
        """Keys were pressed that stand for these words: the reply to them. None: the caller speaks, and they are
        answered together with what he is saying."""
        if self._tracker.speaking:
            self._floor.carried = f"{self._floor.carried} {words}".strip()
            return None
        reply = self.without_speech()
        self._keyed = (reply, words)
        return reply

    def without_speech(self) -> Reply:
        """Words that were not spoken are a turn of their own, and not waited with: the reply to it."""
        self.withdraw()
        self._tracker.end_turn()
        self._next()
        reply = self._reply(self.number)
        reply.decide()
        return reply

    def _began(self, audio_s: float) -> None:
        self._next()
        keyed, self._keyed = self._keyed, None
        if keyed is not None and keyed[0].state is State.DECIDED:
            # Its answer came late, and is not spoken over the caller.
            self._floor.withdraw(keyed[0])
            self.carry(*keyed)
        self._log.append(ev.SpeechStarted(turn=self.number, audio_s=audio_s))

    def _next(self) -> None:
        if self._acting is not None and self._acting.state is State.DECIDED:
            # What was begun goes on; what came of it is told with the answer to what is being said.
            self._floor.withdraw(self._acting)
        self.number += 1
        self._hearing.turn_began()

    def _resumed(self) -> None:
        candidate = self._candidate
        if candidate is None or candidate.cut_s is None:
            self.withdraw()
        elif candidate.plan is not None:
            self._floor.withdraw(candidate)
            self.carry(candidate, candidate.plan.utterance)

    def _paused(self, silence_ms: int, speech_end_s: float) -> None:
        if self._decided():
            return
        if self._candidate is None:
            self._log.append(ev.SpeechStopped(turn=self.number, audio_s=speech_end_s))
        candidate = self._prepare()
        settings = self._settings
        if any(point.silence_ms == silence_ms for point in settings.pause_points):
            self._spawn(self._consider(candidate, silence_ms, self._tracker.turn_audio()))
        elif silence_ms in settings.timeouts_ms():
            self._spawn(self._consider(candidate, silence_ms, None))

    def _cut(self) -> None:
        """The turn is longer than can be heard at once: answer it as far as it got; what follows is another."""
        candidate = self._candidate
        if candidate is not None:
            candidate.cut_s = self._tracker.received_s
        else:
            candidate = self._prepare(self._tracker.quietest_s(_CUT_WITHIN_S))
        self._endpointer.decided(candidate, "too_long", 0, self._tracker.speech_end_s)
        self._open(candidate)

    # -- its candidate ---------------------------------------------------------------------------------------------

    def _prepare(self, cut_s: float | None = None) -> Reply:
        """The candidate reply to the turn so far, or as far as it is cut; it is begun if there is none."""
        if self._candidate is None:
            self._candidate = reply = self._reply(self.number)
            reply.cut_s = cut_s
            # No partial has exactly what lies before a cut.
            speech_end_s = self._tracker.speech_end_s if cut_s is None else math.inf
            self._make(reply, self._tracker.turn_audio(cut_s), speech_end_s)
        return self._candidate

    async def _consider(self, candidate: Reply, silence_ms: int, audio: FloatAudio | None) -> None:
        """Weigh whether the turn is over; with audio, Smart Turn is asked, if its word can bring the reply forward.

        Waiting for the words costs nothing: no reply can come sooner. And while the language model still writes, Smart
        Turn would only take its core.
        """
        await candidate.until_planned()
        if audio is not None and candidate.pending and candidate.can_be_soon:
            await self._endpointer.score(candidate, silence_ms, audio)
        if not candidate.pending:
            return
        silence_ms = max(silence_ms, self._tracker.silence_ms)
        if self._endpointer.conclude(candidate, silence_ms, self._tracker.speech_end_s):
            self._open(candidate)

    def speech_came(self, reply: Reply) -> None:
        """The reply could be heard now: if nothing else is waited for, Smart Turn's word is worth asking for."""
        if reply.pending and self._tracker.silence_ms >= self._settings.pause_points[0].silence_ms:
            self._spawn(self._consider(reply, self._tracker.silence_ms, self._tracker.turn_audio()))

    def _decided(self) -> bool:
        """Whether the turn under way is decided and its reply not yet audible."""
        return self._candidate is not None and not self._candidate.pending

    def _open(self, candidate: Reply) -> None:
        """The turn is decided: the candidate may be heard, unless the caller goes on at that very moment."""
        self._guard.decided(self._tracker)
        candidate.decide()

    def withdraw(self) -> None:
        """The caller went on: what was prepared no longer answers what was said."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            self._floor.withdraw(candidate)
            self._log.append(ev.TurnResumed(turn=candidate.turn))

    # -- its end ---------------------------------------------------------------------------------------------------

    async def acts(self, reply: Reply) -> None:
        """Wait until what cannot be undone may be done for the reply: the turn must be decided, and nothing stir."""
        await reply.until_decided()
        await self._guard.wait()
        self._acting = reply

    def close(self, reply: Reply) -> None:
        """The turn has had its reply: what comes next is another. If it was cut, and the caller spoke on, that is under
        way already."""
        if self._candidate is not reply:
            return
        self._candidate = None
        if reply.cut_s is None or not self.spoken_on(reply):
            self._tracker.end_turn()
            return
        self._tracker.split_turn(reply.cut_s)
        self._began(reply.cut_s)
        if not self._tracker.speaking:
            silence_ms = self._tracker.silence_ms
            self._paused(silence_ms, self._tracker.speech_end_s)
            self._spawn(self._consider(self._prepare(), silence_ms, None))

    def spoken_on(self, reply: Reply) -> bool:
        """Whether the turn that it answers was cut, and the caller has spoken since."""
        return reply.cut_s is not None and self._tracker.speech_end_s > reply.cut_s

    def carry(self, reply: Reply, utterance: str) -> None:
        """The turn was only cut, and its caller speaks on: its words belong to what he is saying."""
        self._floor.carried = utterance
        self._log.append(ev.TurnResumed(turn=reply.turn))
        self.close(reply)

    def break_off(self) -> None:
        """The call is over."""
        if self._candidate is not None and not self._candidate.over:
            self._candidate.withdraw()
