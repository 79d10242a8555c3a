# SPDX-License-Identifier: Apache-2.0
"""What rtnetlink tells of changes of links, addresses and routes: bytes in, words out. Pure.

Whatever the bytes are, nothing here raises: what cannot be read is left out.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podwatch.formats import netlink
from podwatch.formats.netlink import attributes
from podwatch.formats.route_messages import NEWLINK, LinkSeen, read_link

GROUPS = 1 << 0 | 1 << 4 | 1 << 8 | 1 << 6
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR, _IPV4_ROUTE: linux/rtnetlink.h."""

_DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 17, 20, 21, 24, 25
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=8BI")
_NUMBER = struct.Struct("=I")
_RTA_OIF, _MAIN = 4, 254  # the second one is RT_TABLE_MAIN
_ON_LINK = 253  # RT_SCOPE_LINK
_OF_BRIDGES = 7  # AF_BRIDGE: what a bridge says of its ports, once more


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """One change: of the link with that index, as it is now; `link` is None of one that is gone.

    Of an address or a route that came or went (`is_address`) only the link's index is told, and
    `asked_by`, the port of the socket that asked for it: mostly the number of its process, 0 for
    the kernel itself.
    """

    index: int
    link: LinkSeen | None = None
    is_address: bool = False
    is_loss: bool = False
    asked_by: int = 0


def parse_events(data: bytes | memoryview) -> Iterator[LinkEvent]:
    """The changes that one datagram tells of."""
    for kind, _, _, start, end in netlink.messages(data):
        if kind in (NEWLINK, _DELLINK) and end - start >= _LINK.size:
            family, _, index, _, _ = _LINK.unpack_from(data, start)
            if family == _OF_BRIDGES:
                continue
            if kind == NEWLINK:
                link = read_link(data, start, attributes(data, start + _LINK.size, end))
                if link is not None:
                    yield LinkEvent(index, link)
            else:
                yield LinkEvent(index, is_loss=True)
        elif kind in (_NEWADDR, _DELADDR) and end - start >= _ADDRESS.size:
            _, _, _, scope, index = _ADDRESS.unpack_from(data, start)
            lost, port = kind == _DELADDR, _port(data, start)
            if scope != _ON_LINK:  # fe80:: is nobody's gateway
                yield LinkEvent(index, is_address=True, is_loss=lost, asked_by=port)
        elif kind in (_NEWROUTE, _DELROUTE) and end - start >= _ROUTE.size:
            if _ROUTE.unpack_from(data, start)[4] != _MAIN:
                continue
            for number, at, stop in attributes(data, start + _ROUTE.size, end):
                if number == _RTA_OIF and stop - at == _NUMBER.size:
                    (index,) = _NUMBER.unpack_from(data, at)
                    lost, port = kind == _DELROUTE, _port(data, start)
                    yield LinkEvent(index, is_address=True, is_loss=lost, asked_by=port)


def _port(data: bytes | memoryview, start: int) -> int:
    """The last word of the header of a message, whose body begins at `start`."""
    port: int = _NUMBER.unpack_from(data, start - _NUMBER.size)[0]
    return port
