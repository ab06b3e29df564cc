"""A stand-in for a model that fails: another one is asked at once, and the failed one is left alone for a while.

One class for each port that has a stand-in. A primary that failed, or gave nothing within its budget, rests; then one
request tries it, while all others still go to the backup, and its rest doubles as long as that fails.

What a stream has given is never begun again. If one breaks off in its middle, that is its failure, as it was without a
backup: other words in another voice cannot continue a sentence that somebody has half heard, and the call knows what to
say then. The primary rests, so that the very next request is the backup's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from models.types import FloatAudio, GenerateRequest, Languages, ModelFailure, SpeechChunk, Transcript
from pipeline.clock import Clock
from pipeline.ports import LanguageModel, Speaker, Transcriber

Server = Literal["primary", "backup"]
T = TypeVar("T")

log = logging.getLogger(__name__)


class FallbackListener(Protocol):
    """Told of every request. Called on the event loop; must return at once."""

    def asked(self, stage: str, server: Server) -> None: ...

    def failed(self, stage: str, server: Server) -> None: ...

    def rests(self, stage: str) -> None:
        """The backup stands in from now on; said once, however long that lasts."""
        ...

    def is_back(self, stage: str, after_s: float) -> None:
        """The primary answers again, `after_s` seconds after it failed first."""
        ...


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """When the backup is asked, and for how long it alone."""

    budget_s: float
    """The primary's first piece, or its whole unary answer, must be there within this time."""
    cooldown_s: float = 10.0
    """Rest of a primary that failed ..."""
    longest_cooldown_s: float = 300.0
    """... doubled each time that it fails again, up to this."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    server: Server
    began_in: int
    """How often the primary had been sent to rest by then."""


class Fallback:
    """Who is asked next, the primary or the backup, by how the primary has answered all requests of a stage."""

    def __init__(self, stage: str, policy: FallbackPolicy, clock: Clock, listener: FallbackListener) -> None:
        """`stage` names it in failures and counts."""
        self._stage = stage
        self._policy = policy
        self._clock = clock
        self._listener = listener
        self._rests = 0
        """How often it was sent to rest."""
        self._in_a_row = 0
        """Failures since it last answered whole."""
        self._failed_s: float | None = None
        """When it failed first, since it answered last; None: it works."""
        self._until_s = 0.0
        self._probed = False

    @property
    def primary_works(self) -> bool:
        """As far as is known, without trying it."""
        return self._failed_s is None

    async def answer(self, ask: Mapping[Server, Callable[[], Awaitable[T]]], budget_s: float | None = None) -> T:
        """One whole answer. `budget_s`: the primary's; None: the policy's. Raises ModelFailure if nobody answers."""
        faults: list[ModelFailure] = []
        for server in self._order():
            attempt = self._attempt(server)
            try:
                answer = await self._first(attempt, ask[server](), self._budget_s(server, faults, budget_s))
            except ModelFailure as error:
                faults.append(error)
                continue
            self._whole(attempt)
            return answer
        raise _all_failed(faults)

    async def pieces(self, ask: Mapping[Server, Callable[[], AsyncGenerator[T, None]]]) -> AsyncGenerator[T, None]:
        """One stream; closing this closes whichever is at work. Raises ModelFailure if nobody begins, or if the one
        that has begun breaks off."""
        faults: list[ModelFailure] = []
        for server in self._order():
            attempt = self._attempt(server)
            async with aclosing(ask[server]()) as stream:
                try:
                    piece = await self._first(attempt, anext(stream, None), self._budget_s(server, faults, None))
                except ModelFailure as error:
                    faults.append(error)
                    continue
                while piece is not None:
                    yield piece
                    try:
                        piece = await anext(stream, None)
                    except ModelFailure as error:
                        self._failed(attempt, error)
                        raise
                self._whole(attempt)
                return
        raise _all_failed(faults)

    def _order(self) -> Iterator[Server]:
        """A primary that rests is the last resort."""
        probe = not self.primary_works and not self._probed and self._clock.now_s() >= self._until_s
        if self.primary_works or probe:
            yield from ("primary", "backup")
        else:
            yield from ("backup", "primary")

    def _attempt(self, server: Server) -> _Attempt:
        if server == "primary" and not self.primary_works:
            self._probed = True
        return _Attempt(server, self._rests)

    def _budget_s(self, server: Server, faults: list[ModelFailure], budget_s: float | None) -> float | None:
        """None: there is nobody left to go to. The backup's own time-outs and the turn's bound it."""
        if server == "backup" or faults:
            return None
        return self._policy.budget_s if budget_s is None else budget_s

    async def _first(self, attempt: _Attempt, answer: Awaitable[T], budget_s: float | None) -> T:
        """The answer, or the first piece. Raises ModelFailure, and then it is counted."""
        self._listener.asked(self._stage, attempt.server)
        try:
            async with asyncio.timeout(budget_s):
                found = await answer
        except ModelFailure as error:
            self._failed(attempt, error)
            raise
        except TimeoutError as error:
            failure = ModelFailure(f"{self._stage}: nothing within its budget of {budget_s or 0:g} s")
            self._failed(attempt, failure)
            raise failure from error
        except BaseException:  # Whoever asked went on; whether it works is not known yet.
            self._let_go(attempt)
            raise
        self._answered(attempt)
        return found

    def _answered(self, attempt: _Attempt) -> None:
        if attempt.server == "backup" or attempt.began_in != self._rests or self._failed_s is None:
            return
        after_s = self._clock.now_s() - self._failed_s
        self._failed_s, self._probed = None, False
        self._listener.is_back(self._stage, after_s)
        log.warning("%s: the primary answers again, after %.0f s", self._stage, after_s)

    def _whole(self, attempt: _Attempt) -> None:
        if attempt.server == "primary" and attempt.began_in == self._rests:
            self._in_a_row = 0

    def _failed(self, attempt: _Attempt, error: ModelFailure) -> None:
        self._listener.failed(self._stage, attempt.server)
        if attempt.server == "backup":
            log.warning("%s: the backup failed: %s", self._stage, error)
            return
        if attempt.began_in != self._rests:
            return  # It is one failure, though many requests were under way.
        now_s = self._clock.now_s()
        rest_s = min(self._policy.cooldown_s * 2.0 ** min(self._in_a_row, 30), self._policy.longest_cooldown_s)
        self._rests += 1
        self._in_a_row += 1
        self._until_s, self._probed = now_s + rest_s, False
        if self._failed_s is None:
            self._failed_s = now_s
            self._listener.rests(self._stage)
        log.warning("%s: the primary failed (%s); the backup stands in for %.0f s", self._stage, error, rest_s)

    def _let_go(self, attempt: _Attempt) -> None:
        if attempt.server == "primary" and attempt.began_in == self._rests:
            self._probed = False


def _all_failed(faults: list[ModelFailure]) -> ModelFailure:
    return ModelFailure("; then ".join(str(fault) for fault in faults))


class FallbackTranscriber:
    """pipeline.ports.Transcriber with a stand-in."""

    def __init__(self, primary: Transcriber, backup: Transcriber, fallback: Fallback) -> None:
        self._primary = primary
        self._backup = backup
        self._fallback = fallback

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        return await self._fallback.answer(
            {
                "primary": lambda: self._primary.transcribe(audio, languages, final=final),
                "backup": lambda: self._backup.transcribe(audio, languages, final=final),
            }
        )


class FallbackLanguageModel:
    """pipeline.ports.LanguageModel with a stand-in."""

    def __init__(
        self, primary: LanguageModel, backup: LanguageModel, fallback: Fallback, *, structured_budget_s: float
    ) -> None:
        """`structured_budget_s`: for a structured answer, which is of use only as a whole."""
        self._primary = primary
        self._backup = backup
        self._fallback = fallback
        self._structured_budget_s = structured_budget_s

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        stream = self._fallback.pieces(
            {"primary": lambda: self._primary.clauses(request), "backup": lambda: self._backup.clauses(request)}
        )
        async with aclosing(stream) as clauses:
            async for clause in clauses:
                yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        return await self._fallback.answer(
            {
                "primary": lambda: self._primary.structured(request, schema),
                "backup": lambda: self._backup.structured(request, schema),
            },
            self._structured_budget_s,
        )

    async def prefill(self, request: GenerateRequest) -> None:
        """Of the one that would be asked. It proves nothing about a primary: a warm-up may be left out."""
        await (self._primary if self._fallback.primary_works else self._backup).prefill(request)


class FallbackSpeaker:
    """pipeline.ports.Speaker with a stand-in."""

    def __init__(self, primary: Speaker, backup: Speaker, fallback: Fallback) -> None:
        self._primary = primary
        self._backup = backup
        self._fallback = fallback

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        stream = self._fallback.pieces(
            {
                "primary": lambda: self._primary.speak(text, voice=voice),
                "backup": lambda: self._backup.speak(text, voice=voice),
            }
        )
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield chunk
