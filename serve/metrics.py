"""Every metric of the gateway, declared once, with buckets that fit its stage."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline import events as ev
from pipeline.fallback import Server
from telephony.playout import PacingStats

LAG_SAMPLES_KEPT = 24_000
"""Twenty minutes at one sample every 50 ms: longer than the longest call."""

TRANSCRIBE_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 5)
ROUTE_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 2)
TURN_SCORE_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 2)
SPEECH_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1, 2, 5)
VOICE_TO_VOICE_S = (0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2, 1.6, 2.4, 4, 8)
LOOP_LAG_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
PACING_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.1, 0.5)
CALL_S = (5, 15, 30, 60, 120, 300, 600, 1200)


@dataclass(frozen=True, slots=True)
class LagSummary:
    """How late the event loop woke, over the samples since a moment; None if there is none yet.

    Late and busy: something computed on the loop. Late but not busy: something blocked it, or the machine gave the
    cores to others.
    """

    samples: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    busy_max_ms: float | None
    """The most CPU time that the loop's thread spent between two samples."""
    collection_max_ms: float
    """The longest garbage collection of the process meanwhile: it stops every thread. 0: there was none."""


class FallbackMetrics:
    """pipeline.fallback.FallbackListener: how often stand-ins were needed, and what they cost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._asked = Counter(
            "trunkline_fallback_asked",
            "Requests of a stage that has a stand-in",
            ["stage", "server"],
            registry=registry,
        )
        self._failed = Counter(
            "trunkline_fallback_failed", "Of these, those that failed", ["stage", "server"], registry=registry
        )
        self._rests = Gauge(
            "trunkline_fallback_in_use", "1 while the stand-in is asked first", ["stage"], registry=registry
        )
        self._stood_in = Counter(
            "trunkline_fallback_in_use_seconds",
            "How long primaries had failed when they answered again",
            ["stage"],
            registry=registry,
        )
        self._cost = Counter(
            "trunkline_hosted_cost",
            "What hosted models cost, by the prices of the stack file",
            ["stage", "provider"],
            registry=registry,
        )

    def asked(self, stage: str, server: Server) -> None:
        self._asked.labels(stage=stage, server=server).inc()

    def failed(self, stage: str, server: Server) -> None:
        self._failed.labels(stage=stage, server=server).inc()

    def rests(self, stage: str) -> None:
        self._rests.labels(stage=stage).set(1)

    def is_back(self, stage: str, after_s: float) -> None:
        self._rests.labels(stage=stage).set(0)
        self._stood_in.labels(stage=stage).inc(after_s)

    def spent(self, stage: str, provider: str, cost: float) -> None:
        self._cost.labels(stage=stage, provider=provider).inc(cost)


class Metrics:
    """One gateway process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.fallback = FallbackMetrics(self.registry)
        stage = self._histogram
        self.transcribe = stage("transcribe", "Final transcript of a turn, from request to answer", TRANSCRIBE_S)
        self.partial = stage("partial_transcript", "Transcript while the caller speaks", TRANSCRIBE_S)
        self.route = stage("route", "Route and passages of an utterance", ROUTE_S)
        self.understand = stage("understand", "What an utterance means, where a model was asked", TRANSCRIBE_S)
        self.turn_score = stage("turn_score", "End-of-turn score", TURN_SCORE_S)
        self.first_speech = stage("first_speech", "A clause's first samples from the speaker", SPEECH_S)
        self.voice_to_voice = stage(
            "voice_to_voice", "Last sample of the caller's speech to first audible frame sent", VOICE_TO_VOICE_S
        )
        self.loop_lag = stage("event_loop_lag", "How late the gateway's event loop wakes a sleeper", LOOP_LAG_S)
        self.pacing_p50 = stage("frame_lateness_p50", "A call's median lateness of audio frames sent", PACING_S)
        self.pacing_p99 = stage("frame_lateness_p99", "A call's 99th percentile of the same", PACING_S)
        self.call_duration = stage("call_duration", "Length of a call", CALL_S)
        self.calls = Gauge("trunkline_calls", "Calls under way", registry=self.registry)
        self.calls_total = Counter(
            "trunkline_calls_ended", "Calls by how they ended", ["reason"], registry=self.registry
        )
        self.refused_total = Counter("trunkline_refused", "Requests refused", ["why"], registry=self.registry)
        self.unshared_total = Counter(
            "trunkline_places_unshared",
            "Decisions about a call's place that this gateway took alone, for want of the call store",
            registry=self.registry,
        )
        self.stage_failures_total = Counter(
            "trunkline_stage_failures",
            "Stages that failed and cost the caller an apology",
            ["stage"],
            registry=self.registry,
        )
        self.models_total = Counter(
            "trunkline_answers_by_model",
            "Answers by the language model chosen for them",
            ["tier", "why"],
            registry=self.registry,
        )
        self.model_wait_saved = Counter(
            "trunkline_model_wait_saved_seconds",
            "What the large language model would have taken longer to begin where the small one was chosen",
            registry=self.registry,
        )
        self.barge_ins_total = Counter("trunkline_barge_ins", "Replies cut by the caller", registry=self.registry)
        self.false_barge_ins_total = Counter(
            "trunkline_false_barge_ins", "Replies that went on after a cough or a backchannel", registry=self.registry
        )
        self.resumed_total = Counter(
            "trunkline_turns_resumed", "Prepared replies thrown away because the caller went on", registry=self.registry
        )

    def render(self) -> bytes:
        """The exposition text of all metrics."""
        return generate_latest(self.registry)

    def follow(self, log: ev.EventLog) -> None:
        """Count a call's events as they come."""
        speech_end_s: dict[int, float] = {}
        fillers: set[str] = set()

        def observe(event: ev.Event) -> None:
            match event:
                case ev.FinalTranscript(took_ms=took_ms):
                    self.transcribe.observe(took_ms / 1000)
                case ev.PartialTranscript(took_ms=took_ms):
                    self.partial.observe(took_ms / 1000)
                case ev.Routed(took_ms=took_ms):
                    self.route.observe(took_ms / 1000)
                case ev.Understood(way="model", took_ms=took_ms):
                    self.understand.observe(took_ms / 1000)
                case ev.ModelChosen(tier=tier, why=why, saved_ms=saved_ms):
                    self.models_total.labels(tier=tier, why=why).inc()
                    self.model_wait_saved.inc(saved_ms / 1000)
                case ev.EndpointScored(took_ms=took_ms):
                    self.turn_score.observe(took_ms / 1000)
                case ev.SpeechReady(took_ms=took_ms):
                    self.first_speech.observe(took_ms / 1000)
                case ev.TurnDecided(turn=turn, speech_end_s=end_s):
                    speech_end_s[turn] = end_s
                case ev.ClauseDecided(clause_id=clause_id, source="filler"):
                    fillers.add(clause_id)
                case ev.FirstAudio(turn=turn, clause_id=clause_id) if turn in speech_end_s and clause_id not in fillers:
                    self.voice_to_voice.observe(max(0.0, event.at_s - speech_end_s.pop(turn)))
                case ev.StageFailed(stage=stage):
                    self.stage_failures_total.labels(stage=stage).inc()
                case ev.BargeIn():
                    self.barge_ins_total.inc()
                case ev.ReplyResumed():
                    self.false_barge_ins_total.inc()
                case ev.TurnResumed():
                    self.resumed_total.inc()
                case ev.CallEnded(reason=reason):
                    self.calls_total.labels(reason=reason).inc()
                    self.call_duration.observe(event.at_s)

        log.subscribe(observe)

    def observe_pacing(self, pacing: PacingStats) -> None:
        """Count a call's frames when it has ended."""
        self.pacing_p50.observe(pacing.p50_ms / 1000)
        self.pacing_p99.observe(pacing.p99_ms / 1000)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"trunkline_{name}_seconds", help_text, buckets=buckets, registry=self.registry)


class LoopLagProbe:
    """Measures how late the event loop wakes: what blocks the loop shows here."""

    def __init__(self, metrics: Metrics, *, sample_ms: float) -> None:
        self._metrics = metrics
        self._sample_s = sample_ms / 1000
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=LAG_SAMPLES_KEPT)
        """(due, lag, CPU time of the loop's thread since the sample before), in seconds."""
        self._collections: deque[tuple[float, float]] = deque(maxlen=LAG_SAMPLES_KEPT)
        """(end, length) of garbage collections, in seconds."""
        self._collecting_since_s = 0.0

    async def run(self) -> None:
        """Sample until cancelled."""
        gc.callbacks.append(self._on_collection)
        try:
            while True:
                # Not the loop's own clock: uvloop's ticks in whole milliseconds.
                due_s = time.monotonic() + self._sample_s
                busy_s = time.thread_time()
                await asyncio.sleep(self._sample_s)
                lag_s = max(0.0, time.monotonic() - due_s)
                self._samples.append((due_s, lag_s, time.thread_time() - busy_s))
                self._metrics.loop_lag.observe(lag_s)
        finally:
            gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        now_s = time.monotonic()
        if phase == "start":
            self._collecting_since_s = now_s
        else:
            self._collections.append((now_s, now_s - self._collecting_since_s))

    def since(self, monotonic_s: float) -> LagSummary:
        """The lag from a moment of `time.monotonic()` until now."""
        # The newest first, and no further back: walking all that is kept would itself block the loop for milliseconds.
        recent = takewhile(lambda sample: sample[0] >= monotonic_s, reversed(self._samples))
        samples = [(lag_s * 1000, busy_s * 1000) for _, lag_s, busy_s in recent]
        if not samples:
            return LagSummary(0, p50_ms=None, p99_ms=None, max_ms=None, busy_max_ms=None, collection_max_ms=0.0)
        collections = takewhile(lambda collection: collection[0] >= monotonic_s, reversed(tuple(self._collections)))
        lags = sorted(lag_ms for lag_ms, _ in samples)

        def rank(share: float) -> float:
            return round(lags[max(0, math.ceil(share * len(lags)) - 1)], 3)

        return LagSummary(
            samples=len(lags),
            p50_ms=rank(0.5),
            p99_ms=rank(0.99),
            max_ms=round(lags[-1], 3),
            busy_max_ms=round(max(busy_ms for _, busy_ms in samples), 3),
            collection_max_ms=round(max((length_s * 1000 for _, length_s in collections), default=0.0), 3),
        )
