"""How soon Kokoro's first sound comes, and what the whole clause costs: in windows and whole, with one thread and two.

    python -m bench.tts [--repeats 5] [--threads 1 2] [--voice af_heart]

Prints a table and writes `bench/results/<time>-tts.json` and `.png`. `lag` tells whether windows keep up with playing:
the longest time that a listener would have waited in mid-clause, had the first chunk been played at once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

from bench.results import Json, Percentiles, Series, write
from models.kokoro import KokoroSpeaker, SpeechStreaming
from models.types import SPEAKING_RATE_HZ
from models.weights import prepare

Mode = Literal["windowed", "whole"]
MODES: tuple[Mode, ...] = ("windowed", "whole")

CLAUSES = {
    1: ("Sure.", "Great!", "Hello?"),
    3: ("Let me check.", "Is Tuesday okay?", "I see, thanks."),
    6: ("Sure, I can help with that.", "We are open until five today.", "What time works best for you?"),
    12: (
        "Of course, I can help you book an appointment for Tuesday afternoon.",
        "We are open from 8 to 5, Monday to Friday, all year.",
        "A cleaning costs $95, and takes about forty minutes for most people.",
    ),
    20: (
        "Your appointment with Dr. Lee is confirmed for the 3rd of March at 10:30 in the morning, please come early.",
        "I am sorry, but I do not have that information here, would you like me to take a message instead?",
    ),
}
"""Words -> clauses of so many written words."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One clause, spoken once."""

    first_ms: float
    total_ms: float
    cpu_ms: float
    audio_ms: float
    lag_ms: float


def _speak(speaker: KokoroSpeaker, text: str, voice: str) -> Spoken:
    started, cpu = time.perf_counter(), time.process_time()
    first_ms = audio_ms = lag_ms = 0.0
    for chunk in speaker.speak(text, voice=voice):
        now_ms = (time.perf_counter() - started) * 1e3
        if not audio_ms:
            first_ms = now_ms
        lag_ms = max(lag_ms, now_ms - first_ms - audio_ms)
        audio_ms += len(chunk.pcm) / SPEAKING_RATE_HZ * 1e3
    if not audio_ms:
        raise RuntimeError(f"no audio for {text!r}; the benchmark's clauses must be speakable")
    total_ms = (time.perf_counter() - started) * 1e3
    return Spoken(first_ms, total_ms, (time.process_time() - cpu) * 1e3, audio_ms, lag_ms)


def _summary(spoken: Sequence[Spoken]) -> dict[str, Json]:
    audio_ms = sum(one.audio_ms for one in spoken)
    return {
        "first_audio_ms": Percentiles.of(one.first_ms for one in spoken).as_json(),
        "total_ms": Percentiles.of(one.total_ms for one in spoken).as_json(),
        "audio_ms": Percentiles.of(one.audio_ms for one in spoken).as_json(),
        "lag_ms": Percentiles.of(one.lag_ms for one in spoken).as_json(),
        "wall_per_audio": round(sum(one.total_ms for one in spoken) / audio_ms, 3),
        "cpu_per_audio": round(sum(one.cpu_ms for one in spoken) / audio_ms, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Kokoro's time to first audio and total work.")
    parser.add_argument("--repeats", type=int, default=5, help="times each clause is spoken")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="compute threads to measure with")
    parser.add_argument("--voice", default="af_heart")
    options = parser.parse_args()
    folder = prepare("kokoro-82m-int8")
    spoken: dict[tuple[int, Mode, int], list[Spoken]] = {}
    for threads in options.threads:
        speakers = {
            mode: KokoroSpeaker(folder, threads=threads, streaming=SpeechStreaming(mode=mode)) for mode in MODES
        }
        for speaker in speakers.values():
            speaker.warm_up([options.voice])
        # Modes take turns, so that what else the machine does falls on both.
        for _ in range(options.repeats):
            for words, texts in CLAUSES.items():
                for text in texts:
                    for mode, speaker in speakers.items():
                        spoken.setdefault((threads, mode, words), []).append(_speak(speaker, text, options.voice))
    table = Table("threads", "words", "first, windowed", "first, whole", "ratio", "work, w./wh.", "lag p95", title="ms")
    for threads in options.threads:
        for words in CLAUSES:
            windowed, whole = (spoken[threads, mode, words] for mode in MODES)
            first, first_whole = (Percentiles.of(one.first_ms for one in each) for each in (windowed, whole))
            work = [sum(one.cpu_ms for one in each) / sum(one.audio_ms for one in each) for each in (windowed, whole)]
            table.add_row(
                str(threads),
                str(words),
                f"{first.p50:.0f} / {first.p95:.0f}",
                f"{first_whole.p50:.0f} / {first_whole.p95:.0f}",
                f"{first.p50 / first_whole.p50:.2f}",
                f"{work[0]:.2f} / {work[1]:.2f}",
                f"{Percentiles.of(one.lag_ms for one in windowed).p95:.0f}",
            )
    Console().print(table)
    most = max(options.threads)
    result: dict[str, Json] = {
        "voice": options.voice,
        "streaming": SpeechStreaming().model_dump(),
        "cases": [
            {"threads": threads, "mode": mode, "words": words, **_summary(each)}
            for (threads, mode, words), each in spoken.items()
        ],
    }
    series = [
        Series(f"{words} words, {mode}", [one.first_ms for one in spoken[most, mode, words]])
        for words in (1, 12)
        for mode in MODES
    ]
    report, picture = write(
        "tts",
        result,
        packages=("onnxruntime", "onnx", "numpy", "espeakng-loader"),
        plot=series,
        axis=f"ms to the first audio, {most} threads",
    )
    Console().print(f"written: {report} and {picture.name}")


if __name__ == "__main__":
    main()
