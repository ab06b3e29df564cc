"""Who may call: a bounded number of calls, each webhook answered once however often the carrier repeats it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from pipeline.clock import Clock

REMEMBERED_CALLS = 4096
"""How many finished or answered calls are remembered, for repeated webhooks and for `action`."""

CallState = Literal["expected", "live", "over", "lost"]
"""'expected': told to connect its stream; 'live': talking; 'over': ended on purpose; 'lost': its stream broke."""


@dataclass(slots=True)
class _Known:
    state: CallState
    since_s: float
    answer: str
    """The TwiML it was given last."""


class Admissions:
    """The calls of one gateway replica, by call sid."""

    def __init__(self, clock: Clock, *, max_calls: int, expected_for_s: float) -> None:
        """A call that was told to connect holds its place for `expected_for_s`."""
        self._clock = clock
        self._max_calls = max_calls
        self._expected_for_s = expected_for_s
        self._calls: OrderedDict[str, _Known] = OrderedDict()

    @property
    def live(self) -> int:
        """Calls that are talking."""
        return sum(call.state == "live" for call in self._calls.values())

    def repeated(self, call_sid: str) -> str | None:
        """What this call was told, if its webhook has been answered already and its place still holds."""
        call = self._calls.get(call_sid)
        return call.answer if call is not None and self._holds_place(call) else None

    def has_room(self, call_sid: str) -> bool:
        """Whether one more call fits; a call that holds a place always does."""
        taken = sum(self._holds_place(call) for sid, call in self._calls.items() if sid != call_sid)
        return taken < self._max_calls

    def expect(self, call_sid: str, answer: str) -> None:
        """The call was told to connect its stream."""
        self._set(call_sid, "expected", answer)

    def begin(self, call_sid: str) -> None:
        """The call's stream has started."""
        self._set(call_sid, "live")

    def end(self, call_sid: str, *, lost: bool) -> None:
        """The call's stream has ended; `lost` if nobody meant it to."""
        self._set(call_sid, "lost" if lost else "over")

    def state(self, call_sid: str) -> CallState | None:
        call = self._calls.get(call_sid)
        return call.state if call else None

    def _holds_place(self, call: _Known) -> bool:
        if call.state == "expected":
            return self._clock.now_s() - call.since_s < self._expected_for_s
        return call.state == "live"

    def _set(self, call_sid: str, state: CallState, answer: str | None = None) -> None:
        before = self._calls.pop(call_sid, None)
        kept = answer if answer is not None else before.answer if before else ""
        self._calls[call_sid] = _Known(state, self._clock.now_s(), kept)
        if len(self._calls) > REMEMBERED_CALLS:
            finished = next((sid for sid, call in self._calls.items() if not self._holds_place(call)), None)
            if finished is not None:
                del self._calls[finished]
