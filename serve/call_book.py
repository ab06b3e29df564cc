"""Where this gateway's calls stand: at hand for a call whose stream broke, and in the store for other gateways.

Saving must not hold up a call, so it is done behind it, the latest state of each call first; only a write on a
business's system waits for it (pipeline/tool_executor.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from pipeline.clock import Clock
from pipeline.escalation import HandOver
from pipeline.state import Memory, NotSaved
from serve.call_store import CallStore, SavedState, StoreError
from serve.roster import Kit, Roster

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 2.0
"""A call is answered as a new one if the store takes longer."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What the store holds of a call."""

    memory: Memory = field(default_factory=Memory)
    package: HandOver | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A call that has not ended, or is being put through."""

    kits: tuple[Kit, ...]
    """Who had the word comes first, then those for other languages."""
    memory: Memory
    package: HandOver | None = None
    """It is being handed over with this."""


@dataclass(slots=True)
class _Page:
    """One call's."""

    kits: tuple[Kit, ...]
    record: _Record
    changed: bool = False
    writer: asyncio.Task[None] | None = None
    failure: str = ""


_JSON: TypeAdapter[_Record] = TypeAdapter(_Record)


class CallBook:
    """The states of the calls under way. Used on the event loop only."""

    def __init__(self, store: CallStore, roster: Roster, clock: Clock) -> None:
        self._store = store
        self._roster = roster
        self._clock = clock
        self._pages: dict[str, _Page] = {}

    def save(self, call_sid: str, kits: tuple[Kit, ...], memory: Memory) -> None:
        """Keep where a call stands; the first of `kits` has the word. Returns at once."""
        page = self._pages.get(call_sid)
        self._keep(call_sid, kits, _Record(memory, page.record.package if page else None))

    def put_through(self, call_sid: str, kits: tuple[Kit, ...], package: HandOver) -> None:
        """Keep that a call is being handed over. Returns at once."""
        page = self._pages.get(call_sid)
        self._keep(call_sid, kits, _Record(page.record.memory if page else Memory(), package))

    async def saved(self, call_sid: str) -> None:
        """Return once the call's last state is in the store. Raises NotSaved."""
        page = self._pages.get(call_sid)
        if page is None or page.writer is None:
            return
        await asyncio.shield(page.writer)
        if page.failure:
            raise NotSaved(page.failure)

    async def load(self, call_sid: str) -> Kept | None:
        """Where a call stood that has not ended, or is being put through; None if nobody knows it, or the store does
        not answer. A place in a flow that another version wrote is not gone on with."""
        page = self._pages.get(call_sid)
        if page is not None:
            return Kept(page.kits, page.record.memory, page.record.package)
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                saved = await self._store.load_state(call_sid)
            kits = self._roster.going_on(call_sid, saved.agent, saved.agent_version) if saved is not None else None
            if saved is None or kits is None:
                return None
            record = _JSON.validate_json(saved.state)
        except (StoreError, TimeoutError, ValidationError) as error:
            log.error("call %s cannot be gone on with: %s", call_sid, error)
            return None
        memory = record.memory
        if saved.agent_version != kits[0].version:
            # Its place in a flow may not be there any more; what is known of the caller stays.
            state = dataclasses.replace(memory.state, stack=(), waiting="free", tries=0, closing=None)
            memory = dataclasses.replace(memory, state=state)
        return Kept(kits, memory, record.package)

    async def close(self, call_sid: str, *, over: bool) -> None:
        """The call's stream has ended. If the call is `over` it is forgotten, unless it is being put through; else the
        store has it for whoever goes on with it."""
        page = self._pages.get(call_sid)
        if page is None:
            return
        if page.writer is not None:
            await asyncio.wait({page.writer})
        if over and page.record.package is None:
            del self._pages[call_sid]
            try:
                await self._store.delete(call_sid)
            except StoreError as error:
                log.error("call %s is over, but its state stays in the store: %s", call_sid, error)
        elif not page.failure:
            del self._pages[call_sid]

    def _keep(self, call_sid: str, kits: tuple[Kit, ...], record: _Record) -> None:
        page = self._pages.setdefault(call_sid, _Page(kits, record))
        page.kits, page.record, page.changed = kits, record, True
        if page.writer is None or page.writer.done():
            page.writer = asyncio.create_task(self._write(call_sid, page), name=f"save {call_sid}")

    async def _write(self, call_sid: str, page: _Page) -> None:
        while page.changed:
            page.changed = False
            state = _JSON.dump_json(page.record).decode()
            kit = page.kits[0]
            saved = SavedState(call_sid, kit.agent.name, kit.version, state, self._clock.wall_time_s())
            try:
                await self._store.save_state(saved)
                page.failure = ""
            except StoreError as error:
                page.failure = str(error)
                log.error("call %s: its state cannot be saved: %s", call_sid, error)
