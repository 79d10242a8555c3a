# SPDX-License-Identifier: Apache-2.0
"""The changes of the host's own links that podwatch asks rtnetlink for. Pure.

None of them names a network namespace: RTM_NEWLINK with the number of one moves the host's own
interface of that index into the container, and the kernel calls that a success (seen: Linux 6.18).
"""

import struct

from podwatch.formats import netlink
from podwatch.formats.netlink import attribute
from podwatch.words.network import Interface

_NEWLINK, _SETLINK, _NEWADDR, _DELADDR, _NEWROUTE = 16, 19, 20, 21, 24  # linux/rtnetlink.h
_CREATE, _EXCLUSIVE = 0x400, 0x200  # NLM_F_CREATE, NLM_F_EXCL
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # struct rtmsg
_NUMBER = struct.Struct("=i")
_UP = 1  # IFF_UP
_BRIDGE = 7  # AF_BRIDGE
_FAMILIES = {4: 2, 6: 10}  # AF_INET, AF_INET6
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_PROTINFO = 12
_INFO_KIND = 1
_BRPORT_ISOLATED = 33  # IFLA_BRPORT_ISOLATED, linux/if_link.h
_NESTED = 0x8000  # NLA_F_NESTED
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4  # linux/if_addr.h
_NODAD = 0x02  # IFA_F_NODAD: there is nobody else on a bridge of Podman's who may have it
_RTA_DST, _RTA_OIF, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 6, 7
_MAIN, _BY_KERNEL, _UNICAST = 254, 2, 1  # RT_TABLE_MAIN, RTPROT_KERNEL, RTN_UNICAST
_ON_LINK, _EVERYWHERE = 253, 0  # RT_SCOPE_LINK, RT_SCOPE_UNIVERSE
_METRIC_V6 = 256  # what the kernel gives the routes of its IPv6 addresses (IP6_RT_PRIO_ADDRCONF)


def mac_order(sequence: int, index: int, mac: str) -> bytes:
    """The order to give the link with that index this MAC. Raises ValueError for what is none."""
    raw = bytes.fromhex(mac.replace(":", ""))
    return _change(sequence, index, attribute(_IFLA_ADDRESS, raw))


def up_order(sequence: int, index: int) -> bytes:
    """The order to set a link up."""
    return _order(_SETLINK, _LINK.pack(0, 0, index, _UP, _UP), sequence)


def master_order(sequence: int, index: int, bridge: int) -> bytes:
    """The order to make a link a port of the bridge with that index."""
    return _change(sequence, index, _number(_IFLA_MASTER, bridge))


def unisolated_order(sequence: int, index: int) -> bytes:
    """The order to let a bridge's port reach other isolated ports again."""
    inner = attribute(_BRPORT_ISOLATED, b"\0")
    body = _LINK.pack(_BRIDGE, 0, index, 0, 0) + attribute(_IFLA_PROTINFO | _NESTED, inner)
    return _order(_SETLINK, body, sequence)


def bridge_order(sequence: int, name: str, mac: str = "", mtu: int = 0) -> bytes:
    """The order to make a bridge; refused where a link has that name.

    With a `mac` its neighbours need not ask for it again. Raises ValueError for what is none.
    """
    body = _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
    if mac:
        body += attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    if mtu:
        body += _number(_IFLA_MTU, mtu)
    body += attribute(_IFLA_LINKINFO | _NESTED, attribute(_INFO_KIND, b"bridge\0"))
    return _order(_NEWLINK, body, sequence, _CREATE | _EXCLUSIVE)


def address_order(sequence: int, index: int, address: Interface) -> bytes:
    """The order to give a link an address, as netavark gives it to a bridge.

    netavark src/network/netlink.rs, add_addr: with the subnet's broadcast address.
    """
    raw = address.ip.packed
    body = _ADDRESS.pack(
        _FAMILIES[address.version],
        address.network.prefixlen,
        _NODAD if address.version == 6 else 0,
        0,
        index,
    )
    body += attribute(_IFA_LOCAL, raw) + attribute(_IFA_ADDRESS, raw)
    if address.version == 4:
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    return _order(_NEWADDR, body, sequence, _CREATE | _EXCLUSIVE)


def no_address_order(sequence: int, index: int, address: Interface) -> bytes:
    """The order to take an address from a link."""
    family, length = _FAMILIES[address.version], address.network.prefixlen
    body = _ADDRESS.pack(family, length, 0, 0, index) + attribute(_IFA_LOCAL, address.ip.packed)
    return _order(_DELADDR, body, sequence)


def route_order(sequence: int, index: int, address: Interface) -> bytes:
    """The order to have the way to a link's subnet, as the kernel makes it with the address."""
    subnet, is_v4 = address.network, address.version == 4
    body = _ROUTE.pack(
        _FAMILIES[address.version],
        subnet.prefixlen,
        0,
        0,
        _MAIN,
        _BY_KERNEL,
        _ON_LINK if is_v4 else _EVERYWHERE,
        _UNICAST,
        0,
    )
    body += attribute(_RTA_DST, subnet.network_address.packed) + _number(_RTA_OIF, index)
    if is_v4:
        body += attribute(_RTA_PREFSRC, address.ip.packed)
    else:
        body += _number(_RTA_PRIORITY, _METRIC_V6)
    return _order(_NEWROUTE, body, sequence, _CREATE | _EXCLUSIVE)


def _change(sequence: int, index: int, what: bytes) -> bytes:
    return _order(_SETLINK, _LINK.pack(0, 0, index, 0, 0) + what, sequence)


def _order(kind: int, body: bytes, sequence: int, flags: int = 0) -> bytes:
    flags |= netlink.REQUEST | netlink.ACK
    return netlink.request(kind, body, flags=flags, sequence=sequence)


def _number(number: int, value: int) -> bytes:
    return attribute(number, _NUMBER.pack(value))
