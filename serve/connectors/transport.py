"""The network under every connector's client: each request goes to an address that the guard has checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import httpx
import httpx2

from serve.connectors.addresses import AddressGuard, IpAddress, RefusedAddress, Unresolvable

ALLOW_PRIVATE = "trunkline_allow_private"
"""Request extension: this request's connection may reach private addresses and use plain http."""

_MAX_HOSTS = 64
_KEEP_S = 60.0
"""Checked addresses are used this long before the name is looked up again: lookups that come back in another order each
time would open a new connection each time."""


class _Pool(Protocol):
    async def aclose(self) -> None: ...


Trace = Callable[[str, Mapping[str, object]], Awaitable[None]]
"""Called with the name of each step of a request ("http11.send_request_headers.started") and what there is to it."""

PoolT = TypeVar("PoolT", bound=_Pool)
ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True, slots=True)
class _Key:
    scheme: str
    host: str
    port: int
    allow_private: bool


@dataclass(frozen=True, slots=True)
class _Host(Generic[PoolT]):
    pool: PoolT
    addresses: tuple[IpAddress, ...]
    until_s: float


class _CheckedHosts(Generic[PoolT]):
    """A connection pool and checked addresses for each host.

    A pool for each host, because a kept connection whose certificate was checked for one name must not carry a request
    for another that happens to share its address.
    """

    def __init__(self, guard: AddressGuard, make_pool: Callable[[], PoolT]) -> None:
        self._guard = guard
        self._make_pool = make_pool
        self._hosts: dict[_Key, _Host[PoolT]] = {}

    async def send(
        self,
        key: _Key,
        attempt: Callable[[PoolT, IpAddress], Awaitable[ResponseT]],
        unconnected: tuple[type[Exception], ...],
    ) -> ResponseT:
        """Try the host's addresses in turn, until one can be connected to.

        Raises what the last attempt raised, RefusedAddress and Unresolvable.
        """
        host = await self._checked(key)
        for index, address in enumerate(host.addresses):
            try:
                response = await attempt(host.pool, address)
            except unconnected:
                if index + 1 < len(host.addresses):
                    continue
                self._hosts[key] = replace(host, until_s=0.0)
                raise
            if index:  # Those before it do not answer: begin with this one next time.
                self._hosts[key] = replace(host, addresses=(*host.addresses[index:], *host.addresses[:index]))
            return response
        raise AssertionError("a checked host has an address")

    async def _checked(self, key: _Key) -> _Host[PoolT]:
        known = self._hosts.get(key)
        now_s = asyncio.get_running_loop().time()
        if known is not None and now_s < known.until_s:
            return known
        addresses = await self._guard.addresses(key.scheme, key.host, key.port, allow_private=key.allow_private)
        known = self._hosts.get(key)
        if known is None and len(self._hosts) >= _MAX_HOSTS:
            raise RefusedAddress(f"{key.host}: more than {_MAX_HOSTS} different hosts; are hosts made up by redirects?")
        if known is not None and set(known.addresses) == set(addresses):
            addresses = known.addresses
        host = _Host(known.pool if known else self._make_pool(), addresses, now_s + _KEEP_S)
        self._hosts[key] = host
        return host

    async def aclose(self) -> None:
        for host in self._hosts.values():
            await host.pool.aclose()


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves and checks the host of every request, and connects to an address it has checked. HTTP/1.1, no proxies.

    The TLS name and the Host header stay the host's own. Redirects are not followed here: whoever follows one sends a
    new request, and that is checked like any other. Raises httpx.ConnectError for a host without an address and
    RefusedAddress for one that is out of bounds.
    """

    def __init__(self, guard: AddressGuard, *, verify: ssl.SSLContext | None = None) -> None:
        context = verify or httpx.create_ssl_context(trust_env=False)
        self._hosts = _CheckedHosts(
            guard, lambda: httpx.AsyncHTTPTransport(verify=context, trust_env=False, http1=True, http2=False)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        try:
            return await self._hosts.send(
                _key(url.scheme, url.host, url.port, request.extensions.get(ALLOW_PRIVATE) is True),
                lambda pool, address: pool.handle_async_request(
                    httpx.Request(
                        method=request.method,
                        url=url.copy_with(host=str(address)),
                        headers=request.headers,
                        stream=request.stream,
                        extensions={**request.extensions, "sni_hostname": url.host},
                    )
                ),
                (httpx.ConnectError, httpx.ConnectTimeout),
            )
        except Unresolvable as error:
            raise httpx.ConnectError(str(error), request=request) from error

    async def aclose(self) -> None:
        await self._hosts.aclose()


class GuardedTransport2(httpx2.AsyncBaseTransport):
    """The same for httpx2, which the MCP library speaks through. One for each server, so `allow_private` is its own."""

    def __init__(self, guard: AddressGuard, *, allow_private: bool, verify: ssl.SSLContext | None = None) -> None:
        context = verify or httpx2.create_ssl_context(trust_env=False)
        self._allow_private = allow_private
        self._hosts = _CheckedHosts(
            guard, lambda: httpx2.AsyncHTTPTransport(verify=context, trust_env=False, http1=True, http2=False)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        try:
            return await self._hosts.send(
                _key(url.scheme, url.host, url.port, self._allow_private),
                lambda pool, address: pool.handle_async_request(
                    httpx2.Request(
                        method=request.method,
                        url=url.copy_with(host=str(address)),
                        headers=request.headers,
                        stream=request.stream,
                        extensions={**request.extensions, "sni_hostname": url.host},
                    )
                ),
                (httpx2.ConnectError, httpx2.ConnectTimeout),
            )
        except Unresolvable as error:
            raise httpx2.ConnectError(str(error), request=request) from error

    async def aclose(self) -> None:
        await self._hosts.aclose()


def _key(scheme: str, host: str, port: int | None, allow_private: bool) -> _Key:
    return _Key(scheme, host, port or (443 if scheme == "https" else 80), allow_private)


class ConnectorClient:
    """The one HTTP client of a process. No proxies, cookies or redirects, and no log: a URL may hold a caller's number.

    Use it as `async with`, or close it with `aclose()`.
    """

    def __init__(self, guard: AddressGuard | None = None, *, verify: ssl.SSLContext | None = None) -> None:
        self._transport = GuardedTransport(guard or AddressGuard(), verify=verify)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: httpx.URL | str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        limit: httpx.Timeout,
        allow_private: bool,
        trace: Trace | None = None,
    ) -> AsyncGenerator[httpx.Response, None]:
        """Send a request; the answer's body is read by whoever asks. `trace` hears how far the request has come.

        Raises httpx.RequestError, httpx.InvalidURL and RefusedAddress.
        """
        request = httpx.Request(
            method,
            url,
            headers={"User-Agent": "trunkline", "Accept": "application/json", **headers},
            content=content,
            extensions={
                "timeout": limit.as_dict(),
                ALLOW_PRIVATE: allow_private,
                **({} if trace is None else {"trace": trace}),
            },
        )
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()


def mcp_client(
    guard: AddressGuard, *, allow_private: bool, headers: Mapping[str, str], auth: httpx2.Auth, read_timeout_s: float
) -> httpx2.AsyncClient:
    """The client under one MCP server's streamable HTTP; close it with `aclose()`."""
    return httpx2.AsyncClient(
        transport=GuardedTransport2(guard, allow_private=allow_private),
        auth=auth,
        headers=dict(headers),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(30.0, connect=3.0, read=read_timeout_s),
    )
