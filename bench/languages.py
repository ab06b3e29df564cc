"""Is the language of a turn told right, from how much of it, and what does it cost?

    make bench-languages                    Whisper base, English and Spanish, 200 prompts each

Recorded 8 kHz prompts from Debian's asterisk-core-sounds-en-wav and -es-wav, as heard in a call. Each is heard four
times: its own language or the other one is expected, and the caller has or has not been understood in that before.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import results
from bench.results import Json, Percentiles, Series
from bench.stt import PromptsMissing, recorded
from models.types import FloatAudio, Languages
from models.weights import entry, prepare
from models.whisper import WhisperTranscriber

WEIGHTS = "whisper-base"
SOUNDS = Path("/usr/share/asterisk/sounds")
TRANSCRIPTS = Path("/usr/share/doc")
VOICES = {"en": "en_US_f_Allison", "es": "es_MX_f_Allison"}
INSTALL = "apt-get install " + " ".join(
    f"asterisk-core-sounds-{code} asterisk-core-sounds-{code}-wav" for code in VOICES
)
LENGTHS_S = ((0.3, 1.0), (1.0, 1.5), (1.5, 2.5), (2.5, 30.0))
OTHER = {"en": "es", "es": "en"}


@dataclass(frozen=True, slots=True)
class Clip:
    language: str
    name: str
    audio: FloatAudio

    @property
    def audio_s(self) -> float:
        return len(self.audio) / 16_000


@dataclass(frozen=True, slots=True)
class Told:
    """One clip, heard once."""

    clip: Clip
    asked: Languages
    right: bool
    milliseconds: float


def load(language: str, most: int) -> list[Clip]:
    """Prompts in which somebody says words, spread over the list. Raises PromptsMissing."""
    listed = TRANSCRIPTS / f"asterisk-core-sounds-{language}" / f"core-sounds-{language}.txt.gz"
    if not listed.is_file():
        raise PromptsMissing(f"{listed}: no such file; expected the prompts' transcripts: run `{INSTALL}`")
    lines = gzip.decompress(listed.read_bytes()).decode("utf-8", errors="replace").splitlines()
    spoken = (line.partition(":") for line in lines if not line.startswith(";"))
    names = [
        name.strip() for name, colon, text in spoken if colon and text.strip() and not text.strip().startswith("[")
    ]
    paths = [path for name in names if (path := SOUNDS / VOICES[language] / f"{name}.wav").is_file()]
    if not paths:
        raise PromptsMissing(f"{SOUNDS / VOICES[language]}: no prompts; run `{INSTALL}`")
    clips = [Clip(language, path.stem, recorded(path)) for path in paths]
    fit = [clip for clip in clips if LENGTHS_S[0][0] <= clip.audio_s < LENGTHS_S[-1][1]]
    return fit[:: max(1, len(fit) // most)][:most]


def tell(transcriber: WhisperTranscriber, clips: Sequence[Clip], console: Console) -> tuple[list[Told], list[float]]:
    """Every clip in each of the four ways; and how long each took when its language was given."""
    told: list[Told] = []
    given_ms: list[float] = []
    transcriber.transcribe([clips[0].audio])
    for clip in track(clips, "clips", console=console):
        given_ms.append(_hear(transcriber, clip, Languages(clip.language))[1])
        for expected in (clip.language, OTHER[clip.language]):
            for settled in (False, True):
                asked = Languages(expected, (OTHER[expected],), settled=settled)
                language, took_ms = _hear(transcriber, clip, asked)
                told.append(Told(clip, asked, language == clip.language, took_ms))
    return told, given_ms


def _hear(transcriber: WhisperTranscriber, clip: Clip, asked: Languages) -> tuple[str, float]:
    began_s = time.perf_counter()
    (found,) = transcriber.transcribe([clip.audio], languages=[asked])
    return found.language, (time.perf_counter() - began_s) * 1000


def shares(told: Sequence[Told]) -> list[dict[str, Json]]:
    """A row for each language spoken, language expected, settled or not, and length."""
    rows: list[dict[str, Json]] = []
    for spoken in VOICES:
        for expected in (spoken, OTHER[spoken]):
            for settled in (False, True):
                of = [
                    one
                    for one in told
                    if (one.clip.language, one.asked.expected, one.asked.settled) == (spoken, expected, settled)
                ]
                for low, high in LENGTHS_S:
                    here = [one for one in of if low <= one.clip.audio_s < high]
                    right = sum(one.right for one in here)
                    rows.append(
                        {
                            "spoken": spoken,
                            "expected": expected,
                            "settled": settled,
                            "from_s": low,
                            "to_s": high,
                            "clips": len(here),
                            "right": right,
                            "wrong": [one.clip.name for one in here if not one.right][:20],
                        }
                    )
    return rows


def show(rows: Sequence[dict[str, Json]], console: Console) -> None:
    table = Table(title=f"{WEIGHTS}: heard in the language it is spoken in")
    for heading in ("spoken", "expected", "before", *(f"{low:g}-{high:g} s" for low, high in LENGTHS_S)):
        table.add_column(heading)
    for at in range(0, len(rows), len(LENGTHS_S)):
        group = rows[at : at + len(LENGTHS_S)]
        first = group[0]
        before = "understood" if first["settled"] else "nothing"
        table.add_row(
            str(first["spoken"]),
            str(first["expected"]),
            before,
            *(f"{row['right']} of {row['clips']}" for row in group),
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.languages", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--limit", type=int, default=200, help="prompts of each language")
    parser.add_argument("--no-write", action="store_true", help="leave no files in bench/results")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        clips = [clip for code in VOICES for clip in load(code, options.limit)]
    except PromptsMissing as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        return 2
    window = entry(WEIGHTS).whisper_window
    assert window is not None
    transcriber = WhisperTranscriber(prepare(WEIGHTS), window=window, languages=tuple(VOICES))
    told, given_ms = tell(transcriber, clips, console)
    told_ms = [one.milliseconds for one in told if one.right and one.asked.expected == one.clip.language]
    rows = shares(told)
    show(rows, console)
    given, telling = Percentiles.of(given_ms), Percentiles.of(told_ms)
    console.print(
        f"language given: p50 {given.p50:.0f} ms, p95 {given.p95:.0f}; told: {telling.p50:.0f}, {telling.p95:.0f}"
    )
    if not options.no_write:
        report, picture = results.write(
            "languages",
            {"weights": WEIGHTS, "shares": rows, "given_ms": given.as_json(), "told_ms": telling.as_json()},
            packages=("ctranslate2", "faster-whisper", "numpy"),
            plot=[Series("language given", given_ms), Series("language told", told_ms)],
            axis=f"milliseconds a prompt ({WEIGHTS}, 2 threads)",
        )
        console.print(f"{report}\n{picture}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
