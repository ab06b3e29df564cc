"""One provider's HTTP endpoint: a request that is answered piece by piece, within limits, or is a ModelFailure.

A failure names the provider, what came and what to do; never the key, nor what a provider says about one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import BaseModel, JsonValue, SecretStr, TypeAdapter, ValidationError

from models.types import ModelFailure
from serve.connectors.addresses import RefusedAddress
from serve.connectors.transport import ConnectorClient

_CONNECT_S = 2.0
_LARGEST_ERROR = 4096
_LONGEST_DETAIL = 200
_LONGEST_LINE = 2_000_000
"""A line of a stream holds a piece of audio at most."""
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
FormT = TypeVar("FormT", bound=BaseModel)
Spend = Callable[[float], None]
"""Told what a request has cost, in the currency of the stack file."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is, and how we prove who we are."""

    name: str
    """What it is called in failures."""
    base_url: str
    key: SecretStr | None
    key_env: str | None
    """Where the key comes from, for failures."""
    timeout_s: float
    allow_private: bool
    client: ConnectorClient

    def bearer(self) -> dict[str, str]:
        """The Authorization header that most want; none without a key."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key.get_secret_value()}"}

    @asynccontextmanager
    async def post(
        self, path: str, *, headers: Mapping[str, str], content: bytes, most_bytes: int
    ) -> AsyncGenerator[Body, None]:
        """Send; the body of an answer with status 200. Raises ModelFailure, also for what fails inside the block."""
        try:
            async with self.client.stream(
                "POST",
                f"{self.base_url.rstrip('/')}{path}",
                headers=headers,
                content=content,
                limit=httpx.Timeout(self.timeout_s, connect=min(_CONNECT_S, self.timeout_s)),
                allow_private=self.allow_private,
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise self.refused(response.status_code, await _beginning(response))
                yield Body(self, response, most_bytes)
        except RefusedAddress as error:
            raise ModelFailure(f"{self.name}: {error}") from error
        except httpx.InvalidURL as error:
            raise ModelFailure(f"{self.name}: no request can be sent to {self.base_url} ({error})") from error
        except httpx.TimeoutException as error:
            raise self.late() from error
        except httpx.RequestError as error:
            raise ModelFailure(f"{self.name}: the connection failed ({type(error).__name__})") from error

    def refused(self, status: int, body: bytes) -> ModelFailure:
        """What an answer with another status than 200 means, and what to do."""
        detail = "" if status in (401, 403) else self._detail(body)
        advice = {
            400: "check the model's name and the settings of the fallback",
            401: f"check the key in {self.key_env}",
            402: "the account has no credit left",
            403: f"the key in {self.key_env} may not do this",
            404: "check the names of model and voice, and base_url",
            429: "too many requests at once, or the account has no credit left",
        }.get(status, "the provider is in trouble" if status >= 500 else "check base_url" if status < 400 else "")
        return ModelFailure("; ".join(part for part in (f"{self.name}: HTTP {status}{detail}", advice) if part))

    def late(self) -> ModelFailure:
        return ModelFailure(f"{self.name}: no answer within {self.timeout_s:g} s")

    def malformed(self, what: str) -> ModelFailure:
        return ModelFailure(f"{self.name}: {what}; its interface may have changed")

    def too_large(self, most_bytes: int) -> ModelFailure:
        return ModelFailure(f"{self.name}: the answer is larger than {most_bytes // 1000} kB and was broken off")

    def plain(self, text: str) -> str:
        """A provider's own words, on one line, cut and without the key."""
        text = " ".join(text.split())
        if self.key is not None:
            text = text.replace(self.key.get_secret_value(), "(the key)")
        return text[:_LONGEST_DETAIL]

    def _detail(self, body: bytes) -> str:
        text = self.plain(_message(body))
        return f": {text}" if text else ""


@dataclass(frozen=True, slots=True)
class Body:
    """What comes back, as far as it has been read. Reading raises ModelFailure and httpx.RequestError."""

    endpoint: Endpoint
    response: httpx.Response
    most_bytes: int

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """As they come, up to the limit."""
        size = 0
        async for piece in self.response.aiter_bytes():
            size += len(piece)
            if size > self.most_bytes:
                raise self.endpoint.too_large(self.most_bytes)
            yield piece

    async def whole(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])

    async def read_as(self, form: type[FormT]) -> FormT:
        return read_as(self.endpoint, form, await self.whole())

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Without their ends; the last one may have none."""
        rest = bytearray()
        async for piece in self.pieces():
            rest += piece
            *whole, last = rest.split(b"\n")
            for line in whole:
                yield bytes(line.rstrip(b"\r"))
            rest = last
            if len(rest) > _LONGEST_LINE:
                raise self.endpoint.too_large(_LONGEST_LINE)
        if rest:
            yield bytes(rest)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The data of server-sent events; one line each, as all providers here send them."""
        async for line in self.lines():
            if line.startswith(b"data:"):
                yield line[5:].strip()


def read_as(endpoint: Endpoint, form: type[FormT], data: bytes | str) -> FormT:
    """JSON of which only what the form names is read. Raises ModelFailure for anything else."""
    try:
        return form.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "its top level"
        raise endpoint.malformed(f"the answer is not of the form that was expected, at {where}") from error


def body_of(values: Mapping[str, object]) -> bytes:
    """A request's body."""
    return json.dumps(values, ensure_ascii=False).encode()


async def _beginning(response: httpx.Response) -> bytes:
    """As much of an error as is worth reading."""
    read = bytearray()
    async for piece in response.aiter_bytes():
        read += piece
        if len(read) >= _LARGEST_ERROR:
            break
    return bytes(read[:_LARGEST_ERROR])


def _message(body: bytes) -> str:
    """What an error says about itself, where the providers put that."""
    try:
        found = _JSON.validate_json(body)
    except ValidationError:
        return ""
    for key in ("error", "detail", "err_msg", "message", "title"):
        inner = found.get(key) if isinstance(found, dict) else None
        if isinstance(inner, dict):
            inner = inner.get("message")
        if isinstance(inner, str):
            return inner
    return ""
