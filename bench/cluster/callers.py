"""Callers who ask the same four questions for as long as they are told to, whatever breaks at the other end.

A stream that is lost is asked for at `action`, as the carrier does, of whichever gateway answers; the questions go on
by the clock. Afterwards is known which question got an answer, how late, and how long anyone waited for a new stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import httpx
import numpy as np
from websockets.exceptions import WebSocketException

from bench.caller import CallFailed, CallTarget, StreamInstructions, _Twilio
from bench.load import GREETING_S, LoadCaller, call_payloads
from bench.v2v import agent_spans
from models.types import FloatAudio
from telephony.audio import FRAME_BYTES, FRAME_S, WIRE_RATE_HZ, ulaw_to_float

QUESTIONS: Final = (
    "When do you open in the morning?",
    "How many books can I take home at once?",
    "Is there a place to park near the building?",
    "Do you have story time for small children?",
)
"""To configs/agents/peers.yaml."""
NEXT_GATEWAY_S = 0.1
"""A carrier whose webhook got no answer asks the next URL."""
REPLY_S = 18.0
"""Silence after each question: with eight calls, about what two cores answer."""
PATIENCE_S = 20.0
"""A call that finds no gateway for so long is lost."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of one call."""

    at_s: float
    """End of the question, from the call's begin."""
    answered_after_ms: float | None
    """From there to the first audible sample; None: nothing came before the next question."""


@dataclass(slots=True)
class CallRecord:
    """What came of one call."""

    call_sid: str
    streams: int = 0
    lost: str = ""
    """Why the call could not go on; empty: it went on to its end."""
    reconnected_after_ms: list[float] = field(default_factory=list)
    """From a stream's loss to the next stream's first audible sample."""
    gaps_ms: list[float] = field(default_factory=list)
    """Silences in the middle of a reply, because audio came too late; one sum a stream that had any."""
    asked: list[Asked] = field(default_factory=list)

    @property
    def unanswered(self) -> int:
        return sum(one.answered_after_ms is None for one in self.asked)


async def hold_call(
    gateways: Sequence[str], lines: Sequence[Sequence[str]], *, public_url: str, token: str, seconds: float, first: int
) -> CallRecord:
    """One call of so many seconds, beginning with question number `first`; `gateways` is read anew whenever a stream is
    wanted, so that the list may change."""
    target = CallTarget(public_url, gateways[first % len(gateways)], token)
    record = CallRecord(target.call_sid)
    frames = round(seconds / FRAME_S)
    payloads = call_payloads(lines, frames, GREETING_S, first, REPLY_S)
    heard = np.zeros(frames * FRAME_BYTES, dtype=np.float32)
    cuts: list[int] = []
    began_s = time.perf_counter()
    lost_s: float | None = None
    instructions: StreamInstructions | None = None
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        while (at := round((time.perf_counter() - began_s) / FRAME_S)) < frames:
            try:
                target, instructions = await _next(gateways, target, http, instructions, first)
                socket = await _Twilio(target, http).open_stream(instructions.url)
            except (CallFailed, OSError, WebSocketException, TimeoutError) as error:
                if lost_s is None:
                    lost_s = time.perf_counter()
                if time.perf_counter() - lost_s > PATIENCE_S:
                    record.lost = str(error)
                    break
                await asyncio.sleep(NEXT_GATEWAY_S)
                continue
            record.streams += 1
            offset = round((time.perf_counter() - began_s) / FRAME_S) * FRAME_BYTES
            caller = LoadCaller(socket, target, instructions.parameters)
            broke = False
            try:
                await caller.call(payloads[at:])
            except* (ConnectionError, WebSocketException):
                broke = True
            finally:
                await socket.close()
            length = len(heard) - offset
            audio = ulaw_to_float(caller.playback.played(0, max(0, length)))
            heard[offset : offset + len(audio)] = audio
            cuts += [offset + cut for cut in caller.playback.clears]
            if caller.playback.underruns:
                record.gaps_ms.append(caller.playback.underrun_samples * 1000 / WIRE_RATE_HZ)
            if lost_s is not None:
                spans = agent_spans(audio, caller.playback.clears)
                sounded_s = offset / WIRE_RATE_HZ + (spans[0].start / WIRE_RATE_HZ if spans else length / WIRE_RATE_HZ)
                record.reconnected_after_ms.append((began_s + sounded_s - lost_s) * 1000)
                lost_s = None
            if not broke:
                break
            lost_s = time.perf_counter()
    record.asked = _answers(lines, frames, first, heard, cuts)
    return record


async def _next(
    gateways: Sequence[str],
    target: CallTarget,
    http: httpx.AsyncClient,
    before: StreamInstructions | None,
    first: int,
) -> tuple[CallTarget, StreamInstructions]:
    """The call's next stream: from its webhook, or after one that broke from `action`, of the first gateway that
    answers. Raises CallFailed."""
    failure = CallFailed("webhook", None, "no gateway is up")
    for number in range(len(gateways)):
        there = replace(target, base_url=gateways[(first + number) % len(gateways)])
        twilio = _Twilio(there, http)
        try:
            return there, await (twilio.voice_webhook() if before is None else twilio.go_on(before.action))
        except CallFailed as error:
            failure = error
    raise failure


def _answers(
    lines: Sequence[Sequence[str]], frames: int, first: int, heard: FloatAudio, cuts: Sequence[int]
) -> list[Asked]:
    """By the plan of bench.load.call_payloads."""
    spans = agent_spans(heard, sorted(cuts))
    at, number = round(GREETING_S / FRAME_S), first
    asked: list[Asked] = []
    while True:
        end = at + len(lines[number % len(lines)])
        until = end + round(REPLY_S / FRAME_S)
        if until > frames:
            return asked
        starts = [span.start for span in spans if end * FRAME_BYTES <= span.start < until * FRAME_BYTES]
        after_ms = (starts[0] - end * FRAME_BYTES) * 1000 / WIRE_RATE_HZ if starts else None
        asked.append(Asked(end * FRAME_S, after_ms))
        at, number = until, number + 1
