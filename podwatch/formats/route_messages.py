# SPDX-License-Identifier: Apache-2.0
"""rtnetlink's messages about links, addresses and routes: bytes in, words out. Pure.

Questions are built here; what changes something is in `route_orders`, and what the kernel tells of
changes in `route_events`.

Whatever the bytes are, nothing here raises: what cannot be read is left out.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Interface, IPv6Interface, ip_network

from podwatch.formats import netlink
from podwatch.formats.netlink import attribute, attributes, text
from podwatch.words.network import Address, Interface, Subnet

NEWLINK, GETLINK = 16, 18  # linux/rtnetlink.h
NEWADDR, GETADDR = 20, 22
NEWROUTE, GETROUTE = 24, 26
_NEWRULE, _GETRULE = 32, 34

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, lengths, tos, table, …, type, flags
_NUMBER = struct.Struct("=i")
_ENDS = (netlink.DONE, netlink.ERROR)
_DUMP = netlink.REQUEST | netlink.DUMP
_ORDER = netlink.REQUEST | netlink.ACK
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_IFF_UP, _IFF_RUNNING, _IFF_LOWER_UP = 0x1, 0x40, 0x10000  # linux/if.h
_FAMILIES = {2: 4, 10: 16}  # AF_INET, AF_INET6: bytes of an address
_INTERFACES: dict[int, type[Interface]] = {2: IPv4Interface, 10: IPv6Interface}
# linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_LINK_NETNSID = 1, 3, 10, 18, 37
_IFLA_LINK, _IFLA_TARGET_NETNSID = 5, 46
_IFLA_EXT_MASK, _SKIP_STATISTICS = 29, 8
_INFO_KIND, _INFO_SLAVE_DATA, _BRPORT_ISOLATED = 1, 5, 33
_OF_LINK = frozenset(
    {_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_LINK_NETNSID}
)
_OF_INFO = frozenset({_INFO_KIND, _INFO_SLAVE_DATA})
_OF_PORT = frozenset({_BRPORT_ISOLATED})
_NOTHING = 0, 0
"""Where an attribute is that is not there."""
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF = 1, 2, 3, 4  # linux/rtnetlink.h
_MAIN = 254  # RT_TABLE_MAIN
_NOWHERE = (6, 7, 8)  # RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT
_NEWNETCONF = 80  # RTM_NEWNETCONF, linux/rtnetlink.h
_NETCONF_SIZE = 4  # struct netconfmsg, padded
_ONE_SETTING = ({1, 2}, {1, 3})  # NETCONFA_IFINDEX and _FORWARDING, or _RP_FILTER: linux/netconf.h
_IFA_ADDRESS, _IFA_LOCAL, _IFA_TARGET_NETNSID = 1, 2, 10  # linux/if_addr.h
_UNUSED = 0x08 | 0x40  # IFA_F_DADFAILED, IFA_F_TENTATIVE
_NEWNSID, _GETNSID = 88, 90  # RTM_NEWNSID, RTM_GETNSID
_RULE_BYTES, _FRA_PRIORITY = 12, 6  # struct fib_rule_hdr, FRA_PRIORITY: linux/fib_rules.h
_NSID_BODY = bytes(4)  # struct rtgenmsg, padded
_NETNSA_NSID, _NETNSA_FD = 1, 3  # linux/net_namespace.h


@dataclass(frozen=True, slots=True)
class NumberSeen:
    """The number that the host's namespace has for another one; -1 where it has none."""

    number: int


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """One link of a dump; `master` is an index, 0 for none.

    `peer` is the index of the other end of a veth, in the namespace that the other end is in; of
    what is made on top of a parent, such as a macvlan, that of the parent. `has_carrier`: both ends
    of a veth are up.
    """

    name: str
    index: int
    is_up: bool
    master: int
    kind: str
    netns_id: int | None
    mac: str
    peer: int = 0
    has_carrier: bool = True
    isolated: bool = False
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """One address of a dump, and the index of the link that has it.

    It is not used while, or since, another host on the link answers for it (IPv6).
    """

    index: int
    address: Interface
    is_used: bool = True


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """The answer to which way a packet goes.

    `index` is that of the link by which it leaves, 0 where it goes nowhere. `to` is where a route
    of the main table leads; None of one in another table, or of the default route.
    """

    index: int
    to: Subnet | None = None


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """A rule for routing; 0 is the `priority` of the kernel's first one."""

    priority: int


_MAX_KEPT = 4096
"""So many messages are kept with what they tell: those of about a thousand containers."""

Seen = LinkSeen | AddressSeen | RouteSeen | NumberSeen | RuleSeen


@dataclass(frozen=True, slots=True)
class Piece:
    """One datagram of a dump.

    `ended`: None while there is more to come, 0 at the end, or the kernel's error number.
    `interrupted`: something changed meanwhile, and the dump as a whole is no good.
    """

    seen: tuple[Seen, ...]
    ended: int | None
    interrupted: bool


def links_request(sequence: int, netns_id: int | None = None) -> bytes:
    """The question for all links, of the host or of the namespace with that number."""
    target = b"" if netns_id is None else _number(_IFLA_TARGET_NETNSID, netns_id)
    body = _LINK.pack(0, 0, 0, 0, 0) + _number(_IFLA_EXT_MASK, _SKIP_STATISTICS) + target
    return netlink.request(GETLINK, body, flags=_DUMP, sequence=sequence)


def addresses_request(sequence: int, netns_id: int | None = None) -> bytes:
    """The question for all addresses, of the host or of the namespace with that number."""
    target = b"" if netns_id is None else _number(_IFA_TARGET_NETNSID, netns_id)
    body = _ADDRESS.pack(0, 0, 0, 0, 0) + target
    return netlink.request(GETADDR, body, flags=_DUMP, sequence=sequence)


def number_request(sequence: int, descriptor: int) -> bytes:
    """The question which number the namespace has of which this is an open file."""
    body = _NSID_BODY + _number(_NETNSA_FD, descriptor)
    return netlink.request(_GETNSID, body, flags=_ORDER, sequence=sequence)


def number_order(sequence: int, descriptor: int) -> bytes:
    """The order to give that namespace a number, as the kernel itself does for a veth's.

    It only makes the namespace one that can be asked about.
    """
    body = _NSID_BODY + _number(_NETNSA_NSID, -1) + _number(_NETNSA_FD, descriptor)
    return netlink.request(_NEWNSID, body, flags=_ORDER, sequence=sequence)


def route_request(
    sequence: int, to: Address, source: Address | None = None, index: int = 0
) -> bytes:
    """The question which way a packet goes: the host's own, or one that came in by a link."""
    family = 2 if to.version == 4 else 10
    length = 0 if source is None else source.max_prefixlen
    body = _ROUTE.pack(family, to.max_prefixlen, length, 0, 0, 0, 0, 0, 0)
    body += attribute(_RTA_DST, to.packed)
    if source is not None:
        body += attribute(_RTA_SRC, source.packed)
    if index:
        body += _number(_RTA_IIF, index)
    return netlink.request(GETROUTE, body, flags=_ORDER, sequence=sequence)


def routes_request(sequence: int, version: int) -> bytes:
    """The question for the main table's routes of one IP version."""
    body = _ROUTE.pack(2 if version == 4 else 10, 0, 0, 0, _MAIN, 0, 0, 0, 0)
    return netlink.request(GETROUTE, body, flags=_DUMP, sequence=sequence)


def rules_request(sequence: int, version: int) -> bytes:
    """The question for the rules for routing of one IP version."""
    body = bytes([2 if version == 4 else 10]) + bytes(_RULE_BYTES - 1)
    return netlink.request(_GETRULE, body, flags=_DUMP, sequence=sequence)


def _number(number: int, value: int) -> bytes:
    return attribute(number, _NUMBER.pack(value))


def parse_dump(data: bytes | memoryview, sequence: int) -> Piece:
    """What one datagram holds of the answer to the question with that number.

    Stops at a message whose length cannot be.
    """
    seen: list[Seen] = []
    ended, interrupted = None, False
    for kind, flags, answered, start, end in netlink.messages(data):
        if answered != sequence:
            continue
        interrupted = interrupted or bool(flags & _INTERRUPTED)
        if kind in _ENDS:
            ended = netlink.error_number(data, start, end)
            break
        if kind in _READERS and (item := _read(kind, bytes(data[start:end]))) is not None:
            seen.append(item)
    return Piece(tuple(seen), ended, interrupted)


@lru_cache(maxsize=_MAX_KEPT)
def _read(kind: int, body: bytes) -> Seen | None:
    """What a message tells. From one dump to the next most are the same, byte for byte."""
    size, read = _READERS[kind]
    if len(body) < size:
        return None
    return read(body, 0, len(body))


def read_link(data: bytes | memoryview, at: int, end: int) -> LinkSeen | None:
    """The link that a message's body tells of, from `at` to `end`; None of one without a name."""
    _, _, index, flags, _ = _LINK.unpack_from(data, at)
    found = netlink.find(data, at + _LINK.size, end, _OF_LINK)
    if not (name := text(data, *found.get(_IFLA_IFNAME, _NOTHING))):
        return None
    info = netlink.find(data, *found.get(_IFLA_LINKINFO, _NOTHING), _OF_INFO)
    first, last = found.get(_IFLA_ADDRESS, _NOTHING)
    return LinkSeen(
        name,
        index,
        bool(flags & _IFF_UP),
        _read_number(data, found, _IFLA_MASTER) or 0,
        text(data, *info.get(_INFO_KIND, _NOTHING)),
        _read_number(data, found, _IFLA_LINK_NETNSID),
        bytes(data[first:last]).hex(":"),
        _read_number(data, found, _IFLA_LINK) or 0,
        bool(flags & _IFF_LOWER_UP),
        is_isolated(data, *info.get(_INFO_SLAVE_DATA, _NOTHING)),
        bool(flags & _IFF_RUNNING),
    )


def _read_number(
    data: bytes | memoryview, found: Mapping[int, tuple[int, int]], number: int
) -> int | None:
    start, stop = found.get(number, _NOTHING)
    return _NUMBER.unpack_from(data, start)[0] if stop - start == _NUMBER.size else None


def is_isolated(data: bytes | memoryview, at: int, end: int) -> bool:
    """Whether a bridge's attributes of a port, from `at` on, say that it is isolated."""
    first, last = netlink.find(data, at, end, _OF_PORT).get(_BRPORT_ISOLATED, _NOTHING)
    return any(data[first:last])


def _route(data: bytes | memoryview, at: int, end: int) -> RouteSeen:
    index, raw = 0, b""
    for number, start, stop in attributes(data, at + _ROUTE.size, end):
        if number == _RTA_OIF and stop - start == 4:
            (index,) = _NUMBER.unpack_from(data, start)
        elif number == _RTA_DST:
            raw = bytes(data[start:stop])
    family, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(data, at)
    index = 0 if kind in _NOWHERE else index
    if table != _MAIN or len(raw) != _FAMILIES.get(family) or length > 8 * len(raw):
        return RouteSeen(index)
    return RouteSeen(index, ip_network((raw, length), strict=False))


def _numbered(data: bytes | memoryview, at: int, end: int) -> NumberSeen | None:
    for number, start, stop in attributes(data, at + len(_NSID_BODY), end):
        if number == _NETNSA_NSID and stop - start == 4:
            return NumberSeen(*_NUMBER.unpack_from(data, start))
    return None


def _rule(data: bytes | memoryview, at: int, end: int) -> RuleSeen:
    found = netlink.find(data, at + _RULE_BYTES, end, (_FRA_PRIORITY,))
    return RuleSeen(_read_number(data, found, _FRA_PRIORITY) or 0)


def _address(data: bytes | memoryview, at: int, end: int) -> AddressSeen | None:
    family, prefix, flags, _, index = _ADDRESS.unpack_from(data, at)
    raw = b""
    for number, start, stop in attributes(data, at + _ADDRESS.size, end):
        # Of a point-to-point link IFA_ADDRESS is the other end's.
        if number == _IFA_LOCAL or (number == _IFA_ADDRESS and not raw):
            raw = bytes(data[start:stop])
    if len(raw) != _FAMILIES.get(family) or prefix > 8 * len(raw):
        return None
    return AddressSeen(index, _INTERFACES[family]((raw, prefix)), not flags & _UNUSED)


_READERS: dict[int, tuple[int, Callable[[bytes | memoryview, int, int], Seen | None]]] = {
    NEWLINK: (_LINK.size, read_link),
    NEWADDR: (_ADDRESS.size, _address),
    NEWROUTE: (_ROUTE.size, _route),
    _NEWNSID: (len(_NSID_BODY), _numbered),
    _NEWRULE: (_RULE_BYTES, _rule),
}
"""What is read of each kind of message, and how many bytes stand before its attributes."""


def tells_of_a_setting(data: bytes | memoryview) -> bool:
    """Whether a datagram holds a message of one changed setting: forwarding or rp_filter.

    A message of a new link holds all settings at once, and is no news.
    """
    for kind, _, _, start, end in netlink.messages(data):
        if kind == _NEWNETCONF:
            kinds = {number for number, _, _ in attributes(data, start + _NETCONF_SIZE, end)}
            if kinds in _ONE_SETTING:
                return True
    return False
