"""Pacing, marks, clearing, and the ledger of what was heard, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.types import SpeechChunk, Word
from pipeline.clock import LoopClock
from pipeline.ports import AudioOutput
from telephony.playout import LineLost, PacingStats, Playout, PlayoutSettings
from tests.telephony.fakes import FakeCarrier, FakeListener, clause, now_s, tone
from tests.virtual_time import run_virtual


class FakeTap:
    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def received(self, ulaw: bytes, at_s: float) -> None:
        self.calls.append(("received", at_s))

    def sent(self, ulaw: bytes, play_at_s: float) -> None:
        self.calls.append(("sent", play_at_s))

    def cleared(self, at_s: float) -> None:
        self.calls.append(("cleared", at_s))


class Rig:
    """A playout on a fake carrier."""

    def __init__(self, carrier: FakeCarrier | None = None, **options: Any) -> None:
        self.carrier = carrier or FakeCarrier()
        self.listener = FakeListener()
        self.tap = FakeTap()
        self.hung_up_s: float | None = None
        self.playout = Playout(
            self.carrier,
            clock=LoopClock(),
            hang_up=self._hang_up,
            settings=PlayoutSettings(**options),
            tap=self.tap,
        )
        self.playout.attach(self.listener)
        self.carrier.on_echo = self.playout.mark_echoed

    async def _hang_up(self) -> None:
        self.hung_up_s = now_s()

    def play(self, clause_id: str, words: str, **options: Any) -> None:
        for chunk in clause(words, **options):
            self.playout.play(clause_id, chunk)

    def heard(self) -> list[tuple[str, bool]]:
        return [(item.text, item.complete) for item in self.playout.heard()]


def carrier_marks(rig: Rig) -> list[str]:
    return [name for _, kind, name in rig.carrier.sent if kind == "mark"]


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    task = asyncio.create_task(rig.playout.run())
    try:
        yield rig
        await asyncio.sleep(0)
        assert not task.done(), "playout ended by itself"
    finally:
        task.cancel()
        await asyncio.wait({task})


def test_playout_is_a_line() -> None:
    async def main() -> None:
        line: AudioOutput = Rig().playout
        assert line.heard() == ()

    run_virtual(main())


def test_frames_go_out_at_real_time_a_bounded_time_ahead() -> None:
    async def main() -> None:
        async with running(Rig(send_ahead_ms=80.0)) as rig:
            rig.say("c", "a b c d e")  # one second
            await rig.playout.wait_for_playout()
            times = rig.carrier.times("audio")
            assert len(times) == 50
            assert times[:5] == pytest.approx([0.0] * 5)
            assert times[5:] == pytest.approx([0.02 * i for i in range(1, 46)])
            assert rig.playout.stats.frames == 50
            assert rig.playout.stats.p99_ms < 0.2
            assert rig.carrier.played[-1].end_s == pytest.approx(1.0)
            gaps = [b.start_s - a.end_s for a, b in zip(rig.carrier.played, rig.carrier.played[1:], strict=False)]
            assert gaps == pytest.approx([0.0] * 49)

    run_virtual(main())


def test_after_an_underrun_the_schedule_begins_anew_without_a_burst() -> None:
    async def main() -> None:
        async with running(Rig(send_ahead_ms=60.0)) as rig:
            first, second = clause("a b c d e", parts=2)
            rig.playout.play("c", first)  # half a second, less the resampler's look-ahead
            await asyncio.sleep(2.0)
            rig.playout.play("c", second)
            await asyncio.sleep(0.001)
            burst = [at_s for at_s in rig.carrier.times("audio") if at_s >= 1.9]
            assert len(burst) == 4, "what may be ahead, plus the frame that plays"
            await rig.playout.wait_for_playout()
            late = [at_s for at_s in rig.carrier.times("audio") if at_s >= 1.9]
            assert np.diff(late[3:]) == pytest.approx([0.02] * (len(late) - 4))
            assert rig.heard() == [("a b c d e", True)]

    run_virtual(main())


def test_each_clause_is_marked_after_its_last_frame_and_told_when_played() -> None:
    async def main() -> None:
        async with running(Rig(FakeCarrier(out_delay_s=0.05, back_delay_s=0.05))) as rig:
            rig.say("one", "a b", level=0.2)
            rig.say("two", "c", level=0.4)
            await rig.playout.wait_for_playout()
            kinds = [(kind, value) for _, kind, value in rig.carrier.sent if kind != "audio"]
            assert kinds == [("mark", "0:one"), ("mark", "0:two")]
            order = [kind for _, kind, _ in rig.carrier.sent]
            assert order.index("mark") == 20
            assert rig.listener.played == [(pytest.approx(0.5), "one"), (pytest.approx(0.7), "two")]

    run_virtual(main())


def test_the_first_audible_frame_is_told_not_the_silence_before_it() -> None:
    async def main() -> None:
        async with running(Rig(send_ahead_ms=20.0)) as rig:
            quiet = np.zeros(4_800, dtype=np.float32)  # 200 ms
            rig.playout.play("c", SpeechChunk(np.concatenate([quiet, tone(0.2)])))
            await rig.playout.wait_for_playout()
            assert rig.listener.audible == [(pytest.approx(0.18, abs=0.021), "c")]

    run_virtual(main())


def test_clear_silences_the_carrier_and_gives_the_words_heard() -> None:
    async def main() -> None:
        async with running(Rig(line_delay_ms=0.0)) as rig:
            rig.say("one", "a b", level=0.2)
            rig.say("two", "c d e", level=0.4)
            await asyncio.sleep(0.75)
            heard = rig.playout.clear()
            assert [(item.clause_id, item.text, item.complete) for item in heard] == [
                ("one", "a b", True),
                ("two", "c", False),
            ]
            await asyncio.sleep(2.0)
            assert rig.carrier.times("clear") == [pytest.approx(0.75)]
            assert max(rig.carrier.times("audio")) <= 0.75
            assert rig.carrier.played[-1].end_s <= 0.75
            assert rig.heard() == [("a b", True), ("c", False)], "time goes on, the ledger does not"
            assert [name for _, name in rig.listener.played] == ["one"]

    run_virtual(main())


def test_a_held_reply_goes_on_with_the_first_word_that_was_not_heard_whole() -> None:
    async def main() -> None:
        async with running(Rig(line_delay_ms=0.0)) as rig:
            rig.say("c", "a b c d e", level=0.3)  # a fifth of a second each
            await asyncio.sleep(0.5)
            assert [item.text for item in rig.playout.pause()] == ["a b"]
            await asyncio.sleep(1.0)
            assert rig.heard() == [("a b", False)]
            assert rig.carrier.heard_s(0.3) == pytest.approx(0.5, abs=0.021)
            rig.playout.resume()
            await asyncio.sleep(0.25)
            assert rig.heard() == [("a b c", False)]
            await rig.playout.wait_for_playout()
            assert rig.heard() == [("a b c d e", True)]
            assert rig.carrier.heard_s(0.3) == pytest.approx(0.5 + 0.6, abs=0.041), "'c' was said again from its start"

    run_virtual(main())


def test_what_is_said_while_the_reply_is_held_follows_it_and_nothing_goes_out_before() -> None:
    async def main() -> None:
        async with running(Rig()) as rig:
            rig.say("one", "a b c")
            await asyncio.sleep(0.2)
            rig.playout.pause()
            rig.say("two", "d e")
            await asyncio.sleep(3.0)
            assert max(rig.carrier.times("audio")) < 0.21
            rig.playout.resume()
            await rig.playout.wait_for_playout()
            assert rig.heard() == [("a b c", True), ("d e", True)]
            assert [clause_id for _, clause_id in rig.listener.played] == ["one", "two"]

    run_virtual(main())


def test_a_held_reply_can_be_cleared_for_good() -> None:
    async def main() -> None:
        async with running(Rig(line_delay_ms=0.0)) as rig:
            rig.say("one", "a b c")
            await asyncio.sleep(0.3)
            rig.playout.pause()
            assert [item.text for item in rig.playout.clear()] == ["a"]
            rig.playout.start_reply()
            rig.say("two", "d")
            await rig.playout.wait_for_playout()
            assert rig.heard() == [("d", True)]
            assert [kind for _, kind, _ in rig.carrier.sent].count("clear") == 1

    run_virtual(main())


def test_the_echo_of_a_flushed_mark_is_not_taken_for_played() -> None:
    async def main() -> None:
        async with running(Rig(line_delay_ms=0.0)) as rig:
            rig.say("c", "a", word_s=0.06)
            await asyncio.sleep(0.01)  # all of it and its mark are at the carrier
            assert rig.carrier.times("mark")
            rig.playout.clear()
            rig.playout.start_reply()
            rig.say("d", "b", word_s=0.06)
            await asyncio.sleep(0.001)
            assert rig.carrier.echoed == ["0:c"]
            assert rig.listener.played == []
            assert rig.heard() == [("", False)]
            await asyncio.sleep(1.0)
            assert [name for _, name in rig.listener.played] == ["d"]
            assert carrier_marks(rig) == ["0:c", "1:d"]

    run_virtual(main())


def test_an_echo_counts_only_in_the_generation_its_mark_was_sent_in() -> None:
    async def main() -> None:
        async with running(Rig(FakeCarrier(drops_mark=lambda name: True))) as rig:
            rig.playout.clear()
            rig.say("c", "a")
            await asyncio.sleep(0.3)
            assert rig.playout.mark_echoed("0:c") is False
            assert rig.listener.played == []
            assert rig.playout.mark_echoed("1:c") is True
            assert rig.listener.played == [(pytest.approx(0.3), "c")]

    run_virtual(main())


def test_what_is_said_after_a_clear_is_not_kept_waiting_by_what_was_cleared() -> None:
    async def main() -> None:
        async with running(Rig(send_ahead_ms=500.0)) as rig:
            rig.say("old", "a b c d e")
            await asyncio.sleep(0.105)
            rig.playout.clear()
            rig.say("new", "x", level=0.1)
            await rig.playout.wait_for_playout()
            new = [at_s for what, at_s in rig.tap.calls[rig.tap.calls.index(("cleared", 0.105)) :] if what == "sent"]
            assert new[0] == pytest.approx(0.105)
            assert rig.listener.played == [(pytest.approx(0.305), "new")]

    run_virtual(main())


def test_chunks_of_a_cleared_clause_are_dropped_and_a_new_clause_is_heard() -> None:
    async def main() -> None:
        async with running(Rig()) as rig:
            first, second = clause("a b c d", parts=2)
            rig.playout.play("old", first)
            await asyncio.sleep(0.1)
            rig.playout.clear()
            frames = len(rig.carrier.times("audio"))
            rig.playout.play("old", second)
            await rig.playout.wait_for_playout()
            assert len(rig.carrier.times("audio")) == frames
            rig.playout.start_reply()
            rig.say("new", "x")
            await rig.playout.wait_for_playout()
            assert rig.heard() == [("x", True)]
            assert rig.listener.played[-1][1] == "new"

    run_virtual(main())


def test_without_any_echo_the_playback_clock_counts() -> None:
    async def main() -> None:
        carrier = FakeCarrier(drops_mark=lambda name: True)
        async with running(Rig(carrier, line_delay_ms=50.0, echo_grace_ms=300.0)) as rig:
            rig.say("c", "a b")
            await asyncio.sleep(0.3)
            assert rig.heard() == [("a", False)]
            await rig.playout.wait_for_playout()
            assert rig.heard() == [("a b", True)]
            assert rig.listener.played == [(pytest.approx(0.75), "c")]

    run_virtual(main())


def test_late_echoes_move_the_clock_of_what_was_heard() -> None:
    async def main() -> None:
        async with running(Rig(FakeCarrier(out_delay_s=0.2, back_delay_s=0.05), line_delay_ms=0.0)) as rig:
            rig.say("one", "a", level=0.2)
            await rig.playout.wait_for_playout()
            rig.playout.start_reply()
            said_s = now_s()
            rig.say("two", "b c d", level=0.4)
            await asyncio.sleep(said_s + 0.42 - now_s())
            assert rig.heard() == [("", False)], "b ends 0.2 s after it was sent, plus the 0.25 s that the echo took"
            await asyncio.sleep(0.05)
            assert rig.heard() == [("b", False)]

    run_virtual(main())


def test_an_echo_before_its_time_does_not_count_until_then() -> None:
    async def main() -> None:
        async with running(Rig()) as rig:
            rig.say("c", "a", word_s=0.08)
            await asyncio.sleep(0.001)
            rig.playout.mark_echoed("0:c")
            assert rig.listener.played == []
            await asyncio.sleep(0.1)
            assert rig.listener.played == [(pytest.approx(0.08), "c")]
            assert rig.playout.mark_echoed("0:c") is False
            assert rig.playout.mark_echoed("nonsense") is False

    run_virtual(main())


def test_a_clause_whose_speaker_failed_is_ended_by_the_next_one() -> None:
    async def main() -> None:
        async with running(Rig()) as rig:
            broken = clause("a b c d", parts=2, level=0.2)[0]
            rig.playout.play("broken", broken)
            rig.say("sorry", "we beg pardon", level=0.4)
            await rig.playout.wait_for_playout()
            assert rig.heard() == [("a b", False), ("we beg pardon", True)]
            with pytest.raises(ValueError, match="clause 'broken': expected chunks before"):
                rig.playout.play("broken", broken)

    run_virtual(main())


def test_played_out_waits_for_audio_of_an_unfinished_clause_too() -> None:
    async def main() -> None:
        async with running(Rig(line_delay_ms=100.0)) as rig:
            rig.playout.play("c", clause("a b c d e", parts=2)[0])
            await rig.playout.wait_for_playout()
            assert now_s() == pytest.approx(0.58, abs=0.021)

    run_virtual(main())


def test_hanging_up_waits_for_the_last_word() -> None:
    async def main() -> None:
        async with running(Rig(FakeCarrier(out_delay_s=0.1, back_delay_s=0.1))) as rig:
            rig.say("bye", "good bye")
            await rig.playout.hang_up()
            assert rig.hung_up_s == pytest.approx(0.6)

    run_virtual(main())


def test_the_tap_learns_when_each_frame_plays_and_what_was_cleared() -> None:
    async def main() -> None:
        async with running(Rig()) as rig:
            await asyncio.sleep(1.0)
            rig.say("c", "a b")
            await asyncio.sleep(0.101)
            rig.playout.clear()
            plays = [at_s for what, at_s in rig.tap.calls if what == "sent"]
            assert plays == pytest.approx([1.0 + 0.02 * i for i in range(len(plays))])
            assert rig.tap.calls[-1] == ("cleared", pytest.approx(1.101))

    run_virtual(main())


class StallingCarrier(FakeCarrier):
    """Takes its time for every frame."""

    async def audio(self, ulaw: bytes) -> None:
        await asyncio.sleep(0.2)
        await super().audio(ulaw)


def test_a_frame_under_way_when_the_line_is_cleared_counts_for_nothing() -> None:
    async def main() -> None:
        async with running(Rig(StallingCarrier(), line_delay_ms=0.0)) as rig:
            rig.say("c", "a", word_s=0.02)
            await asyncio.sleep(0.1)
            assert rig.playout.clear()[0].text == ""
            await rig.playout.wait_for_playout()
            assert [kind for _, kind, _ in rig.carrier.sent] == ["audio", "clear"]
            assert rig.heard() == [("", False)]
            assert rig.listener.audible == []
            assert [what for what, _ in rig.tap.calls] == ["cleared"]

    run_virtual(main())


class DeadCarrier(FakeCarrier):
    async def audio(self, ulaw: bytes) -> None:
        raise LineLost("gone")


def test_a_lost_line_frees_everyone_who_waits() -> None:
    async def main() -> None:
        rig = Rig(DeadCarrier())
        rig.say("c", "a b")
        waiting = asyncio.create_task(rig.playout.wait_for_playout())
        with pytest.raises(LineLost):
            await rig.playout.run()
        await asyncio.wait_for(waiting, 1)
        rig.say("d", "nobody hears")
        rig.playout.clear()
        await asyncio.wait_for(rig.playout.wait_for_playout(), 1)

    run_virtual(main())


def test_a_change_of_sample_rate_within_a_clause_is_an_error() -> None:
    async def main() -> None:
        rig = Rig()
        rig.playout.play("c", SpeechChunk(tone(0.1), last=False))
        with pytest.raises(ValueError, match="expected 24000 Hz throughout, got 16000"):
            rig.playout.play("c", SpeechChunk(tone(0.1), sample_rate_hz=16_000))

    run_virtual(main())


def test_pacing_quantiles() -> None:
    stats = PacingStats()
    assert stats.p99_ms == 0.0
    for late_ms in range(100):
        stats.add(late_ms / 1000)
    stats.add(0.9)
    assert stats.frames == 101
    assert stats.p50_ms == pytest.approx(50, abs=0.2)
    assert stats.p99_ms == pytest.approx(99, abs=0.2)
    assert stats.quantile_ms(1.0) == stats.max_ms == pytest.approx(900)


SAY = st.tuples(
    st.just("say"),
    st.lists(st.sampled_from([0.013, 0.1, 0.25, 0.4]), min_size=1, max_size=5),  # lengths of words
    st.integers(1, 3),  # chunks
    st.sampled_from([0.0, 0.05, 0.7]),  # between chunks
)
ACTIONS = st.lists(
    st.one_of(
        SAY,
        SAY,
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.011, 0.07, 0.3, 1.5])),
        st.tuples(st.just("clear")),
        st.tuples(st.just("reply")),
        st.tuples(st.just("play out")),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=150, deadline=None)
@given(
    actions=ACTIONS,
    out_delay_s=st.sampled_from([0.0, 0.02, 0.06]),
    back_delay_s=st.sampled_from([0.0, 0.06, 0.3]),
    ahead_ms=st.sampled_from([20.0, 80.0, 300.0]),
    dropped=st.sets(st.integers(0, 9)),
)
def test_what_counts_as_heard_is_a_prefix_and_never_more_than_was_played(
    actions: list[tuple[Any, ...]], out_delay_s: float, back_delay_s: float, ahead_ms: float, dropped: set[int]
) -> None:
    """Whatever is said, cleared, delayed or dropped. The carrier's ear is the judge."""

    async def main() -> None:
        said: dict[str, tuple[tuple[Word, ...], float, float]] = {}  # words, level, seconds
        carrier = FakeCarrier(
            out_delay_s=out_delay_s,
            back_delay_s=back_delay_s,
            drops_mark=lambda name: int(name.rpartition("c")[2]) in dropped,
        )
        rig = Rig(carrier, send_ahead_ms=ahead_ms, line_delay_ms=60.0)

        def check() -> None:
            for item in rig.playout.heard():
                words, level, _ = said[item.clause_id]
                texts = [word.text for word in words]
                heard = item.text.split()
                assert heard == texts[: len(heard)]
                assert not item.complete or heard == texts
                if heard:
                    assert words[len(heard) - 1].end_s <= carrier.heard_s(level) + 0.001

        def played(clause_id: str) -> None:
            _, level, seconds = said[clause_id]
            if carrier.heard_s(level) < seconds - 0.001:
                too_early.append(clause_id)

        too_early: list[str] = []
        rig.listener.clause_played = played  # type: ignore[method-assign]
        spoilt = False
        async with running(rig):
            for action in actions:
                match action:
                    case ("say", lengths, chunks, pause_s):
                        clause_id = f"c{len(said)}"
                        ends = np.cumsum(lengths)
                        words = tuple(
                            Word(f"w{i}", float(end - length), float(end))
                            for i, (length, end) in enumerate(zip(lengths, ends, strict=True))
                        )
                        level = 0.05 * (len(said) + 1)
                        pieces = np.array_split(tone(float(ends[-1]), level), chunks)
                        said[clause_id] = (words, level, float(ends[-1]))
                        for i, piece in enumerate(pieces):
                            rig.playout.play(
                                clause_id, SpeechChunk(piece, words=words if i == 0 else (), last=i == chunks - 1)
                            )
                            if i < chunks - 1:
                                await asyncio.sleep(pause_s)
                                check()
                    case ("wait", seconds):
                        await asyncio.sleep(seconds)
                    case ("clear",):
                        rig.playout.clear()
                        spoilt = True
                    case ("reply",):
                        rig.playout.start_reply()
                        spoilt = False
                    case ("play out",):
                        await rig.playout.wait_for_playout()
                check()
            await rig.playout.wait_for_playout()
            check()
            if not spoilt:
                assert all(item.complete for item in rig.playout.heard())
        check()
        assert too_early == []

    run_virtual(main())
