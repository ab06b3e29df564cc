import asyncio
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import serve.recording
from pipeline import events as ev
from serve.recording import AHEAD_S, RunRecorder, StereoWindow
from telephony.audio import pcm16_to_ulaw, ulaw_to_pcm16

FRAME_S = 0.02


def tone(value: int, samples: int = 160) -> np.ndarray:
    return np.full(samples, value, np.int16)


def ulaw(value: int) -> bytes:
    return pcm16_to_ulaw(tone(value))


def heard(value: int) -> int:
    return int(ulaw_to_pcm16(ulaw(value))[0])


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within ten seconds")


async def test_left_is_the_caller_right_the_agent_as_played(tmp_path: Path):
    recorder = RunRecorder(tmp_path, "CA1", 1_795_394_659.0)
    for n in range(300):
        recorder.received(ulaw(1000), n * FRAME_S)
        if 50 <= n < 100:
            recorder.sent(ulaw(-3000), n * FRAME_S + 0.2)
    await recorder.close()
    sound = read(recorder.folder / "call.wav")
    assert recorder.folder.name == "20261123T004419Z-CA1"
    assert sound.shape == (300 * 160, 2)
    assert set(sound[:, 0]) == {heard(1000)}
    (where,) = np.nonzero(sound[:, 1])
    assert (where[0], where[-1] + 1) == (1.2 * 8000, 2.2 * 8000)
    assert set(sound[where, 1]) == {heard(-3000)}


async def test_what_a_clear_threw_away_is_not_in_the_recording_and_what_follows_is(tmp_path: Path):
    recorder = RunRecorder(tmp_path, "CA1", 0.0)
    for n in range(50):
        recorder.sent(ulaw(2000), 1.0 + n * FRAME_S)
    recorder.received(ulaw(0), 1.3)
    recorder.cleared(1.31)
    for n in range(10):
        recorder.sent(ulaw(5000), 1.5 + n * FRAME_S)
    recorder.on_event(ev.CallEnded(reason="farewell", at_s=3.0))
    await recorder.close()
    right = read(recorder.folder / "call.wav")[:, 1]
    assert set(right[8000:10480]) == {heard(2000)}
    assert not right[10480:12000].any()
    assert set(right[12000:13600]) == {heard(5000)}
    assert not right[13600:].any()


async def test_audio_still_unplayed_when_the_call_ends_was_never_heard(tmp_path: Path):
    recorder = RunRecorder(tmp_path, "CA1", 0.0)
    for n in range(100):
        recorder.sent(ulaw(2000), n * FRAME_S)
    recorder.on_event(ev.CallEnded(reason="caller_hung_up", at_s=0.5))
    await recorder.close()
    assert read(recorder.folder / "call.wav").shape[0] == 4000


def test_jitter_leaves_no_gaps_and_lost_audio_leaves_its_length_in_silence():
    window = StereoWindow()
    rng = np.random.default_rng(1)
    for n in range(200):
        window.received(tone(100), n * FRAME_S + rng.uniform(0, 0.09))
    for n in range(250, 400):
        window.received(tone(100), n * FRAME_S + rng.uniform(0, 0.09))
    left = window.take(everything=True).reshape(-1, 2)[:, 0]
    assert (left[: 200 * 160] == 100).all()
    assert np.count_nonzero(left) == 350 * 160
    assert abs(left.size - 400 * 160) < 0.1 * 8000


def test_memory_stays_bounded_however_long_the_call_and_whatever_the_peer_sends():
    window, most, written = StereoWindow(), 0, 0
    for n in range(60_000):
        window.received(tone(1), n * FRAME_S)
        window.sent(tone(2), n * FRAME_S + 0.3)
        if window.settled_samples > 8000:
            written += window.take().size // 2
        most = max(most, window.held_samples)
    assert most < 10 * 8000
    assert written > 1190 * 8000
    flooded = StereoWindow()
    placed = [flooded.received(tone(1), 0.0) and flooded.sent(tone(2), n * FRAME_S) for n in range(60_000)]
    assert not placed[-1]
    assert flooded.held_samples <= 2 * (AHEAD_S + 1) * 8000


def test_one_side_alone_is_written_as_the_call_goes():
    window = StereoWindow()
    for n in range(2_000):
        window.sent(tone(2), n * FRAME_S)
        window.time_is(n * FRAME_S)
    assert window.settled_samples > 30 * 8000
    assert not window.take().reshape(-1, 2)[:, 0].any()


async def test_the_files_are_whole_while_the_call_still_runs(tmp_path: Path):
    recorder = RunRecorder(tmp_path, "CA1", 0.0)
    recorder.on_event(ev.Keypress(digit="5", at_s=0.1))
    for n in range(500):
        recorder.received(ulaw(1000), n * FRAME_S)
    sound = recorder.folder / "call.wav"
    await asyncio.to_thread(wait_until, lambda: sound.exists() and sound.stat().st_size > 0)
    await asyncio.to_thread(wait_until, lambda: read(sound).shape[0] >= 7 * 8000)
    log = recorder.folder / "events.jsonl"
    await asyncio.to_thread(wait_until, lambda: log.stat().st_size > 0)  # It is flushed after the sound.
    assert ev.read_events(log.read_text(encoding="utf-8").splitlines()) == [ev.Keypress(digit="5", at_s=0.1)]
    await recorder.close()
    await recorder.close()


async def test_a_call_sid_cannot_leave_the_runs_folder_and_two_calls_never_share_one(tmp_path: Path):
    first = RunRecorder(tmp_path / "runs", "../../etc/x\0y", 0.0)
    second = RunRecorder(tmp_path / "runs", "../../etc/x\0y", 0.0)
    await first.close()
    await second.close()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "19700101T000000Z-______etc_x_y",
        "19700101T000000Z-______etc_x_y-2",
    ]


class FakeFullDisk:
    def __init__(self, path: Path, *, channels: int) -> None:
        pass

    def write(self, samples: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


async def test_a_full_disk_ends_the_recording_not_the_call(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(serve.recording, "WavWriter", FakeFullDisk)
    recorder = RunRecorder(tmp_path, "CA1", 0.0)
    for n in range(500):
        recorder.received(ulaw(1000), n * FRAME_S)
    await asyncio.to_thread(wait_until, lambda: recorder.failure is not None)
    recorder.received(ulaw(1000), 10.0)
    recorder.on_event(ev.Keypress(digit="5", at_s=10.0))
    assert not recorder._waiting, "what cannot be written is not kept"
    await recorder.close()
    assert "No space left" in recorder.failure
    assert "No space left" in caplog.text


async def test_what_was_put_in_last_is_written_before_the_close_returns_and_no_batch_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(serve.recording, "DRAIN_EVERY_S", 3600.0)
    recorder = RunRecorder(tmp_path, "CA1", 0.0)
    for n in range(25):
        recorder.received(ulaw(1000), n * FRAME_S)
    recorder.on_event(ev.CallEnded(reason="caller_hung_up", at_s=0.5))
    async with asyncio.timeout(60):
        await recorder.close()
    assert read(recorder.folder / "call.wav").shape[0] == 25 * 160
    assert "call_ended" in (recorder.folder / "events.jsonl").read_text(encoding="utf-8")
