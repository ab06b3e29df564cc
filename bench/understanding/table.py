"""A result as Markdown, for the console and for docs/understanding.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from bench.results import Json
from bench.understanding.ways import BOTH, MODEL, VOTES
from models.settings import SettingsError


class _Latency(BaseModel):
    count: int
    p50: float
    p95: float
    p99: float


class _Fast(BaseModel):
    taken: int
    share: float
    right: int


class _Scope(BaseModel):
    accuracy: float
    recall: float


class _Share(BaseModel):
    share: float


class _Sets(BaseModel):
    exact_set: float
    micro_f1: float


class _Way(BaseModel):
    latency_ms: _Latency
    fast_path: _Fast | None = None
    as_shipped: _Scope | None = None
    with_refusal: _Scope | None = None
    one_of_those_meant: _Share | None = None
    sets: _Sets | None = None


class _Data(BaseModel):
    among: int | None
    ways: dict[str, _Way]


class _Result(BaseModel):
    model: str
    load_before: float
    data: dict[str, _Data]


class Report(BaseModel):
    """A JSON file of this bench, as far as the tables need it."""

    at: str
    """ISO 8601."""
    result: _Result


def read(path: Path) -> Report:
    """A result of this bench. Raises SettingsError if it is none."""
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise SettingsError(f"{path}: expected a result of bench.understanding; {error}") from error


def parsed(result: Mapping[str, Json]) -> Report:
    """The same of a result that was measured just now."""
    return Report.model_validate({"at": datetime.now(UTC).isoformat(), "result": result})


def markdown(report: Report) -> str:
    """Two tables, for one intent or none and for several, and what has to be known to read them."""
    return "\n".join(
        (
            "| CLINC150 | who decides | right, in scope | refused, out of scope | both, with a threshold | p50 ms "
            "| p95 | p99 |",
            "|---|---|---|---|---|---|---|---|",
            *_single(report.result),
            "",
            "| NLU++ | who decides | one of those meant | exactly those meant | micro-F1 | p50 ms | p95 | p99 |",
            "|---|---|---|---|---|---|---|---|",
            *_several(report.result),
            "",
            *_notes(report),
        )
    )


def _single(result: _Result) -> Iterator[str]:
    for name, data in result.data.items():
        for way, found in data.ways.items():
            if found.as_shipped is None or found.with_refusal is None:
                continue
            chosen = f"{found.with_refusal.accuracy:.1%}, {found.with_refusal.recall:.0%}"
            cells = (f"{found.as_shipped.accuracy:.1%}", f"{found.as_shipped.recall:.0%}", chosen)
            yield _row(name.removeprefix("CLINC150, "), _who(way, data), *cells, *_times(found))


def _several(result: _Result) -> Iterator[str]:
    for name, data in result.data.items():
        for way, found in data.ways.items():
            if found.one_of_those_meant is None or found.sets is None:
                continue
            shares = (found.one_of_those_meant.share, found.sets.exact_set, found.sets.micro_f1)
            cells = (f"{share:.1%}" for share in shares)
            yield _row(name.removeprefix("NLU++ "), _who(way, data), *cells, *_times(found))


def _notes(report: Report) -> Iterator[str]:
    result = report.result
    for name, data in result.data.items():
        both = data.ways[BOTH]
        if both.fast_path is not None:
            yield (
                f"- {name}: {both.latency_ms.count} utterances asked; of both, the votes alone decided "
                f"{both.fast_path.share:.0%}, {both.fast_path.right} of {both.fast_path.taken} rightly"
            )
    yield f"- {result.model}, {report.at[:10]}; load of the machine before the run: {result.load_before:.1f}"


def _who(way: str, data: _Data) -> str:
    among = f", among the {data.among} nearest by votes" if data.among is not None else ""
    return {VOTES: "votes of the examples", MODEL: f"the model{among}", BOTH: "both, as in a call"}[way]


def _times(found: _Way) -> tuple[str, ...]:
    return tuple(f"{value:.0f}" for value in (found.latency_ms.p50, found.latency_ms.p95, found.latency_ms.p99))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
