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
from serve.agent_pool import AgentPool, AgentRuntime
from serve.call_store import CallStore, SavedState, StoreError

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 2.0
"""A call is answered as a new one if the store takes longer."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What the store holds of a call."""

    memory: Memory = field(default_factory=Memory)
    package: HandOver | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A call that has not ended, or is being put through."""

    runtimes: tuple[AgentRuntime, ...]
    """Who had the word comes first, then those for other languages."""
    memory: Memory
    package: HandOver | None = None
    """It is being handed over with this."""


@dataclass(slots=True)
class _OpenSession:
    """One call's."""

    runtimes: tuple[AgentRuntime, ...]
    record: _Record
    changed: bool = False
    writer: asyncio.Task[None] | None = None
    failure: str = ""


_JSON: TypeAdapter[_Record] = TypeAdapter(_Record)


class SessionStore:
    """The states of the calls under way. Used on the event loop only."""

    def __init__(self, store: CallStore, pool: AgentPool, clock: Clock) -> None:
        self._store = store
        self._pool = pool
        self._clock = clock
        self._open: dict[str, _OpenSession] = {}

    def save(self, call_sid: str, runtimes: tuple[AgentRuntime, ...], memory: Memory) -> None:
        """Keep where a call stands; the first of `runtimes` has the word. Returns at once."""
        session = self._open.get(call_sid)
        self._keep(call_sid, runtimes, _Record(memory, session.record.package if session else None))

    def put_through(self, call_sid: str, runtimes: tuple[AgentRuntime, ...], package: HandOver) -> None:
        """Keep that a call is being handed over. Returns at once."""
        session = self._open.get(call_sid)
        self._keep(call_sid, runtimes, _Record(session.record.memory if session else Memory(), package))

    async def saved(self, call_sid: str) -> None:
        """Return once the call's last state is in the store. Raises NotSaved."""
        session = self._open.get(call_sid)
        if session is None or session.writer is None:
            return
        await asyncio.shield(session.writer)
        if session.failure:
            raise NotSaved(session.failure)

    async def load(self, call_sid: str) -> Session | None:
        """Where a call stood that has not ended, or is being put through; None if nobody knows it, or the store does
        not answer. A place in a flow that another version wrote is not gone on with."""
        session = self._open.get(call_sid)
        if session is not None:
            return Session(session.runtimes, session.record.memory, session.record.package)
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                saved = await self._store.load_state(call_sid)
            runtimes = self._pool.going_on(call_sid, saved.agent, saved.agent_version) if saved is not None else None
            if saved is None or runtimes is None:
                return None
            record = _JSON.validate_json(saved.state)
        except (StoreError, TimeoutError, ValidationError) as error:
            log.error("call %s cannot be gone on with: %s", call_sid, error)
            return None
        memory = record.memory
        if saved.agent_version != runtimes[0].version:
            # Its place in a flow may not be there any more; what is known of the caller stays.
            state = dataclasses.replace(memory.state, stack=(), waiting="free", tries=0, closing=None)
            memory = dataclasses.replace(memory, state=state)
        return Session(runtimes, memory, record.package)

    async def close(self, call_sid: str, *, over: bool) -> None:
        """The call's stream has ended. If the call is `over` it is forgotten, unless it is being put through; else the
        store has it for whoever goes on with it."""
        session = self._open.get(call_sid)
        if session is None:
            return
        if session.writer is not None:
            await asyncio.wait({session.writer})
        if over and session.record.package is None:
            del self._open[call_sid]
            try:
                await self._store.delete(call_sid)
            except StoreError as error:
                log.error("call %s is over, but its state stays in the store: %s", call_sid, error)
        elif not session.failure:
            del self._open[call_sid]

    def _keep(self, call_sid: str, runtimes: tuple[AgentRuntime, ...], record: _Record) -> None:
        session = self._open.setdefault(call_sid, _OpenSession(runtimes, record))
        session.runtimes, session.record, session.changed = runtimes, record, True
        if session.writer is None or session.writer.done():
            session.writer = asyncio.create_task(self._write(call_sid, session), name=f"save {call_sid}")

    async def _write(self, call_sid: str, session: _OpenSession) -> None:
        while session.changed:
            session.changed = False
            state = _JSON.dump_json(session.record).decode()
            runtime = session.runtimes[0]
            saved = SavedState(call_sid, runtime.agent.name, runtime.version, state, self._clock.wall_time_s())
            try:
                await self._store.save_state(saved)
                session.failure = ""
            except StoreError as error:
                session.failure = str(error)
                log.error("call %s: its state cannot be saved: %s", call_sid, error)
