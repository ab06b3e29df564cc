"""What the calls of a comparison come to: a summary for each side, its ratio to ours, and the record that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.peers.sides import OURS
from bench.results import Json, Percentiles
from bench.v2v import CallRecord, Summary, TurnRecord, summarise


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """One call of a comparison, in the order in which they were placed."""

    side: str
    script: str
    record: CallRecord
    busy_cores: Mapping[str, float]
    """CPU seconds a second of call, by side, halted ones included; the bench's own process is 'caller'."""
    clauses: Mapping[str, int]
    """Our side: how many clauses came from where. Empty for the peer."""


def by_side(calls: Sequence[PlacedCall]) -> dict[str, list[PlacedCall]]:
    """Ours first, the others in the order of their first call."""
    names = dict.fromkeys(call.side for call in sorted(calls, key=lambda call: call.side != OURS))
    return {name: [call for call in calls if call.side == name] for name in names}


def reply_s(records: Sequence[CallRecord]) -> Percentiles | None:
    """Length of the replies that were neither broken into nor cut off, first to last audible sample, in seconds."""
    lengths = []
    for record in records:
        following: tuple[TurnRecord | None, ...] = (*record.turns[1:], None)
        for turn, after in zip(record.turns, following, strict=True):
            whole = turn.v2v_ms is not None and (after is None or after.kind != "interrupt")
            if whole and turn.agent_first_audible_s is not None and turn.agent_last_audible_s is not None:
                lengths.append(turn.agent_last_audible_s - turn.agent_first_audible_s)
    return Percentiles.of(lengths) if lengths else None


def table(calls: Sequence[PlacedCall]) -> Table:
    """A row for each side; a ratio is the side's figure over ours."""
    shown = Table(
        "side", "turns", "V2V p50", "p95", "p99 ms", "cut off", "no reply", "barge-in p50", "p95 ms", "reply s"
    )
    ours: Summary | None = None
    for name, placed in by_side(calls).items():
        records = [call.record for call in placed]
        found = summarise(records)
        ours = found if name == OURS else ours
        base = ours if name != OURS else None
        length = reply_s(records)
        shown.add_row(
            name,
            str(found.spoken_turns + sum(turn.kind == "interrupt" for record in records for turn in record.turns)),
            *_shown(found.v2v_ms, base.v2v_ms if base else None, ("p50", "p95", "p99")),
            f"{found.cut_offs} ({100 * found.cut_off_rate:.1f}%)" if found.cut_off_rate is not None else "-",
            str(found.unanswered),
            *_shown(found.barge_in_ms, base.barge_in_ms if base else None, ("p50", "p95")),
            f"{length.mean:.2f}" if length else "-",
        )
    return shown


def as_result(calls: Sequence[PlacedCall], conditions: Mapping[str, Json]) -> dict[str, Json]:
    """The JSON of a comparison: its conditions, the summaries, and every call with every turn."""
    sides: dict[str, Json] = {}
    for name, placed in by_side(calls).items():
        records = [call.record for call in placed]
        length = reply_s(records)
        summary: dict[str, Json] = summarise(records).model_dump(mode="json")
        sides[name] = summary | {"reply_s": length.as_json(2) if length else None}
    return {
        **conditions,
        "sides": sides,
        "ratios_to_ours": _ratios(calls),
        "calls": [
            {
                "side": call.side,
                "script": call.script,
                "busy_cores": {name: round(cores, 3) for name, cores in call.busy_cores.items()},
                "clauses": dict(call.clauses),
                "record": call.record.model_dump(mode="json"),
            }
            for call in calls
        ],
    }


def _ratios(calls: Sequence[PlacedCall]) -> dict[str, Json]:
    found = {name: summarise([call.record for call in placed]) for name, placed in by_side(calls).items()}
    ours = found.pop(OURS, None)
    ratios: dict[str, Json] = {}
    for name, theirs in found.items():
        figures: dict[str, Json] = {}
        for what in ("v2v_ms", "barge_in_ms"):
            mine: Percentiles | None = getattr(ours, what, None)
            other: Percentiles | None = getattr(theirs, what)
            if mine is not None and other is not None:
                figures[what] = {"p50": round(other.p50 / mine.p50, 2), "p95": round(other.p95 / mine.p95, 2)}
        ratios[name] = figures
    return ratios


def _shown(found: Percentiles | None, ours: Percentiles | None, names: Sequence[str]) -> list[str]:
    """The named percentiles, each with its ratio to ours."""
    cells = []
    for name in names:
        figure = None if found is None else float(getattr(found, name))
        base = None if ours is None else float(getattr(ours, name))
        cells.append("-" if figure is None else f"{figure:.0f} (x{figure / base:.1f})" if base else f"{figure:.0f}")
    return cells
