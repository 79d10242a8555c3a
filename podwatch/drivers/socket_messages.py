# SPDX-License-Identifier: Apache-2.0
"""sock_diag's messages about TCP sockets that are bound and do not listen. Pure.

Podman 6 keeps a published port by binding it, and never listens. /proc/net/tcp does not show such
sockets; the kernel tells of them by sock_diag since Linux 6.8 (net/ipv4/inet_diag.c,
TCP_BOUND_INACTIVE), an older one of none.
"""

import struct
from collections.abc import Iterator

DATAGRAM_BYTES = 1 << 16

_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
_DONE, _ERROR = 3, 2  # NLMSG_DONE, NLMSG_ERROR
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_TCP = 6
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
