"""The caller's audio, put on an even clock: what the network lost, repeated or mixed up is set right here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.clock import Clock
from telephony.audio import FRAME_BYTES, ULAW_SILENCE, WIRE_RATE_HZ
from telephony.twilio import Media, WireError

_LEAST_GAP_MS: Final = 10.0
"""A jump of the timestamps below this is the carrier's rounding."""


@dataclass(slots=True)
class SessionCounts:
    """What came over the socket."""

    media: int = 0
    """Media messages heard."""
    dropped: int = 0
    """Media messages out of order, repeated, or of another track."""
    silence_ms: float = 0.0
    """Silence put in for lost audio."""
    faults: int = 0
    """Malformed messages passed over."""
    unknown: int = 0
    """Well-formed messages with an event this version does not know."""


class CallerAudio:
    """Puts the caller's audio on an even clock: repeated and late messages are dropped, gaps filled with silence."""

    def __init__(self, clock: Clock, counts: SessionCounts, max_gap_ms: float) -> None:
        self._clock = clock
        self._counts = counts
        self._max_gap_ms = max_gap_ms
        self._last_chunk = -1
        self._next_ms: float | None = None
        self._epoch_s = 0.0
        """When the stream's timestamp 0 was, on the call's clock."""

    def take(self, media: Media) -> Iterator[tuple[bytes, float]]:
        """Pieces of up to 20 ms, each with the time by which it had come in. Raises WireError for a wild timestamp."""
        if media.track != "inbound" or media.chunk <= self._last_chunk:
            self._counts.dropped += 1
            return
        self._last_chunk = media.chunk
        if self._next_ms is None:
            self._next_ms = float(media.timestamp_ms)
            self._epoch_s = self._clock.now_s() - (self._next_ms + _length_ms(media.ulaw)) / 1000
        expected_ms = self._next_ms
        gap_ms = media.timestamp_ms - expected_ms
        ulaw = media.ulaw
        if abs(gap_ms) > self._max_gap_ms:
            self._next_ms = float(media.timestamp_ms) + _length_ms(ulaw)
            self._epoch_s -= gap_ms / 1000
            raise WireError(
                "bad_shape", f"media.timestamp near {expected_ms:.0f} ms", f"a jump to {media.timestamp_ms} ms"
            )
        if gap_ms >= _LEAST_GAP_MS:
            silence = bytes([ULAW_SILENCE]) * round(gap_ms * WIRE_RATE_HZ / 1000)
            self._counts.silence_ms += _length_ms(silence)
            ulaw = silence + ulaw
        self._counts.media += 1
        for at in range(0, len(ulaw), FRAME_BYTES):
            piece = ulaw[at : at + FRAME_BYTES]
            self._next_ms += _length_ms(piece)
            yield piece, self._epoch_s + self._next_ms / 1000


def _length_ms(ulaw: bytes) -> float:
    return len(ulaw) * 1000 / WIRE_RATE_HZ
