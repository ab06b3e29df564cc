"""What the ledger may claim, whatever is said, cleared and echoed in whatever order.

The carrier's own playback is the judge. It drops marks, gives them back late, twice, or before their time, and gives
back marks of generations long cleared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.types import SpeechChunk, Word
from pipeline.clock import LoopClock
from pipeline.ports import HeardClause
from telephony.playout import Playout, PlayoutSettings
from tests.telephony.fakes import FakeCarrier, now_s, tone
from tests.virtual_time import run_virtual

LINE_DELAY_S = 0.06
"""What the playout assumes; no way to the ear in here takes longer."""

FRAME_S = 0.02


@dataclass(frozen=True)
class Say:
    """A clause: its words' lengths, how many chunks it comes in and with what pauses."""

    word_s: list[float]
    chunks: int
    pause_s: float


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Clear:
    late_chunks: int
    """How many chunks of what was cleared its speaker still hands in."""


@dataclass(frozen=True)
class Hold:
    """Silence for a while, then the rest."""

    seconds: float


@dataclass(frozen=True)
class StartReply:
    pass


@dataclass(frozen=True)
class Forge:
    """The carrier gives back a mark on its own: one long gone, one whose audio is still playing, or one of nobody's."""

    which: Literal["first ever", "last sent", "older generation", "nonsense"]


Action = Say | Wait | Clear | Hold | StartReply | Forge

SAY = st.builds(
    Say,
    word_s=st.lists(st.sampled_from([0.03, 0.1, 0.25, 0.4]), min_size=1, max_size=5),
    chunks=st.integers(1, 3),
    pause_s=st.sampled_from([0.0, 0.05, 0.6]),
)
ACTIONS: st.SearchStrategy[list[Action]] = st.lists(
    st.one_of(
        SAY,
        SAY,
        SAY,
        st.builds(Wait, seconds=st.sampled_from([0.0, 0.013, 0.1, 0.37, 1.2])),
        st.builds(Wait, seconds=st.sampled_from([0.05, 0.2, 0.37])),
        st.builds(Clear, late_chunks=st.integers(0, 2)),
        st.builds(Hold, seconds=st.sampled_from([0.01, 0.07, 0.7])),
        st.builds(StartReply),
        st.builds(
            Forge, which=st.sampled_from(["last sent", "last sent", "first ever", "older generation", "nonsense"])
        ),
        st.builds(Forge, which=st.just("last sent")),
    ),
    min_size=2,
    max_size=11,
)
FATES = st.lists(st.sampled_from(["echoed", "echoed", "dropped", "late", "twice"]), min_size=1, max_size=6)
OUT_DELAY_S = st.sampled_from([0.0, 0.02, LINE_DELAY_S])
AHEAD_MS = st.sampled_from([20.0, 80.0, 300.0])

bounded = settings(max_examples=90, deadline=None, derandomize=True)


@dataclass
class Clause:
    id: str
    words: tuple[Word, ...]
    level: float


@dataclass
class Rig:
    """A playout on a carrier whose marks have fates, and every clause that was ever said."""

    carrier: FakeCarrier
    fates: list[str]
    late_s: float
    ahead_ms: float
    clauses: dict[str, Clause] = field(default_factory=dict)
    reply: list[str] = field(default_factory=list)
    """Clauses said since the last start_reply."""
    cut: dict[str, HeardClause] = field(default_factory=dict)
    """What was heard of the reply's cleared clauses when they were cleared."""
    played: list[str] = field(default_factory=list)
    early_s: float = 0.0
    """A mark that came back before its audio was played cannot be told from one of a carrier without delay: by so much
    the ledger may be ahead of the ear from then on."""

    def __post_init__(self) -> None:
        self.playout = Playout(
            self.carrier,
            clock=LoopClock(),
            hang_up=lambda: asyncio.sleep(0),
            settings=PlayoutSettings(send_ahead_ms=self.ahead_ms, line_delay_ms=LINE_DELAY_S * 1000),
        )
        self.playout.attach(self)
        self.carrier.on_echo = self._echo
        self._echoes = 0

    def first_audio_sent(self, clause_id: str) -> None:
        pass

    def clause_played(self, clause_id: str) -> None:
        self.played.append(clause_id)

    def _echo(self, name: str) -> None:
        fate = self.fates[self._echoes % len(self.fates)]
        self._echoes += 1
        if fate == "late":
            asyncio.get_running_loop().call_later(self.late_s, self.playout.mark_echoed, name)
        elif fate != "dropped":
            self.playout.mark_echoed(name)
        if fate == "twice":
            asyncio.get_running_loop().call_later(0.2, self.playout.mark_echoed, name)

    def marks(self) -> list[str]:
        return [str(name) for _, kind, name in self.carrier.sent if kind == "mark"]

    def sent_frames(self) -> int:
        return len(self.carrier.times("audio"))

    async def act(self, action: Action, check: Callable[[], None]) -> None:
        match action:
            case Say():
                await self.say(action, check)
                await asyncio.sleep(0.001)
            case Wait(seconds):
                for _ in range(3):
                    await asyncio.sleep(seconds / 3)
                    check()
            case Clear(late_chunks):
                await self._clear(late_chunks)
            case Hold(seconds):
                await self._hold(seconds, check)
            case StartReply():
                self.playout.start_reply()
                self.reply, self.cut = [], {}
            case Forge(which):
                self._forge(which)

    async def say(self, say: Say, check: Callable[[], None], *, clause_id: str | None = None) -> None:
        """Hand a clause to the playout, under a new id unless one is given."""
        ends = np.cumsum(say.word_s)
        words = tuple(
            Word(f"w{i}", float(end - length), float(end))
            for i, (length, end) in enumerate(zip(say.word_s, ends, strict=True))
        )
        clause = Clause(clause_id or f"c{len(self.clauses)}", words, 0.05 * (len(self.clauses) + 1))
        self.clauses[clause.id] = clause
        self.reply.append(clause.id)
        pieces = np.array_split(tone(float(ends[-1]), clause.level), say.chunks)
        for i, piece in enumerate(pieces):
            last = i == say.chunks - 1
            self.playout.play(clause.id, SpeechChunk(piece, words=() if i else words, last=last))
            if not last:
                await asyncio.sleep(say.pause_s)
                check()

    async def _clear(self, late_chunks: int) -> None:
        generation = self.playout.generation
        told = self.playout.clear()
        assert self.playout.generation == generation + 1
        assert told == self.playout.heard()
        await asyncio.sleep(0)  # a frame that was just being sent is under way
        frames = self.sent_frames()
        unplayed = [heard.clause_id for heard in told if heard.clause_id not in self.played]
        for clause_id in unplayed[-late_chunks:] if late_chunks else []:
            self.playout.play(clause_id, SpeechChunk(tone(0.2, self.clauses[clause_id].level)))
        await asyncio.sleep(0.1)
        assert self.sent_frames() == frames, "late audio of what was cleared went out"
        assert self.playout.heard() == told, "what was heard changed after the clear"
        self.cut |= {heard.clause_id: heard for heard in told}

    async def _hold(self, seconds: float, check: Callable[[], None]) -> None:
        told = self.playout.pause()
        await asyncio.sleep(0.001)  # a frame that was just being sent is under way
        frames = self.sent_frames()
        for _ in range(3):
            await asyncio.sleep(seconds / 3)
            check()
            assert self.playout.heard() == told, "what was heard changed in the hold"
        assert self.sent_frames() == frames, "audio went out in the hold"
        self.playout.resume()

    def _forge(self, which: str) -> None:
        marks = self.marks()
        older = [name for name in marks if not name.startswith(f"{self.playout.generation}:")]
        names = {
            "first ever": marks[:1],
            "last sent": marks[-1:],
            "older generation": older[-1:],
            "nonsense": [f"{self.playout.generation}:x", "7", "", ":"],
        }[which]
        for name in names:
            before, played = self.playout.heard(), list(self.played)
            counted = self.playout.mark_echoed(name)
            if counted:
                self.early_s = self.carrier.out_delay_s
            if name in older or which == "nonsense":
                assert not counted
                assert (self.playout.heard(), self.played) == (before, played), f"{name!r} counted for something"


def words_of(heard: tuple[HeardClause, ...]) -> list[str]:
    return [f"{clause.clause_id}.{word}" for clause in heard for word in clause.text.split()]


def judge(rig: Rig) -> None:
    """Everything that the ledger says now is a prefix of what was said, and has been at the caller's ear."""
    heard = rig.playout.heard()
    assert [clause.clause_id for clause in heard] == rig.reply
    for clause in heard:
        said = rig.clauses[clause.clause_id]
        words = clause.text.split()
        assert words == [word.text for word in said.words[: len(words)]]
        assert not clause.complete or len(words) == len(said.words)
        if words:
            at_the_ear_s = rig.carrier.heard_s(said.level)
            assert said.words[len(words) - 1].end_s <= at_the_ear_s + rig.early_s + 0.001, (
                f"{clause} but {at_the_ear_s} s played"
            )
        if clause.clause_id in rig.cut:
            assert clause == rig.cut[clause.clause_id], "what was cleared changed"


def run(rig_of: Callable[[], Rig], main: Callable[[Rig], Awaitable[None]]) -> None:
    async def body() -> None:
        rig = rig_of()
        task = asyncio.create_task(rig.playout.run())
        try:
            await main(rig)
            assert not task.done(), "playout ended by itself"
        finally:
            task.cancel()
            await asyncio.wait({task})

    run_virtual(body())


@bounded
@given(actions=ACTIONS, fates=FATES, out_delay_s=OUT_DELAY_S, ahead_ms=AHEAD_MS, late_s=st.sampled_from([0.3, 1.0]))
def test_the_ledger_claims_a_prefix_that_was_played(
    actions: list[Action], fates: list[str], out_delay_s: float, ahead_ms: float, late_s: float
) -> None:
    async def main(rig: Rig) -> None:
        for action in actions:
            await rig.act(action, lambda: judge(rig))
            judge(rig)
        await rig.playout.wait_for_playout()
        judge(rig)

    run(lambda: Rig(FakeCarrier(out_delay_s=out_delay_s), fates, late_s, ahead_ms), main)


@bounded
@given(actions=ACTIONS, fates=FATES, ahead_ms=AHEAD_MS)
def test_what_was_heard_only_grows_until_a_new_reply(actions: list[Action], fates: list[str], ahead_ms: float) -> None:
    """On a line whose echoes come back within the delay that is assumed anyway, or not at all, or much too late."""

    async def main(rig: Rig) -> None:
        before: list[str] = []

        def grows() -> None:
            nonlocal before
            now = words_of(rig.playout.heard())
            assert set(before) <= set(now), f"{before} were heard, and then only {now}"
            before = now

        for action in actions:
            if isinstance(action, StartReply):
                before = []
            await rig.act(action, grows)
            grows()
        await rig.playout.wait_for_playout()
        grows()

    run(lambda: Rig(FakeCarrier(out_delay_s=0.02, back_delay_s=0.02), fates, 2.0, ahead_ms), main)


@bounded
@given(
    clauses=st.lists(SAY, min_size=1, max_size=4),
    fates=FATES,
    out_delay_s=OUT_DELAY_S,
    ahead_ms=AHEAD_MS,
    late_s=st.sampled_from([0.3, 1.0]),
)
def test_a_reply_that_nobody_interrupts_is_heard_to_its_end(
    clauses: list[Say], fates: list[str], out_delay_s: float, ahead_ms: float, late_s: float
) -> None:
    """And each clause is told to have been played once, in order, whatever becomes of its mark."""

    async def main(rig: Rig) -> None:
        for clause in clauses:
            await rig.act(clause, lambda: judge(rig))
        await rig.playout.wait_for_playout()
        judge(rig)
        assert all(clause.complete for clause in rig.playout.heard())
        assert rig.played == rig.reply

    run(lambda: Rig(FakeCarrier(out_delay_s=out_delay_s), fates, late_s, ahead_ms), main)


@bounded
@given(before=SAY, after=SAY, wait_s=st.sampled_from([0.0, 0.05, 0.31, 0.9]))
def test_an_older_generations_echo_never_completes_the_next_reply(before: Say, after: Say, wait_s: float) -> None:
    """Every mark of the reply before comes back while the next one plays, which may even use the same name again."""

    async def main(rig: Rig) -> None:
        await rig.act(before, lambda: judge(rig))
        await asyncio.sleep(wait_s)
        rig.playout.clear()
        rig.playout.start_reply()
        # A clause that was not played out is closed for good: its name would be taken for late audio of it.
        again = "c0" if "c0" in rig.played else "c1"
        rig.reply, rig.cut = [], {}
        began_s = now_s()
        await rig.say(replace(after, pause_s=0.0), lambda: judge(rig), clause_id=again)
        length_s = sum(after.word_s)
        while now_s() < began_s + length_s - FRAME_S:
            for name in rig.marks():
                if name.startswith("0:"):
                    assert not rig.playout.mark_echoed(name)
            (clause,) = rig.playout.heard()
            assert not clause.complete
            await asyncio.sleep(0.04)
        await rig.playout.wait_for_playout()
        (clause,) = rig.playout.heard()
        assert clause.complete

    run(lambda: Rig(FakeCarrier(out_delay_s=0.03), ["dropped"], 1.0, 80.0), main)
