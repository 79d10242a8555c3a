# SPDX-License-Identifier: Apache-2.0
"""The kernel's account of TCP sockets that are bound and do not listen, over sock_diag."""

import socket

from podwatch.formats.socket_messages import DATAGRAM_BYTES, bound_request, parse_bound

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG, linux/netlink.h
_TIMEOUT_S = 1.0
_DATAGRAMS = 4096


def bound() -> dict[tuple[int, str], str]:
    """The inode of a socket that is bound and does not listen, by port and protocol ("tcp").

    Empty where the kernel does not tell: before Linux 6.8.
    """
    try:
        return {
            (port, "tcp"): inode
            for family in (socket.AF_INET6, socket.AF_INET)
            for port, inode in _ask(family)
        }
    except OSError:
        return {}


def _ask(family: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG
    ) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.sendto(bound_request(family), (0, 0))
        for _ in range(_DATAGRAMS):
            for bound in parse_bound(sock.recv(DATAGRAM_BYTES)):
                if bound is None:
                    return found
                found.append(bound)
    return found
