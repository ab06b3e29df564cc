"""Fixed lines, spoken once per machine: a speaker that remembers on disk what it has said.

An agent has some forty fixed lines, a minute of synthesis on two cores; from the second start on they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import AsyncGenerator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import AsyncFileLock

from models.types import SpeechChunk, Word
from pipeline.ports import Speaker

FORMAT = 1
"""Part of the name of every file: one that was written otherwise is not read."""
LOCK_POLL_S = 0.05


class RememberingSpeaker:
    """pipeline.ports.Speaker that asks another one only for what is not in its folder."""

    def __init__(self, speaker: Speaker, folder: Path, identity: str) -> None:
        """`identity` names the weights and settings that shape the sound; another identity shares nothing."""
        self._speaker = speaker
        self._folder = folder
        self._identity = identity

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        """As the speaker beneath. A file that cannot be read is made again; gateways that start together make a missing
        one once, whoever comes first."""
        path = self._folder / f"{self._name(text, voice)}.npz"
        chunks = _read(path)
        if chunks is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            async with AsyncFileLock(path.with_suffix(".lock"), poll_interval=LOCK_POLL_S):
                chunks = _read(path)
                if chunks is None:
                    chunks = [chunk async for chunk in self._speaker.speak(text, voice=voice)]
                    _write(path, chunks)
            path.with_suffix(".lock").unlink(missing_ok=True)
        for chunk in chunks:
            yield chunk

    def _name(self, text: str, voice: str) -> str:
        return hashlib.sha256(json.dumps([FORMAT, self._identity, voice, text]).encode()).hexdigest()


def _read(path: Path) -> list[SpeechChunk] | None:
    try:
        with np.load(path, allow_pickle=False) as saved:
            told = json.loads(str(saved["told"]))
            return [
                SpeechChunk(
                    pcm=saved[f"pcm{index}"],
                    words=tuple(Word(**word) for word in chunk["words"]),
                    last=chunk["last"],
                    sample_rate_hz=chunk["sample_rate_hz"],
                )
                for index, chunk in enumerate(told)
            ]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _write(path: Path, chunks: list[SpeechChunk]) -> None:
    told = [
        {"words": [asdict(word) for word in chunk.words], "last": chunk.last, "sample_rate_hz": chunk.sample_rate_hz}
        for chunk in chunks
    ]
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    arrays = {f"pcm{index}": chunk.pcm for index, chunk in enumerate(chunks)}
    with draft.open("wb") as file:
        np.savez(file, told=np.array(json.dumps(told)), **arrays)  # type: ignore[arg-type]  # numpy's stub wants bool for unknown names
    draft.replace(path)
