"""Preparing replies before the turn is over: how much of it is allowed, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pipeline import events as ev

_WINDOW = 40
"""Guesses over which the share of wasted ones is counted."""
_FEWEST = 10
"""With fewer guesses there is no share to speak of."""
_PROBE_EVERY = 4
"""While too many were wasted, every so many-th is still made: the callers may have changed."""


class PreemptiveBudget:
    """Shared by all calls of a gateway: says who may prepare a reply ahead of the decision."""

    def __init__(self, *, at_once: int, waste_share: float, on_partials: bool = False) -> None:
        """At most `at_once` guesses under way, and no more than every `waste_share`-th wasted in the long run.

        `on_partials`: the language model reads its prompt ahead, on stable partial transcripts.
        """
        self.on_partials = on_partials
        self._at_once = at_once
        self._waste_share = waste_share
        self._under_way = 0
        self._refused = 0
        self._wasted: deque[bool] = deque(maxlen=_WINDOW)

    def take(self) -> bool:
        """Whether a guess may be made; if so, `give_back` must follow."""
        if self._under_way >= self._at_once:
            return False
        if len(self._wasted) >= _FEWEST and sum(self._wasted) > self._waste_share * len(self._wasted):
            self._refused += 1
            if self._refused % _PROBE_EVERY:
                return False
        self._under_way += 1
        return True

    def give_back(self, *, wasted: bool) -> None:
        """The guess has been used, or thrown away."""
        self._under_way -= 1
        self._wasted.append(wasted)


@dataclass(frozen=True, slots=True)
class PreemptiveTally:
    """What preparing ahead brought and cost in a call. Stage times are wall time: on a busy machine, upper bounds."""

    hits: int
    """Prepared replies that were used."""
    wasted: int
    """Prepared replies that were thrown away because the caller went on."""
    saved_ms: float
    """By how much the hits' work had begun before the turn was decided, as far as it was done by then: in all."""
    wasted_ms: float
    """Time of the stages whose results were thrown away: in all."""

    def as_json(self) -> dict[str, int | float]:
        return {key: round(value, 1) for key, value in asdict(self).items()}


def tally(events: Iterable[ev.Event]) -> PreemptiveTally:
    """Read it from a call's log."""
    hits = wasted = 0
    saved_ms = wasted_ms = work_ms = 0.0
    began_s: float | None = None
    done_s = decided_s = 0.0
    for event in events:
        match event:
            case ev.SpeechStopped():
                began_s, done_s, decided_s, work_ms = event.at_s, event.at_s, 0.0, 0.0
            case (
                ev.FinalTranscript(took_ms=took_ms)
                | ev.Routed(took_ms=took_ms)
                | ev.Understood(took_ms=took_ms)
                | ev.SpeechReady(took_ms=took_ms)
            ):
                if began_s is not None:
                    work_ms += took_ms
                    done_s = event.at_s
            case ev.ClauseDecided(source="llm") if began_s is not None:
                work_ms += (event.at_s - done_s) * 1000
                done_s = event.at_s
            case ev.TurnDecided():
                decided_s = event.at_s
                if began_s is not None:
                    saved_ms += (min(done_s, decided_s) - began_s) * 1000
            case ev.TurnResumed() | ev.TurnDropped():
                wasted += began_s is not None
                wasted_ms += work_ms
                began_s, work_ms = None, 0.0
            case ev.FirstAudio():
                hits += began_s is not None and decided_s > 0
                began_s, work_ms = None, 0.0
    return PreemptiveTally(hits=hits, wasted=wasted, saved_ms=saved_ms, wasted_ms=wasted_ms)
