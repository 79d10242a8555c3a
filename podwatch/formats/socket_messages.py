# SPDX-License-Identifier: Apache-2.0
"""sock_diag's messages about TCP sockets that are bound, and unix sockets that listen. Pure.

Podman 6 keeps a published port by binding it, and never listens. /proc/net/tcp does not show such
sockets; the kernel tells of them by sock_diag since Linux 6.8 (net/ipv4/inet_diag.c,
TCP_BOUND_INACTIVE), an older one of none.

A unix socket's name is what its owner saw at that place. Which file it is, only its inode tells, of
which /proc/net/unix says nothing (net/unix/diag.c, sk_diag_dump_vfs).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from podwatch.formats import netlink
from podwatch.formats.netlink import CUT, DONE, ERROR, attributes, text

DATAGRAM_BYTES = 1 << 16

_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
_DUMP = netlink.REQUEST | netlink.DUMP
_TCP = 6
_UNIX = 1  # AF_UNIX
_LISTEN = 10  # TCP_LISTEN, net/tcp_states.h
_UNIX_REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req, linux/unix_diag.h
_UNIX_SIZE = 16  # struct unix_diag_msg
_SHOW_NAME_VFS = 3  # UDIAG_SHOW_NAME | UDIAG_SHOW_VFS
_NAME, _VFS = 0, 1  # UNIX_DIAG_NAME, UNIX_DIAG_VFS
_FILE = struct.Struct("=II")  # struct unix_diag_vfs: inode, device
_MINOR_BITS = 20  # of a device's number in the kernel, linux/kdev_t.h
_MINOR_MASK = (1 << _MINOR_BITS) - 1
_BOUND_INACTIVE = 13  # net/tcp_states.h
_REQUEST = struct.Struct("=BBBBI48s")  # struct inet_diag_req_v2: family, protocol, …, states, id
_PORT = struct.Struct(">H")
_INODE = struct.Struct("=I")
_PORT_AT, _INODE_AT, _SIZE = 4, 68, 72  # in struct inet_diag_msg, linux/inet_diag.h


def bound_request(family: int) -> bytes:
    """The question for all bound TCP sockets of an address family (AF_INET, AF_INET6)."""
    body = _REQUEST.pack(family, _TCP, 0, 0, 1 << _BOUND_INACTIVE, b"")
    return netlink.request(_BY_FAMILY, body, flags=_DUMP)


def parse_bound(data: bytes) -> Iterator[tuple[int, str] | None]:
    """(port, inode) of each socket in one datagram; None where the answer ends.

    Never raises: what cannot be read ends the answer, too.
    """
    for kind, _, _, start, end in netlink.messages(data):
        if kind in (DONE, ERROR, CUT):
            yield None
            return
        if kind == _BY_FAMILY and end - start >= _SIZE:
            (port,) = _PORT.unpack_from(data, start + _PORT_AT)
            (inode,) = _INODE.unpack_from(data, start + _INODE_AT)
            yield port, str(inode)


@dataclass(frozen=True, slots=True)
class Listener:
    """A unix socket that listens: the name it was bound to, and its file's inode and device.

    `inode` has 32 bits; `device` is major and minor.
    """

    name: str
    inode: int
    device: tuple[int, int]


def listeners_request() -> bytes:
    """The question for all unix sockets that listen."""
    body = _UNIX_REQUEST.pack(_UNIX, 0, 0, 1 << _LISTEN, 0, _SHOW_NAME_VFS, 0, 0)
    return netlink.request(_BY_FAMILY, body, flags=_DUMP)


def parse_listeners(data: bytes) -> tuple[list[Listener], int | None]:
    """The listeners with a file in one datagram, and how the answer ends.

    None while there is more to come, 0 at the end, or the kernel's error number. Never raises: what
    cannot be read ends the answer.
    """
    found: list[Listener] = []
    for kind, _, _, start, end in netlink.messages(data):
        if kind == CUT:
            return found, 0
        if kind in (DONE, ERROR):
            return found, netlink.error_number(data, start, end)
        name, file = "", b""
        for number, first, last in attributes(data, start + _UNIX_SIZE, end):
            if number == _NAME:
                name = text(data, first, last)
            elif number == _VFS:
                file = data[first:last]
        if name and len(file) == _FILE.size:
            inode, device = _FILE.unpack(file)
            found.append(Listener(name, inode, (device >> _MINOR_BITS, device & _MINOR_MASK)))
    return found, None
