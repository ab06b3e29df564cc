"""The guarded network: names are pinned to checked addresses, and TLS and Host stay the name's own."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serve.connectors.addresses import AddressGuard, IpAddress, RefusedAddress
from serve.connectors.transport import ConnectorClient
from tests.serve.connectors.rig import trust


async def get(client: ConnectorClient, url: str, *, allow_private: bool = True) -> int:
    """The status of a GET."""
    async with client.stream("GET", url, headers={}, limit=httpx.Timeout(2.0), allow_private=allow_private) as response:
        await response.aread()
        return response.status_code


class FakeNames:
    """A resolver with a table; `asked` is every look-up."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> tuple[IpAddress, ...]:
        self.asked.append(host)
        return tuple(ip_address(address) for address in self.names[host])


@asynccontextmanager
async def server(context: ssl.SSLContext | None = None) -> AsyncGenerator[tuple[int, list[tuple[str, object]]], None]:
    """A server on 127.0.0.1: its port, and what it saw: Host header and the connection's own identity."""
    seen: list[tuple[str, object]] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append((request.headers["Host"], request.transport))
        return web.json_response({})

    running = RawTestServer(handle)
    await running.start_server(ssl=context, access_log=None)
    try:
        assert running.port is not None
        yield running.port, seen
    finally:
        await running.close()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate for one name that signs itself: the server's context, and one that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    return serving, ssl.create_default_context(cafile=str(pem))


async def test_host_and_tls_name_stay_the_names_own_though_the_address_is_pinned(tmp_path: Path) -> None:
    serving, trusting = certificate(tmp_path, "crm.example.com")
    names = FakeNames(crm_example_com=["127.0.0.1"])
    async with server(serving) as (port, seen), ConnectorClient(AddressGuard(names), verify=trusting) as client:
        assert await get(client, f"https://crm.example.com:{port}/") == 200
    assert seen[0][0] == f"crm.example.com:{port}"


async def test_a_certificate_for_another_name_at_the_same_address_is_refused(tmp_path: Path) -> None:
    serving, trusting = certificate(tmp_path, "crm.example.com")
    names = FakeNames(crm_example_com=["127.0.0.1"], evil_example_com=["127.0.0.1"])
    async with server(serving) as (port, seen), ConnectorClient(AddressGuard(names), verify=trusting) as client:
        await get(client, f"https://crm.example.com:{port}/")
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await get(client, f"https://evil.example.com:{port}/")
    assert len(seen) == 1


async def test_a_private_address_is_refused_unless_the_request_says_so() -> None:
    async with server() as (port, seen), ConnectorClient(verify=trust()) as client:
        with pytest.raises(RefusedAddress):
            await get(client, f"http://127.0.0.1:{port}/", allow_private=False)
        with pytest.raises(RefusedAddress):
            await get(client, f"https://localhost:{port}/", allow_private=False)
        assert await get(client, f"http://127.0.0.1:{port}/") == 200
        # What one connection may do is not inherited by another.
        with pytest.raises(RefusedAddress):
            await get(client, f"https://127.0.0.1:{port}/", allow_private=False)
    assert len(seen) == 1


async def test_a_name_that_changes_its_address_gains_nothing() -> None:
    names = FakeNames(crm_example_com=["1.1.1.1"])
    guard = AddressGuard(names)
    assert await guard.addresses("https", "crm.example.com", 443, allow_private=False) == (ip_address("1.1.1.1"),)
    names.names["crm.example.com"] = ["169.254.169.254"]
    async with ConnectorClient(guard) as client:
        with pytest.raises(RefusedAddress, match="metadata"):
            await get(client, "https://crm.example.com/", allow_private=False)


async def test_connections_are_kept_and_the_name_is_not_looked_up_each_time() -> None:
    names = FakeNames(crm_example_com=["127.0.0.1"])
    async with server() as (port, seen), ConnectorClient(AddressGuard(names), verify=trust()) as client:
        for _ in range(3):
            await get(client, f"http://crm.example.com:{port}/")
    assert names.asked == ["crm.example.com"]
    assert len({id(connection) for _, connection in seen}) == 1


async def test_the_next_address_is_tried_if_the_first_does_not_answer() -> None:
    names = FakeNames(crm_example_com=["127.0.0.9", "127.0.0.1"])
    async with server() as (port, seen), ConnectorClient(AddressGuard(names), verify=trust()) as client:
        for _ in range(2):
            await get(client, f"http://crm.example.com:{port}/")
    assert len(seen) == 2


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with server() as (port, seen), ConnectorClient(verify=trust()) as client:
        await get(client, f"http://127.0.0.1:{port}/")
    assert len(seen) == 1
