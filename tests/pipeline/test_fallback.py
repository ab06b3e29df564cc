"""Who is asked, the primary or its stand-in: at once after a failure, and not again before the primary has rested."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from models.types import (
    FloatAudio,
    GenerateRequest,
    Languages,
    Message,
    ModelFailure,
    SpeechChunk,
    Transcript,
)
from pipeline import events as ev
from pipeline.call_models import CallModels
from pipeline.clock import LoopClock
from pipeline.fallback import (
    Fallback,
    FallbackLanguageModel,
    FallbackPolicy,
    FallbackSpeaker,
    FallbackTranscriber,
    Server,
)
from tests.pipeline.fakes import FakeModels
from tests.pipeline.rig import GENERATED, ROUTES, play
from tests.virtual_time import run_virtual

REQUEST = GenerateRequest("r", (Message("user", "Do you open on Sundays?"),))
AUDIO = np.zeros(1600, np.float32)
POLICY = FallbackPolicy(budget_s=0.5, cooldown_s=10, longest_cooldown_s=30)


@dataclass
class FakeModel:
    """All three ports; says its name. It can be broken, hang, or break off after so many pieces."""

    name: str
    broken: bool = False
    hangs: bool = False
    breaks_after: int | None = None
    takes_s: float = 0.1
    asked: int = 0
    prefilled: int = 0
    closed: int = 0

    async def _begin(self) -> None:
        self.asked += 1
        await asyncio.sleep(3600 if self.hangs else self.takes_s)
        if self.broken:
            raise ModelFailure(f"{self.name} is down")

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        await self._begin()
        return Transcript(self.name)

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        await self._begin()
        return self.name

    async def prefill(self, request: GenerateRequest) -> None:
        self.prefilled += 1

    async def _pieces(self) -> AsyncGenerator[int, None]:
        try:
            await self._begin()
            for number in range(3):
                if number == self.breaks_after:
                    raise ModelFailure(f"{self.name} broke off")
                yield number
                await asyncio.sleep(self.takes_s)
        finally:
            self.closed += 1

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        async with aclosing(self._pieces()) as pieces:
            async for number in pieces:
                yield f"{self.name} {number}"

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        async with aclosing(self._pieces()) as pieces:
            async for number in pieces:
                yield SpeechChunk(np.full(10, number, np.float32), last=number == 2)


@dataclass
class FakeListener:
    told: list[str] = field(default_factory=list)
    failures: list[Server] = field(default_factory=list)

    def asked(self, stage: str, server: Server) -> None:
        pass

    def failed(self, stage: str, server: Server) -> None:
        self.failures.append(server)

    def rests(self, stage: str) -> None:
        self.told.append("rests")

    def is_back(self, stage: str, after_s: float) -> None:
        self.told.append(f"back after {after_s:.1f}")


@dataclass
class Rig:
    primary: FakeModel = field(default_factory=lambda: FakeModel("primary"))
    backup: FakeModel = field(default_factory=lambda: FakeModel("backup"))
    listener: FakeListener = field(default_factory=FakeListener)

    def __post_init__(self) -> None:
        self.fallback = Fallback("stage", POLICY, LoopClock(), self.listener)
        self.words = FallbackLanguageModel(self.primary, self.backup, self.fallback, structured_budget_s=2.0)
        self.ears = FallbackTranscriber(self.primary, self.backup, self.fallback)
        self.mouth = FallbackSpeaker(self.primary, self.backup, self.fallback)

    async def hear(self) -> str:
        return (await self.ears.transcribe(AUDIO, Languages(), final=True)).text

    async def say(self) -> list[str]:
        return [clause async for clause in self.words.clauses(REQUEST)]


def run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


def test_the_backup_answers_the_very_request_on_which_the_primary_failed() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", broken=True))
        assert await rig.hear() == "backup"
        assert await rig.say() == ["backup 0", "backup 1", "backup 2"]
        assert [chunk.last async for chunk in rig.mouth.speak("Hello.", voice="v")] == [False, False, True]
        assert await rig.words.structured(REQUEST, {}) == "backup"
        assert rig.primary.asked == 1
        assert rig.listener.told == ["rests"]

    run(main())


def test_a_primary_that_gives_nothing_within_its_budget_counts_as_failed_and_is_stopped() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", hangs=True))
        began_s = asyncio.get_running_loop().time()
        assert await rig.say() == ["backup 0", "backup 1", "backup 2"]
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(0.5 + 4 * 0.1)
        assert rig.primary.closed == 1

    run(main())


def test_a_structured_answer_has_a_budget_of_its_own() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", takes_s=1.5))
        assert await rig.words.structured(REQUEST, {}) == "primary"
        rig.primary.takes_s = 2.5
        assert await rig.words.structured(REQUEST, {}) == "backup"

    run(main())


def test_a_failed_primary_is_left_alone_and_then_tried_by_one_request_only() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", broken=True))
        await rig.hear()
        await asyncio.sleep(9)
        await rig.hear()
        assert rig.primary.asked == 1
        await asyncio.sleep(1)
        rig.primary.broken = False
        assert sorted(await asyncio.gather(*(rig.hear() for _ in range(5)))) == ["backup"] * 4 + ["primary"]
        assert rig.listener.told == ["rests", "back after 10.3"]
        assert await rig.hear() == "primary"

    run(main())


def test_the_rest_doubles_up_to_a_bound_and_is_short_again_after_a_whole_answer() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", broken=True, takes_s=0.0), backup=FakeModel("backup", takes_s=0.0))
        tried_s: list[float] = []
        for _ in range(101):
            before = rig.primary.asked
            await rig.hear()
            if rig.primary.asked > before:
                tried_s.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)
        assert tried_s == [0, 10, 30, 60, 90]
        assert rig.listener.told == ["rests"], "it is one outage"
        rig.primary.broken = False
        await asyncio.sleep(30)
        assert await rig.hear() == "primary"
        rig.primary.broken = True
        await rig.hear()
        rig.primary.broken = False
        await asyncio.sleep(10)
        assert await rig.hear() == "primary"

    run(main())


def test_many_requests_that_fail_together_are_one_failure() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", broken=True))
        assert await asyncio.gather(*(rig.hear() for _ in range(8))) == ["backup"] * 8
        rig.primary.broken = False
        await asyncio.sleep(10)
        assert await rig.hear() == "primary"

    run(main())


def test_what_a_stream_has_given_is_never_begun_again() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", breaks_after=2))
        clauses = rig.words.clauses(REQUEST)
        assert [await anext(clauses), await anext(clauses)] == ["primary 0", "primary 1"]
        with pytest.raises(ModelFailure, match="primary broke off"):
            await anext(clauses)
        assert rig.backup.asked == 0
        assert (await rig.say())[0] == "backup 0", "the next request does not try it again"

    run(main())


def test_one_that_breaks_off_each_time_rests_longer_each_time() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", breaks_after=1))
        for rest_s in (10, 20):
            with pytest.raises(ModelFailure):
                await rig.say()
            await asyncio.sleep(rest_s - 1)
            assert (await rig.say())[0] == "backup 0"
            await asyncio.sleep(1)

    run(main())


def test_if_both_fail_both_are_told_and_a_resting_primary_is_the_last_resort() -> None:
    async def main() -> None:
        rig = Rig(primary=FakeModel("primary", broken=True), backup=FakeModel("backup", broken=True))
        with pytest.raises(ModelFailure, match="primary is down; then backup is down"):
            await rig.hear()
        rig.primary.broken = False
        assert await rig.hear() == "primary"
        assert rig.listener.failures == ["primary", "backup", "backup"]

    run(main())


def test_closing_reaches_whichever_is_at_work() -> None:
    async def main() -> None:
        rig = Rig()
        async with aclosing(rig.words.clauses(REQUEST)) as clauses:
            await anext(clauses)
        assert (rig.primary.closed, rig.backup.closed) == (1, 0)
        rig.primary.broken = True
        async with aclosing(rig.mouth.speak("Hello.", voice="v")) as chunks:
            await anext(chunks)
        assert (rig.primary.closed, rig.backup.closed) == (2, 1)

    run(main())


def test_a_request_that_is_cancelled_proves_nothing_and_leaves_the_trial_to_the_next() -> None:
    async def main() -> None:
        rig = Rig()
        asking = asyncio.create_task(rig.hear())
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait({asking})
        assert rig.listener.failures == []
        rig.primary.broken = True
        await rig.hear()
        rig.primary.broken = False
        await asyncio.sleep(10)
        trial = asyncio.create_task(rig.hear())
        await asyncio.sleep(0.05)
        trial.cancel()
        await asyncio.wait({trial})
        assert await rig.hear() == "primary"

    run(main())


@pytest.mark.parametrize("stage", ["transcribe", "reply", "speak"])
@pytest.mark.parametrize("how", ["broken", "stuck"])
def test_callers_hear_nothing_of_a_model_that_has_a_stand_in(stage: str, how: str) -> None:
    utterances = ["what are your hours", "the price please"]
    backup = FakeModels(utterances=utterances, routes=ROUTES, generated=GENERATED)
    listener = FakeListener()

    def given(own: CallModels) -> CallModels:
        def fallback(stage: str) -> Fallback:
            return Fallback(stage, POLICY, LoopClock(), listener)

        return dataclasses.replace(
            own,
            transcriber=FallbackTranscriber(own.transcriber, backup, fallback("transcribe")),
            language_model=FallbackLanguageModel(
                own.language_model, backup, fallback("reply"), structured_budget_s=POLICY.budget_s
            ),
            speaker=FallbackSpeaker(own.speaker, backup, fallback("speak")),
        )

    played = play(
        [(3.0, utterances[0]), (11.0, utterances[1])],
        for_s=18,
        prepare=lambda models: getattr(models, how).add(stage),
        given=given,
    )
    assert played.heard()[1:] == [*GENERATED["hours"], *GENERATED["price"]]
    assert not played.of(ev.StageFailed)
    assert listener.told == ["rests"]


def test_a_warm_up_goes_to_whom_the_request_would_go() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.words.prefill(REQUEST)
        rig.primary.broken = True
        await rig.hear()
        await rig.words.prefill(REQUEST)
        assert (rig.primary.prefilled, rig.backup.prefilled) == (1, 1)

    run(main())
