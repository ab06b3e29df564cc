from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.kokoro import SpeechStreaming
from models.kokoro_engine import Part, Row, Window
from models.types import FloatAudio, ModelFailure
from serve import speaking
from serve.speaking import Replica, kokoro_engine


class ToneEngine:
    """Every phoneme is 50 ms of tone."""

    frame_buckets = ()

    def __init__(self, most_windows: int) -> None:
        self.most_windows = most_windows
        self.threads: set[str] = set()
        self.slow_s = 0.0
        self.fault: Exception | None = None

    def front(self, rows: Sequence[Row]) -> list[Part]:
        self.threads.add(threading.current_thread().name)
        return [Part(np.full(len(row.tokens), 2)) for row in rows]

    def windows(self, windows: Sequence[Window]) -> list[FloatAudio]:
        self.threads.add(threading.current_thread().name)
        time.sleep(self.slow_s)
        if self.fault is not None:
            raise self.fault
        return [np.full(len(window.frames) * 300, 0.2, np.float32) for window in windows]

    def whole(self, part: Part) -> tuple[FloatAudio, np.ndarray]:
        return np.full(part.frames * 300, 0.2, np.float32), np.ones((2, 3)) * [[0.0], [1.0]]

    def warm_up(self) -> None: ...


def replica_of(folder: Path, engine: ToneEngine) -> Replica:
    (folder / "voices").mkdir()
    (folder / "voices" / "af_x.bin").write_bytes(bytes(512 * 1024))
    return Replica(folder, lambda: engine, SpeechStreaming(), ["af_x"])


@pytest.mark.parametrize("most_windows", [1, 4])
async def test_a_clause_is_spoken_and_the_engine_knows_one_thread(tmp_path: Path, most_windows: int) -> None:
    engine = ToneEngine(most_windows)
    replica = replica_of(tmp_path, engine)
    chunks = [chunk async for chunk in replica.speak("The lamp by the gate is lit at dusk.", "af_x")]
    assert [word.text for word in chunks[0].words] == "The lamp by the gate is lit at dusk.".split()
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(engine.threads) == 1
    with pytest.raises(ModelFailure, match="unknown voice 'af_z'"):
        _ = [chunk async for chunk in replica.speak("Yes.", "af_z")]


@pytest.mark.parametrize("most_windows", [1, 4])
async def test_a_replica_is_in_health_while_its_engine_answers_in_time(
    tmp_path: Path, most_windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ToneEngine(most_windows)
    replica = replica_of(tmp_path, engine)
    await replica.check()
    engine.fault = ModelFailure("no memory for a window")
    with pytest.raises(ModelFailure, match="no memory"):
        await replica.check()
    engine.fault, engine.slow_s = None, 0.2
    monkeypatch.setattr(speaking, "_CHECK_TIMEOUT_S", 0.02)
    with pytest.raises(ModelFailure, match="took longer"):
        await replica.check()


async def test_a_gpu_that_failed_is_told_to_whoever_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[BaseException] = []
    monkeypatch.setattr(speaking, "leave_on_cuda_fault", seen.append)
    engine = ToneEngine(4)
    replica = replica_of(tmp_path, engine)
    engine.fault = ModelFailure("CUDA error: unspecified launch failure")
    with pytest.raises(ModelFailure, match="CUDA error"):
        _ = [chunk async for chunk in replica.speak("Yes.", "af_x")]
    assert seen == [engine.fault]


def test_onnx_runtime_is_for_the_cpu_only(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match="runs on the CPU, got device 'cuda'"):
        kokoro_engine(tmp_path, device="cuda")
    with pytest.raises(ModelFailure, match=r"kokoro\.safetensors: expected Kokoro's weights for torch"):
        kokoro_engine(tmp_path, implementation="torch")
