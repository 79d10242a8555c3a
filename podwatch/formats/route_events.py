# SPDX-License-Identifier: Apache-2.0
"""What rtnetlink tells of changes of links, addresses and routes: bytes in, words out. Pure.

Whatever the bytes are, nothing here raises: what cannot be read is left out.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podwatch.formats import netlink
from podwatch.formats.route_messages import NEWLINK, LinkSeen, is_isolated, read_link

_LINKS, _ADDRESSES, _ADDRESSES_V6, _ROUTES, _ROUTES_V6, _RULES, _RULES_V6 = 1, 5, 9, 7, 11, 8, 19
GROUPS = sum(
    1 << (group - 1)
    for group in (_LINKS, _ADDRESSES, _ADDRESSES_V6, _ROUTES, _ROUTES_V6, _RULES, _RULES_V6)
)
"""RTNLGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR, _IPV4_ROUTE, _IPV6_ROUTE and those of rules:
linux/rtnetlink.h."""

_DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 17, 20, 21, 24, 25
_OF_RULES = (32, 33)  # RTM_NEWRULE, RTM_DELRULE
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=8BI")
_NUMBER = struct.Struct("=I")
_IFLA_PROTINFO = 12
_RTA_DST, _RTA_OIF, _MAIN = 1, 4, 254  # the last one is RT_TABLE_MAIN
_V6_BYTES = 16
_OF_EACH_LINK = (b"\xfe\x80", b"\xff\x00")
"""IPv6's routes for link-local addresses and for multicast: each link has them."""
_ON_LINK = 253  # RT_SCOPE_LINK
_OF_BRIDGES = 7  # AF_BRIDGE: what a bridge says of its ports, once more


Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """One change: of the link with that index, as it is now; `link` is None of one that is gone.

    Of an address or a route that came or went (`is_address`) only the link's index is told, and
    `asked_by`, the port of the socket that asked for it: mostly the number of its process, 0 for
    the kernel itself. An address `on_link` is one that each link has by itself (fe80::). `isolated`
    is told of a bridge's port, where nothing else is. A rule for routing is of no link: its index
    is 0.
    """

    index: int
    link: LinkSeen | None = None
    isolated: bool | None = None
    is_address: bool = False
    is_loss: bool = False
    asked_by: int = 0
    on_link: bool = False


def parse_events(data: Bytes) -> Iterator[LinkEvent]:
    """The changes that one datagram tells of."""
    for kind, _, _, start, end in netlink.messages(data):
        size, read = _READERS.get(kind, (0, None))
        if read is not None and end - start >= size:
            yield from read(data, kind, start, end)


def _of_link(data: Bytes, kind: int, start: int, end: int) -> Iterator[LinkEvent]:
    family, _, index, _, _ = _LINK.unpack_from(data, start)
    if family == _OF_BRIDGES:
        if kind == NEWLINK and (told := _isolation(data, start, end)) is not None:
            yield LinkEvent(index, isolated=told)
    elif kind == _DELLINK:
        yield LinkEvent(index, is_loss=True)
    elif (link := read_link(data, start, end)) is not None:
        yield LinkEvent(index, link)


def _of_address(data: Bytes, kind: int, start: int, _end: int) -> Iterator[LinkEvent]:
    _, _, _, scope, index = _ADDRESS.unpack_from(data, start)
    lost, port = kind == _DELADDR, _port(data, start)
    on_link = scope == _ON_LINK
    yield LinkEvent(index, is_address=True, is_loss=lost, asked_by=port, on_link=on_link)


def _of_route(data: Bytes, kind: int, start: int, end: int) -> Iterator[LinkEvent]:
    if _ROUTE.unpack_from(data, start)[4] != _MAIN:
        return
    found = netlink.find(data, start + _ROUTE.size, end, (_RTA_DST, _RTA_OIF))
    at, stop = found.get(_RTA_DST, (0, 0))
    if stop - at == _V6_BYTES and bytes(data[at : at + 2]) in _OF_EACH_LINK:
        return
    at, stop = found.get(_RTA_OIF, (0, 0))
    if stop - at == _NUMBER.size:
        (index,) = _NUMBER.unpack_from(data, at)
        lost, port = kind == _DELROUTE, _port(data, start)
        yield LinkEvent(index, is_address=True, is_loss=lost, asked_by=port)


def _of_rule(_data: Bytes, _kind: int, _start: int, _end: int) -> Iterator[LinkEvent]:
    yield LinkEvent(0, is_address=True)


_Reader = Callable[[Bytes, int, int, int], Iterator[LinkEvent]]
_READERS: dict[int, tuple[int, _Reader]] = {
    NEWLINK: (_LINK.size, _of_link),
    _DELLINK: (_LINK.size, _of_link),
    _NEWADDR: (_ADDRESS.size, _of_address),
    _DELADDR: (_ADDRESS.size, _of_address),
    _NEWROUTE: (_ROUTE.size, _of_route),
    _DELROUTE: (_ROUTE.size, _of_route),
    **dict.fromkeys(_OF_RULES, (0, _of_rule)),
}
"""What is read of each kind of message, and how many bytes it has at least."""


def _isolation(data: Bytes, start: int, end: int) -> bool | None:
    found = netlink.find(data, start + _LINK.size, end, (_IFLA_PROTINFO,))
    return is_isolated(data, *found[_IFLA_PROTINFO]) if found else None


def _port(data: Bytes, start: int) -> int:
    """The last word of the header of a message, whose body begins at `start`."""
    port: int = _NUMBER.unpack_from(data, start - _NUMBER.size)[0]
    return port
