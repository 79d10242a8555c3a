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

from podwatch.formats.netlink_messages import attributes, text

DATAGRAM_BYTES = 1 << 16

_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
_DONE, _ERROR = 3, 2  # NLMSG_DONE, NLMSG_ERROR
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
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
_RESULT = struct.Struct("=i")
_BOUND_INACTIVE = 13  # net/tcp_states.h
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI48s")  # struct inet_diag_req_v2: family, protocol, …, states, id
_PORT = struct.Struct(">H")
_INODE = struct.Struct("=I")
_PORT_AT, _INODE_AT, _SIZE = 4, 68, 72  # in struct inet_diag_msg, linux/inet_diag.h


def bound_request(family: int) -> bytes:
    """The question for all bound TCP sockets of an address family (AF_INET, AF_INET6)."""
    body = _REQUEST.pack(family, _TCP, 0, 0, 1 << _BOUND_INACTIVE, b"")
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _DUMP, 1, 0) + body


def parse_bound(data: bytes) -> Iterator[tuple[int, str] | None]:
    """(port, inode) of each socket in one datagram; None where the answer ends.

    Never raises: what cannot be read ends the answer, too.
    """
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        body = at + _HEADER.size
        if length < _HEADER.size or length > len(data) - at or kind in (_DONE, _ERROR):
            yield None
            return
        if kind == _BY_FAMILY and length - _HEADER.size >= _SIZE:
            (port,) = _PORT.unpack_from(data, body + _PORT_AT)
            (inode,) = _INODE.unpack_from(data, body + _INODE_AT)
            yield port, str(inode)
        at += (length + 3) & ~3


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
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _DUMP, 1, 0) + body


def parse_listeners(data: bytes) -> tuple[list[Listener], int | None]:
    """The listeners with a file in one datagram, and how the answer ends.

    None while there is more to come, 0 at the end, or the kernel's error number. Never raises: what
    cannot be read ends the answer.
    """
    found: list[Listener] = []
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        body, end = at + _HEADER.size, at + length
        if length < _HEADER.size or end > len(data):
            return found, 0
        if kind in (_DONE, _ERROR):
            return found, -_RESULT.unpack_from(data, body)[0] if end - body >= 4 else 0
        name, file = "", b""
        for number, start, stop in attributes(data, body + _UNIX_SIZE, end):
            if number == _NAME:
                name = text(data, start, stop)
            elif number == _VFS:
                file = data[start:stop]
        if name and len(file) == _FILE.size:
            inode, device = _FILE.unpack(file)
            found.append(Listener(name, inode, (device >> _MINOR_BITS, device & _MINOR_MASK)))
        at += (length + 3) & ~3
    return found, None
