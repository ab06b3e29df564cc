"""How soon Kokoro's first sound comes, what a clause costs, and what that does to the sound: in windows and whole.

    make bench-tts
    python -m bench.tts [--repeats 3] [--threads 1 2] [--voice af_heart] [--seed 1]

**Time.** Both ways and each number of threads take turns on every clause, so that what else the machine does falls on
all of them. `lag` tells whether windows keep up with playing: the longest time that a listener would have waited in
mid-clause, had the first chunk been played at once.

**Sound.** Every sentence is spoken both ways; the same way twice gives the same samples.

- Words: what Whisper makes of it over the telephone (u-law, 8 kHz), word error rate against the text.
- Log-spectral distance to the whole run: mean over 5 ms steps of the RMS difference in dB, both floored at -90 dB.
- Seams: around each, the largest jump in energy, in the second difference of the waveform (a click is an outlier of it)
  and in the phase's course, each ranked among the same measure at all other places of that sentence. A seam that nobody
  can find lies beyond the 99th percentile one time in a hundred. The same places in the whole run, where there is no
  seam, are ranked beside it: windows begin where speech does, not at random.

The very audio measured is on the page to listen to (bench/ab_page.py). Writes `bench/results/<time>-tts.json`, `.png`
and `-tts-ab.html`; ends 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.table import Table

from bench.ab_page import MODES, SENTENCES, Mode, Pair, speakers, spoken_pairs, write_page
from bench.nonspeech import heard
from bench.results import Json, Percentiles, Series, write
from bench.stt import MOST_WER_POINTS_WORSE, Target, word_error_percent
from models.kokoro import KokoroSpeaker, SpeechStreaming
from models.registry import WhisperWindow
from models.types import SPEAKING_RATE_HZ, FloatAudio
from models.weights import entry, prepare
from models.whisper import WhisperTranscriber
from telephony.audio import WIRE_RATE_HZ, Resampler

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

TARGET_WORDS = 12
MOST_FIRST_AUDIO_MS = 300.0
MOST_WORK = 1.35
"""Of what the whole run costs in CPU time."""
MOST_SEAMS_STANDING_OUT_MORE = 0.05
"""Share of seams beyond the 99th percentile in the second difference, less that of the same places in the whole run."""

SEAM_MEASURES = ("energy", "second_difference", "phase")
_HOP = 60
"""Samples between two values of a seam measure, 2.5 ms."""
_BLOCK = 120
_ALIGN = 120
"""Speech is cut at multiples of this many samples (models/kokoro.py), so two runs lie that far apart or not at all."""
_MOST_SHIFT = 1_200
_FLOOR = 1e-3
"""-60 dB: below it a level is silence, and no jump is heard."""
_SPECTRUM_FLOOR = 10 ** (-90 / 20)
"""What 16 bits hold."""

Curve = npt.NDArray[np.float64]
"""One value every _HOP samples."""


# -- time --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spoken:
    """One clause, spoken once."""

    first_ms: float
    total_ms: float
    cpu_ms: float
    audio_ms: float
    lag_ms: float


@dataclass(frozen=True, slots=True)
class Case:
    """One way to speak clauses of one length."""

    threads: int
    mode: Mode
    words: int


Timings = Mapping[Case, Sequence[Spoken]]


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


def timings(ways: Mapping[tuple[int, Mode], KokoroSpeaker], voice: str, repeats: int) -> Timings:
    """Every clause `repeats` times each way; who goes first moves on from clause to clause."""
    spoken: dict[Case, list[Spoken]] = {}
    order = list(ways)
    for _ in range(repeats):
        for words, texts in CLAUSES.items():
            for text in texts:
                for threads, mode in order:
                    one = _speak(ways[threads, mode], text, voice)
                    spoken.setdefault(Case(threads, mode, words), []).append(one)
                order = [*order[1:], order[0]]
    return spoken


def work_ratio(windowed: Sequence[Spoken], whole: Sequence[Spoken]) -> float:
    """CPU time for a second of audio, in windows over whole."""
    windowed_work, whole_work = (
        sum(one.cpu_ms for one in each) / sum(one.audio_ms for one in each) for each in (windowed, whole)
    )
    return windowed_work / whole_work


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


# -- sound -------------------------------------------------------------------------------------------------------------


def spectral_distance_db(one: FloatAudio, other: FloatAudio) -> float:
    """Mean log-spectral distance of two runs of 24 kHz audio, at the shift (at most 50 ms) where they fit best."""
    a, b = _spectrum_db(one), _spectrum_db(other)

    def distance(shift: int) -> float:
        ours, theirs = a[max(0, shift) :], b[max(0, -shift) :]
        length = min(len(ours), len(theirs))
        return float(np.mean(np.sqrt(np.mean((ours[:length] - theirs[:length]) ** 2, axis=1))))

    return min(distance(shift) for shift in range(-_MOST_SHIFT // _ALIGN, _MOST_SHIFT // _ALIGN + 1))


def _spectrum_db(audio: FloatAudio) -> npt.NDArray[np.float64]:
    """Frames x 257, a frame every 5 ms; a full-scale sine is at 0 dB."""
    window = np.hanning(512)
    frames = sliding_window_view(audio, 512)[::_ALIGN] * window
    level: npt.NDArray[np.float64] = 20 * np.log10(np.abs(np.fft.rfft(frames)) * 2 / window.sum() + _SPECTRUM_FLOOR)
    return level


def shift_samples(one: FloatAudio, other: FloatAudio) -> int:
    """How many samples later `other`'s speech lies than `one`'s, at most 50 ms, by cross-correlation."""
    length = min(len(one), len(other)) - _MOST_SHIFT
    if length <= 0:
        return 0
    reach = range(-_MOST_SHIFT, _MOST_SHIFT + 1, _ALIGN)
    fits = [float(np.dot(one[max(0, -s) :][:length], other[max(0, s) :][:length])) for s in reach]
    return reach[int(np.argmax(fits))]


def seam_curves(pcm: FloatAudio) -> dict[str, Curve]:
    """What a click would stand out in, along 24 kHz audio; value i belongs to sample i * _HOP.

    energy: jump of the level between the 5 ms before and after, dB. second_difference: its largest size within a hop,
    against its RMS over the 20 ms around. phase: how far the phases of a 10 ms spectrum depart from their own
    course, weighted by magnitude, radians.
    """
    audio = np.pad(pcm.astype(np.float64), _BLOCK * 4)
    count = len(pcm) // _HOP
    at = _BLOCK * 4 + _HOP * np.arange(count)
    power = sliding_window_view(audio**2, _BLOCK).mean(axis=1)
    energy = np.abs(10 * np.log10((power[at] + _FLOOR**2) / (power[at - _BLOCK] + _FLOOR**2)))
    bend = np.abs(np.diff(audio, 2))
    largest = sliding_window_view(bend, _HOP).max(axis=1)[at - 1]
    around = np.sqrt(sliding_window_view(bend**2, _BLOCK * 4).mean(axis=1)[at - 1 - _BLOCK * 2])
    frames = sliding_window_view(audio, 256)[at[0] - 128 - _HOP :: _HOP][: count + 2]
    spectra = np.fft.rfft(frames * np.hanning(256))
    turn = np.angle(spectra[2:] * spectra[:-2] * np.conj(spectra[1:-1]) ** 2)
    weight = np.abs(spectra[1:-1]) + 1e-9
    phase = (np.abs(turn) * weight).sum(axis=1) / weight.sum(axis=1)
    return {"energy": energy, "second_difference": largest / (around + 1e-4), "phase": phase}


def seam_ranks(curve: Curve, seams: Sequence[int], fade_samples: int) -> list[float]:
    """For each seam, the share of other places of the same length whose largest value is smaller than at the seam."""
    reach = -(-fade_samples // _HOP) + 3
    if len(curve) < 2 * reach:
        return []
    largest = sliding_window_view(curve, reach).max(axis=1)
    starts = [min(max(0, seam // _HOP - 1), len(largest) - 1) for seam in seams]
    other = np.ones(len(largest), dtype=bool)
    for start in starts:
        other[max(0, start - reach) : start + reach + 1] = False
    if not other.any():
        return []
    return [float(np.mean(largest[other] < largest[start])) for start in starts]


def seam_json(pairs: Sequence[Pair], fade_samples: int) -> dict[str, Json]:
    """Ranks of all seams, and of the same places in the whole runs."""
    ranks: dict[tuple[str, Mode], list[float]] = {(name, mode): [] for name in SEAM_MEASURES for mode in MODES}
    for pair in pairs:
        seams = pair.windowed.seams
        moved = shift_samples(pair.windowed.pcm, pair.whole.pcm)
        places = [max(0, seam + moved) for seam in seams]
        for name, curve in seam_curves(pair.windowed.pcm).items():
            ranks[name, "windowed"] += seam_ranks(curve, seams, fade_samples)
        for name, curve in seam_curves(pair.whole.pcm).items():
            ranks[name, "whole"] += seam_ranks(curve, places, fade_samples)
    found: dict[str, Json] = {"seams": len(ranks[SEAM_MEASURES[0], "windowed"])}
    for name in SEAM_MEASURES:
        found[name] = {
            mode: {
                "beyond_99th_percentile": round(float(np.mean(np.array(ranks[name, mode]) > 0.99)), 4),
                "beyond_all_others": round(float(np.mean(np.array(ranks[name, mode]) == 1.0)), 4),
                "median_rank": round(float(np.median(ranks[name, mode])), 3),
            }
            for mode in MODES
        }
    return found


def over_the_telephone(pcm: FloatAudio) -> FloatAudio:
    """24 kHz speech as a call's models hear it, 16 kHz."""
    resampler = Resampler(SPEAKING_RATE_HZ, WIRE_RATE_HZ)
    return heard(np.concatenate([resampler.process(pcm), resampler.flush()]))


@dataclass(frozen=True, slots=True)
class Sound:
    """What the windows do to the sound."""

    words: int
    wer_percent: dict[Mode, float]
    wrong: dict[str, dict[str, str]]
    """What was heard of sentences that were not understood the same both ways."""
    distance_db: list[float]
    """Windowed to whole, a sentence each."""
    seams: dict[str, Json]

    def as_json(self) -> dict[str, Json]:
        return {
            "sentences": len(self.distance_db),
            "words": self.words,
            "wer_percent": {mode: round(wer, 2) for mode, wer in self.wer_percent.items()},
            "heard_differently": self.wrong,
            "log_spectral_distance_db": Percentiles.of(self.distance_db).as_json(2),
            "seams": self.seams,
        }


def judge_sound(pairs: Sequence[Pair], transcriber: WhisperTranscriber, fade_samples: int) -> Sound:
    """Everything about the sound of the pairs."""
    texts = [pair.text for pair in pairs]
    said: dict[Mode, list[str]] = {}
    for mode in MODES:
        clips = [pair.windowed if mode == "windowed" else pair.whole for pair in pairs]
        said[mode] = [transcriber.transcribe([over_the_telephone(clip.pcm)])[0].text for clip in clips]
    return Sound(
        words=sum(len(text.split()) for text in texts),
        wer_percent={mode: word_error_percent(texts, said[mode]) for mode in MODES},
        wrong={
            text: {"windowed": windowed, "whole": whole}
            for text, windowed, whole in zip(texts, said["windowed"], said["whole"], strict=True)
            if windowed != whole
        },
        distance_db=[spectral_distance_db(pair.windowed.pcm, pair.whole.pcm) for pair in pairs],
        seams=seam_json(pairs, fade_samples),
    )


# -- the report --------------------------------------------------------------------------------------------------------


def judge(spoken: Timings, sound: Sound, threads: int) -> list[Target]:
    """The targets, at the most threads."""
    windowed, whole = (spoken[Case(threads, mode, TARGET_WORDS)] for mode in MODES)
    first_ms = Percentiles.of(one.first_ms for one in windowed).p50
    work = work_ratio(windowed, whole)
    wer = sound.wer_percent
    second = sound.seams["second_difference"]
    assert isinstance(second, dict)
    out, out_whole = (second[mode]["beyond_99th_percentile"] for mode in MODES)
    return [
        Target(
            f"first audio of {TARGET_WORDS} words, p50, {threads} threads",
            f"{first_ms:.0f} ms",
            f"at most {MOST_FIRST_AUDIO_MS:.0f} ms",
            first_ms <= MOST_FIRST_AUDIO_MS,
        ),
        Target(
            "CPU time, windowed over whole, the same",
            f"{work:.2f}",
            f"at most {MOST_WORK:.2f}",
            work <= MOST_WORK,
        ),
        Target(
            "word error rate, windowed",
            f"{wer['windowed']:.2f}% against {wer['whole']:.2f}% whole",
            f"at most {MOST_WER_POINTS_WORSE} points worse",
            wer["windowed"] <= wer["whole"] + MOST_WER_POINTS_WORSE,
        ),
        Target(
            "seams beyond the 99th percentile of the second difference",
            f"{out:.1%} against {out_whole:.1%} of the same places whole",
            f"at most {MOST_SEAMS_STANDING_OUT_MORE:.0%} more",
            out <= out_whole + MOST_SEAMS_STANDING_OUT_MORE,
        ),
    ]


def _time_table(spoken: Timings, all_threads: Sequence[int]) -> Table:
    table = Table("threads", "words", "first, windowed", "first, whole", "ratio", "work, w./wh.", "lag p95", title="ms")
    for threads in all_threads:
        for words in CLAUSES:
            windowed, whole = (spoken[Case(threads, mode, words)] for mode in MODES)
            first, first_whole = (Percentiles.of(one.first_ms for one in each) for each in (windowed, whole))
            table.add_row(
                str(threads),
                str(words),
                f"{first.p50:.0f} / {first.p95:.0f}",
                f"{first_whole.p50:.0f} / {first_whole.p95:.0f}",
                f"{first.p50 / first_whole.p50:.2f}",
                f"{work_ratio(windowed, whole):.2f}",
                f"{Percentiles.of(one.lag_ms for one in windowed).p95:.0f}",
            )
    return table


def _show_sound(sound: Sound, console: Console) -> None:
    distance = Percentiles.of(sound.distance_db)
    console.print(f"log-spectral distance to the whole run: mean {distance.mean:.2f} dB, p95 {distance.p95:.2f}")
    table = Table("seams beyond the 99th percentile", "windowed", "same places, whole", "median rank, w.", "whole")
    for name in SEAM_MEASURES:
        both = sound.seams[name]
        assert isinstance(both, dict)
        windowed, whole = both["windowed"], both["whole"]
        table.add_row(
            name,
            *(f"{one['beyond_99th_percentile']:.1%}" for one in (windowed, whole)),
            *(f"{one['median_rank']:.2f}" for one in (windowed, whole)),
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if every target is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.tts", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="times each clause is spoken each way")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="compute threads to measure with")
    parser.add_argument("--voice", default="af_heart")
    parser.add_argument("--seed", type=int, default=1, help="decides order and sides of the page's pairs")
    parser.add_argument("--whisper", default="whisper-base", help="registry entry of the Whisper that listens")
    options = parser.parse_args(arguments)
    console, at = Console(), datetime.now(UTC)
    folder, most = prepare("kokoro-82m-int8"), max(options.threads)
    ways: dict[tuple[int, Mode], KokoroSpeaker] = {}
    for threads in options.threads:
        for mode, speaker in speakers(folder, threads, options.voice).items():
            ways[threads, mode] = speaker
    spoken = timings(ways, options.voice, options.repeats)
    console.print(_time_table(spoken, options.threads))

    both: dict[Mode, KokoroSpeaker] = {mode: ways[most, mode] for mode in MODES}
    longer = [text for words, texts in CLAUSES.items() if words >= TARGET_WORDS for text in texts]
    pairs = list(spoken_pairs(both, [*SENTENCES, *longer], options.voice))
    window = entry(options.whisper).whisper_window or WhisperWindow()
    transcriber = WhisperTranscriber(prepare(options.whisper), window=window)
    sound = judge_sound(pairs, transcriber, SpeechStreaming().fade_samples)
    _show_sound(sound, console)
    verdict = judge(spoken, sound, most)
    for one in verdict:
        mark = "[green]met   [/green]" if one.met else "[red]missed[/red]"
        console.print(f"{mark} {one.what}: {one.found}; wanted {one.wanted}")

    result: dict[str, Json] = {
        "voice": options.voice,
        "streaming": SpeechStreaming().model_dump(),
        "repeats": options.repeats,
        "cases": [
            {"threads": case.threads, "mode": case.mode, "words": case.words, **_summary(each)}
            for case, each in spoken.items()
        ],
        "work_windowed_over_whole": {
            f"{threads} threads, {words} words": round(
                work_ratio(*(spoken[Case(threads, mode, words)] for mode in MODES)), 3
            )
            for threads in options.threads
            for words in CLAUSES
        },
        "sound": {"listener": options.whisper, **sound.as_json()},
        "targets": {one.what: {"found": one.found, "wanted": one.wanted, "met": one.met} for one in verdict},
    }
    series = [
        Series(f"{words} words, {mode}", [one.first_ms for one in spoken[Case(most, mode, words)]])
        for words in (1, 12)
        for mode in MODES
    ]
    report, picture = write(
        "tts",
        result,
        packages=("onnxruntime", "onnx", "numpy", "espeakng-loader", "ctranslate2"),
        plot=series,
        axis=f"ms to the first audio, {most} threads",
        now=at,
    )
    page = write_page(pairs[: len(SENTENCES)], voice=options.voice, seed=options.seed, at=at)
    console.print(f"{report}\n{picture}\n{page}", highlight=False, soft_wrap=True)
    return 0 if all(one.met for one in verdict) else 1


if __name__ == "__main__":
    sys.exit(main())
