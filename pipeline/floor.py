"""Which reply has the floor, and what becomes of it when the caller makes himself heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeline import events as ev
from pipeline.backchannel import LEAST_WORDS_LEFT, is_backchannel
from pipeline.language_switcher import LanguageSwitcher
from pipeline.onset_guard import OnsetGuard
from pipeline.ports import AudioOutput, HeardClause
from pipeline.reply import Reply, State

_CUT_OFF_WORDS = 2
"""A reply of which no more than this was heard when the caller spoke had come too soon: the turn goes on."""


class Floor:
    """One call's floor. One reply at a time has it; what was heard of that one is remembered as it leaves."""

    def __init__(
        self,
        line: AudioOutput,
        switcher: LanguageSwitcher,
        guard: OnsetGuard,
        log: ev.EventLog,
        *,
        left: Callable[[bool], None],
    ) -> None:
        """`left` is told when a reply that was heard is over, and whether prompts begin otherwise from now on."""
        self._line = line
        self._switcher = switcher
        self._guard = guard
        self._log = log
        self._left = left
        self.reply: Reply | None = None
        """The one that has it."""
        self.carried = ""
        """Words of a turn that was answered too soon; they belong to the turn under way."""

    async def take(self, reply: Reply) -> None:
        """Make the reply the one that speaks, once nothing stirs. What is being heard is over; what is about to be is
        waited for.
        """
        if self.reply is reply:
            return
        await self._guard.wait()
        while (other := self.reply) is not None and other is not reply and other.state is State.DECIDED:
            assert other.task is not None
            await asyncio.wait({other.task})
        if self.reply is not reply:
            self.interrupt(reply.turn)
            self._line.start_reply()
            self.reply = reply

    def withdraw(self, reply: Reply) -> None:
        """Nothing of the reply is to be heard, and nothing was."""
        reply.withdraw()
        if reply.task is not None:
            reply.task.cancel()
        if self.reply is reply:
            self.reply = None
            self._line.clear()

    # -- the caller makes himself heard over it --------------------------------------------------------------------

    def hold(self, turn: int) -> None:
        """Silence first, then see what it is."""
        reply = self.reply
        if reply is not None and reply.state is State.AUDIBLE:
            reply.hold()
            self._log.append(ev.BargeIn(turn=turn, heard=joined(self._line.pause())))

    def give_way(self, turn: int) -> None:
        """It was speech for us: the reply that it silenced is over."""
        if self.reply is not None and self.reply.state is State.HELD:
            self.interrupt(turn)

    def go_on(self) -> None:
        """It was none: the reply goes on where it stopped."""
        reply = self.reply
        if reply is not None and reply.state is State.HELD:
            reply.resume()
            self._log.append(ev.ReplyResumed(turn=reply.turn, heard=joined(self._line.heard())))
            self._line.resume()

    def interrupt(self, turn: int) -> None:
        """The reply under way is over, if anything of it was heard: remember what."""
        reply = self.reply
        if reply is None or not reply.has_sounded:
            return
        if reply.task is not None:
            reply.task.cancel()
        silenced = reply.state is State.HELD
        heard = self._line.clear()
        words = joined(heard)
        if not silenced:
            self._log.append(ev.BargeIn(turn=turn, heard=words))
        self._leave(reply, heard, complete=False)
        if reply.plan is not None and reply.turn < turn and len(words.split()) <= _CUT_OFF_WORDS:
            # Speech that begins as the reply does was on its way before it: we cut the caller off.
            self.carried = reply.active.manager.take_back(reply.plan).rstrip(" .,?!…")

    def stays(self, text: str) -> bool:
        """Whether these words, said over the agent, leave the floor to it."""
        reply = self.reply
        if reply is None or not reply.has_sounded or not is_backchannel(text):
            return False
        if not reply.whole:
            return True
        asks = reply.asks or reply.active.manager.state.waiting == "answer"
        left = reply.words - len(joined(self._line.heard()).split())
        return left > (LEAST_WORDS_LEFT if asks else 0)

    # -- it comes to its end ---------------------------------------------------------------------------------------

    async def hear_out(self, reply: Reply) -> None:
        """Wait until all that the reply has queued has been heard."""
        await self._line.wait_for_playout()
        # A line that broke off is played out too.
        heard = self._line.heard()
        self._leave(reply, heard, complete=all(clause.complete for clause in heard))

    def break_off(self) -> None:
        """The call is over."""
        if self.reply is not None and self.reply.has_sounded:
            self._leave(self.reply, self._line.heard(), complete=False)

    def _leave(self, reply: Reply, heard: tuple[HeardClause, ...], *, complete: bool) -> None:
        self.reply = None
        reply.end()
        words = joined(heard)
        trimmed = self._switcher.active.manager.heard(words, reply.told(heard))
        self._log.append(ev.ReplyEnded(turn=reply.turn, heard=words, complete=complete))
        self._left(trimmed)


def joined(heard: tuple[HeardClause, ...]) -> str:
    """The words heard of a reply."""
    return " ".join(clause.text for clause in heard if clause.text)
