# SPDX-License-Identifier: Apache-2.0
"""Real answers of this machine's kernel to questions that need no root."""

import socket
from collections.abc import Callable

MAX_SECONDS = 10


def asked(protocol: int, question: bytes, is_last: Callable[[bytes], bool]) -> list[bytes]:
    """The datagrams that answer a netlink question, as they come, up to the last one.

    Args:
        protocol: NETLINK_ROUTE (0) or NETLINK_SOCK_DIAG (4), linux/netlink.h.
        question: a whole message.
        is_last: says of a datagram whether it ends the answer.
    """
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(MAX_SECONDS)
        sock.send(question)
        while not found or not is_last(found[-1]):
            found.append(sock.recv(1 << 16))
    return found
