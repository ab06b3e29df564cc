"""Plays a scenario under virtual time: real call, playout and media session between fake models and a fake carrier."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from bench.script import pause_pieces
from models.types import Message
from pipeline import events as ev
from pipeline.call import Call
from pipeline.call_models import CallModels
from pipeline.call_services import CallServices
from pipeline.clock import LoopClock
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext
from pipeline.language_switcher import AgentSpec
from pipeline.partials import PartialBudget
from pipeline.preemptive_generation import PreemptiveBudget
from telephony.audio import FRAME_BYTES, FRAME_S, SILENT_FRAME
from telephony.playout import Playout
from telephony.session import CallInfo, SessionOutcome, SessionSettings, run_media_session
from telephony.tokens import StreamTokens
from tests.pipeline.fakes import FakeVad
from tests.scenarios.form import EventPattern, Scenario, Step
from tests.scenarios.sound import Codebook, Heard, silence
from tests.scenarios.world import NOW, FakeBackOffice, FixedOnDemand, ScenarioCarrier, ScenarioModels, SpokenLine
from tests.telephony.fakes import CALL, STREAM, FakeTwilioLeg, now_s
from tests.virtual_time import run_virtual

LONGEST_S = 180.0
"""A scenario that has not ended by then has failed."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A step that was done. Times are seconds of the call, on the wire."""

    step: Step
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """What came of a scenario."""

    log: list[ev.Event]
    history: tuple[Message, ...]
    ear: list[Heard]
    """The agent's words that reached the caller's ear."""
    deeds: list[Deed]
    outcome: SessionOutcome
    complaints: list[str]
    """What was wrong with the play itself: a step whose moment never came, a task left behind."""


def play(scenario: Scenario) -> Conversation:
    """Run the call to its end."""
    return run_virtual(_play(scenario))


async def _play(scenario: Scenario) -> Conversation:
    return await _Stage(scenario).play()


@dataclass(slots=True)
class _Voice:
    """One end of the line that makes sounds: the caller, or someone nearby."""

    frames: deque[bytes] = field(default_factory=deque)
    """What it is about to sound like, a frame each."""


class _Stage:
    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._agent = scenario.agent_under_test()
        self._codebook = Codebook()
        self._models = ScenarioModels(self._codebook, self._agent, scenario.faults)
        self._carrier = ScenarioCarrier(scenario.carrier)
        self._leg = FakeTwilioLeg(self._carrier)
        self._carrier.listen(lambda name: self._leg.say({"event": "mark", "streamSid": STREAM, "mark": {"name": name}}))
        self._clock = LoopClock()
        self._log = ev.EventLog(self._clock)
        self._log.subscribe(lambda event: self._happened.set())
        self._happened = asyncio.Event()
        self._call: Call | None = None
        self._deeds: list[Deed] = []
        self._complaints: list[str] = []
        self._silent_until_s = 0.0
        self._frame = 0

    async def play(self) -> Conversation:
        tokens = StreamTokens(b"0123456789abcdef", self._clock)
        # Words as constant levels all look alike to the echo guard: it is on only where there is an echo.
        settings = SessionSettings(echo_guard=self._scenario.carrier.echo_ms is not None)
        session = asyncio.create_task(
            run_media_session(
                self._leg, start_call=self._start_call, tokens=tokens, clock=self._clock, settings=settings
            )
        )
        self._leg.connect()
        self._leg.start(tokens.issue(CALL))
        voices = (_Voice(), _Voice())
        wire = asyncio.create_task(self._wire(voices))
        scripts = [
            asyncio.create_task(self._perform(steps, voice))
            for steps, voice in zip((self._scenario.caller, self._scenario.bystander), voices, strict=True)
        ]
        close = asyncio.create_task(self._close(scripts))
        done, _ = await asyncio.wait({session}, timeout=LONGEST_S)
        if not done:
            self._complaints.append(f"the call did not end within {LONGEST_S:g} s")
            session.cancel()
        undone = [script for script in scripts if not script.done()]
        for task in (*undone, wire, close):
            task.cancel()
        await asyncio.wait({session, wire, close, *scripts})
        for script in scripts:
            if not script.cancelled() and (error := script.exception()) is not None:
                raise error
        left = asyncio.all_tasks() - {asyncio.current_task()}
        self._complaints += [f"left behind: {task.get_name()}" for task in left]
        assert self._call is not None
        ear = self._codebook.read_ulaw(self._carrier.ear(0.0, now_s()))
        return Conversation(
            list(self._log), self._call.manager.history, ear, self._deeds, session.result(), self._complaints
        )

    async def _start_call(self, info: CallInfo, playout: Playout) -> Call:
        models = self._models
        self._call = Call(
            AgentSpec(
                self._agent,
                CallModels(models, models, models, models, models),
                FixedOnDemand(self._codebook, self._agent),
                AgentContext(self._agent, RoughCounter()),
                CallServices(
                    call_id=info.call_sid,
                    caller=info.caller,
                    tools=FakeBackOffice(self._agent, self._scenario.faults),
                    now=lambda: NOW,
                ),
            ),
            vad=FakeVad(),
            line=playout,
            log=self._log,
            clock=self._clock,
            preemptive=PreemptiveBudget(at_once=1, waste_share=1.0),
            partials=PartialBudget(self._clock),
        )
        return self._call

    # -- the wire --------------------------------------------------------------------------------------------------

    async def _wire(self, voices: tuple[_Voice, _Voice]) -> None:
        """A frame every 20 ms: the caller, else the bystander, else the agent's echo."""
        echo_ms = self._scenario.carrier.echo_ms
        while self._leg.closed is None:
            sounds = [voice.frames.popleft() if voice.frames else SILENT_FRAME for voice in voices]
            ulaw = sounds[0] if sounds[0] != SILENT_FRAME else sounds[1]
            if ulaw == SILENT_FRAME and echo_ms is not None:
                until_s = now_s() - echo_ms / 1000
                ulaw = self._carrier.ear(until_s - FRAME_S, until_s)
            if now_s() >= self._silent_until_s:
                self._leg.media(ulaw, timestamp_ms=self._frame * 20)
            self._frame += 1
            await asyncio.sleep(self._frame * FRAME_S - now_s())

    async def _close(self, scripts: list[asyncio.Task[None]]) -> None:
        """The caller listens for a while, then hangs up."""
        await asyncio.wait(scripts)
        await asyncio.sleep(self._scenario.listens_s)
        self._leg.stop()

    # -- the steps -------------------------------------------------------------------------------------------------

    async def _perform(self, steps: tuple[Step, ...], voice: _Voice) -> None:
        since = 0
        for number, step in enumerate(steps, start=1):
            if step.at_s is not None:
                await asyncio.sleep(max(0.0, step.at_s - now_s()))
            elif step.after is not None:
                try:
                    async with asyncio.timeout(LONGEST_S / 3):
                        await self._until(step.after, step.nth, since)
                except TimeoutError:
                    self._complaints.append(f"step {number}: {step.after} never came")
                    return
            await asyncio.sleep(step.plus_s)
            start_s, since = now_s(), len(self._log)
            await self._do(step, voice)
            self._deeds.append(Deed(step, start_s, now_s()))

    async def _until(self, pattern: EventPattern, nth: int, since: int) -> None:
        while sum(matches(event, pattern) for event in list(self._log)[since:]) < nth:
            self._happened.clear()
            await self._happened.wait()

    async def _do(self, step: Step, voice: _Voice) -> None:
        if step.say:
            await self._sound(self._line(step), voice)
        elif step.noise_ms is not None:
            await self._sound(self._codebook.noise(step.noise_ms), voice)
        elif step.press:
            for digit in step.press:
                self._leg.say(
                    {"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track", "digit": digit}}
                )
                await asyncio.sleep(0.2)
        elif step.line == "lost":
            self._leg.vanish()
        elif step.line == "stalled":
            self._leg.flowing.clear()
            await asyncio.sleep(step.for_ms / 1000)
            self._leg.flowing.set()
        elif step.line == "silent":
            self._silent_until_s = now_s() + step.for_ms / 1000
        else:
            self._leg.stop()

    def _line(self, step: Step) -> bytes:
        pieces = pause_pieces(step.say)
        words = tuple(word for piece in pieces if isinstance(piece, str) for word in piece.split())
        self._models.said(SpokenLine(words, step.log_probability, step.end_score, step.pause_score))
        return b"".join(
            self._codebook.ulaw(piece.split()) if isinstance(piece, str) else silence(piece) for piece in pieces
        )

    async def _sound(self, ulaw: bytes, voice: _Voice) -> None:
        for at in range(0, len(ulaw), FRAME_BYTES):
            frame = ulaw[at : at + FRAME_BYTES]
            voice.frames.append(frame + SILENT_FRAME[len(frame) :])
        await asyncio.sleep(len(ulaw) / FRAME_BYTES * FRAME_S)


def matches(event: ev.Event, pattern: EventPattern) -> bool:
    """Whether an event is of this kind and has these fields."""
    for key, wanted in pattern.items():
        value: object = getattr(event, key, None)
        if isinstance(value, str) and isinstance(wanted, str) and key != "kind":
            if wanted not in value:
                return False
        elif value != wanted:
            return False
    return True
