"""Our transcriber against faster-whisper's `transcribe` with the same weights, clip by clip in one run.

    make bench-stt                          tiny.en, every prompt, 100 non-speech clips
    python -m bench.stt --limit 40          the same, quick
    python -m bench.stt --weights whisper-base

Speech: recorded 8 kHz prompts from Debian's asterisk-core-sounds-en-wav, with the transcripts of
asterisk-core-sounds-en; their names are in bench/data/asterisk_prompts.txt. They are heard as in a call (u-law, then
16 kHz). Both sides take turns on each clip, so that whatever else the machine does falls on both. The baseline runs at
its best for this use (beam 1, temperature 0, no conditioning, language given), with and without timestamps: without is
faster, with is more accurate on long clips, and ours has to hold against the better of the two each time.

Half the prompts, told by name, were used to choose the window policy; the other half is reported apart.

Not speech: bench/nonspeech.py. Ours must make no words at all in 98 of 100.

Ends 1 if a target is missed, 2 if the prompts are not installed.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
import time
import wave
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
from faster_whisper import WhisperModel
from rich.console import Console
from rich.progress import track
from rich.table import Table
from whisper_normalizer.english import EnglishTextNormalizer

from bench import results
from bench.nonspeech import NonSpeech, clips, heard
from bench.results import Json, Percentiles, Series
from models.registry import WhisperWindow
from models.types import FloatAudio
from models.weights import entry, prepare
from models.whisper import WhisperTranscriber
from telephony.audio import WIRE_RATE_HZ

PROMPT_NAMES = Path(__file__).with_name("data") / "asterisk_prompts.txt"
SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TRANSCRIPTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
INSTALL = "apt-get install asterisk-core-sounds-en asterisk-core-sounds-en-wav"

MOST_WER_POINTS_WORSE = 0.5
MOST_OF_BASELINE_LATENCY = 1 / 3
LEAST_SILENT_SHARE = 0.98
NON_SPEECH_CLIPS = 100


class PromptsMissing(RuntimeError):
    """The recordings are not on this machine."""


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str
    text: str
    audio: FloatAudio
    """16 kHz, as heard in a call."""

    @property
    def held_out(self) -> bool:
        """Whether it belongs to the half that no setting was chosen on. A family of prompts falls on one side."""
        family = "-".join(re.split(r"[-/]", self.name)[:2])
        return zlib.crc32(family.encode()) % 2 == 1


@dataclass(frozen=True, slots=True)
class Side:
    """One way of transcribing."""

    name: str
    transcribe: Callable[[FloatAudio], str]


@dataclass(slots=True)
class Measured:
    """What one side made of the clips."""

    texts: list[str]
    milliseconds: list[float]


_normalise = EnglishTextNormalizer()


def normalised(text: str) -> str:
    """Whisper's English normalisation; keys read aloud are spelled out first, lone full stops go."""
    spelled = text.replace("*", " star ").replace("#", " pound ")
    return " ".join(word for word in _normalise(spelled).split() if word.strip("."))


def transcripts(path: Path = TRANSCRIPTS) -> dict[str, str]:
    """Prompt name to what is said, from the package's list; sounds described in [brackets] are no speech."""
    if not path.is_file():
        raise PromptsMissing(f"{path}: no such file; expected the prompts' transcripts: run `{INSTALL}`")
    spoken = {}
    for line in gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace").splitlines():
        name, colon, text = line.partition(":")
        if colon and not line.startswith(";") and not text.strip().startswith("["):
            spoken[name.strip()] = text.strip()
    return spoken


def load_prompts(names: Sequence[str], sounds: Path = SOUNDS) -> list[Prompt]:
    """The named prompts with audio and transcript. Raises PromptsMissing if any of them is absent."""
    spoken = transcripts()
    prompts = []
    for name in names:
        path = sounds / f"{name}.wav"
        if name not in spoken or not path.is_file():
            raise PromptsMissing(f"{path}: no such prompt, or no transcript; run `{INSTALL}`")
        prompts.append(Prompt(name, spoken[name], recorded(path)))
    return prompts


def recorded(path: Path) -> FloatAudio:
    """A prompt's WAV as heard in a call. Raises PromptsMissing if it is another kind of file."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (WIRE_RATE_HZ, 1, 2):
            raise PromptsMissing(f"{path}: expected 8000 Hz, mono, 16 bits; reinstall it: `{INSTALL}`")
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return heard(pcm.astype(np.float32) / np.float32(32768))


def prompt_names() -> list[str]:
    return PROMPT_NAMES.read_text(encoding="utf-8").split()


def word_error_percent(references: Sequence[str], texts: Sequence[str]) -> float:
    return 100 * float(jiwer.wer([normalised(one) for one in references], [normalised(one) for one in texts]))


def alternate(sides: Sequence[Side], audios: Sequence[FloatAudio], label: str, console: Console) -> list[Measured]:
    """Run every side on every clip; who goes first changes from clip to clip."""
    measured = [Measured([], []) for _ in sides]
    for side in sides:
        side.transcribe(audios[0])
    for turn, audio in enumerate(track(audios, description=label, console=console)):
        for place in range(len(sides)):
            which = (turn + place) % len(sides)
            began = time.perf_counter()
            text = sides[which].transcribe(audio)
            measured[which].milliseconds.append((time.perf_counter() - began) * 1e3)
            measured[which].texts.append(text)
    return measured


def ours(folder: Path, window: WhisperWindow, threads: int) -> Side:
    transcriber = WhisperTranscriber(folder, window=window, threads=threads)
    return Side("ours", lambda audio: transcriber.transcribe([audio])[0].text)


def baselines(folder: Path, threads: int) -> list[Side]:
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)

    def transcribe(audio: FloatAudio, without_timestamps: bool) -> str:
        segments, _ = model.transcribe(
            audio,
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=without_timestamps,
        )
        return " ".join(segment.text.strip() for segment in segments)

    return [
        Side("faster-whisper", lambda audio: transcribe(audio, False)),
        Side("same, no timestamps", lambda audio: transcribe(audio, True)),
    ]


def partial_latencies(side: Side, prompts: Sequence[Prompt], repeats: int = 5) -> dict[str, Json]:
    """Median milliseconds for the first 1, 2, 4 and 6 s of real turns: what a partial costs as a turn grows."""
    long = [prompt.audio for prompt in prompts if len(prompt.audio) >= 6 * 16_000][:repeats]
    found: dict[str, Json] = {}
    for seconds in (1, 2, 4, 6):
        taken = []
        for audio in long:
            began = time.perf_counter()
            side.transcribe(audio[: seconds * 16_000])
            taken.append((time.perf_counter() - began) * 1e3)
        found[f"{seconds} s"] = round(float(np.median(taken)), 1) if taken else None
    return found


def speech_json(sides: Sequence[Side], measured: Sequence[Measured], prompts: Sequence[Prompt]) -> dict[str, Json]:
    halves = {
        "all": list(range(len(prompts))),
        "held out": [index for index, prompt in enumerate(prompts) if prompt.held_out],
        "tuned on": [index for index, prompt in enumerate(prompts) if not prompt.held_out],
    }
    return {
        side.name: {
            "wer_percent": {
                half: round(word_error_percent([prompts[i].text for i in at], [one.texts[i] for i in at]), 2)
                for half, at in halves.items()
                if at
            },
            "latency_ms": Percentiles.of(one.milliseconds).as_json(),
            "wrong": {
                prompt.name: {"said": prompt.text, "heard": text}
                for prompt, text in zip(prompts, one.texts, strict=True)
                if normalised(prompt.text) != normalised(text)
            },
        }
        for side, one in zip(sides, measured, strict=True)
    }


def non_speech_json(
    sides: Sequence[Side], measured: Sequence[Measured], sounds: Sequence[NonSpeech]
) -> dict[str, Json]:
    return {
        side.name: {
            "clips": len(sounds),
            "silent": sum(not normalised(text) for text in one.texts),
            "latency_ms": Percentiles.of(one.milliseconds).as_json(),
            "words": {sound.name: text for sound, text in zip(sounds, one.texts, strict=True) if normalised(text)},
        }
        for side, one in zip(sides, measured, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.stt", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--weights", default="whisper-tiny.en", help="registry entry of a Whisper model")
    parser.add_argument("--folder", type=Path, help="a folder with those weights, in place of the prepared one")
    parser.add_argument("--limit", type=int, help="only so many prompts and non-speech clips, spread over the list")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for either side")
    parser.add_argument("--extra-silence-s", type=float, help="try another window policy")
    parser.add_argument("--minimum-s", type=float, help="try another window policy")
    parser.add_argument("--no-write", action="store_true", help="leave no files in bench/results")
    options = parser.parse_args(arguments)
    console = Console()

    try:
        names = prompt_names()
        step = max(1, len(names) // options.limit) if options.limit else 1
        prompts = load_prompts(names[::step][: options.limit])
    except PromptsMissing as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        return 2
    sounds = list(clips(min(NON_SPEECH_CLIPS, options.limit or NON_SPEECH_CLIPS)))

    window = entry(options.weights).whisper_window or WhisperWindow()
    changes = {"extra_silence_s": options.extra_silence_s, "minimum_s": options.minimum_s}
    window = window.model_copy(update={name: value for name, value in changes.items() if value is not None})
    folder = options.folder or prepare(options.weights)
    sides = [ours(folder, window, options.threads), *baselines(folder, options.threads)]

    spoken = alternate(sides, [prompt.audio for prompt in prompts], "speech", console)
    quiet = alternate(sides, [sound.audio for sound in sounds], "not speech", console)
    verdict = judge(spoken, quiet, prompts)
    result: dict[str, Json] = {
        "weights": options.weights,
        "window": window.model_dump(),
        "threads": options.threads,
        "prompts": len(prompts),
        "audio_s": round(sum(len(prompt.audio) for prompt in prompts) / 16_000, 1),
        "speech": speech_json(sides, spoken, prompts),
        "not_speech": non_speech_json(sides, quiet, sounds),
        "partials_ms": partial_latencies(sides[0], prompts),
        "targets": {one.what: {"found": one.found, "wanted": one.wanted, "met": one.met} for one in verdict},
    }
    show(console, sides, result, verdict)
    if not options.no_write:
        report, picture = results.write(
            "stt",
            result,
            packages=("ctranslate2", "faster-whisper", "onnxruntime", "numpy", "jiwer", "whisper-normalizer"),
            plot=[Series(side.name, one.milliseconds) for side, one in zip(sides, spoken, strict=True)],
            axis=f"milliseconds a prompt ({options.weights}, {options.threads} threads)",
        )
        console.print(f"{report}\n{picture}", soft_wrap=True)
    return 0 if all(one.met for one in verdict) else 1


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    found: str
    wanted: str
    met: bool


def judge(spoken: Sequence[Measured], quiet: Sequence[Measured], prompts: Sequence[Prompt]) -> list[Target]:
    """Ours (the first) against the better of the others, each time."""
    references = [prompt.text for prompt in prompts]
    wer, *others = (word_error_percent(references, one.texts) for one in spoken)
    p50, *their_p50 = (Percentiles.of(one.milliseconds).p50 for one in spoken)
    best_wer, best_p50 = min(others), min(their_p50)
    silent = sum(not normalised(text) for text in quiet[0].texts)
    clips_needed = LEAST_SILENT_SHARE * len(quiet[0].texts)
    return [
        Target(
            "word error rate",
            f"{wer:.2f}% against {best_wer:.2f}%",
            f"at most {MOST_WER_POINTS_WORSE} points worse",
            wer <= best_wer + MOST_WER_POINTS_WORSE,
        ),
        Target(
            "p50 latency",
            f"{p50:.0f} ms against {best_p50:.0f} ms ({p50 / best_p50:.2f})",
            "at most a third",
            p50 <= best_p50 * MOST_OF_BASELINE_LATENCY,
        ),
        Target(
            "no words where there is no speech",
            f"{silent} of {len(quiet[0].texts)}",
            f"at least {LEAST_SILENT_SHARE:.0%}",
            silent >= clips_needed,
        ),
    ]


def show(console: Console, sides: Sequence[Side], result: dict[str, Json], verdict: Sequence[Target]) -> None:
    speech, not_speech = result["speech"], result["not_speech"]
    assert isinstance(speech, dict)
    assert isinstance(not_speech, dict)
    table = Table(title=f"{result['weights']}: {result['prompts']} prompts, {result['audio_s']} s of speech")
    for heading in ("", "WER %", "held out", "p50 ms", "p95", "p99", "silent", "p50 ms"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for side in sides:
        one, silence = speech[side.name], not_speech[side.name]
        wer, latency = one["wer_percent"], one["latency_ms"]
        table.add_row(
            side.name,
            *(f"{wer[half]:.2f}" if half in wer else "-" for half in ("all", "held out")),
            *(f"{latency[name]:.0f}" for name in ("p50", "p95", "p99")),
            f"{silence['silent']} of {silence['clips']}",
            f"{silence['latency_ms']['p50']:.0f}",
        )
    console.print(table)
    partials = result["partials_ms"]
    assert isinstance(partials, dict)
    console.print("ours, a partial of " + ", ".join(f"{name}: {value} ms" for name, value in partials.items()))
    for one in verdict:
        mark = "[green]met   [/green]" if one.met else "[red]missed[/red]"
        console.print(f"{mark} {one.what}: {one.found}; wanted {one.wanted}")


if __name__ == "__main__":
    sys.exit(main())
