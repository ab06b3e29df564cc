"""The call store on real SQLite files, and on PostgreSQL where there is one (tests/serve/store_rig.py)."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.clock import LoopClock
from pipeline.tools.calls import ToolCall, ToolResult
from pipeline.tools.outbox import AlreadyDone, Begun, InFlight, MemoryOutbox, Outbox, OutboxError
from pipeline.tools.runner import ToolRunner
from serve.call_store import MIGRATIONS, CallOutcome, CallStore, SavedState, StoreError
from serve.store_database import open_database
from tests.pipeline.tools.fakes import FakeBackend, done, keyed_tool
from tests.serve.store_rig import database

ROOT = Path(__file__).resolve().parents[2]

CALL = ToolCall(
    "book", {"day": "2026-11-26", "people": 4, "vip": True, "price": 1.5, "note": "d'accord ☎"}, "CA1/f/n/1"
)
OK = ToolResult("ok", {"reference": "R1", "slots": [{"at": "09:00"}, None]}, detail="fine")
STATE = SavedState("CA1", "dental", "4f2a", '{"level": 1}', 100.0)
OUTCOME = CallOutcome(
    call_sid="CA1",
    agent="dental",
    agent_version="4f2a",
    started_s=100.5,
    turns=7,
    contained=True,
    escalated="",
    tools_ok=2,
    tools_failed=1,
    latency_p50_ms=612.5,
    latency_p95_ms=None,
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def store(url: str) -> AsyncGenerator[CallStore, None]:
    async with await CallStore.open(url) as opened:
        yield opened


# -- states and outcomes ----------------------------------------------------------------------------------------------


async def test_a_call_s_state_is_there_for_another_process(url: str) -> None:
    async with await CallStore.open(url) as one, await CallStore.open(url) as other:
        await one.save_state(STATE)
        assert await other.load_state("CA1") == STATE
        assert await other.load_state("CA2") is None
        await other.delete("CA1")
        assert await one.load_state("CA1") is None


async def test_a_state_is_replaced_by_a_later_one_and_not_by_an_earlier_one(store: CallStore) -> None:
    await store.save_state(STATE)
    later = replace(STATE, state='{"level": 2}', updated_s=101.0)
    await store.save_state(later)
    await store.save_state(STATE)
    assert await store.load_state("CA1") == later


async def test_outcomes_are_found_by_agent_and_version(store: CallStore) -> None:
    second = replace(OUTCOME, call_sid="CA2", started_s=50, agent_version="91bb", contained=False, escalated="asked")
    third = replace(OUTCOME, call_sid="CA3", started_s=200, latency_p50_ms=None)
    for outcome in (OUTCOME, second, third, replace(OUTCOME, call_sid="CA4", agent="library")):
        await store.add_outcome(outcome)
    assert await store.outcomes(agent="dental") == [second, OUTCOME, third]
    assert await store.outcomes(agent="dental", version="4f2a") == [OUTCOME, third]
    assert await store.outcomes(version="91bb") == [second]
    assert await store.outcomes(agent="nobody") == []


async def test_an_outcome_added_again_replaces_the_first(store: CallStore) -> None:
    await store.add_outcome(OUTCOME)
    await store.add_outcome(replace(OUTCOME, turns=8))
    assert [outcome.turns for outcome in await store.outcomes(agent="dental")] == [8]


async def test_what_is_old_can_be_forgotten_but_for_writes_without_a_result(store: CallStore) -> None:
    outbox = store.outbox("dental")
    for key, begun_s in (("old", 10), ("old and pending", 10), ("new", 200)):
        await outbox.begin(replace(CALL, key=key), now_s=begun_s, until_s=begun_s)
    await outbox.finish("old", OK)
    await outbox.finish("new", OK)
    await store.save_state(STATE)
    await store.add_outcome(OUTCOME)
    await store.prune(150)
    assert await store.load_state("CA1") is None
    assert await store.outcomes(agent="dental") == []
    assert [write.call.key for write in await outbox.pending()] == ["old and pending"]
    assert isinstance(await outbox.begin(replace(CALL, key="new"), now_s=300, until_s=300), AlreadyDone)
    assert isinstance(await outbox.begin(replace(CALL, key="old"), now_s=300, until_s=300), Begun)


# -- the outbox: the same of every kind -------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Outbox, None]:
    if request.param == "memory":
        yield MemoryOutbox()
        return
    with database(request.param, tmp_path) as url:
        async with await CallStore.open(url) as opened:
            yield opened.outbox("dental")


async def test_one_begins_a_write_and_the_others_see_it(outbox: Outbox) -> None:
    assert await outbox.begin(CALL, now_s=100, until_s=120) == Begun()
    assert await outbox.begin(CALL, now_s=101, until_s=121) == InFlight(120)
    (write,) = await outbox.pending()
    assert (write.call, write.begun_s, write.lease_until_s) == (CALL, 100, 120)
    assert await outbox.finish(CALL.key, OK) == OK
    assert await outbox.begin(CALL, now_s=102, until_s=122) == AlreadyDone(OK)
    assert list(await outbox.pending()) == []


async def test_a_write_is_claimed_once_its_lease_is_over_by_one(outbox: Outbox) -> None:
    await outbox.begin(CALL, now_s=100, until_s=120)
    assert await outbox.claim(CALL.key, over_by_s=119.9, until_s=150) is None
    write = await outbox.claim(CALL.key, over_by_s=120, until_s=150)
    assert write is not None
    assert (write.call, write.begun_s, write.lease_until_s) == (CALL, 100, 120)
    assert await outbox.claim(CALL.key, over_by_s=121, until_s=151) is None
    assert await outbox.begin(CALL, now_s=121, until_s=141) == InFlight(150)
    await outbox.finish(CALL.key, OK)
    assert await outbox.claim(CALL.key, over_by_s=999, until_s=1000) is None
    assert await outbox.claim("never begun", over_by_s=999, until_s=1000) is None


async def test_a_result_stands_unless_it_was_unknown(outbox: Outbox) -> None:
    await outbox.begin(CALL, now_s=100, until_s=120)
    unknown, failed = ToolResult("unknown", {}), ToolResult("failed", {}, detail="down")
    assert await outbox.finish(CALL.key, unknown) == unknown
    assert list(await outbox.pending()) == []
    assert await outbox.begin(CALL, now_s=121, until_s=141) == AlreadyDone(unknown)
    assert await outbox.finish(CALL.key, OK) == OK
    assert await outbox.finish(CALL.key, failed) == OK
    assert await outbox.finish(CALL.key, unknown) == OK


async def test_what_is_used_wrongly_is_said(outbox: Outbox) -> None:
    with pytest.raises(OutboxError, match="no write 'CA1/f/n/1' was begun"):
        await outbox.finish(CALL.key, OK)
    await outbox.begin(CALL, now_s=100, until_s=120)
    with pytest.raises(OutboxError, match="belongs to a call of 'book'"):
        await outbox.begin(replace(CALL, tool="cancel"), now_s=100, until_s=120)


async def test_agents_do_not_see_each_other_s_writes(store: CallStore) -> None:
    assert await store.outbox("dental").begin(CALL, now_s=100, until_s=120) == Begun()
    assert await store.outbox("library").begin(CALL, now_s=100, until_s=120) == Begun()
    await store.outbox("library").finish(CALL.key, OK)
    assert len(await store.outbox("dental").pending()) == 1


async def test_the_arguments_of_a_finished_write_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    async with await CallStore.open(f"sqlite:///{path}") as store:
        await store.outbox("dental").begin(CALL, now_s=100, until_s=120)
        await store.outbox("dental").finish(CALL.key, OK)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT arguments FROM outbox").fetchall() == [("{}",)]


async def test_many_at_once_begin_each_write_once(url: str) -> None:
    async with await CallStore.open(url) as one, await CallStore.open(url) as other:
        keys = [f"CA{number % 20}/f/n/1" for number in range(120)]
        async with asyncio.TaskGroup() as group:
            begun = [
                group.create_task(
                    (one, other)[number % 2].outbox("dental").begin(replace(CALL, key=key), now_s=1, until_s=2)
                )
                for number, key in enumerate(keys)
            ]
    assert sum(isinstance(one.result(), Begun) for one in begun) == 20


# -- the file ---------------------------------------------------------------------------------------------------------


async def test_a_store_of_a_newer_version_is_not_touched(url: str) -> None:
    database = open_database(url)
    await database.migrate([*MIGRATIONS, ("CREATE TABLE more (number INTEGER)",)])
    await database.close()
    ours = len(MIGRATIONS)
    newer = f"its schema has version {ours + 1}, this Trunkline knows {ours}; use a newer Trunkline"
    with pytest.raises(StoreError, match=newer):
        await CallStore.open(url)


async def test_a_migration_that_fails_changes_nothing(url: str) -> None:
    database = open_database(url)
    await database.migrate(MIGRATIONS)
    with pytest.raises(StoreError, match=r"syntax error"):
        await database.migrate([*MIGRATIONS, ("CREATE TABLE more (number INTEGER)", "nonsense")])
    await database.migrate([*MIGRATIONS, ("CREATE TABLE more (number INTEGER)",)])
    assert await database.run(lambda transaction: transaction.rows("SELECT version FROM schema_version")) == [
        (len(MIGRATIONS) + 1,)
    ]
    await database.close()


async def test_an_older_store_is_brought_up_to_date_and_keeps_what_it_holds(url: str) -> None:
    async with await CallStore.open(url) as store:
        await store.save_state(STATE)
    database = open_database(url)
    await database.migrate([*MIGRATIONS, ("ALTER TABLE call_states ADD COLUMN more TEXT",)])
    rows = await database.run(lambda transaction: transaction.rows("SELECT call_sid, more FROM call_states"))
    assert [tuple(row) for row in rows] == [("CA1", None)]
    await database.close()


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "calls.db"
    async with await CallStore.open(f"sqlite:///{path}") as store:
        await store.save_state(STATE)
        for each in path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each


@pytest.mark.parametrize("wrong", ["calls.db", "sqlite://", "mysql://me:hush@host/calls", "sqlite://host/calls.db"])
async def test_a_wrong_url_is_refused_without_quoting_it(wrong: str) -> None:
    with pytest.raises(StoreError, match="expected sqlite:///FILE or postgresql://") as raised:
        await CallStore.open(wrong)
    assert "hush" not in str(raised.value)


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_text("not a database, " * 100)
    with pytest.raises(StoreError, match=r"calls\.db: file is not a database"):
        await CallStore.open(f"sqlite:///{path}")


async def test_an_outbox_that_fails_says_so_as_an_outbox(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    async with await CallStore.open(f"sqlite:///{path}") as store:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE outbox")
        with pytest.raises(OutboxError, match="no such table: outbox"):
            await store.outbox("dental").begin(CALL, now_s=1, until_s=2)


# -- beside the event loop --------------------------------------------------------------------------------------------


async def test_the_event_loop_goes_on_while_another_process_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    async with await CallStore.open(f"sqlite:///{path}") as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            saving = asyncio.create_task(store.save_state(STATE))
            late_s = []
            for _ in range(20):
                before_s = time.monotonic()
                await asyncio.sleep(0.01)
                late_s.append(time.monotonic() - before_s - 0.01)
            assert not saving.done()
            connection.execute("COMMIT")
        await saving
        assert await store.load_state("CA1") == STATE
        # Another's work on this machine may hold up one or two, the store would hold up the first for seconds.
        assert sorted(late_s)[10] < 0.05


async def test_a_cancelled_caller_leaves_the_store_whole(store: CallStore) -> None:
    for number in range(20):
        saving = asyncio.create_task(store.save_state(replace(STATE, call_sid=f"CA{number}")))
        await asyncio.sleep(0)
        saving.cancel()
    await store.save_state(STATE)
    assert await store.load_state("CA1") == STATE


# -- processes that die -----------------------------------------------------------------------------------------------

_SAVER = """
import asyncio, sys
from serve.call_store import CallStore, SavedState
from pipeline.tools.calls import ToolCall

async def main():
    async with await CallStore.open(sys.argv[1]) as store:
        for number in range(100_000):
            await store.save_state(SavedState("CA1", "dental", "1", "x" * 5000, float(number)))
            call = ToolCall("book", {"n": number}, str(number))
            await store.outbox("dental").begin(call, now_s=number, until_s=number)
            print(number, flush=True)

asyncio.run(main())
"""
_BEGINNER = """
import asyncio, sys
from serve.call_store import CallStore
from pipeline.tools.calls import ToolCall
from pipeline.tools.outbox import Begun

async def main():
    async with await CallStore.open(sys.argv[1]) as store:
        outbox = store.outbox("dental")
        for number in range(200):
            if await outbox.begin(ToolCall("book", {}, str(number)), now_s=1, until_s=2) == Begun():
                print(number, flush=True)

asyncio.run(main())
"""


def process(program: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True, cwd=ROOT)


async def test_two_processes_begin_each_write_once(url: str) -> None:
    # They also make the schema at once.
    both = [process(_BEGINNER, url) for _ in range(2)]
    begun = [await asyncio.to_thread(lambda one=one: one.communicate(timeout=60)[0].split()) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(map(int, begun[0] + begun[1])) == list(range(200))


async def test_what_was_recorded_outlasts_kill_9(url: str) -> None:
    dying = process(_SAVER, url)
    assert dying.stdout is not None
    said = [await asyncio.to_thread(dying.stdout.readline) for _ in range(40)]
    dying.send_signal(signal.SIGKILL)
    said += dying.stdout.read().splitlines()
    dying.wait(30)
    last = int(said[-1])
    async with await CallStore.open(url) as store:
        saved = await store.load_state("CA1")
        assert saved is not None
        # The one after the last that it told us of may be there already.
        assert last <= saved.updated_s <= last + 1
        pending = await store.outbox("dental").pending()
        assert len(pending) in (last + 1, last + 2)
        assert [write.call.arguments["n"] for write in pending] == list(range(len(pending)))


async def test_a_write_that_a_killed_process_began_is_settled_by_the_next(url: str) -> None:
    dying = process(_BEGINNER, url)
    assert dying.stdout is not None
    await asyncio.to_thread(dying.stdout.readline)
    dying.send_signal(signal.SIGKILL)
    dying.stdout.read()
    dying.wait(30)
    backend = FakeBackend({"book": [replace(done(), takes_s=0)]})
    tools = {"book": keyed_tool(at_once=1000)}
    async with await CallStore.open(url) as store:
        outbox = store.outbox("dental")
        keys = {write.call.key for write in await outbox.pending()}
        assert "0" in keys
        # They began long ago, so their leases are over; this day's clock still finds the keys remembered.
        async with ToolRunner(tools, backend, outbox, _OldClock(), random.Random(1)) as runner:
            results = await runner.recover()
        assert {key: result.status for key, result in results.items()} == dict.fromkeys(keys, "ok")
        assert sorted(backend.effects) == sorted(keys)
        assert list(await outbox.pending()) == []


class _OldClock(LoopClock):
    """A minute after the writes of `_BEGINNER`."""

    def wall_time_s(self) -> float:
        return 61.0
