"""One provider's WebSocket, for those that hear over one: the same guard and the same failures as over HTTP."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from models.types import ModelFailure
from serve.connectors.addresses import AddressGuard, RefusedAddress, Unresolvable
from serve.hosted.exchange import Endpoint

_MOST_MESSAGES = 500
_LARGEST_MESSAGE = 1_000_000
_CLOSE_S = 0.2
"""Whoever was cancelled, or was told of a failure, does not wait for a polite goodbye."""


class Socket:
    """An open connection. What it does raises ModelFailure."""

    def __init__(self, endpoint: Endpoint, connection: ClientConnection) -> None:
        self._endpoint = endpoint
        self._connection = connection

    async def send(self, message: bytes | str) -> None:
        await self._connection.send(message)

    async def messages(self) -> AsyncGenerator[str, None]:
        """Text messages until the provider closes; it must say something within its time-out."""
        for _ in range(_MOST_MESSAGES):
            try:
                async with asyncio.timeout(self._endpoint.timeout_s):
                    message = await self._connection.recv()
            except ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code == 1000:
                    return
                raise
            if isinstance(message, str):
                yield message
        raise self._endpoint.malformed(f"more than {_MOST_MESSAGES} messages about one turn")


@asynccontextmanager
async def open_socket(
    endpoint: Endpoint, path: str, headers: Mapping[str, str], guard: AddressGuard | None = None
) -> AsyncGenerator[Socket, None]:
    """Connect below the endpoint's address. Raises ModelFailure, also for what fails inside the block."""
    url = f"{endpoint.base_url.rstrip('/')}{path}"
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(endpoint.timeout_s):
            addresses = await (guard or AddressGuard()).addresses(
                parts.scheme, host, port, allow_private=endpoint.allow_private
            )
        async with connect(
            f"ws{url.removeprefix('http')}",
            host=str(addresses[0]),
            port=port,
            additional_headers=headers,
            user_agent_header="trunkline",
            proxy=None,
            compression=None,
            open_timeout=endpoint.timeout_s,
            close_timeout=_CLOSE_S,
            ping_interval=None,
            max_size=_LARGEST_MESSAGE,
            # A whole turn is sent before anything is read: what comes meanwhile must not be in the way.
            max_queue=None,
            ssl=_trust() if secure else None,
            server_hostname=host if secure else None,
        ) as connection:
            yield Socket(endpoint, connection)
    except RefusedAddress as error:
        raise ModelFailure(f"{endpoint.name}: {error}") from error
    except InvalidStatus as error:
        raise endpoint.refused(error.response.status_code, bytes(error.response.body or b"")) from error
    except TimeoutError as error:
        raise endpoint.late() from error
    except ConnectionClosed as error:
        why = endpoint.plain(error.rcvd.reason) if error.rcvd is not None else ""
        code = error.rcvd.code if error.rcvd is not None else "no code"
        raise ModelFailure(f"{endpoint.name}: the connection was closed ({code}) {why}".rstrip()) from error
    except (OSError, WebSocketException, Unresolvable) as error:
        raise ModelFailure(f"{endpoint.name}: the connection failed ({type(error).__name__})") from error


@functools.cache
def _trust() -> ssl.SSLContext:
    """Read once: it takes tens of milliseconds."""
    return ssl.create_default_context()
