"""Following the caller's speech: frames in, signals out. Pure and synchronous; time is counted in samples received."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.types import HEARING_RATE_HZ, FloatAudio
from pipeline.agent import TurnTaking
from pipeline.ports import VoiceActivity

PREROLL_S = 0.4
"""Audio kept from before the VAD fired: it needs some speech to be sure, and onsets are soft."""
BREAK_MS = 224
"""A shorter silence is a dip between words: speech before and after it counts as one towards `SpeechHeld`."""

QUIET_DB = 30.0
"""A window this far below the caller's voice is quiet."""
LOUD_DB = 20.0
"""One less far below, after quiet ones, may be the caller going on."""
SURE_PROBABILITY = 0.95
"""A quiet window that Silero holds for speech with less than this is silence: Silero follows late."""
_LEVEL_DECAY = 0.995
"""Of the voice's level, a window of speech."""
_QUIET_FIRST_MS = 96
"""Quiet of this length shows that the line has little noise."""
_QUIET = 10 ** (-QUIET_DB / 20)
_LOUD = 10 ** (-LOUD_DB / 20)


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Speech was confirmed in silence."""

    audio_s: float
    """Where it began, in seconds of audio received."""


@dataclass(frozen=True, slots=True)
class SpeechHeld:
    """Speech has lasted long enough to silence the agent."""

    audio_s: float


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The caller went on after a pause that had been reported."""

    audio_s: float


@dataclass(frozen=True, slots=True)
class Paused:
    """The caller has been silent for one of the silences of interest."""

    silence_ms: int
    """The silence of interest; on a line without noise it is true to about 20 ms."""
    speech_end_s: float
    """Where the last speech ended, in seconds of audio received."""


TurnSignal = SpeechBegan | SpeechHeld | SpeechResumed | Paused


class VoiceLevel:
    """How loud the caller's voice is, and so what is quiet on this line.

    Silero hears the end of speech 60 to 200 ms late; the level falls at once (on 93 lines of our scripts: 8 ms after
    the last sample at p50, 22 at p90, against 92 and 205). On a noisy line nothing is quiet, and Silero alone decides.
    """

    def __init__(self) -> None:
        self._level = 0.0

    def learn(self, rms: float) -> None:
        """Take a window of speech in."""
        self._level = max(rms, self._level * _LEVEL_DECAY)

    def is_quiet(self, rms: float) -> bool:
        return rms < self._level * _QUIET

    def is_loud(self, rms: float) -> bool:
        return rms >= self._level * _LOUD


class TurnTracker:
    """Silero windows over one call's audio, with hysteresis, and the audio of the turn so far."""

    def __init__(self, vad: VoiceActivity, settings: TurnTaking) -> None:
        self._vad = vad
        self._settings = settings
        self._window_ms = round(vad.window_samples * 1000 / HEARING_RATE_HZ)
        self._rest: FloatAudio = np.zeros(0, np.float32)
        self._audio: list[FloatAudio] = []
        self._kept_samples = 0
        self._received_samples = 0
        self._silences_ms = sorted(
            {
                settings.candidate_silence_ms,
                *settings.timeouts_ms(),
                *(point.silence_ms for point in settings.pause_points),
            }
        )
        self._speaking = False
        self._in_turn = False
        self._speech_ms = 0
        self._silence_ms = 0
        self._speech_start_s = 0.0
        self._speech_end_s = 0.0
        self._run_ms = 0
        self._held = False
        self._pause_reported = False
        self._level = VoiceLevel()
        self._quiet_ms = 0
        self._stirs = False

    @property
    def in_turn(self) -> bool:
        """Whether there is a turn under way: speech was confirmed and no `end_turn` came since."""
        return self._in_turn

    @property
    def speaking(self) -> bool:
        """Whether the caller speaks now (pauses too short to be reported included)."""
        return self._in_turn and not self._pause_reported

    @property
    def voiced(self) -> bool:
        """Whether the last window was speech, confirmed or not."""
        return self._speech_ms > 0

    @property
    def stirs(self) -> bool:
        """Whether the last window may be the caller going on: it was speech, or a sound after quiet."""
        return self._stirs or self._speech_ms > 0

    @property
    def silence_ms(self) -> int:
        """How long the turn's last silence has lasted; 0 while the caller speaks."""
        return self._silence_ms if self._in_turn else 0

    @property
    def received_s(self) -> float:
        return self._received_samples / HEARING_RATE_HZ

    @property
    def speech_end_s(self) -> float:
        """Where the last speech ended, in seconds of audio received."""
        return self._speech_end_s

    @property
    def speech_s(self) -> float:
        """From the beginning of the turn's speech to the end of its last."""
        return self._speech_end_s - self._speech_start_s

    @property
    def turn_s(self) -> float:
        """Length of the turn's audio so far, preroll included."""
        return self._kept_samples / HEARING_RATE_HZ

    def turn_audio(self, until_s: float | None = None) -> FloatAudio:
        """The turn so far, or up to a place in it: float32, 16 kHz, from `PREROLL_S` before the speech began."""
        audio = np.concatenate(self._audio) if self._audio else np.zeros(0, np.float32)
        return audio if until_s is None else audio[: self._place(until_s)]

    def quietest_s(self, within_s: float) -> float:
        """Where the end of the turn so far is quietest, in seconds of audio received."""
        windows = self._audio[-max(1, round(within_s * 1000 / self._window_ms)) :]
        levels = [float(np.dot(window, window)) for window in windows]
        after = len(windows) - int(np.argmin(levels)) - 0.5
        return self.received_s - after * self._window_ms / 1000

    def split_turn(self, at_s: float) -> None:
        """The turn has been dealt with up to this place, in seconds of audio received; what came since goes on as
        another, with its speech or silence as it is."""
        audio = self.turn_audio()[self._place(at_s) :]
        self._audio, self._kept_samples = [audio], audio.size
        self._speech_start_s = at_s
        self._held = False
        self._run_ms = 0

    def end_turn(self) -> None:
        """The turn has been dealt with; what comes next is another."""
        self._in_turn = self._speaking = self._held = self._pause_reported = False
        self._speech_ms = self._run_ms = self._silence_ms = 0
        self._trim_to_preroll()

    def feed(self, frame: FloatAudio) -> list[TurnSignal]:
        """Take 16 kHz samples of any number; the signals they give rise to, in order."""
        size = self._vad.window_samples
        audio = np.concatenate([self._rest, frame]) if self._rest.size else frame
        signals: list[TurnSignal] = []
        position = 0
        while position + size <= audio.size:
            signals += self._window(audio[position : position + size])
            position += size
        self._rest = audio[position:]
        return signals

    def _window(self, window: FloatAudio) -> list[TurnSignal]:
        self._audio.append(window)
        self._kept_samples += window.size
        self._received_samples += window.size
        if not self._in_turn:
            self._trim_to_preroll()
        probability = self._vad.probability(window)
        threshold = self._settings.silence_probability if self._speaking else self._settings.speech_probability
        rms = math.sqrt(float(np.dot(window, window)) / window.size)
        quiet_before_ms = self._quiet_ms
        self._quiet_ms = self._quiet_ms + self._window_ms if self._level.is_quiet(rms) else 0
        self._stirs = quiet_before_ms >= _QUIET_FIRST_MS and self._level.is_loud(rms)
        if probability >= (max(threshold, SURE_PROBABILITY) if self._quiet_ms else threshold):
            self._level.learn(rms)
            return self._speech()
        return self._silence()

    def _speech(self) -> list[TurnSignal]:
        signals: list[TurnSignal] = []
        self._speech_ms += self._window_ms
        if not self._speaking and self._speech_ms >= (
            self._window_ms if self._in_turn and not self._pause_reported else self._settings.confirm_speech_ms
        ):
            self._speaking = True
            start_s = self.received_s - self._speech_ms / 1000
            if not self._in_turn:
                self._in_turn = True
                self._speech_start_s = start_s
                signals.append(SpeechBegan(audio_s=start_s))
            elif self._pause_reported:
                self._pause_reported = False
                signals.append(SpeechResumed(audio_s=start_s))
        if self._speaking:
            self._silence_ms = 0
            self._speech_end_s = self.received_s - self._quiet_ms / 1000
            self._run_ms = max(self._run_ms + self._window_ms, self._speech_ms)
            if not self._held and self._run_ms >= self._settings.barge_in_ms:
                self._held = True
                signals.append(SpeechHeld(audio_s=self.received_s))
        elif self._in_turn:
            signals += self._lengthen_silence(since_ms=self._silence_ms)
        return signals

    def _silence(self) -> list[TurnSignal]:
        self._speech_ms = 0
        if not self._in_turn:
            return []
        if self._speaking:
            # The silence began where it became quiet, not where Silero noticed.
            self._silence_ms = max(0, self._quiet_ms - self._window_ms)
            self._speaking = False
            return self._lengthen_silence(since_ms=0)
        return self._lengthen_silence(since_ms=self._silence_ms)

    def _lengthen_silence(self, *, since_ms: int) -> list[TurnSignal]:
        """One window more; the silences of interest that have been reached after `since_ms`."""
        self._silence_ms += self._window_ms
        if self._silence_ms >= BREAK_MS:
            self._held = False
            self._run_ms = 0
        signals: list[TurnSignal] = []
        for silence_ms in self._silences_ms:
            if since_ms < silence_ms <= self._silence_ms:
                self._pause_reported = True
                signals.append(Paused(silence_ms=silence_ms, speech_end_s=self._speech_end_s))
        return signals

    def _place(self, at_s: float) -> int:
        """Where in the turn's audio a second of the audio received lies."""
        return max(0, round(at_s * HEARING_RATE_HZ) - self._received_samples + self._kept_samples)

    def _trim_to_preroll(self) -> None:
        keep = int(PREROLL_S * HEARING_RATE_HZ)
        while self._audio and self._kept_samples - self._audio[0].size >= keep:
            self._kept_samples -= self._audio.pop(0).size
