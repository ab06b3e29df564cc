"""A page to hear for oneself whether windowed synthesis costs quality: twenty pairs, blind, in one self-contained file.

    python -m bench.ab_page [--voice af_heart] [--seed 1]
    make bench-tts                      # the same page, of the very audio that is measured

Each pair is one sentence, spoken in windows and whole. Which of the two is A is drawn from the seed, as is the order of
the pairs; the key shows at the press of a button, with what was chosen until then.
"""

from __future__ import annotations

import argparse
import base64
import io
import random
import secrets
import sys
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import jinja2
import numpy as np
from rich.console import Console

from bench.results import RESULTS
from models.kokoro import KokoroSpeaker, SpeechStreaming
from models.kokoro_onnx import onnx_speaker
from models.types import SPEAKING_RATE_HZ, FloatAudio
from models.weights import prepare
from telephony.audio import float_to_pcm16

Mode = Literal["windowed", "whole"]
MODES: tuple[Mode, ...] = ("windowed", "whole")

SENTENCES = (
    "We are open Monday to Friday, from eight to five.",
    "A cleaning is one hundred and twenty dollars.",
    "On Saturday we are open from nine to one.",
    "Sure. What name should I put it under?",
    "Parking behind the building is free.",
    "I have Tuesday at ten, or Friday at half past three.",
    "Yes, we are taking new patients.",
    "Could you spell your last name for me?",
    "We see children from the age of three.",
    "Would you rather come in the morning?",
    "I'm sorry, that time is not free any more.",
    "Your appointment has been moved to Thursday.",
    "Please bring your insurance card with you.",
    "Thank you for calling Bright Dental. Goodbye!",
    "How long have you had the toothache?",
    "The dentist usually runs a few minutes late.",
    "We are at twelve Park Street, next to the library.",
    "You can cancel until one day before.",
    "Whitening is three hundred and fifty dollars.",
    "Great, I will send you a message to confirm.",
)
"""What is compared: replies of the length a caller hears, with pauses, questions and numbers."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One sentence as it was spoken, 24 kHz."""

    pcm: FloatAudio
    seams: tuple[int, ...]
    """Samples at which a new window begins to be faded in; none if it was spoken whole."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One sentence, spoken both ways."""

    text: str
    windowed: Clip
    whole: Clip


def speakers(folder: Path, threads: int, voice: str) -> dict[Mode, KokoroSpeaker]:
    """Kokoro both ways, warm. Raises models.types.ModelFailure."""
    both = {mode: onnx_speaker(folder, threads=threads, streaming=SpeechStreaming(mode=mode)) for mode in MODES}
    for speaker in both.values():
        speaker.warm_up([voice])
    return both


def spoken_pairs(both: dict[Mode, KokoroSpeaker], texts: Sequence[str], voice: str) -> Iterator[Pair]:
    """Each text both ways."""
    for text in texts:
        clips = {mode: spoken_clip(speaker, text, voice) for mode, speaker in both.items()}
        yield Pair(text, clips["windowed"], clips["whole"])


def spoken_clip(speaker: KokoroSpeaker, text: str, voice: str) -> Clip:
    """One text, its windows joined."""
    chunks = [chunk.pcm for chunk in speaker.speak(text, voice=voice)]
    if not chunks:
        raise RuntimeError(f"no audio for {text!r}; what is compared must be speakable")
    seams = np.cumsum([len(pcm) for pcm in chunks])[:-1]
    return Clip(np.concatenate(chunks), tuple(int(seam) for seam in seams))


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair as the page shows it."""

    text: str
    a: str
    b: str
    """WAV files, base64."""
    windowed: Literal["a", "b"]


def shown_pairs(pairs: Sequence[Pair], seed: int) -> list[ShownPair]:
    """The pairs in an order, and with sides, that the seed decides; half of them have the windowed one first."""
    draw = random.Random(seed)
    sides: list[Literal["a", "b"]] = ["a" if number % 2 else "b" for number in range(len(pairs))]
    draw.shuffle(sides)
    shown = []
    for pair, side in zip(draw.sample(pairs, len(pairs)), sides, strict=True):
        windowed, whole = wav_base64(pair.windowed.pcm), wav_base64(pair.whole.pcm)
        a, b = (windowed, whole) if side == "a" else (whole, windowed)
        shown.append(ShownPair(pair.text, a, b, side))
    return shown


def wav_base64(pcm: FloatAudio) -> str:
    """24 kHz audio as a 16-bit WAV file in base64: what every browser plays."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEAKING_RATE_HZ)
        file.writeframes(float_to_pcm16(pcm).astype("<i2").tobytes())
    return base64.b64encode(data.getvalue()).decode("ascii")


def write_page(pairs: Sequence[Pair], *, voice: str, seed: int, at: datetime, folder: Path = RESULTS) -> Path:
    """Write `<date>T<time>Z-tts-ab.html` into `folder`; about 130 KB a second and pair. Gives its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("ab_page.html").render(
        pairs=shown_pairs(pairs, seed),
        voice=voice,
        seed=seed,
        made=at.astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        nonce=secrets.token_urlsafe(16),
    )
    path = folder / f"{at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}-tts-ab.html"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Speak the sentences and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.ab_page", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--voice", default="af_heart")
    parser.add_argument("--seed", type=int, default=1, help="decides the order and which of two is A")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    both = speakers(prepare("kokoro-82m-int8"), options.threads, options.voice)
    pairs = list(spoken_pairs(both, SENTENCES, options.voice))
    path = write_page(pairs, voice=options.voice, seed=options.seed, at=datetime.now(UTC))
    Console().print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
