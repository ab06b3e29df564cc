"""Ray Serve handles as the pipeline's ports: a model that died, hangs or is gone becomes a prompt ModelFailure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeVar

from models.types import (
    FloatAudio,
    GenerateRequest,
    Judgement,
    Languages,
    ModelFailure,
    RouteDecision,
    Situation,
    SpeechChunk,
    Transcript,
    session_of,
)
from serve.deployment_settings import Deployment

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

RECOVERING_TIMEOUT_S = 1.0
"""A deployment whose replica died is asked before each request whether it is back, and given this long to say so: the
caller hears the apology soon instead of sitting through the whole time-out while the replica restarts."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Stream(Protocol[T_co]):
    """What a streaming handle gives back."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def cancel(self) -> None: ...


class Remote:
    """One deployment, with its time-out and what is known of its health."""

    def __init__(self, name: str, handle: DeploymentHandle, timeout_s: float) -> None:
        self.name = name
        self.handle = handle
        self._timeout_s = timeout_s
        self._died = False

    async def answer(self, response: Awaitable[T]) -> T:
        """The whole answer, or ModelFailure."""
        await self._is_back()
        return await self._wait(response)

    async def pieces(self, stream: _Stream[T]) -> AsyncGenerator[T, None]:
        """The stream's pieces; closing this cancels the work at the replica. Raises ModelFailure."""
        try:
            await self._is_back()
            iterator = aiter(stream)
            while True:
                try:
                    piece = await self._wait(anext(iterator))
                except StopAsyncIteration:
                    return
                yield piece
        finally:
            stream.cancel()

    async def _is_back(self) -> None:
        """Returns at once unless the replica died when it was last asked; else once another says that it is there."""
        if self._died:
            if fault := await ready(self, min(self._timeout_s, RECOVERING_TIMEOUT_S)):
                raise ModelFailure(fault)
            self._died = False

    async def _wait(self, response: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await response
        except (StopAsyncIteration, ModelFailure):
            raise
        except TimeoutError as error:
            raise ModelFailure(f"{self.name}: no answer within {self._timeout_s:g} s") from error
        except Exception as error:  # Ray, gRPC and engines raise many kinds; to a call they are one: the model failed.
            self._died = True
            raise ModelFailure(f"{self.name}: {_first_line(error)}") from error


class RayTranscriber:
    """pipeline.ports.Transcriber by the SpeechToText deployment."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def transcribe(self, audio: FloatAudio, languages: Languages, *, final: bool) -> Transcript:
        response = self._remote.handle.transcribe.remote(audio, languages, final)
        try:
            return await self._remote.answer(response)
        finally:
            # The call is over, or it took too long: what still waits in the replica takes no other turn's time.
            response.cancel()


class RayRouter:
    """pipeline.ports.Router by the Router deployment, for one agent's version."""

    def __init__(self, remote: Remote, version: str) -> None:
        self._remote = remote
        self._version = version

    async def route(self, text: str) -> RouteDecision:
        return await self._remote.answer(self._remote.handle.route.remote(text, self._version))


class RayUnderstanding:
    """pipeline.ports.UnderstandingModel by the Understanding deployment, for one agent's version."""

    def __init__(self, remote: Remote, version: str) -> None:
        self._remote = remote
        self._version = version

    async def judge(self, situation: Situation, request_id: str) -> Judgement:
        handle = self._remote.handle.options(session_id=session_of(request_id))
        response = handle.judge.remote(situation, self._version, request_id)
        try:
            return await self._remote.answer(response)
        finally:
            # The caller went on, or it took too long: the next words are not to wait for this. Else it does nothing.
            response.cancel()


class RayLanguageModel:
    """pipeline.ports.LanguageModel by a language model deployment."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def clauses(self, request: GenerateRequest) -> AsyncGenerator[str, None]:
        handle = self._remote.handle.options(stream=True, session_id=session_of(request.request_id))
        stream: _Stream[str] = handle.clauses.remote(request)
        async with aclosing(self._remote.pieces(stream)) as pieces:
            async for clause in pieces:
                yield clause

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        handle = self._remote.handle.options(session_id=session_of(request.request_id))
        response = handle.structured.remote(request, schema)
        try:
            return await self._remote.answer(response)
        finally:
            # The caller went on, or it took too long: the engine's place is free for what is said next.
            response.cancel()

    async def prefill(self, request: GenerateRequest) -> None:
        handle = self._remote.handle.options(session_id=session_of(request.request_id))
        await self._remote.answer(handle.prefill.remote(request))


class RaySpeaker:
    """pipeline.ports.Speaker by the TextToSpeech deployment."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def speak(self, text: str, *, voice: str) -> AsyncGenerator[SpeechChunk, None]:
        stream: _Stream[SpeechChunk] = self._remote.handle.options(stream=True).speak.remote(text, voice)
        async with aclosing(self._remote.pieces(stream)) as pieces:
            async for chunk in pieces:
                yield chunk


def connect(name: str, deployment: Deployment) -> Remote:
    """The pool of that name, wherever its replicas are. Call it inside an event loop."""
    from ray import serve

    return Remote(name, serve.get_deployment_handle(name, name, _check_exists=False), deployment.timeout_s)


async def ready(remote: Remote, timeout_s: float) -> str:
    """Empty if the deployment answers within the time, else why not."""
    try:
        async with asyncio.timeout(timeout_s):
            await remote.handle.ready.remote()
    except TimeoutError:
        return f"{remote.name}: no answer within {timeout_s:g} s"
    except Exception as error:  # Whatever the reason, it is not ready; the reason is told.
        return f"{remote.name}: {_first_line(error)}"
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]
