"""What callers say and what is read, from a table for each language."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import get_args

import pytest

from models.settings import StrictModel, load_settings
from pipeline.slots.reading import Option, ReadingContext, read
from pipeline.slots.types import Language
from pipeline.slots.variables import SlotType, Variable

TABLES = tuple(Path(__file__).parent / name for name in ("english.yaml", "spanish.yaml"))


class Offer(StrictModel):
    """One thing on offer."""

    value: str
    spoken: str
    keywords: tuple[str, ...] = ()


class Group(StrictModel):
    """Utterances for one variable, in one situation."""

    name: str
    variable: Variable
    language: Language = "en"
    asked: bool = True
    opening: bool = False
    options: tuple[Offer, ...] = ()
    rows: tuple[tuple[str, str | None] | tuple[str, str | None, float], ...]


class Table(StrictModel):
    """All utterances of a language."""

    today: str
    groups: tuple[Group, ...]


TABLED = [load_settings(path, Table) for path in TABLES]
CASES = [
    pytest.param(
        group,
        date.fromisoformat(table.today),
        row[0],
        row[1],
        row[2] if len(row) == 3 else None,
        id=f"{group.name}: {row[0]}",
    )
    for table in TABLED
    for group in table.groups
    for row in group.rows
]


@pytest.mark.parametrize(("group", "today", "utterance", "value", "confidence"), CASES)
def test_an_utterance_is_read_as_tabled(
    group: Group, today: date, utterance: str, value: str | None, confidence: float | None
) -> None:
    options = tuple(Option(each.value, each.spoken, each.keywords) for each in group.options)
    context = ReadingContext(today, group.language, options, group.asked, group.opening)
    reading = read(group.variable, utterance, context)
    assert (reading and reading.value) == value, reading
    if reading is not None:
        assert 0 < reading.confidence <= 1
        assert reading.words in " ".join(utterance.split())
        if confidence is not None:
            assert reading.confidence == confidence


@pytest.mark.parametrize("table", TABLED, ids=[path.stem for path in TABLES])
def test_every_type_is_tabled_in_every_language(table: Table) -> None:
    assert {group.variable.type for group in table.groups} == set(get_args(SlotType))


def test_the_tables_are_as_long_as_they_should_be() -> None:
    assert len(CASES) >= 200
