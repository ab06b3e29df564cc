"""A six-turn call as its run folder would hold it: events with plausible latencies, and audio shaped like speech."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline import events as ev

RATE_HZ = 8_000
HOSTILE = 'My name is <script>alert("x")</script> & </script><!-- Anna'


@dataclass(frozen=True)
class Exchange:
    said: str
    reply: tuple[str, ...]
    source: ev.ReplySource = "knowledge"
    route: str = "question"
    wait_ms: float = 320
    transcribe_ms: float = 110
    route_ms: float = 12
    clause_ms: float = 140
    speak_ms: float = 120
    heard_words: int | None = None
    """The caller breaks in after so many words."""
    fails: bool = False
    resumes: bool = False
    """The caller pauses in the middle: a first guess is made and thrown away."""
    booked: tuple[tuple[str, str], ...] = ()


CALL = (
    Exchange("What are your opening hours?", ("We are open Monday to Friday, from eight to five.",)),
    Exchange(
        "And how much is a cleaning, if I don't have any insurance?",
        ("A cleaning is one hundred and twenty dollars.",),
        wait_ms=410, transcribe_ms=148, clause_ms=210, resumes=True, source="llm",
    ),
    Exchange(
        "I'd like to book a cleaning for Tuesday afternoon.",
        ("Certainly.", "On Tuesday I have two o'clock, half past three,", "and a quarter to five in the afternoon."),
        source="form", route="book", clause_ms=4, speak_ms=96, heard_words=8,
    ),
    Exchange(
        "Half past three, please.", ("Tuesday at half past three.", "What name shall I put it under?"),
        source="form", route="book", clause_ms=3, wait_ms=210, speak_ms=88,
    ),
    Exchange(
        "Do you have free parking?", ("I'm sorry, something went wrong on our side.", "Could you say that again?"),
        source="apology", fails=True, wait_ms=260,
    ),
    Exchange(
        HOSTILE, ("You are booked for Tuesday at half past three.", "Is there anything else?"),
        source="form", route="book", clause_ms=3, wait_ms=460, transcribe_ms=190, speak_ms=131,
        booked=(("opening", "Tuesday half past three"), ("name", "Anna")),
    ),
    Exchange(
        "No, that's all, thank you.", ("Thank you for calling Bright Dental.", "Goodbye!"),
        source="farewell", route="goodbye", clause_ms=2, wait_ms=230, speak_ms=20,
    ),
)  # fmt: skip


class ExampleCall:
    """Builds the log and both sides' sound, step by step, on one clock."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self.caller_lines: list[tuple[float, float]] = []
        self.agent_lines: list[tuple[float, float]] = []
        self.at_s = 0.0

    def log(self, event: ev.Event, at_s: float | None = None) -> None:
        self.events.append(replace(event, seq=len(self.events), at_s=round(self.at_s if at_s is None else at_s, 6)))

    def build(self, exchanges: tuple[Exchange, ...] = CALL) -> ExampleCall:
        self.log(
            ev.CallStarted(
                call_sid="CA0f3c9d2e51b84a7796d1",
                stream_sid="MZ71",
                caller="+15550142233",
                agent="Bright Dental",
                wall_time_s=1_795_394_659.0,
            )
        )
        self._reply(0, ("Hello, this is Bright Dental.", "How can I help you?"), "greeting", 4, 60, None)
        for turn, exchange in enumerate(exchanges, start=1):
            self._exchange(turn, exchange, barges_in=turn > 1 and exchanges[turn - 2].heard_words is not None)
        self.at_s += 0.4
        self.log(ev.CallEnded(reason="farewell"))
        return self

    def _exchange(self, turn: int, exchange: Exchange, *, barges_in: bool) -> None:
        start_s = self.at_s if barges_in else self.at_s + 0.7
        length_s = len(exchange.said) / 15
        if not barges_in:
            self.log(ev.SpeechStarted(turn=turn, audio_s=start_s), start_s + 0.1)
        words = exchange.said.split()
        pause_s = 0.45 if exchange.resumes else 0.0
        middle_s = start_s + length_s / 2
        for count in range(2, len(words), 2):
            spoken_s = length_s * count / len(words)
            at_s = start_s + spoken_s + 0.2 + (pause_s if start_s + spoken_s > middle_s else 0)
            text = " ".join(words[:count])
            self.log(ev.PartialTranscript(turn=turn, text=text, audio_s=spoken_s, took_ms=90), at_s)
        if exchange.resumes:
            self.caller_lines += [(start_s, middle_s), (middle_s + pause_s, start_s + length_s + pause_s)]
            guess = " ".join(words[: len(words) // 2])
            self.log(ev.SpeechStopped(turn=turn, audio_s=middle_s), middle_s + 0.2)
            self.log(
                ev.FinalTranscript(turn=turn, text=guess, average_log_probability=-0.2, took_ms=100), middle_s + 0.3
            )
            self.log(
                ev.ClauseDecided(turn=turn, clause_id=f"t{turn}.0.c0", text="A guess.", source="llm"), middle_s + 0.4
            )
            self.log(ev.TurnResumed(turn=turn), middle_s + 0.45)
        else:
            self.caller_lines.append((start_s, start_s + length_s))
        end_s = start_s + length_s + pause_s
        self.at_s = end_s + 0.2
        self.log(ev.SpeechStopped(turn=turn, audio_s=end_s))
        self.log(ev.EndpointScored(turn=turn, silence_ms=200, probability=0.93, took_ms=24))
        decided_s = end_s + exchange.wait_ms / 1000
        self.at_s += exchange.transcribe_ms / 1000
        if exchange.fails:
            self.log(ev.StageFailed(turn=turn, stage="transcribe", error="SpeechToText: the replica died (exit 137)"))
        else:
            took_ms = exchange.transcribe_ms
            final = ev.FinalTranscript(turn=turn, text=exchange.said, average_log_probability=-0.21, took_ms=took_ms)
            self.log(final)
            self.at_s += exchange.route_ms / 1000
            self.log(
                ev.Routed(
                    turn=turn,
                    label=exchange.route,
                    confidence=0.94,
                    passage_ids=("hours",),
                    passage_scores=(0.8,),
                    took_ms=exchange.route_ms,
                )
            )
        self.log(ev.TurnDecided(turn=turn, reason="model", speech_end_s=end_s, silence_ms=200), decided_s)
        self._reply(turn, exchange.reply, exchange.source, exchange.clause_ms, exchange.speak_ms, exchange, decided_s)

    def _reply(
        self, turn: int, clauses: tuple[str, ...], source: ev.ReplySource, clause_ms: float, speak_ms: float,
        exchange: Exchange | None, gate_s: float = 0.0,
    ) -> None:  # fmt: skip
        left = exchange.heard_words if exchange else None
        heard: list[str] = []
        for index, text in enumerate(clauses):
            clause_id = f"t{turn}.1.c{index}"
            self.at_s += clause_ms / 1000 if index == 0 else 0.01
            self.log(ev.ClauseDecided(turn=turn, clause_id=clause_id, text=text, source=source))
            if index == 0:
                self.at_s += speak_ms / 1000
            self.log(ev.SpeechReady(turn=turn, clause_id=clause_id, took_ms=speak_ms))
            if index == 0:
                self.at_s = max(self.at_s, gate_s) + 0.022
            self.log(ev.FirstAudio(turn=turn, clause_id=clause_id))
            if index == 0 and exchange and exchange.booked:
                done = {"status": "ok", "code": "", "arguments": dict(exchange.booked)}
                self.log(ev.ToolFinished(turn=turn, tool="booking", effect="write", **done))
            words = text.split()
            start_s, length_s = self.at_s, len(text) / 14.5
            if left is not None and left < len(words):
                self.at_s += length_s * left / len(words) + 0.35
                self.agent_lines.append((start_s, self.at_s))
                heard += words[:left]
                for late, unheard in enumerate(clauses[index + 1 :], start=index + 1):
                    decided = ev.ClauseDecided(turn=turn, clause_id=f"t{turn}.1.c{late}", text=unheard, source=source)
                    self.log(decided, start_s + 0.1)
                self.log(ev.SpeechStarted(turn=turn + 1, audio_s=self.at_s - 0.3), self.at_s - 0.2)
                self.log(ev.BargeIn(turn=turn + 1, heard=" ".join(heard)))
                self.log(ev.ReplyEnded(turn=turn, heard=" ".join(heard), complete=False))
                self.at_s -= 0.3
                return
            left = None if left is None else left - len(words)
            heard += words
            self.at_s += length_s
            self.agent_lines.append((start_s, self.at_s - 0.08))
            self.log(ev.ClausePlayed(turn=turn, clause_id=clause_id))
        self.log(ev.ReplyEnded(turn=turn, heard=" ".join(heard), complete=True))

    def audio(self) -> np.ndarray:
        """int16, shape (n, 2): left the caller with a little line noise, right the agent."""
        count = int((self.events[-1].at_s + 0.2) * RATE_HZ)
        rng = np.random.default_rng(7)
        sides = np.zeros((count, 2))
        sides[:, 0] = rng.normal(0, 60, count)
        for side, lines, pitch_hz in ((0, self.caller_lines, 118.0), (1, self.agent_lines, 205.0)):
            for start_s, end_s in lines:
                first, last = int(start_s * RATE_HZ), min(count, int(end_s * RATE_HZ))
                sides[first:last, side] += _babble(last - first, pitch_hz, rng)
        return sides.clip(-32_768, 32_767).astype(np.int16)

    def write(self, folder: Path, *, caller_side: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(ev.to_json(event) + "\n" for event in sorted(self.events, key=lambda event: event.at_s))
        (folder / "events.jsonl").write_text(lines, encoding="utf-8")
        with wave.open(str(folder / ("wire.wav" if caller_side else "call.wav")), "wb") as file:
            file.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(self.audio().tobytes())
        if caller_side:
            (folder / "caller.json").write_text(json.dumps(self.caller_json()), encoding="utf-8")
        return folder

    def caller_json(self) -> dict[str, object]:
        """The caller's own record, its figures a network's 31 ms above the gateway's."""
        turns = []
        decided = [event for event in self.events if isinstance(event, ev.TurnDecided)]
        for number, event in enumerate(decided):
            first_s = min(e.at_s for e in self.events if isinstance(e, ev.FirstAudio) and e.turn == event.turn)
            cut_off = number == 1
            turns.append(
                {
                    "turn": number,
                    "kind": "interrupt" if number == 3 else "say",
                    "speech_end_s": event.speech_end_s,
                    "v2v_ms": None if cut_off else (first_s - event.speech_end_s) * 1000 + 31,
                    "cut_off": cut_off,
                    "barge_in_ms": 322.0 if number == 3 else None,
                }
            )
        return {"script": "example", "voice": "joe", "turns": turns}


def _babble(count: int, pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Voiced sound in syllables: harmonics of a wandering pitch under an envelope of four beats a second."""
    time_s = np.arange(count) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.08 * np.sin(2 * np.pi * 0.9 * time_s))) / RATE_HZ
    voice = sum(np.sin(phase * harmonic) / harmonic for harmonic in (1, 2, 3, 5, 7, 11))
    beats = np.abs(np.sin(np.pi * 4.1 * time_s + rng.uniform(0, 3))) ** 0.6
    strength = np.interp(time_s, np.linspace(0, max(time_s[-1], 0.1), 9), rng.uniform(0.3, 1.0, 9))
    edge = np.minimum(1, np.minimum(time_s, time_s[-1] - time_s) / 0.05)
    return (voice + rng.normal(0, 0.15, count)) * beats * strength * edge * 5_200
