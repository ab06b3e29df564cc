"""Where connectors may not connect to, however the address is written or reached."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.connectors.addresses import AddressGuard, IpAddress, RefusedAddress, Unresolvable, refusal, resolve

PRIVATE = ["127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "0.0.0.0", "192.0.2.1"]
NEVER = ["169.254.169.254", "169.254.0.7", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "224.0.0.1"]
PUBLIC = ["1.1.1.1", "2606:4700:4700::1111"]


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "fd12::1", "::1"])
def test_a_system_of_ones_own_may_be_private(address: str) -> None:
    assert refusal(ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", [*NEVER, "0.0.0.0", "::"])
def test_metadata_and_link_local_addresses_are_refused_even_then(address: str) -> None:
    assert refusal(ip_address(address), allow_private=True) is not None


@given(st.ip_addresses(v=4))
def test_an_address_wrapped_in_ipv6_is_judged_like_itself(address: IPv4Address) -> None:
    wrapped = [
        IPv6Address(f"::ffff:{address}"),
        IPv6Address(int(IPv6Address("64:ff9b::")) | int(address)),
        IPv6Address(int(IPv6Address("2002::")) | (int(address) << 80)),
    ]
    for form in wrapped:
        if refusal(address, allow_private=False) is not None:
            assert refusal(form, allow_private=False) is not None


class FakeResolver:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> tuple[IpAddress, ...]:
        self.asked.append(host)
        if not self.addresses:
            raise OSError("no such host")
        return tuple(ip_address(address) for address in self.addresses)


async def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    guard = AddressGuard(FakeResolver("1.1.1.1", "10.0.0.1"))
    with pytest.raises(RefusedAddress, match=r"10\.0\.0\.1.*allow_private"):
        await guard.addresses("https", "api.example.com", 443, allow_private=False)


async def test_plain_http_is_refused_before_the_name_is_looked_up() -> None:
    resolver = FakeResolver("1.1.1.1")
    with pytest.raises(RefusedAddress, match="expected https"):
        await AddressGuard(resolver).addresses("http", "api.example.com", 80, allow_private=False)
    assert resolver.asked == []


async def test_a_scheme_that_is_not_http_is_refused_whatever_is_allowed() -> None:
    with pytest.raises(RefusedAddress):
        await AddressGuard(FakeResolver("1.1.1.1")).addresses("ftp", "api.example.com", 21, allow_private=True)


async def test_a_host_without_an_address_is_not_the_same_as_a_refused_one() -> None:
    with pytest.raises(Unresolvable, match=r"api\.example\.com"):
        await AddressGuard(FakeResolver()).addresses("https", "api.example.com", 443, allow_private=False)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1", "localhost"])
async def test_other_spellings_of_a_private_address_are_refused(host: str) -> None:
    with pytest.raises((RefusedAddress, Unresolvable)):
        await AddressGuard(resolve).addresses("https", host, 443, allow_private=False)
