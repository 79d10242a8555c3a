# SPDX-License-Identifier: Apache-2.0
"""The files of /proc/net: texts in, words out. Pure. Formats are those of proc(5)."""

import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from podwatch.words.names import Place

_RTF_ADDRCONF = 0x00040000  # linux/ipv6_route.h
_LISTEN = "0A"  # TCP_LISTEN, linux/tcp_states.h
_LOOPBACK_V4 = "7F"  # the last byte of an address in 127.0.0.0/8, which is written first to last
_LOOPBACK_V6 = "00000000000000000000000001000000"


def parse_listening(
    text: str, protocol: str, *, loopback: bool = False
) -> Iterator[tuple[int, str, str]]:
    """(port, protocol, inode) of each socket in /proc/net/{tcp,udp}{,6} that others can reach.

    Nobody else reaches a socket on a loopback address: those are told only if `loopback`.
    """
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10:
            continue
        address, _, port = fields[1].partition(":")
        if protocol == "tcp" and fields[3] != _LISTEN:
            continue
        inside = address == _LOOPBACK_V6 or (len(address) == 8 and address.endswith(_LOOPBACK_V4))
        if inside and not loopback:
            continue
        try:
            yield int(port, 16), protocol, fields[9]
        except ValueError:
            continue


def parse_bound(text: str) -> Iterator[tuple[Place, int]]:
    """Each (address, port) that is bound in /proc/net/udp, udp6, and the bytes to be read there."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            address, _, port = fields[1].partition(":")
            place = ip_address(_packed(address)), int(port, 16)
            found = place, int(fields[4].partition(":")[2], 16)
        except (IndexError, ValueError):
            continue
        yield found


def _packed(digits: str) -> bytes:
    """An address in the network's order; it is written in words, each in this machine's order.

    Raises ValueError for what is no hexadecimal number.
    """
    raw = bytes.fromhex(digits)
    words = (raw[at : at + 4] for at in range(0, len(raw), 4))
    return b"".join(int.from_bytes(word, sys.byteorder).to_bytes(len(word)) for word in words)


def default_routes(text: str, version: int) -> Iterator[str]:
    """The interface of each default route in /proc/net/route, or ipv6_route.

    One that leads nowhere has none: "*" (Linux net/ipv4/fib_trie.c, fib_route_seq_show), or "lo".
    """
    for line in text.splitlines():
        fields = line.split()
        is_default = version == 4 and len(fields) > 7 and fields[1] == fields[7] == "00000000"
        if is_default and fields[0] != "*":
            yield fields[0]
        if version == 6 and len(fields) == 10 and fields[1] == "00" and fields[9] != "lo":
            yield fields[9]


def route_links(text: str) -> Iterator[str]:
    """The interface of each line of /proc/net/route."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7:
            yield fields[0]


def routes_within(text: str, subnets: Collection[IPv4Network]) -> bool:
    """Whether a line of /proc/net/route is for a part of one of these subnets alone."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        with suppress(ValueError, IndexError):
            to = IPv4Network((_packed(fields[1]), str(IPv4Address(_packed(fields[7])))))
            if any(to != subnet and to.subnet_of(subnet) for subnet in subnets):
                return True
    return False


def default_gateways(text: str) -> Iterator[tuple[str, IPv4Address]]:
    """(interface, gateway) of each default route in /proc/net/route that has one."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" != fields[2]:
            with suppress(ValueError):
                yield fields[0], IPv4Address(_packed(fields[2]))


def default_gateways_v6(text: str) -> Iterator[tuple[str, IPv6Address]]:
    """(interface, gateway) of each default route in /proc/net/ipv6_route that has one."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 10 and fields[1] == "00" and fields[9] != "lo":
            with suppress(ValueError):
                gateway = IPv6Address(bytes.fromhex(fields[4]))
                if not gateway.is_unspecified:
                    yield fields[9], gateway


def advertised(text: str) -> frozenset[str]:
    """The interfaces with a route of /proc/net/ipv6_route that a router advertised."""
    fields = [line.split() for line in text.splitlines()]
    return frozenset(field[9] for field in fields if len(field) == 10 and _is_advertised(field[8]))


def _is_advertised(flags: str) -> bool:
    try:
        return bool(int(flags, 16) & _RTF_ADDRCONF)
    except ValueError:
        return False
