"""Which network addresses a redirect may lead to."""

import ipaddress
import socket

from fiberaug.errors import SecurityRefused

__all__ = ["PUBLIC", "check_address", "check_host", "nearness"]

PUBLIC, PRIVATE, LOOPBACK = range(3)
_WORDS = ("public", "private", "loopback")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
# Where clouds hand out credentials, as far as those are not link-local.
_METADATA = {
    ipaddress.ip_address(text)
    for text in (
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
}


def _parse(text: str) -> _Address:
    """Return an address, and of one that wraps an IPv4 address, that."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _nearness(address: _Address) -> int:
    if address.is_loopback:
        return LOOPBACK
    return PUBLIC if address.is_global else PRIVATE


def _addresses(host: str, port: int | None) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # connecting to it will say why
    return [_parse(str(entry[4][0])) for entry in found]


def nearness(host: str, port: int | None) -> int:
    """Return how near a host is: 0 public, 1 in a private network, 2 this machine.

    Of several addresses, the farthest one counts; a host without any is public.
    """
    return min(map(_nearness, _addresses(host, port)), default=PUBLIC)


def check_address(text: str, *, most: int, shown: str) -> None:
    """Check the address that a redirect leads to.

    Args:
        text: IP address.
        most: Nearness of the first host: a stranger may not point into a network that
            only this machine reaches.
        shown: What redirected, for errors; without credentials.

    Raises:
        SecurityRefused: It is link-local, a cloud's metadata, no host at all, or nearer
            than the first host.
    """
    address = _parse(text)
    never = (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _METADATA
    )
    if never:
        raise SecurityRefused(
            f"{shown} redirects to {address}, a link-local or metadata address, where"
            " no shard is",
            stage="fetch",
        )
    near = _nearness(address)
    if near > most:
        raise SecurityRefused(
            f"{shown} is {_WORDS[most]} and redirects to {address}, which is"
            f" {_WORDS[near]}; name the shards' last URL yourself where that is meant",
            stage="fetch",
        )


def check_host(host: str, port: int | None, *, most: int, shown: str) -> None:
    """Check every address of the host that a redirect leads to.

    Raises:
        SecurityRefused: See :func:`check_address`.
    """
    for address in _addresses(host, port):
        check_address(str(address), most=most, shown=shown)
