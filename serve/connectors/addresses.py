"""Where a connector may connect to: the guard against server-side request forgery (SSRF).

A host is resolved, every address it has is checked, and the connection goes to an address that was checked: a name that
changes its address in between gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Protocol

IpAddress = IPv4Address | IPv6Address

_METADATA = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS container credentials
        "fd00:ec2::254",  # AWS over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's host agent; looks public
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class RefusedAddress(Exception):
    """A request would have gone where this connection must not go. Nothing was sent."""


class Unresolvable(Exception):
    """The host's name has no address now. Nothing was sent."""


class Resolver(Protocol):
    async def __call__(self, host: str, port: int) -> tuple[IpAddress, ...]:
        """Every address of the host, best first. Raises OSError."""
        ...


async def resolve(host: str, port: int) -> tuple[IpAddress, ...]:
    """The system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A link-local IPv6 address may carry its interface ("fe80::1%eth0").
    return tuple(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def refusal(address: IpAddress, *, allow_private: bool) -> str | None:
    """Why a connector must not connect there; None if it may. Addresses inside IPv6 wrappers are judged too."""
    if address in _METADATA:
        return "a cloud's metadata service"
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return "a link-local, multicast or unspecified address"
    wrapped = _wrapped(address)
    if wrapped is not None:
        return refusal(wrapped, allow_private=allow_private)
    if allow_private:
        return None
    return None if address.is_global else "not a public address"


def _wrapped(address: IpAddress) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Decides whether a host may be connected to, and at which addresses."""

    resolver: Resolver = field(default=resolve)

    async def addresses(self, scheme: str, host: str, port: int, *, allow_private: bool) -> tuple[IpAddress, ...]:
        """The checked addresses of the host, best first; at least one.

        Raises RefusedAddress if the scheme is not https or *any* address of the host is out of bounds (with
        `allow_private`, http and private addresses may be used too; metadata services and link-local addresses never),
        and Unresolvable if the host has no address.
        """
        if scheme != "https" and not (allow_private and scheme == "http"):
            raise RefusedAddress(
                f"{scheme}://{host}: expected https; only a connection with `allow_private: true` may use http"
            )
        try:
            found = await self.resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise Unresolvable(f"{host}: this name cannot be resolved ({error})") from error
        if not found:
            raise Unresolvable(f"{host}: this name has no address")
        for address in found:
            why = refusal(address, allow_private=allow_private)
            if why is not None:
                raise RefusedAddress(
                    f"{host}: its address {address} is {why}; if this is a system of your own on a private network, "
                    "say `allow_private: true` in its connection"
                )
        return found
