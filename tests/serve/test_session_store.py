"""What one gateway writes down of its calls, and another goes on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from models.types import Message
from pipeline.call_models import CallModels
from pipeline.clock import LoopClock
from pipeline.context.parts import Exchange, History
from pipeline.escalation import HandOver
from pipeline.state import CallState, Ending, HangUp, Memory, News, NotSaved, Place, Transfer, Value
from serve.agent_pool import AgentPool, of_one
from serve.call_store import CallStore, SavedState, StoreError
from serve.session_store import SessionStore
from serve.store_database import open_database
from tests.pipeline.agents import AGENT, CONTEXT
from tests.pipeline.fakes import FakeModels

MEMORY = Memory(
    CallState({"name": Value("John Miller", "John Miller", 0.9, 2)}, stack=(Place("book", "right"),), waiting="answer"),
    (Message("user", "Book me in."), Message("assistant", "For John Miller, right?")),
    History((Exchange("Book me in.", "For John Miller, right?"),), ("",), (20,)),
    (News("3.0.0", "You're booked."),),
)
PACKAGE = HandOver("request", "desk", "Handed over.", {"name": "John Miller"}, ("caller: a person",), "call back")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[CallStore, None]:
    async with await CallStore.open(f"sqlite:///{tmp_path / 'calls.db'}") as opened:
        yield opened


def pool(persona: str = AGENT.persona) -> AgentPool:
    models = FakeModels([])
    agent = AGENT.model_copy(update={"persona": persona})
    return of_one(agent, CallModels(models, models, models, models, models), {}, CONTEXT)


KITS = pool().pick("CA1")


def book(store: CallStore, *, persona: str = AGENT.persona) -> SessionStore:
    return SessionStore(store, pool(persona), LoopClock())


async def test_another_gateway_knows_all_that_was_saved(store: CallStore) -> None:
    mine, other = book(store), book(store)
    mine.save("CA1", KITS, Memory())
    mine.save("CA1", KITS, MEMORY)
    await mine.saved("CA1")
    record = await other.load("CA1")
    assert record is not None
    assert record.memory == MEMORY
    assert await other.load("CA2") is None


@pytest.mark.parametrize(
    "closing", [HangUp("escalated"), Transfer("request", "desk", ""), Transfer("farewell", "desk", "")]
)
async def test_another_gateway_knows_how_the_call_was_about_to_end(store: CallStore, closing: Ending) -> None:
    ending = Memory(CallState(closing=closing))
    mine, other = book(store), book(store)
    mine.save("CA1", KITS, ending)
    await mine.saved("CA1")
    record = await other.load("CA1")
    assert record is not None
    assert record.memory == ending


async def test_news_without_ids_are_refused_with_a_reason(store: CallStore, caplog: pytest.LogCaptureFixture) -> None:
    mine = book(store)
    mine.save("CA1", KITS, MEMORY)
    await mine.saved("CA1")
    saved = await store.load_state("CA1")
    assert saved is not None
    record = json.loads(saved.state)
    record["memory"]["untold"] = ["You're booked."]
    await store.save_state(dataclasses.replace(saved, state=json.dumps(record)))
    assert await book(store).load("CA1") is None
    assert "memory.untold.0" in caplog.text


async def test_a_call_that_is_over_is_forgotten_and_one_that_was_lost_is_not(store: CallStore) -> None:
    mine = book(store)
    for call_sid, over in (("CA1", True), ("CA2", False)):
        mine.save(call_sid, KITS, MEMORY)
        await mine.close(call_sid, over=over)
    assert await mine.load("CA1") is None
    lost = await mine.load("CA2")
    assert lost is not None
    assert lost.memory == MEMORY


async def test_a_call_that_is_put_through_keeps_its_package_when_its_stream_has_ended(store: CallStore) -> None:
    mine, other = book(store), book(store)
    mine.put_through("CA1", KITS, PACKAGE)
    mine.save("CA1", KITS, MEMORY)
    await mine.close("CA1", over=True)
    record = await other.load("CA1")
    assert record is not None
    assert (record.package, record.memory) == (PACKAGE, MEMORY)


async def test_under_another_version_of_the_agent_what_is_known_stays_and_the_place_is_left(store: CallStore) -> None:
    mine = book(store)
    closing = Transfer("request", "gone", "")
    mine.save("CA1", KITS, dataclasses.replace(MEMORY, state=dataclasses.replace(MEMORY.state, closing=closing)))
    await mine.saved("CA1")
    record = await book(store, persona="You are somebody else.").load("CA1")
    assert record is not None
    assert record.memory == dataclasses.replace(
        MEMORY, state=dataclasses.replace(MEMORY.state, stack=(), waiting="free")
    )


class FailingStore(CallStore):
    async def save_state(self, saved: SavedState) -> None:
        raise StoreError("the disk is full")


async def test_a_store_that_fails_is_said_and_does_not_stop_the_call(tmp_path: Path) -> None:
    mine = book(FailingStore(open_database(f"sqlite:///{tmp_path / 'calls.db'}")))
    mine.save("CA1", KITS, MEMORY)
    with pytest.raises(NotSaved, match="the disk is full"):
        await mine.saved("CA1")
    at_hand = await mine.load("CA1")
    assert at_hand is not None
    assert at_hand.memory == MEMORY
