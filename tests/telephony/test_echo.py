"""The agent's own voice on its way back is told from the caller's, alone, together and on any line."""

from __future__ import annotations

import asyncio
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.types import FloatAudio, SpeechChunk
from telephony.audio import FRAME_BYTES, FRAME_S, WIRE_RATE_HZ, float_to_ulaw, level_dbfs, ulaw_to_float
from telephony.echo import EchoGuard
from tests.telephony.fakes import now_s
from tests.telephony.session_rig import FakeCall, Rig, run

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
RECORDED = pytest.mark.skipif(
    not SOUNDS.is_dir(), reason="needs recorded speech: apt-get install asterisk-core-sounds-en-wav"
)

ROUNDINGS_S = 0.0131
"""The received audio's clock is not in step with the frames sent."""


def speech(seed: int, seconds: float, level: float = -20.0) -> FloatAudio:
    """Noise with the long-term spectrum and the syllables of speech, 8 kHz."""
    rng = np.random.default_rng(seed)
    size = round(seconds * WIRE_RATE_HZ)
    hertz = np.fft.rfftfreq(size, 1 / WIRE_RATE_HZ)
    shape = 1.0 / (1.0 + (hertz / 500.0) ** 2)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, size)
    syllables = np.repeat(rng.choice([0.0, 0.3, 1.0, 1.0], size // 1200 + 1), 1200)[:size]
    return at_level(noise * np.convolve(syllables, np.hanning(400) / 200, "same"), level)


def recorded(name: str, level: float = -20.0) -> FloatAudio:
    with wave.open(str(SOUNDS / f"{name}.wav")) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return at_level(pcm.astype(np.float64), level)


def frames(audio: npt.NDArray[np.floating]) -> list[FloatAudio]:
    whole = audio.size - audio.size % FRAME_BYTES
    return list(audio[:whole].astype(np.float32).reshape(-1, FRAME_BYTES))


def at_level(audio: npt.NDArray[np.floating], level: float) -> FloatAudio:
    """Scaled so that its loud frames have this mean level, dBFS."""
    power = np.array([float(np.mean(np.square(frame))) for frame in frames(audio)])
    loud = float(np.mean(power[power > power.max() / 300]))
    return (audio * np.sqrt(10 ** (level / 10) / loud)).astype(np.float32)


def telephone(audio: FloatAudio) -> FloatAudio:
    """300 to 3400 Hz."""
    place = np.arange(-40, 41)
    taps = 0.85 * np.sinc(0.85 * place) - 0.075 * np.sinc(0.075 * place)
    return np.convolve(audio, taps * np.hamming(81), "same").astype(np.float32)


@dataclass(frozen=True)
class Heard:
    """One entry a received frame."""

    gated: npt.NDArray[np.bool_]
    echo: npt.NDArray[np.float64]
    """Level, dBFS."""
    caller: npt.NDArray[np.float64]


def on_a_line(
    agent: FloatAudio, *, caller: FloatAudio | None = None, echo_db: float | None = -15.0, delay_s: float = 0.18
) -> Heard:
    """The guard's judgement of each frame that comes back while the agent's audio plays."""
    caller = np.zeros_like(agent) if caller is None else telephone(caller)
    caller = np.concatenate([caller, np.zeros(agent.size, np.float32)])[: agent.size]
    played = [float_to_ulaw(frame) for frame in frames(agent)]
    echo = np.zeros(agent.size, np.float32)
    if echo_db is not None:
        back = telephone(np.concatenate([ulaw_to_float(ulaw) for ulaw in played])) * 10 ** (echo_db / 20)
        delay = round(delay_s * WIRE_RATE_HZ)
        echo[delay:] = np.concatenate([back, np.zeros(agent.size, np.float32)])[: agent.size - delay]
    noise = np.random.default_rng(0).standard_normal(agent.size) * 10 ** (-65 / 20)
    guard = EchoGuard()
    gated = []
    waiting = list(enumerate(played))
    for at, frame in enumerate(frames(echo + caller + noise)):
        end_s = 50.0 + (at + 1) * FRAME_S
        while waiting and 50.0 + waiting[0][0] * FRAME_S <= end_s + 0.08:
            sent_at, ulaw = waiting.pop(0)
            guard.sent(ulaw, 50.0 + sent_at * FRAME_S)
        gated.append(guard.is_echo(ulaw_to_float(float_to_ulaw(frame)), end_s + ROUNDINGS_S))
    return Heard(
        np.array(gated),
        np.array([level_dbfs(frame) for frame in frames(echo)]),
        np.array([level_dbfs(frame) for frame in frames(caller)]),
    )


def gated_share(heard: Heard) -> float:
    active = heard.echo > max(-55.0, heard.echo.max() - 20)
    return float(np.mean(heard.gated[active]))


@pytest.mark.parametrize("echo_db", [-6.0, -18.0])
@pytest.mark.parametrize(("delay_s", "share"), [(0.06, 0.95), (0.25, 0.9), (0.6, 0.85)])
def test_most_of_the_agents_voice_coming_back_is_echo(echo_db: float, delay_s: float, share: float) -> None:
    heard = on_a_line(speech(1, 6.0), echo_db=echo_db, delay_s=delay_s)
    assert gated_share(heard) >= share


@RECORDED
@pytest.mark.parametrize("echo_db", [-6.0, -18.0, -30.0])
def test_most_of_recorded_speech_coming_back_is_echo(echo_db: float) -> None:
    heard = on_a_line(recorded("demo-congrats")[: 8 * WIRE_RATE_HZ], echo_db=echo_db)
    assert gated_share(heard) >= 0.9


@pytest.mark.parametrize("echo_db", [-10.0, -25.0])
def test_a_caller_who_talks_over_the_agent_is_let_through_within_60_ms(echo_db: float) -> None:
    agent = speech(1, 4.0)
    caller = np.zeros_like(agent)
    onset = 2 * WIRE_RATE_HZ
    caller[onset:] = speech(7, 2.0, -20.0 + echo_db + 3.0)
    heard = on_a_line(agent, caller=caller, echo_db=echo_db)
    louder = (heard.caller > -52.0) & (heard.caller >= heard.echo)
    first = int(np.flatnonzero(louder)[0])
    assert not heard.gated[first : first + 3].all()
    assert np.mean(heard.gated[louder]) < 0.1


def test_the_caller_on_a_line_without_echo_is_never_touched() -> None:
    heard = on_a_line(speech(1, 4.0), caller=speech(7, 4.0), echo_db=None)
    assert not heard.gated.any()


@RECORDED
def test_other_words_of_the_agents_own_speaker_are_not_echo() -> None:
    """The hardest caller: the same voice, so the same pitch and the same vowels."""
    agent = recorded("demo-congrats")[: 6 * WIRE_RATE_HZ]
    heard = on_a_line(agent, caller=recorded("demo-instruct"), echo_db=None)
    assert np.mean(heard.gated[heard.caller > -45.0]) < 0.02


def test_keys_pressed_while_the_agent_speaks_are_not_echo() -> None:
    time_s = np.arange(4 * WIRE_RATE_HZ) / WIRE_RATE_HZ
    keys = (np.sin(2 * np.pi * 697 * time_s) + np.sin(2 * np.pi * 1209 * time_s)) * (time_s % 0.4 < 0.2)
    heard = on_a_line(speech(1, 4.0), caller=at_level(keys, -15.0), echo_db=None)
    assert not heard.gated.any()


def test_comfort_noise_is_not_echo() -> None:
    noise = np.random.default_rng(5).standard_normal(4 * WIRE_RATE_HZ)
    assert not on_a_line(speech(1, 4.0), caller=at_level(noise, -50.0), echo_db=None).gated.any()


def test_once_the_agents_audio_has_died_away_nothing_is_looked_for() -> None:
    guard = EchoGuard()
    agent = speech(1, 1.0)
    for at, frame in enumerate(frames(agent)):
        guard.sent(float_to_ulaw(frame), 5.0 + at * FRAME_S)
    assert not any(guard.is_echo(frame, 7.0 + at * FRAME_S) for at, frame in enumerate(frames(agent))), (
        "the very same audio, but a second after its end"
    )


def test_what_was_cleared_before_it_played_cannot_come_back() -> None:
    for cleared in (False, True):
        guard = EchoGuard()
        agent = speech(1, 1.0)
        for at, frame in enumerate(frames(agent)):
            guard.sent(float_to_ulaw(frame), 5.0 + at * FRAME_S)
        if cleared:
            guard.cleared(5.0)
        gated = [guard.is_echo(frame, 5.22 + at * FRAME_S) for at, frame in enumerate(frames(agent))]
        assert any(gated) is not cleared


@pytest.mark.parametrize("guarded", [True, False])
def test_a_session_feeds_silence_for_the_agents_voice_and_records_it(guarded: bool) -> None:
    agent = speech(1, 3.0)

    class Tap:
        received_ulaw = b""

        def received(self, ulaw: bytes, at_s: float) -> None:
            self.received_ulaw += ulaw

        def sent(self, ulaw: bytes, play_at_s: float) -> None: ...

        def cleared(self, at_s: float) -> None: ...

    async def conversation(call: FakeCall) -> None:
        call.line.play("c", SpeechChunk(agent, words=(), last=True, sample_rate_hz=WIRE_RATE_HZ))
        await call.over.wait()

    async def main(rig: Rig) -> None:
        rig.conversation = conversation
        tap = Tap()
        session = await rig.opened(tap_factory=lambda info: tap)
        for _ in range(150):
            heard_s = now_s() - 0.2
            piece = next((p for p in rig.leg.carrier.played if p.start_s <= heard_s < p.end_s), None)
            quieter = ulaw_to_float(piece.ulaw) * np.float32(0.2) if piece else np.zeros(FRAME_BYTES, np.float32)
            rig.leg.media(float_to_ulaw(quieter))
            await asyncio.sleep(FRAME_S)
        rig.leg.stop()
        await session
        assert rig.call is not None
        assert rig.call.heard_s == pytest.approx(3.0, abs=0.002), "silenced, never removed"
        echo_power = float(np.sum(np.square(ulaw_to_float(tap.received_ulaw))))
        fed_power = float(np.sum(np.square(np.concatenate(rig.call.heard)))) / 2
        assert echo_power > 0.1
        assert (fed_power / echo_power < 0.05) is guarded

    run(main, echo_guard=guarded)
