"""What the peer needs on this machine: an interpreter of its own, and our prepared weights in the shapes it reads."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.weights import prepare

BOT = Path(__file__).parent / "pipecat" / "bot.py"
LOCK = Path(__file__).parent / "pipecat" / "requirements.lock"
_STYLE_WIDTH = 256


class PeerError(RuntimeError):
    """The peer cannot be set up or started: says what was expected, what was found, what to do."""


@dataclass(frozen=True, slots=True)
class PipecatEnvironment:
    """Where the peer finds everything."""

    python: Path
    whisper: Path
    """CTranslate2 folder."""
    kokoro: Path
    """ONNX file."""
    voices: Path
    """kokoro-onnx's voices file (.npz)."""


def prepare_pipecat(home: Path, tell: Callable[[str], None]) -> PipecatEnvironment:
    """Install what the lock file names below `home`, once, and point at the weights our own stack runs on.

    Raises PeerError if the installation fails, models.weights.WeightsError if weights cannot be prepared.
    """
    folder = home / "peers"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    venv = folder / f"pipecat-{digest}"
    done = venv / ".complete"
    if not done.exists():
        tell(f"Installing Pipecat into {venv} (once) ...")
        shutil.rmtree(venv, ignore_errors=True)
        _run(sys.executable, "-m", "venv", "--without-pip", str(venv))
        _run(
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--compile-bytecode"),
            *("--python", str(venv / "bin" / "python"), "-r", str(LOCK)),
        )
        done.touch()
    kokoro = prepare("kokoro-82m-int8")
    return PipecatEnvironment(
        python=venv / "bin" / "python",
        whisper=prepare("whisper-tiny.en"),
        kokoro=kokoro / "kokoro.onnx",
        voices=voices_file(kokoro / "voices", folder / f"{kokoro.name}-voices.npz"),
    )


def voices_file(folder: Path, target: Path) -> Path:
    """Our voices, one float32 file each, as the one file that kokoro-onnx reads: name -> (rows, 1, 256)."""
    if not target.exists():
        styles = {
            path.stem: np.fromfile(path, dtype="<f4").reshape(-1, 1, _STYLE_WIDTH) for path in folder.glob("*.bin")
        }
        if not styles:
            raise PeerError(f"{folder}: expected <voice>.bin files, found none; run `trunkline models prepare`")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"draft-{target.name}")
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **styles)
        draft.replace(target)
    return target


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
